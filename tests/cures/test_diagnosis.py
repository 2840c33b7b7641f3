"""What ails tasks: causes, limits, what the next try gets; and that all this comes to an end."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from failed_tries import NO_MEMORY, NO_PEDESTALS, NO_POINTING, Failures, cut_raw, write_raw
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from night_states import SUBMITTED, calibration_sequence, data_sequence, record, sequence_state

from osa.config import Settings
from osa.cures.diagnosis import Diagnosis, diagnose, failures, job_settings, waiting_in_vain
from osa.cures.known import UNKNOWN_FAILURE
from osa.decision import Action, Decision, decide
from osa.flags import FreshStart
from osa.layout import Layout
from osa.model.job import JobState
from osa.model.night import Night
from osa.model.rule import Cure, Rule
from osa.model.sequence import Sequence, SequenceKind

FAILED, CANCELLED = JobState.FAILED, JobState.CANCELLED
OOM, TIMEOUT, NODE_FAIL = JobState.OUT_OF_MEMORY, JobState.TIMEOUT, JobState.NODE_FAIL
COMPLETED = JobState.COMPLETED
MEMORY, WALLTIME = 8192, timedelta(hours=6)  # of the shipped configuration


@pytest.fixture
def tries(layout: Layout) -> Failures:
    return Failures(layout)


def found(tries: Failures, task: int = 0, **how: object) -> Diagnosis:
    return diagnose(tries.layout, tries.state((task,), **how))[task]  # type: ignore[arg-type]


def summary(diagnosis: Diagnosis) -> tuple[str, int, Cure | None]:
    return diagnosis.rule.name, diagnosis.tries, diagnosis.cure


# ------------------------------------------------------------------- one cause, and its limit


@pytest.mark.parametrize(
    ("state", "name", "limit"),
    [(OOM, "out of memory", 1), (TIMEOUT, "time limit", 1), (NODE_FAIL, "lost node", 5)],
)
def test_cured_as_often_as_the_limit_says(tries: Failures, state: JobState, name: str, limit: int) -> None:
    for number in range(1, limit + 1):
        tries.add(state, exit_code=None)
        assert summary(found(tries)) == (name, number, Cure.RESUBMIT)
    tries.add(state, exit_code=None)
    assert summary(found(tries)) == (name, limit + 1, None)


def test_cancelled_as_often_as_anybody_likes(tries: Failures) -> None:
    for number in range(1, 30):
        tries.add(CANCELLED, exit_code=None)
        assert summary(found(tries)) == ("cancelled", number, Cure.RESUBMIT)


@pytest.mark.parametrize("most", [1, 2, 3])
def test_unknown_failures_count_as_often_as_configured(
    make_settings: Callable[..., Settings], night: Night, most: int
) -> None:
    tries = Failures(Layout(make_settings({("ANALYSIS", "maxtryfailed"): str(most)}), night))
    for _ in range(most - 1):
        tries.add()
        assert summary(found(tries)) == ("unknown failure", len(tries.records), Cure.RESUBMIT)
    tries.add()
    assert found(tries).cure is None


def test_unknown_failures_that_differ_are_not_the_same(tries: Failures) -> None:
    tries.add(exit_code=1)
    tries.add(exit_code=2)
    assert found(tries).cure is Cure.RESUBMIT
    tries.add(exit_code=2)
    assert found(tries).cure is None


@pytest.mark.parametrize("log", [NO_POINTING, NO_PEDESTALS])
def test_what_another_try_cannot_cure_is_left_out_at_once(tries: Failures, log: str) -> None:
    tries.add(task=2, log=log)
    diagnosis = found(tries, 2)
    assert (diagnosis.cure, diagnosis.resources) == (Cure.LEAVE_OUT, tries.layout.settings.data_job)


@pytest.mark.parametrize("n_events", [0, 10, 49])
def test_last_subrun_of_few_events_is_left_out(tries: Failures, n_events: int) -> None:
    write_raw(tries.layout.raw_file(1874, 2), n_events)
    tries.add(task=2)
    assert found(tries, 2).cure is Cure.LEAVE_OUT


@pytest.mark.filterwarnings("ignore:File may have been truncated")
def test_last_subrun_that_was_cut_short_is_left_out(tries: Failures) -> None:
    cut_raw(write_raw(tries.layout.raw_file(1874, 2), 1000))
    tries.add(task=2)
    assert found(tries, 2).rule.name == "last sub-run cut short"


@pytest.mark.filterwarnings("ignore:File may have been truncated")
def test_other_subruns_of_few_events_are_tried_again(tries: Failures) -> None:
    cut_raw(write_raw(tries.layout.raw_file(1874, 1), 1000))
    tries.add(task=1)
    assert summary(found(tries, 1)) == ("unknown failure", 1, Cure.RESUBMIT)


def test_last_file_that_is_there_is_not_the_last_subrun(layout: Layout) -> None:
    """Its successor may still be on its way from the telescope."""
    tries = Failures(layout, data_sequence(n_subruns=3, subruns=(0, 1)))
    write_raw(layout.raw_file(1874, 1), 10)
    tries.add(task=1)
    assert found(tries, 1).cure is Cure.RESUBMIT


def test_calibration_is_diagnosed_too(layout: Layout) -> None:
    tries = Failures(layout, calibration_sequence())
    tries.add(log=NO_MEMORY)
    assert summary(found(tries)) == ("out of memory", 1, Cure.RESUBMIT)
    assert found(tries).resources.memory == 2 * MEMORY
    assert found(tries).record is tries.records[-1]


# --------------------------------------------------------------------- several kinds in turn


def test_each_cause_has_its_own_limit_and_what_was_granted_stays(tries: Failures) -> None:
    tries.add(OOM)
    assert (found(tries).resources.memory, found(tries).resources.walltime) == (2 * MEMORY, WALLTIME)
    assert found(tries).what_it_gets == "16 GB"
    tries.add(TIMEOUT)
    assert (found(tries).resources.memory, found(tries).resources.walltime) == (2 * MEMORY, 2 * WALLTIME)
    assert found(tries).what_it_gets == "12:00:00"
    tries.add(NODE_FAIL)
    assert summary(found(tries)) == ("lost node", 1, Cure.RESUBMIT)
    assert (found(tries).resources.memory, found(tries).resources.walltime) == (2 * MEMORY, 2 * WALLTIME)
    tries.add(FAILED, log=NO_MEMORY)
    assert summary(found(tries)) == ("out of memory", 2, None)


def test_failures_of_a_known_kind_do_not_count_as_unknown_ones(tries: Failures) -> None:
    tries.add()
    tries.add(NODE_FAIL)
    assert found(tries).rule.name == "lost node"
    tries.add()
    assert found(tries).cure is Cure.RESUBMIT
    tries.add()
    assert found(tries).cure is None


def test_tasks_are_diagnosed_each_for_itself(tries: Failures) -> None:
    tries.add(OOM, task=0)
    tries.add(OOM, task=1)
    tries.add(NODE_FAIL, task=1)
    diagnoses = diagnose(tries.layout, tries.state((0, 1, 2)))
    assert {task: one.rule.name for task, one in diagnoses.items()} == {0: "out of memory", 1: "lost node"}


# --------------------------------------------------------------------- which tries count


def test_tries_before_a_success_do_not_count(tries: Failures) -> None:
    """A product was lost after it had been made: its task begins afresh."""
    tries.add(OOM)
    tries.add(COMPLETED, exit_code=0)
    assert diagnose(tries.layout, tries.state()) == {}
    tries.add(OOM)
    assert summary(found(tries)) == ("out of memory", 1, Cure.RESUBMIT)
    assert found(tries).resources.memory == 2 * MEMORY


def test_success_of_another_task_changes_nothing(tries: Failures) -> None:
    tries.add(OOM, task=0)
    tries.add(COMPLETED, exit_code=0, task=1)
    tries.add(OOM, task=0)
    assert found(tries).cure is None


@pytest.mark.parametrize(("jobs", "counted"), [((), 2), (("1",), 1), (("1", "2"), None), (("8", "9"), 2)])
@pytest.mark.parametrize("hours", [-100, 0, 100])
def test_tries_before_the_fresh_start_do_not_count(
    tries: Failures, jobs: tuple[str, ...], counted: int | None, hours: int
) -> None:
    """Which those are the jobs tell, whatever the clocks say."""
    tries.add(OOM)
    tries.add(OOM)
    fresh_start = FreshStart(SUBMITTED + timedelta(hours=hours), frozenset(jobs))
    diagnoses = diagnose(tries.layout, tries.state(fresh_start=fresh_start))
    assert (diagnoses[0].tries if diagnoses else None) == counted


def test_task_that_is_alive_is_not_diagnosed(tries: Failures) -> None:
    tries.add(OOM)
    tries.add(JobState.RUNNING, exit_code=None)
    assert diagnose(tries.layout, tries.state()) == {}


def test_task_that_is_done_is_not_diagnosed(tries: Failures) -> None:
    tries.add(OOM)
    assert diagnose(tries.layout, tries.state(())) == {}


def test_closed_and_blocked_sequences_are_not_diagnosed(layout: Layout) -> None:
    failed = record(state=FAILED)
    assert diagnose(layout, sequence_state(todo=(0,), records=[failed], closed=True)) == {}
    blocked = data_sequence(blocked="no raw files")
    assert diagnose(layout, sequence_state(blocked, todo=(0,), records=[failed])) == {}


def test_only_the_history_tells(layout: Layout) -> None:
    """The scheduler has forgotten: the histories alone say how often it was tried."""
    (diagnosis,) = diagnose(layout, sequence_state(todo=(0, 1), exhausted=(1,))).values()
    assert (diagnosis.task, diagnosis.rule, diagnosis.cure) == (1, UNKNOWN_FAILURE, None)
    assert diagnosis.record is None
    assert diagnosis.resources == layout.settings.data_job


def test_history_bounds_unknown_failures_whatever_was_cancelled_between(tries: Failures) -> None:
    tries.add()
    tries.add(CANCELLED)
    tries.add()
    assert found(tries).cure is Cure.RESUBMIT
    assert found(tries, exhausted=(0,)).cure is None


def test_history_is_believed_where_it_tells_of_failures(tries: Failures) -> None:
    """Another step may have failed each time: a job knows no steps."""
    for _ in range(5):
        tries.add()
        assert found(tries, failed=(0,)).cure is Cure.RESUBMIT
    assert found(tries).cure is None
    assert found(tries, failed=(1,)).cure is None
    assert found(tries, failed=(0,), exhausted=(0,)).cure is None
    tries.add()
    assert found(tries, failed=(0,)).cure is None  # three times MAXTRYFAILED in all


def test_history_does_not_keep_more_memory_from_a_task(tries: Failures) -> None:
    """Step and input are the same; what it gets is not."""
    tries.add(FAILED, exit_code=-9)
    assert found(tries, exhausted=(0,)).cure is Cure.RESUBMIT


def test_log_that_is_gone_makes_it_unknown(tries: Failures) -> None:
    tries.add(log=NO_MEMORY)
    tries.layout.job_log("LST1_01874", "1", 0).unlink()
    assert found(tries).rule is UNKNOWN_FAILURE


def test_logs_of_two_jobs_are_told_apart(tries: Failures) -> None:
    tries.add(log=NO_MEMORY)
    tries.add(log="KeyError: 'a'")
    assert summary(found(tries)) == ("unknown failure", 1, Cure.RESUBMIT)
    assert found(tries).resources.memory == 2 * MEMORY


def test_usual_resources_are_those_of_the_kind(make_settings: Callable[..., Settings], night: Night) -> None:
    layout = Layout(make_settings({("CALIBRATION JOB", "memory"): "3 GB"}), night)
    assert job_settings(layout, SequenceKind.CALIBRATION).memory == 3072
    assert job_settings(layout, SequenceKind.DATA).memory == MEMORY


@pytest.mark.parametrize(
    ("most", "memory"), [("", 2 * MEMORY), ("12 GB", 12288), ("16 GB", 2 * MEMORY), ("100 GB", 2 * MEMORY)]
)
@pytest.mark.parametrize("sequence", [data_sequence(), calibration_sequence()])
def test_most_memory_that_a_further_try_gets(
    make_settings: Callable[..., Settings], night: Night, most: str, memory: int, sequence: Sequence
) -> None:
    section = "DATA JOB" if sequence.kind is SequenceKind.DATA else "CALIBRATION JOB"
    tries = Failures(Layout(make_settings({(section, "max_memory"): most}), night), sequence)
    tries.add(OOM)
    diagnosis = found(tries)
    assert (diagnosis.resources.memory, diagnosis.cure) == (memory, Cure.RESUBMIT)


@pytest.mark.parametrize(
    ("most", "walltime"), [("", 2 * WALLTIME), ("08:00:00", timedelta(hours=8)), ("48:00:00", 2 * WALLTIME)]
)
def test_most_time_that_a_further_try_gets(
    make_settings: Callable[..., Settings], night: Night, most: str, walltime: timedelta
) -> None:
    tries = Failures(Layout(make_settings({("DATA JOB", "max_walltime"): most}), night))
    tries.add(TIMEOUT)
    diagnosis = found(tries)
    assert (diagnosis.resources.walltime, diagnosis.cure) == (walltime, Cure.RESUBMIT)


@pytest.mark.parametrize(
    ("key", "most", "state"), [("max_memory", "8 GB", OOM), ("max_walltime", "06:00:00", TIMEOUT)]
)
def test_try_that_cannot_get_more_is_given_up(
    make_settings: Callable[..., Settings], night: Night, key: str, most: str, state: JobState
) -> None:
    tries = Failures(Layout(make_settings({("DATA JOB", key): most}), night))
    tries.add(state)
    assert found(tries).cure is None
    assert found(tries).resources == tries.layout.settings.data_job
    tries.add(NODE_FAIL)  # needs no more
    assert found(tries).cure is Cure.RESUBMIT


def test_most_is_reached_by_several_causes(make_settings: Callable[..., Settings], night: Night) -> None:
    tries = Failures(Layout(make_settings({("DATA JOB", "max_memory"): "8 GB"}), night))
    tries.add(TIMEOUT)
    assert found(tries).cure is Cure.RESUBMIT
    tries.add(OOM)
    assert found(tries).cure is None
    assert found(tries).resources.walltime == 2 * WALLTIME


# --------------------------------------------------------------------- inputs that changed since


@pytest.mark.parametrize("log", [NO_POINTING, NO_PEDESTALS])
@pytest.mark.parametrize("which", ["raw file", "drive log"])
def test_with_other_inputs_it_is_tried_again_and_not_left_out(tries: Failures, which: str, log: str) -> None:
    layout = tries.layout
    path = layout.raw_file(1874, 2) if which == "raw file" else layout.drive_log
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    ended = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    tries.add(task=2, log=log, ended=ended + timedelta(seconds=1))
    assert found(tries, 2).cure is Cure.LEAVE_OUT
    os.utime(path, ((ended + timedelta(seconds=2)).timestamp(),) * 2)
    assert summary(found(tries, 2)) == ("inputs changed since", 1, Cure.RESUBMIT)
    tries.add(task=2, log=log, ended=ended + timedelta(seconds=3))
    assert found(tries, 2).cure is Cure.LEAVE_OUT


def test_other_inputs_do_not_cure_what_is_not_left_out(tries: Failures) -> None:
    path = tries.layout.raw_file(1874, 0)
    path.parent.mkdir(parents=True)
    path.touch()
    for _ in range(2):
        tries.add(OOM, ended=SUBMITTED)
    assert summary(found(tries)) == ("out of memory", 2, None)


def test_inputs_that_are_gone_are_no_other_inputs(tries: Failures) -> None:
    tries.add(log=NO_POINTING, ended=SUBMITTED)
    assert found(tries).cure is Cure.LEAVE_OUT


def test_memory_is_rounded_up(make_settings: Callable[..., Settings], night: Night) -> None:
    settings = make_settings({("DATA JOB", "memory"): "501 MB"})
    more = Rule("more", Cure.RESUBMIT, exit_codes=frozenset({7}), memory=1.5, limit=3)
    object.__setattr__(settings, "rules", (more,))
    tries = Failures(Layout(settings, night))
    for memory in (752, 1128):
        tries.add(exit_code=7)
        assert found(tries).resources.memory == memory


def test_configured_rule_goes_before_the_known_ones(
    make_settings: Callable[..., Settings], night: Night
) -> None:
    settings = make_settings()
    mine = Rule("mine", Cure.RESUBMIT, text=re.compile("Errno 12"), limit=2)
    object.__setattr__(settings, "rules", (mine,))
    tries = Failures(Layout(settings, night))
    tries.add(log=NO_MEMORY)
    assert summary(found(tries)) == ("mine", 1, Cure.RESUBMIT)
    assert found(tries).what_it_gets == ""


# ------------------------------------------------------------------ what waits in vain, what failed


def test_what_waits_in_vain(tries: Failures) -> None:
    tries.add(FAILED, reason="DependencyNeverSatisfied")
    assert waiting_in_vain(tries.layout, tries.state()) is None  # it does not wait
    tries.add(JobState.PENDING, reason="Priority")
    assert waiting_in_vain(tries.layout, tries.state()) is None
    tries.add(JobState.PENDING, reason="DependencyNeverSatisfied", task=1)
    rule = waiting_in_vain(tries.layout, tries.state())
    assert rule is not None and rule.name == "calibration failed"


def test_failures_are_told_by_cause_whatever_became_of_the_tasks(tries: Failures) -> None:
    tries.add(OOM, task=1)
    tries.add(OOM, task=0)
    tries.add(COMPLETED, task=0, exit_code=0)
    tries.add(OOM, task=1)
    tries.add(JobState.RUNNING, task=2)
    tries.add(FAILED, task=2)
    told = {rule.name: tasks for rule, tasks in failures(tries.layout, tries.state(()))}
    assert told == {"out of memory": (0, 1), "unknown failure": (2,)}


# ------------------------------------------------------------------------ it comes to an end

Kind = tuple[JobState, int | None, str]
KNOWN_KINDS: list[Kind] = [
    (OOM, 0, ""),
    (FAILED, 137, ""),
    (FAILED, -9, ""),
    (FAILED, 1, NO_MEMORY),
    (TIMEOUT, 0, ""),
    (NODE_FAIL, None, ""),
    (FAILED, 1, NO_POINTING),
    (FAILED, 1, NO_PEDESTALS),
    (FAILED, 1, "KeyError: 'a'"),
]
# Tries may be cured by each cause as often as its limit says, and as often as three times MAXTRYFAILED
# allows in ways that no rule knows, between the others; the next try is the last.
MOST_TRIES = (1 + 1 + 5) + 5 + 1
numbers = count(1)


def submissions(layout: Layout, kinds: list[Kind], sequence_kind: SequenceKind) -> list[Decision]:
    """Submit a task and let it fail, in these ways in turn, until it is not submitted any more."""
    data = sequence_kind is SequenceKind.DATA
    tries = Failures(layout, data_sequence() if data else calibration_sequence())
    made = []
    for number in range(10 * MOST_TRIES):
        state = tries.state((0,))
        (decision,) = decide([state], {state.sequence.name: diagnose(layout, state)}, simulate=False)
        if decision.action is not Action.SUBMIT:
            return [*made, decision]
        made.append(decision)
        failed, code, log = kinds[number % len(kinds)]
        tries.add(failed, exit_code=code, log=log, job_id=str(next(numbers)))
    return made


@given(st.lists(st.sampled_from(KNOWN_KINDS), min_size=1, max_size=12), st.sampled_from(list(SequenceKind)))
@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_task_is_not_submitted_for_ever(
    layout: Layout, kinds: list[Kind], sequence_kind: SequenceKind
) -> None:
    *made, last = submissions(layout, kinds, sequence_kind)
    assert 1 <= len(made) <= MOST_TRIES
    assert last.action in {Action.VETO, Action.CHECK}
    for decision in made:
        for diagnosis in decision.diagnoses.values():
            assert diagnosis.resources.memory <= 2 * MEMORY
            assert diagnosis.resources.walltime <= 2 * WALLTIME


def test_most_tries_are_reached(layout: Layout) -> None:
    """The bound above is no wild guess."""
    unknown = (FAILED, 1, "")
    lost = (NODE_FAIL, None, "")
    known = [(OOM, 0, ""), (TIMEOUT, 0, ""), *[lost] * 3]
    kinds = [kind for one in known for kind in (unknown, one)] + [lost, lost, unknown]
    assert len(submissions(layout, kinds, SequenceKind.DATA)) - 1 == MOST_TRIES


def test_failing_in_two_unknown_ways_in_turn_comes_to_an_end(layout: Layout) -> None:
    *made, last = submissions(layout, [(FAILED, 1, ""), (FAILED, 2, "")], SequenceKind.DATA)
    assert (len(made), last.action) == (6, Action.VETO)
