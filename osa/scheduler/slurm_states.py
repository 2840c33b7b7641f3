"""What is known of the tasks of a group: submissions, queue and accounting put together; pure.

The queue, which has what is alive and what ended in the last minutes, is asked first, then the
accounting, so that a task which ends in between is in at least one of the answers. What neither of
them says of a task leaves it as it was last known; where nothing was known it is UNKNOWN, which
counts as alive.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from osa.model.job import UNCONFIRMED, JobState, TaskRecord
from osa.scheduler.submissions import Submission, next_number

__all__ = ["CLOCK_SLACK", "SAME_JOB", "Answers", "complete", "evidence", "find_job", "tries"]

CLOCK_SLACK = timedelta(minutes=10)
"""By how much our clock and Slurm's may differ where a job is looked for."""

SAME_JOB = timedelta(days=1)
"""By how much they may differ where its identifier is known, which comes again much later."""

# Slurm's times have no fractions of a second; ours, of what was made up, do.
_NEXT_TRY = timedelta(seconds=1)

_UNCONFIRMED = "whether Slurm took it is not known yet"
_UNHEARD = "neither queue nor accounting know it"
_UNACCOUNTED = "left the queue, its end is not accounted for yet"

# By name too: identifiers of jobs are used again.
_Key = tuple[str, str, int | None]
_ByTask = dict[_Key, list[TaskRecord]]


def _by_task(records: Iterable[TaskRecord]) -> _ByTask:
    """Sort tries by task, each task's by time; of two records of one try the later one is kept.

    The accounting goes on to tell of a task with the rest of its array that has one of its own.
    """
    found: dict[_Key, dict[datetime, TaskRecord]] = defaultdict(dict)
    for record in records:
        found[record.name, record.job_id, record.task][record.submitted] = record
    return {key: [by_time[time] for time in sorted(by_time)] for key, by_time in found.items()}


@dataclass(frozen=True)
class Answers:
    """What Slurm said in one pass, with the index within the array as task.

    Parameters
    ----------
    queue, accounting : tuple of TaskRecord or None
        None where there was no answer.
    """

    queue: tuple[TaskRecord, ...] | None
    accounting: tuple[TaskRecord, ...] | None

    @property
    def are_whole(self) -> bool:
        """Whether both answered."""
        return self.queue is not None and self.accounting is not None

    def jobs(self, name: str) -> dict[str, list[TaskRecord]]:
        """List the records of the jobs of a name, by job."""
        found: dict[str, list[TaskRecord]] = defaultdict(list)
        for record in (*(self.queue or ()), *(self.accounting or ())):
            if record.name == name:
                found[record.job_id].append(record)
        return found


# ------------------------------------------------------------------------ states of tasks


def tries(submissions: Iterable[Submission], answers: Answers) -> list[tuple[TaskRecord, ...]]:
    """Tell of every try of every task of the submissions.

    Returns
    -------
    list of tuple
        For each submission the tries, by task and then by time; with sub-runs as tasks.
    """
    heard = _Heard.of(answers)
    return [tuple(_tries_of(submission, heard)) for submission in submissions]


@dataclass(frozen=True)
class _Heard:
    """The answers since a submission, to be looked up by task."""

    queue: _ByTask
    accounting: _ByTask
    answers: Answers
    latest: Mapping[tuple[str, str], datetime]
    latest_queued: Mapping[tuple[str, str], datetime]

    @classmethod
    def of(cls, answers: Answers) -> _Heard:
        queue, accounting = answers.queue or (), answers.accounting or ()
        latest = {(r.name, r.job_id): r.submitted for r in sorted((*queue, *accounting), key=_submit_time)}
        queued = {(r.name, r.job_id): r.submitted for r in sorted(queue, key=_submit_time)}
        return cls(_by_task(queue), _by_task(accounting), answers, latest, queued)

    def cancelled_unbegun(self, key: _Key, before: list[TaskRecord], earliest: datetime) -> bool:
        """Tell whether a task was cancelled before it began, by what is said of its siblings.

        Taken out of an array it leaves no trace: the queue does not have it, and for the accounting
        it goes on to be pending with the rest of the array, or is not there beside the others.
        An answer in which there is nothing of the job at all says nothing.
        """
        if not self.answers.are_whole or (before and before[-1].state is not JobState.PENDING):
            return False
        siblings = self.latest_queued if key in self.accounting else self.latest
        return key[:2] in siblings and siblings[key[:2]] >= earliest


