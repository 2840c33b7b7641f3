"""The command ``provquery``: questions to the index of provenance."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from osa.cli.common import (
    Parser,
    add_config_option,
    add_date_option,
    add_telescope_option,
    as_run_or_subrun,
    run_command,
)
from osa.errors import ExitCode

__all__ = ["main"]

_MOST_DIGITS = 9
FORMATS = ("json", "provn", "votable", "pdf")

EXAMPLES = """\
  provquery lineage dl2_LST-1.Run01874.0003.h5       what this file was made from
  provquery impact calibration.Run01873.0000.h5 --kind DL2    which DL2 used this calibration
  provquery impact --version lstchain=0.12.3         what was made with this version
  provquery find --run 1874 --kind DL1               products of a run
  provquery find --configuration lstchain_standard_config.json    made with this configuration
  provquery diff 1874 1875                           how two runs were made differently
  provquery tries 1874.3                             all tries of a sub-run, failed ones too
  provquery verify --run 1874                        is everything on disk as it was made
  provquery export 1874 -o run1874.pdf               also .json, .provn, .xml (VOTable)
  provquery check -d 2020_01_27                      are the documents of a night sound
  provquery nights                                   what is in the index
"""


def _as_version(text: str) -> tuple[str, str]:
    name, sign, version = text.partition("=")
    if not (name and sign and version):
        raise argparse.ArgumentTypeError(f"{text!r} is no NAME=VERSION, such as lstchain=0.12.3")
    return name, version


def _as_count(text: str) -> int:
    if not text.isdecimal() or len(text) > _MOST_DIGITS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number")
    return int(text)


def _as_night(text: str) -> str:
    from osa.model.night import Night

    try:
        return str(Night.parse(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _parser() -> Parser:
    parser = Parser(
        "provquery",
        "Ask where products come from and what was made of what. The closer brings each night\n"
        "into the index; provprocess does so for nights that are not closed. A FILE is a path, the\n"
        "name of a file, its SHA-256 (or the first 8 digits of it or more), or an identifier.",
        EXAMPLES,
    )
    add_config_option(parser)
    add_telescope_option(parser)
    verbs = parser.add_subparsers(
        title="questions", metavar="QUESTION", required=True, parser_class=argparse.ArgumentParser
    )
    for add in (_lineage, _impact, _find, _diff, _verify, _tries, _export, _check, _nights):
        add(verbs)
    return parser


_Verbs: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def _add(verbs: _Verbs, name: str, text: str, *, as_json: bool = True) -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.set_defaults(question=name)
    add_config_option(parser, again=True)
    add_telescope_option(parser, again=True)
    # Suppressed, so that it does not undo one that stands before the question.
    text = "errors come with a traceback"
    parser.add_argument("-v", "--verbose", action="store_true", default=argparse.SUPPRESS, help=text)
    if as_json:
        parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    return parser


def _add_night(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--night", type=_as_night, metavar="YYYY_MM_DD", help="only of this night")


def _add_kind(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--kind", metavar="KIND", help='only files of this kind: R0, DL1, DL2, "data check", …'
    )


def _lineage(verbs: _Verbs) -> None:
    parser = _add(verbs, "lineage", "tell what a file was made from")
    parser.add_argument("file", metavar="FILE")
    parser.add_argument("--depth", type=_as_count, metavar="N", help="at most so many steps back")
    _add_kind(parser)


def _impact(verbs: _Verbs) -> None:
    parser = _add(verbs, "impact", "tell what was made of a file, run or version, and of that, on and on")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("file", nargs="?", metavar="FILE")
    what.add_argument("--run", type=_as_count, help="of everything of this run")
    what.add_argument("--version", type=_as_version, metavar="NAME=VERSION", help="of a package")
    parser.add_argument("--depth", type=_as_count, metavar="N", help="at most so many steps on")
    parser.add_argument("--all", action="store_true", help="also what others have taken the place of")
    _add_kind(parser)


def _find(verbs: _Verbs) -> None:
    parser = _add(verbs, "find", "list products by version, configuration, night or run")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--version", type=_as_version, metavar="NAME=VERSION", help="of a package")
    what.add_argument("--configuration", metavar="HASH|NAME", help="of a configuration file")
    what.add_argument("--night", type=_as_night, metavar="YYYY_MM_DD")
    what.add_argument("--run", type=_as_count)
    parser.add_argument("--limit", type=_as_count, default=1000, help="at most so many (default: 1000)")
    _add_kind(parser)


def _diff(verbs: _Verbs) -> None:
    parser = _add(verbs, "diff", "tell how two runs were made differently")
    parser.add_argument("first", type=_as_count, metavar="RUN")
    parser.add_argument("second", type=_as_count, metavar="RUN")


def _verify(verbs: _Verbs) -> None:
    parser = _add(verbs, "verify", "compare files on disk with what was recorded")
    parser.add_argument("files", nargs="*", metavar="FILE", help="only these (default: all products)")
    parser.add_argument("--run", type=_as_count, help="only of this run")
    _add_night(parser)
    parser.add_argument(
        "--inputs", action="store_true", help="also what came from elsewhere: R0, logs, forests"
    )
    parser.add_argument(
        "--quick", action="store_true", help="read only files whose size or time is not as recorded"
    )


def _tries(verbs: _Verbs) -> None:
    parser = _add(verbs, "tries", "list all tries of a run or sub-run, failed ones too")
    parser.add_argument("run", type=as_run_or_subrun, metavar="RUN[.SUBRUN]")
    _add_night(parser)


def _export(verbs: _Verbs) -> None:
    parser = _add(verbs, "export", "write the lineage of a file or run in another format", as_json=False)
    parser.add_argument("target", metavar="RUN|FILE")
    parser.add_argument("-o", "--output", type=Path, metavar="OUT", help="default: standard output")
    parser.add_argument("--format", choices=FORMATS, help="default: by the ending of OUT, else json")
    parser.add_argument(
        "--impact", action="store_true", help="what was made of it, not what it was made from"
    )
    parser.add_argument("--depth", type=_as_count, metavar="N", help="at most so many steps")
    parser.add_argument("--detail", action="store_true", help="pdf: show each sub-run")
    parser.add_argument("--overwrite", action="store_true", help="replace a file that is there")


def _check(verbs: _Verbs) -> None:
    parser = _add(verbs, "check", "check the documents of a night, and its files against the records")
    add_date_option(parser)
    parser.add_argument("runs", nargs="*", type=_as_count, metavar="RUN", help="only of these runs")
    parser.add_argument("--full", action="store_true", help="read all files for their hashes")


def _nights(verbs: _Verbs) -> None:
    parser = _add(verbs, "nights", "list the nights that are in the index")
    parser.add_argument("--limit", type=_as_count, default=100, help="at most so many (default: 100)")


def _command(arguments: argparse.Namespace) -> ExitCode:
    from osa.cli.answers import ANSWERS

    return ANSWERS[arguments.question](arguments)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    return run_command(_parser(), _command, argv)


if __name__ == "__main__":
    sys.exit(main())
