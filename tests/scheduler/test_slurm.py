"""Submitting to Slurm: exactly one job, whatever is killed, lost, late or said."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_slurm import Mishap
from slurm_site import CALIBRATION, NAME, NAMES, QUICK, UNREACHABLE, KilledError, Site, afterwards, before

from osa.errors import (
    AnotherInstanceError,
    ExitCode,
    InputError,
    InterruptedNightError,
    MissingServiceError,
    ParentGoneError,
)
from osa.model.job import UNCONFIRMED, JobState
from osa.scheduler.slurm_attempts import Patience
from osa.scheduler.slurm_calls import SlurmAwayError, SlurmCalls, SlurmRefusedError
from osa.scheduler.submissions import Submissions

PENDING, RUNNING, COMPLETED = JobState.PENDING, JobState.RUNNING, JobState.COMPLETED
CANCELLED, UNKNOWN = JobState.CANCELLED, JobState.UNKNOWN
BOTH_RAN = [f"{NAME} 0 ran", f"{NAME} 1 ran"]
LATER = QUICK.confirmation * 1.5  # and less than clocks may differ
FAILURES = json.loads((Path(__file__).parents[1] / "data" / "slurm" / "failures.json").read_text("utf-8"))


def test_what_slurm_is_asked_for(site: Site) -> None:
    parent = site.submit(CALIBRATION, ())
    site.submit(tasks=(0, 1, 5), after=parent, by=site.scheduler(at_once=2))
    first, second = site.fake.calls("sbatch")
    folder = f"--chdir={site.group.folder}"
    assert first[:3] == ["--parsable", f"--job-name={CALIBRATION}", folder]
    assert second[:-1] == [
        "--parsable",
        f"--job-name={NAME}",
        folder,
        f"--dependency=afterok:{parent}",
        "--kill-on-invalid-dep=yes",
        "--array=0-1,5%2",
    ]


def test_note_tells_the_job(site: Site) -> None:
    job_id = site.submit()
    (note,) = site.notes
    assert (note.name, note.number, note.tasks, note.job_id) == (NAME, 1, (0, 1), job_id)


# ---------------------------------------------------------------------------------- killed

WORK = [(Submissions, "add"), (SlurmCalls, "sbatch"), (Submissions, "update")]


@pytest.mark.parametrize("when", [before, afterwards])
@pytest.mark.parametrize(("owner", "method"), WORK, ids=[method for _, method in WORK])
@pytest.mark.parametrize("ran_meanwhile", [False, True])
def test_command_that_is_killed_leaves_one_job(
    site: Site,
    when: Callable[[Callable[..., object]], Callable[..., object]],
    owner: type,
    method: str,
    ran_meanwhile: bool,
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(owner, method, when(getattr(owner, method)))
        with pytest.raises(KilledError):
            site.submit()
    if ran_meanwhile:
        site.fake.drain()
    site.come_again()  # adopts the job where there is one
    site.later = LATER
    site.come_again()  # gives up the intent where there is none
    site.fake.drain()
    site.come_again()
    assert sorted(site.bench.attempts) == BOTH_RAN
    assert len(site.fake.jobs(NAME)) == 1
    (note,) = site.notes
    assert [note.job_id] == site.fake.jobs(NAME)
    assert site.states() == [(NAME, 0, COMPLETED), (NAME, 1, COMPLETED)]


def test_intent_without_a_job_is_alive_until_it_is_given_up(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(SlurmCalls, "sbatch", before(SlurmCalls.sbatch))
        with pytest.raises(KilledError):
            site.submit()
    assert [(r.job_id, r.state) for r in site.tidy()] == [(UNCONFIRMED, UNKNOWN)] * 2
    with pytest.raises(AnotherInstanceError, match=f"{NAME}: a task of it is pending or running already"):
        site.submit()
    site.later = LATER
    assert site.records() != ()  # looking changes nothing
    assert site.tidy() == ()
    assert site.notes == ()


@pytest.mark.parametrize("silent", ["squeue", "sacct"])
def test_intent_is_not_given_up_on_half_an_answer(
    site: Site, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(SlurmCalls, "sbatch", before(SlurmCalls.sbatch))
        with pytest.raises(KilledError):
            site.submit()
    site.later = LATER
    site.fake.plan(silent, Mishap(error=UNREACHABLE, code=1))
    assert [r.state for r in site.tidy()] == [UNKNOWN, UNKNOWN]
    assert len(site.notes) == 1


# ------------------------------------------------------------------------------ lost replies


@pytest.mark.parametrize(
    "mishap",
    [
        Mishap(carried_out=True, code=1),
        Mishap(carried_out=True, hangs=60),
        Mishap(carried_out=True, says="\n"),
        Mishap(carried_out=True, error="sbatch: error: Socket timed out on send/recv operation\n", code=1),
        Mishap(carried_out=True, error="sbatch: error: something that nobody foresaw\n", code=1),
        Mishap(carried_out=True, says="Submitted batch job 1\n"),
    ],
    ids=["silent", "hangs", "empty", "timed out", "strange", "wordy"],
)
def test_job_of_a_lost_reply_is_found(site: Site, mishap: Mishap) -> None:
    site.fake.plan("sbatch", mishap)
    job_id = site.submit(by=site.scheduler(timeout=2.0))
    assert site.fake.jobs(NAME) == [job_id]
    assert site.counted("sbatch") == [1]
    assert any("was taken although sbatch did not say so" in warning for warning in site.warnings)
    site.fake.drain()
    assert sorted(site.bench.attempts) == BOTH_RAN


@pytest.mark.parametrize("command", ["squeue", "sacct"])
def test_job_of_a_lost_reply_is_found_by_either(site: Site, command: str) -> None:
    site.fake.plan("sbatch", Mishap(carried_out=True, code=1))
    site.fake.plan(command, Mishap(), *[Mishap()] * 10)
    job_id = site.submit()
    assert site.fake.jobs(NAME) == [job_id]


def test_job_that_comes_late_is_found(site: Site) -> None:
    # Carried out when Slurm wakes up, between the first look and the second.
    site.fake.plan("sbatch", Mishap(error="sbatch: error: Socket timed out\n", code=1, late=3))
    job_id = site.submit()
    assert site.fake.jobs(NAME) == [job_id]
    assert site.counted("sbatch") == [1]


def test_late_job_of_a_command_that_gave_up_is_adopted(site: Site) -> None:
    patience = Patience(attempts=1)
    site.fake.plan("sbatch", Mishap(error="sbatch: error: Socket timed out\n", code=1, late=1))
    with pytest.raises(SlurmAwayError):
        site.submit(by=site.scheduler(patience=patience))
    site.come_again()
    site.fake.drain()
    assert sorted(site.bench.attempts) == BOTH_RAN
    assert len(site.fake.jobs(NAME)) == 1


# -------------------------------------------------------------------- errors that pass, or not


def test_submission_is_tried_again(site: Site) -> None:
    site.fake.plan("sbatch", *[Mishap(error=UNREACHABLE, code=1)] * 3)
    job_id = site.submit()
    assert site.fake.jobs(NAME) == [job_id]
    assert site.counted("sbatch") == [4]


def test_waits_grow_between_the_tries(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("tenacity.nap.time", SimpleNamespace(sleep=waits.append))
    site.fake.plan("sbatch", *[Mishap(error=UNREACHABLE, code=1)] * 5)
    patience = Patience(attempts=5, first_wait=2.0, longest_wait=7.0, settling=0.001)
    with pytest.raises(SlurmAwayError):
        site.submit(by=site.scheduler(patience=patience))
    assert waits == [2.0, 4.0, 7.0, 7.0]


def test_slurm_that_stays_away_is_given_up(site: Site) -> None:
    site.fake.plan("sbatch", *[Mishap(error=UNREACHABLE, code=1)] * 9)
    with pytest.raises(MissingServiceError, match="Unable to contact slurm controller") as caught:
        site.submit()
    assert caught.value.exit_code is ExitCode.MISSING_SERVICE
    assert site.counted("sbatch") == [QUICK.attempts]
    (note,) = site.notes  # nobody knows
    assert note.job_id is None
    with pytest.raises(AnotherInstanceError):
        site.submit()


def test_nothing_is_submitted_again_unless_it_can_be_looked_for(site: Site) -> None:
    away = Mishap(error=UNREACHABLE, code=1)
    site.fake.plan("sbatch", Mishap(carried_out=True, code=1))
    scheduler = site.scheduler()
    scheduler.tidy(site.group, NAMES)
    site.fake.plan("squeue", *[away] * 20)
    with pytest.raises(SlurmAwayError):
        site.submit(by=scheduler)
    assert site.counted("sbatch") == [1]
    assert len(site.notes) == 1


@pytest.mark.parametrize(
    "case", ["unknown_partition", "unknown_account", "array_text", "no_such_script", "too_much_memory"]
)
def test_refusal_is_shown_and_not_tried_again(site: Site, case: str) -> None:
    said = FAILURES[case]["stderr"]
    site.fake.plan("sbatch", Mishap(error=said, code=1))
    with pytest.raises(SlurmRefusedError) as caught:
        site.submit()
    assert said.splitlines()[-1].removeprefix("sbatch: error: ") in str(caught.value)
    assert site.counted("sbatch") == [1]
    assert site.notes == ()
    site.submit()  # nothing is in its way


def test_command_that_is_asked_to_end_keeps_the_note(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM arrives while sbatch is at work, and sbatch has submitted."""
    real = SlurmCalls.sbatch

    def interrupted(calls: SlurmCalls, command: Sequence[str]) -> str:
        real(calls, command)
        raise InterruptedNightError("stopped by SIGTERM")

    with monkeypatch.context() as patched:
        patched.setattr(SlurmCalls, "sbatch", interrupted)
        with pytest.raises(InterruptedNightError):
            site.submit()
    assert [note.job_id for note in site.notes] == [None]
    site.scheduler().tidy(site.group, NAMES)
    site.fake.drain()
    assert len(site.notes) == 1
    assert len(site.bench.attempts) == 2


