"""Jobs from records alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from osa.model.job import JobState
from osa.provenance.jobs import tasks_of_tries
from osa.records.model import JobIds, Status
from tests.provenance.stories import attempt


def step(number, name="r0_to_dl1", job="17", task=0, restart=0, **more):
    return replace(attempt(number, name, 0, [], []), job=JobIds(job, task, restart), **more)


def test_steps_of_one_task_are_one_job():
    tries = [step(1), step(2, "datacheck"), step(3, "dl1_to_dl2")]
    (task,) = tasks_of_tries(tries)
    assert (task.name, task.job_id, task.task, task.state) == ("LST1_01874", "17", 0, JobState.COMPLETED)
    assert (task.submitted, task.started, task.ended) == (tries[0].started, tries[0].started, tries[2].ended)
    assert task.exit_code == 0
    assert task.cpu_time == timedelta(seconds=sum(record.cpu_time for record in tries))


def test_tasks_restarts_and_jobs_are_told_apart_and_come_by_time():
    tries = [step(9, job="18"), step(1), step(2, task=1), step(3, restart=1)]
    found = [(task.job_id, task.task, task.submitted) for task in tasks_of_tries(tries)]
    assert found == [
        ("17", 0, tries[1].started),
        ("17", 1, tries[2].started),
        ("17", 0, tries[3].started),
        ("18", 0, tries[0].started),
    ]


def test_what_ran_in_no_job_is_none():
    assert tasks_of_tries([step(1, job=None, task=None, restart=None)]) == ()


@pytest.mark.parametrize(
    ("ends", "state", "code"),
    [
        ([{"status": Status.FAILED, "exit_code": 3}], JobState.FAILED, 3),
        ([{"status": Status.UNFINISHED, "ended": None, "exit_code": None}], JobState.UNKNOWN, None),
        ([{}, {"status": Status.FAILED, "exit_code": -9}], JobState.FAILED, -9),
        ([{}, {"status": Status.UNFINISHED, "ended": None, "exit_code": None}], JobState.UNKNOWN, None),
    ],
)
def test_state_is_that_of_the_worst_step(ends, state, code):
    (task,) = tasks_of_tries([step(number, **how) for number, how in enumerate(ends, start=1)])
    assert (task.state, task.exit_code) == (state, code)
    assert (task.ended is None) is (state is JobState.UNKNOWN)
