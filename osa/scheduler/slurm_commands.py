"""Slurm's commands and the parsers of their answers, side by side; all pure.

Tested with the answers of Slurm 22.05, see ``tests/data/slurm``. A line that cannot be read is
passed over: it is no evidence of anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from osa.model.job import NEVER, JobSpec, JobState, TaskRecord
from osa.model.run import list_subruns

__all__ = [
    "STATES",
    "environment_of_jobs",
    "environment_of_queries",
    "expand_tasks",
    "parse_job_id",
    "parse_largest_array",
    "parse_sacct",
    "parse_squeue",
    "sacct_command",
    "sbatch_command",
    "scancel_command",
    "show_config_command",
    "squeue_command",
]

STATES: Mapping[str, JobState] = {
    "PENDING": JobState.PENDING,
    "CONFIGURING": JobState.PENDING,
    "REQUEUE_FED": JobState.PENDING,
    "REQUEUE_HOLD": JobState.PENDING,
    "RESV_DEL_HOLD": JobState.PENDING,
    "RUNNING": JobState.RUNNING,
    "COMPLETING": JobState.RUNNING,
    "RESIZING": JobState.RUNNING,
    "SIGNALING": JobState.RUNNING,
    "STAGE_OUT": JobState.RUNNING,
    "STOPPED": JobState.RUNNING,
    "SUSPENDED": JobState.RUNNING,
    "COMPLETED": JobState.COMPLETED,
    "FAILED": JobState.FAILED,
    "SPECIAL_EXIT": JobState.FAILED,
    "CANCELLED": JobState.CANCELLED,
    "PREEMPTED": JobState.CANCELLED,
    "REQUEUED": JobState.CANCELLED,
    "REVOKED": JobState.CANCELLED,
    "TIMEOUT": JobState.TIMEOUT,
    "DEADLINE": JobState.TIMEOUT,
    "OUT_OF_MEMORY": JobState.OUT_OF_MEMORY,
    "NODE_FAIL": JobState.NODE_FAIL,
    "BOOT_FAIL": JobState.NODE_FAIL,
}
"""Slurm's states and ours; one that is not here is UNKNOWN. REQUEUED is a try given up for another."""

# Variables that change what Slurm's commands do or print, and those of the job in which we may run.
_OF_SLURM = ("SBATCH_", "SLURM_", "SACCT_", "SQUEUE_", "SCANCEL_", "SCONTROL_", "SLURMD_")
_KEPT = frozenset({"SLURM_CONF"})


def environment_of_jobs(environment: Mapping[str, str]) -> dict[str, str]:
    """Take out of an environment what would change how ``sbatch`` understands a job."""
    return {
        name: value for name, value in environment.items() if name in _KEPT or not name.startswith(_OF_SLURM)
    }


def environment_of_queries(environment: Mapping[str, str]) -> dict[str, str]:
    """Make the environment in which Slurm answers in the forms that are read here.

    Times are seconds since 1970, so that no time zone and no change of the clock matters;
    long lists of array indices are not cut short.
    """
    return environment_of_jobs(environment) | {
        "LC_ALL": "C",
        "TZ": "UTC",
        "SLURM_TIME_FORMAT": "%s",
        "SLURM_BITSTR_LEN": "0",
    }


# -------------------------------------------------------------------------------- sbatch

_JOB_ID = re.compile(r"(?P<id>\d+)(?:;\S+)?")


def sbatch_command(
    job: JobSpec, *, after: str | None, array: Iterable[int], at_once: int | None, offset: int
) -> list[str]:
    """Write the command that submits a job.

    Parameters
    ----------
    job : JobSpec
        The job; its script has directives for account, resources and logs. What identifies the
        job later, its name and folder, is said here.
    after : str or None
        Jobs, separated by colons, that have to succeed before.
    array : iterable of int
        Array indices; none for a job that is no array.
    at_once : int or None
        How many of them may run at the same time.
    offset : int
        What the script adds to the array's index to get the sub-run.
    """
    command = ["sbatch", "--parsable", f"--job-name={job.name}", f"--chdir={job.group.folder}"]
    if after is not None:
        command += [f"--dependency=afterok:{after}", "--kill-on-invalid-dep=yes"]
    indices = list_subruns(array, ",")
    if indices:
        command.append(f"--array={indices}" + ("" if at_once is None else f"%{at_once}"))
    return [*command, str(job.script), *([str(offset)] if offset else [])]


