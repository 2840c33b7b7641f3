"""The local backend: runs the jobs on this machine, as the resource manager would."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from osa.errors import InterruptedNightError, JobRefusedError
from osa.model.job import JobGroup, JobSpec, JobState, TaskRecord
from osa.scheduler.capacity import Capacity
from osa.scheduler.local_store import LocalStore, PendingTask
from osa.system.processes import END_WITH_PARENT, is_alive

__all__ = ["LocalExecutor", "LocalScheduler", "start_detached"]

_POLL_SECONDS = 0.1
_GRACE_SECONDS = 20.0

OnChange = Callable[[], None]


class LocalScheduler:
    """Takes jobs for this machine; a :class:`LocalExecutor` runs them.

    Parameters
    ----------
    store : LocalStore
        Where jobs and states are kept.
    capacity : Capacity
        What the tasks may use; a job of which one task alone is larger is refused.
    """

    name = "local"

    def __init__(self, store: LocalStore, capacity: Capacity) -> None:
        self.store = store
        self.capacity = capacity

    def submit(self, job: JobSpec, *, after: str | None = None) -> str:
        """Take a job; see :class:`osa.scheduler.base.Scheduler`."""
        need, have = job.resources, self.capacity
        if need.cpus > have.cores or need.memory > have.memory:
            raise JobRefusedError(
                f"{job.name}: a task needs {need.cpus} core(s) and {need.memory} MB, this machine "
                f"gives {have.cores} and {have.memory} MB (see [LOCAL] and the [… JOB] sections)"
            )
        return self.store.add(job, after)

    def records(self, group: JobGroup, names: Iterable[str] = ()) -> tuple[TaskRecord, ...]:
        """Tell of all tasks; see :class:`osa.scheduler.base.Scheduler`."""
        return self.store.records(group.name)

    def tidy(self, group: JobGroup, names: Iterable[str]) -> tuple[TaskRecord, ...]:
        """Record the end of tasks whose process is gone with that of their executor."""
        self.store.bury(group.name)
        return self.records(group)

    def cancel(self, group: JobGroup, names: Iterable[str]) -> int:
        """Cancel what is pending, and have the executor end what is running."""
        return self.store.cancel(group.name, names)


@dataclass
class _Running:
    task: PendingTask
    process: subprocess.Popen[bytes]
    deadline: float
    ended_as: JobState | None = None  # where we end it


class LocalExecutor:
    """Runs a night's tasks until none is left.

    Parameters
    ----------
    store : LocalStore
        Where jobs and states are kept.
    night : str
        Group of the jobs.
    capacity : Capacity
        What the running tasks of all nights together may use.
    """

    def __init__(self, store: LocalStore, night: str, capacity: Capacity) -> None:
        self.store = store
        self.night = night
        self.capacity = capacity
        self._running: list[_Running] = []

    def run(self, on_change: OnChange = lambda: None) -> bool:
        """Run tasks until none is left, also those that are added meanwhile.

        Parameters
        ----------
        on_change : callable
            Called whenever the state of a task has changed, and now and then.

        Returns
        -------
        bool
            False where another process does it already.

        Raises
        ------
        InterruptedNightError
            On Ctrl-C or SIGTERM, after the tasks were stopped and the rest was cancelled.
        """
        pid = os.getpid()
        if not self.store.enter(self.night, pid):
            return False
        try:
            self._bury_orphans()
            while self._turn() or not self.store.leave(self.night, pid):
                on_change()
                time.sleep(_POLL_SECONDS)
            on_change()
        except BaseException as error:
            self._stop_all()
            self.store.abandon(self.night, pid, "interrupted")
            if isinstance(error, KeyboardInterrupt):
                message = "interrupted: its tasks were stopped; run sequencer again to go on"
                raise InterruptedNightError(message) from None
            raise
        return True

    def _turn(self) -> bool:
        """End and start what can be; tell whether tasks are still running."""
        to_be_ended = self.store.to_be_ended(self.night) if self._running else frozenset()
        for running in list(self._running):
            if running.ended_as is None and (running.task.job_id, running.task.task) in to_be_ended:
                self._ask_to_end(running, JobState.CANCELLED)
            self._look_after(running)
        self.store.cancel_too_large(self.night, self.capacity)
        self.store.cancel_impossible(self.night)
        while len(self._running) < self.capacity.cores:
            task = self.store.claim(self.night, self.capacity, socket.gethostname())
            if task is None:
                break
            self._start(task)
        return bool(self._running)

    def _start(self, task: PendingTask) -> None:
        task.log_dir.mkdir(parents=True, exist_ok=True)
        suffix = f"{task.job_id}" if task.task is None else f"{task.job_id}_{task.task}"
        with (task.log_dir / f"{task.name}_{suffix}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, str(task.script)],
                env=_task_environment(task),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A group of its own: Ctrl-C reaches us alone, and we can end all of it.
                start_new_session=True,
            )
        deadline = time.monotonic() + task.resources.walltime.total_seconds()
        self._running.append(_Running(task, process, deadline))
        self.store.started(task, process.pid)

    def _look_after(self, running: _Running) -> None:
        if is_running(running.process.pid):
            self._mind_the_time(running)
            return
        # What it left behind goes with it; not collected yet, it keeps its number from others.
        _signal(running, signal.SIGKILL)
        _, status, usage = os.wait4(running.process.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        running.process.returncode = code
        self._running.remove(running)
        reasons = {
            JobState.TIMEOUT: f"longer than {running.task.resources.walltime}",
            JobState.CANCELLED: "by sequencer --cancel",
        }
        state = running.ended_as or (JobState.COMPLETED if code == 0 else JobState.FAILED)
        self.store.finish(
            running.task.job_id,
            running.task.task,
            state,
            exit_code=code,
            cpu_seconds=usage.ru_utime + usage.ru_stime,
            reason=reasons.get(state, ""),
        )

    def _mind_the_time(self, running: _Running) -> None:
        """Ask a task that takes too long to end, and make it after a while."""
        if time.monotonic() <= running.deadline:
            return
        if running.ended_as is None:
            self._ask_to_end(running, JobState.TIMEOUT)
        else:
            _signal(running, signal.SIGKILL)

    @staticmethod
    def _ask_to_end(running: _Running, state: JobState) -> None:
        _signal(running, signal.SIGTERM)
        running.ended_as = state
        running.deadline = time.monotonic() + _GRACE_SECONDS

    def _stop_all(self) -> None:
        """Ask all tasks to end, and make them after a while, or when asked to stop once more."""
        for running in self._running:
            _signal(running, signal.SIGTERM)
        give_up = time.monotonic() + _GRACE_SECONDS
        with suppress(KeyboardInterrupt, InterruptedNightError):
            while time.monotonic() < give_up and any(is_running(r.process.pid) for r in self._running):
                time.sleep(_POLL_SECONDS)
        for running in self._running:
            _signal(running, signal.SIGKILL)
            running.process.wait()
            self.store.finish(
                running.task.job_id,
                running.task.task,
                JobState.CANCELLED,
                exit_code=running.process.returncode,
                reason="interrupted",
            )
        self._running.clear()

    def _bury_orphans(self) -> None:
        """Record the end of tasks that an executor before us left without telling it."""
        for job_id, task, pid, started in self.store.orphans(self.night):
            if is_alive(pid, started):
                with suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
                while is_alive(pid, started):
                    time.sleep(_POLL_SECONDS)
            index = None if task < 0 else task
            reason = "whoever ran it ended before it"
            self.store.finish(job_id, index, JobState.NODE_FAIL, reason=reason)


def _signal(running: _Running, number: signal.Signals) -> None:
    """Send a signal to a task's process group."""
    with suppress(ProcessLookupError):
        os.killpg(running.process.pid, number)


