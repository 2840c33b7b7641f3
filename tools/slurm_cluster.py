"""Start a private Slurm cluster with accounting in a folder, and stop exactly what was started.

The cluster is real: munged, MariaDB, slurmdbd, slurmctld and three slurmd, all with configuration,
logs, sockets and ports of their own. Nothing outside of the folder is touched, so that several
clusters can run beside each other and beside a Slurm that the machine may have.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import secrets
import shutil
import signal
import socket
import string
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType

NODES = ("n1", "n2", "n3")
ACCOUNT = "dpps"
NODE_DAEMONS = {node: f"slurmd-{node}" for node in NODES}
NODE_MARK = "SLURM_CLUSTER_NODE"  # what slurmd, and so slurmstepd, has in its environment
STOP_ORDER = (("slurmctld", *NODE_DAEMONS.values()), ("slurmdbd",), ("mariadbd", "munged"))
USERS = ("root", "lstanalyzer")
PORTS_NEEDED = 2 + len(NODES)
LONGEST_FOLDER = 80  # the path of a socket has 108 bytes at most
START_LIMIT = 60.0  # seconds for a daemon to answer
STOP_LIMIT = 10.0  # seconds from SIGTERM to SIGKILL
BOOT = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
PACKAGES = {
    "munged": "munge",
    "mariadbd": "mariadb-server",
    "mariadb": "mariadb-server",
    "mariadb-install-db": "mariadb-server",
    "slurmdbd": "slurmdbd",
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "sacctmgr": "slurm-client",
    "sinfo": "slurm-client",
}
SLURMDBD_CONF = """\
AuthType=auth/munge
AuthInfo=socket=$folder/run/munge.socket
DbdHost=$host
DbdAddr=127.0.0.1
DbdPort=$dbd_port
SlurmUser=root
LogFile=$folder/log/slurmdbd.log
PidFile=$folder/run/slurmdbd.own-pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=slurm_acct_db
"""


class ClusterError(Exception):
    """The cluster cannot be started; the message says why."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True)
