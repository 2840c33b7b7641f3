"""What ails the tasks of a sequence, and what the next try of each gets."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from osa.config import JobSettings
from osa.cures.evidence import Evidence, first_match
from osa.cures.known import OTHER_INPUTS, UNKNOWN_FAILURE, rules_in_order
from osa.layout import Layout
from osa.model.job import JobState, TaskRecord, format_duration
from osa.model.rule import Cure, Rule
from osa.model.sequence import Sequence, SequenceKind
from osa.nightstate import SequenceState, task_of

__all__ = [
    "NOTHING_FAILED",
    "Diagnoses",
    "Diagnosis",
    "diagnose",
    "failures",
    "job_settings",
    "waiting_in_vain",
]

_MB_PER_GB = 1024
_MOST_UNLIKE = 3  # times the equal failures that a task may have: so many where each fails otherwise


@dataclass(frozen=True)
class Diagnosis:
    """What ails a task whose latest try failed.

    Parameters
    ----------
    task : int
        The sub-run; 0 for a calibration.
    rule : Rule
        What the latest try failed by.
    tries : int
        How many of its tries failed by that rule.
    is_given_up : bool
        Whether it has failed as often as it may.
    resources : JobSettings
        What the next try gets.
    record : TaskRecord or None
        The latest try; None where only the history tells of it.
    """

    task: int
    rule: Rule
    tries: int
    is_given_up: bool
    resources: JobSettings
    record: TaskRecord | None = None

    @property
    def cure(self) -> Cure | None:
        """What is to be done; None where there is nothing left to try."""
        return None if self.is_given_up else self.rule.cure

    @property
    def what_it_gets(self) -> str:
        """What the next try gets, where that is more than usual: ``16 GB``, ``12:00:00``."""
        more = []
        if self.rule.memory > 1:
            more.append(f"{self.resources.memory / _MB_PER_GB:.3g} GB")
        if self.rule.walltime > 1:
            more.append(format_duration(self.resources.walltime))
        return ", ".join(more)


Diagnoses = Mapping[int, Diagnosis]
"""By task; of tasks that have not failed there is none."""

NOTHING_FAILED: Diagnoses = MappingProxyType({})


def job_settings(layout: Layout, kind: SequenceKind) -> JobSettings:
    """Tell what the first try of a task gets."""
    settings = layout.settings
    return settings.calibration_job if kind is SequenceKind.CALIBRATION else settings.data_job


def diagnose(layout: Layout, state: SequenceState) -> Diagnoses:
    """Find out what ails the tasks of a sequence that are not done and not at work.

    Reads the ends of the logs of failed tries, and the headers of raw files where a rule asks.

    Parameters
    ----------
    layout : Layout
        Of the night.
    state : SequenceState
        What has become of the sequence.
    """
    if state.closed or state.sequence.blocked:
        return NOTHING_FAILED
    tries = _counted_tries(state)
    rules = _rules_on_failures(layout)
    found = {}
    for task in state.todo:
        if task not in state.live:
            diagnosis = _diagnose_task(layout, state, task, tries.get(task, []), rules)
            if diagnosis is not None:
                found[task] = diagnosis
    return found


def waiting_in_vain(layout: Layout, state: SequenceState) -> Rule | None:
    """Find a rule that says that what is pending of a sequence can never run.

    While something of it runs there is none: to cancel would end that, too.
    """
    if any(record.state is JobState.RUNNING for record in state.latest.values()):
        return None
    rules = [rule for rule in rules_in_order(layout.settings.rules) if rule.cure is Cure.CANCEL]
    for record in state.records:
        if record.state is JobState.PENDING:
            found = first_match(rules, _evidence(layout, state.sequence, record))
            if found is not None:
                return found
    return None


def _rules_on_failures(layout: Layout) -> list[Rule]:
    """Take those on tries that have ended; the others are on what waits in vain."""
    return [rule for rule in rules_in_order(layout.settings.rules) if rule.cure is not Cure.CANCEL]


def _counted_tries(state: SequenceState) -> dict[int, list[TaskRecord]]:
    """Sort the tries that count by task, the oldest first: those after the last that succeeded."""
    tries: dict[int, list[TaskRecord]] = {}
    for record in state.records:
        if record.state is JobState.COMPLETED:
            tries.pop(task_of(record), None)
        elif state.fresh_start is None or record.job_id not in state.fresh_start.jobs:
            tries.setdefault(task_of(record), []).append(record)
    return tries


def _diagnose_task(
    layout: Layout, state: SequenceState, task: int, failed: list[TaskRecord], rules: list[Rule]
) -> Diagnosis | None:
    """Diagnose a task by its failed tries; None where it has not failed."""
    if not failed and task not in state.exhausted:
        return None
    causes = [_cause(layout, state.sequence, record, rules) for record in failed]
    cause = causes[-1] if causes else UNKNOWN_FAILURE
    if cause.cure is Cure.LEAVE_OUT and _has_other_inputs(layout, state.sequence, failed[-1]):
        cause = causes[-1] = OTHER_INPUTS
    count = sum(one is cause for one in causes)
    usual = job_settings(layout, state.sequence.kind)
    resources, before = _more(usual, causes), _more(usual, causes[:-1])
    if cause is UNKNOWN_FAILURE:
        most = layout.settings.analysis.maxtryfailed
        # Where the history tells which step failed it is believed; a job knows no steps.
        alike = 0 if task in state.failed else _equal_at_the_end(failed, causes)
        is_given_up = task in state.exhausted or alike >= most or count >= _MOST_UNLIKE * most
    else:
        needs_more = cause.memory > 1 or cause.walltime > 1
        is_given_up = cause.cure is Cure.RESUBMIT and (
            (cause.limit is not None and count > cause.limit) or (needs_more and resources == before)
        )
    return Diagnosis(task, cause, count, is_given_up, resources, failed[-1] if failed else None)


def _has_other_inputs(layout: Layout, sequence: Sequence, record: TaskRecord) -> bool:
    """Tell whether raw file or drive log changed since a try ended: what ailed it may be gone."""
    inputs = (layout.raw_file(sequence.run, task_of(record)), layout.drive_log)
    times = [path.stat().st_mtime for path in inputs if path.exists()]
    return record.ended is not None and any(time > record.ended.timestamp() for time in times)


def _more(usual: JobSettings, causes: Iterable[Rule]) -> JobSettings:
    """Give the next try what its forerunners lacked, as far as it may be had."""
    granted = usual
    for cause in causes:
        memory = math.ceil(granted.memory * cause.memory)
        walltime = granted.walltime * cause.walltime
        granted = replace(
            granted,
            memory=max(usual.memory, min(memory, usual.max_memory or memory)),
            walltime=max(usual.walltime, min(walltime, usual.max_walltime or walltime)),
        )
    return granted


def _cause(layout: Layout, sequence: Sequence, record: TaskRecord, rules: Iterable[Rule]) -> Rule:
    return first_match(rules, _evidence(layout, sequence, record)) or UNKNOWN_FAILURE


def _evidence(layout: Layout, sequence: Sequence, record: TaskRecord) -> Evidence:
    is_subrun = sequence.kind is SequenceKind.DATA and record.task is not None
    return Evidence(
        sequence=sequence,
        record=record,
        log=layout.job_log(record.name, record.job_id, record.task),
        raw_file=layout.raw_file(sequence.run, task_of(record)) if is_subrun else None,
    )


def _equal_at_the_end(failed: list[TaskRecord], causes: list[Rule]) -> int:
    """Count the tries at the end that failed alike, in a way that no rule knows."""
    count = 0
    for record, cause in zip(reversed(failed), reversed(causes), strict=True):
        alike = (record.state, record.exit_code) == (failed[-1].state, failed[-1].exit_code)
        if cause is not UNKNOWN_FAILURE or not alike:
            break
        count += 1
    return count


def failures(layout: Layout, state: SequenceState) -> Iterator[tuple[Rule, tuple[int, ...]]]:
    """Tell what tries of a sequence failed by, whatever became of their tasks later.

    Yields
    ------
    tuple of (Rule, tuple of int)
        A rule, and the tasks of which a try failed by it.
    """
    rules = _rules_on_failures(layout)
    tasks: dict[str, set[int]] = defaultdict(set)
    causes = {}
    for record in state.records:
        if not record.state.is_live and record.state is not JobState.COMPLETED:
            cause = _cause(layout, state.sequence, record, rules)
            causes[cause.name] = cause
            tasks[cause.name].add(task_of(record))
    for name, cause in causes.items():
        yield cause, tuple(sorted(tasks[name]))
