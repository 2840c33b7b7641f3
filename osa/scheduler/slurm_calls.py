"""Calling Slurm's commands: bounded in time, without a shell, and errors told apart."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from osa.errors import ExitCode, JobRefusedError, MissingServiceError, OsaError, ParentGoneError
from osa.model.job import TaskRecord
from osa.scheduler.slurm_commands import (
    environment_of_jobs,
    environment_of_queries,
    parse_job_id,
    parse_largest_array,
    parse_sacct,
    parse_squeue,
    sacct_command,
    scancel_command,
    show_config_command,
    squeue_command,
)

__all__ = ["SlurmAwayError", "SlurmCalls", "SlurmMissingError", "SlurmRefusedError"]

# What is said where a daemon is away, hangs, or begins to work; see tests/data/slurm/failures.json.
_TRANSIENT = (
    "timed out",
    "unable to contact slurm controller",
    "connect failure",
    "temporarily unable to accept",
    "temporarily unavailable",
    "connection refused",
    "connection reset",
    "zero bytes were transmitted or received",
    "transport endpoint is not connected",
    "protocol authentication error",
    "problem talking to the database",
    "standby mode",
)
_PARENT_GONE = "job dependency problem"
_NO_CLUSTER = "could not establish a configuration source"
_WITHOUT = (
    "Slurm's commands have to be in PATH, and SLURM_CONF to name the cluster's configuration where it is "
    "not in its usual place; to run the jobs on this machine say --backend local"
)
_REFUSAL = "batch job submission failed"


class SlurmAwayError(MissingServiceError):
    """Slurm did not answer, or not now."""


class SlurmMissingError(MissingServiceError):
    """Slurm's commands are not there."""


class SlurmRefusedError(JobRefusedError):
    """Slurm said no.

    Parameters
    ----------
    message : str
        What it said.
    is_plain : bool
        Whether it is in words from which it is sure that nothing was done.
    """

    exit_code = ExitCode.NOT_COMPLETE  # an account or a partition may be mended without us

    def __init__(self, message: str, *, is_plain: bool) -> None:
        super().__init__(message)
        self.is_plain = is_plain


@dataclass(frozen=True)
class SlurmCalls:
    """Slurm's commands, as found on PATH.

    Parameters
    ----------
    environment : mapping
        Environment of the commands, from which what would change their meaning is taken out.
    timeout : float
        Seconds after which a command is given up.
    """

    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    timeout: float = 60.0

    def sbatch(self, command: Sequence[str]) -> str:
        """Submit a job; gives its identifier.

        Raises
        ------
        SlurmAwayError, SlurmRefusedError, ParentGoneError
            As Slurm says; the job may have been taken all the same.
        """
        text = self._run(command, environment_of_jobs(self.environment))
        job_id = parse_job_id(text)
        if job_id is None:
            raise SlurmAwayError(f"sbatch did not tell the number of a job but {_short(text)!r}")
        return job_id

    def squeue(self, names: Iterable[str], folder: Path) -> tuple[TaskRecord, ...]:
        """Ask for what is pending or running of some jobs that work in a folder."""
        return tuple(parse_squeue(self._ask(squeue_command(names)), folder))

    def sacct(self, names: Iterable[str], since: datetime, folder: Path) -> tuple[TaskRecord, ...]:
        """Ask for all tries of some jobs that work in a folder."""
        return tuple(parse_sacct(self._ask(sacct_command(names, since)), folder))

    def scancel(self, jobs: Iterable[str]) -> None:
        """Cancel jobs or tasks."""
        self._ask(scancel_command(jobs))

    def largest_array(self) -> int | None:
        """Ask what every array index has to be below."""
        return parse_largest_array(self._ask(show_config_command()))

    def _ask(self, command: Sequence[str]) -> str:
        return self._run(command, environment_of_queries(self.environment))

    def _run(self, command: Sequence[str], environment: Mapping[str, str]) -> str:
        program = command[0]
        try:
            done = subprocess.run(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=self.timeout,
                check=False,
            )
        except OSError as error:
            raise SlurmMissingError(f"{program} cannot be run ({error.strerror}): {_WITHOUT}") from None
        except subprocess.TimeoutExpired:
            raise SlurmAwayError(f"{program} did not answer within {self.timeout:.0f} s") from None
        if done.returncode == 0:
            return done.stdout
        raise _understood(program, done.stderr or done.stdout, done.returncode)


def _understood(program: str, text: str, return_code: int) -> OsaError:
    """Make an error of what a command said."""
    said = f"{program}: {_short(text) or f'exit code {return_code}, without a word'}"
    words = text.lower()
    if _NO_CLUSTER in words:
        return SlurmMissingError(f"{said}: {_WITHOUT}")
    if _PARENT_GONE in words:
        return ParentGoneError(said)
    if not words.strip() or any(mark in words for mark in _TRANSIENT):
        return SlurmAwayError(said)
    return SlurmRefusedError(said, is_plain=_REFUSAL in words)


def _short(text: str) -> str:
    """Take the prefix of every line away: ``sbatch: error: ``."""
    lines = [line.rpartition("error: ")[2].strip() for line in text.splitlines()]
    return "; ".join(line for line in lines if line)
