"""The local backend with real processes: limits, time-outs, interrupts, crashes, many executors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
from job_bench import GROUP, JobBench, is_gone, wait_until

from osa.errors import AnotherInstanceError, ExitCode, InterruptedNightError, JobRefusedError
from osa.model.job import JobState
from osa.scheduler import local
from osa.scheduler.capacity import Capacity
from osa.scheduler.local import LocalExecutor, LocalScheduler, start_detached
from osa.scheduler.local_store import LocalStore
from osa.scheduler.select import select_scheduler

OTHER = "LST1.20200128.v0.1.0"
HELD = "note('start'); await_file('go'); note('end')"
DIES_WITH_PARENT = (
    "from osa.system.workers import end_with_parent\n"
    "if os.environ['OSA_END_WITH_PARENT']: end_with_parent()\n"
)


def most_at_once(attempts: list[str]) -> int:
    """Count from the lines ``start`` and ``end`` how many scripts ran at the same time."""
    running = most = 0
    for line in attempts:
        running += {"start": 1, "end": -1}[line.split()[-1]]
        most = max(most, running)
    return most


# --------------------------------------------------------------------------------- limits


@pytest.mark.parametrize(
    ("capacity", "need", "at_once"),
    [
        (Capacity(2, 4000), {"cpus": 1}, 2),
        (Capacity(4, 4000), {"cpus": 3}, 1),
        (Capacity(8, 4000), {"memory": 1500}, 2),
    ],
)
def test_no_more_tasks_at_once_than_fit(
    bench: JobBench, capacity: Capacity, need: dict[str, int], at_once: int
) -> None:
    bench.capacity = capacity
    bench.submit("LST1_01874", HELD, tasks=(0, 1, 2, 3), **need)
    thread = bench.run_in_thread()
    wait_until(lambda: len(bench.attempts) >= at_once)
    assert bench.count(JobState.RUNNING) == at_once
    assert bench.count(JobState.PENDING) == 4 - at_once
    bench.allow()
    thread.join(20)
    assert bench.count(JobState.COMPLETED) == 4
    assert most_at_once(bench.attempts) == at_once
    assert sorted(bench.attempts) == sorted(
        f"LST1_01874 {task} {word}" for task in range(4) for word in ("start", "end")
    )


def test_two_nights_share_the_machine(bench: JobBench) -> None:
    bench.capacity = Capacity(1, 4000)
    bench.submit("LST1_01874", HELD)
    bench.submit("LST1_01900", HELD, group=OTHER)
    first = bench.run_in_thread()
    wait_until(lambda: bench.attempts == ["LST1_01874 - start"])
    second = bench.run_in_thread(OTHER)
    wait_until(lambda: bench.store.executor(OTHER) is not None)
    wait_until(lambda: bench.record("LST1_01900", group=OTHER).reason == "Resources")
    assert bench.attempts == ["LST1_01874 - start"]
    bench.allow()
    first.join(20)
    second.join(20)
    assert most_at_once(bench.attempts) == 1
    assert bench.record("LST1_01900", group=OTHER).state is JobState.COMPLETED


@pytest.mark.parametrize("need", [{"cpus": 5}, {"memory": 4001}])
def test_task_that_never_fits_is_refused(bench: JobBench, need: dict[str, int]) -> None:
    with pytest.raises(JobRefusedError, match="LST1_01874: a task needs"):
        bench.submit("LST1_01874", **need)
    assert not bench.state_dir.exists()


def test_task_that_fits_no_longer_keeps_nobody_waiting(bench: JobBench) -> None:
    bench.submit("LST1_01873", cpus=3)
    bench.submit("LST1_01875")
    bench.capacity = Capacity(2, 4000)  # changed in the configuration between two calls
    bench.run()
    assert bench.record("LST1_01873").state is JobState.CANCELLED
    assert bench.record("LST1_01873").reason == "needs more than this machine gives"
    assert bench.attempts == ["LST1_01875 - ran"]


def test_task_longer_than_its_time_is_stopped_with_its_children(bench: JobBench) -> None:
    body = "spawn('child')\nhold()"
    bench.submit("LST1_01874", body, tasks=(0,), walltime=0.5)
    bench.submit("LST1_01875")
    bench.run()
    record = bench.record("LST1_01874", 0)
    assert (record.state, record.exit_code) == (JobState.TIMEOUT, -signal.SIGTERM)
    assert record.reason == "longer than 0:00:00.500000"
    assert bench.record("LST1_01875").state is JobState.COMPLETED
    assert bench.attempts == ["LST1_01875 - ran"]
    wait_until(lambda: is_gone(bench.noted_pid("child")))


def test_task_that_does_not_listen_is_killed(bench: JobBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_GRACE_SECONDS", 0.1)
    body = "signal.signal(signal.SIGTERM, lambda *_: note('asked'))\nnote('ready')\nhold()\nhold()"
    bench.submit("LST1_01874", body, walltime=0.7)
    bench.run()
    record = bench.record("LST1_01874")
    assert (record.state, record.exit_code) == (JobState.TIMEOUT, -signal.SIGKILL)
    assert "LST1_01874 - gave-up" not in bench.attempts


# ---------------------------------------------------------------------------------- tasks


def test_environment_is_that_of_the_resource_manager(
    bench: JobBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_PARTITION", "of the job that the tests run in")
    body = "note(' '.join(sorted(f'{k}={v}' for k, v in os.environ.items() if k.startswith('SLURM_'))))"
    job_id = bench.submit("LST1_01874", body, tasks=(12,), cpus=2)
    other_id = bench.submit("LST1_01873", body)
    bench.run()
    assert sorted(bench.attempts) == [
        f"LST1_01873 - SLURM_CPUS_PER_TASK=1 SLURM_JOB_ID={other_id} SLURM_MEM_PER_NODE=100",
        f"LST1_01874 12 SLURM_ARRAY_JOB_ID={job_id} SLURM_ARRAY_TASK_ID=12 SLURM_CPUS_PER_TASK=2 "
        f"SLURM_JOB_ID={job_id} SLURM_MEM_PER_NODE=100",
    ]


def test_cpu_time_and_exit_code_are_recorded(bench: JobBench) -> None:
    busy = "while time.process_time() < 0.3: pass\n"
    bench.submit("LST1_01874", busy + "sys.exit(3)")
    bench.submit("LST1_01875", "os.kill(os.getpid(), signal.SIGSEGV)")
    bench.run()
    record = bench.record("LST1_01874")
    assert (record.state, record.exit_code) == (JobState.FAILED, 3)
    assert timedelta(seconds=0.25) < record.cpu_time < timedelta(seconds=10)
    record = bench.record("LST1_01875")
    assert (record.state, record.exit_code) == (JobState.FAILED, -signal.SIGSEGV)


def test_what_a_task_leaves_behind_ends_with_it(bench: JobBench) -> None:
    bench.submit("LST1_01874", "spawn('child')")
    bench.run()
    assert bench.record("LST1_01874").state is JobState.COMPLETED
    wait_until(lambda: is_gone(bench.noted_pid("child")))


def test_job_added_meanwhile_is_run_too(bench: JobBench) -> None:
    bench.submit("LST1_01874", HELD)
    thread = bench.run_in_thread()
    wait_until(lambda: bench.attempts)
    bench.submit("LST1_01875", "note('start'); note('end'); (FOLDER / 'go').touch()", tasks=(0,))
    thread.join(20)
    assert bench.states() == {
        ("LST1_01874", None): JobState.COMPLETED,
        ("LST1_01875", 0): JobState.COMPLETED,
    }
    assert bench.store.executor(GROUP) is None


def test_states_can_be_read_while_tasks_run(bench: JobBench) -> None:
    parent = bench.submit("LST1_01873", HELD)
    bench.submit("LST1_01874", "note('start'); note('end')", tasks=(0,), after=parent)
    thread = bench.run_in_thread()
    wait_until(lambda: bench.attempts)
    record = bench.record("LST1_01873")
    assert (record.state, record.exit_code, record.ended) == (JobState.RUNNING, None, None)
    assert record.started is not None and record.host
    child = bench.record("LST1_01874", 0)
    assert (child.state, child.reason) == (JobState.PENDING, "Dependency")
    bench.allow()
    thread.join(20)
    assert bench.record("LST1_01874", 0).state is JobState.COMPLETED


def test_caller_is_told_of_progress(bench: JobBench) -> None:
    bench.submit("LST1_01874", tasks=(0, 1))
    seen: list[int] = []
    executor = LocalExecutor(bench.store, GROUP, bench.capacity)
    assert executor.run(lambda: seen.append(bench.count(JobState.COMPLETED)))
    assert seen[-1] == 2
    assert len(seen) > 1


def test_nothing_to_do_is_done_at_once(bench: JobBench) -> None:
    assert bench.run()
    assert bench.store.executor(GROUP) is None


# ------------------------------------------------------------------------------ interrupts


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_executor_ends_its_tasks_and_cancels_the_rest(bench: JobBench, number: int) -> None:
    bench.capacity = Capacity(2, 4000)
    body = "spawn(f'child{TASK}'); note('start'); hold()"
    bench.submit("LST1_01874", body, tasks=(0, 1, 2))
    bench.submit("LST1_01900", group=OTHER)
    executor = bench.start_executor()
    children = [bench.noted_pid("child0"), bench.noted_pid("child1")]
    wait_until(lambda: len(bench.attempts) == 2)
    tasks = [psutil.Process(pid).ppid() for pid in children]
    executor.send_signal(number)
    assert executor.wait(20) == ExitCode.INTERRUPTED
    assert bench.count(JobState.CANCELLED) == 3
    assert {record.reason for record in bench.records()} == {"interrupted"}
    assert bench.record("LST1_01874", 0).exit_code == -signal.SIGTERM
    for pid in [*tasks, *children]:
        wait_until(lambda pid=pid: is_gone(pid))  # type: ignore[misc]
    assert sorted(bench.attempts) == ["LST1_01874 0 start", "LST1_01874 1 start"]
    assert bench.record("LST1_01900", group=OTHER).state is JobState.PENDING


def test_interrupt_does_not_wait_for_ever_for_many_stubborn_tasks(bench: JobBench) -> None:
    body = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nnote('start')\nhold()"
    bench.submit("LST1_01874", body, tasks=(0, 1, 2, 3))
    executor = bench.start_executor(grace=0.2)
    wait_until(lambda: len(bench.attempts) == 4)
    executor.terminate()
    assert executor.wait(20) == ExitCode.INTERRUPTED
    assert bench.count(JobState.CANCELLED) == 4
    assert {record.exit_code for record in bench.records()} == {-signal.SIGKILL}


def test_second_interrupt_makes_it_hurry(bench: JobBench) -> None:
    body = "signal.signal(signal.SIGTERM, lambda *_: note('asked'))\nnote('start')\nhold()\nhold()"
    bench.submit("LST1_01874", body, tasks=(0, 1))
    executor = bench.start_executor(grace=3600)
    wait_until(lambda: len(bench.attempts) == 2)
    executor.send_signal(signal.SIGINT)
    wait_until(lambda: len(bench.attempts) == 4)
    executor.send_signal(signal.SIGINT)
    assert executor.wait(20) == ExitCode.INTERRUPTED
    assert bench.count(JobState.CANCELLED) == 2


def test_keyboard_interrupt_becomes_an_error_of_ours(bench: JobBench) -> None:
    bench.submit("LST1_01874", "note('start'); hold()")

    def interrupt() -> None:
        if bench.attempts:
            raise KeyboardInterrupt

    with pytest.raises(InterruptedNightError, match="run sequencer again"):
        LocalExecutor(bench.store, GROUP, bench.capacity).run(interrupt)
    assert bench.record("LST1_01874").state is JobState.CANCELLED
    assert bench.run()  # and the night can be gone on with
    assert bench.submit("LST1_01874")


# --------------------------------------------------------------------------------- crashes


def test_killed_executor_leaves_evidence_and_the_next_goes_on(bench: JobBench) -> None:
    bench.capacity = Capacity(1, 4000)
    body = DIES_WITH_PARENT + "note('start'); hold()"
    bench.submit("LST1_01874", body, tasks=(0,))
    bench.submit("LST1_01875")
    executor = bench.start_executor()
    wait_until(lambda: bench.attempts)
    executor.kill()
    executor.wait()
    wait_until(lambda: bench.record("LST1_01874", 0).state is JobState.NODE_FAIL)
    assert bench.record("LST1_01874", 0).reason == "the process is gone"
    assert bench.record("LST1_01875").state is JobState.PENDING
    assert bench.record("LST1_01875").reason == "nobody runs it: call sequencer"
    assert bench.run()
    record = bench.record("LST1_01874", 0)
    assert (record.state, record.reason) == (JobState.NODE_FAIL, "whoever ran it ended before it")
    assert bench.record("LST1_01875").state is JobState.COMPLETED
    assert bench.attempts == ["LST1_01874 0 start", "LST1_01875 - ran"]


def test_task_that_outlived_its_executor_is_ended_before_another_try(bench: JobBench) -> None:
    body = "spawn('child'); note('start'); hold()"
    bench.submit("LST1_01874", body, tasks=(0,))
    executor = bench.start_executor()
    wait_until(lambda: bench.attempts)
    pids = [bench.noted_pid("child"), psutil.Process(bench.noted_pid("child")).ppid()]
    executor.kill()
    executor.wait()
    assert bench.record("LST1_01874", 0).state is JobState.RUNNING  # it is, although unattended
    with pytest.raises(AnotherInstanceError):
        bench.submit("LST1_01874", tasks=(0,))
    assert bench.run()
    assert bench.record("LST1_01874", 0).state is JobState.NODE_FAIL
    for pid in pids:
        wait_until(lambda pid=pid: is_gone(pid))  # type: ignore[misc]
    bench.submit("LST1_01874", tasks=(0,))
    bench.run()
    assert bench.attempts == ["LST1_01874 0 start", "LST1_01874 0 ran"]


def test_second_executor_of_a_night_is_refused(bench: JobBench) -> None:
    bench.submit("LST1_01874", HELD)
    executor = bench.start_executor()
    wait_until(lambda: bench.attempts)
    assert not bench.run()
    second = bench.start_executor(wait=False)
    assert second.wait(20) == 0
    assert bench.store.executor(GROUP) == executor.pid
    bench.allow()
    assert executor.wait(20) == 0
    assert bench.attempts == ["LST1_01874 - start", "LST1_01874 - end"]


def test_many_executors_at_once_run_each_task_once(bench: JobBench) -> None:
    bench.submit("LST1_01874", tasks=tuple(range(8)))
    for executor in [bench.start_executor(wait=False) for _ in range(4)]:
        assert executor.wait(20) == 0
    assert sorted(bench.attempts) == [f"LST1_01874 {task} ran" for task in range(8)]


def test_detached_executor_outlives_the_command(bench: JobBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    bench.submit("LST1_01874", HELD)
    code = (
        "from pathlib import Path; import sys\n"
        "from osa.scheduler.local import start_detached\n"
        "from osa.scheduler.capacity import Capacity\n"
        "from osa.scheduler.local_store import LocalStore\n"
        f"print(start_detached(LocalStore(Path({str(bench.state_dir)!r})), {GROUP!r}, Capacity(1, 4000)))"
    )
    command = [sys.executable, "-c", code]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout
    wait_until(lambda: bench.attempts)
    assert bench.store.executor(GROUP) == int(said)
    assert os.getsid(int(said)) == int(said)  # no terminal's hang-up reaches it
    bench.allow()
    wait_until(lambda: is_gone(int(said)))
    assert bench.record("LST1_01874").state is JobState.COMPLETED
    assert (bench.state_dir / f"executor_{GROUP}.log").read_text() == ""


def test_detached_executor_of_no_work_ends(bench: JobBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    bench.submit("LST1_01874", "note('ran')")
    bench.run()
    pid = start_detached(bench.store, GROUP, bench.capacity)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert bench.attempts == ["LST1_01874 - ran"]


def test_unexpected_error_stops_the_tasks(bench: JobBench) -> None:
    bench.submit("LST1_01874", "note('start'); hold()")

    def fail() -> None:
        if bench.attempts:
            raise ZeroDivisionError

    started = time.monotonic()
    with pytest.raises(ZeroDivisionError):
        LocalExecutor(bench.store, GROUP, bench.capacity).run(fail)
    assert time.monotonic() - started < 20
    assert bench.record("LST1_01874").state is JobState.CANCELLED
    assert bench.store.executor(GROUP) is None


# ----------------------------------------------------------------------------- selection


def test_local_scheduler_of_the_configuration(make_settings) -> None:  # type: ignore[no-untyped-def]
    changes = {
        ("SCHEDULER", "backend"): "slurm",
        ("LOCAL", "max_cores"): "3",
        ("LOCAL", "max_memory"): "2 GB",
    }
    settings = make_settings(changes)
    scheduler = select_scheduler(settings, "local")
    assert isinstance(scheduler, LocalScheduler)
    assert scheduler.capacity == Capacity(3, 2048)
    assert scheduler.store.path == LocalStore(settings.local.state_dir).path
    assert not settings.local.state_dir.exists()


def test_what_a_killed_executor_left_can_be_submitted_again(bench: JobBench) -> None:
    bench.submit("LST1_01874", DIES_WITH_PARENT + "note('start'); hold()", tasks=(0,))
    executor = bench.start_executor()
    wait_until(lambda: bench.attempts)
    executor.kill()
    executor.wait()
    wait_until(lambda: bench.record("LST1_01874", 0).state is JobState.NODE_FAIL)
    (record,) = bench.scheduler.tidy(bench.group(), ["LST1_01874"])
    assert (record.state, record.reason) == (JobState.NODE_FAIL, "whoever ran it ended before it")
    bench.submit("LST1_01874", "note('again')", tasks=(0,))
    bench.run()
    assert bench.attempts == ["LST1_01874 0 start", "LST1_01874 0 again"]


def test_nobody_is_buried_alive(bench: JobBench) -> None:
    bench.submit("LST1_01874", HELD, tasks=(0,))
    thread = bench.run_in_thread()
    wait_until(lambda: bench.attempts)
    (record,) = bench.scheduler.tidy(bench.group(), ["LST1_01874"])
    assert record.state is JobState.RUNNING
    bench.allow()
    thread.join()
