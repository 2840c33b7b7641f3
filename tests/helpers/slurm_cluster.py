"""A real Slurm cluster for tests, which can lose nodes and have daemons that do not answer.

A test takes the fixture ``slurm_cluster``, which its conftest imports from here.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import pytest

PROGRAM = Path(__file__).parents[2] / "tools" / "slurm_cluster.py"
LIMIT = 60.0


def load_program() -> ModuleType:
    """Import the program that starts clusters; it is in no package."""
    spec = importlib.util.spec_from_file_location("slurm_cluster_program", PROGRAM)
    assert spec and spec.loader
    program = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = program
    spec.loader.exec_module(program)
    return program


program = load_program()


@dataclass
class Cluster:
    """A cluster in a folder; ``options`` are those of the program, as ``--min-job-age=5``."""

    folder: Path
    options: tuple[str, ...] = ()
    environment: dict[str, str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._daemons = {daemon.name: daemon for daemon in program.Cluster(self.folder).daemons}
        own = {
            name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_"))
        }
        self.environment = own | {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def start(self) -> str:
        """Start what does not run of it; return what the program says."""
        return self._call("start", *self.options)

    def stop(self) -> str:
        """Stop all of it, with its jobs."""
        return self._call("stop")

    def _call(self, command: str, *options: str) -> str:
        arguments = [sys.executable, str(PROGRAM), command, str(self.folder), *options]
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"slurm_cluster.py {command}: exit code {done.returncode}\n{done.stderr}"
        return done.stdout

    def run(
        self,
        *command: str,
        check: bool = True,
        cwd: Path | None = None,
        variables: Mapping[str, str] | None = None,
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        """Run a client of the cluster, or any other command."""
        done = subprocess.run(
            command,
            env={**self.environment, **(variables or {})},
            cwd=cwd or self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert not check or done.returncode == 0, f"{command}: exit code {done.returncode}\n{done.stderr}"
        return done

    def submit(self, *arguments: str, cwd: Path | None = None) -> str:
        """Submit a job; return its number."""
        return self.run("sbatch", "--parsable", *arguments, cwd=cwd).stdout.strip()

    def job_states(self, job_id: str) -> list[str]:
        """What slurmctld says of a job, or of each task of an array; nothing of jobs it has forgotten."""
        asked = self.run("squeue", "-h", "-r", "--states=all", "-j", job_id, "-o", "%T", check=False)
        return asked.stdout.split()

    def node_state(self, node: str) -> str:
        return self.run("sinfo", "-h", "-N", "-p", "short", "-n", node, "-o", "%T").stdout.strip()

    def lose_node(self, node: str) -> None:
        """Take the power from a node: its slurmd and all of its jobs are gone at once, and Slurm knows."""
        daemon = self._daemons[f"slurmd-{node}"].process
        program.end_processes([daemon] if daemon else [], signal.SIGKILL)
        program.Cluster(self.folder).end_jobs(node)
        self.run("scontrol", "update", f"nodename={node}", "state=down", "reason=test")

    def restore_node(self, node: str) -> None:
        """Give the power back, and wait until the node can take jobs."""
        self.start()
        self.run("scontrol", "update", f"nodename={node}", "state=undrain", check=False)
        self.wait_for(lambda: self.node_state(node) in {"idle", "mixed", "allocated"}, f"{node} to be back")

    def pause(self, daemon: str) -> None:
        """Let a daemon keep its ports, and not answer."""
        self._signal(daemon, signal.SIGSTOP)

    def resume(self, daemon: str) -> None:
        self._signal(daemon, signal.SIGCONT)

    def kill(self, daemon: str) -> None:
        """End a daemon at once; ``start`` brings it back."""
        process = self._daemons[daemon].process
        assert process, f"{daemon} does not run"
        program.end_processes([process], signal.SIGKILL)

    def _signal(self, daemon: str, number: signal.Signals) -> None:
        process = self._daemons[daemon].process
        assert process, f"{daemon} does not run"
        process.signal(number)

    def wait_for(
        self, condition: Callable[[], object], what: str = "condition", limit: float = LIMIT
    ) -> None:
        """Poll until something is true."""
        assert program.wait_for(condition, limit), f"gave up waiting for {what} after {limit:.0f} s"

    def wait_for_state(self, job_id: str, state: str, limit: float = LIMIT) -> None:
        """Wait until a job, or each task of an array, is in a state."""
        self.wait_for(lambda: set(self.job_states(job_id)) == {state}, f"job {job_id} to be {state}", limit)


@pytest.fixture(scope="session")
def slurm_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Start a cluster that all tests of the session share."""
    if os.geteuid() != 0:
        pytest.skip("a Slurm cluster has to be started as root")
    cluster = Cluster(tmp_path_factory.mktemp("slurm"))
    cluster.start()
    try:
        yield cluster
    finally:
        cluster.stop()
