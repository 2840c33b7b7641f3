"""The command ``closer``: judge a night, merge and move its products, close it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from osa.cli.common import (
    Parser,
    add_backend_option,
    add_night_options,
    add_running_options,
    confirm,
    may,
    note,
    open_night,
    run_command,
)
from osa.errors import ExitCode, NightNotCompleteError

if TYPE_CHECKING:
    from osa.closing.cure import Cures
    from osa.closing.examine import Examiner
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
    layout = open_night(arguments)
    if arguments.reopen:
        from osa.cli.closed_nights import open_again

        return open_again(layout, arguments)
    if layout.night_finished.exists():
        from osa.cli.closed_nights import tell_what_came_since

        return tell_what_came_since(layout)
    from osa.closing.examine import Examiner
    from osa.scheduler.select import local_capacity, refuse_other_backend, select_scheduler

    scheduler = select_scheduler(layout.settings, arguments.backend, warn=note)
    refuse_other_backend(layout.settings, layout.group, scheduler)
    with Examiner(local_capacity(layout.settings).cores) as examiner:
        return _bring_to_end(_Work(layout, scheduler, examiner, arguments))


@dataclass(frozen=True)
class _Work:
    """What the closer works on, and with."""

    layout: Layout
    scheduler: Scheduler
    examiner: Examiner
    arguments: argparse.Namespace

    def judge(self, *, tidy: bool = False) -> Closing:
        """Look at the night as it is now."""
        from osa.cli.progress import StageBar
        from osa.closing.night import Closing

        with StageBar() as bar:
            return Closing.prepare(
                self.layout,
                self.scheduler,
                examiner=self.examiner,
                tidy=tidy,
                run=self.arguments.seq,
                without_data=self.arguments.reason,
                on_judged=bar.update,
            )

    def run_tasks(self) -> bool:
        """Run what was submitted; tell whether its end was waited for."""
        from osa.cli.progress import run_tasks
        from osa.scheduler.local import LocalScheduler

        arguments = self.arguments
        run_tasks(self.layout.group, self.scheduler, wait=arguments.wait, detach=arguments.detach)
        return arguments.wait or (isinstance(self.scheduler, LocalScheduler) and not arguments.detach)


def _bring_to_end(work: _Work) -> ExitCode:
    """Judge the night and cure it, until it can be closed, or nothing more can be done now."""
    asked, cures = False, None
    for _ in range(_MOST_ROUNDS):
        closing = work.judge()
        _tell(closing)
        cures = None if work.arguments.force or closing.is_complete else closing.cures(work.scheduler)
        if work.arguments.simulate:
            return _simulate(closing, cures, work.arguments)
        if not cures:
            if _run_what_waits(work, closing):
                continue
            break
        asked = asked or may(work.arguments, "Cure this?\n  " + "\n  ".join(cures.lines) + "\n")
        if not asked:
            break
        if not _cure(work, closing):
            closing, cures = work.judge(), None
            break
    if _may_close(work, closing):
        return _close(work, closing)
    return _not_closed(work, closing, cures)


def _close(work: _Work, closing: Closing) -> ExitCode:
    """Close what was found complete, or what is to be closed all the same."""
    from osa.cli.progress import StageBar

    with closing.alone():
        # Judged again: something may have happened before the lock was ours.
        closing = work.judge(tidy=True)
        if closing.is_under_way or not (closing.is_complete or work.arguments.force):
            note("something changed meanwhile: not closed; run closer again")
            return ExitCode.NOT_YET
        try:
            with StageBar() as bar:
                closing.perform(bar.update, force=work.arguments.force)
        except NightNotCompleteError as error:
            _raise_alarm(work, closing, str(error))
            raise
    if closing.whole_night:
        print(f"Night {work.layout.night} is closed: see {work.layout.night_finished}")
    else:
        print(f"Run {work.arguments.seq} is closed")
    return ExitCode.DONE


def _raise_alarm(work: _Work, closing: Closing, why: str) -> None:
    """Raise the alarm over a night of which all is there, and that cannot be closed."""
    from osa.closing.alarm import raise_alarm

    if closing.whole_night:
        remarks = tuple(line.strip() for line in why.splitlines())
        cures = replace(closing.cures(work.scheduler), remarks=remarks)
        raise_alarm(closing, cures, attended=sys.stdin.isatty(), say=note)


def _cure(work: _Work, closing: Closing) -> bool:
    """Apply cures and run what they submit; tell whether it is worth looking at the night again."""
    from osa.closing.cure import apply_cures

    with closing.alone():
        closing = work.judge(tidy=True)
        cures = closing.cures(work.scheduler)
        done = apply_cures(work.layout, cures, work.scheduler, run=work.arguments.seq)
    for line in done.lines:
        note(f"cured: {line}")
    waited = work.run_tasks() if done.submitted else bool(done.lines)
    if done.failure is not None:
        _not_closed(work, work.judge())
        raise done.failure
    return waited


def _run_what_waits(work: _Work, closing: Closing) -> bool:
    """Run tasks of this machine that nobody runs any more; tell whether their end was waited for."""
    from osa.scheduler.local import LocalScheduler

    scheduler = work.scheduler
    if not isinstance(scheduler, LocalScheduler) or work.arguments.force or not closing.is_under_way:
        return False
    is_run = scheduler.store.executor(work.layout.group.name) is not None
    return not is_run and work.run_tasks()


def _tell(closing: Closing) -> None:
    for verdict in closing.verdicts:
        closed = "closed" if verdict.state.closed else "complete"
        name = verdict.state.sequence.name
        print(f"{name}: {closed if verdict.is_complete else 'NOT complete'}")
        for missing in verdict.missing:
            print(f"  {missing}")
    if not closing.verdicts and closing.without_data is None:
        print("the night has no sequences: -r closes a night without data")


def _simulate(closing: Closing, cures: Cures | None, arguments: argparse.Namespace) -> ExitCode:
    what = _what(closing)
    if cures is not None:
        for line in cures.lines:
            print(f"would {line}")
        for remark in (*(closing.open_questions if closing.whole_night else ()), *cures.remarks):
            print(remark)
    if closing.is_under_way or not (closing.is_complete or arguments.force):
        waits = closing.is_under_way or bool(closing.plan.arriving)
        print(f"would not close the {what} yet" if cures or waits else f"would not close the {what}")
        return ExitCode.NOT_YET if waits else ExitCode.NOT_COMPLETE
    for action in closing.actions():
        print(f"would {action}")
    print(f"would close the {what}")
    return ExitCode.DONE if closing.is_complete else ExitCode.NOT_COMPLETE


def _may_close(work: _Work, closing: Closing) -> bool:
    """Decide, asking where there is somebody to ask."""
    arguments, what = work.arguments, _what(closing)
    if closing.is_under_way:
        return False
    if closing.is_complete or arguments.force:
        return may(arguments, f"Close the {what}?")
    if arguments.yes or not sys.stdin.isatty() or not closing.verdicts:
        return False
    arguments.force = confirm(f"The {what} is not complete. Close it all the same?")
    return bool(arguments.force)


def _not_closed(work: _Work, closing: Closing, cures: Cures | None = None) -> ExitCode:
    """Say why a night is not closed; raise the alarm where that takes too long.

    Parameters
    ----------
    work : _Work
        What the closer works on.
    closing : Closing
        The night.
    cures : Cures, optional
        What can be done about it, where that was found before: it takes reading logs.
    """
    from osa.closing.alarm import raise_alarm

    if closing.is_complete and not closing.is_under_way:
        return ExitCode.NOT_COMPLETE  # somebody was asked, and said no
    cures = closing.cures(work.scheduler) if cures is None else cures
    for remark in (*(closing.open_questions if closing.whole_night else ()), *cures.remarks):
        note(remark)
    if closing.whole_night:
        raise_alarm(closing, cures, attended=sys.stdin.isatty(), say=note)
    if closing.is_under_way:
        note(f"not closed yet: {closing.what_is_under_way}")
        return ExitCode.NOT_YET
    if closing.plan.arriving:
        note("not closed yet: raw files are still arriving; try again when all have come")
        return ExitCode.NOT_YET
    note(f"not closed: the {_what(closing)} is not complete (sequencer makes what is missing, -f closes it)")
    return ExitCode.NOT_COMPLETE


def _what(closing: Closing) -> str:
    return "night" if closing.whole_night else "sequence"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    return run_command(_parser(), _command, argv)


if __name__ == "__main__":
    sys.exit(main())
