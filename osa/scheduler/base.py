"""What the project asks of a scheduler."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from osa.model.job import JobGroup, JobSpec, TaskRecord

__all__ = ["Scheduler"]


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
        ParentGoneError
            If nothing is known of the job that has to succeed before.
        OsaError
            If the job is not taken.
        """
        ...

    def records(self, group: JobGroup, names: Iterable[str] = ()) -> tuple[TaskRecord, ...]:
        """Tell of every try of all tasks of a group of jobs, the oldest job first; changes nothing.

        Parameters
        ----------
        group : JobGroup
            The group.
        names : iterable of str
            Jobs that may be alive without our knowing of them.
        """
        ...

    def tidy(self, group: JobGroup, names: Iterable[str]) -> tuple[TaskRecord, ...]:
        """Tell the same, after putting in order what an earlier command left behind.

        For one that is about to submit: jobs that may exist are found or given up, those that
        wait for what cannot come any more are cancelled.

        Parameters
        ----------
        group : JobGroup
            The group.
        names : iterable of str
            Jobs that the group should have.
        """
        ...

    def cancel(self, group: JobGroup, names: Iterable[str]) -> int:
        """Cancel what is alive of some jobs of a group.

        Returns
        -------
        int
            Number of tasks.
        """
        ...
