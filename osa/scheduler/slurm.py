"""The backend for Slurm: never submits twice, never takes silence for an answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from osa.errors import AnotherInstanceError, ParentGoneError
from osa.model.job import NEVER, JobGroup, JobSpec, JobState, TaskRecord, live_tries
from osa.scheduler.slurm_attempts import NO_JOB, Attempts, Patience
from osa.scheduler.slurm_calls import SlurmAwayError, SlurmCalls, SlurmRefusedError
from osa.scheduler.slurm_commands import sbatch_command
from osa.scheduler.slurm_states import SAME_JOB, Answers, complete, evidence, tries
from osa.scheduler.submissions import Submission, Submissions, next_number

__all__ = ["SlurmScheduler"]

_GIVEN_UP = "given up: Slurm knows nothing of it"


@dataclass(frozen=True)
class _Look:
    """What is known of a group at one moment; ``noted`` is what of it is on disk."""

    noted: tuple[Submission, ...]
    submissions: tuple[Submission, ...]
    found: tuple[tuple[TaskRecord, ...], ...]
    answers: Answers

    @property
    def records(self) -> tuple[TaskRecord, ...]:
        return tuple(record for records in self.found for record in records)

    def live(self, name: str) -> frozenset[int | None]:
        """Tasks of a job of which a try may be alive."""
        tries_of_job = (r for records in self.found for r in records if r.name == name)
        return frozenset(record.task for record in live_tries(tries_of_job))


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

    def records(self, group: JobGroup, names: Iterable[str] = ()) -> tuple[TaskRecord, ...]:
        """Tell of all tasks; see :class:`osa.scheduler.base.Scheduler`."""
        return self._look(group, names).records

    def _look(self, group: JobGroup, names: Iterable[str] = ()) -> _Look:
        noted = Submissions(group.submissions).read()
        wanted = sorted({*names, *(submission.name for submission in noted)})
        answers = self._ask(group, noted, wanted)
        submissions = complete(noted, answers, wanted)
        look = _Look(noted, submissions, tuple(tries(submissions, answers)), answers)
        self._looks[group.name] = look
        return look

    def _ask(self, group: JobGroup, submissions: Iterable[Submission], wanted: Sequence[str]) -> Answers:
        """Ask queue and accounting once each, and only for what may have changed."""
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
        """Find or give up lost jobs, cancel what can never run, and remember what is known."""
        look = self._look(group, names)
        look = self._withdraw_old(group, look)
        look = self._cancel_impossible(group, look)
        self._remember(group, look)
        return look.records

    def _withdraw_old(self, group: JobGroup, look: _Look) -> _Look:
        """Forget submissions that gave no job."""
        latest = self._clock() - self._patience.confirmation

        def is_given_up(submission: Submission) -> bool:
            return look.answers.are_whole and submission.job_id is None and submission.intended < latest

        given_up = [submission for submission in look.submissions if is_given_up(submission)]
        for submission in given_up:
            Submissions(group.submissions).withdraw(submission)
        if not given_up:
            return look
        left = [
            (submission, records)
            for submission, records in zip(look.submissions, look.found, strict=True)
            if not is_given_up(submission)
        ]
        look = _Look(
            look.noted, tuple(submission for submission, _ in left), tuple(r for _, r in left), look.answers
        )
        self._looks[group.name] = look
        return look

    def _remember(self, group: JobGroup, look: _Look) -> None:
        """Write down what has become known; nothing of tasks while the queue is silent."""
        notes = Submissions(group.submissions)
        noted = {(submission.name, submission.number): submission for submission in look.noted}
        for submission, records in zip(look.submissions, look.found, strict=True):
            before = noted.get((submission.name, submission.number))
            is_heard = look.answers.queue is not None and submission.job_id is not None
            whole = replace(submission, known=evidence(records)) if is_heard else submission
            if before is None:
                self._warn(f"{whole.name}: job {whole.job_id} is in the queue without a note; taken over")
                notes.add(whole)
            elif whole != before:
                if before.job_id is None:
                    self._warn(f"{whole.name}: job {whole.job_id} was taken, although nobody told its number")
                notes.update(whole)

    def _cancel_impossible(self, group: JobGroup, look: _Look) -> _Look:
        """Cancel tasks that wait for a job which did not succeed."""

        def is_waiting(record: TaskRecord) -> bool:
            return record.state is JobState.PENDING and record.reason == NEVER

        jobs = sorted({record.job_id for record in look.records if is_waiting(record)})
        if not jobs:
            return look
        try:
            self._calls.scancel(jobs)
        except (SlurmAwayError, SlurmRefusedError) as error:
            self._warn(f"job(s) {', '.join(jobs)} can never run and could not be cancelled: {error}")
            return look
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
        if look.answers.queue is None:
            raise SlurmAwayError(f"{job.name}: not submitted, as Slurm's queue does not say what is alive")
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
        self._looks[job.group.name] = replace(
            look, submissions=(*look.submissions, made), found=(*look.found, pending)
        )
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

        def is_alive(record: TaskRecord) -> bool:
            return record.name in names and record.state.is_live

        live = [record for record in look.records if is_alive(record)]
        if live and look.answers.queue is None:
            raise SlurmAwayError("Slurm's queue gave no answer, nothing was cancelled")
        queued = {record.job_id for record in look.answers.queue or () if record.state.is_live}
        jobs = sorted({record.job_id for record in live} & queued)
        if jobs:
            self._calls.scancel(jobs)
        lost = sum(record.job_id not in queued for record in live)
        if lost and look.answers.accounting is None:
            self._warn(f"{lost} task(s) stay UNKNOWN: Slurm's accounting does not say what became of them")
            return len(live) - lost
        self._give_up(group, look, lambda record: is_alive(record) and record.job_id not in queued)
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
