"""The file of jobs: whole or not at all, one live try, and readable at any moment."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from multiprocessing.synchronize import Barrier
from pathlib import Path

import psutil
import pytest

from osa.errors import AnotherInstanceError, OsaError
from osa.model.job import JobGroup, JobSpec, JobState, Resources
from osa.scheduler.capacity import Capacity
from osa.scheduler.local_store import LocalStore, PendingTask
from osa.system.processes import is_alive

GROUP = "LST1.20200127.v0.1.0"
OTHER = "LST1.20200128.v0.1.0"
ROOM = Capacity(cores=4, memory=4000)


def spec(
    name: str = "LST1_01874",
    tasks: tuple[int, ...] = (),
    *,
    group: str = GROUP,
    cpus: int = 1,
    memory: int = 100,
) -> JobSpec:
    resources = Resources(cpus, memory, timedelta(hours=1, seconds=0.5))
    return JobSpec(
        name, JobGroup(group, Path("/work")), Path("/scripts/a.py"), Path("/log"), resources, tasks
    )


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "state")


@pytest.fixture
def other_process() -> Iterator[subprocess.Popen[bytes]]:
    """A process that lives until its standard input is closed."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


def dead_pid() -> int:
    process = subprocess.Popen(["/bin/true"])
    process.wait()
    return process.pid


def execute(store: LocalStore, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(store.path)) as connection, connection:
        connection.execute(statement, values)


def claim(store: LocalStore, group: str = GROUP, room: Capacity = ROOM) -> PendingTask | None:
    return store.claim(group, room, "here")


def claimed(store: LocalStore, group: str = GROUP, room: Capacity = ROOM) -> PendingTask:
    task = claim(store, group, room)
    assert task is not None
    return task


def states(store: LocalStore, group: str = GROUP) -> list[JobState]:
    return [record.state for record in store.records(group)]


# ------------------------------------------------------------------------------- reading


def test_reading_makes_no_file(store: LocalStore) -> None:
    assert store.records(GROUP) == ()
    assert store.executor(GROUP) is None
    assert not store.path.parent.exists()


def test_reading_leaves_the_file_as_it_is(store: LocalStore) -> None:
    store.add(spec(tasks=(0, 1)), None)
    content, folder = store.path.read_bytes(), sorted(store.path.parent.iterdir())
    assert len(store.records(GROUP)) == 2
    assert store.executor(GROUP) is None
    assert store.path.read_bytes() == content
    assert sorted(store.path.parent.iterdir()) == folder


def test_file_that_is_just_being_made_has_no_jobs(store: LocalStore) -> None:
    store.path.parent.mkdir()
    store.path.touch()
    assert store.records(GROUP) == ()
    assert store.executor(GROUP) is None
    store.add(spec(), None)
    assert states(store) == [JobState.PENDING]


def test_reading_does_not_wait_for_a_writer(store: LocalStore) -> None:
    store.add(spec(tasks=(0, 1)), None)
    with closing(sqlite3.connect(store.path)) as writer:
        writer.isolation_level = None
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE tasks SET state = 'RUNNING'")
        assert states(store) == [JobState.PENDING, JobState.PENDING]
        writer.execute("ROLLBACK")


def test_what_a_killed_writer_left_is_undone(store: LocalStore) -> None:
    store.add(spec(tasks=tuple(range(3000))), None)
    code = (
        "import os, signal, sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "connection.execute('PRAGMA cache_size = 5')\n"  # writes before it commits
        "connection.execute('BEGIN IMMEDIATE')\n"
        "connection.execute(\"UPDATE tasks SET state = 'COMPLETED', host = 'nowhere'\")\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    process = subprocess.run([sys.executable, "-c", code, str(store.path)], check=False)
    assert process.returncode == -signal.SIGKILL
    assert store.path.with_name("jobs.sqlite-journal").stat().st_size > 0
    assert set(states(store)) == {JobState.PENDING}
    assert len(store.records(GROUP)) == 3000


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.9])
def test_corrupt_file_is_named(store: LocalStore, fraction: float) -> None:
    store.add(spec(tasks=tuple(range(500))), None)
    size = store.path.stat().st_size
    with store.path.open("r+b") as stream:
        stream.seek(int(fraction * size))
        stream.write(b"\xff" * (size - int(fraction * size)))
    with pytest.raises(OsaError, match=str(store.path)):
        store.records(GROUP)
    with pytest.raises(OsaError, match=str(store.path)):
        store.abandon(GROUP, 1, "reason")


