"""The command ``simulatenight``: a made-up night to try everything on."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import date
from pathlib import Path

from osa.cli.common import Parser, note, run_command
from osa.errors import ExitCode, InputError

__all__ = ["main"]

SIZES = ("tiny", "small", "full")

EXAMPLES = """\
  simulatenight mynight                       a tiny night of 2020-01-27 below mynight/
  simulatenight mynight -d 2024_11_30 --size small --format R1v1 --streams 4
  simulatenight mynight --runs 3 --subruns 5 --events 100 --seed 7
  sequencer -c mynight/sequencer.cfg -d 2020_01_27
"""


def _parser() -> Parser:
    parser = Parser(
        "simulatenight",
        "Make all that a night needs below a folder: raw files (DRS4, calibration and DATA runs),\n"
        "drive, target and bending logs, run summary, night summary, random forests trained by\n"
        "lstchain on the same toy showers, and a configuration file that points at all of it.\n"
        "The showers are a toy model: gammas from a source at 0.4 deg from the pointing, and\n"
        "wider protons from everywhere. The same seed makes the same night.",
        EXAMPLES,
    )
    parser.add_argument("folder", type=Path, help="where to make it")
    parser.add_argument("-d", "--date", default="2020_01_27", metavar="YYYY_MM_DD", help="the night")
    parser.add_argument("--size", choices=SIZES, default="tiny", help="how large (default: tiny)")
    parser.add_argument("--runs", type=int, help="DATA runs (default: as the size says)")
    parser.add_argument("--subruns", type=int, help="sub-runs of each DATA run")
    parser.add_argument("--events", type=int, help="events of each sub-run of DATA")
    parser.add_argument("--format", choices=("EVBv5", "R1v1"), default="EVBv5", help="of the raw files")
    parser.add_argument("--streams", type=int, choices=(1, 4), default=1, help="raw files a sub-run")
    parser.add_argument("--target", help="source that is observed (default: one that is up)")
    parser.add_argument("--seed", type=int, default=1, help="of all random numbers (default: 1)")
    parser.add_argument(
        "--no-summaries", action="store_true", help="leave night summary and run summary to nightsummary"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a night that is there")
    return parser


def _night(text: str) -> date:
    from osa.model.night import Night

    try:
        return Night.parse(text).date
    except ValueError as error:
        raise InputError(f"-d: {error}") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what libraries say to themselves off the terminal; the bar is on standard error."""
    sys.stdout.flush()
    ours, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # protozfits writes there from C++
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        os.dup2(ours, 1)
        os.close(ours)
        os.close(nowhere)


def _command(arguments: argparse.Namespace) -> ExitCode:
    from osa.cli.progress import StageBar
    from osa.simulation.configuration import write_configuration
    from osa.simulation.plan import make_plan
    from osa.steps.environment import prepare_environment

    try:
        plan = make_plan(
            _night(arguments.date),
            arguments.size,
            seed=arguments.seed,
            data_format=arguments.format,
            streams=arguments.streams,
            data_runs=arguments.runs,
            subruns=arguments.subruns,
            events=arguments.events,
            target=arguments.target,
        )
    except ValueError as error:
        raise InputError(str(error)) from None
    with tempfile.TemporaryDirectory() as folder, StageBar(lines=True) as bar:
        os.environ.update(prepare_environment(Path(folder), cpus=1))
        bar.update("importing lstchain", 0, 1)
        from osa.simulation.night import make_night

        bar.update("importing lstchain", 1, 1)
        try:
            with nullcontext() if arguments.verbose else _quiet():
                files = make_night(
                    plan,
                    arguments.folder,
                    bar.update,
                    summaries=not arguments.no_summaries,
                    overwrite=arguments.overwrite,
                )
        except FileExistsError as error:
            raise InputError(f"{error} (--overwrite)") from None
    configuration = write_configuration(plan, arguments.folder)
    note(f"{len(files.r0)} raw files of night {arguments.date} below {files.root}")
    command = "nightsummary" if arguments.no_summaries else "sequencer"
    print(f"{command} -c {configuration} -d {arguments.date}")
    return ExitCode.DONE


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    return run_command(_parser(), _command, argv)


if __name__ == "__main__":
    sys.exit(main())
