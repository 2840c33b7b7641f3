"""Curing what keeps a night from being closed: which remedies there are, and applying them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from osa.closing.due import is_late
from osa.closing.judge import Verdict
from osa.closing.remedies import Borrow, Cancel, LeaveOut, Remedy, SetAside, what_of
from osa.cures.diagnosis import Diagnosis, waiting_in_vain
from osa.cures.known import rules_in_order
from osa.cures.other_night import find_other_calibration
from osa.decision import Action, Decision
from osa.errors import InterruptedNightError, OsaError
from osa.layout import DL1, Layout
from osa.model.rule import Cure
from osa.model.sequence import NightPlan, SequenceKind
from osa.nightstate import SequenceState
from osa.nightsummary.plan import plan_night
from osa.scheduler.base import Scheduler
from osa.sequencing import decide_night, decide_states, submit_missing

__all__ = ["ARRIVING", "Applied", "Cures", "apply_cures", "find_cures"]

ARRIVING = "raw files are still arriving"
"""How remarks on that begin."""


@dataclass(frozen=True)
class Cures:
    """What would bring a night nearer to its end.

    Parameters
    ----------
    remedies : tuple of Remedy
        What is changed first, for what is submitted depends on it.
    decisions : tuple of Decision
        What is submitted and vetoed, as things are without these changes.
    remarks : tuple of str
        Why what a person may expect is not among them.
    """

    remedies: tuple[Remedy, ...] = ()
    decisions: tuple[Decision, ...] = ()
    remarks: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.remedies or self.decisions)

    @property
    def lines(self) -> tuple[str, ...]:
        """What would be done, and why, for people."""
        said = [str(remedy) for remedy in self.remedies]
        for decision in self.decisions:
            said += _lines(decision)
        return tuple(said)


def find_cures(
    layout: Layout,
    plan: NightPlan,
    states: Iterable[SequenceState],
    verdicts: Iterable[Verdict],
    scheduler: Scheduler,
    *,
    run: int | None = None,
) -> Cures:
    """Find what can be done about what is missing of a night; changes nothing.

    A night that no sequencer has worked on is left to it.

    Parameters
    ----------
    layout : Layout
        Of the night.
    plan : NightPlan
        Its sequences.
    states : iterable of SequenceState
        What has become of all of them.
    verdicts : iterable of Verdict
        On the sequences that are to be closed.
    scheduler : Scheduler
        Who has the jobs.
    run : int, optional
        Only for the sequence of this run.
    """
    waiting = (f"{ARRIVING}: {plan.arriving}",) if plan.arriving else ()
    if not layout.night_lock.exists():
        return Cures(remarks=("sequencer was not run on this night yet", *waiting))
    # Of all sequences: what is done with the data depends on the calibration.
    decisions = decide_states(layout, states, simulate=False)
    chosen = tuple(decision for decision in decisions if run in (None, decision.sequence.run))
    found = _Found([], [*waiting])
    for verdict in verdicts:
        found.add_damaged(layout, verdict, is_idle=not any(d.state.live for d in decisions))
    if not plan.arriving:  # what is cut short may be on its way
        found.add_left_out(layout, plan, chosen)
    for decision in chosen:
        rule = waiting_in_vain(layout, decision.state)
        if rule is not None:
            found.remedies.append(Cancel(layout, scheduler, decision.sequence, rule.name))
    if run is None:
        found.add_calibration(layout, plan, decisions)
        if not plan.data and not plan.arriving:
            found.remarks.append(
                "no DATA run is processed: closer -r moon, weather or other closes the night"
            )
    return Cures(tuple(found.remedies), tuple(filter(_is_work, chosen)), tuple(found.remarks))


def _is_work(decision: Decision) -> bool:
    return decision.action is Action.SUBMIT or decision.is_new_veto


@dataclass(frozen=True)
class _Found:
    """Remedies that were found so far, and remarks on those that a person may miss."""

    remedies: list[Remedy]
    remarks: list[str]

    def add_damaged(self, layout: Layout, verdict: Verdict, *, is_idle: bool) -> None:
        """Set damaged products aside; a calibration only while no task of the night reads it."""
        state = verdict.state
        is_busy = bool(state.live) or (state.sequence.kind is SequenceKind.CALIBRATION and not is_idle)
        if is_busy or state.vetoed:
            return
        for damage in verdict.damaged:
            if SetAside.count(damage.path) < layout.settings.analysis.maxtryfailed:
                self.remedies.append(SetAside(layout, state.sequence, damage))
            else:
                self.remarks.append(
                    f"{damage.path.name} was damaged and made again too often: look at the disk"
                )

    def add_left_out(self, layout: Layout, plan: NightPlan, decisions: Iterable[Decision]) -> None:
        """Leave out what cannot be cured, unless nothing would be left of the night."""
        leaving = [remedy for decision in decisions for remedy in _leave_out(layout, decision)]
        gone = sum(len(remedy.subruns) for remedy in leaving)
        if gone and gone == sum(len(sequence.subruns) for sequence in plan.data):
            why = ", ".join(sorted({remedy.rule.name for remedy in leaving}))
            self.remarks.append(
                f"no sub-run of the night can be analysed ({why}): nothing is left out by itself"
            )
        else:
            self.remedies.extend(leaving)

    def add_calibration(self, layout: Layout, plan: NightPlan, decisions: tuple[Decision, ...]) -> None:
        """Take the calibration of another night where the night's own cannot come."""
        rules = rules_in_order(layout.settings.rules)
        rule = next((rule for rule in rules if rule.cure is Cure.OTHER_CALIBRATION), None)
        why = _why_not_calibrated(plan, decisions)
        data = [d.state for d in decisions if d.sequence.kind is SequenceKind.DATA]
        is_needed = any(not state.is_done and state.sequence.subruns for state in data)
        if rule is None or plan.borrowed is not None or not is_needed or not why:
            return
        obstacle = _obstacle_to_borrowing(layout, plan, data)
        found = None if obstacle else find_other_calibration(layout)
        if found is not None:
            self.remedies.append(Borrow(layout, found, f"{rule.words}: {why}"))
            return
        days = layout.settings.calibration.other_night_days
        none = f"none of the {days} night(s) before has one" if days else "other_night_days is empty"
        self.remarks.append(f"the night's own calibration {rule.words} ({why}), and {obstacle or none}")