class Process:
    """A process, with the time of its start, so that a later one with its number is not taken for it."""

    pid: int
    started: str

    @classmethod
    def find(cls, pid: int) -> Process | None:
        """Look a running process up; None where there is none (or only its exit status)."""
        try:
            # the name, in parentheses, may have blanks and parentheses of its own
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else cls(pid, f"{fields[19]}@{BOOT}")

    @property
    def is_running(self) -> bool:
        """Whether it still runs."""
        return Process.find(self.pid) == self

    @property
    def environment(self) -> set[str]:
        """Its environment at its start, as ``NAME=value``."""
        try:
            content = Path(f"/proc/{self.pid}/environ").read_bytes()
        except OSError:
            return set()
        return set(content.decode(errors="surrogateescape").split("\0"))

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, where the process still runs."""
        if self.is_running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def wait_for(condition: Callable[[], object], limit: float) -> bool:
    """Poll until something is true, or the time (in seconds) is over."""
    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def end_processes(processes: list[Process], first: signal.Signals = signal.SIGTERM) -> int:
    """End processes, paused ones too; kill those that do not end in time. Return how many they were."""
    for number in (first, signal.SIGKILL):
        for process in processes:
            process.signal(number)
            process.signal(signal.SIGCONT)
        if wait_for(lambda: not any(process.is_running for process in processes), STOP_LIMIT):
            break
    return len(processes)


@dataclass
class Daemon:
    """One program of the cluster, with the file that says which process it is."""

    name: str
    command: list[str]
    is_ready: Callable[[], object]
    pid_file: Path
    output: Path
    environment: dict[str, str]

    @property
    def process(self) -> Process | None:
        """Its process, where it runs."""
        try:
            pid, started = self.pid_file.read_text(encoding="utf-8").split()
        except (OSError, ValueError):
            return None
        process = Process(int(pid), started)
        return process if process.is_running else None

    def launch(self) -> None:
        """Start it in a session of its own, so that it outlives who called."""
        with self.output.open("ab") as output:
            child = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                env=self.environment,
                start_new_session=True,
            )
        child.returncode = 0  # nobody waits for it here
        process = Process.find(child.pid)
        if process:
            self.pid_file.write_text(f"{process.pid} {process.started}\n", encoding="utf-8")

    def await_ready(self) -> None:
        """Wait until it answers.

        Raises
        ------
        ClusterError
            It ended, or does not answer in time; with the tail of its log.
        """
        if wait_for(lambda: not self.process or self.is_ready(), START_LIMIT) and self.process:
            return
        what = f"does not answer after {START_LIMIT:.0f} s" if self.process else "ended at once"
        lines = self.output.read_text(encoding="utf-8", errors="replace").splitlines()[-20:]
        raise ClusterError("\n  ".join([f"{self.name} {what}; the end of its log:", *lines]))


class Cluster:
    """The cluster of a folder.

    Parameters
    ----------
    folder
        Where all of it is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.conf = self.folder / "slurm.conf"
        self.database_socket = self.folder / "run" / "mariadb.socket"
        munge_socket = self.folder / "run" / "munge.socket"
        self._ask_database = [
            "mariadb",
            "--no-defaults",
            f"--socket={self.database_socket}",
            "-e",
            "select 1",
        ]
        # fmt: off
        self.daemons = [
            self._daemon("munged", lambda: munge_socket.exists(), [
                "munged", "--foreground", "--force", "--num-threads=2", f"--socket={munge_socket}",
                f"--key-file={self.folder}/munge.key", f"--pid-file={self.folder}/run/munged.own-pid",
                f"--log-file={self.folder}/log/munged.log", f"--seed-file={self.folder}/run/munged.seed",
            ]),
            self._daemon("mariadbd", lambda: self._answers(*self._ask_database), [
                "mariadbd", "--no-defaults", "--user=root", f"--datadir={self.folder}/database",
                f"--socket={self.database_socket}", f"--pid-file={self.folder}/run/mariadbd.own-pid",
                "--skip-networking", "--innodb-buffer-pool-size=32M", "--innodb-log-file-size=16M",
                "--innodb-flush-log-at-trx-commit=0",
                "--innodb-flush-method=nosync", "--performance-schema=OFF", "--key-buffer-size=1M",
            ]),
            self._daemon("slurmdbd", lambda: self._answers("sacctmgr", "-n", "show", "cluster"), [
                "slurmdbd", "-D",
            ]),
            self._daemon("slurmctld", lambda: self._answers("sinfo", "-h"), [
                "slurmctld", "-D", "-f", str(self.conf),
            ]),
            *(
                self._daemon(name, partial(self._is_up, node), [
                    "slurmd", "-D", "-N", node, "-f", str(self.conf),
                ], {NODE_MARK: node})
                for node, name in NODE_DAEMONS.items()
            ),
        ]
        # fmt: on

    def _daemon(
        self,
        name: str,
        is_ready: Callable[[], object],
        command: list[str],
        variables: Mapping[str, str] = MappingProxyType({}),
    ) -> Daemon:
        pid_file, output = self.folder / "run" / f"{name}.pid", self.folder / "log" / f"{name}.out"
        return Daemon(name, command, is_ready, pid_file, output, {**self.environment, **variables})

    @property
    def environment(self) -> dict[str, str]:
        """What daemons and clients of this cluster, and of no other, have to know."""
        others = {
            name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_"))
        }
        path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
        own = {"SLURM_CONF": str(self.conf), "MYSQL_UNIX_PORT": str(self.database_socket), "PATH": path}
        return others | own

    @property
    def running(self) -> list[Daemon]:
        """The daemons that run."""
        return [daemon for daemon in self.daemons if daemon.process]

    def start(
        self,
        base_port: int | None = None,
        max_array_size: int = 1001,
        min_job_age: int = 300,
        kill_over_memory: bool = False,
    ) -> bool:
        """Start the daemons that do not run, and wait until the nodes can take jobs.

        The configuration is written only where none of them runs.

        Returns
        -------
        bool
            False where all of them ran already.

        Raises
        ------
        ClusterError
            One does not come up; those started before it have been stopped.
        """
        running = self.running
        if not running:
            self._write(base_port, max_array_size, min_job_age, kill_over_memory)
        missing = [daemon for daemon in self.daemons if daemon not in running]
        try:
            for daemon in missing:
                daemon.launch()
                if daemon.name in NODE_DAEMONS.values():
                    continue  # they come up at the same time
                daemon.await_ready()
                if daemon.name == "slurmdbd":
                    self._add_accounts()
            names = {daemon.name for daemon in missing}
            for node, name in NODE_DAEMONS.items():
                if name in names:
                    # a lost slurmctld may have left it drained; fails where it was not
                    self._answers("scontrol", "update", f"nodename={node}", "state=undrain")
            for daemon in missing:
                daemon.await_ready()
        except (ClusterError, KeyboardInterrupt):
            self._stop(missing)
            raise
        return bool(missing)

    def stop(self) -> int:
        """Stop the daemons and what runs of their jobs; return how many processes those were."""
        return self._stop(self.daemons)

    def _stop(self, daemons: list[Daemon]) -> int:
        count = 0
        for group in STOP_ORDER:
            processes = [daemon.process for daemon in daemons if daemon.name in group]
            count += end_processes([process for process in processes if process])
        names = {daemon.name for daemon in daemons}
        count += self.end_jobs(*(node for node, name in NODE_DAEMONS.items() if name in names))
        for daemon in daemons:
            daemon.pid_file.unlink(missing_ok=True)
        return count

    def end_jobs(self, *nodes: str) -> int:
        """Kill what runs of the jobs of some nodes; return how many processes those were."""
        count = 0
        while processes := self.job_processes(*nodes):  # one that was just being started may come up
            count += end_processes(processes, signal.SIGKILL)
        return count

    def job_processes(self, *nodes: str) -> list[Process]:
        """Find what runs of the jobs of some nodes: their slurmstepd, then the programs of the users.

        In this order, so that no slurmstepd lives to report that its program was killed.
        """
        daemons = {daemon.process for daemon in self.daemons}
        running = [Process.find(int(path.name)) for path in Path("/proc").glob("[0-9]*")]
        others = [process for process in running if process and process not in daemons]
        environments = [(process, process.environment) for process in others]
        return [
            process
            for variable in (NODE_MARK, "SLURMD_NODENAME")
            for process, environment in environments
            if f"SLURM_CONF={self.conf}" in environment
            and any(f"{variable}={node}" in environment for node in nodes)
        ]

    def _write(
        self, base_port: int | None, max_array_size: int, min_job_age: int, kill_over_memory: bool
    ) -> None:
        """Make the folder with all that the daemons need."""
        missing = [name for name in PACKAGES if not shutil.which(name, path=self.environment["PATH"])]
        if missing:
            packages = " ".join(dict.fromkeys(PACKAGES[name] for name in missing))
            message = f"missing: {', '.join(missing)}; install the Debian packages {packages}"
            raise ClusterError(message, exit_code=3)
        if len(str(self.folder)) > LONGEST_FOLDER or any(
            character.isspace() for character in str(self.folder)
        ):
            raise ClusterError(
                f"the path {self.folder} is longer than {LONGEST_FOLDER} characters or has blanks"
            )
        for name in ("run", "log", "state", "spool"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        first = free_ports(PORTS_NEEDED, base_port)
        values = {
            "folder": self.folder,
            "host": socket.gethostname().partition(".")[0],
            "ctld_port": first,
            "dbd_port": first + 1,
            "first_node_port": first + 2,
            "last_node_port": first + 1 + len(NODES),
            "max_array_size": max_array_size,
            "min_job_age": min_job_age,
            # Memory has to be given out, for jobs to be held to it.
            "select_type": "CR_Core_Memory" if kill_over_memory else "CR_Core",
            "gather_parameters": "JobAcctGatherParams=OverMemoryKill" if kill_over_memory else "",
        }
        template = (Path(__file__).parent / "slurm.conf.in").read_text(encoding="utf-8")
        self._write_file("slurm.conf", string.Template(template).substitute(values), 0o644)
        self._write_file("slurmdbd.conf", string.Template(SLURMDBD_CONF).substitute(values), 0o600)
        if not (self.folder / "munge.key").exists():
            self._write_file("munge.key", secrets.token_hex(64), 0o600)
        if not (self.folder / "database" / "mysql").exists():
            # root comes in by the socket, without a password
            self._run(
                "mariadb-install-db",
                "--no-defaults",
                "--user=root",
                f"--datadir={self.folder}/database",
                "--auth-root-authentication-method=socket",
                "--skip-test-db",
            )

    def _write_file(self, name: str, text: str, mode: int) -> None:
        path = self.folder / name
        path.touch(mode)
        path.write_text(text, encoding="utf-8")

    def _add_accounts(self) -> None:
        if self._run("sacctmgr", "-n", "-P", "show", "account", ACCOUNT):
            return
        self._run("sacctmgr", "-i", "add", "cluster", "osa")
        self._run("sacctmgr", "-i", "add", "account", ACCOUNT, "cluster=osa")
        self._run("sacctmgr", "-i", "add", "user", ",".join(USERS), f"account={ACCOUNT}")
        self._run("sacctmgr", "-i", "modify", "user", "root", "set", f"defaultaccount={ACCOUNT}")

    def _is_up(self, node: str) -> bool:
        try:
            state = self._run("sinfo", "-h", "-N", "-p", "short", "-n", node, "-o", "%T").strip()
        except ClusterError:
            return False
        return state in {"idle", "mixed", "allocated", "completing"}

    def _answers(self, *command: str) -> bool:
        try:
            self._run(*command)
        except ClusterError:
            return False
        return True

    def _run(self, *command: str) -> str:
        try:
            done = subprocess.run(
                command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=START_LIMIT,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ClusterError(f"{' '.join(command)} does not end") from error
        if done.returncode:
            raise ClusterError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}".rstrip())
        return done.stdout


def free_ports(count: int, first: int | None = None) -> int:
    """Find ports in a row that nobody uses; return the first.

    Raises
    ------
    ClusterError
        Those asked for are taken.
    """

    def is_free(port: int) -> bool:
        with socket.socket() as candidate:
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                candidate.bind(("", port))
            except OSError:
                return False
            return True

    # below the ports that systems give to clients
    tries = [first] if first else [random.randrange(10_000, 32_000, 10) for _ in range(50)]  # noqa: S311
    for start in tries:
        if all(is_free(port) for port in range(start, start + count)):
            return start
    raise ClusterError(f"no {count} free ports from {first or 'any'} on")


def main(arguments: list[str] | None = None) -> int:
    """Run the program; return its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    start = commands.add_parser("start", help="start what does not run, and wait for the nodes")
    start.add_argument(
        "--base-port", type=int, metavar="N", help="use the ports from N on (default: free ones)"
    )
    start.add_argument("--max-array-size", type=int, default=1001, metavar="N", help="MaxArraySize (1001)")
    start.add_argument("--min-job-age", type=int, default=300, metavar="S", help="MinJobAge in seconds (300)")
    start.add_argument(
        "--kill-over-memory", action="store_true", help="end jobs that use more memory than was granted"
    )
    stop = commands.add_parser("stop", help="stop the daemons and their jobs; files stay")
    status = commands.add_parser("status", help="say what runs; exit code 1 where something does not")
    for command in (start, stop, status):
        command.add_argument("folder", type=Path)
    options = parser.parse_args(arguments)
    cluster = Cluster(options.folder)
    if options.command == "status":
        for daemon in cluster.daemons:
            process = daemon.process
            print(f"{daemon.name:10} {f'running, process {process.pid}' if process else 'not running'}")
        return 0 if len(cluster.running) == len(cluster.daemons) else 1
    if os.geteuid() != 0:
        print("slurm_cluster: has to be run as root: the daemons of Slurm change users", file=sys.stderr)
        return 3
    if options.command == "stop":
        print(f"stopped {cluster.stop()} processes of {cluster.folder}")
        return 0
    try:
        is_new = cluster.start(
            options.base_port, options.max_array_size, options.min_job_age, options.kill_over_memory
        )
    except ClusterError as error:
        print(f"slurm_cluster: {error}", file=sys.stderr)
        return error.exit_code
    print(f"the cluster of {cluster.folder} {'runs now' if is_new else 'is already running'}; to use it:")
    print(f"export SLURM_CONF={cluster.conf}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
