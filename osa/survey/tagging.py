"""What kind of run it is, from what triggered its events; pure.

The rules, on the shares of all events of a run, which are estimated from a sample of them:

=========== ====================================================== ==============================
type        shares                                                 like
=========== ====================================================== ==============================
DRS4        physics at least 99 %, pedestal and flat-field none;   pedestals of the capacitors
            at most 20 sub-runs
CALI        pedestal at least 20 %                                 flashes and pedestals in turn
DATA        pedestal below 10 %, physics at least half             showers, some calibration events
=========== ====================================================== ==============================

Anything else is an error, and so is a sample that is too small to be sure. lstchain's rules
(``lstchain_create_run_summary``) are the same on 500 events, without the gap between DATA and CALI, the
half, and the confidence.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["ENOUGH", "EventKind", "RunLabel", "Tag", "TriggerCounts", "tag_run"]

ENOUGH = 0.99
"""Confidence with which no more events are read."""

_LEAST = 0.9
_DRS4_PHYSICS = 0.99
_DRS4_SUBRUNS = 20
_CALIBRATION_PEDESTALS = 0.2
_DATA_PEDESTALS = 0.1
_DATA_PHYSICS = 0.5


class EventKind(StrEnum):
    """What triggered an event."""

    PHYSICS = "physics"
    PEDESTAL = "pedestal"
    FLATFIELD = "flatfield"
    OTHER = "other"


class RunLabel(StrEnum):
    """Types of run, as the night summary writes them."""

    DRS4 = "DRS4"
    CALIBRATION = "CALI"
    DATA = "DATA"
    ERROR = "ERROR"


@dataclass(frozen=True)
class TriggerCounts:
    """How many events of a sample have which trigger."""

    physics: int = 0
    pedestal: int = 0
    flatfield: int = 0
    other: int = 0

    @classmethod
    def of(cls, kinds: Iterable[EventKind]) -> TriggerCounts:
        """Count the events of a sample."""
        counts = dict.fromkeys(EventKind, 0)
        for kind in kinds:
            counts[kind] += 1
        return cls(**{str(kind): count for kind, count in counts.items()})

    def __add__(self, other: TriggerCounts) -> TriggerCounts:
        return TriggerCounts(
            self.physics + other.physics,
            self.pedestal + other.pedestal,
            self.flatfield + other.flatfield,
            self.other + other.other,
        )

    @property
    def total(self) -> int:
        """All events of the sample."""
        return self.physics + self.pedestal + self.flatfield + self.other

    def share(self, kind: EventKind) -> float:
        """Tell which part of the sample has a trigger; 0 where the sample is empty."""
        count: int = getattr(self, kind.value)
        return count / self.total if self.total else 0.0


@dataclass(frozen=True)
class Tag:
    """The type of a run.

    Parameters
    ----------
    label : RunLabel
        The type.
    confidence : float
        Probability that the run is of no other type; 0 for an error.
    reason : str
        Why it is an error; empty where it is none.
    """

    label: RunLabel
    confidence: float = 0.0
    reason: str = ""

    def __post_init__(self) -> None:
        if (self.label is RunLabel.ERROR) != bool(self.reason):
            raise ValueError(f"an error has a reason, and nothing else has one: {self}")


def tag_run(counts: TriggerCounts, n_subruns: int = 1) -> Tag:
    r"""Tell the type of a run from a sample of its events.

    Parameters
    ----------
    counts : TriggerCounts
        The sample.
    n_subruns : int
        Sub-runs of the run: one of many, of which all events are physics, may be DATA that was taken
        without calibration events.

    Notes
    -----
    The confidence is the probability that the share of all events of the run is not one that the next type
    has: for DATA, that fewer than 20 % are pedestals; for CALI, that more than 10 % are; for DRS4, that fewer
    than 1 % are pedestals or flashes, which every DATA run interleaves. Of a share :math:`p` of which
    :math:`k` of :math:`n` events are a sample, and nothing else is known, the distribution is
    :math:`\mathrm{Beta}(k + 1, n - k + 1)`.
    """
    if not counts.total:
        return Tag(RunLabel.ERROR, reason="no event can be read")
    label, confidence = _most_likely(counts)
    if label is RunLabel.ERROR:
        return Tag(label, reason=f"{_shares(counts)}: neither DRS4, calibration nor DATA")
    if label is RunLabel.DRS4 and n_subruns > _DRS4_SUBRUNS:
        what = f"{n_subruns} sub-runs are too many for a DRS4 run, and DATA has pedestals"
        return Tag(RunLabel.ERROR, reason=f"{_shares(counts)}: {what}")
    if confidence < _LEAST:
        wanted = f"{confidence:.0%} sure of {label}, {_LEAST:.0%} wanted"
        return Tag(RunLabel.ERROR, reason=f"{_shares(counts)} of only {counts.total} events: {wanted}")
    return Tag(label, confidence)


def _most_likely(counts: TriggerCounts) -> tuple[RunLabel, float]:
    pedestals = counts.share(EventKind.PEDESTAL)
    physics = counts.share(EventKind.PHYSICS)
    calibration_events = counts.pedestal + counts.flatfield
    if physics >= _DRS4_PHYSICS and not calibration_events:
        return RunLabel.DRS4, _probability_below(1 - _DRS4_PHYSICS, calibration_events, counts.total)
    if pedestals >= _CALIBRATION_PEDESTALS:
        below = _probability_below(_DATA_PEDESTALS, counts.pedestal, counts.total)
        return RunLabel.CALIBRATION, 1 - below
    if pedestals < _DATA_PEDESTALS and physics >= _DATA_PHYSICS:
        return RunLabel.DATA, _probability_below(_CALIBRATION_PEDESTALS, counts.pedestal, counts.total)
    return RunLabel.ERROR, 0.0


def _probability_below(limit: float, count: int, total: int) -> float:
    from scipy.special import betainc

    return float(betainc(count + 1, total - count + 1, limit))


def _shares(counts: TriggerCounts) -> str:
    shares = ((kind, counts.share(kind)) for kind in EventKind)
    return ", ".join(f"{share:.1%} {kind}" for kind, share in shares if share or kind is not EventKind.OTHER)
