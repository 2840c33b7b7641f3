"""What an operator has the sequencer change in a night: vetoes, and whose calibration serves."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime

from osa.cli.common import confirm, note
from osa.errors import ExitCode, InputError
from osa.flags import lift_veto, put_veto
from osa.incidences import add_incidence
from osa.layout import Layout
from osa.model.run import run_tag
from osa.model.sequence import NightPlan, Sequence
from osa.nightstate import SequenceState, read_night_state
from osa.scheduler.base import Scheduler
from osa.system.locks import only_instance

__all__ = ["change_night"]


def change_night(
    layout: Layout, plan: NightPlan, scheduler: Scheduler, arguments: argparse.Namespace
) -> ExitCode:
    """Do what ``--veto``, ``--unveto`` or ``--own-calibration`` asks for."""
    if layout.night_finished.exists():
        raise InputError(f"the night {layout.night} is closed; closer --reopen opens it again")
    if arguments.own_calibration:
        return _own_calibration(layout, plan, scheduler, arguments)
    run = arguments.unveto if arguments.veto is None else arguments.veto
    state = _state_of(layout, plan, scheduler, run)
    if state.closed:
        raise InputError(f"run {run} is closed; closer --reopen --seq {run} opens it again")
    if arguments.simulate:
        note(f"would {'lift the veto of' if arguments.veto is None else 'veto'} {state.sequence.name}")
        return ExitCode.DONE
    with only_instance(layout.night_lock, layout.title):
        if arguments.veto is None:
            _unveto(layout, state.sequence)
        else:
            _veto(layout, state, arguments.reason)
    return ExitCode.DONE


def _state_of(layout: Layout, plan: NightPlan, scheduler: Scheduler, run: int) -> SequenceState:
    states = read_night_state(layout, plan, scheduler.records(layout.group, plan.names))
    state = next((state for state in states if state.sequence.run == run), None)
    if state is None:
        runs = ", ".join(str(sequence.run) for sequence in plan.sequences) or "none"
        raise InputError(f"the night has no sequence of run {run}; there are {runs}")
    return state


def _veto(layout: Layout, state: SequenceState, reason: str | None) -> None:
    sequence = state.sequence
    if state.vetoed:
        note(f"{sequence.name} is vetoed already: {layout.veto(sequence).read_text('utf-8').splitlines()[0]}")
        return
    why = " ".join((reason or "no reason was given").split())
    put_veto(layout, sequence, f"by an operator: {why}")
    _say(layout, f"Run {run_tag(sequence.run)} vetoed by an operator: {why}.")
    note(f"{sequence.name} is vetoed; sequencer --unveto {sequence.run} lifts that")
    if state.live:
        note(f"{len(state.live)} task(s) of it go on; sequencer --cancel --seq {sequence.run} ends them")


def _unveto(layout: Layout, sequence: Sequence) -> None:
    there = lift_veto(layout, sequence, clock=datetime.now(UTC))
    if there:
        _say(layout, f"Veto of run {run_tag(sequence.run)} lifted by an operator.")
    note(
        f"{sequence.name} {'is not vetoed any more' if there else 'was not vetoed'}: what failed before "
        "does not count; sequencer submits it"
    )


def _own_calibration(
    layout: Layout, plan: NightPlan, scheduler: Scheduler, arguments: argparse.Namespace
) -> ExitCode:
    """Set aside all that was made with another night's calibration."""
    from osa.closing.undo import give_back_calibration

    if plan.borrowed is None:
        note("the night's own calibration serves already")
        return ExitCode.DONE
    states = read_night_state(layout, plan, scheduler.records(layout.group, plan.names))
    live = sum(len(state.live) for state in states)
    if live:
        raise InputError(f"{live} task(s) are at work; sequencer --cancel ends them")
    if arguments.simulate:
        note(f"would set aside what was made with the calibration of {plan.borrowed.night}")
        return ExitCode.DONE
    question = f"Set aside all data made with the calibration of {plan.borrowed.night}, to make it again?"
    if not arguments.yes and sys.stdin.isatty() and not confirm(question):
        return ExitCode.NOT_COMPLETE
    with only_instance(layout.night_lock, layout.title):
        count = give_back_calibration(layout, plan, clock=datetime.now(UTC))
    note(f"{count} file(s) are in {layout.set_aside_dir} now; sequencer makes them again")
    return ExitCode.DONE


def _say(layout: Layout, comment: str) -> None:
    add_incidence(layout.incidences, layout.night, layout.settings.telescope_name, comment)