def test_plain_refusal_needs_no_look_at_the_queue(site: Site) -> None:
    scheduler = site.scheduler()
    scheduler.tidy(site.group, NAMES)
    site.fake.plan("sbatch", Mishap(error=FAILURES["unknown_partition"]["stderr"], code=1))
    site.fake.plan("squeue", *[Mishap(error=UNREACHABLE, code=1)] * 99)
    with pytest.raises(SlurmRefusedError, match="Invalid partition name"):
        site.submit(by=scheduler)
    assert site.notes == ()


def test_no_attempt_is_begun_after_a_time(site: Site) -> None:
    """A call to a hung Slurm takes long by itself."""
    site.fake.plan("sbatch", *[Mishap(error=UNREACHABLE, code=1)] * 9)
    with pytest.raises(MissingServiceError):
        site.submit(by=site.scheduler(patience=replace(QUICK, longest=0.0)))
    assert site.counted("sbatch") == [1]


def test_refusal_while_the_queue_is_silent_keeps_the_note(site: Site) -> None:
    scheduler = site.scheduler()
    scheduler.tidy(site.group, NAMES)
    site.fake.plan("sbatch", *[Mishap(error="sbatch: error: something strange\n", code=1)] * 9)
    site.fake.plan("squeue", *[Mishap(error=UNREACHABLE, code=1)] * 99)
    with pytest.raises(SlurmAwayError):
        site.submit(by=scheduler)
    assert len(site.notes) == 1


