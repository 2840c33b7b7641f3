"""Jobs as the records tell of them, where the scheduler is not asked: it forgets. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import timedelta

from osa.model.job import JobState, TaskRecord
from osa.model.run import run_tag
from osa.records.model import Status, TryRecord

__all__ = ["tasks_of_tries"]

_Task = tuple[str, str, int | None, int]


def tasks_of_tries(records: Iterable[TryRecord]) -> tuple[TaskRecord, ...]:
    """Put the tries of steps together to the tasks in which they ran, the oldest first.

    Parameters
    ----------
    records : iterable of TryRecord
        Of a night; those that did not run in a job are passed over.

    Returns
    -------
    tuple of TaskRecord
        As the time of submission stands that of the first step, and as the CPU time that of the steps.
    """
    tasks: dict[_Task, list[TryRecord]] = defaultdict(list)
    for record in records:
        if record.job.job is not None:
            name = f"{record.telescope}_{run_tag(record.run)}"
            tasks[name, record.job.job, record.job.task, record.job.restart or 0].append(record)
    found = [_task(name, job, task, tries) for (name, job, task, _), tries in tasks.items()]
    return tuple(sorted(found, key=lambda task: task.submitted))


def _task(name: str, job: str, task: int | None, tries: list[TryRecord]) -> TaskRecord:
    began = min(record.started for record in tries)
    ends = [record.ended for record in tries]
    is_over = None not in ends
    codes = [record.exit_code for record in tries if record.exit_code]
    return TaskRecord(
        job_id=job,
        name=name,
        task=task,
        state=_state(tries),
        submitted=began,
        started=began,
        ended=max(end for end in ends if end is not None) if is_over else None,
        exit_code=codes[0] if codes else (0 if is_over else None),
        host=tries[-1].host or None,
        cpu_time=timedelta(seconds=sum(record.cpu_time for record in tries)),
    )


def _state(tries: Iterable[TryRecord]) -> JobState:
    statuses = {record.status for record in tries}
    if Status.FAILED in statuses:
        return JobState.FAILED
    return JobState.UNKNOWN if Status.UNFINISHED in statuses else JobState.COMPLETED
