"""A bench for schedulers: real job scripts that write down what they do."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from osa.job import sbatch_directives
from osa.model.job import JobGroup, JobSpec, JobState, Resources, TaskRecord, format_duration
from osa.scheduler.capacity import Capacity
from osa.scheduler.local import LocalExecutor, LocalScheduler
from osa.scheduler.local_store import LocalStore

GROUP = "LST1.20200127.v0.1.0"
DEADLINE = 20.0

# What each job script begins with. The scripts wait for files rather than for a time.
_PRELUDE = """\
import os, signal, subprocess, sys, time
from pathlib import Path
FOLDER, NAME = Path({folder!r}), {name!r}
TASK = os.environ.get("SLURM_ARRAY_TASK_ID", "-")

def note(word):
    descriptor = os.open(FOLDER / "attempts.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(descriptor, f"{{NAME}} {{TASK}} {{word}}\\n".encode())
    os.close(descriptor)

def await_file(name):
    limit = time.monotonic() + {deadline}
    while not (FOLDER / name).exists():
        if time.monotonic() > limit:
            note("gave-up")
            sys.exit(99)
        time.sleep(0.01)

def hold():
    time.sleep({deadline})
    note("gave-up")

def spawn(name):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    (FOLDER / name).write_text(f"{{child.pid}}\\n")

"""


def wait_until(condition: Callable[[], object], what: str = "condition") -> None:
    """Poll until something is true."""
    limit = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < limit, f"gave up waiting: {what}"
        time.sleep(0.01)


@dataclass
class JobBench:
    """A state folder, job scripts, and executors in this process or in others."""

    folder: Path
    capacity: Capacity = field(default_factory=lambda: Capacity(cores=4, memory=4000))
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def state_dir(self) -> Path:
        return self.folder / "state"

    @property
    def store(self) -> LocalStore:
        return LocalStore(self.state_dir)

    @property
    def scheduler(self) -> LocalScheduler:
        return LocalScheduler(self.store, self.capacity)

    def group(self, group: str | JobGroup = GROUP) -> JobGroup:
        """A group of jobs, by its name."""
        if isinstance(group, JobGroup):
            return group
        folder = self.folder / group
        folder.mkdir(exist_ok=True)
        return JobGroup(group, folder)

    def job(
        self,
        name: str,
        body: str = "note('ran')",
        *,
        tasks: tuple[int, ...] = (),
        group: str | JobGroup = GROUP,
        cpus: int = 1,
        memory: int = 100,
        walltime: float = 60.0,
    ) -> JobSpec:
        group = self.group(group)
        script = self.folder / f"{group.name}_{name}.py"
        log_dir = self.folder / "log"
        log_dir.mkdir(exist_ok=True)
        head = sbatch_directives(
            {
                "account": "dpps",
                "partition": "short",
                "cpus-per-task": cpus,
                "mem": f"{memory}M",
                "time": format_duration(timedelta(seconds=max(walltime, 60.0))),
                "output": f"{log_dir}/{name}_{'%A_%a' if tasks else '%j'}.log",
            }
        )
        prelude = _PRELUDE.format(folder=str(self.folder), name=name, deadline=DEADLINE)
        script.write_text("\n".join([f"#!{sys.executable}", *head, prelude + body, ""]), encoding="utf-8")
        resources = Resources(cpus, memory, timedelta(seconds=walltime))
        return JobSpec(name, group, script, log_dir, resources, tasks)

    def submit(self, name: str, *arguments: str, after: str | None = None, **options: object) -> str:
        return self.scheduler.submit(self.job(name, *arguments, **options), after=after)  # type: ignore[arg-type]

    def allow(self, name: str = "go") -> None:
        """Make the file that scripts wait for."""
        (self.folder / name).touch()

    # ------------------------------------------------------------------------ executors

    def run(self, group: str | JobGroup = GROUP) -> bool:
        """Run an executor to its end, in this process."""
        return LocalExecutor(self.store, self.group(group).name, self.capacity).run()

    def run_in_thread(self, group: str = GROUP) -> threading.Thread:
        thread = threading.Thread(target=self.run, args=(group,), daemon=True)
        thread.start()
        return thread

    def start_executor(
        self, group: str = GROUP, *, grace: float = 20.0, wait: bool = True
    ) -> subprocess.Popen[bytes]:
        """Start an executor in a process of its own, and wait until it is one."""
        code = (
            "import sys\nfrom osa.scheduler import local\n"
            f"local._POLL_SECONDS, local._GRACE_SECONDS = 0.02, {grace}\n"
            "sys.exit(local._main())\n"
        )
        arguments = [self.state_dir, group, self.capacity.cores, self.capacity.memory]
        with (self.folder / "executor.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", code, *map(str, arguments)],
                cwd=Path(__file__).parents[2],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(process)
        if wait:
            wait_until(lambda: self.store.executor(group) == process.pid, "the executor enters")
        return process

    # ------------------------------------------------------------------------- evidence

    @property
    def attempts(self) -> list[str]:
        """Lines that the scripts wrote, in their order."""
        try:
            return (self.folder / "attempts.log").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []

    def records(self, group: str = GROUP) -> tuple[TaskRecord, ...]:
        return self.scheduler.records(self.group(group))

    def states(self, group: str = GROUP) -> dict[tuple[str, int | None], JobState]:
        """The state of the latest try of each task."""
        return {(record.name, record.task): record.state for record in self.records(group)}

    def record(self, name: str, task: int | None = None, group: str = GROUP) -> TaskRecord:
        """The latest try of a task."""
        return [r for r in self.records(group) if (r.name, r.task) == (name, task)][-1]

    def count(self, state: JobState, group: str = GROUP) -> int:
        return sum(record.state is state for record in self.records(group))

    def noted_pid(self, name: str) -> int:
        """Wait for the process number that a script wrote to a file."""
        path = self.folder / name
        wait_until(lambda: path.exists() and path.read_text().endswith("\n"), f"{name} appears")
        return int(path.read_text())

    def clean(self) -> None:
        """End what is still running."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()


def is_gone(pid: int) -> bool:
    """Tell whether a process has ended (a zombie has)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in "ZX" or os.getpid() == pid
