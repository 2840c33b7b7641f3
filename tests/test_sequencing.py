"""Submitting what is missing: diagnosed, decided, vetoed, submitted."""

from __future__ import annotations

import pytest
from failed_tries import NO_POINTING, Failures
from made_up_scheduler import MadeUpScheduler
from night_states import add_done_histories, add_name_only_products, calibration_sequence, night_plan

from osa.decision import Action
from osa.errors import OsaError
from osa.layout import Layout
from osa.model.job import JobState
from osa.sequencing import decide_night, submit_missing

OOM, TIMEOUT, CANCELLED = JobState.OUT_OF_MEMORY, JobState.TIMEOUT, JobState.CANCELLED


@pytest.fixture
def calibrated(layout: Layout) -> Layout:
    add_done_histories(layout, calibration_sequence())
    add_name_only_products(layout, calibration_sequence())
    return layout


def run(layout: Layout, tries: Failures, scheduler: MadeUpScheduler | None = None) -> MadeUpScheduler:
    scheduler = scheduler or MadeUpScheduler()
    plan = night_plan()
    submit_missing(layout, plan, decide_night(layout, plan, tries.records, simulate=False), scheduler)
    return scheduler


def test_tasks_get_what_each_needs(calibrated: Layout) -> None:
    tries = Failures(calibrated)
    tries.add(OOM, task=1)
    tries.add(CANCELLED, task=2)
    assert sorted(run(calibrated, tries).taken) == [
        ("LST1_01874", (0, 2), 8192),
        ("LST1_01874", (1,), 16384),
    ]


def test_more_memory_and_more_time_are_two_jobs(calibrated: Layout) -> None:
    tries = Failures(calibrated)
    tries.add(OOM, task=0)
    tries.add(TIMEOUT, task=1)
    tries.add(OOM, task=2)
    jobs = run(calibrated, tries).jobs
    assert {(job.tasks, job.resources.memory, str(job.resources.walltime)) for job in jobs} == {
        ((0, 2), 16384, "6:00:00"),
        ((1,), 8192, "12:00:00"),
    }


def test_veto_is_put_once_with_its_reason(calibrated: Layout) -> None:
    tries = Failures(calibrated)
    for _ in range(2):
        for task in range(3):
            tries.add(OOM, task=task)
    assert run(calibrated, tries).jobs == []
    veto = calibrated.veto(tries.sequence)
    first = veto.read_text("utf-8")
    assert "sub-runs 0-2" in first and "--unveto 1874" in first
    veto.write_text("by an operator: mine\n", "utf-8")
    run(calibrated, tries)
    assert veto.read_text("utf-8") == "by an operator: mine\n"


def test_run_is_not_vetoed_while_others_of_its_subruns_can_be_made(calibrated: Layout) -> None:
    tries = Failures(calibrated)
    tries.add(OOM, task=0)
    tries.add(OOM, task=0)
    assert run(calibrated, tries).taken == [("LST1_01874", (1, 2), 8192)]
    assert not calibrated.veto(tries.sequence).exists()


def test_what_is_to_be_left_out_is_not_tried_again(calibrated: Layout) -> None:
    tries = Failures(calibrated)
    tries.add(task=1, log=NO_POINTING)
    assert run(calibrated, tries).taken == [("LST1_01874", (0, 2), 8192)]
    assert not calibrated.veto(tries.sequence).exists()


def test_looking_neither_submits_nor_vetoes(calibrated: Layout) -> None:
    tries = Failures(calibrated)
    for task in (0, 0, 1, 1, 2, 2):
        tries.add(OOM, task=task)
    plan, scheduler = night_plan(), MadeUpScheduler()
    decisions = decide_night(calibrated, plan, tries.records, simulate=True)
    assert [d.action for d in decisions] == [Action.CHECK, Action.VETO]
    assert not calibrated.veto(tries.sequence).exists()
    assert submit_missing(calibrated, plan, (), scheduler) == 0


def test_calibration_with_more_memory_is_waited_for(layout: Layout) -> None:
    tries = Failures(layout, calibration_sequence())
    tries.add(OOM)
    scheduler = run(layout, tries)
    assert scheduler.taken == [("LST1_01873", (), 16384), ("LST1_01874", (0, 1, 2), 8192)]
    assert scheduler.after == [None, "101"]


def test_calibration_that_is_given_up_is_vetoed_and_the_data_stays(layout: Layout) -> None:
    tries = Failures(layout, calibration_sequence())
    tries.add(OOM)
    tries.add(OOM)
    assert run(layout, tries).jobs == []
    assert layout.veto(calibration_sequence()).exists()


def test_calibration_that_the_scheduler_forgot_is_judged_by_its_products(calibrated: Layout) -> None:
    calibrated.history(1873).unlink()  # so it seems to be at work while the decision is taken
    tries = Failures(calibrated, calibration_sequence())
    tries.add(JobState.RUNNING, exit_code=None)
    plan, scheduler = night_plan(), MadeUpScheduler(forgets=True)
    decisions = decide_night(calibrated, plan, tries.records, simulate=False)
    with pytest.raises(OsaError, match="run sequencer again later"):
        submit_missing(calibrated, plan, decisions, scheduler)
    assert scheduler.jobs == []
    add_done_histories(calibrated, calibration_sequence())
    submit_missing(calibrated, plan, decisions, scheduler)
    assert scheduler.after == [None]
