"""Looking at jobs of Slurm, putting in order what commands left behind, and cancelling."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from fake_slurm import Mishap
from slurm_site import CALIBRATION, NAME, NAMES, QUICK, UNREACHABLE, KilledError, Site, before

from osa.errors import AnotherInstanceError
from osa.model.job import UNCONFIRMED, JobState
from osa.scheduler.slurm_calls import SlurmAwayError, SlurmCalls
from osa.scheduler.submissions import Submissions

PENDING, RUNNING, COMPLETED = JobState.PENDING, JobState.RUNNING, JobState.COMPLETED
CANCELLED, UNKNOWN, FAILED = JobState.CANCELLED, JobState.UNKNOWN, JobState.FAILED
NODE_FAIL = JobState.NODE_FAIL
AWAY = Mishap(error=UNREACHABLE, code=1)
NEVER = "DependencyNeverSatisfied"


def latest(site: Site, name: str = NAME) -> list[JobState]:
    return [r.state for r in site.records() if r.name == name]


# ---------------------------------------------------------------------------------- looking


def test_slurm_is_not_asked_where_nothing_was_submitted(site: Site) -> None:
    assert site.records() == ()
    assert site.counted("squeue", "sacct") == [0, 0]
    assert not site.group.submissions.exists()


def test_cluster_without_accounting_is_told_by_its_queue(site: Site) -> None:
    site.submit()
    disabled = Mishap(error="sacct: error: Slurm accounting storage is disabled\n", code=1)
    site.fake.plan("sacct", disabled)
    assert set(latest(site)) == {PENDING}
    (warning,) = site.warnings
    assert "accounting storage is disabled" in warning


def test_silence_is_told_once_and_again_after_an_answer(site: Site) -> None:
    site.submit()
    site.fake.plan("squeue", AWAY, AWAY, Mishap(carried_out=True), AWAY)
    scheduler = site.scheduler()
    told = []
    for _ in range(4):
        scheduler.records(site.group)
        told.append(len(site.warnings))
    assert told == [1, 1, 1, 2]


def test_clock_that_is_an_hour_ahead_of_slurms(site: Site) -> None:
    site.later = timedelta(hours=1)
    site.submit()
    site.fake.drain()
    assert set(latest(site)) == {COMPLETED}


@pytest.mark.parametrize("jobs", [1, 3, 20])
def test_one_question_to_each_whatever_there_is(site: Site, jobs: int) -> None:
    scheduler = site.scheduler()
    for run in range(jobs):
        site.submit(f"LST1_{run:05d}", (0,), by=scheduler)
    asked = site.counted("squeue", "sacct")
    assert len(site.records()) == jobs
    assert site.counted("squeue", "sacct") == [count + 1 for count in asked]
    assert len(site.tidy()) == jobs
    assert site.counted("squeue", "sacct") == [count + 2 for count in asked]


def test_submissions_of_a_night_ask_once(site: Site) -> None:
    scheduler = site.scheduler()
    scheduler.tidy(site.group, NAMES)
    for name in NAMES:
        site.submit(name, by=scheduler)
    assert site.counted("sbatch", "squeue", "sacct") == [3, 1, 0]


def test_accounting_is_not_asked_of_what_is_settled(site: Site) -> None:
    site.submit()
    site.fake.drain()
    site.tidy()
    asked = site.counted("sacct")
    known = site.records()
    assert site.tidy() == known
    assert site.counted("sacct") == asked
    assert [r.state for r in known] == [COMPLETED, COMPLETED]


def test_accounting_is_asked_only_of_what_is_open(site: Site) -> None:
    site.submit(CALIBRATION, ())
    site.fake.drain()
    site.tidy()
    site.submit()
    site.records()
    assert f"--name={NAME}" in site.fake.calls("sacct")[-1]


def test_looking_writes_nothing(site: Site) -> None:
    site.submit()
    site.fake.drain()
    notes = site.notes
    site.records()
    assert site.notes == notes


def test_end_is_remembered_when_slurm_knows_it_no_more(site: Site) -> None:
    job_id = site.submit()
    site.fake.drain()
    known = site.tidy()
    site.fake.lose(job_id)
    assert site.tidy() == site.records() == known


def test_end_that_nobody_remembers_is_told_by_the_accounting(site: Site) -> None:
    job_id = site.submit()
    site.fake.drain()
    site.fake.forget(job_id)
    assert latest(site) == [COMPLETED, COMPLETED]


@pytest.mark.parametrize("silent", [("squeue",), ("sacct",), ("squeue", "sacct")])
def test_slurm_that_is_away_ends_nothing(site: Site, silent: tuple[str, ...]) -> None:
    job_id = site.submit()
    site.fake.begin(job_id, 0)
    known = [r.state for r in site.tidy()]
    for command in silent:
        site.fake.plan(command, AWAY)
    assert latest(site) == known == [RUNNING, PENDING]
    assert len(site.warnings) == len(silent)
    assert all("states are as they were last known" in warning for warning in site.warnings)


def test_submitting_while_slurm_is_away(site: Site) -> None:
    for command in ("squeue", "sacct", "sbatch", "scontrol"):
        site.fake.plan(command, *[AWAY] * 50)
    assert site.tidy() == ()
    with pytest.raises(SlurmAwayError) as caught:
        site.submit(tasks=())
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("times", [1, 4])
def test_accounting_that_tells_nothing_ends_nothing(site: Site, times: int) -> None:
    job_id = site.submit()
    site.fake.begin(job_id, 0)
    site.fake.begin(job_id, 1)
    site.tidy()
    for index in (0, 1):
        site.fake.end(job_id, index)
    site.fake.forget(job_id)
    for _ in range(times):
        site.fake.plan("sacct", Mishap(), Mishap(), Mishap())
        assert [r.state for r in site.tidy()] == [UNKNOWN, UNKNOWN]
        with pytest.raises(AnotherInstanceError):  # which looks twice
            site.submit()
    assert [r.state for r in site.tidy()] == [COMPLETED, COMPLETED]


@pytest.mark.parametrize("state", ["PENDING", "RUNNING"])
def test_queue_that_is_empty_by_mistake_ends_nothing(site: Site, state: str) -> None:
    job_id = site.submit()
    if state == "RUNNING":
        site.fake.begin(job_id, 0)
        site.fake.begin(job_id, 1)
    site.tidy()
    site.fake.plan("squeue", Mishap())
    site.fake.plan("sacct", Mishap())
    assert [r.state for r in site.tidy()] == [UNKNOWN, UNKNOWN]
    assert [r.state.value for r in site.tidy()] == [state, state]


def test_requeued_task_has_two_tries(site: Site) -> None:
    job_id = site.submit(tasks=(0,))
    site.fake.begin(job_id, 0)
    site.fake.requeue(job_id, 0)
    assert [(r.state, r.reason) for r in site.tidy()] == [(CANCELLED, "REQUEUED"), (PENDING, "BeginTime")]
    site.fake.begin(job_id, 0)
    site.fake.end(job_id, 0)
    assert latest(site) == [CANCELLED, COMPLETED]


def test_lost_node_and_a_second_try(site: Site) -> None:
    job_id = site.submit(tasks=(0,))
    site.fake.begin(job_id, 0)
    site.tidy()
    site.fake.requeue(job_id, 0)
    with site.fake.state() as state:
        state["tasks"][0]["state"] = "NODE_FAIL"
    assert [r.state for r in site.tidy()] == [NODE_FAIL, PENDING]
    with pytest.raises(AnotherInstanceError):
        site.submit(tasks=(0,))
    site.fake.forget(job_id)
    site.fake.plan("sacct", Mishap())
    assert latest(site) == [NODE_FAIL, UNKNOWN]


def test_number_of_a_job_is_used_again(site: Site) -> None:
    job_id = site.submit(tasks=(0,))
    site.fake.drain()
    site.tidy()
    site.fake.lose(job_id)
    with site.fake.state() as state:
        state["jobs"] = 0  # the cluster was set up anew
    assert site.submit("LST1_01875", (0,)) == job_id
    assert site.states() == [(NAME, 0, COMPLETED), ("LST1_01875", 0, PENDING)]


def test_old_record_of_the_same_name_and_number(site: Site) -> None:
    job_id = site.submit(tasks=(0,))
    with site.fake.state() as state:
        old = {**state["tasks"][0], "state": "FAILED", "in_queue": False}
        state["tasks"].insert(0, old | {"submitted": old["submitted"] - 86400, "ended": old["submitted"]})
    assert [(r.job_id, r.state) for r in site.records()] == [(job_id, PENDING)]


# ---------------------------------------------------------------------------------- putting in order


@pytest.mark.parametrize("kill", [True, False])
def test_dependants_that_can_never_run_are_cancelled(site: Site, kill: bool) -> None:
    parent = site.submit(CALIBRATION, (), body="sys.exit(1)")
    child = site.submit(after=parent)
    site.fake.change(child, whole=True, kill=kill)
    site.fake.drain()
    assert [(r.state, r.reason) for r in site.tidy() if r.name == NAME] == [(CANCELLED, NEVER)] * 2
    assert site.fake.calls("scancel") == ([] if kill else [[child]])
    site.fake.forget(child)
    assert latest(site) == [CANCELLED, CANCELLED]
    site.submit()  # nothing is in its way
    site.fake.drain()
    assert len(site.bench.attempts) == 2


def test_looking_cancels_nothing(site: Site) -> None:
    parent = site.submit(CALIBRATION, (), body="sys.exit(1)")
    site.fake.change(site.submit(after=parent), whole=True, kill=False)
    site.fake.drain()
    assert latest(site) == [PENDING, PENDING]
    assert site.fake.calls("scancel") == []


def test_dependants_cancelled_that_only_the_accounting_knows(site: Site) -> None:
    parent = site.submit(CALIBRATION, (), body="sys.exit(1)")
    child = site.submit(after=parent)
    site.fake.drain()
    site.fake.forget(child)
    assert [(r.state, r.reason, r.started) for r in site.records() if r.name == NAME] == [
        (CANCELLED, NEVER, None)
    ] * 2


def test_stray_job_is_taken_over(site: Site) -> None:
    job_id = site.submit(tasks=(3, 4))
    (path,) = site.group.submissions.iterdir()
    path.unlink()
    assert site.records() == ()
    assert [(r.job_id, r.task, r.state) for r in site.tidy()] == [(job_id, 3, PENDING), (job_id, 4, PENDING)]
    assert f"{NAME}: job {job_id} is in the queue without a note; taken over" in site.warnings
    with pytest.raises(AnotherInstanceError):
        site.submit(tasks=(3,))
    site.fake.drain()
    assert latest(site) == [COMPLETED, COMPLETED]


def test_strays_of_one_name_are_all_taken_over(site: Site) -> None:
    jobs = [site.submit(tasks=(task,)) for task in (0, 1)]
    for path in site.group.submissions.iterdir():
        path.unlink()
    site.tidy()
    assert [(note.number, note.job_id) for note in site.notes] == [(1, jobs[0]), (2, jobs[1])]


def test_job_of_a_lost_reply_is_no_stray(site: Site) -> None:
    job_id = site.submit()
    (note,) = site.notes
    Submissions(site.group.submissions).update(replace(note, job_id=None))
    assert [r.job_id for r in site.tidy()] == [job_id, job_id]
    assert [note.job_id for note in site.notes] == [job_id]


def test_job_in_another_folder_is_let_be(site: Site) -> None:
    site.scheduler().submit(site.bench.job(NAME, tasks=(0,), group="LST2.20200127.v0.1.0"))
    assert site.tidy() == ()
    assert site.scheduler().cancel(site.group, NAMES) == 0
    assert site.fake.calls("scancel") == []


# ---------------------------------------------------------------------------------- cancelling


def test_only_what_is_named_is_cancelled(site: Site) -> None:
    first, second = site.submit(), site.submit("LST1_01875")
    assert site.scheduler().cancel(site.group, [NAME]) == 2
    assert site.fake.calls("scancel") == [[first]]
    site.fake.drain()
    assert latest(site) == [CANCELLED, CANCELLED]
    assert latest(site, "LST1_01875") == [COMPLETED, COMPLETED]
    assert second != first


def test_task_cancelled_by_hand_before_it_began(site: Site) -> None:
    job_id = site.submit(tasks=(0, 1))
    SlurmCalls(site.fake.environment).scancel([f"{job_id}_1"])
    assert latest(site) == [PENDING, CANCELLED]
    site.fake.drain()
    site.fake.forget(job_id)
    assert [r.state for r in site.tidy()] == [COMPLETED, CANCELLED]
    site.submit(tasks=(1,))
    site.fake.drain()
    assert site.bench.attempts == [f"{NAME} 0 ran", f"{NAME} 1 ran"]


def test_job_that_nobody_knows_is_given_up(site: Site) -> None:
    job_id = site.submit()
    site.tidy()
    site.fake.lose(job_id)
    assert [r.state for r in site.tidy()] == [UNKNOWN, UNKNOWN]
    assert site.scheduler().cancel(site.group, [NAME]) == 2
    assert site.fake.calls("scancel") == []
    assert {(r.state, r.reason) for r in site.records()} == {
        (CANCELLED, "given up: Slurm knows nothing of it")
    }
    site.submit()
    site.fake.drain()
    assert len(site.bench.attempts) == 2


def test_intent_without_a_job_is_given_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(SlurmCalls, "sbatch", before(SlurmCalls.sbatch))
        with pytest.raises(KilledError):
            site.submit()
    assert [r.job_id for r in site.records()] == [UNCONFIRMED] * 2
    site.later = QUICK.confirmation / 2
    assert site.scheduler().cancel(site.group, [NAME]) == 2
    assert site.records() == ()


def test_nothing_is_given_up_while_the_accounting_is_silent(site: Site) -> None:
    job_id = site.submit()
    site.tidy()
    site.fake.lose(job_id)
    site.fake.plan("sacct", AWAY)
    site.scheduler().cancel(site.group, [NAME])
    assert {r.state for r in site.records()} == {UNKNOWN}


def test_nothing_is_cancelled_while_the_queue_is_silent(site: Site) -> None:
    site.submit()
    site.fake.plan("squeue", AWAY)
    with pytest.raises(SlurmAwayError, match="nothing was cancelled"):
        site.scheduler().cancel(site.group, [NAME])
    assert site.fake.calls("scancel") == []
    assert latest(site) == [PENDING, PENDING]


def test_cancelling_that_slurm_does_not_hear_is_told(site: Site) -> None:
    site.submit()
    site.fake.plan("scancel", AWAY)
    with pytest.raises(SlurmAwayError):
        site.scheduler().cancel(site.group, [NAME])
    assert latest(site) == [PENDING, PENDING]


def test_what_ended_is_not_cancelled(site: Site) -> None:
    site.submit()
    site.fake.drain()
    assert site.scheduler().cancel(site.group, NAMES) == 0
    assert site.fake.calls("scancel") == []
    assert latest(site) == [COMPLETED, COMPLETED]


def test_clock_that_is_behind_does_not_lose_the_job(site: Site) -> None:
    site.later = timedelta(minutes=1.9)  # ours is ahead of Slurm's
    site.submit()
    site.fake.drain()
    assert latest(site) == [COMPLETED, COMPLETED]
    site.later = -timedelta(hours=1)
    site.submit("LST1_01875")
    assert latest(site, "LST1_01875") == [PENDING, PENDING]
