"""The command ``sequencer``: sequences of a night, their jobs, and the table of both."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
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
from osa.errors import ExitCode, InputError

if TYPE_CHECKING:
    from osa.decision import Decision
    from osa.layout import Layout
    from osa.model.job import TaskRecord
    from osa.model.sequence import NightPlan
    from osa.scheduler.base import Scheduler

__all__ = ["main"]

EXAMPLES = """\
  sequencer -s                      look at last night, touch nothing
  sequencer -d 2020_01_27           submit what is missing of that night
  sequencer -d 2020_01_27 --detach  the same on this machine, without waiting for the tasks
  sequencer -d 2020_01_27 --wait    the same on Slurm, and wait for the tasks
  sequencer -s --json | jq '.sequences[].State'
  sequencer -d 2020_01_27 --drs4-run 1872 --calibration-run 1873
  sequencer -d 2020_01_27 --cancel --seq 1874    cancel the tasks of one run
"""


def _parser() -> Parser:
    parser = Parser(
        "sequencer",
        "Make each run of a night a sequence, submit the jobs that are missing, and show the\n"
        "table of all. What is done or under way is left alone, so it can be run at any time.",
        EXAMPLES,
    )
    add_night_options(parser)
    parser.add_argument("-s", "--simulate", action="store_true", help="only show; touch nothing")
    parser.add_argument("--json", action="store_true", help="print the table as JSON")
    add_backend_option(parser)
    waiting = parser.add_mutually_exclusive_group()
    waiting.add_argument(
        "--detach",
        action="store_true",
        help="local backend: leave the tasks to a process in the background",
    )
    waiting.add_argument("--wait", action="store_true", help="Slurm: wait until the tasks have ended")
    parser.add_argument("--cancel", action="store_true", help="cancel what is pending or running")
    parser.add_argument("--seq", type=int, metavar="RUN", help="with --cancel: only the sequence of this run")
    parser.add_argument("-y", "--yes", action="store_true", help="with --cancel: do not ask")
    parser.add_argument("--drs4-run", type=int, metavar="RUN", help="use this DRS4 run")
    parser.add_argument("--calibration-run", type=int, metavar="RUN", help="use this calibration run")
    return parser


def _command(arguments: argparse.Namespace) -> ExitCode:
    from osa.nightstate import strangers
    from osa.nightsummary.plan import keep_choice, plan_night
    from osa.scheduler.select import refuse_other_backend, select_scheduler

    layout = open_night(arguments)
    closed = layout.night_finished.exists()
    if closed and not layout.night_summary.exists():
        note(_closed(layout))  # a night without data
        return ExitCode.DONE
    if arguments.seq is not None and not arguments.cancel:
        raise InputError("--seq goes with --cancel: all that is missing of a night is submitted together")
    scheduler = select_scheduler(layout.settings, arguments.backend, warn=note)
    refuse_other_backend(layout.settings, layout.group, scheduler)
    runs = {"drs4_run": arguments.drs4_run, "calibration_run": arguments.calibration_run}
    plan = plan_night(layout, **runs)
    if arguments.cancel:
        return _cancel(layout, plan, scheduler, arguments)
    if not arguments.simulate and not closed:
        from osa.system.locks import only_instance

        with only_instance(layout.night_lock, layout.title):
            keep_choice(layout, **runs)
            _submit(layout, plan, scheduler)
        _run(layout, scheduler, arguments)
    records = scheduler.records(layout.group, plan.names)
    decisions = _decide(layout, plan, records, simulate=True)
    for name in strangers(plan, records):
        note(f"{name} may be at work, although the night has no such sequence; --cancel ends that")
    _show(layout, plan, decisions, closed=closed, as_text=not arguments.json)
    may_be_live = not arguments.wait
    if (
        closed
        or arguments.simulate
        or all(d.state.is_done or (may_be_live and d.state.live) for d in decisions)
    ):
        return ExitCode.DONE
    return ExitCode.NOT_COMPLETE


def _decide(
    layout: Layout, plan: NightPlan, records: Iterable[TaskRecord], *, simulate: bool
) -> tuple[Decision, ...]:
    from osa.decision import decide
    from osa.nightstate import read_night_state

    return decide(read_night_state(layout, plan, records), simulate=simulate)


def _submit(layout: Layout, plan: NightPlan, scheduler: Scheduler) -> None:
    """Submit what is missing, and veto what has failed too often."""
    from osa.cli.progress import StageBar
    from osa.decision import Action
    from osa.job import submit_night, write_veto

    decisions = _decide(layout, plan, scheduler.tidy(layout.group, plan.names), simulate=False)
    for decision in decisions:
        if decision.action is Action.VETO and not decision.state.vetoed:
            write_veto(layout, decision)
    total, done = sum(len(decision.tasks) for decision in decisions), 0
    with StageBar() as bar:

        def on_submitted(tasks: int) -> None:
            nonlocal done
            done += tasks
            bar.update("submitting tasks", done, total)

        count = submit_night(
            layout,
            decisions,
            scheduler,
            plan.choice,
            calibration_is_done=lambda: _is_calibrated(layout, plan),
            on_submitted=on_submitted,
        )
    note(f"submitted {count} task(s) to {scheduler.name}" if count else "nothing to submit")


def _is_calibrated(layout: Layout, plan: NightPlan) -> bool:
    """Look at the products of the calibration as they are now."""
    from dataclasses import replace

    from osa.nightstate import read_night_state

    calibration = tuple(sequence for sequence in plan.sequences if sequence is plan.calibration)
    return all(state.is_done for state in read_night_state(layout, replace(plan, sequences=calibration), ()))


def _run(layout: Layout, scheduler: Scheduler, arguments: argparse.Namespace) -> None:
    """See to it that the tasks are run, and stay where that is wanted."""
    from osa.cli.progress import run_with_progress, wait_with_progress
    from osa.scheduler.local import LocalScheduler, start_detached

    if not isinstance(scheduler, LocalScheduler):
        if arguments.wait:
            wait_with_progress(layout.group, scheduler)
        return
    if not any(record.state.is_live for record in scheduler.records(layout.group)):
        return
    if arguments.detach:
        process = start_detached(scheduler.store, layout.group.name, scheduler.capacity)
        note(f"process {process} runs the tasks in the background; sequencer -s shows how far it is")
    else:
        run_with_progress(layout.group, scheduler)


def _cancel(layout: Layout, plan: NightPlan, scheduler: Scheduler, arguments: argparse.Namespace) -> ExitCode:
    """Cancel what is alive of the night, or of one run."""
    from collections import Counter

    from osa.model.job import live_tries
    from osa.nightstate import strangers
    from osa.system.locks import only_instance

    chosen = [s for s in plan.sequences if arguments.seq in (None, s.run)]
    if not chosen:
        raise InputError(f"--seq {arguments.seq}: the night has no sequence of this run")
    names = [sequence.name for sequence in chosen]
    records = scheduler.records(layout.group, names)
    if arguments.seq is None:
        names += strangers(plan, records)
    live = Counter(record.name for record in live_tries(records))
    alive = {name: live[name] for name in names if live[name]}
    for name, count in alive.items():
        print(f"{name}: {count} task(s) pending or running")
    if arguments.seq is not None and chosen[0] is plan.calibration:
        print("the DATA runs that wait for it are cancelled with it")
    if arguments.simulate or not alive:
        note(f"would cancel {sum(alive.values())} task(s)" if alive else "nothing to cancel")
        return ExitCode.DONE
    if not arguments.yes and sys.stdin.isatty() and not confirm("Cancel them?"):
        return ExitCode.NOT_COMPLETE
    with only_instance(layout.night_lock, layout.title):
        count = scheduler.cancel(layout.group, names)
    note(f"cancelled {count} task(s); sequencer submits them again")
    return ExitCode.DONE if count == sum(alive.values()) else ExitCode.NOT_COMPLETE


def _show(
    layout: Layout,
    plan: NightPlan,
    decisions: tuple[Decision, ...],
    *,
    closed: bool,
    as_text: bool,
) -> None:
    from osa.report import as_json, notes, print_table, table_rows

    if not as_text:
        print(as_json(layout, plan, decisions, closed=closed))
        return
    print_table(table_rows(decisions))
    for line in notes(plan, decisions):
        note(line)
    if closed:
        note(_closed(layout))


def _closed(layout: Layout) -> str:
    return f"Night {layout.night} is closed: see {layout.night_finished}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    return run_command(_parser(), _command, argv)


if __name__ == "__main__":
    sys.exit(main())
