"""Submitting what is missing of a night, as sequencer and closer do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from osa.cures.diagnosis import diagnose
from osa.decision import Decision, decide
from osa.flags import put_veto
from osa.job import submit_night
from osa.layout import Layout
from osa.model.job import TaskRecord
from osa.model.sequence import NightPlan
from osa.nightstate import SequenceState, read_night_state
from osa.nightsummary.plan import keep_first_choice
from osa.scheduler.base import Scheduler

__all__ = ["decide_night", "decide_states", "submit_missing"]


def decide_night(
    layout: Layout, plan: NightPlan, records: Iterable[TaskRecord], *, simulate: bool
) -> tuple[Decision, ...]:
    """Look at a night, and decide what is to be done with each of its sequences.

    Parameters
    ----------
    layout : Layout
        Of the night.
    plan : NightPlan
        Its sequences.
    records : iterable of TaskRecord
        What the scheduler knows of them.
    simulate : bool
        Whether nothing is going to be done.
    """
    return decide_states(layout, read_night_state(layout, plan, records), simulate=simulate)


def decide_states(layout: Layout, states: Iterable[SequenceState], *, simulate: bool) -> tuple[Decision, ...]:
    """Decide for sequences that were looked at."""
    states = tuple(states)
    diagnoses = {state.sequence.name: diagnose(layout, state) for state in states}
    return decide(states, diagnoses, simulate=simulate)


def submit_missing(
    layout: Layout,
    plan: NightPlan,
    decisions: Iterable[Decision],
    scheduler: Scheduler,
    on_submitted: Callable[[int], None] = lambda _: None,
) -> int:
    """Submit what is decided, and veto what has failed too often.

    Parameters
    ----------
    layout : Layout
        Of the night, whose lock is held.
    plan : NightPlan
        Its sequences.
    decisions : iterable of Decision
        For the sequences that are meant.
    scheduler : Scheduler
        Takes the jobs.
    on_submitted : callable
        Told of the number of tasks of each job.

    Returns
    -------
    int
        Number of tasks submitted.
    """
    decisions = tuple(decisions)
    for decision in decisions:
        if decision.is_new_veto:
            put_veto(layout, decision.sequence, decision.note)
    if any(decision.tasks for decision in decisions):
        keep_first_choice(layout, plan)
    return submit_night(
        layout,
        decisions,
        scheduler,
        plan.choice,
        calibration_is_done=lambda: _is_calibrated(layout, plan),
        on_submitted=on_submitted,
    )


def _is_calibrated(layout: Layout, plan: NightPlan) -> bool:
    """Look at the products of the calibration as they are now."""
    calibration = tuple(sequence for sequence in plan.sequences if sequence is plan.calibration)
    return all(state.is_done for state in read_night_state(layout, replace(plan, sequences=calibration), ()))
