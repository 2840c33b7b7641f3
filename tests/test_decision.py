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

from osa.decision import Action, Decision, decide
from osa.model.job import JobState
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
