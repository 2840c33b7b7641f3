"""The command ``closer``: judge a night, merge and move its products, close it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from osa.cli.common import (
    Parser,
    add_backend_option,
    add_night_options,
    add_running_options,
    confirm,
    note,
    open_night,
    run_command,
)
from osa.errors import ExitCode, InputError

if TYPE_CHECKING:
    from osa.closing.cure import Cures
    from osa.closing.night import Closing
    from osa.layout import Layout
    from osa.scheduler.base import Scheduler

__all__ = ["main"]

REASONS = ("moon", "weather", "other")

EXAMPLES = """\
  closer -s                       say what is missing, what would be done and why; touch nothing
  closer -d 2020_01_27            close that night; asks on a terminal
  closer -d 2020_01_27 -y         without asking: close it, or cure what keeps it from being closed
  closer -d 2020_01_27 -y --wait  the same, waiting for the jobs that cure it (Slurm)
  closer -d 2020_01_27 --seq 1874 close one run of it
  closer -d 2020_01_27 -f         close it although it is not complete
  closer -d 2020_01_28 -r moon    close a night without data
  closer -d 2020_01_27 --reopen   open a closed night again, for files that came late
"""
_MOST_ROUNDS = 20


def _parser() -> Parser:
    parser = Parser(
        "closer",
        "Judge whether a night is complete, from its products and histories; merge the data\n"
        "checks and DL2 of each run, move all products to their final places, and flag the night\n"
        "as finished. What is missing of an incomplete night is listed; known failures are cured\n"
        "(tried again with more memory or time, left out, calibrated otherwise), and the next call\n"
        "closes it.",
        EXAMPLES,
    )
    add_night_options(parser)
    add_backend_option(parser)
    add_running_options(parser)
    parser.add_argument("-s", "--simulate", action="store_true", help="only tell; touch nothing")
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
    parser.add_argument("--seq", type=int, metavar="RUN", help="close only the sequence of this run")
    parser.add_argument("-r", "--reason", choices=REASONS, help="close a night without data")
    parser.add_argument(
        "-f",
        "--force",
        action="store_true",
        help="cure nothing; close what is there, although some is missing",
    )
    parser.add_argument("--reopen", action="store_true", help="open a closed night, or run, again")
    return parser


def _command(arguments: argparse.Namespace) -> ExitCode:
    from osa.scheduler.select import refuse_other_backend, select_scheduler

    layout = open_night(arguments)
    if arguments.reopen:
        return _reopen(layout, arguments)
    if layout.night_finished.exists():
        return _already_closed(layout)
    scheduler = select_scheduler(layout.settings, arguments.backend, warn=note)
    refuse_other_backend(layout.settings, layout.group, scheduler)
    asked = False
    for _ in range(_MOST_ROUNDS):
        closing = _judge(layout, scheduler, arguments)
        _tell(closing)
        cures = None if arguments.force or closing.is_complete else closing.cures(scheduler)
        if arguments.simulate:
            return _simulate(closing, cures, arguments)
        if not cures:
            if _run_what_waits(closing, scheduler, arguments):
                continue
            break
        if not asked and not _may(arguments, f"Cure this?\n  {_listed(cures.lines)}\n"):
            break
        asked = True
        if not _cure(closing, scheduler, arguments):
            return _not_closed(_judge(layout, scheduler, arguments), scheduler)
    if not _may_close(closing, arguments):
        return _not_closed(closing, scheduler)
    return _close(closing, scheduler, arguments)


def _judge(
    layout: Layout, scheduler: Scheduler, arguments: argparse.Namespace, *, tidy: bool = False
) -> Closing:
    from osa.cli.progress import StageBar
    from osa.closing.night import Closing

    with StageBar() as bar:
        return Closing.prepare(
            layout,
            scheduler,
            tidy=tidy,
            run=arguments.seq,
            without_data=arguments.reason,
            on_judged=bar.update,
        )


def _close(closing: Closing, scheduler: Scheduler, arguments: argparse.Namespace) -> ExitCode:
    """Close what was found complete, or what is to be closed all the same."""
    from osa.cli.progress import StageBar

    layout = closing.layout
    with closing.alone():
        # Judged again: something may have happened before the lock was ours.
        closing = _judge(layout, scheduler, arguments, tidy=True)
        if closing.is_under_way or not (closing.is_complete or arguments.force):
            note("something changed meanwhile: not closed; run closer again")
            return ExitCode.NOT_COMPLETE
        with StageBar() as bar:
            closing.perform(bar.update)
    what_closed = f"Night {layout.night}" if closing.whole_night else f"Run {arguments.seq}"
    print(f"{what_closed} is closed" + (f": see {layout.night_finished}" if closing.whole_night else ""))
    return ExitCode.DONE


def _cure(closing: Closing, scheduler: Scheduler, arguments: argparse.Namespace) -> bool:
    """Apply cures and run what they submit; tell whether the night can be looked at again at once."""
    from osa.cli.progress import run_tasks
    from osa.closing.cure import apply_cures
    from osa.scheduler.local import LocalScheduler

    layout = closing.layout
    with closing.alone():
        closing = _judge(layout, scheduler, arguments, tidy=True)
        done = apply_cures(layout, closing.cures(scheduler), scheduler, run=arguments.seq)
    for line in done.lines:
        note(f"cured: {line}")
    if not done.submitted:
        return bool(done.lines)
    run_tasks(layout.group, scheduler, wait=arguments.wait, detach=arguments.detach)
    return arguments.wait or (isinstance(scheduler, LocalScheduler) and not arguments.detach)


def _run_what_waits(closing: Closing, scheduler: Scheduler, arguments: argparse.Namespace) -> bool:
    """Run tasks of this machine that nobody runs any more; tell whether it was done."""
    from osa.cli.progress import run_tasks
    from osa.scheduler.local import LocalScheduler

    group = closing.layout.group
    if not isinstance(scheduler, LocalScheduler) or not closing.is_under_way or arguments.force:
        return False
    if scheduler.store.executor(group.name) is not None:
        return False
    run_tasks(group, scheduler, wait=False, detach=arguments.detach)
    return not arguments.detach


def _tell(closing: Closing) -> None:
    for verdict in closing.verdicts:
        closed = "closed" if verdict.state.closed else "complete"
        name = verdict.state.sequence.name
        print(f"{name}: {closed if verdict.is_complete else 'NOT complete'}")
        for missing in verdict.missing:
            print(f"  {missing}")
    if not closing.verdicts and closing.without_data is None:
        print("the night has no sequences: -r closes a night without data")


def _listed(lines: Iterable[str]) -> str:
    return "\n  ".join(lines)


def _simulate(closing: Closing, cures: Cures | None, arguments: argparse.Namespace) -> ExitCode:
    what = "night" if closing.whole_night else "sequence"
    if cures is not None:
        for line in cures.lines:
            print(f"would {line}")
        for remark in cures.remarks:
            print(remark)
    if closing.is_under_way or not (closing.is_complete or arguments.force):
        print(f"would not close the {what} yet" if cures else f"would not close the {what}")
        return ExitCode.NOT_YET if closing.is_under_way else ExitCode.NOT_COMPLETE
    for action in closing.actions():
        print(f"would {action}")
    print(f"would close the {what}")
    return ExitCode.DONE if closing.is_complete else ExitCode.NOT_COMPLETE


def _may(arguments: argparse.Namespace, question: str) -> bool:
    """Ask, where there is somebody to ask."""
    return arguments.yes or not sys.stdin.isatty() or confirm(question)


def _may_close(closing: Closing, arguments: argparse.Namespace) -> bool:
    """Decide, asking where there is somebody to ask."""
    what = "night" if closing.whole_night else "sequence"
    if closing.is_under_way:
        return False
    if closing.is_complete or arguments.force:
        return _may(arguments, f"Close the {what}?")
    if arguments.yes or not sys.stdin.isatty() or not closing.verdicts:
        return False
    arguments.force = confirm(f"The {what} is not complete. Close it all the same?")
    return bool(arguments.force)


def _not_closed(closing: Closing, scheduler: Scheduler) -> ExitCode:
    """Say why a night is not closed; raise the alarm where that takes too long."""
    from osa.closing.alarm import raise_alarm

    cures = closing.cures(scheduler)
    for remark in cures.remarks:
        note(remark)
    if closing.whole_night:
        raise_alarm(closing, cures, attended=sys.stdin.isatty(), say=note)
    what = "night" if closing.whole_night else "sequence"
    if closing.is_under_way:
        note(f"not closed yet: {closing.what_is_under_way}")
        return ExitCode.NOT_YET
    if closing.is_complete:
        return ExitCode.NOT_COMPLETE  # somebody was asked, and said no
    note(f"not closed: the {what} is not complete (sequencer makes what is missing, -f closes it)")
    return ExitCode.NOT_COMPLETE


def _already_closed(layout: Layout) -> ExitCode:
    """Say that a night is closed, and what has come since."""
    from osa.closing.undo import late_subruns
    from osa.model.run import list_subruns
    from osa.nightsummary.plan import plan_night

    note(f"Night {layout.night} is closed already: see {layout.night_finished}")
    if not layout.night_summary.exists():
        return ExitCode.DONE
    late = late_subruns(layout, plan_night(layout))
    for run, subruns in late.items():
        note(f"raw files came after it was closed: sub-runs {list_subruns(subruns)} of run {run:05d}")
    if late:
        note("closer --reopen, then sequencer, take them in")
    return ExitCode.NOT_COMPLETE if late else ExitCode.DONE


def _reopen(layout: Layout, arguments: argparse.Namespace) -> ExitCode:
    """Open a closed night, or one run of it, again."""
    from datetime import UTC, datetime

    from osa.closing.undo import reopen
    from osa.nightsummary.plan import plan_night
    from osa.system.locks import only_instance

    if not layout.night_summary.exists():
        raise InputError(f"there is nothing to open again: no night summary {layout.night_summary}")
    plan = plan_night(layout)
    chosen = [s for s in plan.sequences if arguments.seq in (None, s.run)]
    if not chosen:
        raise InputError(f"--seq {arguments.seq}: the night has no sequence of this run")
    closed = [sequence for sequence in chosen if layout.closed(sequence).exists()]
    if not closed and not layout.night_finished.exists():
        note(f"nothing of it is closed: {layout.title}")
        return ExitCode.DONE
    if arguments.simulate:
        note(f"would open {len(closed)} sequence(s) again")
        return ExitCode.DONE
    if not _may(arguments, f"Open {len(closed)} closed sequence(s) of {layout.title} again?"):
        return ExitCode.NOT_COMPLETE
    with only_instance(layout.night_lock, layout.title):
        reopen(layout, plan, chosen, clock=datetime.now(UTC))
    note(f"{layout.title} is open again: sequencer makes what is missing, closer closes it")
    return ExitCode.DONE


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    return run_command(_parser(), _command, argv)


if __name__ == "__main__":
    sys.exit(main())
