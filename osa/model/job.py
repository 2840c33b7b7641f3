"""Jobs, their tasks, and the states in which these can be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path

__all__ = [
    "NEVER",
    "UNCONFIRMED",
    "JobGroup",
    "JobSpec",
    "JobState",
    "Resources",
    "TaskRecord",
    "format_duration",
    "live_tries",
    "overall_state",
]


NEVER = "DependencyNeverSatisfied"
"""Reason, in the resource manager's word, of a task that waits for a job that has failed."""

UNCONFIRMED = "-"
"""Identifier of a job of which nobody knows whether the scheduler took it."""


def format_duration(time: timedelta) -> str:
    """Write a time as the resource manager does, ``HH:MM:SS`` or ``D-HH:MM:SS``."""
    minutes, seconds = divmod(int(time.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return (f"{days}-" if days else "") + f"{hours:02d}:{minutes:02d}:{seconds:02d}"


class JobState(StrEnum):
    """States of a task, in the words of the resource manager."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    TIMEOUT = "TIMEOUT"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    NODE_FAIL = "NODE_FAIL"
    UNKNOWN = "UNKNOWN"

    @property
    def is_live(self) -> bool:
        """Whether the task may still do something: unknown counts as alive."""
        return self in {JobState.PENDING, JobState.RUNNING, JobState.UNKNOWN}


# What one line of the table says of many tasks: the first of these that any task is in.
_PRECEDENCE = (
    JobState.RUNNING,
    JobState.PENDING,
    JobState.UNKNOWN,
    JobState.NODE_FAIL,
    JobState.OUT_OF_MEMORY,
    JobState.TIMEOUT,
    JobState.FAILED,
    JobState.CANCELLED,
    JobState.COMPLETED,
)


def overall_state(states: Iterable[JobState]) -> JobState | None:
    """Fold the states of many tasks into one; None where there is no task."""
    present = set(states)
    return next((state for state in _PRECEDENCE if state in present), None)


@dataclass(frozen=True)
class Resources:
    """What one task of a job may use.

    Parameters
    ----------
    cpus : int
        Cores.
    memory : int
        Memory in MB.
    walltime : datetime.timedelta
        Time after which the task is stopped.
    """

    cpus: int
    memory: int
    walltime: timedelta

    def __post_init__(self) -> None:
        if self.cpus < 1 or self.memory < 1 or self.walltime <= timedelta(0):
            raise ValueError(f"cores, memory and time of a task must be positive: {self}")


@dataclass(frozen=True)
class JobGroup:
    """The jobs of one night of one telescope and production.

    Parameters
    ----------
    name : str
        All three in one word: ``LST1.20200127.v0.1.0``.
    folder : pathlib.Path
        Where their tasks work; with the name of a job it tells the job from all others.
    """

    name: str
    folder: Path

    @property
    def submissions(self) -> Path:
        """Folder for notes of what was submitted."""
        return self.folder / "submissions"


@dataclass(frozen=True)
class JobSpec:
    """One job to submit: a script, run once for each of its tasks.

    Parameters
    ----------
    name : str
        Name, the same for every try of a sequence: ``LST1_01874``.
    group : JobGroup
        Telescope, night and production that the job belongs to.
    script : pathlib.Path
        The job script.
    log_dir : pathlib.Path
        Where the output of the tasks goes.
    resources : Resources
        What a task may use.
    tasks : tuple of int
        Sub-runs, ascending, which are the array's indices; empty for a job that is no array.
    """

    name: str
    group: JobGroup
    script: Path
    log_dir: Path
    resources: Resources
    tasks: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """What the scheduler knows of one try of one task of one job.

    Parameters
    ----------
    job_id : str
        Identifier that the scheduler gave to the job, or ``UNCONFIRMED``.
    name : str
        Name of the job.
    task : int or None
        Array index; None for a job that is no array.
    state : JobState
        Its state.
    submitted, started, ended : datetime.datetime or None
        UTC.
    exit_code : int or None
        Exit code; negative for the signal that ended it; None where it is not known.
    host : str or None
        Where it ran.
    cpu_time : datetime.timedelta
        User and system time.
    reason : str
        Why it is pending, or was ended.
    """

    job_id: str
    name: str
    task: int | None
    state: JobState
    submitted: datetime
    started: datetime | None = None
    ended: datetime | None = None
    exit_code: int | None = None
    host: str | None = None
    cpu_time: timedelta = timedelta(0)
    reason: str = ""


def live_tries(records: Iterable[TaskRecord]) -> tuple[TaskRecord, ...]:
    """Take out of the tries those that may still do something.

    They are judged job by job: that of an older job may be alive although a newer one has ended.

    Parameters
    ----------
    records : iterable of TaskRecord
        The tries of each task of a job by time.
    """
    latest = {(record.name, record.job_id, record.task): record for record in records}
    return tuple(record for record in latest.values() if record.state.is_live)
