"""What is known of tasks, rule by rule: notes, queue and accounting put together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osa.model.job import UNCONFIRMED, JobState, TaskRecord
from osa.scheduler.slurm_states import CLOCK_SLACK, SAME_JOB, Answers, complete, evidence, find_job, tries
from osa.scheduler.submissions import Submission

NAME = "LST1_01874"
WHEN = datetime(2026, 11, 24, 20, 0, tzinfo=UTC)
PENDING, RUNNING, COMPLETED = JobState.PENDING, JobState.RUNNING, JobState.COMPLETED
FAILED, CANCELLED, UNKNOWN = JobState.FAILED, JobState.CANCELLED, JobState.UNKNOWN
NODE_FAIL = JobState.NODE_FAIL
Records = tuple[TaskRecord, ...]


def submission(*tasks: int, known: Iterable[TaskRecord] = (), **changes: object) -> Submission:
    made = Submission(NAME, 1, tasks, 0, WHEN, "12", tuple(known))
    return replace(made, **changes)  # type: ignore[arg-type]


def record(state: JobState, task: int | None = 0, *, after: float = 1, **changes: object) -> TaskRecord:
    """The record of a task, submitted so many seconds after it was intended."""
    made = TaskRecord("12", NAME, task, state, WHEN + timedelta(seconds=after))
    return replace(made, **changes)  # type: ignore[arg-type]


def told(made: Submission, queue: Records | None, accounting: Records | None) -> list[TaskRecord]:
    (found,) = tries([made], Answers(queue, accounting))
    return list(found)


def states(
    made: Submission, queue: Records | None, accounting: Records | None
) -> list[tuple[int | None, JobState]]:
    return [(r.task, r.state) for r in told(made, queue, accounting)]


# ------------------------------------------------------------------------ one task, one try


@pytest.mark.parametrize(
    ("queue", "accounting", "expected"),
    [
        (PENDING, None, PENDING),  # not accounted for yet
        (RUNNING, None, RUNNING),
        (PENDING, PENDING, PENDING),
        (RUNNING, PENDING, RUNNING),  # the accounting lags
        (PENDING, COMPLETED, COMPLETED),  # ended between the two questions
        (RUNNING, FAILED, FAILED),
        (COMPLETED, RUNNING, COMPLETED),  # ended, not accounted for yet
        (CANCELLED, PENDING, CANCELLED),
        (FAILED, None, FAILED),
        (None, COMPLETED, COMPLETED),
        (None, FAILED, FAILED),
        (None, RUNNING, UNKNOWN),  # gone from the queue, and how it ended is not told
        (None, PENDING, UNKNOWN),
        (None, None, UNKNOWN),
    ],
)
def test_queue_and_accounting(
    queue: JobState | None, accounting: JobState | None, expected: JobState
) -> None:
    queued = () if queue is None else (record(queue),)
    accounted = () if accounting is None else (record(accounting),)
    assert states(submission(0), queued, accounted) == [(0, expected)]


@pytest.mark.parametrize("state", [state for state in JobState if not state.is_live])
@pytest.mark.parametrize("queue", [None, ()])
@pytest.mark.parametrize("accounting", [None, ()])
def test_end_that_is_remembered_stays(
    state: JobState, queue: Records | None, accounting: Records | None
) -> None:
    known = record(state, exit_code=3, host="n1")
    assert told(submission(0, known=[known]), queue, accounting) == [known]


@pytest.mark.parametrize("state", [PENDING, RUNNING])
def test_no_answer_leaves_the_state_as_it_was(state: JobState) -> None:
    known = record(state)
    assert told(submission(0, known=[known]), None, None) == [known]
    assert told(submission(0, known=[known]), None, ()) == [known]


@pytest.mark.parametrize("state", [PENDING, RUNNING])
@pytest.mark.parametrize("accounting", [None, ()])
def test_empty_answer_ends_nothing(state: JobState, accounting: Records | None) -> None:
    (found,) = told(submission(0, known=[record(state)]), (), accounting)
    assert found.state is UNKNOWN and found.state.is_live
    assert found.reason == "left the queue, its end is not accounted for yet"


@pytest.mark.parametrize("queue", [None, ()])
def test_accounting_alone_is_believed(queue: Records | None) -> None:
    ended = record(COMPLETED, exit_code=0)
    assert told(submission(0, known=[record(RUNNING)]), queue, (ended,)) == [ended]


def test_accounting_is_believed_more_than_memory() -> None:
    before, now = record(NODE_FAIL), record(COMPLETED, after=100)
    assert states(submission(0, known=[before]), (), (before, now)) == [(0, NODE_FAIL), (0, COMPLETED)]


def test_record_that_is_told_has_more_than_that_of_the_queue() -> None:
    ended = record(COMPLETED, exit_code=0, ended=WHEN)
    assert told(submission(0), (record(COMPLETED),), (ended,)) == [ended]


def test_job_of_which_nothing_was_ever_heard() -> None:
    (found,) = told(submission(), (), ())
    assert (found.job_id, found.task, found.state) == ("12", None, UNKNOWN)
    assert found.submitted == WHEN
    assert found.reason == "neither queue nor accounting know it"


def test_submission_without_a_job_is_unknown() -> None:
    found = told(submission(0, 1, job_id=None), (record(RUNNING),), (record(COMPLETED),))
    assert [(r.job_id, r.task, r.state) for r in found] == [
        (UNCONFIRMED, 0, UNKNOWN),
        (UNCONFIRMED, 1, UNKNOWN),
    ]


# -------------------------------------------------------------------------- several tries


def test_requeued_task_waits_in_the_queue() -> None:
    lost, again = record(NODE_FAIL), record(PENDING, after=60)
    for accounting in ((lost,), (lost, record(PENDING, after=60))):
        assert states(submission(0), (again,), accounting) == [(0, NODE_FAIL), (0, PENDING)]


def test_requeued_task_of_which_the_accounting_knows_the_first_try_as_running() -> None:
    found = told(submission(0), (record(RUNNING, after=60),), (record(RUNNING),))
    assert found[-1] == record(RUNNING, after=60)


def test_tries_are_in_the_order_of_their_time() -> None:
    first, second = record(NODE_FAIL), record(COMPLETED, after=60)
    assert told(submission(0), (), (second, first)) == [first, second]


def test_tries_of_several_tasks_are_by_task_then_time() -> None:
    lost = tuple(record(NODE_FAIL, task) for task in (1, 0))
    again = tuple(record(COMPLETED, task, after=60) for task in (1, 0))
    found = states(submission(0, 1), (), lost + again)
    assert found == [(0, NODE_FAIL), (0, COMPLETED), (1, NODE_FAIL), (1, COMPLETED)]


def test_end_of_a_requeued_task_replaces_nothing() -> None:
    lost = record(NODE_FAIL)
    ended = record(COMPLETED, after=60)
    assert told(submission(0, known=[lost, record(PENDING, after=60)]), (), (lost, ended)) == [lost, ended]


def test_requeued_task_that_left_the_queue_is_unknown_after_its_first_try() -> None:
    known = [record(NODE_FAIL), record(RUNNING, after=60)]
    assert states(submission(0, known=known), (), ()) == [(0, NODE_FAIL), (0, UNKNOWN)]


# ------------------------------------------------------------- which record is of which job


def test_index_within_the_array_becomes_the_sub_run() -> None:
    made = submission(1000, 1004, offset=1000)
    found = told(made, (record(RUNNING, 4),), (record(COMPLETED, 0),))
    assert [(r.task, r.state) for r in found] == [(1000, COMPLETED), (1004, RUNNING)]


def test_what_is_remembered_has_sub_runs() -> None:
    known = record(COMPLETED, 1000)
    assert told(submission(1000, offset=1000, known=[known]), (), ()) == [known]


@pytest.mark.parametrize("change", [{"name": "LST1_01875"}, {"job_id": "13"}, {"task": 1}, {"task": None}])
def test_records_of_others_are_not_taken(change: dict[str, object]) -> None:
    other = replace(record(COMPLETED), **change)  # type: ignore[arg-type]
    found = told(submission(0), (other,), None)
    assert [(r.task, r.state) for r in found] == [(0, UNKNOWN)]


def test_older_job_of_the_same_number_is_not_meant() -> None:
    limit = SAME_JOB.total_seconds()
    old = record(COMPLETED, after=-limit - 1)
    assert states(submission(0), (record(RUNNING),), (old,)) == [(0, RUNNING)]
    assert states(submission(0), (), (old,)) == [(0, UNKNOWN)]
    recent = record(COMPLETED, after=-limit)
    assert states(submission(0), (), (recent,)) == [(0, COMPLETED)]


def test_older_job_of_the_same_number_in_the_queue_is_not_meant() -> None:
    old = record(FAILED, after=-SAME_JOB.total_seconds() - 1)
    assert states(submission(0), (old,), ()) == [(0, UNKNOWN)]


def test_each_submission_has_its_own() -> None:
    made = [submission(0), submission(1, number=2, job_id="13"), submission(2, number=3, job_id=None)]
    queue = (record(RUNNING), record(PENDING, 1, job_id="13"))
    found = tries(made, Answers(queue, ()))
    assert [[(r.job_id, r.task, r.state) for r in each] for each in found] == [
        [("12", 0, RUNNING)],
        [("13", 1, PENDING)],
        [(UNCONFIRMED, 2, UNKNOWN)],
    ]


# ----------------------------------------------------- tasks taken out before they began


def test_pending_task_taken_out_of_its_array_leaves_no_trace() -> None:
    siblings = (record(PENDING, 1),)
    known = [record(PENDING, 0), record(PENDING, 1)]
    for remembered in ([], known):
        found = states(submission(0, 1, known=remembered), siblings, siblings)
        assert found == [(0, CANCELLED), (1, PENDING)]


@pytest.mark.parametrize(("queue", "accounting"), [(None, ()), ((), None), (None, None)])
def test_silence_takes_no_task_out(queue: Records | None, accounting: Records | None) -> None:
    sibling = (record(PENDING, 1),)
    answers = (sibling if queue == () else queue, sibling if accounting == () else accounting)
    known = [record(PENDING, 0), record(PENDING, 1)]
    assert all(state.is_live for _, state in states(submission(0, 1, known=known), *answers))


def test_task_that_ran_is_not_taken_out_by_silence() -> None:
    found = states(submission(0, 1, known=[record(RUNNING, 0)]), (record(PENDING, 1),), ())
    assert found == [(0, UNKNOWN), (1, PENDING)]


def test_task_taken_out_may_still_be_accounted_as_pending() -> None:
    accounted = (record(PENDING, 0), record(PENDING, 1))
    found = states(submission(0, 1), (record(PENDING, 1),), accounted)
    assert found == [(0, CANCELLED), (1, PENDING)]


def test_array_that_the_queue_does_not_know_says_nothing_of_its_tasks() -> None:
    accounted = (record(PENDING, 0), record(COMPLETED, 1))  # the accounting lags
    assert states(submission(0, 1), (), accounted) == [(0, UNKNOWN), (1, COMPLETED)]


def test_line_of_one_task_is_believed_more_than_that_of_its_array() -> None:
    accounted = (record(PENDING, 0), record(PENDING, 1), record(COMPLETED, 0))
    assert states(submission(0, 1), (record(PENDING, 1),), accounted) == [(0, COMPLETED), (1, PENDING)]


every = st.none() | st.sampled_from(JobState)


@given(every, every, every, st.booleans(), st.booleans())
def test_every_task_is_told_of_and_none_ends_by_itself(
    known: JobState | None,
    queue: JobState | None,
    accounting: JobState | None,
    queue_answers: bool,
    accounting_answers: bool,
) -> None:
    made = submission(0, known=[] if known is None else [record(known)])
    queued = (() if queue is None else (record(queue),)) if queue_answers else None
    accounted = (() if accounting is None else (record(accounting),)) if accounting_answers else None
    (found,) = told(made, queued, accounted)
    heard = {known, queue if queue_answers else None, accounting if accounting_answers else None}
    assert found.state.is_live or found.state in heard


# ----------------------------------------------------------------------------- lost jobs


def test_lost_job_is_found_in_either_answer() -> None:
    intent = submission(0, 1, job_id=None)
    records = (record(PENDING, 0), record(PENDING, 1))
    assert find_job(intent, Answers(records, ()), []) == "12"
    assert find_job(intent, Answers((), records), []) == "12"
    assert find_job(intent, Answers(None, records), []) == "12"
    assert find_job(intent, Answers((), ()), []) is None
    assert find_job(intent, Answers(None, None), []) is None


def test_lost_job_of_an_offset_is_found_by_its_indices() -> None:
    intent = submission(1000, offset=1000, job_id=None)
    assert find_job(intent, Answers((record(PENDING, 0),), ()), []) == "12"
    assert find_job(intent, Answers((record(PENDING, 1000),), ()), []) is None


@pytest.mark.parametrize(
    "change",
    [{"name": "LST1_01875"}, {"task": 2}, {"task": None}, {"submitted": WHEN - timedelta(hours=1)}],
)
def test_other_jobs_are_not_the_lost_one(change: dict[str, object]) -> None:
    intent = submission(0, 1, job_id=None)
    other = replace(record(PENDING), **change)  # type: ignore[arg-type]
    assert find_job(intent, Answers((other,), ()), []) is None


def test_job_of_another_submission_is_not_the_lost_one() -> None:
    intent = submission(0, job_id=None)
    both = (record(PENDING), record(PENDING, job_id="13"))
    assert find_job(intent, Answers(both, ()), ["12"]) == "13"
    assert find_job(intent, Answers(both, ()), ["12", "13"]) is None


def test_of_two_that_may_be_meant_it_is_the_last() -> None:
    """The other one is of notes that somebody has removed; if it is alive it is found as a stray."""
    intent = submission(0, job_id=None)
    both = (record(FAILED, after=-300), record(PENDING, job_id="13", after=3))
    assert find_job(intent, Answers(both, ()), []) == "13"


@pytest.mark.parametrize(("seconds", "found"), [(0.0, "12"), (-1.0, None)])
def test_job_is_looked_for_as_far_back_as_clocks_differ(seconds: float, found: str | None) -> None:
    old = record(PENDING, after=seconds - CLOCK_SLACK.total_seconds())
    assert find_job(submission(0, job_id=None), Answers((old,), ()), []) == found


def test_stray_jobs_are_found_in_the_queue() -> None:
    stray = (record(PENDING, 7, job_id="30"), record(RUNNING, 3, job_id="30", after=5))
    own = (record(RUNNING, 0),)
    other = (record(RUNNING, None, name="LST1_01899", job_id="31"),)
    mine, found = complete([submission(0)], Answers(stray + own + other, ()), [NAME, "LST1_01875"])
    assert mine == submission(0)
    assert (found.name, found.number, found.job_id) == (NAME, mine.number + 1, "30")
    assert (found.tasks, found.offset) == ((3, 7), 0)
    assert found.intended == WHEN + timedelta(seconds=1)


def test_stray_job_that_is_no_array() -> None:
    (found,) = complete([], Answers((record(RUNNING, None),), None), [NAME])
    assert (found.tasks, found.indices) == ((), {None})


def test_ended_jobs_are_no_strays() -> None:
    ended = (record(FAILED), record(COMPLETED, job_id="13"))
    assert complete([], Answers(ended, ended), [NAME]) == ()
    assert complete([], Answers(None, (record(RUNNING),)), [NAME]) == ()


def test_job_of_a_lost_reply_is_no_stray() -> None:
    (found,) = complete([submission(0, job_id=None)], Answers((record(RUNNING),), ()), [NAME])
    assert found.job_id == "12"


# ------------------------------------------------------------ what older records must not hide


def test_try_that_the_accounting_does_not_tell_yet_is_remembered() -> None:
    """Requeued, and the queue was silent when it was asked again."""
    again = record(PENDING, after=60)
    known = submission(0, known=(record(NODE_FAIL), again))
    assert [s for _, s in states(known, None, (record(NODE_FAIL),))] == [NODE_FAIL, PENDING]


def test_given_up_job_that_comes_back_is_alive() -> None:
    gone = replace(record(CANCELLED), submitted=WHEN + timedelta(seconds=0.8))
    assert states(submission(0, known=(gone,)), (record(RUNNING),), ()) == [(0, RUNNING)]


def test_end_that_was_told_with_more_is_kept() -> None:
    """The accounting told when it ended, the queue does not."""
    full = replace(record(COMPLETED), ended=WHEN + timedelta(minutes=5), exit_code=0)
    (found,) = told(submission(0, known=(full,)), (record(COMPLETED),), ())
    assert found == full


# -------------------------------------------------------------------- what is worth remembering


@pytest.mark.parametrize(
    ("known", "queue", "accounting", "remembered"),
    [
        ((), (), (), []),  # nobody has heard of it
        ((), (record(RUNNING),), (), [RUNNING]),
        # left the queue, and how it ended is not told: it was running, that is all
        ((replace(record(RUNNING), started=WHEN),), (), (), [RUNNING]),
        ((record(PENDING),), (), (), [PENDING]),
        ((), (), (record(FAILED),), [FAILED]),
        ((record(NODE_FAIL), replace(record(RUNNING, after=60), started=WHEN)), (), (), [NODE_FAIL, RUNNING]),
    ],
)
def test_only_what_slurm_told_is_remembered(
    known: Records, queue: Records, accounting: Records, remembered: list[JobState]
) -> None:
    found = evidence(told(submission(0, known=known), queue, accounting))
    assert [record.state for record in found] == remembered


def test_doubt_does_not_outlast_an_answer() -> None:
    """Pending once; then silence; then both answer, and it is gone from beside its siblings."""
    first = evidence(told(submission(0, 1), (), ()))
    assert first == ()
    sibling = (record(RUNNING, 1),)
    assert states(submission(0, 1, known=first), sibling, sibling) == [(0, CANCELLED), (1, RUNNING)]