def parse_job_id(text: str) -> str | None:
    """Read the answer of ``sbatch --parsable``, ``12`` or ``12;cluster``; None where it is neither."""
    match = _JOB_ID.fullmatch(text.strip())
    return match["id"] if match else None


# --------------------------------------------------------------------------------- sacct

_SACCT_FIELDS = "JobID,JobName,State,ExitCode,Submit,Start,End,TotalCPU,NodeList,Reason,WorkDir"
_SACCT_COLUMNS = _SACCT_FIELDS.count(",") + 1


_ALL_STATES = "BF,CA,CD,DL,F,NF,OOM,PD,PR,R,RQ,RS,RV,S,TO"


def sacct_command(names: Iterable[str], since: datetime) -> list[str]:
    """Write the command that asks the accounting for all tries of jobs, of whatever user."""
    return [
        "sacct",
        # With the steps of the tasks, which are passed over: without them no CPU time is told.
        "--duplicates",
        "--allusers",
        "--noheader",
        "--parsable2",
        f"--starttime={since.astimezone(UTC):%Y-%m-%dT%H:%M:%S}",
        # Of jobs that never became eligible, as dependants that were cancelled, sacct tells only
        # where states are asked for, and then the end of the time defaults to its start.
        "--endtime=now",
        f"--state={_ALL_STATES}",
        f"--name={','.join(names)}",
        f"--format={_SACCT_FIELDS}",
    ]


def parse_sacct(text: str, folder: Path) -> Iterator[TaskRecord]:
    """Read the answer of :func:`sacct_command`.

    Parameters
    ----------
    text : str
        The answer, a line for each try of a task, or for all array indices that never started.
    folder : pathlib.Path
        Working directory of the jobs that are meant; others have the same name by chance.

    Yields
    ------
    TaskRecord
        With the index within the array as task, in the order of the text.
    """
    # What is said of the rest of an array first: a task may be told with it and by itself too.
    lines = sorted(text.split("\n"), key=_is_of_one_task)
    for columns in _rows(lines, _SACCT_COLUMNS, folder):
        job, name, word, code, submitted, started, ended, cpu, host, reason, _ = columns
        submit_time = _time(submitted)
        if submit_time is None:
            continue
        job_id, _, index = job.partition("_")
        state, why = _state(word, reason)
        where = _host(host)
        if word == "CANCELLED" and where is None:
            why = NEVER  # by nobody and never begun: Slurm did it
        for task in _tasks(index):
            yield TaskRecord(
                job_id=job_id,
                name=name,
                task=task,
                state=state,
                submitted=submit_time,
                # Of a task that ended before it began it may be told all the same.
                started=None if where is None else _time(started),
                ended=None if state.is_live else _time(ended),
                exit_code=_exit_code(code, state),
                host=where,
                cpu_time=_cpu_time(cpu),
                reason=why,
            )


def _is_of_one_task(line: str) -> bool:
    return "_[" not in line


# -------------------------------------------------------------------------------- squeue

_SQUEUE_FORMAT = "%F|%K|%j|%T|%r|%V|%S|%N|%Z"
_SQUEUE_COLUMNS = _SQUEUE_FORMAT.count("|") + 1


def squeue_command(names: Iterable[str]) -> list[str]:
    """Write the command that asks what Slurm has in its memory of some jobs, of whatever user.

    That is what is pending or running, and what ended in the last minutes.
    """
    return [
        "squeue",
        "--noheader",
        "--states=all",
        f"--name={','.join(names)}",
        f"--format={_SQUEUE_FORMAT}",
    ]


def parse_squeue(text: str, folder: Path) -> Iterator[TaskRecord]:
    """Read the answer of :func:`squeue_command`; as :func:`parse_sacct`."""
    for columns in _rows(text.split("\n"), _SQUEUE_COLUMNS, folder):
        job_id, index, name, word, reason, submitted, started, host, _ = columns
        submit_time = _time(submitted)
        if submit_time is None:
            continue
        state, why = _state(word, reason)
        where = _host(host)
        has_begun = where is not None  # else it is when Slurm expects that it will, or its end
        for task in _tasks("" if index == "N/A" else index):
            yield TaskRecord(
                job_id=job_id,
                name=name,
                task=task,
                state=state,
                submitted=submit_time,
                started=_time(started) if has_begun else None,
                host=where,
                reason=why,
            )


