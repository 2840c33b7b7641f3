"""What is to be done with each sequence of a night; pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from osa.model.run import list_subruns
from osa.model.sequence import Sequence, SequenceKind
from osa.nightstate import SequenceState

__all__ = ["Action", "Decision", "decide"]


class Action(StrEnum):
    """What the sequencer does with a sequence, as the table shows it."""

    SUBMIT = "Submit"
    SIMULATE = "Simulate"
    CHECK = "Check"
    VETO = "Veto"
    CLOSED = "Closed"


@dataclass(frozen=True)
class Decision:
    """What is to be done with a sequence.

    Parameters
    ----------
    state : SequenceState
        What has become of it.
    action : Action
        What is done.
    tasks : tuple of int
        Sub-runs to submit.
    note : str
        What a person should know, where there is something.
    """

    state: SequenceState
    action: Action
    tasks: tuple[int, ...] = ()
    note: str = ""

    @property
    def sequence(self) -> Sequence:
        """The sequence that it is about."""
        return self.state.sequence


def decide(states: Iterable[SequenceState], *, simulate: bool) -> tuple[Decision, ...]:
    """Decide for every sequence of a night; pure.

    Only what is missing is submitted: sub-runs that are not done, have no live try and have not
    failed as often as they may. DATA sequences whose calibration can no longer come are left
    alone, with a note.
    """
    states = tuple(states)
    calibration = next((s for s in states if s.sequence.kind is SequenceKind.CALIBRATION), None)
    hopeless = _why_hopeless(calibration)
    return tuple(_decide_one(state, hopeless, simulate) for state in states)


def _why_hopeless(calibration: SequenceState | None) -> str:
    if calibration is None or calibration.is_done:
        return ""
    run = calibration.sequence.run
    if calibration.sequence.blocked:
        return f"its calibration run {run} cannot be processed: {calibration.sequence.blocked}"
    if calibration.vetoed or (calibration.exhausted and not calibration.live):
        return f"its calibration run {run} is vetoed"
    return ""


def _decide_one(state: SequenceState, hopeless: str, simulate: bool) -> Decision:
    sequence = state.sequence
    if state.closed:
        return Decision(state, Action.CLOSED)
    if state.vetoed:
        return Decision(state, Action.VETO, note="vetoed; remove its .veto file to try again")
    if sequence.blocked:
        return Decision(state, Action.CHECK, note=sequence.blocked)
    if hopeless and sequence.kind is SequenceKind.DATA and state.todo:
        return Decision(state, Action.CHECK, note=hopeless)
    left_alone = state.live | set(state.exhausted)
    tasks = tuple(task for task in state.todo if task not in left_alone)
    if tasks:
        action = Action.SIMULATE if simulate else Action.SUBMIT
        return Decision(state, action, tasks, _absent(sequence))
    if state.exhausted and not state.live:
        what = (
            ""
            if sequence.kind is SequenceKind.CALIBRATION
            else f" of sub-runs {list_subruns(state.exhausted)}"
        )
        return Decision(state, Action.VETO, note=f"a step{what} has failed too often in the same way")
    return Decision(state, Action.CHECK, note=_absent(sequence))


def _absent(sequence: Sequence) -> str:
    absent = sequence.absent_subruns
    return f"no raw files of sub-runs {list_subruns(absent)}" if absent else ""
