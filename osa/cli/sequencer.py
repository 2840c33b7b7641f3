"""The command ``sequencer``: sequences of a night, their jobs, and the table of both."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from osa.cli.common import (
    Parser,
    add_backend_option,
    add_night_options,
    add_running_options,
    as_run_or_subrun,
    may,
    note,
    open_night,
    run_command,
)
from osa.errors import ExitCode, InputError

if TYPE_CHECKING:
    from osa.decision import Decision
    from osa.layout import Layout
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
  sequencer -d 2020_01_27 --veto 1874 --reason "moon in the camera"    leave one run alone
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
    add_running_options(parser)
    verbs = parser.add_mutually_exclusive_group()
    verbs.add_argument("--cancel", action="store_true", help="cancel what is pending or running")
    verbs.add_argument("--veto", type=int, metavar="RUN", help="have this run left alone until --unveto")
    verbs.add_argument(
        "--unveto", type=int, metavar="RUN", help="have it tried again; what failed before does not count"
    )
    verbs.add_argument(
        "--take-in", type=as_run_or_subrun, metavar="RUN[.SUBRUN]", help="process what the closer leaves out"
    )
    verbs.add_argument(
        "--own-calibration",
        action="store_true",
        help="go back from another night's calibration to the night's own; the data is made again",
    )
    parser.add_argument("--seq", type=int, metavar="RUN", help="with --cancel: only the sequence of this run")
    parser.add_argument("--reason", help="with --veto: why")
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
    parser.add_argument("--drs4-run", type=int, metavar="RUN", help="use this DRS4 run")
    parser.add_argument("--calibration-run", type=int, metavar="RUN", help="use this calibration run")
    return parser


def _command(arguments: argparse.Namespace) -> ExitCode:
    from osa.cli.progress import run_tasks
    from osa.nightstate import strangers
    from osa.nightsummary.plan import keep_choice, plan_night
    from osa.scheduler.select import refuse_other_backend, select_scheduler
    from osa.sequencing import decide_night

    layout = open_night(arguments)
    closed = layout.night_finished.exists()
    if closed and not layout.night_summary.exists():
        note(_closed(layout))  # a night without data
        return ExitCode.DONE
    if arguments.seq is not None and not arguments.cancel:
        raise InputError("--seq goes with --cancel: all that is missing of a night is submitted together")
    if arguments.reason is not None and arguments.veto is None:
        raise InputError("--reason goes with --veto")
    scheduler = select_scheduler(layout.settings, arguments.backend, warn=note)
    refuse_other_backend(layout.settings, layout.group, scheduler)
    runs = {"drs4_run": arguments.drs4_run, "calibration_run": arguments.calibration_run}
    plan = plan_night(layout, **runs)
    if arguments.cancel:
        return _cancel(layout, plan, scheduler, arguments)
    wanted = (arguments.veto, arguments.unveto, arguments.take_in)
    if arguments.own_calibration or any(value is not None for value in wanted):
        from osa.cli.changes import change_night

        return change_night(layout, plan, scheduler, arguments)
    if not arguments.simulate and not closed:
        from osa.system.locks import only_instance

        with only_instance(layout.night_lock, layout.title):
            plan = plan_night(layout, **runs)  # as it is now that nobody else can change it
            keep_choice(layout, **runs)
            _submit(layout, plan, scheduler)
        run_tasks(layout.group, scheduler, wait=arguments.wait, detach=arguments.detach)
    records = scheduler.records(layout.group, plan.names)
    decisions = decide_night(layout, plan, records, simulate=True)
    for name in strangers(plan, records):
        note(f"{name} may be at work, although the night has no such sequence; --cancel ends that")
    _show(layout, plan, decisions, closed=closed, as_text=not arguments.json)
    if closed or arguments.simulate:
        return ExitCode.DONE
    if plan.arriving:
        return ExitCode.NOT_YET
    may_be_live = not arguments.wait
    is_fine = all(d.state.is_done or (may_be_live and d.state.live) for d in decisions)
    return ExitCode.DONE if is_fine else ExitCode.NOT_COMPLETE


def _submit(layout: Layout, plan: NightPlan, scheduler: Scheduler) -> None:
    """Submit what is missing, and veto what has failed too often."""
    from osa.cli.progress import StageBar
    from osa.sequencing import decide_night, submit_missing

    decisions = decide_night(layout, plan, scheduler.tidy(layout.group, plan.names), simulate=False)
    total, done = sum(len(decision.tasks) for decision in decisions), 0
    with StageBar() as bar:

        def on_submitted(tasks: int) -> None:
            nonlocal done
            done += tasks
            bar.update("submitting tasks", done, total)

        count = submit_missing(layout, plan, decisions, scheduler, on_submitted)
    note(f"submitted {count} task(s) to {scheduler.name}" if count else "nothing to submit")


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
    if not may(arguments, "Cancel them?"):
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