# ------------------------------------------------------------------- scancel and scontrol

_LARGEST_ARRAY = re.compile(r"^MaxArraySize\s*=\s*(\d+)\s*$", re.MULTILINE)


def scancel_command(jobs: Iterable[str]) -> list[str]:
    """Write the command that cancels jobs (``12``) or tasks (``12_3``)."""
    return ["scancel", *jobs]


def show_config_command() -> list[str]:
    """Write the command that asks for the configuration of the cluster."""
    return ["scontrol", "show", "config"]


def parse_largest_array(text: str) -> int | None:
    """Read ``MaxArraySize``, which every array index has to be below; None where it is not told."""
    match = _LARGEST_ARRAY.search(text)
    return int(match[1]) if match else None


# ---------------------------------------------------------------------------- the columns

_RANGE = re.compile(r"(\d+)(?:-(\d+)(?::(\d+))?)?")
_CPU_TIME = re.compile(r"(?:(?:(\d+)-)?(\d+):)?(\d+):(\d+(?:\.\d+)?)")
_MOST_TASKS = 1_000_000
_NO_REASON = frozenset({"", "None"})


def _rows(lines: Iterable[str], width: int, folder: Path) -> Iterator[list[str]]:
    """Split the lines of jobs that work in a folder, which is the last column."""
    wanted = str(folder)
    for line in lines:
        columns = line.split("|", width - 1)  # the last column may hold the separator itself
        if len(columns) == width and columns[-1] == wanted:
            yield columns


def expand_tasks(text: str) -> tuple[int, ...]:
    """Read a list of array indices: ``3``, ``[0-2,7]``, ``[0-8:2%4]``.

    Raises
    ------
    ValueError
        If it is none.
    """
    tasks: list[int] = []
    listed, _, _at_once = text.removeprefix("[").removesuffix("]").partition("%")
    for part in listed.split(","):
        match = _RANGE.fullmatch(part)
        if match is None:
            raise ValueError(f"{text!r} is no list of array indices")
        first = int(match[1])
        found = range(first, int(match[2] or first) + 1, int(match[3] or 1) or 1)
        if len(found) > _MOST_TASKS:
            raise ValueError(f"{text!r} has more array indices than there can be")
        tasks += found
    return tuple(tasks)


def _tasks(index: str) -> tuple[int | None, ...]:
    """Read the array part of a job's identifier; no task at all where it cannot be read."""
    if not index:
        return (None,)
    if index.isdecimal():  # nearly all
        return (int(index),)
    try:
        return expand_tasks(index)
    except ValueError:
        return ()


def _state(word: str, reason: str) -> tuple[JobState, str]:
    """Read a state, ``CANCELLED by 1000`` too, and what is worth telling of why.

    A task that has begun keeps the reason for which it was pending: that is not told.
    """
    first, _, by = word.partition(" ")
    state = STATES.get(first, JobState.UNKNOWN)
    if state.value != first:
        return state, first
    if state is JobState.PENDING or reason == NEVER:
        return state, "" if reason in _NO_REASON else reason
    return state, by


def _time(text: str) -> datetime | None:
    """Read a time; None where there is none, or the number is that of no date."""
    try:
        return datetime.fromtimestamp(int(text), UTC) if text.isdecimal() and text != "0" else None
    except (ValueError, OverflowError, OSError):
        return None


def _exit_code(text: str, state: JobState) -> int | None:
    """Read ``code:signal``; 0 says nothing of a task that did not complete."""
    code, _, number = text.partition(":")
    if state.is_live or not code.isdecimal():
        return None
    if number.isdecimal() and int(number):
        return -int(number)
    return int(code) if int(code) or state is JobState.COMPLETED else None


def _host(text: str) -> str | None:
    return text if text and text not in {"None assigned", "(null)", "None"} else None


def _cpu_time(text: str) -> timedelta:
    match = _CPU_TIME.fullmatch(text)
    if match is None:
        return timedelta(0)
    days, hours, minutes, seconds = (float(group or 0) for group in match.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
