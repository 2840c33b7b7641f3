"""A scheduler that takes jobs, says which, and knows what a test tells it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from osa.errors import ParentGoneError
from osa.model.job import JobGroup, JobSpec, TaskRecord


@dataclass
class MadeUpScheduler:
    """Takes every job."""

    name = "made up"
    known: list[TaskRecord] = field(default_factory=list)
    forgets: bool = False
    jobs: list[JobSpec] = field(default_factory=list)
    after: list[str | None] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)

    def submit(self, job: JobSpec, *, after: str | None = None) -> str:
        if self.forgets and after is not None:
            raise ParentGoneError("no such job")
        self.jobs.append(job)
        self.after.append(after)
        return str(100 + len(self.jobs))

    def records(self, group: JobGroup, names: Iterable[str] = ()) -> tuple[TaskRecord, ...]:
        return tuple(self.known)

    tidy = records

    def cancel(self, group: JobGroup, names: Iterable[str]) -> int:
        self.cancelled += names
        return len(self.cancelled)

    @property
    def taken(self) -> list[tuple[str, tuple[int, ...], int]]:
        """Name, tasks and memory of each job."""
        return [(job.name, job.tasks, job.resources.memory) for job in self.jobs]
