"""The command ``sequencer``: sequences of a night, their jobs, and the table of both."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from osa.cli.common import Parser, add_night_options, note, open_night, run_command
from osa.errors import ExitCode

if TYPE_CHECKING:
    from osa.job import Decision
    from osa.layout import Layout
    from osa.model.sequence import NightPlan
    from osa.scheduler.base import Scheduler
    from osa.scheduler.local import LocalScheduler

__all__ = ["main"]

EXAMPLES = """\
  sequencer -s                      look at last night, touch nothing
  sequencer -d 2020_01_27           submit what is missing of that night
  sequencer -d 2020_01_27 --detach  the same, without waiting for the tasks
  sequencer -s --json | jq '.sequences[].State'
  sequencer -d 2020_01_27 --drs4-run 1872 --calibration-run 1873
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
    parser.add_argument(
        "--backend", choices=("auto", "local", "slurm"), help="who runs the jobs (default: as configured)"
    )
    parser.add_argument(
        "--detach",
        action="store_true",
        help="local backend: leave the tasks to a process in the background",
    )
    parser.add_argument("--drs4-run", type=int, metavar="RUN", help="use this DRS4 run")
    parser.add_argument("--calibration-run", type=int, metavar="RUN", help="use this calibration run")
    return parser


def _command(arguments: argparse.Namespace) -> ExitCode:
    from osa.nightsummary.plan import keep_choice, plan_night
    from osa.scheduler.select import select_scheduler
    from osa.system.locks import only_instance

    layout = open_night(arguments)
    closed = layout.night_finished.exists()
    if closed and not layout.night_summary.exists():
        note(_closed(layout))  # a night without data
        return ExitCode.DONE
    scheduler = select_scheduler(layout.settings, arguments.backend)
    runs = {"drs4_run": arguments.drs4_run, "calibration_run": arguments.calibration_run}
    plan = plan_night(layout, **runs)
    if not arguments.simulate and not closed:
        what = f"night {layout.night} of {layout.settings.telescope_name}"
        with only_instance(layout.night_lock, what):
            keep_choice(layout, **runs)
            _submit(layout, plan, scheduler)
        _run(layout, scheduler, detach=arguments.detach)
    decisions = _look(layout, plan, scheduler, simulate=True)
    _show(layout, plan, decisions, closed=closed, as_text=not arguments.json)
    if closed or arguments.simulate or all(d.state.is_done or d.state.live for d in decisions):
        return ExitCode.DONE
    return ExitCode.NOT_COMPLETE


def _look(layout: Layout, plan: NightPlan, scheduler: Scheduler, *, simulate: bool) -> tuple[Decision, ...]:
    from osa.job import decide
    from osa.nightstate import read_night_state

    states = read_night_state(layout, plan, scheduler.records(layout.group))
    return decide(states, simulate=simulate)


def _submit(layout: Layout, plan: NightPlan, scheduler: LocalScheduler) -> None:
    """Submit what is missing, and veto what has failed too often."""
    from osa.job import Action, submit_night, write_veto

    decisions = _look(layout, plan, scheduler, simulate=False)
    for decision in decisions:
        if decision.action is Action.VETO and not decision.state.vetoed:
            write_veto(layout, decision)
    count = submit_night(layout, decisions, scheduler, plan.choice)
    note(f"submitted {count} task(s)" if count else "nothing to submit")


def _run(layout: Layout, scheduler: LocalScheduler, *, detach: bool) -> None:
    """See to it that the tasks are run."""
    from osa.cli.progress import run_with_progress
    from osa.scheduler.local import start_detached

    if not any(record.state.is_live for record in scheduler.records(layout.group)):
        return
    if detach:
        process = start_detached(scheduler.store, layout.group, scheduler.capacity)
        note(f"process {process} runs the tasks in the background; sequencer -s shows how far it is")
    else:
        run_with_progress(layout, scheduler)


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
