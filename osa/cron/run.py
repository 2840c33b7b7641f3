"""Running a job: in its environment, alone, with a log."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from osa.config import Settings
from osa.cron.jobs import Job, JobName
from osa.errors import ExitCode
from osa.model.text import printable

__all__ = ["Outcome", "environment", "lock_of", "log_of", "run_job", "stuck_since"]

_STUCK = timedelta(hours=6)
_LONGEST = 10_000
_SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Parameters
    ----------
    job : Job
        The job.
    code : int
        Its exit code; negative for the signal that ended it.
    last_line : str
        The last thing that it said; empty where it said nothing.
    began : datetime.datetime
        When it began, UTC.
    """

    job: Job
    code: int
    last_line: str
    began: datetime

    @property
    def ended(self) -> str:
        """How it ended, in words."""
        if self.code < 0:
            return f"was ended by signal {-self.code}"
        return f"ended with exit code {self.code}{_WORDS.get(self.code, '')}"


_WORDS: dict[int, str] = {
    ExitCode.DONE: " (done)",
    ExitCode.NOT_COMPLETE: " (not complete)",
    ExitCode.WRONG_CALL: " (wrong call or configuration)",
    ExitCode.MISSING_SERVICE: " (a program or service is missing)",
    ExitCode.ANOTHER_INSTANCE: " (another instance is at work)",
    ExitCode.NOT_YET: " (not yet)",
    ExitCode.UNEXPECTED: " (unexpected error)",
}


def log_of(settings: Settings, job: JobName) -> Path:
    """Name the log of a job."""
    return settings.cron.log_dir / f"{settings.telescope_name}_{job}.log"


def lock_of(settings: Settings, job: JobName) -> Path:
    """Name the lock that one instance of a job holds."""
    return settings.cron.log_dir / f".{settings.telescope_name}_{job}.lock"


def environment(settings: Settings, given: Mapping[str, str]) -> dict[str, str]:
    """Make the environment of a job: cron gives next to none.

    Parameters
    ----------
    settings : Settings
        The configuration.
    given : mapping
        The environment that we were started with.
    """
    # Not resolved: in a virtual environment the interpreter is a link to that of the system.
    ours = Path(sys.executable).parent
    folders = [str(ours), *map(str, settings.cron.path or ()), given.get("PATH", ""), _SYSTEM_PATH]
    words = [folder for part in folders for folder in part.split(":") if folder]
    return {
        **given,
        "PATH": ":".join(dict.fromkeys(words)),
        "TZ": "UTC",
        "LC_ALL": "C.UTF-8",
        "OSA_CONFIG": str(settings.path),
        "PYTHONUNBUFFERED": "1",  # each line is logged when it is said
    }


def run_job(job: Job, logger: logging.Logger) -> Outcome:
    """Run a job and log what it says; its lock is held."""
    settings = job.layout.settings
    began, started = datetime.now(UTC), time.monotonic()
    night = "-" if job.night is None else f"{job.night}:"
    logger.info("%s begin: %s", night, " ".join([job.name, *job.arguments]))
    last: deque[str] = deque(maxlen=1)
    with subprocess.Popen(
        # -P: the working folder is no place to import from.
        [sys.executable, "-P", "-m", f"osa.cli.{job.name}", *job.arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment(settings, os.environ),
        text=True,
        encoding="utf-8",
        errors="backslashreplace",
    ) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                said = printable(line.rstrip("\n")[:_LONGEST])
                logger.info("%s %s", night, said)
                if said.strip():
                    last.append(said.strip())
            code = process.wait()
        except BaseException:
            process.terminate()
            raise
    outcome = Outcome(job, code, last[0] if last else "", began)
    logger.info("%s %s after %.0f s", night, outcome.ended, time.monotonic() - started)
    return outcome


def stuck_since(settings: Settings, job: JobName, clock: datetime) -> datetime | None:
    """Tell since when another instance of a job has been at work, where that is too long."""
    note = lock_of(settings, job).with_name(lock_of(settings, job).name + ".holder")
    try:
        since = datetime.fromtimestamp(note.stat().st_mtime, UTC)
    except OSError:
        return None
    return since if clock - since > _STUCK else None
