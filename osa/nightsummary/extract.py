"""From the runs of a night to its sequences; pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from osa.model.run import NightRuns, RunEntry, RunType, list_subruns, run_tag
from osa.model.sequence import (
    BorrowedCalibration,
    CalibrationChoice,
    NightPlan,
    Sequence,
    SequenceKind,
    SkippedRun,
)
from osa.nightsummary.arrival import Arrival
from osa.nightsummary.choice import NO_RUNS_LEFT_OUT, Request, by_time, choose_calibration

__all__ = ["PointingOf", "extract", "no_pointing"]

ALL_HAVE_COME = Arrival()
NO_SUBRUNS_LEFT_OUT: Mapping[tuple[int, int], str] = MappingProxyType({})

PointingOf = Callable[[RunEntry], tuple[str | None, str | None]]
"""Tells the source and the wobble label of a run, each None where it is not known."""


def no_pointing(entry: RunEntry) -> tuple[str | None, str | None]:
    """Know nothing of where the telescope pointed."""
    return None, None


def extract(
    runs: NightRuns,
    *,
    telescope: str,
    raw_dir: Path,
    raw_subruns: Mapping[int, tuple[int, ...]],
    drs4: Request | None = None,
    calibration: Request | None = None,
    left_out: Mapping[int, str] = NO_RUNS_LEFT_OUT,
    left_out_subruns: Mapping[tuple[int, int], str] = NO_SUBRUNS_LEFT_OUT,
    borrowed: BorrowedCalibration | None = None,
    arrival: Arrival = ALL_HAVE_COME,
    pointing: PointingOf = no_pointing,
    has_drive_log: bool = True,
    why_errors: Mapping[int, str] = NO_RUNS_LEFT_OUT,
) -> NightPlan:
    """Make the sequences of a night.

    Parameters
    ----------
    runs : tuple of RunEntry
        The night summary.
    telescope : str
        Section of the configuration, ``LST1``.
    raw_dir : pathlib.Path
        Where the raw files are looked for; it is named in messages only.
    raw_subruns : mapping of int to tuple of int
        Indices of the sub-runs whose raw files are there, ascending, by run.
    drs4, calibration : Request or None
        Runs that are asked for to calibrate the night; None leaves the choice to the rules of
        :func:`osa.nightsummary.choice.choose_calibration`.
    left_out : mapping of int to str
        Runs to leave out, and why.
    left_out_subruns : mapping of (int, int) to str
        Sub-runs to leave out, each by run and sub-run, and why.
    borrowed : BorrowedCalibration, optional
        The calibration of another night, where that serves.
    arrival : Arrival
        How far the raw files have come: what may still be written is not processed, and nothing before it
        is settled which runs calibrate.
    pointing : callable
        Tells source and wobble of a run; asked once for each DATA sequence.
    has_drive_log : bool
        Whether the pointing of the night is there: while raw files arrive, DATA waits for it.
    why_errors : mapping of int to str
        Why the type of a run could not be told, by run.

    Returns
    -------
    NightPlan
        Every run of the night summary is in it: as a sequence, as the DRS4 run of the
        calibration sequence, or among the skipped ones.

    Raises
    ------
    InputError
        If a run that is asked for cannot serve.
    """
    left_out = {**_left_out_whole(raw_subruns, left_out_subruns), **left_out}
    moving = {(run, subrun) for run, subruns in arrival.moving.items() for subrun in subruns}
    raw_subruns = _without(raw_subruns, {*left_out_subruns, *moving})
    if borrowed is None:
        choice = choose_calibration(
            runs,
            raw_subruns=raw_subruns,
            drs4=drs4,
            calibration=calibration,
            left_out=left_out,
            arriving={run for run, subrun in moving if subrun == 0},
        )
    else:
        choice = _choice_of(borrowed)
    waits_for_drive_log = not (arrival.is_complete or has_drive_log)
    night = _Night(
        telescope,
        raw_dir,
        raw_subruns,
        left_out_subruns,
        choice,
        borrowed,
        arrival,
        waits_for_drive_log,
        why_errors,
    )
    ordered = by_time(runs)
    first = [] if borrowed else [entry for entry in ordered if entry.run == choice.calibration_run]
    data = [entry for entry in ordered if entry.type is RunType.DATA and entry.run not in left_out]
    sequences = [
        night.data_sequence(number, entry, *pointing(entry)) for number, entry in enumerate(data, start=1)
    ]
    known = {*left_out, *(entry.run for entry in runs)}
    unlisted = tuple(run for run, subruns in raw_subruns.items() if subruns and run not in known)
    used = {*(entry.run for entry in (*first, *data))} | ({choice.drs4_run} if first else set())
    skipped = [
        SkippedRun(
            entry.run,
            entry.label,
            night.why_skipped(entry, left_out),
            night.lacks_raw_files(entry),
            entry.n_subruns,
        )
        for entry in ordered
        if entry.run not in used
    ]
    return NightPlan(
        sequences=(*(night.calibration_sequence(entry) for entry in first), *sequences),
        skipped=tuple(skipped),
        choice=_with_strangers(
            choice, {*left_out, *(run for run, _ in left_out_subruns)}, {entry.run for entry in runs}
        ),
        borrowed=borrowed,
        remarks=(
            *_remarks(left_out_subruns, {entry.run for entry in data}),
            *_gaps(sequences),
            *_unlisted(unlisted),
        ),
        unlisted=unlisted,
        arriving=arrival.why,
    )


def _left_out_whole(
    raw_subruns: Mapping[int, tuple[int, ...]], left_out: Mapping[tuple[int, int], str]
) -> dict[int, str]:
    """Find the runs of which every sub-run is left out, with all the reasons."""
    found = {}
    for run, subruns in raw_subruns.items():
        reasons = [left_out[run, subrun] for subrun in subruns if (run, subrun) in left_out]
        if subruns and len(reasons) == len(subruns):
            found[run] = "; ".join(dict.fromkeys(reasons))
    return found


def _gaps(sequences: Iterable[Sequence]) -> Iterator[str]:
    """Say which raw files are not there although none is missing by the number of sub-runs."""
    for sequence in sequences:
        if sequence.gaps:
            which = list_subruns(sequence.gaps)
            yield f"run {run_tag(sequence.run)}: no raw file of sub-runs {which}, and none is promised"
        if sequence.lacking:
            which = list_subruns(sequence.lacking)
            yield f"run {run_tag(sequence.run)}: files of some streams of sub-runs {which} are not there"


def _unlisted(runs: Iterable[int]) -> Iterator[str]:
    """Say which runs have raw files and no row in the night summary."""
    tags = [run_tag(run) for run in runs]
    if tags:
        yield f"raw files of runs that the night summary does not have: {', '.join(tags)}"


def _without(
    raw_subruns: Mapping[int, tuple[int, ...]], left_out: Collection[tuple[int, int]]
) -> Mapping[int, tuple[int, ...]]:
    return {
        run: tuple(subrun for subrun in subruns if (run, subrun) not in left_out)
        for run, subruns in raw_subruns.items()
    }


def _choice_of(borrowed: BorrowedCalibration) -> CalibrationChoice:
    said = (
        f"calibration run {run_tag(borrowed.calibration_run)} and DRS4 run {run_tag(borrowed.drs4_run)} "
        f"of the night {borrowed.night} serve, as the night's own calibration could not be had; "
        "sequencer --own-calibration goes back to that"
    )
    return CalibrationChoice(borrowed.drs4_run, borrowed.calibration_run, (said,))


def _remarks(left_out: Mapping[tuple[int, int], str], runs: set[int]) -> Iterator[str]:
    """Say which sub-runs are left out, those of a run and a reason together."""
    by_reason: dict[tuple[int, str], list[int]] = {}
    for (run, subrun), reason in sorted(left_out.items()):
        if run in runs:
            by_reason.setdefault((run, reason), []).append(subrun)
    for (run, reason), subruns in by_reason.items():
        yield f"run {run_tag(run)}: sub-runs {list_subruns(subruns)} left out: {reason}"


def _with_strangers(choice: CalibrationChoice, left_out: set[int], known: set[int]) -> CalibrationChoice:
    """Say which runs are to be left out, in whole or in part, although the night does not have them."""
    notes = tuple(
        f"run {run_tag(run)} is to be left out but is not in the night summary"
        for run in sorted(left_out - known)
    )
    return replace(choice, explanation=choice.explanation + notes)


@dataclass(frozen=True)
class _Night:
    telescope: str
    raw_dir: Path
    raw_subruns: Mapping[int, tuple[int, ...]]
    left_out_subruns: Mapping[tuple[int, int], str]
    choice: CalibrationChoice
    borrowed: BorrowedCalibration | None
    arrival: Arrival
    waits_for_drive_log: bool
    why_errors: Mapping[int, str]

    @property
    def unsettled(self) -> str | None:
        """Why nothing is done yet with the runs that calibrate, and what needs them."""
        if self.arrival.is_complete or not self.choice.may_change:
            return None
        return f"raw files are still arriving: {self.choice.may_change}"

    def calibration_sequence(self, entry: RunEntry) -> Sequence:
        blocked = "no usable DRS4 run in this night" if self.choice.drs4_run is None else self.unsettled
        return Sequence(
            telescope=self.telescope,
            number=0,
            kind=SequenceKind.CALIBRATION,
            run=entry.run,
            n_subruns=entry.n_subruns,
            subruns=self.raw_subruns.get(entry.run, ()),
            drs4_run=self.choice.drs4_run,
            calibration_run=entry.run,
            blocked=blocked,
        )

    def data_sequence(self, number: int, entry: RunEntry, source: str | None, wobble: str | None) -> Sequence:
        subruns = self.raw_subruns.get(entry.run, ())
        return Sequence(
            telescope=self.telescope,
            number=number,
            kind=SequenceKind.DATA,
            run=entry.run,
            n_subruns=entry.n_subruns,
            subruns=subruns,
            drs4_run=self.choice.drs4_run,
            calibration_run=self.choice.calibration_run,
            parent=None if self.borrowed or self.choice.calibration_run is None else 0,
            source=source,
            wobble=wobble,
            left_out=tuple(sorted(s for run, s in self.left_out_subruns if run == entry.run)),
            arriving=self.arrival.moving.get(entry.run, ()),
            lacking=self.arrival.lacking.get(entry.run, ()),
            blocked=self._why_blocked(subruns),
        )

    def _why_blocked(self, subruns: tuple[int, ...]) -> str | None:
        reasons = []
        if not subruns:
            reasons.append(f"no raw files in {self.raw_dir}")
        if self.unsettled:
            reasons.append(self.unsettled)
        if self.waits_for_drive_log:
            reasons.append("raw files are still arriving, and the drive log has not come")
        if self.choice.calibration_run is None:
            reasons.append("no usable calibration run in this night")
        elif self.choice.drs4_run is None:
            reasons.append("no usable DRS4 run in this night")
        return "; ".join(reasons) or None

    def lacks_raw_files(self, entry: RunEntry) -> bool:
        """Whether a run could calibrate if the raw file of its first sub-run were there."""
        is_calibrator = entry.type in {RunType.DRS4, RunType.CALIBRATION}
        return is_calibrator and 0 not in self.raw_subruns.get(entry.run, ())

    def why_skipped(self, entry: RunEntry, left_out: Mapping[int, str]) -> str:
        if entry.run in left_out:
            return f"left out: {left_out[entry.run]}"
        if entry.type is RunType.UNPROCESSED:
            why = self.why_errors.get(entry.run) if entry.label == "ERROR" else None
            return f"type {entry.label} is not processed" + (f": {why}" if why else "")
        if self.lacks_raw_files(entry) and not self.borrowed:
            if 0 in self.arrival.moving.get(entry.run, ()):
                return "the raw file of its first sub-run is still arriving"
            return "no raw file of its first sub-run"
        if self.borrowed:
            return f"not needed: the calibration of the night {self.borrowed.night} serves"
        is_drs4 = entry.type is RunType.DRS4
        chosen = self.choice.drs4_run if is_drs4 else self.choice.calibration_run
        if chosen is None:
            return "not needed: there is no usable calibration run"
        return f"not needed: run {run_tag(chosen)} was chosen"
