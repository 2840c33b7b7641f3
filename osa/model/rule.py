"""Rules on known failures: how one is recognised, what cures it, and how often that is tried."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from osa.model.job import JobState

__all__ = ["Cure", "Rule", "Scope"]


class Cure(StrEnum):
    """What is done about a failure."""

    RESUBMIT = "resubmit"
    LEAVE_OUT = "leave out"
    OTHER_CALIBRATION = "other calibration"
    CANCEL = "cancel"


class Scope(StrEnum):
    """Which tasks a rule is about."""

    ANY = "any"
    CALIBRATION = "calibration"
    DATA = "data"
    LAST_SUBRUN = "last sub-run"


@dataclass(frozen=True)
class Rule:
    """A known failure.

    A try fails by this rule where it is in the rule's scope and shows any one of its signs.

    Parameters
    ----------
    name : str
        What people call it.
    cure : Cure
        What is done about it.
    words : str
        For the incidences, after the run and the sub-runs; empty where nobody has to know.
    scope : Scope
        Which tasks it is about.
    states : frozenset of JobState
        Sign: the state in which the try ended (or waits, for what is to be cancelled).
    exit_codes : frozenset of int
        Sign: its exit code; negative for a signal.
    text : re.Pattern or None
        Sign: found in the last part of its log, or in the reason that the scheduler gives.
    fewer_events : int
        Sign: the raw file has fewer events than this; 0 for no such sign.
    cut_short : bool
        Sign: the raw file is smaller than its own header says.
    used_up : bool
        Sign: no more tries are made of it, whatever the failures were, or an operator vetoed it.
    memory, walltime : float
        What the next try gets, as a multiple of what this one had.
    limit : int or None
        How many tries of a task may be cured by it; None for any number.
    """

    name: str
    cure: Cure
    words: str = ""
    scope: Scope = Scope.ANY
    states: frozenset[JobState] = frozenset()
    exit_codes: frozenset[int] = frozenset()
    text: re.Pattern[str] | None = None
    fewer_events: int = 0
    cut_short: bool = False
    used_up: bool = False
    memory: float = 1.0
    walltime: float = 1.0
    limit: int | None = 1

    def __post_init__(self) -> None:
        if not (
            self.states or self.exit_codes or self.text or self.fewer_events or self.cut_short or self.used_up
        ):
            raise ValueError(f"rule {self.name!r} has no sign by which a failure is recognised")
        if self.memory < 1.0 or self.walltime < 1.0:
            raise ValueError(f"rule {self.name!r} gives the next try less than this one had")
        if (self.cure is Cure.OTHER_CALIBRATION) != self.used_up:
            raise ValueError(f"rule {self.name!r}: another calibration is for one whose tries are used up")
        if self.cure is Cure.LEAVE_OUT and self.scope in {Scope.ANY, Scope.CALIBRATION}:
            raise ValueError(f"rule {self.name!r}: only DATA can be left out")