def test_slurm_that_is_not_installed(site: Site) -> None:
    (site.fake.folder / "bin" / "sbatch").unlink()
    with pytest.raises(MissingServiceError, match="--backend local"):
        site.submit()
    assert site.notes == ()


# ---------------------------------------------------------------------------------- parents


@pytest.mark.parametrize("after", ["4711", "1:4711"])
def test_parent_that_nobody_knows(site: Site, after: str) -> None:
    assert site.submit(CALIBRATION, ()) == "1"
    with pytest.raises(ParentGoneError, match="job 4711, which Slurm does not know"):
        site.submit(after=after)
    assert site.counted("sbatch") == [1]
    assert len(site.notes) == 1


@pytest.mark.parametrize("state", ["FAILED", "TIMEOUT", "CANCELLED", "NODE_FAIL"])
def test_failed_parent_that_slurm_has_forgotten(site: Site, state: str) -> None:
    parent = site.submit(CALIBRATION, ())
    site.fake.begin(parent)
    site.fake.end(parent, state=state, code="1:0")
    site.fake.forget(parent)
    with pytest.raises(ParentGoneError):
        site.submit(after=parent)


def test_lost_parent(site: Site) -> None:
    parent = site.submit(CALIBRATION, ())
    site.fake.lose(parent)
    with pytest.raises(ParentGoneError):
        site.submit(after=parent)


