"""A night on a fake Slurm, and the commands that come to it one after another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from fake_slurm import FakeSlurm
from job_bench import JobBench

from osa.model.job import JobGroup, JobState, TaskRecord
from osa.scheduler.slurm import SlurmScheduler
from osa.scheduler.slurm_attempts import Patience
from osa.scheduler.slurm_calls import SlurmCalls
from osa.scheduler.submissions import Submission, Submissions

NAME = "LST1_01874"
CALIBRATION = "LST1_01873"
NAMES = (CALIBRATION, NAME, "LST1_01875")
QUICK = Patience(first_wait=0.001, longest_wait=0.004, settling=0.001)
UNREACHABLE = (
    "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)\n"
)


class KilledError(BaseException):
    """Ends a command as SIGKILL would: nothing that it does afterwards counts."""


@dataclass
class Site:
    """What all commands share; each has a scheduler of its own."""

    fake: FakeSlurm
    bench: JobBench
    warnings: list[str] = field(default_factory=list)
    later: timedelta = timedelta(0)

    @property
    def group(self) -> JobGroup:
        return self.bench.group()

    @property
    def notes(self) -> tuple[Submission, ...]:
        return Submissions(self.group.submissions).read()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.later

    def scheduler(
        self, *, timeout: float = 30.0, at_once: int | None = None, patience: Patience = QUICK
    ) -> SlurmScheduler:
        """The scheduler of a new command."""
        calls = SlurmCalls(self.fake.environment, timeout)
        return SlurmScheduler(
            calls, at_once=at_once, warn=self.warnings.append, patience=patience, clock=self.now
        )

    def submit(
        self,
        name: str = NAME,
        tasks: tuple[int, ...] = (0, 1),
        *,
        after: str | None = None,
        by: SlurmScheduler | None = None,
        body: str = "note('ran')",
    ) -> str:
        job = self.bench.job(name, body, tasks=tasks)
        return (by or self.scheduler()).submit(job, after=after)

    def tidy(self, *names: str) -> tuple[TaskRecord, ...]:
        return self.scheduler().tidy(self.group, names or NAMES)

    def come_again(self, tasks: tuple[int, ...] = (0, 1)) -> str | None:
        """Do as sequencer: put in order, and submit what neither succeeded nor may be alive."""
        scheduler = self.scheduler()
        latest = {r.task: r.state for r in scheduler.tidy(self.group, NAMES) if r.name == NAME}
        idle = {task for task in tasks if not latest.get(task, JobState.FAILED).is_live}
        missing = tuple(sorted(task for task in idle if latest.get(task) is not JobState.COMPLETED))
        return self.submit(tasks=missing, by=scheduler) if missing else None

    def records(self) -> tuple[TaskRecord, ...]:
        return self.scheduler().records(self.group)

    def states(self) -> list[tuple[str, int | None, JobState]]:
        return [(r.name, r.task, r.state) for r in self.records()]

    def counted(self, *commands: str) -> list[int]:
        return [len(self.fake.calls(command)) for command in commands]


def before(work: Callable[..., object]) -> Callable[..., object]:
    """Be killed before some work is done."""

    def killed(*_: object, **__: object) -> object:
        raise KilledError

    return killed


def afterwards(work: Callable[..., object]) -> Callable[..., object]:
    """Be killed after some work is done."""

    def killed(*arguments: object, **options: object) -> object:
        work(*arguments, **options)
        raise KilledError

    return killed
