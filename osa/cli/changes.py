"""What an operator has the sequencer change in a night: vetoes, and whose calibration serves."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from osa.cli.common import may, note
from osa.closing.undo import give_back_calibration
from osa.errors import ExitCode, InputError
from osa.flags import BY_OPERATOR, lift_veto, put_veto
from osa.incidences import note_incidence
from osa.layout import Layout
from osa.model.job import live_tries
from osa.model.run import run_tag
from osa.model.sequence import NightPlan
from osa.nightstate import SequenceState, read_night_state
from osa.nightsummary.left_out import take_in
from osa.nightsummary.plan import plan_night
from osa.scheduler.base import Scheduler
from osa.system.locks import only_instance

__all__ = ["change_night"]


def change_night(
    layout: Layout, plan: NightPlan, scheduler: Scheduler, arguments: argparse.Namespace
) -> ExitCode:
    """Do what ``--veto``, ``--unveto``, ``--take-in`` or ``--own-calibration`` asks for."""
    if layout.night_finished.exists():
        raise InputError(f"the night {layout.night} is closed; closer --reopen opens it again")
    if arguments.own_calibration:
        return _own_calibration(layout, plan, scheduler, arguments)
    if arguments.take_in is not None:
        return _take_in(layout, scheduler, arguments)
    run = arguments.unveto if arguments.veto is None else arguments.veto
    state = _state_of(layout, plan, scheduler, run)
    if state.closed:
        raise InputError(f"run {run} is closed; closer --reopen --seq {run} opens it again")
    if arguments.simulate:
        note(f"would {'lift the veto of' if arguments.veto is None else 'veto'} {state.sequence.name}")
        return ExitCode.DONE
    with only_instance(layout.night_lock, layout.title):
        if arguments.veto is None:
            _unveto(layout, state)
        else:
            _veto(layout, state, arguments.reason)
    return ExitCode.DONE


def _take_in(layout: Layout, scheduler: Scheduler, arguments: argparse.Namespace) -> ExitCode:
    """Have processed again what the closer leaves out."""
    run, subrun = arguments.take_in
    if arguments.simulate:
        note(f"would take in what the closer leaves out of run {run}")
        return ExitCode.DONE
    with only_instance(layout.night_lock, layout.title):
        found = take_in(layout, run, subrun)
        if not found:
            raise InputError(f"{layout.left_out} leaves out nothing of what --take-in names")
        plan = plan_night(layout)
        if plan.by_run(run) is not None:
            state = _state_of(layout, plan, scheduler, run)
            lift_veto(layout, state.sequence, _jobs(state), clock=datetime.now(UTC))
        note_incidence(layout, f"Taken in again by an operator: {', '.join(found)}.", once=False)
    note(f"{', '.join(found)}: taken in again; sequencer submits it")
    return ExitCode.DONE


def _jobs(state: SequenceState) -> set[str]:
    return {record.job_id for record in state.records}


def _state_of(layout: Layout, plan: NightPlan, scheduler: Scheduler, run: int) -> SequenceState:
    states = read_night_state(layout, plan, scheduler.records(layout.group, plan.names))
    state = next((state for state in states if state.sequence.run == run), None)
    if state is None:
        runs = ", ".join(str(sequence.run) for sequence in plan.sequences) or "none"
        hint = ""
        if plan.borrowed is not None:
            hint = f" (the calibration of {plan.borrowed.night} serves; --own-calibration goes back)"
        raise InputError(f"the night has no sequence of run {run}; there are {runs}{hint}")
    return state


def _veto(layout: Layout, state: SequenceState, reason: str | None) -> None:
    sequence = state.sequence
    if state.vetoed:
        said = layout.veto(sequence).read_text(encoding="utf-8", errors="replace").splitlines()
        note(f"{sequence.name} is vetoed already ({said[0] if said else 'its flag says no reason'})")
        return
    why = " ".join((reason or "no reason was given").split())
    put_veto(layout, sequence, f"{BY_OPERATOR}: {why}")
    note_incidence(layout, f"Run {run_tag(sequence.run)} vetoed by an operator: {why}.", once=False)
    note(f"{sequence.name} is vetoed; sequencer --unveto {sequence.run} lifts that")
    if state.live:
        note(f"{len(state.live)} task(s) of it go on; sequencer --cancel --seq {sequence.run} ends them")


def _unveto(layout: Layout, state: SequenceState) -> None:
    sequence = state.sequence
    there = lift_veto(layout, sequence, _jobs(state), clock=datetime.now(UTC))
    if there:
        note_incidence(layout, f"Veto of run {run_tag(sequence.run)} lifted by an operator.", once=False)
    note(
        f"{sequence.name} {'is not vetoed any more' if there else 'was not vetoed'}: what failed before "
        "does not count; sequencer submits it"
    )


def _own_calibration(
    layout: Layout, plan: NightPlan, scheduler: Scheduler, arguments: argparse.Namespace
) -> ExitCode:
    """Set aside all that was made with another night's calibration, and let the night's own be tried."""
    if plan.borrowed is None:
        note("the night's own calibration serves already")
        return ExitCode.DONE
    if arguments.simulate:
        note(f"would set aside what was made with the calibration of {plan.borrowed.night}")
        return ExitCode.DONE
    question = f"Set aside all data made with the calibration of {plan.borrowed.night}, to make it again?"
    if not may(arguments, question):
        return ExitCode.NOT_COMPLETE
    with only_instance(layout.night_lock, layout.title):
        plan = plan_night(layout)  # as it is now that nobody else can change it
        live = len(live_tries(scheduler.tidy(layout.group, plan.names)))
        if live:
            raise InputError(f"{live} task(s) are pending or running; sequencer --cancel ends them")
        if plan.borrowed is None:
            note("the night's own calibration serves already")
            return ExitCode.DONE
        count = give_back_calibration(layout, plan.borrowed, clock=datetime.now(UTC))
        own = plan_night(layout)
        if own.calibration is not None:
            state = _state_of(layout, own, scheduler, own.calibration.run)
            lift_veto(layout, own.calibration, _jobs(state), clock=datetime.now(UTC))
    note(f"{count} file(s) are in {layout.set_aside_dir} now; sequencer makes them again")
    return ExitCode.DONE
