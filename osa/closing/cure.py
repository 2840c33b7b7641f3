"""Curing what keeps a night from being closed: which remedies there are, and applying them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from osa.closing.judge import Verdict
from osa.closing.remedies import Borrow, Cancel, LeaveOut, Remedy, SetAside, what_of
from osa.cures.diagnosis import Diagnosis, waiting_in_vain
from osa.cures.known import rules_in_order
from osa.cures.other_night import find_other_calibration
from osa.decision import Action, Decision
from osa.layout import Layout
from osa.model.rule import Cure
from osa.model.sequence import NightPlan, SequenceKind
from osa.nightsummary.plan import plan_night
from osa.scheduler.base import Scheduler
from osa.sequencing import decide_night, decide_states, submit_missing

__all__ = ["Applied", "Cures", "apply_cures", "find_cures"]


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
    verdicts : iterable of Verdict
        On the sequences that are to be closed.
    scheduler : Scheduler
        Who has the jobs.
    run : int, optional
        Only for the sequence of this run.
    """
    if not layout.night_lock.exists():
        return Cures(remarks=("sequencer was not run on this night yet",))
    verdicts = tuple(verdicts)
    states = tuple(verdict.state for verdict in verdicts)
    decisions = decide_states(layout, states, simulate=False)
    remedies: list[Remedy] = []
    remarks: list[str] = []
    for verdict in verdicts:
        remedies += _set_aside(layout, verdict, remarks)
    for decision in decisions:
        remedies += _leave_out(layout, decision)
        why = waiting_in_vain(layout, decision.state)
        if why is not None:
            remedies.append(Cancel(layout, scheduler, decision.sequence, why.name))
    if run is None:
        remedies += _borrow(layout, plan, decisions, remarks)
    chosen = tuple(decision for decision in decisions if _is_work(decision))
    return Cures(tuple(remedies), chosen, tuple(remarks))


def _is_work(decision: Decision) -> bool:
    is_new_veto = decision.action is Action.VETO and not decision.state.vetoed
    return decision.action is Action.SUBMIT or is_new_veto


def _set_aside(layout: Layout, verdict: Verdict, remarks: list[str]) -> Iterator[SetAside]:
    if verdict.state.live or verdict.state.vetoed:
        return
    for damage in verdict.damaged:
        if SetAside.count(damage.path) < layout.settings.analysis.maxtryfailed:
            yield SetAside(layout, verdict.state.sequence, damage)
        else:
            remarks.append(f"{damage.path.name} was damaged and made again too often: look at the disk")


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


def _borrow(
    layout: Layout, plan: NightPlan, decisions: tuple[Decision, ...], remarks: list[str]
) -> Iterator[Borrow]:
    rule = next((r for r in rules_in_order(layout.settings.rules) if r.cure is Cure.OTHER_CALIBRATION), None)
    data = [decision for decision in decisions if decision.sequence.kind is SequenceKind.DATA]
    needing = [d for d in data if not d.state.is_done and d.sequence.subruns]
    why = _why_not_calibrated(plan, decisions)
    if rule is None or plan.borrowed is not None or not needing or not why:
        return
    found = find_other_calibration(layout)
    if found is not None:
        yield Borrow(layout, found, f"{rule.words}: {why}")
        return
    days = layout.settings.calibration.other_night_days
    where = f"of the {days} night(s) before has one" if days else "is asked (other_night_days is empty)"
    remarks.append(f"the night's own calibration {rule.words} ({why}), and no other night {where}")


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
    """

    lines: tuple[str, ...]
    submitted: int


def apply_cures(
    layout: Layout,
    cures: Cures,
    scheduler: Scheduler,
    *,
    run: int | None = None,
    on_submitted: Callable[[int], None] = lambda _: None,
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
    on_submitted : callable
        Told of the number of tasks of each job.
    """
    for remedy in cures.remedies:
        remedy.perform()
    said = [str(remedy) for remedy in cures.remedies]
    # The night may consist of other things now.
    plan = plan_night(layout)
    decided = decide_night(layout, plan, scheduler.tidy(layout.group, plan.names), simulate=False)
    # With one run goes the calibration, where that is still to come: the run has to wait for it.
    chosen = [d for d in decided if run in (None, d.sequence.run) or d.sequence is plan.calibration]
    count = submit_missing(layout, plan, chosen, scheduler, on_submitted)
    for decision in filter(_is_work, chosen):
        said += _lines(decision)
    return Applied(tuple(said), count)
