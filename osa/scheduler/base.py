"""What the project asks of a scheduler."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from osa.model.job import JobSpec, TaskRecord

__all__ = ["Scheduler", "SimulatedScheduler"]


class Scheduler(Protocol):
    """Takes jobs and tells what became of them."""

    @property
    def name(self) -> str:
        """What it is called in messages."""
        ...

    def submit(self, job: JobSpec, *, after: str | None = None) -> str:
        """Take a job.

        Parameters
        ----------
        job : JobSpec
            The job.
        after : str, optional
            Identifier of a job that has to succeed before; if it fails, this one is cancelled.

        Returns
        -------
        str
            Identifier of the job.

        Raises
        ------
        AnotherInstanceError
            If a task of the same name is alive already.
        OsaError
            If the job is not taken.
        """
        ...

    def records(self, group: str) -> tuple[TaskRecord, ...]:
        """Tell of all tasks of a group of jobs, the oldest job first."""
        ...


@dataclass
class SimulatedScheduler:
    """Tells what is, and takes jobs without doing anything with them.

    Parameters
    ----------
    real : Scheduler
        Asked for the records.
    submitted : list of JobSpec
        The jobs that it was given.
    """

    real: Scheduler
    submitted: list[JobSpec] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return f"simulated {self.real.name}"

    def submit(self, job: JobSpec, *, after: str | None = None) -> str:
        """Note the job."""
        self.submitted.append(job)
        return f"simulated-{len(self.submitted)}" if after is None else f"simulated-after-{after}"

    def records(self, group: str) -> tuple[TaskRecord, ...]:
        """Ask the real one."""
        return self.real.records(group)
