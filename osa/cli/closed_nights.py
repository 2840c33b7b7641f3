"""What the closer does with nights that are closed: tells what came since, and opens them again."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime

from osa.cli.common import may, note
from osa.closing.alarm import tell_of_late_files
from osa.closing.undo import late_subruns, reopen
from osa.errors import ExitCode, InputError
from osa.layout import Layout
from osa.model.run import list_subruns, run_tag
from osa.nightsummary.plan import plan_night
from osa.nightsummary.raw import find_raw_subruns
from osa.system.locks import only_instance

__all__ = ["open_again", "tell_what_came_since"]


def tell_what_came_since(layout: Layout) -> ExitCode:
    """Say that a night is closed, and which raw files it does not have yet."""
    note(f"Night {layout.night} is closed already: see {layout.night_finished}")
    if not layout.night_summary.exists():
        return ExitCode.DONE
    plan = plan_night(layout)
    if plan.borrowed is not None:
        note(plan.choice.explanation[0])
    late = late_subruns(layout, plan)
    if plan.unlisted:
        there = find_raw_subruns(layout)
        late.update({run: there.get(run, ()) for run in plan.unlisted})
    for run, subruns in late.items():
        which = f"sub-runs {list_subruns(subruns)} of run {run_tag(run)}"
        note(f"raw files came after it was closed: {which}")
    if late:
        note("closer --reopen, then sequencer, take them in")
        tell_of_late_files(layout, late, attended=sys.stdin.isatty(), say=note)
    return ExitCode.NOT_COMPLETE if late else ExitCode.DONE


def open_again(layout: Layout, arguments: argparse.Namespace) -> ExitCode:
    """Open a closed night, or one run of it, again."""
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
    question = f"Open {len(closed)} closed sequence(s) of {layout.title} again?"
    if not may(arguments, question):
        return ExitCode.NOT_COMPLETE
    with only_instance(layout.night_lock, layout.title):
        plan = plan_night(layout)  # as it is now that nobody else can change it
        chosen = [sequence for sequence in plan.sequences if arguments.seq in (None, sequence.run)]
        reopen(layout, plan, chosen, clock=datetime.now(UTC))
    note(f"{layout.title} is open again: sequencer makes what is missing, closer closes it")
    return ExitCode.DONE