def test_parent_that_succeeded_may_be_forgotten(site: Site) -> None:
    parent = site.submit(CALIBRATION, ())
    site.fake.drain()
    site.fake.forget(parent)
    site.submit(after=parent)
    site.fake.drain()
    assert len(site.bench.attempts) == 3


def test_parent_refused_by_slurm(site: Site) -> None:
    parent = site.submit(CALIBRATION, ())
    said = "sbatch: error: Batch job submission failed: Job dependency problem\n"
    site.fake.plan("sbatch", Mishap(error=said, code=1))
    with pytest.raises(ParentGoneError, match="Job dependency problem"):
        site.submit(after=parent)
    assert [note.name for note in site.notes] == [CALIBRATION]


# ---------------------------------------------------------------------------------- two at once


def test_of_two_that_looked_before_one_submits(site: Site) -> None:
    first, second = site.scheduler(), site.scheduler()
    for scheduler in (first, second):
        scheduler.tidy(site.group, NAMES)
    site.submit(by=first)
    with pytest.raises(AnotherInstanceError, match="another sequencer submits it") as caught:
        site.submit(by=second)
    assert caught.value.exit_code is ExitCode.ANOTHER_INSTANCE
    site.fake.drain()
    assert sorted(site.bench.attempts) == BOTH_RAN


