"""What is to be done with each sequence of a night; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from osa.cures.diagnosis import NOTHING_FAILED, Diagnoses
from osa.model.rule import Cure
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
    diagnoses : mapping of int to Diagnosis
        What ails those of its tasks that have failed.
    """

    state: SequenceState
    action: Action
    tasks: tuple[int, ...] = ()
    note: str = ""
    diagnoses: Diagnoses = field(default_factory=lambda: NOTHING_FAILED, repr=False)

    @property
    def sequence(self) -> Sequence:
        """The sequence that it is about."""
        return self.state.sequence

    @property
    def is_new_veto(self) -> bool:
        """Whether the sequence is to be vetoed, and is not yet."""
        return self.action is Action.VETO and not self.state.vetoed


def decide(
    states: Iterable[SequenceState],
    diagnoses: Mapping[str, Diagnoses] = MappingProxyType({}),
    *,
    simulate: bool,
) -> tuple[Decision, ...]:
    """Decide for every sequence of a night; pure.

    Only what is missing is submitted: sub-runs that are not done, have no live try, have not
    failed as often as they may, and failed in no way that another try cannot cure. DATA sequences
    whose calibration can no longer come are left alone, with a note.

    Parameters
    ----------
    states : iterable of SequenceState
        What has become of the sequences.
    diagnoses : mapping of str to Diagnoses
        What ails their tasks, by the name of the sequence.
    simulate : bool
        Whether nothing is going to be done.
    """
    states = tuple(states)
    calibration = next((s for s in states if s.sequence.kind is SequenceKind.CALIBRATION), None)
    found = {state.sequence.name: diagnoses.get(state.sequence.name, NOTHING_FAILED) for state in states}
    hopeless = "" if calibration is None else _why_hopeless(calibration, found[calibration.sequence.name])
    return tuple(_decide_one(state, found[state.sequence.name], hopeless, simulate) for state in states)


def _why_hopeless(calibration: SequenceState, diagnoses: Diagnoses) -> str:
    if calibration.is_done:
        return ""
    run = calibration.sequence.run
    if calibration.sequence.blocked:
        return f"its calibration run {run} cannot be processed: {calibration.sequence.blocked}"
    if calibration.vetoed or (_given_up(calibration, diagnoses) and not calibration.live):
        return f"its calibration run {run} is vetoed"
    return ""


def _given_up(state: SequenceState, diagnoses: Diagnoses) -> tuple[int, ...]:
    """Tasks of which no more tries are made, for no cure is left."""
    undiagnosed = set(state.exhausted) - set(diagnoses)
    return tuple(sorted(undiagnosed | {task for task, found in diagnoses.items() if found.cure is None}))


def _left_to_closer(diagnoses: Diagnoses) -> dict[int, str]:
    """Tasks that another try does not cure, with the name of what ails them."""
    return {task: found.rule.name for task, found in diagnoses.items() if found.cure is Cure.LEAVE_OUT}


def _decide_one(state: SequenceState, diagnoses: Diagnoses, hopeless: str, simulate: bool) -> Decision:
    sequence = state.sequence
    if state.closed:
        return Decision(state, Action.CLOSED)
    if state.vetoed:
        note = f"vetoed; sequencer --unveto {sequence.run} has it tried again"
        return Decision(state, Action.VETO, note=note)
    if sequence.blocked:
        return Decision(state, Action.CHECK, note=sequence.blocked)
    if hopeless and sequence.kind is SequenceKind.DATA and state.todo:
        return Decision(state, Action.CHECK, note=hopeless)
    given_up, others = _given_up(state, diagnoses), _left_to_closer(diagnoses)
    left_alone = {*state.live, *given_up, *others}
    tasks = tuple(task for task in state.todo if task not in left_alone)
    if tasks:
        action = Action.SIMULATE if simulate else Action.SUBMIT
        return Decision(state, action, tasks, _absent(sequence), diagnoses)
    if given_up and not state.live:
        note = f"a step{_of_subruns(sequence, given_up)} has failed too often in the same way"
        return Decision(state, Action.VETO, note=note, diagnoses=diagnoses)
    notes = filter(None, (_what_closer_does(sequence, others), _absent(sequence)))
    return Decision(state, Action.CHECK, note="; ".join(notes), diagnoses=diagnoses)


def _what_closer_does(sequence: Sequence, ailments: Mapping[int, str]) -> str:
    by_name: dict[str, list[int]] = {}
    for task, name in ailments.items():
        by_name.setdefault(name, []).append(task)
    return "; ".join(
        f"{name}{_of_subruns(sequence, tasks)}: closer sees to it" for name, tasks in by_name.items()
    )


def _of_subruns(sequence: Sequence, tasks: Iterable[int]) -> str:
    return "" if sequence.kind is SequenceKind.CALIBRATION else f" of sub-runs {list_subruns(tasks)}"


def _absent(sequence: Sequence) -> str:
    absent, arriving = sequence.absent_subruns, sequence.arriving
    said = [f"no raw files of sub-runs {list_subruns(absent)}"] if absent else []
    said += [f"raw files of sub-runs {list_subruns(arriving)} are still arriving"] if arriving else []
    return "; ".join(said)
