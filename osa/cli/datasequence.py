"""The command ``datasequence``: one sub-run from R0 to DL2."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence

from osa.cli.common import Parser, add_night_options, open_night, run_command
from osa.errors import ExitCode

__all__ = ["main"]

EXAMPLES = """\
  datasequence -d 2020_01_27 --drs4-run 1872 --calibration-run 1873 01874.0003
  datasequence -c my.cfg -d 2020_01_27 --drs4-run 1872 --calibration-run 1873 01874.0003 LST1
"""
_SUBRUN = re.compile(r"(\d{1,8})\.(\d{1,4})")


def _subrun(text: str) -> tuple[int, int]:
    match = _SUBRUN.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no RUN.SUBRUN, such as 01874.0003")
    return int(match[1]), int(match[2])


def _parser() -> Parser:
    parser = Parser(
        "datasequence",
        "Process one sub-run with lstchain: R0 to DL1 with muons, DL1 data check, DL1 to DL2.\n"
        "Goes on from where the history says that it stands. Jobs call this; so can you.",
        EXAMPLES,
    )
    parser.add_argument("--drs4-run", type=int, required=True, help="DRS4 run of the night")
    parser.add_argument("--calibration-run", type=int, required=True, help="calibration run")
    parser.add_argument("subrun", type=_subrun, metavar="RUN.SUBRUN", help="such as 01874.0003")
    add_night_options(parser)
    return parser


def _command(arguments: argparse.Namespace) -> ExitCode:
    from osa.cli.task import run_task
    from osa.steps.sequences import DATA_MODULES, process_subrun

    layout = open_night(arguments)
    run, subrun = arguments.subrun
    with run_task(layout, layout.settings.data_job.cpus, DATA_MODULES) as (workshop, say):
        process_subrun(
            layout,
            run=run,
            subrun=subrun,
            drs4_run=arguments.drs4_run,
            calibration_run=arguments.calibration_run,
            workshop=workshop,
            say=say,
        )
    return ExitCode.DONE


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    return run_command(_parser(), _command, argv)


if __name__ == "__main__":
    sys.exit(main())
