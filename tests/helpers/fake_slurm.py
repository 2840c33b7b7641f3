"""A Slurm for tests that need no cluster: five commands over one file.

The commands understand what :mod:`osa.scheduler.slurm_commands` writes, refuse all else, and answer
as Slurm 22.05 does. They can be told to misbehave. Jobs run only when a test says so.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

COMMANDS = ("sbatch", "squeue", "sacct", "scancel", "scontrol")
LIVE = ("PENDING", "RUNNING")
NEVER = "DependencyNeverSatisfied"
OF_SLURM = ("SLURM_", "SBATCH_", "SQUEUE_", "SACCT_", "SCANCEL_", "SCONTROL_")

Task = dict[str, Any]
State = dict[str, Any]


class RefusedError(Exception):
    """What a command says before it ends with exit code 1."""


@dataclass(frozen=True)
class Mishap:
    """What the next call of a command does instead of its work, or after it.

    ``late`` carries the call out, unseen, before the so manieth later call of any command.
    """

    carried_out: bool = False
    says: str = ""
    error: str = ""
    code: int = 0
    hangs: float = 0.0
    late: int = 0


class FakeSlurm:
    """A cluster in a folder, as a test sees it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "slurm.json"

    @classmethod
    def install(cls, folder: Path, *, max_array: int = 1001) -> FakeSlurm:
        (folder / "bin").mkdir(parents=True)
        for name in COMMANDS:
            script = folder / "bin" / name
            # Isolated, and without site-packages: it starts in no time.
            call = f"{sys.executable} -I -S {Path(__file__).absolute()} {folder} {name}"
            script.write_text(f'#!/bin/sh\nexec {call} "$@"\n', encoding="utf-8")
            script.chmod(0o755)
        made = cls(folder)
        empty: State = {"jobs": 0, "max_array": max_array, "tasks": [], "plans": {}, "calls": [], "late": []}
        made.path.write_text(json.dumps(empty), encoding="utf-8")
        return made

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "PATH": str(self.folder / "bin")}

    @contextmanager
    def state(self) -> Iterator[State]:
        """The file, held by nobody else meanwhile; written at the end."""
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            state = json.loads(self.path.read_text(encoding="utf-8"))
            yield state
            settle(state)
            written = self.path.with_suffix(".new")
            written.write_text(json.dumps(state), encoding="utf-8")
            os.replace(written, self.path)

    # ----------------------------------------------------------------------- for tests

    def plan(self, command: str, *mishaps: Mishap) -> None:
        """Have the next calls of a command go wrong."""
        with self.state() as state:
            state["plans"].setdefault(command, []).extend(asdict(mishap) for mishap in mishaps)

    def calls(self, command: str) -> list[list[str]]:
        """Arguments of all calls of a command."""
        with self.state() as state:
            return [arguments for called, arguments, _ in state["calls"] if called == command]

    def seen_by(self, command: str) -> dict[str, str]:
        """What of the environment matters to the last call of a command."""
        with self.state() as state:
            return [environment for called, _, environment in state["calls"] if called == command][-1]

    def jobs(self, name: str) -> list[str]:
        """All jobs that ever had a name."""
        with self.state() as state:
            return sorted({task["job"] for task in state["tasks"] if task["name"] == name}, key=int)

    def change(self, job: str, index: int | None = None, *, whole: bool = False, **fields: object) -> None:
        """Change the last try of a task, or all of a job."""
        with self.state() as state:
            found = [t for t in state["tasks"] if t["job"] == job and (whole or t["index"] == index)]
            assert found, f"no job {job}, task {index}"
            for task in found if whole else found[-1:]:
                task.update(fields)

    def forget(self, job: str) -> None:
        """Have slurmctld forget a job, as it does some minutes after its end."""
        self.change(job, whole=True, in_queue=False)

    def lose(self, job: str) -> None:
        """Have nobody know a job."""
        self.change(job, whole=True, in_queue=False, in_accounting=False)

    def requeue(self, job: str, index: int | None = None) -> None:
        """Begin another try of a task."""
        with self.state() as state:
            before = [t for t in state["tasks"] if (t["job"], t["index"]) == (job, index)][-1]
            now = max(int(time.time()), before["submitted"] + 1)
            state["tasks"].append({**before, "state": "PENDING", "submitted": now, "started": None})
            state["tasks"][-1].update(reason="BeginTime", ended=None, host=None, code="0:0")
            before.update(state="REQUEUED", ended=now, in_queue=False)

    def begin(self, job: str, index: int | None = None) -> None:
        """Have a task run, without any process."""
        self.change(job, index, state="RUNNING", started=int(time.time()), host="n1")

    def end(self, job: str, index: int | None = None, *, state: str = "COMPLETED", code: str = "0:0") -> None:
        """Have a task that runs end."""
        self.change(job, index, state=state, code=code, ended=int(time.time()))

    def drain(self) -> None:
        """Run what can run, one task after another."""
        while (started := self._start_next()) is not None:
            key, process = started
            code = process.wait()
            with self.state() as state:
                task = next(t for t in state["tasks"] if key == [t["job"], t["index"], t["submitted"]])
                ended = "CANCELLED" if task["by"] is not None else "FAILED" if code else "COMPLETED"
                task.update(state=ended, ended=int(time.time()), pid=None)
                task["code"] = f"0:{-code}" if code < 0 else f"{code}:0"

    def _start_next(self) -> tuple[list[Any], subprocess.Popen[bytes]] | None:
        with self.state() as state:
            ready = [
                t for t in state["tasks"] if t["state"] == "PENDING" and t["in_queue"] and not t["after"]
            ]
            if not ready:
                return None
            task = ready[0]
            job, index = task["job"], task["index"]
            variables = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_")}
            variables["SLURM_JOB_ID"] = job
            if index is not None:
                variables |= {"SLURM_ARRAY_JOB_ID": job, "SLURM_ARRAY_TASK_ID": str(index)}
            log = Path(task["output"].replace("%A", job).replace("%a", str(index)).replace("%j", job))
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("ab") as output:
                process = subprocess.Popen(
                    [sys.executable, task["script"], *task["arguments"]],
                    cwd=task["folder"],
                    env=variables,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
            task.update(state="RUNNING", started=int(time.time()), host="n1", pid=process.pid, reason="None")
            return [job, index, task["submitted"]], process


def settle(state: State) -> None:
    """Start, hold or cancel what waits for other jobs; jobs that slurmctld has forgotten succeeded."""
    for task in state["tasks"]:
        if task["state"] != "PENDING" or not task["after"]:
            continue
        parents = [t["state"] for t in state["tasks"] if t["job"] in task["after"] and t["in_queue"]]
        if any(parent not in (*LIVE, "COMPLETED") for parent in parents):
            task["reason"] = NEVER
            if task["kill"]:
                task.update(state="CANCELLED", ended=int(time.time()))
        elif all(parent == "COMPLETED" for parent in parents):
            task.update(after=[], reason="None", eligible=True)
        else:
            task["reason"] = "Dependency"


# -------------------------------------------------------------------------------- commands


def _options(command: str, *switches: str, **values: bool) -> argparse.ArgumentParser:
    """Make the parser of a command: switches that must be given, and options with a value."""
    parser = argparse.ArgumentParser(prog=command, allow_abbrev=False)
    for switch in switches:
        parser.add_argument(f"--{switch}", action="store_true", required=True)
    for name, is_required in values.items():
        parser.add_argument(f"--{name.replace('_', '-')}", required=is_required)
    return parser


def _sbatch(state: State, arguments: list[str]) -> str:
    parser = _options("sbatch", "parsable", job_name=True, chdir=True, dependency=False, array=False)
    parser.add_argument("--kill-on-invalid-dep", choices=["yes"])
    parser.add_argument("script", type=Path)
    parser.add_argument("arguments", nargs="*")
    given = parser.parse_args(arguments)
    if not given.script.is_file():
        raise RefusedError(f"sbatch: error: Unable to open file {given.script}")
    head = dict(re.findall(r"^#SBATCH --([a-z-]+)=(.*)$", given.script.read_text("utf-8"), re.MULTILINE))
    listed, _, at_once = (given.array or "").partition("%")
    indices = _indices(listed) if listed else [None]
    if listed and max(i for i in indices if i is not None) >= state["max_array"]:
        raise RefusedError("sbatch: error: Batch job submission failed: Invalid job array specification")
    after = re.fullmatch(r"afterok:([\d:]+)", given.dependency) if given.dependency else None
    if given.dependency and after is None:
        raise RefusedError("sbatch: error: Batch job submission failed: Job dependency problem")
    state["jobs"] += 1
    common = {
        "job": str(state["jobs"]),
        "name": given.job_name,
        "folder": given.chdir,
        "script": str(given.script),
        "arguments": given.arguments,
        "output": head.get("output", "/dev/null"),
        "at_once": at_once,
        "after": after[1].split(":") if after else [],
        "kill": given.kill_on_invalid_dep == "yes",
    }
    fresh = {"state": "PENDING", "reason": "None", "code": "0:0", "in_queue": True, "in_accounting": True}
    fresh |= {"submitted": int(time.time()), "eligible": after is None}
    fresh |= dict.fromkeys(("started", "ended", "host", "pid", "by"))
    state["tasks"] += [{**common, **fresh, "index": index} for index in indices]
    return f"{state['jobs']}\n"


def _squeue(state: State, arguments: list[str]) -> str:
    given = _options("squeue", "noheader", states=False, name=True, format=True).parse_args(arguments)
    assert given.states in (None, "all")
    shown = (*LIVE, "") if given.states is None else None
    lines = []
    for group in _groups(state, given.name, "in_queue"):
        task = group[0]
        if shown and task["state"] not in shown:
            continue
        columns = {
            "F": task["job"],
            "K": "N/A" if task["index"] is None else _listed(group),
            "j": task["name"],
            "T": task["state"],
            "r": task["reason"],
            "V": _time(task["submitted"]),
            "S": _time(task["started"] or (None if task["state"] in LIVE else task["ended"]), "N/A"),
            "N": task["host"] or "",
            "Z": task["folder"],
        }
        lines.append(re.sub(r"%(\w)", lambda match, of=columns: of[match[1]], given.format))
    return "".join(f"{line}\n" for line in lines)


def _sacct(state: State, arguments: list[str]) -> str:
    switches = ("duplicates", "allusers", "noheader", "parsable2")
    values = {"starttime": True, "endtime": False, "state": False, "name": True, "format": True}
    given = _options("sacct", *switches, **values).parse_args(arguments)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", given.starttime), given.starttime
    assert os.environ.get("TZ") == "UTC"
    assert bool(given.endtime) == bool(given.state), "of states at no time"
    since = time.mktime(time.strptime(given.starttime, "%Y-%m-%dT%H:%M:%S"))
    lines = []
    for group in _groups(state, given.name, "in_accounting"):
        task = group[0]
        if task["ended"] is not None and task["ended"] < since:
            continue
        if not task["eligible"] and (task["state"] == "PENDING" or not given.state):
            continue  # never told of
        index = "" if task["index"] is None else f"_{_listed(group)}"
        if task["index"] is not None and task["started"] is None:
            index = f"_[{_listed(group)}]"
        begun = task["started"]
        columns = {
            "JobID": task["job"] + index,
            "JobName": task["name"],
            "State": task["state"] + ("" if task["by"] is None else f" by {task['by']}"),
            "ExitCode": task["code"],
            "Submit": _time(task["submitted"]),
            # That of a job which was ended before it began: its end.
            "Start": _time(begun or task["ended"], "Unknown"),
            "End": _time(task["ended"], "Unknown"),
            "TotalCPU": "00:00.100" if begun else "00:00:00",
            "NodeList": task["host"] or "None assigned",
            "Reason": "None",
            "WorkDir": task["folder"],
        }
        lines.append("|".join(columns[field] for field in given.format.split(",")))
        if begun:
            columns |= {"JobID": f"{columns['JobID']}.batch", "JobName": "batch", "Reason": "", "WorkDir": ""}
            lines.append("|".join(columns[field] for field in given.format.split(",")))
    return "".join(f"{line}\n" for line in lines)


def _scancel(state: State, arguments: list[str]) -> str:
    for name in arguments:
        job, _, index = name.partition("_")
        assert job.isdecimal() and (not index or index.isdecimal()), name
        for task in state["tasks"]:
            if task["job"] != job or not task["in_queue"] or task["state"] not in LIVE:
                continue
            if index and task["index"] != int(index):
                continue
            task["by"] = 0
            if task["pid"] is not None:
                with suppress(ProcessLookupError):
                    os.killpg(task["pid"], signal.SIGTERM)  # whoever waits for it tells its end
                continue
            if index and task["state"] == "PENDING":  # nothing is left of it
                task.update(in_queue=False, in_accounting=False)
            task.update(state="CANCELLED", ended=int(time.time()))
    return ""


def _scontrol(state: State, arguments: list[str]) -> str:
    assert arguments == ["show", "config"], arguments
    return f"MaxArraySize            = {state['max_array']}\nMaxDBDMsgs              = 20012\n"


_WORK: dict[str, Callable[[State, list[str]], str]] = {
    "sbatch": _sbatch,
    "squeue": _squeue,
    "sacct": _sacct,
    "scancel": _scancel,
    "scontrol": _scontrol,
}


def _groups(state: State, names: str, known: str) -> Iterator[list[Task]]:
    """Collect the tasks that share a line: those of an array that never began."""

    def line(task: Task) -> tuple[Any, ...]:
        own = None if task["started"] is None else (task["index"], task["submitted"])
        return int(task["job"]), str(own), task["submitted"], task["state"], task["reason"]

    wanted = names.split(",")
    found = [task for task in state["tasks"] if task["name"] in wanted and task[known]]
    for _, group in groupby(sorted(found, key=line), line):
        yield list(group)


def _listed(group: list[Task]) -> str:
    text = ",".join(str(task["index"]) for task in group)
    return f"{text}%{group[0]['at_once']}" if group[0]["at_once"] and group[0]["started"] is None else text


def _indices(text: str) -> list[int | None]:
    pairs = [part.partition("-") for part in text.split(",")]
    return [index for first, _, last in pairs for index in range(int(first), int(last or first) + 1)]


def _time(stamp: int | None, nothing: str = "None") -> str:
    if stamp is None:
        return nothing
    is_number = os.environ.get("SLURM_TIME_FORMAT") == "%s"
    return str(stamp) if is_number else time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(stamp))


def main(folder: str, command: str, *arguments: str) -> int:
    """Run a command; return its exit code."""
    given, mishap, text = list(arguments), None, ""
    seen = {key: value for key, value in os.environ.items() if key.startswith(OF_SLURM) or key == "TZ"}
    with FakeSlurm(Path(folder)).state() as state:
        state["calls"].append([command, given, seen])
        _carry_out_late(state)
        plans: list[State] = state["plans"].get(command, [])
        if plans:
            mishap = Mishap(**plans.pop(0))
            if mishap.late:
                state["late"].append([mishap.late, command, given])
        if mishap is None or mishap.carried_out:
            settle(state)
            try:
                text = _WORK[command](state, given)
            except RefusedError as error:
                mishap = Mishap(error=str(error), code=1)
    mishap = mishap or Mishap(says=text)
    time.sleep(mishap.hangs)
    print(mishap.says, end="")
    print(mishap.error, end="", file=sys.stderr)
    return mishap.code


def _carry_out_late(state: State) -> None:
    waiting: Iterable[list[Any]] = state["late"]
    state["late"] = []
    for calls, command, arguments in waiting:
        if calls > 1:
            state["late"].append([calls - 1, command, arguments])
        else:
            _WORK[command](state, arguments)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
