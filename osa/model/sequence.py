"""Sequences: what is done with one run of the night."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from osa.model.night import Night
from osa.model.run import run_tag

__all__ = ["BorrowedCalibration", "CalibrationChoice", "NightPlan", "Sequence", "SequenceKind", "SkippedRun"]


class SequenceKind(StrEnum):
    """The two kinds of sequence, as the table shows them."""

    CALIBRATION = "CALIBRATION"
    DATA = "DATA"


@dataclass(frozen=True)
class Sequence:
    """The work on one run.

    Parameters
    ----------
    telescope : str
        Section of the configuration, ``LST1``.
    number : int
        Place in the night; 0 is the calibration sequence.
    kind : SequenceKind
        Calibration or data.
    run : int
        The run that is processed: the calibration run, or a DATA run.
    n_subruns : int
        Sub-runs that the night summary promises.
    subruns : tuple of int
        Indices of the sub-runs that are processed, ascending: raw files are there.
    drs4_run, calibration_run : int or None
        The runs that calibrate this one; None where there is none.
    parent : int or None
        Number of the sequence that has to be done before; None for the calibration.
    source : str or None
        Name of the observed source, from the target log.
    wobble : str or None
        Pointing relative to the source, such as ``W0.40+090``: offset and position angle, deg.
    left_out : tuple of int
        Sub-runs that are left out.
    arriving : tuple of int
        Sub-runs whose raw files are still being written or copied.
    lacking : tuple of int
        Sub-runs of which a part of the events is not there: they have fewer raw files than others.
    blocked : str or None
        Why this sequence cannot be processed, where it cannot.
    """

    telescope: str
    number: int
    kind: SequenceKind
    run: int
    n_subruns: int
    subruns: tuple[int, ...]
    drs4_run: int | None = None
    calibration_run: int | None = None
    parent: int | None = None
    source: str | None = None
    wobble: str | None = None
    left_out: tuple[int, ...] = ()
    arriving: tuple[int, ...] = ()
    lacking: tuple[int, ...] = ()
    blocked: str | None = None

    def __post_init__(self) -> None:
        if list(self.subruns) != sorted(set(self.subruns)):
            raise ValueError(f"sub-runs of run {self.run} are not ascending: {self.subruns}")

    @property
    def name(self) -> str:
        """Name of the sequence and of its job, ``LST1_01874``."""
        return f"{self.telescope}_{run_tag(self.run)}"

    @property
    def _known(self) -> set[int]:
        return {*self.subruns, *self.left_out, *self.arriving}

    @property
    def absent_subruns(self) -> tuple[int, ...]:
        """Sub-runs that are promised and not left out, and whose raw files are not there.

        The night summary promises a number of files: where that many are there, none is absent, whatever
        their indices are.
        """
        known = self._known
        return tuple(sorted(set(range(self.n_subruns)) - known)) if len(known) < self.n_subruns else ()

    @property
    def gaps(self) -> tuple[int, ...]:
        """Indices without a raw file, although as many files as promised are there."""
        known = self._known
        return () if self.absent_subruns else tuple(sorted(set(range(max(known, default=-1))) - known))


@dataclass(frozen=True)
class SkippedRun:
    """A run of the night summary that gets no sequence, and why.

    Parameters
    ----------
    run : int
        The run.
    label : str
        Its type, as the night summary writes it.
    reason : str
        Why it is skipped.
    waits_for_raw_files : bool
        Whether it could serve if its raw files were there.
    n_subruns : int
        Sub-runs that the night summary promises.
    """

    run: int
    label: str
    reason: str
    waits_for_raw_files: bool = False
    n_subruns: int = 0


@dataclass(frozen=True)
class BorrowedCalibration:
    """The calibration of another night, by its runs."""

    night: Night
    drs4_run: int
    calibration_run: int


@dataclass(frozen=True)
class CalibrationChoice:
    """Which runs calibrate the night, and the reason in words.

    ``may_change`` says why others would be chosen if more raw files came; empty where none would.
    """

    drs4_run: int | None
    calibration_run: int | None
    explanation: tuple[str, ...] = ()
    may_change: str = ""


@dataclass(frozen=True)
class NightPlan:
    """All sequences of a night.

    Parameters
    ----------
    sequences : tuple of Sequence
        The calibration sequence first where there is one, then the DATA runs by time.
    skipped : tuple of SkippedRun
        Runs without a sequence.
    choice : CalibrationChoice
        How the calibration was chosen.
    borrowed : BorrowedCalibration or None
        The calibration of another night that serves this one; the night then has no calibration
        sequence.
    remarks : tuple of str
        What else a person should know.
    unlisted : tuple of int
        Runs that have raw files and no row in the night summary, and are not left out.
    arriving : str
        Why not all raw files of the night may have come; empty where all have.
    """

    sequences: tuple[Sequence, ...]
    skipped: tuple[SkippedRun, ...] = ()
    choice: CalibrationChoice = field(default_factory=lambda: CalibrationChoice(None, None))
    borrowed: BorrowedCalibration | None = None
    remarks: tuple[str, ...] = ()
    unlisted: tuple[int, ...] = ()
    arriving: str = ""

    @property
    def calibration(self) -> Sequence | None:
        """The calibration sequence, where the night has one."""
        return next((s for s in self.sequences if s.kind is SequenceKind.CALIBRATION), None)

    @property
    def data(self) -> tuple[Sequence, ...]:
        """The DATA sequences."""
        return tuple(s for s in self.sequences if s.kind is SequenceKind.DATA)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the sequences and of their jobs."""
        return tuple(sequence.name for sequence in self.sequences)

    def by_run(self, run: int) -> Sequence | None:
        """Find the sequence of a run."""
        return next((s for s in self.sequences if s.run == run), None)
