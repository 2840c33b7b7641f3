"""The known failures, in one table; the configuration can add to it and replace in it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from osa.model.job import NEVER, JobState
from osa.model.rule import Cure, Rule, Scope

__all__ = ["KNOWN", "OTHER_INPUTS", "UNKNOWN_FAILURE", "rules_in_order"]

KNOWN: tuple[Rule, ...] = (
    Rule(
        name="calibration failed",
        cure=Cure.CANCEL,
        scope=Scope.DATA,
        text=re.compile(NEVER),
        limit=None,
    ),
    Rule(
        name="lost node",
        cure=Cure.RESUBMIT,
        words="begun again elsewhere",
        states=frozenset({JobState.NODE_FAIL}),
        limit=5,
    ),
    Rule(
        name="cancelled",
        cure=Cure.RESUBMIT,
        states=frozenset({JobState.CANCELLED}),
        limit=None,
    ),
    Rule(
        name="out of memory",
        cure=Cure.RESUBMIT,
        words="tried again with more memory",
        states=frozenset({JobState.OUT_OF_MEMORY}),
        # A shell, and the local backend, tell of the kernel's kill like this.
        exit_codes=frozenset({137, -9}),
        text=re.compile(
            r"Cannot allocate memory|MemoryError|bad_alloc|failed to map segment|ended with signal 9\b"
            r"|[Ee]xceeded (job )?memory limit|oom[-_ ]kill"
            # HDF5 says so of a lock, too.
            r"|^(?!.*unable to lock file).*Resource temporarily unavailable",
            re.MULTILINE,
        ),
        memory=2.0,
    ),
    Rule(
        name="time limit",
        cure=Cure.RESUBMIT,
        words="tried again with more time",
        states=frozenset({JobState.TIMEOUT}),
        walltime=2.0,
    ),
    Rule(
        name="no pointing",
        cure=Cure.LEAVE_OUT,
        words="left out, as the drive log has no pointing for the times of its events",
        scope=Scope.DATA,
        # SciPy's words, of its versions before and since 1.10.
        text=re.compile(r"x_new is (above|below) the interpolation range|x_new (above|below) interpolation"),
    ),
    Rule(
        name="last sub-run cut short",
        cure=Cure.LEAVE_OUT,
        words="left out, as the DAQ cut it short and too few events are in it",
        scope=Scope.LAST_SUBRUN,
        text=re.compile(r"NoSuchNodeError.*pedestal"),
        # lstchain's data check needs pedestal and flat-field events, a few of a hundred.
        fewer_events=50,
        cut_short=True,
    ),
    Rule(
        name="calibration unusable",
        cure=Cure.OTHER_CALIBRATION,
        words="cannot be had",
        scope=Scope.CALIBRATION,
        used_up=True,
    ),
)
"""In the order in which they are looked at: the first that a try fails by counts."""

UNKNOWN_FAILURE = Rule(
    name="unknown failure",
    cure=Cure.RESUBMIT,
    words="tried again as it was",
    states=frozenset({JobState.FAILED}),
    limit=None,
)
"""What no rule knows is tried again as it is; MAXTRYFAILED bounds it."""


OTHER_INPUTS = Rule(
    name="inputs changed since",
    cure=Cure.RESUBMIT,
    states=frozenset({JobState.FAILED}),
    limit=None,
)
"""What would be left out, but for inputs that are not those of the try any more."""


def rules_in_order(configured: Iterable[Rule]) -> tuple[Rule, ...]:
    """Put the rules of the configuration before the known ones, and in the place of those of their name."""
    configured = tuple(configured)
    replaced = {rule.name for rule in configured}
    return (*configured, *(rule for rule in KNOWN if rule.name not in replaced))
