"""The backend for Slurm: never submits twice, never takes silence for an answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from osa.errors import AnotherInstanceError, ParentGoneError
from osa.model.job import JobGroup, JobSpec, JobState, TaskRecord
from osa.scheduler.slurm_attempts import NO_JOB, Attempts, Patience
from osa.scheduler.slurm_calls import SlurmAwayError, SlurmCalls, SlurmRefusedError
from osa.scheduler.slurm_commands import NEVER, sbatch_command
from osa.scheduler.slurm_states import SAME_JOB, Answers, find_job, find_strays, tries
from osa.scheduler.submissions import Submission, Submissions, next_number

__all__ = ["SlurmScheduler"]

_GIVEN_UP = "given up: Slurm knows nothing of it"


@dataclass(frozen=True)
class _Look:
    """What is known of a group at one moment."""

    submissions: tuple[Submission, ...]
    found: tuple[tuple[TaskRecord, ...], ...]
    answers: Answers

    @property
    def records(self) -> tuple[TaskRecord, ...]:
        return tuple(record for records in self.found for record in records)

    def live(self, name: str) -> frozenset[int | None]:
        """Tasks of a job that may be alive."""
        latest = {r.task: r.state for records in self.found for r in records if r.name == name}
        return frozenset(task for task, state in latest.items() if state.is_live)


def _utc_now() -> datetime:
    return datetime.now(UTC)


class SlurmScheduler:
    """Takes jobs for a Slurm cluster.

    Parameters
    ----------
    calls : SlurmCalls
        Slurm's commands.
    at_once : int, optional
        How many tasks of a job may run at the same time.
    warn : callable
        Told what a person should know.
    patience : Patience
        How long a submission is tried.
    clock : callable
        Tells the time.
    """

    name = "slurm"

    def __init__(
        self,
        calls: SlurmCalls,
        *,
        at_once: int | None = None,
        warn: Callable[[str], None] = lambda _: None,
        patience: Patience | None = None,
        clock: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._calls = calls
        self._at_once = at_once
        self._warn = warn
        self._patience = patience or Patience()
        self._clock = clock
        self._looks: dict[str, _Look] = {}
        self._largest_array: int | None = None
        self._submitted: set[str] = set()
        self._silent: dict[str, str] = {}

    # ------------------------------------------------------------------------- looking

    def records(self, group: JobGroup) -> tuple[TaskRecord, ...]:
        """Tell of all tasks; see :class:`osa.scheduler.base.Scheduler`."""
        return self._look(group).records

    def _look(self, group: JobGroup, names: Iterable[str] = ()) -> _Look:
        submissions = Submissions(group.submissions).read()
        answers = self._ask(group, submissions, names)
        found = tuple(tries(submissions, answers))
        look = self._looks[group.name] = _Look(submissions, found, answers)
        return look

    def _ask(self, group: JobGroup, submissions: Iterable[Submission], names: Iterable[str]) -> Answers:
        """Ask queue and accounting once each, and only for what may have changed."""
        wanted = sorted({*names, *(submission.name for submission in submissions)})
        open_ones = [submission for submission in submissions if not submission.is_settled]
        queue: tuple[TaskRecord, ...] | None = ()
        accounting: tuple[TaskRecord, ...] | None = ()
        if wanted:
            queue = self._heard("queue", lambda: self._calls.squeue(wanted, group.folder))
        if open_ones:
            since = min(submission.intended for submission in open_ones) - SAME_JOB
            names = sorted({submission.name for submission in open_ones})
            accounting = self._heard("accounting", lambda: self._calls.sacct(names, since, group.folder))
        return Answers(queue, accounting)

    def _heard(self, who: str, ask: Callable[[], tuple[TaskRecord, ...]]) -> tuple[TaskRecord, ...] | None:
        try:
            answer = ask()
        except (SlurmAwayError, SlurmRefusedError) as error:
            if self._silent.get(who) != str(error):  # said once, while somebody waits
                self._warn(f"Slurm's {who} gave no answer, states are as they were last known: {error}")
            self._silent[who] = str(error)
            return None
        self._silent.pop(who, None)
        return answer

    # ------------------------------------------------------------------------- tidying

    def tidy(self, group: JobGroup, names: Iterable[str]) -> tuple[TaskRecord, ...]:
        """Find or give up lost jobs, remember what is known, cancel what can never run."""
        names = tuple(names)
        look = self._look(group, names)
        notes = Submissions(group.submissions)
        if self._confirm(notes, look):
            look = self._reread(group, look.answers)
        if self._adopt_strays(notes, look, names):
            look = self._reread(group, look.answers)
        look = self._cancel_impossible(group, look)
        for submission, records in zip(look.submissions, look.found, strict=True):
            known = tuple(record for record in records if record.state is not JobState.UNKNOWN)
            if known and known != submission.known:
                notes.update(replace(submission, known=known))
        return look.records

    def _reread(self, group: JobGroup, answers: Answers) -> _Look:
        """Look at the notes again, with the answers that there are."""
        submissions = Submissions(group.submissions).read()
        look = self._looks[group.name] = _Look(submissions, tuple(tries(submissions, answers)), answers)
        return look

    def _adopt_strays(self, notes: Submissions, look: _Look, names: Iterable[str]) -> bool:
        """Make notes of jobs in the queue that have none; tell whether there were any."""
        numbers = {name: next_number(look.submissions, name) for name in names}
        strays = find_strays(numbers, look.submissions, look.answers)
        for stray in strays:
            notes.add(replace(stray, number=numbers[stray.name]))
            numbers[stray.name] += 1
            self._warn(f"{stray.name}: job {stray.job_id} is in the queue without a note; taken over")
        return bool(strays)

    def _confirm(self, notes: Submissions, look: _Look) -> bool:
        """Find the jobs of submissions whose reply was lost; tell whether a note has changed."""
        changed = False
        taken = {s.job_id for s in look.submissions if s.job_id is not None}
        for intent in look.submissions:
            if intent.job_id is not None:
                continue
            job_id = find_job(intent, look.answers, taken)
            if job_id is not None:
                notes.update(replace(intent, job_id=job_id))
                taken.add(job_id)
                self._warn(f"{intent.name}: job {job_id} was taken although its number was not told")
            elif look.answers.are_whole and self._clock() - intent.intended > self._patience.confirmation:
                notes.withdraw(intent)
            else:
                continue
            changed = True
        return changed

    def _cancel_impossible(self, group: JobGroup, look: _Look) -> _Look:
        """Cancel tasks that wait for a job which did not succeed."""

        def is_waiting(record: TaskRecord) -> bool:
            return record.state is JobState.PENDING and record.reason == NEVER

        jobs = sorted({record.job_id for record in look.records if is_waiting(record)})
        if not jobs:
            return look
        self._calls.scancel(jobs)
        look = self._looks[group.name] = replace(look, found=_cancelled(look.found, is_waiting, NEVER))
        return look

    # ---------------------------------------------------------------------- submitting

    def submit(self, job: JobSpec, *, after: str | None = None) -> str:
        """Take a job; see :class:`osa.scheduler.base.Scheduler`.

        Where the cluster takes no index as large as the sub-runs', the job becomes several; their
        identifiers are joined by colons, as ``--dependency`` wants them.
        """
        look = self._looks.get(job.group.name) or self._look(job.group)
        wanted: frozenset[int | None] = frozenset(job.tasks or (None,))
        if wanted & look.live(job.name):
            look = self._look(job.group)  # it may have ended since
            if wanted & look.live(job.name):
                raise AnotherInstanceError(f"{job.name}: a task of it is pending or running already")
        self._check_parents(job, after)
        return ":".join(self._submit_part(job, part, offset, after) for offset, part in self._parts(job))

    def _check_parents(self, job: JobSpec, after: str | None) -> None:
        """Refuse to wait for a job that is not known to have succeeded and that Slurm has forgotten.

        Slurm takes it for one that has succeeded.
        """
        look = self._looks[job.group.name]
        known = self._submitted | {record.job_id for record in look.answers.queue or ()}
        for parent in after.split(":") if after else ():
            states = {(r.name, r.task): r.state for r in look.records if r.job_id == parent}
            is_done = bool(states) and set(states.values()) == {JobState.COMPLETED}
            if parent not in known and not is_done:
                raise ParentGoneError(
                    f"{job.name}: it has to wait for job {parent}, which Slurm does not know"
                )

    def _parts(self, job: JobSpec) -> Iterator[tuple[int, tuple[int, ...]]]:
        """Split the tasks of a job into arrays that the cluster takes, each with its offset."""
        if not job.tasks:
            yield 0, ()
            return
        if self._largest_array is None:
            self._largest_array = self._calls.largest_array() or max(job.tasks) + 1
        size = self._largest_array
        for first in range(0, max(job.tasks) + 1, size):
            part = tuple(task for task in job.tasks if first <= task < first + size)
            if part:
                yield first, part

    def _submit_part(self, job: JobSpec, tasks: tuple[int, ...], offset: int, after: str | None) -> str:
        look = self._looks[job.group.name]
        notes = Submissions(job.group.submissions)
        number = next_number(look.submissions, job.name)
        intent = Submission(job.name, number, tasks, offset, self._clock())
        notes.add(intent)
        command = sbatch_command(
            job,
            after=after,
            array=(task - offset for task in tasks),
            at_once=self._at_once,
            offset=offset,
        )
        taken = frozenset(s.job_id for s in look.submissions if s.job_id is not None)
        attempts = Attempts(self._calls, self._patience, self._warn, job.group.folder, taken)
        try:
            job_id = attempts.submit(command, intent)
        except NO_JOB:  # after anything else the note stays: nobody knows
            notes.withdraw(intent)
            raise
        made = replace(intent, job_id=job_id)
        notes.update(made)
        self._submitted.add(job_id)
        pending = tuple(
            TaskRecord(job_id, job.name, task, JobState.PENDING, made.intended) for task in tasks or (None,)
        )
        self._looks[job.group.name] = _Look((*look.submissions, made), (*look.found, pending), look.answers)
        return job_id

    # ---------------------------------------------------------------------- cancelling

    def cancel(self, group: JobGroup, names: Iterable[str]) -> int:
        """Cancel what is alive of some jobs; see :class:`osa.scheduler.base.Scheduler`.

        Tasks of which neither queue nor accounting know anything are given up, which lets them be
        submitted again.
        """
        names = frozenset(names)
        self.tidy(group, names)
        look = self._looks[group.name]
        live = [r for r in look.records if r.name in names and r.state.is_live]
        if live and look.answers.queue is None:
            raise SlurmAwayError("Slurm's queue gave no answer, nothing was cancelled")
        queued = {record.job_id for record in look.answers.queue or () if record.state.is_live}
        jobs = sorted({record.job_id for record in live} & queued)
        if jobs:
            self._calls.scancel(jobs)
        if look.answers.are_whole:
            self._give_up(
                group, look, lambda r: r.name in names and r.state.is_live and r.job_id not in queued
            )
        return len(live)

    def _give_up(self, group: JobGroup, look: _Look, is_lost: Callable[[TaskRecord], bool]) -> None:
        notes = Submissions(group.submissions)
        changed = _cancelled(look.found, is_lost, _GIVEN_UP)
        for submission, before, after in zip(look.submissions, look.found, changed, strict=True):
            if after == before:
                continue
            if submission.job_id is None:
                notes.withdraw(submission)
            else:
                notes.update(replace(submission, known=after))


def _cancelled(
    found: Iterable[tuple[TaskRecord, ...]], which: Callable[[TaskRecord], bool], reason: str
) -> tuple[tuple[TaskRecord, ...], ...]:
    """Mark some records as cancelled."""
    return tuple(
        tuple(replace(r, state=JobState.CANCELLED, reason=reason) if which(r) else r for r in records)
        for records in found
    )