def test_file_cut_short_is_named(store: LocalStore) -> None:
    store.add(spec(tasks=tuple(range(500))), None)
    os.truncate(store.path, store.path.stat().st_size // 2)
    with pytest.raises(OsaError, match=str(store.path)):
        store.records(GROUP)
    with pytest.raises(OsaError, match=str(store.path)):
        store.add(spec("LST1_01875"), None)


def test_values_of_a_record(store: LocalStore) -> None:
    job_id = store.add(spec(tasks=(3,)), None)
    task = claimed(store)
    store.started(task, os.getpid())
    store.finish(task.job_id, 3, JobState.FAILED, exit_code=7, cpu_seconds=1.5, reason="why")
    (record,) = store.records(GROUP)
    assert (record.job_id, record.name, record.task) == (job_id, "LST1_01874", 3)
    assert (record.state, record.exit_code, record.reason) == (JobState.FAILED, 7, "why")
    assert (record.host, record.cpu_time) == ("here", timedelta(seconds=1.5))
    assert record.started is not None and record.ended is not None
    assert record.submitted <= record.started <= record.ended


# ---------------------------------------------------------------------------- submitting


def test_job_is_added_whole_or_not_at_all(store: LocalStore) -> None:
    store.add(spec(tasks=(5,)), None)
    with pytest.raises(AnotherInstanceError):
        store.add(spec(tasks=(4, 5, 6)), None)
    with closing(sqlite3.connect(store.path)) as connection:
        assert connection.execute("SELECT count(*) FROM jobs").fetchone() == (1,)
        assert connection.execute("SELECT task FROM tasks").fetchall() == [(5,)]


def test_job_number_is_not_used_again(store: LocalStore) -> None:
    first = store.add(spec(), None)
    execute(store, "DELETE FROM tasks")
    execute(store, "DELETE FROM jobs")
    assert int(store.add(spec(), None)) > int(first)


def _add_on_barrier(folder: Path, name: str, barrier: Barrier, answers: multiprocessing.Queue[str]) -> None:
    store = LocalStore(folder)
    barrier.wait(20)
    try:
        answers.put(f"job {store.add(spec(name, (0, 1, 2)), None)}")
    except AnotherInstanceError:
        answers.put("refused")
    except BaseException as error:
        answers.put(repr(error))


def submit_at_once(folder: Path, names: list[str]) -> list[str]:
    context = multiprocessing.get_context("fork")
    barrier, answers = context.Barrier(len(names)), context.Queue()
    processes = [
        context.Process(target=_add_on_barrier, args=(folder, name, barrier, answers)) for name in names
    ]
    for process in processes:
        process.start()
    said = sorted(answers.get(timeout=20) for _ in names)
    for process in processes:
        process.join(20)
    return said


def test_same_job_from_many_processes_at_once_is_one_job(store: LocalStore) -> None:
    said = submit_at_once(store.path.parent, ["LST1_01874"] * 6)
    assert said == ["job 1", *["refused"] * 5]
    assert states(store) == [JobState.PENDING] * 3


def test_first_jobs_from_many_processes_at_once_are_all_taken(store: LocalStore) -> None:
    said = submit_at_once(store.path.parent, [f"LST1_0187{digit}" for digit in range(6)])
    assert said == [f"job {number}" for number in range(1, 7)]


def test_full_disk_is_told_and_leaves_the_jobs_as_they_were(store: LocalStore) -> None:
    store.add(spec(), None)
    size = store.path.stat().st_size

    def limit_file_size() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    code = (
        "import sys; from pathlib import Path\n"
        "sys.path[:0] = sys.argv[2:]\n"
        "from test_local_store import LocalStore, OsaError, spec\n"
        "try: LocalStore(Path(sys.argv[1])).add(spec('LST1_01875', tuple(range(20000))), None)\n"
        "except OsaError as error: print(error)\n"
    )
    folders = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
    said = subprocess.run(
        [sys.executable, "-c", code, str(store.path.parent), *folders],
        preexec_fn=limit_file_size, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert said.startswith(str(store.path))
    assert "rollback" not in said
    assert [record.name for record in store.records(GROUP)] == ["LST1_01874"]


# ------------------------------------------------------------------------------ claiming


def test_tasks_are_claimed_in_order_and_once(store: LocalStore) -> None:
    store.add(spec(tasks=(0, 1)), None)
    store.add(spec("LST1_01875"), None)
    found = [claimed(store) for _ in range(3)]
    assert [(task.name, task.task) for task in found] == [
        ("LST1_01874", 0),
        ("LST1_01874", 1),
        ("LST1_01875", None),
    ]
    assert claim(store) is None
    assert found[0].script == Path("/scripts/a.py")
    assert found[0].resources == Resources(1, 100, timedelta(hours=1, seconds=0.5))


def test_other_nights_are_left_alone(store: LocalStore) -> None:
    store.add(spec(group=OTHER), None)
    assert claim(store) is None
    assert claim(store, OTHER) is not None


@pytest.mark.parametrize(
    ("need", "room", "at_once"),
    [
        ({"cpus": 2}, Capacity(5, 4000), 2),
        ({"cpus": 2}, Capacity(4, 4000), 2),
        ({"memory": 1500}, Capacity(8, 4000), 2),
        ({"memory": 2000}, Capacity(8, 4000), 2),
        ({"memory": 4001}, Capacity(8, 4000), 0),
        ({"cpus": 9}, Capacity(8, 4000), 0),
    ],
)
def test_no_more_is_claimed_than_there_is_room_for(
    store: LocalStore, need: dict[str, int], room: Capacity, at_once: int
) -> None:
    store.add(spec(tasks=tuple(range(6)), **need), None)
    found = [claim(store, room=room) for _ in range(6)]
    assert sum(task is not None for task in found) == at_once


def test_room_is_shared_between_nights_and_given_back(store: LocalStore) -> None:
    room = Capacity(2, 4000)
    store.add(spec(tasks=(0, 1)), None)
    store.add(spec(tasks=(0,), group=OTHER), None)
    first = claimed(store, room=room)
    store.started(first, os.getpid())
    store.started(claimed(store, room=room), os.getpid())
    assert claim(store, OTHER, room) is None
    store.finish(first.job_id, first.task, JobState.COMPLETED, exit_code=0)
    assert claim(store, OTHER, room) is not None


def test_room_of_processes_that_are_gone_is_free(store: LocalStore) -> None:
    room = Capacity(1, 4000)
    store.add(spec(), None)
    store.add(spec(group=OTHER), None)
    store.started(claimed(store, room=room), dead_pid())
    assert claim(store, OTHER, room) is not None


def test_room_of_a_task_that_is_just_being_started_is_taken(store: LocalStore) -> None:
    room = Capacity(1, 4000)
    store.add(spec(), None)
    store.add(spec(group=OTHER), None)
    claimed(store, room=room)
    assert claim(store, OTHER, room) is None
    execute(store, "UPDATE tasks SET started = ? WHERE state = 'RUNNING'", time.time() - 3600)
    assert claim(store, OTHER, room) is not None


def test_dependant_is_claimed_only_after_all_of_its_parent(store: LocalStore) -> None:
    parent = store.add(spec("LST1_01873", (0, 1)), None)
    store.add(spec("LST1_01874"), parent)
    for task in (0, 1):
        assert claimed(store).name == "LST1_01873"
        store.cancel_impossible(GROUP)
        store.finish(int(parent), task, JobState.COMPLETED, exit_code=0)
    assert claimed(store).name == "LST1_01874"


@pytest.mark.parametrize(
    "end", [JobState.FAILED, JobState.TIMEOUT, JobState.CANCELLED, JobState.NODE_FAIL, JobState.OUT_OF_MEMORY]
)
def test_dependants_of_what_cannot_succeed_are_cancelled(store: LocalStore, end: JobState) -> None:
    parent = store.add(spec("LST1_01873"), None)
    store.add(spec("LST1_01874"), parent)
    store.add(spec("LST1_01875"), None)
    claimed(store)
    store.cancel_impossible(GROUP)
    assert states(store) == [JobState.NODE_FAIL, JobState.PENDING, JobState.PENDING]
    store.finish(int(parent), None, end)
    store.cancel_impossible(GROUP)
    assert states(store) == [end, JobState.CANCELLED, JobState.PENDING]


# ----------------------------------------------------------------------------- executors


def test_night_has_one_executor(store: LocalStore, other_process: subprocess.Popen[bytes]) -> None:
    assert store.enter(GROUP, other_process.pid)
    assert store.executor(GROUP) == other_process.pid
    assert not store.enter(GROUP, os.getpid())
    assert store.enter(OTHER, os.getpid())


def test_executor_that_died_is_replaced(store: LocalStore, other_process: subprocess.Popen[bytes]) -> None:
    assert store.enter(GROUP, other_process.pid)
    other_process.kill()
    other_process.wait()
    assert store.executor(GROUP) is None
    assert store.enter(GROUP, os.getpid())


def test_number_of_a_later_process_is_no_executor(
    store: LocalStore, other_process: subprocess.Popen[bytes]
) -> None:
    assert store.enter(GROUP, other_process.pid)
    execute(store, "UPDATE executors SET pid = ?", os.getpid())  # ours started at another time
    assert store.executor(GROUP) is None


def test_executor_stays_while_there_is_work(store: LocalStore) -> None:
    store.enter(GROUP, os.getpid())
    store.add(spec(), None)
    assert not store.leave(GROUP, os.getpid())
    claimed(store)
    assert not store.leave(GROUP, os.getpid())
    store.finish(1, None, JobState.COMPLETED)
    store.add(spec(group=OTHER), None)
    assert store.leave(GROUP, os.getpid())
    assert store.executor(GROUP) is None


def test_abandoned_night_has_no_live_task(store: LocalStore) -> None:
    store.enter(GROUP, os.getpid())
    store.add(spec(tasks=(0, 1, 2)), None)
    store.add(spec(group=OTHER), None)
    store.finish(1, claimed(store).task, JobState.COMPLETED)
    claimed(store)
    store.abandon(GROUP, os.getpid(), "interrupted")
    assert states(store) == [JobState.COMPLETED, JobState.CANCELLED, JobState.CANCELLED]
    assert store.records(GROUP)[2].reason == "interrupted"
    assert states(store, OTHER) == [JobState.PENDING]
    assert store.executor(GROUP) is None


def test_task_that_nobody_runs(store: LocalStore) -> None:
    store.add(spec(), None)
    (record,) = store.records(GROUP)
    assert (record.state, record.reason) == (JobState.PENDING, "nobody runs it: call sequencer")
    store.enter(GROUP, os.getpid())
    (record,) = store.records(GROUP)
    assert (record.state, record.reason) == (JobState.PENDING, "Resources")


def test_running_task_is_judged_by_its_process(
    store: LocalStore, other_process: subprocess.Popen[bytes]
) -> None:
    store.add(spec(), None)
    task = claimed(store)
    assert states(store) == [JobState.NODE_FAIL]  # claimed, and nobody is there to start it
    store.started(task, other_process.pid)
    assert states(store) == [JobState.RUNNING]  # it lives on without its executor
    other_process.kill()
    other_process.wait()
    (record,) = store.records(GROUP)
    assert (record.state, record.reason) == (JobState.NODE_FAIL, "the process is gone")
    store.enter(GROUP, os.getpid())
    assert states(store) == [JobState.RUNNING]  # its executor will tell how it ended


def test_orphans_are_the_running_tasks(store: LocalStore) -> None:
    store.add(spec(tasks=(0, 1, 2)), None)
    store.finish(1, claimed(store).task, JobState.COMPLETED)
    task = claimed(store)
    store.started(task, os.getpid())
    ((job, index, pid, started),) = store.orphans(GROUP)
    assert (job, index, pid) == (1, 1, os.getpid())
    assert is_alive(pid, started)


# ------------------------------------------------------------------------------ processes


def test_living_process_is_alive_and_a_dead_or_unborn_one_is_not(
    other_process: subprocess.Popen[bytes], store: LocalStore
) -> None:
    store.add(spec(), None)
    store.started(claimed(store), other_process.pid)
    ((_, _, pid, started),) = store.orphans(GROUP)
    assert is_alive(pid, started)
    other_process.kill()
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert not is_alive(pid, started)  # a zombie does nothing any more
    other_process.wait()
    assert not is_alive(pid, started)
    assert not is_alive(None, None)
    assert not is_alive(pid, None)


@pytest.mark.parametrize("seconds", [-3600, 3600])
def test_clock_that_is_set_changes_no_process(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    store.enter(GROUP, os.getpid())
    boot_time = psutil.boot_time()  # the kernel reckons it back from the clock
    monkeypatch.setattr("psutil._pslinux.boot_time", lambda: boot_time + seconds)
    assert store.executor(GROUP) == os.getpid()


def test_tasks_that_never_find_room_are_cancelled(store: LocalStore) -> None:
    store.add(spec("LST1_01873", cpus=3), None)
    store.add(spec("LST1_01874", memory=3000), None)
    store.add(spec("LST1_01875"), None)
    store.add(spec("LST1_01873", cpus=3, group=OTHER), None)
    store.cancel_too_large(GROUP, Capacity(3, 3000))
    assert states(store) == [JobState.PENDING] * 3
    store.cancel_too_large(GROUP, Capacity(2, 2000))
    assert states(store) == [JobState.CANCELLED, JobState.CANCELLED, JobState.PENDING]
    assert store.records(GROUP)[0].reason == "needs more than this machine gives"
    assert states(store, OTHER) == [JobState.PENDING]


@pytest.mark.parametrize(("cores", "memory"), [(3, None), (None, 1234), (None, None)])
def test_capacity_is_what_is_configured_or_there(cores: int | None, memory: int | None) -> None:
    found = Capacity.of_this_machine(cores, memory)
    assert found.cores == (cores or len(os.sched_getaffinity(0)))
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**20
    assert found.memory == memory or 0.85 * total < found.memory <= 0.9 * total
