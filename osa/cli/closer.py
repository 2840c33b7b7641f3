"""The command ``closer``: judge a night, merge and move its products, close it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from osa.cli.common import (
    Parser,
    add_backend_option,
    add_night_options,
    confirm,
    note,
    open_night,
    run_command,
)
from osa.errors import ExitCode

if TYPE_CHECKING:
    from osa.closing.night import Closing

__all__ = ["main"]

REASONS = ("moon", "weather", "other")

EXAMPLES = """\
  closer -s                       say what is missing and what would be done; touch nothing
  closer -d 2020_01_27            close that night; asks on a terminal
  closer -d 2020_01_27 -y         close it without asking, if it is complete
  closer -d 2020_01_27 --seq 1874 close one run of it
  closer -d 2020_01_27 -f         close it although it is not complete
  closer -d 2020_01_28 -r moon    close a night without data
"""


def _parser() -> Parser:
    parser = Parser(
        "closer",
        "Judge whether a night is complete, from its products and histories; merge the data\n"
        "checks and DL2 of each run, move all products to their final places, and flag the night\n"
        "as finished. An incomplete night is left as it is, and what is missing is listed.",
        EXAMPLES,
    )
    add_night_options(parser)
    add_backend_option(parser)
    parser.add_argument("-s", "--simulate", action="store_true", help="only tell; touch nothing")
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
    parser.add_argument("--seq", type=int, metavar="RUN", help="close only the sequence of this run")
    parser.add_argument("-r", "--reason", choices=REASONS, help="close a night without data")
    parser.add_argument(
        "-f", "--force", action="store_true", help="close what is there, although some is missing"
    )
    return parser


def _command(arguments: argparse.Namespace) -> ExitCode:
    from osa.cli.progress import StageBar
    from osa.closing.night import Closing
    from osa.scheduler.select import refuse_other_backend, select_scheduler

    layout = open_night(arguments)
    if layout.night_finished.exists():
        note(f"Night {layout.night} is closed already: see {layout.night_finished}")
        return ExitCode.DONE
    scheduler = select_scheduler(layout.settings, arguments.backend, warn=note)
    refuse_other_backend(layout.settings, layout.group, scheduler)
    with StageBar() as bar:
        what = {"run": arguments.seq, "without_data": arguments.reason, "on_judged": bar.update}
        closing = Closing.prepare(layout, scheduler, **what)
    _tell(closing)
    if arguments.simulate:
        return _simulate(closing, arguments)
    if not _may_close(closing, arguments):
        return ExitCode.NOT_COMPLETE
    with closing.alone(), StageBar() as bar:
        # Judged again: something may have happened before the lock was ours.
        closing = Closing.prepare(layout, scheduler, tidy=True, **{**what, "on_judged": bar.update})
        if closing.is_under_way or not (closing.is_complete or arguments.force):
            note("something changed meanwhile: not closed; run closer again")
            return ExitCode.NOT_COMPLETE
        closing.perform(bar.update)
    what_closed = f"Night {layout.night}" if closing.whole_night else f"Run {arguments.seq}"
    print(f"{what_closed} is closed" + (f": see {layout.night_finished}" if closing.whole_night else ""))
    return ExitCode.DONE


def _tell(closing: Closing) -> None:
    for verdict in closing.verdicts:
        closed = "closed" if verdict.state.closed else "complete"
        name = verdict.state.sequence.name
        print(f"{name}: {closed if verdict.is_complete else 'NOT complete'}")
        for missing in verdict.missing:
            print(f"  {missing}")
    if not closing.verdicts and closing.without_data is None:
        print("the night has no sequences: -r closes a night without data")


def _simulate(closing: Closing, arguments: argparse.Namespace) -> ExitCode:
    what = "night" if closing.whole_night else "sequence"
    if closing.is_under_way or not (closing.is_complete or arguments.force):
        print(f"would not close the {what}")
        return ExitCode.NOT_COMPLETE
    for action in closing.actions():
        print(f"would {action}")
    print(f"would close the {what}")
    return ExitCode.DONE if closing.is_complete else ExitCode.NOT_COMPLETE


def _may_close(closing: Closing, arguments: argparse.Namespace) -> bool:
    """Decide, asking where there is somebody to ask."""
    if closing.is_under_way:
        note(f"not closed: {closing.what_is_under_way}")
        return False
    what = "night" if closing.whole_night else "sequence"
    if closing.is_complete or arguments.force:
        return arguments.yes or not sys.stdin.isatty() or confirm(f"Close the {what}?")
    if arguments.yes or not sys.stdin.isatty() or not closing.verdicts:
        note(f"not closed: the {what} is not complete (sequencer makes what is missing, -f closes it)")
        return False
    arguments.force = confirm(f"The {what} is not complete. Close it all the same?")
    return bool(arguments.force)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    return run_command(_parser(), _command, argv)


if __name__ == "__main__":
    sys.exit(main())
