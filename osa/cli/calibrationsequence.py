"""The command ``calibrationsequence``: the calibration of a night."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from osa.cli.common import Parser, add_night_options, open_night, run_command
from osa.errors import ExitCode, InputError

__all__ = ["main"]

EXAMPLES = """\
  calibrationsequence -d 2020_01_27 --drs4-run 1872 --calibration-run 1873
  calibrationsequence -c my.cfg -d 2020_01_27 --drs4-run 1872 --calibration-run 1873 LST1
"""


def _parser() -> Parser:
    parser = Parser(
        "calibrationsequence",
        "Make the calibration of a night with lstchain: DRS4 pedestal, time calibration, charge\n"
        "calibration, and their plots. Goes on from where the history says that it stands.",
        EXAMPLES,
    )
    parser.add_argument("--drs4-run", type=int, required=True, help="DRS4 run of the night")
    parser.add_argument("--calibration-run", type=int, required=True, help="calibration run")
    add_night_options(parser)
    return parser


def _command(arguments: argparse.Namespace) -> ExitCode:
    from osa.cli.task import run_task
    from osa.nightsummary.raw import find_raw_subruns
    from osa.steps.sequences import CALIBRATION_MODULES, process_calibration

    layout = open_night(arguments)
    subruns = find_raw_subruns(layout)
    for run in (arguments.drs4_run, arguments.calibration_run):
        if 0 not in subruns.get(run, ()):
            raise InputError(f"{layout.raw_file(run, 0)} is not there: run {run} cannot calibrate")
    with run_task(layout, layout.settings.calibration_job.cpus, CALIBRATION_MODULES) as tools:
        workshop, say = tools
        process_calibration(
            layout,
            drs4_run=arguments.drs4_run,
            calibration_run=arguments.calibration_run,
            subruns=subruns[arguments.calibration_run],
            workshop=workshop,
            say=say,
        )
    return ExitCode.DONE


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    return run_command(_parser(), _command, argv)


if __name__ == "__main__":
    sys.exit(main())
