"""What all commands share: options, and the one place where errors become exit codes."""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from osa import __version__
from osa.errors import ExitCode, InputError, InterruptedNightError, OsaError

if TYPE_CHECKING:
    from osa.config import Settings
    from osa.layout import Layout
    from osa.model.night import Night

__all__ = [
    "Parser",
    "add_backend_option",
    "add_config_option",
    "add_date_option",
    "add_night_options",
    "add_running_options",
    "add_telescope_option",
    "as_run_or_subrun",
    "confirm",
    "may",
    "note",
    "open_night",
    "read_night",
    "read_settings",
    "run_command",
]

_RUN_OR_SUBRUN = re.compile(r"(?P<run>\d{1,8})(\.(?P<subrun>\d{1,4}))?")

EXIT_CODES = """\
exit codes:
  0 done                       3 a needed program or service is missing
  1 night not complete         4 another instance is at work
  2 wrong call or configuration  5 not yet: tasks are at work, call again later
  70 unexpected error          130 interrupted
"""


class Parser(argparse.ArgumentParser):
    """An argument parser that keeps the line breaks of its texts and knows the exit codes."""

    def __init__(self, prog: str, description: str, examples: str) -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=f"examples:\n{examples.rstrip()}\n\n{EXIT_CODES}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self.add_argument("--version", action="version", version=f"{prog} (lst-osa) {__version__}")
        self.add_argument(
            "-v", "--verbose", action="store_true", help="say more; errors come with a traceback"
        )


def add_night_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which night of which telescope is meant."""
    add_config_option(parser)
    add_date_option(parser)
    parser.add_argument(
        "telescope",
        nargs="?",
        default="LST1",
        metavar="TEL",
        help="section of the configuration (default: LST1)",
    )


def add_config_option(parser: argparse.ArgumentParser, *, again: bool = False) -> None:
    """Add the option that names the configuration file.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        Of the command, or of one of its verbs.
    again : bool
        Whether the command has the option as well: it can stand before the verb, too.
    """
    parser.add_argument(
        "-c",
        "--config",
        type=Path,
        metavar="CFG",
        default=argparse.SUPPRESS if again else None,
        help="configuration file (default: $OSA_CONFIG, ~/.config/osa/sequencer.cfg, packaged one)",
    )


def add_date_option(parser: argparse.ArgumentParser, *, default: str = "last night, see NIGHTOFFSET") -> None:
    """Add the option that says which night is meant."""
    parser.add_argument(
        "-d",
        "--date",
        metavar="YYYY_MM_DD",
        help=f"the night, by the date of its evening (default: {default})",
    )


def add_telescope_option(parser: argparse.ArgumentParser, *, again: bool = False) -> None:
    """Add the telescope as an option, for commands that take other things as arguments.

    Parameters as for :func:`add_config_option`.
    """
    parser.add_argument(
        "-t",
        "--telescope",
        default=argparse.SUPPRESS if again else "LST1",
        metavar="TEL",
        help="section of the configuration (default: LST1)",
    )


def add_backend_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that says who runs the jobs."""
    parser.add_argument(
        "--backend", choices=("auto", "local", "slurm"), help="who runs the jobs (default: as configured)"
    )


def add_running_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say whether the command stays with the tasks that it submits."""
    waiting = parser.add_mutually_exclusive_group()
    waiting.add_argument(
        "--detach",
        action="store_true",
        help="local backend: leave the tasks to a process in the background",
    )
    waiting.add_argument("--wait", action="store_true", help="Slurm: wait until the tasks have ended")


def as_run_or_subrun(text: str) -> tuple[int, int | None]:
    """Read ``1874`` or ``01874.0003``."""
    match = _RUN_OR_SUBRUN.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no RUN or RUN.SUBRUN, such as 01874.0003")
    return int(match["run"]), None if match["subrun"] is None else int(match["subrun"])


def may(arguments: argparse.Namespace, question: str) -> bool:
    """Ask whether something may be done, where there is somebody to ask and ``-y`` was not given."""
    return arguments.yes or not sys.stdin.isatty() or confirm(question)


def confirm(question: str) -> bool:
    """Ask the user; no answer is a no."""
    try:
        return input(f"{question} [y/N] ").strip().lower() in {"y", "yes"}
    except EOFError:  # Ctrl-D
        return False


def open_night(arguments: argparse.Namespace) -> Layout:
    """Read the configuration and the date of a command line.

    Returns
    -------
    Layout
        Paths and settings of the night.
    """
    from osa.layout import Layout
    from osa.model.night import Night

    given = read_night(arguments)
    settings = read_settings(arguments)
    night = given or Night.current(datetime.now(UTC), settings.telescope.nightoffset)
    return Layout(settings, night)


def read_night(arguments: argparse.Namespace) -> Night | None:
    """Read the date of a command line; None where there is none."""
    from osa.model.night import Night

    try:
        return None if arguments.date is None else Night.parse(arguments.date)
    except ValueError as error:
        raise InputError(f"-d: {error}") from None


def read_settings(arguments: argparse.Namespace) -> Settings:
    """Read the configuration that a command line names, or the usual one."""
    from osa.config import find_configuration, load_settings

    return load_settings(find_configuration(arguments.config, os.environ), arguments.telescope)


def note(message: str) -> None:
    """Tell the user something that is not the command's result."""
    print(message, file=sys.stderr, flush=True)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise InterruptedNightError("stopped by SIGTERM; run the command again to go on")


def run_command(
    parser: Parser,
    command: Callable[[argparse.Namespace], ExitCode],
    argv: Sequence[str] | None = None,
) -> int:
    """Parse the command line, run the command, and translate what happens to an exit code.

    Parameters
    ----------
    parser : Parser
        The options.
    command : callable
        The command.
    argv : sequence of str, optional
        Command line without the program's name; that of the process by default.
    """
    arguments = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        code = command(arguments)
        sys.stdout.flush()
        return code
    except OsaError as error:
        _explain(parser.prog, str(error), arguments.verbose)
        return error.exit_code
    except KeyboardInterrupt:
        _explain(parser.prog, "interrupted; run the command again to go on", verbose=False)
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has enough (… | head); not an error, and nothing more to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.DONE
    except OSError as error:
        _explain(parser.prog, str(error), arguments.verbose)
        return ExitCode.NOT_COMPLETE
    except Exception as error:
        text = f"unexpected {type(error).__name__}: {error} (-v shows where; please report it)"
        _explain(parser.prog, text, arguments.verbose)
        return ExitCode.UNEXPECTED


def _explain(program: str, message: str, verbose: bool) -> None:
    if verbose:
        traceback.print_exc()
    note(f"{program}: {message}")
