"""Getting exactly one job out of ``sbatch``, whatever it answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from osa.errors import ParentGoneError
from osa.scheduler.slurm_calls import SlurmAwayError, SlurmCalls, SlurmMissingError, SlurmRefusedError
from osa.scheduler.slurm_states import CLOCK_SLACK, Answers, find_job
from osa.scheduler.submissions import Submission

__all__ = ["NO_JOB", "Attempts", "Patience"]

NO_JOB = (SlurmRefusedError, ParentGoneError, SlurmMissingError)
"""Errors of ``sbatch`` after which there surely is no job."""


@dataclass(frozen=True)
class Patience:
    """How long a submission is tried.

    Parameters
    ----------
    attempts : int
        How often ``sbatch`` is called where Slurm is away.
    first_wait, longest_wait : float
        Seconds before the second attempt, doubled for each one after it up to the longest.
    longest : float
        Seconds after which there is no further attempt; a call to a hung Slurm takes long by itself.
    settling : float
        Seconds between two looks for a job of which the reply was lost: a request that waited for
        a hung Slurm is carried out when that wakes up.
    confirmation : datetime.timedelta
        After this time a job that neither queue nor accounting know does not exist; longer than
        whoever submits it can be at it.
    """

    attempts: int = 4
    first_wait: float = 2.0
    longest_wait: float = 20.0
    longest: float = 120.0
    settling: float = 2.0
    confirmation: timedelta = timedelta(minutes=10)


@dataclass(frozen=True)
class Attempts:
    """Attempts to submit one job.

    Parameters
    ----------
    calls : SlurmCalls
        Slurm's commands.
    patience : Patience
        How long it is tried.
    warn : callable
        Told where a job was found of which ``sbatch`` said nothing.
    folder : pathlib.Path
        Where the job works.
    taken : frozenset of str
        Jobs of other submissions.
    """

    calls: SlurmCalls
    patience: Patience
    warn: Callable[[str], None]
    folder: Path
    taken: frozenset[str]

    def submit(self, command: Sequence[str], intent: Submission) -> str:
        """Call ``sbatch`` until it says yes or no; look for the job before each further attempt.

        Returns
        -------
        str
            Identifier of the job.

        Raises
        ------
        SlurmAwayError
            If it is not known whether there is a job.
        SlurmRefusedError, ParentGoneError, SlurmMissingError
            If there is none, and why.
        """
        from tenacity import (
            Retrying,
            retry_if_exception_type,
            stop_after_attempt,
            stop_after_delay,
            wait_exponential,
        )

        patience = self.patience
        retrying = Retrying(
            stop=stop_after_attempt(patience.attempts) | stop_after_delay(patience.longest),
            wait=wait_exponential(patience.first_wait, max=patience.longest_wait),
            retry=retry_if_exception_type(SlurmAwayError),
            reraise=True,
        )
        for attempt in retrying:
            with attempt:
                is_first = attempt.retry_state.attempt_number == 1
                found = None if is_first else self._find(intent)
                return found or self._call(command, intent, is_first=is_first)
        raise AssertionError("an attempt returns or raises")

    def _call(self, command: Sequence[str], intent: Submission, *, is_first: bool) -> str:
        try:
            return self.calls.sbatch(command)
        except NO_JOB as error:
            if not is_first:  # what became of the attempts before is not known for sure
                raise SlurmAwayError(str(error)) from None
            is_plain = not isinstance(error, SlurmRefusedError) or error.is_plain
            found = None if is_plain else self._find(intent)
            if found is None:
                raise
            return found

    def _find(self, intent: Submission) -> str | None:
        """Look twice for the job of an intent; None where there surely is none."""
        since = intent.intended - CLOCK_SLACK
        for wait in (0.0, self.patience.settling):
            time.sleep(wait)
            try:
                queue = self.calls.squeue([intent.name], self.folder)
                accounting = self.calls.sacct([intent.name], since, self.folder)
            except NO_JOB as error:  # they say nothing of the job
                raise SlurmAwayError(str(error)) from None
            job_id = find_job(intent, Answers(queue, accounting), self.taken)
            if job_id is not None:
                self.warn(f"{intent.name}: job {job_id} was taken although sbatch did not say so")
                return job_id
        return None