def _tries_of(submission: Submission, heard: _Heard) -> list[TaskRecord]:
    name, job_id, offset = submission.name, submission.job_id, submission.offset
    tasks = submission.tasks or (None,)
    if job_id is None:
        return [_made_up(submission, task, JobState.UNKNOWN, _UNCONFIRMED) for task in tasks]
    found: list[TaskRecord] = []
    remembered = _by_task(submission.known)
    earliest = submission.intended - SAME_JOB
    for task in tasks:
        key = (name, job_id, None if task is None else task - offset)
        # What is older is of another job, that had the same identifier.
        told = [record for record in heard.accounting.get(key, ()) if record.submitted >= earliest]
        queued = [record for record in heard.queue.get(key, ()) if record.submitted >= earliest]
        if offset:
            told = [replace(record, task=task) for record in told]
        before = _with_remembered(told, remembered.get((name, job_id, task), []))
        if queued:
            found += _with_queued(told, before, replace(queued[-1], task=task))
        elif before and not before[-1].state.is_live:
            found += before
        elif heard.cancelled_unbegun(key, before, earliest):
            found += [*before[:-1], _made_up(submission, task, JobState.CANCELLED, "")]
        elif not before:
            found.append(_made_up(submission, task, JobState.UNKNOWN, _UNHEARD))
        elif heard.answers.queue is None:
            found += before
        else:  # not alive any more, and how it ended will be told
            found += [*before[:-1], replace(before[-1], state=JobState.UNKNOWN, reason=_UNACCOUNTED)]
    return found


def _submit_time(record: TaskRecord) -> datetime:
    return record.submitted


def _with_remembered(told: list[TaskRecord], remembered: list[TaskRecord]) -> list[TaskRecord]:
    """Add to the tries that the accounting tells those that it does not tell yet."""
    if not told:
        return remembered
    return told + [r for r in remembered if r.submitted >= told[-1].submitted + _NEXT_TRY]


def _with_queued(told: list[TaskRecord], before: list[TaskRecord], queued: TaskRecord) -> list[TaskRecord]:
    """Put what the queue says of a try in its place.

    The accounting was asked later and may know its end; of an end that was told before more is known.
    """
    earlier = [record for record in before if record.submitted + _NEXT_TRY <= queued.submitted]
    believed = told if queued.state.is_live else before
    ended = [r for r in believed if r.submitted == queued.submitted and not r.state.is_live]
    later = [record for record in told if record.submitted > queued.submitted]
    return [*earlier, *(ended or [queued]), *later]


def _made_up(submission: Submission, task: int | None, state: JobState, reason: str) -> TaskRecord:
    """Make the record of a task of which Slurm has none."""
    return TaskRecord(
        job_id=submission.job_id or UNCONFIRMED,
        name=submission.name,
        task=task,
        state=state,
        submitted=submission.intended,
        reason=reason,
    )


def evidence(records: Iterable[TaskRecord]) -> tuple[TaskRecord, ...]:
    """Take out of records what was concluded from silence: only what Slurm told is worth remembering."""
    told = []
    for record in records:
        if record.reason in {_UNHEARD, _UNCONFIRMED}:
            continue
        if record.reason == _UNACCOUNTED:
            was = JobState.RUNNING if record.started else JobState.PENDING
            record = replace(record, state=was, reason="")
        told.append(record)
    return tuple(told)


# --------------------------------------------------------------------------- lost replies


def find_job(intent: Submission, answers: Answers, taken: Iterable[str]) -> str | None:
    """Find the job that an intent has led to, although nobody told its identifier.

    Parameters
    ----------
    intent : Submission
        The intent.
    answers : Answers
        What Slurm knows of jobs of this name.
    taken : iterable of str
        Jobs that belong to other submissions.
    """
    taken = frozenset(taken)
    earliest = intent.intended - CLOCK_SLACK
    found = [
        (min(record.submitted for record in records), job_id)
        for job_id, records in answers.jobs(intent.name).items()
        if job_id not in taken
        and all(record.submitted >= earliest and record.task in intent.indices for record in records)
    ]
    return max(found)[1] if found else None


def complete(
    submissions: Iterable[Submission], answers: Answers, names: Iterable[str]
) -> tuple[Submission, ...]:
    """Add to the notes what the answers tell of them.

    Parameters
    ----------
    submissions : iterable of Submission
        The notes.
    answers : Answers
        What Slurm said.
    names : iterable of str
        Jobs of which there may be some without a note: submitted by hand, or the notes are lost.

    Returns
    -------
    tuple of Submission
        The same, with the jobs of lost replies, and with notes of what is alive in the queue and
        had none.
    """
    taken = {submission.job_id for submission in submissions if submission.job_id is not None}
    found = []
    for submission in submissions:
        if submission.job_id is None:
            job_id = find_job(submission, answers, taken)
            submission = replace(submission, job_id=job_id)
            taken |= {job_id} if job_id else set()
        found.append(submission)
    alive = Answers(tuple(r for r in answers.queue or () if r.state.is_live), ())
    for name in sorted(set(names)):
        for job_id, records in alive.jobs(name).items():
            if job_id not in taken:
                found.append(_stray(name, next_number(found, name), job_id, records))
    return tuple(found)


def _stray(name: str, number: int, job_id: str, records: Iterable[TaskRecord]) -> Submission:
    records = tuple(records)
    return Submission(
        name=name,
        number=number,
        tasks=tuple(sorted({record.task for record in records if record.task is not None})),
        offset=0,
        intended=min(record.submitted for record in records),
        job_id=job_id,
    )