def test_of_two_that_submit_together_one_does(site: Site) -> None:
    schedulers = [site.scheduler(), site.scheduler()]
    for scheduler in schedulers:
        scheduler.tidy(site.group, NAMES)
    job = site.bench.job(NAME, tasks=(0, 1))
    barrier, outcomes = threading.Barrier(2), []

    def submit(index: int) -> None:
        barrier.wait(30)
        try:
            outcomes.append(schedulers[index].submit(job))
        except AnotherInstanceError:
            outcomes.append("another")

    threads = [threading.Thread(target=submit, args=(index,)) for index in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(outcomes) == ["1", "another"]
    assert site.fake.jobs(NAME) == ["1"]


# ---------------------------------------------------------------------------------- large arrays


@pytest.fixture
def small(site: Site) -> Site:
    """A cluster that takes no index of 10 or more."""
    with site.fake.state() as state:
        state["max_array"] = 10
    return site


def test_job_is_split_where_the_cluster_takes_no_index_as_large(small: Site) -> None:
    body = "note(f'{sys.argv[1:]} ran')"
    job_id = small.submit(tasks=(0, 9, 10, 11, 35), body=body, by=small.scheduler(at_once=3))
    assert job_id == "1:2:3"
    ends = [call[5 - 2 :] for call in small.fake.calls("sbatch")]
    script = str(small.bench.job(NAME, body, tasks=(0,)).script)
    assert ends == [
        ["--array=0,9%3", script],
        ["--array=0-1%3", script, "10"],
        ["--array=5%3", script, "30"],
    ]
    small.fake.drain()
    assert [(r.job_id, r.task, r.state) for r in small.records()] == [
        ("1", 0, COMPLETED),
        ("1", 9, COMPLETED),
        ("2", 10, COMPLETED),
        ("2", 11, COMPLETED),
        ("3", 35, COMPLETED),
    ]
    assert f"{NAME} 5 ['30'] ran" in small.bench.attempts


def test_dependant_waits_for_all_parts(small: Site) -> None:
    parent = small.submit(CALIBRATION, (5, 15))
    small.submit(after=parent)
    assert f"--dependency=afterok:{parent}" in small.fake.calls("sbatch")[-1]
    small.fake.drain()
    assert [line.split()[0] for line in small.bench.attempts] == [CALIBRATION] * 2 + [NAME] * 2


def test_second_part_that_is_refused_leaves_the_first(small: Site) -> None:
    small.fake.plan(
        "sbatch", Mishap(carried_out=True, says="1\n"), Mishap(error="sbatch: error: no\n", code=1)
    )
    with pytest.raises(SlurmRefusedError):
        small.submit(tasks=(1, 12))
    assert small.states() == [(NAME, 1, PENDING)]
    small.fake.drain()
    assert small.come_again((1, 12)) == "2"


@pytest.mark.parametrize(("tasks", "asked"), [((), 0), ((0, 1), 1)])
def test_size_of_arrays_is_asked_for_once(site: Site, tasks: tuple[int, ...], asked: int) -> None:
    scheduler = site.scheduler()
    site.submit(tasks=tasks, by=scheduler)
    site.submit("LST1_01875", tasks, by=scheduler)
    assert site.counted("scontrol") == [asked]


def test_size_of_arrays_that_is_not_told(site: Site) -> None:
    site.fake.plan("scontrol", Mishap(says="nothing of it\n"))
    assert site.submit(tasks=(0, 1000)) == "1"


# ---------------------------------------------------------------------------------- broken notes


def test_note_that_cannot_be_read_stops_everything(site: Site) -> None:
    site.submit()
    (path,) = site.group.submissions.iterdir()
    path.write_text("{")
    for work in (site.records, site.tidy, site.submit, lambda: site.scheduler().cancel(site.group, NAMES)):
        with pytest.raises(InputError, match=path.name):
            work()
    assert site.counted("sbatch") == [1]


# --------------------------------------------------------- silence is no leave to submit


def test_nothing_is_submitted_while_the_queue_is_silent(site: Site) -> None:
    """A lost node: the accounting has the end of the first try, the queue would have the second."""
    job_id = site.submit(tasks=(0,))
    site.fake.begin(job_id, 0)
    site.fake.end(job_id, 0, state="NODE_FAIL")
    site.fake.requeue(job_id, 0)
    site.fake.change(job_id, 0, in_accounting=False)
    scheduler = site.scheduler()
    site.fake.plan("squeue", *[Mishap(error=UNREACHABLE, code=1)] * 9)
    scheduler.tidy(site.group, NAMES)
    with pytest.raises((SlurmAwayError, AnotherInstanceError)):
        site.submit(tasks=(0,), by=scheduler)
    assert site.counted("sbatch") == [1]
    assert not site.notes[0].is_settled


def test_lost_notes_and_a_silent_queue_submit_nothing(site: Site) -> None:
    scheduler = site.scheduler()
    site.fake.plan("squeue", Mishap(error=UNREACHABLE, code=1))
    scheduler.tidy(site.group, NAMES)
    with pytest.raises(SlurmAwayError, match="does not say what is alive"):
        site.submit(by=scheduler)
    assert site.counted("sbatch") == [0]


@pytest.mark.parametrize("said", ["sacct: error: Unspecified error\n", "sacct: fatal: no such thing\n"])
def test_strange_answer_to_the_look_for_a_job_keeps_its_note(site: Site, said: str) -> None:
    scheduler = site.scheduler()
    scheduler.tidy(site.group, NAMES)
    site.fake.plan("sbatch", *[Mishap(carried_out=True, error=UNREACHABLE, code=1), *[Mishap()] * 5])
    site.fake.plan("squeue", *[Mishap(error="squeue: error: Unspecified error\n", code=1)] * 20)
    site.fake.plan("sacct", *[Mishap(error=said, code=1)] * 20)
    with pytest.raises(SlurmAwayError):
        site.submit(by=scheduler)
    assert [note.job_id for note in site.notes] == [None]


def test_refusal_of_a_second_attempt_keeps_the_note(site: Site) -> None:
    """What became of the first one is not known for sure."""
    refused = Mishap(error=FAILURES["unknown_partition"]["stderr"], code=1)
    site.fake.plan("sbatch", Mishap(error=UNREACHABLE, code=1), *[refused] * 9)
    with pytest.raises(SlurmAwayError, match="Invalid partition"):
        site.submit()
    assert len(site.notes) == 1