def is_running(pid: int) -> bool:
    """Tell whether a child has not ended yet, without collecting it."""
    try:
        found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return found is None


def _task_environment(task: PendingTask) -> dict[str, str]:
    """Make what the resource manager would set, so that the same job scripts serve."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_")}
    environment["SLURM_JOB_ID"] = str(task.job_id)
    environment["SLURM_CPUS_PER_TASK"] = str(task.resources.cpus)
    environment["SLURM_MEM_PER_NODE"] = str(task.resources.memory)
    environment[END_WITH_PARENT] = str(os.getpid())
    if task.task is not None:
        environment["SLURM_ARRAY_JOB_ID"] = str(task.job_id)
        environment["SLURM_ARRAY_TASK_ID"] = str(task.task)
    return environment


def start_detached(store: LocalStore, night: str, capacity: Capacity) -> int:
    """Start an executor that outlives the command; returns its process number."""
    log = store.path.parent / f"executor_{night}.log"
    arguments = [str(store.path.parent), night, str(capacity.cores), str(capacity.memory)]
    with log.open("ab") as stream:
        process = subprocess.Popen(
            # -P: the working folder is no place to import from.
            [sys.executable, "-P", "-m", "osa.scheduler.local", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return process.pid


def _main() -> int:
    parser = argparse.ArgumentParser(prog="osa.scheduler.local")
    parser.add_argument("state_dir", type=Path)
    parser.add_argument("night")
    parser.add_argument("cores", type=int)
    parser.add_argument("memory", type=int)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    capacity = Capacity(given.cores, given.memory)
    try:
        LocalExecutor(LocalStore(given.state_dir), given.night, capacity).run()
    except InterruptedNightError as error:
        print(error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(_main())
