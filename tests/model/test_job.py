from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osa.model.job import JobState, Resources, TaskRecord, live_tries, overall_state


def test_unknown_counts_as_alive():
    live = {state for state in JobState if state.is_live}
    assert live == {JobState.PENDING, JobState.RUNNING, JobState.UNKNOWN}


def test_no_task_has_no_state():
    assert overall_state([]) is None


@given(st.lists(st.sampled_from(JobState), min_size=1))
def test_the_overall_state_is_one_of_the_states(states):
    assert overall_state(states) in states
    assert overall_state(states) == overall_state(reversed(states))


@given(st.lists(st.sampled_from(JobState), min_size=1))
def test_only_completed_tasks_make_a_completed_job(states):
    is_completed = overall_state(states) is JobState.COMPLETED
    assert is_completed == (set(states) == {JobState.COMPLETED})


@given(st.lists(st.sampled_from(JobState), min_size=1))
def test_a_job_is_alive_as_long_as_one_of_its_tasks(states):
    assert overall_state(states).is_live == any(state.is_live for state in states)


@pytest.mark.parametrize(
    "amounts",
    [(0, 1, timedelta(1)), (1, 0, timedelta(1)), (1, 1, timedelta(0)), (1, 1, timedelta(-1))],
)
def test_a_task_needs_something_of_everything(amounts):
    with pytest.raises(ValueError, match="must be positive"):
        Resources(*amounts)


def test_older_job_is_alive_although_a_newer_one_has_ended() -> None:
    when = datetime(2020, 1, 28, tzinfo=UTC)

    def tried(job_id: str, state: JobState) -> TaskRecord:
        return TaskRecord(job_id, "LST1_01874", 0, state, when)

    again = tried("1", JobState.RUNNING)
    tries = (tried("1", JobState.NODE_FAIL), again, tried("2", JobState.FAILED))
    assert live_tries(tries) == (again,)
    assert live_tries((again, tried("1", JobState.COMPLETED))) == ()