def _leave_out(layout: Layout, decision: Decision) -> Iterator[LeaveOut]:
    """Leave out what cannot be cured, when nothing of its run is at work any more: it is said once."""
    if decision.state.live or decision.state.vetoed:
        return
    by_rule: dict[str, list[Diagnosis]] = defaultdict(list)
    for diagnosis in decision.diagnoses.values():
        if diagnosis.cure is Cure.LEAVE_OUT:
            by_rule[diagnosis.rule.name].append(diagnosis)
    for found in by_rule.values():
        tasks = tuple(sorted(diagnosis.task for diagnosis in found))
        yield LeaveOut(layout, decision.sequence, tasks, found[0].rule)


def _obstacle_to_borrowing(layout: Layout, plan: NightPlan, data: Iterable[SequenceState]) -> str:
    """Say why another night's calibration is not taken now; empty where it may be."""
    if layout.own_calibration.exists():
        return (
            f"an operator wants that and no other ({layout.own_calibration.name}; remove it to change that)"
        )
    if plan.arriving:
        return ARRIVING
    if any(state.counts.get(DL1) for state in data):
        return "data was made with it already: no other is mixed in"
    late = [skipped.run for skipped in plan.skipped if skipped.waits_for_raw_files]
    if late and not is_late(layout, datetime.now(UTC)):
        return f"raw files of run(s) {', '.join(map(str, late))} may still come: it is waited for them"
    return ""


def _why_not_calibrated(plan: NightPlan, decisions: Iterable[Decision]) -> str:
    """Say why the night's own calibration cannot come; empty where it can."""
    calibration = next((d for d in decisions if d.sequence.kind is SequenceKind.CALIBRATION), None)
    if calibration is None:
        return "" if plan.calibration else "there is no usable calibration run"
    if calibration.state.is_done or calibration.state.live:
        return ""
    if calibration.sequence.blocked:
        return calibration.sequence.blocked
    if calibration.action is Action.VETO:
        return f"run {calibration.sequence.run:05d} is vetoed"
    return ""


def _lines(decision: Decision) -> list[str]:
    """Say what is submitted or vetoed, what failed alike together."""
    sequence = decision.sequence
    if decision.action is Action.VETO:
        return [f"veto {what_of(sequence, sequence.subruns, sequence.subruns)}: {decision.note}"]
    alike: dict[tuple[str, str], list[int]] = defaultdict(list)
    for task in decision.tasks:
        diagnosis = decision.diagnoses.get(task)
        key = ("it is missing", "") if diagnosis is None else (diagnosis.rule.name, diagnosis.what_it_gets)
        alike[key].append(task)
    return [
        f"submit {what_of(sequence, tasks)}{f' with {more}' if more else ''}: {why}"
        for (why, more), tasks in alike.items()
    ]


@dataclass(frozen=True)
class Applied:
    """What was done.

    Parameters
    ----------
    lines : tuple of str
        In words.
    submitted : int
        Number of tasks.
    failure : OsaError or None
        Why some could not be submitted.
    """

    lines: tuple[str, ...]
    submitted: int
    failure: OsaError | None = None


def apply_cures(
    layout: Layout,
    cures: Cures,
    scheduler: Scheduler,
    *,
    run: int | None = None,
) -> Applied:
    """Apply cures, then submit what is missing and can be made.

    Parameters
    ----------
    layout : Layout
        Of the night, whose lock is held.
    cures : Cures
        As they were found with the lock held.
    scheduler : Scheduler
        Takes the jobs.
    run : int, optional
        Only submit for the sequence of this run.
    """
    said = []
    for remedy in cures.remedies:
        remedy.perform()
        said.append(str(remedy))
    # The night may consist of other things now.
    plan = plan_night(layout)
    decided = decide_night(layout, plan, scheduler.tidy(layout.group, plan.names), simulate=False)
    # With one run goes the calibration, where that is still to come: the run has to wait for it.
    chosen = [d for d in decided if run in (None, d.sequence.run) or d.sequence is plan.calibration]
    submitted, failure = 0, None

    def count(tasks: int) -> None:
        nonlocal submitted
        submitted += tasks

    try:
        submit_missing(layout, plan, chosen, scheduler, count)
        for decision in filter(_is_work, chosen):
            said += _lines(decision)
    except InterruptedNightError:
        raise
    except OsaError as error:
        failure = error  # what was submitted is run all the same
    return Applied(tuple(said), submitted, failure)
