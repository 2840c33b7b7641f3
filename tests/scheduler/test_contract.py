"""What every scheduler promises; a second one joins as another parameter of ``backend``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC

import pytest
from job_bench import GROUP, JobBench

from osa.errors import AnotherInstanceError, OsaError
from osa.model.job import JobGroup, JobSpec, JobState
from osa.scheduler.base import Scheduler


@dataclass
class Backend:
    """A scheduler, and how its queue is brought to an end."""

    scheduler: Scheduler
    job: Callable[..., JobSpec]
    drain: Callable[[], object]
    attempts: Callable[[], list[str]]
    group: Callable[..., JobGroup]

    def states(self, group: str = GROUP) -> list[tuple[str, int | None, JobState]]:
        return [(r.name, r.task, r.state) for r in self.scheduler.records(self.group(group))]


@pytest.fixture(params=["local"])
def backend(request: pytest.FixtureRequest, bench: JobBench) -> Backend:
    made = {
        "local": lambda: Backend(bench.scheduler, bench.job, bench.run, lambda: bench.attempts, bench.group)
    }
    return made[request.param]()


def test_has_a_name(backend: Backend) -> None:
    assert backend.scheduler.name.isidentifier()


def test_knows_nothing_of_an_unknown_group(backend: Backend) -> None:
    assert backend.scheduler.records(backend.group("LST1.19990101.v0")) == ()


def test_job_waits_until_it_is_run(backend: Backend) -> None:
    job_id = backend.scheduler.submit(backend.job("LST1_01873"))
    (record,) = backend.scheduler.records(backend.group())
    assert (record.job_id, record.name, record.task) == (job_id, "LST1_01873", None)
    assert record.state is JobState.PENDING
    assert record.submitted.tzinfo is UTC
    assert (record.started, record.ended, record.exit_code, record.host) == (None, None, None, None)


def test_job_that_ended_well(backend: Backend) -> None:
    backend.scheduler.submit(backend.job("LST1_01873", "note('ran'); print('said aloud')"))
    backend.drain()
    (record,) = backend.scheduler.records(backend.group())
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
    found = [(r.task, r.state, r.exit_code) for r in backend.scheduler.records(backend.group())]
    assert found == [(0, JobState.COMPLETED, 0), (1, JobState.FAILED, 5), (2, JobState.COMPLETED, 0)]


def test_records_of_the_oldest_job_come_first(backend: Backend) -> None:
    first = backend.scheduler.submit(backend.job("LST1_01875", tasks=(1,)))
    backend.drain()
    second = backend.scheduler.submit(backend.job("LST1_01874", tasks=(0,)))
    third = backend.scheduler.submit(backend.job("LST1_01875", tasks=(1,)))
    assert [r.job_id for r in backend.scheduler.records(backend.group())] == [first, second, third]
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
    records = {(r.name, r.task): (r.state, r.reason) for r in backend.scheduler.records(backend.group())}
    cancelled = (JobState.CANCELLED, "DependencyNeverSatisfied")
    assert records["LST1_01873", None][0] is JobState.FAILED
    assert records["LST1_01874", 0] == records["LST1_01874", 1] == cancelled
    assert records["LST1_01875", None] == cancelled
    assert backend.attempts() == ["LST1_01876 - ran"]


def test_parent_that_nobody_knows_is_refused(backend: Backend) -> None:
    with pytest.raises(OsaError, match="4711"):
        backend.scheduler.submit(backend.job("LST1_01874"), after="4711")
    assert backend.scheduler.records(backend.group()) == ()


@pytest.mark.parametrize("tasks", [(0, 1), (1,), (1, 2, 3)])
def test_task_that_is_alive_is_not_taken_twice(backend: Backend, tasks: tuple[int, ...]) -> None:
    backend.scheduler.submit(backend.job("LST1_01874", tasks=(0, 1)))
    with pytest.raises(AnotherInstanceError, match="LST1_01874"):
        backend.scheduler.submit(backend.job("LST1_01874", tasks=tasks))
    assert len(backend.scheduler.records(backend.group())) == 2  # the refused job left nothing behind
    backend.drain()
    assert sorted(backend.attempts()) == ["LST1_01874 0 ran", "LST1_01874 1 ran"]


def test_job_without_tasks_is_not_taken_twice(backend: Backend) -> None:
    backend.scheduler.submit(backend.job("LST1_01873"))
    with pytest.raises(AnotherInstanceError):
        backend.scheduler.submit(backend.job("LST1_01873"))


def test_other_tasks_names_and_groups_are_taken(backend: Backend) -> None:
    other = "LST1.20200128.v0.1.0"
    backend.scheduler.submit(backend.job("LST1_01874", tasks=(0,)))
    backend.scheduler.submit(backend.job("LST1_01874", tasks=(1,)))
    backend.scheduler.submit(backend.job("LST1_01875", tasks=(0,)))
    backend.scheduler.submit(backend.job("LST1_01874", tasks=(0,), group=other))
    assert len(backend.scheduler.records(backend.group())) == 3
    assert backend.states(other) == [("LST1_01874", 0, JobState.PENDING)]


def test_task_that_has_ended_is_taken_again(backend: Backend) -> None:
    first = backend.scheduler.submit(backend.job("LST1_01874", "sys.exit(1)", tasks=(0,)))
    backend.drain()
    second = backend.scheduler.submit(backend.job("LST1_01874", tasks=(0,)))
    backend.drain()
    states = [(r.job_id, r.state) for r in backend.scheduler.records(backend.group())]
    assert states == [(first, JobState.FAILED), (second, JobState.COMPLETED)]
