"""Runs, as the night summary lists them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

__all__ = ["NightRuns", "RunEntry", "RunType", "TimeReference", "list_subruns", "run_tag"]


class RunType(StrEnum):
    """Kinds of run that the analysis knows; the rest is listed and never processed."""

    DRS4 = "DRS4"
    CALIBRATION = "CALIBRATION"
    DATA = "DATA"
    UNPROCESSED = "UNPROCESSED"

    @classmethod
    def from_label(cls, label: str) -> RunType:
        """Translate the label of a night summary (``CALI``, ``PEDCALIB``, ``ERROR``, ...)."""
        return _LABELS.get(label, cls.UNPROCESSED)


_LABELS = {
    "DRS4": RunType.DRS4,
    "CALI": RunType.CALIBRATION,
    "CALIBRATION": RunType.CALIBRATION,
    "PEDCALIB": RunType.CALIBRATION,
    "DATA": RunType.DATA,
}


def run_tag(run: int) -> str:
    """Write a run number as file names do, ``01874``."""
    return f"{run:05d}"


def list_subruns(subruns: Iterable[int], separator: str = ", ") -> str:
    """Write indices shortly, runs of them as ranges: ``0-3, 7``."""
    ranges: list[list[int]] = []
    for subrun in sorted(subruns):
        if ranges and subrun == ranges[-1][-1] + 1:
            ranges[-1][1:] = [subrun]
        else:
            ranges.append([subrun])
    return separator.join("-".join(map(str, pair)) for pair in ranges)


@dataclass(frozen=True)
class TimeReference:
    """A reference of a module's local clock to UCTS time.

    Parameters
    ----------
    module : int or None
        The module whose counter is the reference.
    ucts_t0 : int or None
        UCTS time of the reference event in ns, TAI.
    counter0 : int or None
        The module's counter at that event in ns.
    """

    module: int | None = None
    ucts_t0: int | None = None
    counter0: int | None = None


@dataclass(frozen=True)
class RunEntry:
    """One run of the night.

    Parameters
    ----------
    run : int
        Run number.
    n_subruns : int
        Number of sub-run files (of stream 1).
    label : str
        The type as the night summary writes it.
    start : datetime.datetime
        Start of the run, UTC.
    dragon, tib : TimeReference
        References of the Dragon modules' clock and of the TIB's.
    """

    run: int
    n_subruns: int
    label: str
    start: datetime
    dragon: TimeReference = TimeReference()
    tib: TimeReference = TimeReference()

    def __post_init__(self) -> None:
        if self.run < 1:
            raise ValueError(f"run number {self.run} is not positive")
        if self.n_subruns < 0:
            raise ValueError(f"run {self.run} has {self.n_subruns} sub-runs")

    @property
    def type(self) -> RunType:
        """What the analysis makes of the label."""
        return RunType.from_label(self.label)

    @property
    def tag(self) -> str:
        """The run number as file names write it."""
        return run_tag(self.run)


NightRuns = tuple[RunEntry, ...]
