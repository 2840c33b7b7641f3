"""What is decided for each sequence of a night."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from night_states import (
    calibration_sequence,
    data_sequence,
    record,
    sequence_state,
)

from osa.cures.diagnosis import Diagnosis
from osa.decision import Action, Decision, decide
from osa.model.job import JobState
from osa.model.rule import Cure, Rule, Scope
from osa.nightstate import SequenceState

RUNNING = JobState.RUNNING


def decide_data(state: SequenceState, calibration: SequenceState | None = None) -> Decision:
    """Decide for a DATA sequence, with a calibration that is done where none is given."""
    states = (calibration or sequence_state(calibration_sequence()), state)
    return decide(states, simulate=False)[1]


def calibration_state(**values: object) -> SequenceState:
    return sequence_state(calibration_sequence(), **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("state", "action", "tasks"),
    [
        # all of a new sequence; of others what is missing, and nothing twice
        ({"todo": [0, 1, 2]}, Action.SUBMIT, (0, 1, 2)),
        ({"todo": [1]}, Action.SUBMIT, (1,)),
        ({}, Action.CHECK, ()),
        ({"todo": [0, 1], "records": [record(task=0, state=JobState.PENDING)]}, Action.SUBMIT, (1,)),
        ({"todo": [0], "records": [record(task=0, state=RUNNING)]}, Action.CHECK, ()),
        ({"todo": [0], "records": [record(task=0, state=JobState.UNKNOWN)]}, Action.CHECK, ()),
        # whatever ended without its products is tried again
        *(
            ({"todo": [0], "records": [record(task=0, state=end)]}, Action.SUBMIT, (0,))
            for end in JobState
            if not end.is_live
        ),
        # of several tries the latest counts
        (
            {"todo": [0], "records": [record(state=JobState.FAILED), record(state=RUNNING, job_id="2")]},
            Action.CHECK,
            (),
        ),
        # what failed too often is left alone, the rest goes on
        ({"todo": [0, 1, 2], "exhausted": [1]}, Action.SUBMIT, (0, 2)),
        ({"todo": [1], "exhausted": [1]}, Action.VETO, ()),
        ({"todo": [1], "exhausted": [1], "records": [record(task=1, state=RUNNING)]}, Action.CHECK, ()),
        (
            {"todo": [1, 2], "exhausted": [1], "records": [record(task=2, state=RUNNING)]},
            Action.CHECK,
            (),
        ),
        # flags
        ({"todo": [0], "vetoed": True}, Action.VETO, ()),
        ({"closed": True}, Action.CLOSED, ()),
        ({"closed": True, "vetoed": True}, Action.CLOSED, ()),
    ],
)
def test_action_and_tasks(state: dict[str, Iterable[object]], action: Action, tasks: tuple[int, ...]) -> None:
    decision = decide_data(sequence_state(**state))  # type: ignore[arg-type]
    assert (decision.action, decision.tasks) == (action, tasks)


@pytest.mark.parametrize(
    ("calibration", "action"),
    [
        (None, Action.SUBMIT),
        ({}, Action.SUBMIT),  # done
        ({"closed": True, "vetoed": True}, Action.SUBMIT),
        ({"todo": [0]}, Action.SUBMIT),
        ({"todo": [0], "records": [record("LST1_01873", None, RUNNING)]}, Action.SUBMIT),
        ({"todo": [0], "exhausted": [0], "records": [record("LST1_01873", None, RUNNING)]}, Action.SUBMIT),
        ({"todo": [0], "exhausted": [0]}, Action.CHECK),
        ({"todo": [0], "vetoed": True}, Action.CHECK),
    ],
)
def test_data_is_submitted_only_where_its_calibration_may_come(
    calibration: dict[str, object] | None, action: Action
) -> None:
    states = [] if calibration is None else [calibration_state(**calibration)]
    decision = decide((*states, sequence_state(todo=[0, 1])), simulate=False)[-1]
    assert decision.action is action
    assert ("its calibration run 1873 is vetoed" in decision.note) == (action is Action.CHECK)


def test_data_without_a_usable_calibration_says_why() -> None:
    blocked = sequence_state(calibration_sequence(drs4_run=None, blocked="no DRS4 run"), todo=[0])
    decisions = decide((blocked, sequence_state(todo=[0])), simulate=False)
    assert [d.action for d in decisions] == [Action.CHECK, Action.CHECK]
    assert decisions[0].note == "no DRS4 run"
    assert decisions[1].note == "its calibration run 1873 cannot be processed: no DRS4 run"


def test_data_that_is_done_does_not_mind_its_calibration() -> None:
    decision = decide_data(sequence_state(), calibration_state(todo=[0], vetoed=True))
    assert (decision.action, decision.note) == (Action.CHECK, "")


def test_absent_raw_files_are_told_and_the_rest_submitted() -> None:
    sequence = data_sequence(n_subruns=6, subruns=(0, 4))
    decision = decide_data(sequence_state(sequence, todo=[0, 4]))
    assert (decision.tasks, decision.note) == ((0, 4), "no raw files of sub-runs 1-3, 5")
    assert decide_data(sequence_state(sequence)).note == "no raw files of sub-runs 1-3, 5"


def test_blocked_sequence_is_not_submitted() -> None:
    sequence = data_sequence(n_subruns=2, subruns=(), blocked="no raw files in R0")
    decision = decide_data(sequence_state(sequence))
    assert (decision.action, decision.tasks, decision.note) == (Action.CHECK, (), "no raw files in R0")


def test_veto_names_what_failed() -> None:
    decision = decide_data(sequence_state(todo=[0, 1, 2], exhausted=[0, 1, 2]))
    assert decision.note == "a step of sub-runs 0-2 has failed too often in the same way"
    (decision,) = decide([calibration_state(todo=[0], exhausted=[0])], simulate=False)
    assert (decision.action, decision.note) == (
        Action.VETO,
        "a step has failed too often in the same way",
    )


def test_simulation_differs_in_the_word_only() -> None:
    states = (calibration_state(todo=[0]), sequence_state(todo=[0, 2]), sequence_state(closed=True))
    real, simulated = decide(states, simulate=False), decide(iter(states), simulate=True)
    assert [d.action for d in real] == [Action.SUBMIT, Action.SUBMIT, Action.CLOSED]
    assert [d.action for d in simulated] == [Action.SIMULATE, Action.SIMULATE, Action.CLOSED]
    assert [d.tasks for d in real] == [d.tasks for d in simulated] == [(0,), (0, 2), ()]


# ------------------------------------------------------------------------ what ails the tasks


def ails(task: int, cure: Cure, *, is_given_up: bool = False, name: str = "a rule") -> Diagnosis:
    scope = Scope.DATA if cure is Cure.LEAVE_OUT else Scope.ANY
    rule = Rule(name, cure, scope=scope, exit_codes=frozenset({1}))
    # What the next try gets is nothing to the decision.
    return Diagnosis(task, rule, 1, is_given_up, resources=None)  # type: ignore[arg-type]


def decide_with(state: SequenceState, *diagnoses: Diagnosis) -> Decision:
    (decision,) = decide([state], {"LST1_01874": {one.task: one for one in diagnoses}}, simulate=False)
    return decision


RESUBMIT, LEAVE_OUT = Cure.RESUBMIT, Cure.LEAVE_OUT


@pytest.mark.parametrize(
    ("diagnoses", "live", "action", "tasks"),
    [
        ([ails(0, RESUBMIT)], [], Action.SUBMIT, (0, 1, 2)),
        ([ails(0, RESUBMIT, is_given_up=True)], [], Action.SUBMIT, (1, 2)),
        ([ails(0, LEAVE_OUT)], [], Action.SUBMIT, (1, 2)),
        ([ails(n, RESUBMIT, is_given_up=True) for n in range(3)], [], Action.VETO, ()),
        ([ails(n, RESUBMIT, is_given_up=True) for n in range(2)], [2], Action.CHECK, ()),
        ([ails(n, LEAVE_OUT) for n in range(3)], [], Action.CHECK, ()),
        # A run is not vetoed for what the closer can leave out, but for what it cannot.
        ([ails(0, LEAVE_OUT), ails(1, LEAVE_OUT)], [2], Action.CHECK, ()),
        (
            [ails(0, LEAVE_OUT), *(ails(n, RESUBMIT, is_given_up=True) for n in (1, 2))],
            [],
            Action.VETO,
            (),
        ),
        # Left out in vain: it came again, and fails the same way.
        ([ails(n, LEAVE_OUT, is_given_up=True) for n in range(3)], [], Action.VETO, ()),
    ],
)
def test_action_by_what_ails_the_tasks(
    diagnoses: list[Diagnosis], live: list[int], action: Action, tasks: tuple[int, ...]
) -> None:
    records = [record(task=task, state=RUNNING) for task in live]
    decision = decide_with(sequence_state(todo=(0, 1, 2), records=records), *diagnoses)
    assert (decision.action, decision.tasks) == (action, tasks)
    assert set(decision.diagnoses) == {one.task for one in diagnoses}


def test_history_does_not_give_up_what_a_diagnosis_does_not() -> None:
    state = sequence_state(todo=(0, 1), exhausted=(0, 1))
    assert decide_with(state, ails(0, RESUBMIT)).tasks == (0,)


def test_what_the_closer_sees_to_is_said_by_cause() -> None:
    diagnoses = [ails(0, LEAVE_OUT, name="no pointing"), ails(1, LEAVE_OUT, name="no pointing")]
    decision = decide_with(sequence_state(todo=(0, 1, 2)), *diagnoses, ails(2, LEAVE_OUT, name="cut short"))
    assert decision.note == (
        "no pointing of sub-runs 0-1: closer sees to it; cut short of sub-runs 2: closer sees to it"
    )


def test_vetoed_run_says_how_it_is_tried_again() -> None:
    assert decide_with(sequence_state(todo=(0,), vetoed=True)).note.endswith(
        "--unveto 1874 has it tried again"
    )


def test_data_does_not_wait_for_a_calibration_that_is_given_up() -> None:
    rule = ails(0, RESUBMIT, is_given_up=True)
    states = (calibration_state(todo=[0]), sequence_state(todo=[0]))
    decisions = decide(states, {"LST1_01873": {0: rule}}, simulate=False)
    assert [d.action for d in decisions] == [Action.VETO, Action.CHECK]
    assert "1873 is vetoed" in decisions[1].note
    decisions = decide(states, {"LST1_01873": {0: ails(0, RESUBMIT)}}, simulate=False)
    assert [d.action for d in decisions] == [Action.SUBMIT, Action.SUBMIT]
