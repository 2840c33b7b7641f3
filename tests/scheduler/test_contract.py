"""What every scheduler promises; another one joins as another parameter of ``backend``."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, timedelta

import pytest
from fake_slurm import FakeSlurm
from job_bench import GROUP, JobBench, wait_until
from slurm_cluster import Cluster

from osa.errors import AnotherInstanceError, ParentGoneError
from osa.model.job import JobSpec, JobState, TaskRecord
from osa.scheduler.base import Scheduler
from osa.scheduler.slurm import SlurmScheduler
from osa.scheduler.slurm_attempts import Patience
from osa.scheduler.slurm_calls import SlurmCalls

OTHER = "LST1.20200128.v0.1.0"
HELD = "note('start'); await_file('go'); note('end')"
QUICK = Patience(first_wait=0.01, longest_wait=0.02, settling=0.01, confirmation=timedelta(seconds=5))
DRAINED_WITHIN = 120.0


@dataclass
class Backend:
    """A scheduler, and how its queue is brought to an end."""

    bench: JobBench
    scheduler: Scheduler
    drain: Callable[[], object]

    def job(self, *arguments: str, tasks: tuple[int, ...] = (), group: str = GROUP) -> JobSpec:
        return self.bench.job(*arguments, tasks=tasks, group=group)

    def records(self, group: str = GROUP) -> tuple[TaskRecord, ...]:
        return self.scheduler.records(self.bench.group(group))

    def tidy(self, *names: str) -> tuple[TaskRecord, ...]:
        return self.scheduler.tidy(self.bench.group(), names)

    def cancel(self, *names: str) -> int:
        return self.scheduler.cancel(self.bench.group(), names)

    def attempts(self) -> list[str]:
        return self.bench.attempts

    def states(self, group: str = GROUP) -> list[tuple[str, int | None, JobState]]:
        return [(r.name, r.task, r.state) for r in self.records(group)]

    def drain_in_thread(self) -> threading.Thread:
        thread = threading.Thread(target=self.drain, daemon=True)
        thread.start()
        return thread


def local_backend(bench: JobBench, request: pytest.FixtureRequest) -> Iterator[Backend]:
    yield Backend(bench, bench.scheduler, bench.run)


def fake_backend(bench: JobBench, request: pytest.FixtureRequest) -> Iterator[Backend]:
    fake: FakeSlurm = request.getfixturevalue("fake")
    yield Backend(bench, SlurmScheduler(SlurmCalls(fake.environment), patience=QUICK), fake.drain)


def slurm_backend(bench: JobBench, request: pytest.FixtureRequest) -> Iterator[Backend]:
    """A partition that is down, but for the time in which it is drained."""
    cluster: Cluster = request.getfixturevalue("slurm_cluster")
    scheduler = SlurmScheduler(SlurmCalls(cluster.environment), patience=QUICK)

    def switch(state: str) -> None:
        cluster.run("scontrol", "update", "partitionname=short", f"state={state}")

    def is_over() -> bool:
        records = scheduler.records(bench.group())
        # Of an end that is not accounted for yet, the time is not known.
        return not any(r.state.is_live or r.ended is None for r in records)

    def drain() -> None:
        switch("up")
        limit = time.monotonic() + DRAINED_WITHIN
        while not is_over():
            assert time.monotonic() < limit, scheduler.records(bench.group())
            time.sleep(0.3)
        switch("down")

    switch("down")
    yield Backend(bench, scheduler, drain)
    switch("up")


BACKENDS = {"local": local_backend, "fake": fake_backend, "slurm": slurm_backend}


@pytest.fixture(
    params=["local", "fake", pytest.param("slurm", marks=[pytest.mark.slurm, pytest.mark.timeout(900)])]
)
def backend(request: pytest.FixtureRequest, bench: JobBench) -> Iterator[Backend]:
    yield from BACKENDS[request.param](bench, request)


def test_has_a_name(backend: Backend) -> None:
    assert backend.scheduler.name.isidentifier()


def test_knows_nothing_of_an_unknown_group(backend: Backend) -> None:
    assert backend.records("LST1.19990101.v0") == ()


def test_job_waits_until_it_is_run(backend: Backend) -> None:
    job_id = backend.scheduler.submit(backend.job("LST1_01873"))
    (record,) = backend.records()
    assert (record.job_id, record.name, record.task) == (job_id, "LST1_01873", None)
    assert record.state is JobState.PENDING
    assert record.submitted.tzinfo is UTC
    assert (record.started, record.ended, record.exit_code, record.host) == (None, None, None, None)


def test_job_that_ended_well(backend: Backend) -> None:
    backend.scheduler.submit(backend.job("LST1_01873", "note('ran'); print('said aloud')"))
    backend.drain()
    (record,) = backend.records()
    assert (record.state, record.exit_code) == (JobState.COMPLETED, 0)
    assert record.host
    assert record.started is not None and record.ended is not None
    assert record.submitted <= record.started <= record.ended
    assert backend.attempts() == ["LST1_01873 - ran"]


def test_output_of_a_task_is_in_its_log(backend: Backend) -> None:
    job = backend.job("LST1_01874", "print('said aloud'); print('muttered', file=sys.stderr)", tasks=(3,))
    job_id = backend.scheduler.submit(job)
    backend.drain()
    text = (job.log_dir / f"LST1_01874_{job_id}_3.log").read_text(encoding="utf-8")
    assert sorted(text.split("\n")) == ["", "muttered", "said aloud"]


def test_each_task_sees_its_own_index(backend: Backend) -> None:
    backend.scheduler.submit(backend.job("LST1_01874", tasks=(0, 2, 17)))
    backend.drain()
    assert sorted(backend.attempts()) == ["LST1_01874 0 ran", "LST1_01874 17 ran", "LST1_01874 2 ran"]
    assert backend.states() == [("LST1_01874", task, JobState.COMPLETED) for task in (0, 2, 17)]


def test_one_failed_task_leaves_its_siblings_alone(backend: Backend) -> None:
    backend.scheduler.submit(
        backend.job("LST1_01874", "note('ran'); sys.exit(5 if TASK == '1' else 0)", tasks=(0, 1, 2))
    )
    backend.drain()
    found = [(r.task, r.state, r.exit_code) for r in backend.records()]
    assert found == [(0, JobState.COMPLETED, 0), (1, JobState.FAILED, 5), (2, JobState.COMPLETED, 0)]


def test_records_of_the_oldest_job_come_first(backend: Backend) -> None:
    first = backend.scheduler.submit(backend.job("LST1_01875", tasks=(1,)))
    backend.drain()
    second = backend.scheduler.submit(backend.job("LST1_01874", tasks=(0,)))
    third = backend.scheduler.submit(backend.job("LST1_01875", tasks=(1,)))
    assert [r.job_id for r in backend.records()] == [first, second, third]
    assert len({first, second, third}) == 3


def test_dependant_runs_after_all_tasks_of_its_parent(backend: Backend) -> None:
    parent = backend.scheduler.submit(backend.job("LST1_01873", "note('ran')", tasks=(0, 1)))
    backend.scheduler.submit(backend.job("LST1_01874", tasks=(0, 1)), after=parent)
    backend.drain()
    names = [line.split()[0] for line in backend.attempts()]
    assert names == ["LST1_01873", "LST1_01873", "LST1_01874", "LST1_01874"]


def test_dependant_of_a_parent_that_is_done_already(backend: Backend) -> None:
    parent = backend.scheduler.submit(backend.job("LST1_01873"))
    backend.drain()
    backend.scheduler.submit(backend.job("LST1_01874"), after=parent)
    backend.drain()
    assert backend.attempts() == ["LST1_01873 - ran", "LST1_01874 - ran"]


@pytest.mark.parametrize("body", ["sys.exit(1)", "os.kill(os.getpid(), signal.SIGKILL)", "1/0"])
def test_dependants_of_a_failed_parent_are_cancelled(backend: Backend, body: str) -> None:
    parent = backend.scheduler.submit(backend.job("LST1_01873", body))
    child = backend.scheduler.submit(backend.job("LST1_01874", tasks=(0, 1)), after=parent)
    backend.scheduler.submit(backend.job("LST1_01875"), after=child)
    backend.scheduler.submit(backend.job("LST1_01876"))
    backend.drain()
    records = {(r.name, r.task): (r.state, r.reason) for r in backend.records()}
    cancelled = (JobState.CANCELLED, "DependencyNeverSatisfied")
    assert records["LST1_01873", None][0] is JobState.FAILED
    assert records["LST1_01874", 0] == records["LST1_01874", 1] == cancelled
    assert records["LST1_01875", None] == cancelled
    assert backend.attempts() == ["LST1_01876 - ran"]


def test_parent_that_nobody_knows_is_refused(backend: Backend) -> None:
    with pytest.raises(ParentGoneError, match="4711"):
        backend.scheduler.submit(backend.job("LST1_01874"), after="4711")
    assert backend.records() == ()


@pytest.mark.parametrize("tasks", [(0, 1), (1,), (1, 2, 3)])
def test_task_that_is_alive_is_not_taken_twice(backend: Backend, tasks: tuple[int, ...]) -> None:
    backend.scheduler.submit(backend.job("LST1_01874", tasks=(0, 1)))
    with pytest.raises(AnotherInstanceError, match="LST1_01874"):
        backend.scheduler.submit(backend.job("LST1_01874", tasks=tasks))
    assert len(backend.records()) == 2  # the refused job left nothing behind
    backend.drain()
    assert sorted(backend.attempts()) == ["LST1_01874 0 ran", "LST1_01874 1 ran"]


def test_job_without_tasks_is_not_taken_twice(backend: Backend) -> None:
    backend.scheduler.submit(backend.job("LST1_01873"))
    with pytest.raises(AnotherInstanceError):
        backend.scheduler.submit(backend.job("LST1_01873"))


def test_other_tasks_names_and_groups_are_taken(backend: Backend) -> None:
    backend.scheduler.submit(backend.job("LST1_01874", tasks=(0,)))
    backend.scheduler.submit(backend.job("LST1_01874", tasks=(1,)))
    backend.scheduler.submit(backend.job("LST1_01875", tasks=(0,)))
    backend.scheduler.submit(backend.job("LST1_01874", tasks=(0,), group=OTHER))
    assert len(backend.records()) == 3
    assert backend.states(OTHER) == [("LST1_01874", 0, JobState.PENDING)]


def test_task_that_has_ended_is_taken_again(backend: Backend) -> None:
    first = backend.scheduler.submit(backend.job("LST1_01874", "sys.exit(1)", tasks=(0,)))
    backend.drain()
    second = backend.scheduler.submit(backend.job("LST1_01874", tasks=(0,)))
    backend.drain()
    states = [(r.job_id, r.state) for r in backend.records()]
    assert states == [(first, JobState.FAILED), (second, JobState.COMPLETED)]


# ---------------------------------------------------------------------------------- order


def test_tries_of_a_task_follow_each_other(backend: Backend) -> None:
    jobs = []
    for tasks in ((0, 1), (1,), (0, 1)):
        jobs.append(backend.scheduler.submit(backend.job("LST1_01874", "sys.exit(1)", tasks=tasks)))
        backend.drain()
    found = [(r.job_id, r.task) for r in backend.records()]
    first, second, third = jobs
    assert found == [(first, 0), (first, 1), (second, 1), (third, 0), (third, 1)]


def test_tidy_tells_what_records_tell(backend: Backend) -> None:
    def seen(records: tuple[TaskRecord, ...]) -> list[tuple[object, ...]]:
        return [(r.job_id, r.name, r.task, r.state, r.submitted, r.ended) for r in records]

    assert backend.tidy("LST1_01873", "LST1_01874") == ()
    parent = backend.scheduler.submit(backend.job("LST1_01873"))
    backend.scheduler.submit(backend.job("LST1_01874", "sys.exit(1)", tasks=(0, 2)), after=parent)
    assert seen(backend.tidy("LST1_01873", "LST1_01874")) == seen(backend.records())
    backend.drain()
    assert seen(backend.tidy("LST1_01873", "LST1_01874")) == seen(backend.records())
    assert backend.states() == [
        ("LST1_01873", None, JobState.COMPLETED),
        ("LST1_01874", 0, JobState.FAILED),
        ("LST1_01874", 2, JobState.FAILED),
    ]


# ------------------------------------------------------------------------------ cancelling


def test_pending_tasks_are_cancelled(backend: Backend) -> None:
    parent = backend.scheduler.submit(backend.job("LST1_01873"))
    backend.scheduler.submit(backend.job("LST1_01874", tasks=(0, 1, 5)), after=parent)
    assert backend.cancel("LST1_01874", "LST1_01899") == 3
    wait_until(lambda: not any(r.state.is_live for r in backend.records() if r.name == "LST1_01874"))
    backend.drain()
    assert backend.states() == [
        ("LST1_01873", None, JobState.COMPLETED),
        *(("LST1_01874", task, JobState.CANCELLED) for task in (0, 1, 5)),
    ]
    assert backend.attempts() == ["LST1_01873 - ran"]


def test_running_tasks_are_cancelled(backend: Backend) -> None:
    backend.scheduler.submit(backend.job("LST1_01874", HELD, tasks=(0, 1)))
    backend.scheduler.submit(backend.job("LST1_01875", HELD, tasks=(0,)))
    thread = backend.drain_in_thread()
    wait_until(lambda: "LST1_01874 0 start" in backend.attempts())
    wait_until(lambda: ("LST1_01874", 0, JobState.RUNNING) in backend.states())
    assert backend.cancel("LST1_01874") == 2
    wait_until(lambda: not any(r.state.is_live for r in backend.records() if r.name == "LST1_01874"))
    backend.bench.allow()
    thread.join(DRAINED_WITHIN)
    assert not thread.is_alive()
    assert backend.states() == [
        ("LST1_01874", 0, JobState.CANCELLED),
        ("LST1_01874", 1, JobState.CANCELLED),
        ("LST1_01875", 0, JobState.COMPLETED),
    ]
    assert "LST1_01874 0 end" not in backend.attempts()


def test_what_was_cancelled_is_taken_again(backend: Backend) -> None:
    first = backend.scheduler.submit(backend.job("LST1_01874", tasks=(0, 1)))
    assert backend.cancel("LST1_01874") == 2
    wait_until(lambda: not any(r.state.is_live for r in backend.records()))
    second = backend.scheduler.submit(backend.job("LST1_01874", tasks=(1,)))
    backend.drain()
    states = [(r.job_id, r.task, r.state) for r in backend.records()]
    cancelled = [(first, task, JobState.CANCELLED) for task in (0, 1)]
    assert states == [*cancelled, (second, 1, JobState.COMPLETED)]
    assert backend.attempts() == ["LST1_01874 1 ran"]


def test_nothing_is_left_to_cancel(backend: Backend) -> None:
    backend.scheduler.submit(backend.job("LST1_01874"))
    backend.drain()
    assert backend.cancel("LST1_01874", "LST1_01875") == 0
    assert backend.states() == [("LST1_01874", None, JobState.COMPLETED)]


def test_other_groups_are_not_cancelled(backend: Backend) -> None:
    backend.scheduler.submit(backend.job("LST1_01874"))
    backend.scheduler.submit(backend.job("LST1_01874", group=OTHER))
    assert backend.cancel("LST1_01874") == 1
    assert backend.states(OTHER) == [("LST1_01874", None, JobState.PENDING)]
