"""From the runs of a night to its sequences; pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from osa.model.run import NightRuns, RunEntry, RunType, run_tag
from osa.model.sequence import CalibrationChoice, NightPlan, Sequence, SequenceKind, SkippedRun
from osa.nightsummary.choice import NO_RUNS_LEFT_OUT, Request, by_time, choose_calibration

__all__ = ["PointingOf", "extract", "no_pointing"]

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
    pointing: PointingOf = no_pointing,
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
    pointing : callable
        Tells source and wobble of a run; asked once for each DATA sequence.

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
    choice = choose_calibration(
        runs, raw_subruns=raw_subruns, drs4=drs4, calibration=calibration, left_out=left_out
    )
    night = _Night(telescope, raw_dir, raw_subruns, choice)
    ordered = by_time(runs)
    first = [night.calibration_sequence(entry) for entry in ordered if entry.run == choice.calibration_run]
    data = [entry for entry in ordered if entry.type is RunType.DATA and entry.run not in left_out]
    sequences = [
        night.data_sequence(number, entry, *pointing(entry)) for number, entry in enumerate(data, start=1)
    ]
    used = {choice.drs4_run, choice.calibration_run, *(entry.run for entry in data)}
    skipped = [
        SkippedRun(entry.run, entry.label, night.why_skipped(entry, left_out))
        for entry in ordered
        if entry.run not in used
    ]
    return NightPlan(
        sequences=(*first, *sequences),
        skipped=tuple(skipped),
        choice=_with_strangers(choice, left_out, {entry.run for entry in runs}),
    )


def _with_strangers(
    choice: CalibrationChoice, left_out: Mapping[int, str], known: set[int]
) -> CalibrationChoice:
    """Say which runs are to be left out although the night does not have them."""
    notes = tuple(
        f"run {run_tag(run)} is to be left out but is not in the night summary"
        for run in sorted(set(left_out) - known)
    )
    return CalibrationChoice(choice.drs4_run, choice.calibration_run, choice.explanation + notes)


@dataclass(frozen=True)
class _Night:
    telescope: str
    raw_dir: Path
    raw_subruns: Mapping[int, tuple[int, ...]]
    choice: CalibrationChoice

    def calibration_sequence(self, entry: RunEntry) -> Sequence:
        blocked = "no usable DRS4 run in this night" if self.choice.drs4_run is None else None
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
            parent=None if self.choice.calibration_run is None else 0,
            source=source,
            wobble=wobble,
            blocked=self._why_blocked(subruns),
        )

    def _why_blocked(self, subruns: tuple[int, ...]) -> str | None:
        reasons = []
        if not subruns:
            reasons.append(f"no raw files in {self.raw_dir}")
        if self.choice.calibration_run is None:
            reasons.append("no usable calibration run in this night")
        elif self.choice.drs4_run is None:
            reasons.append("no usable DRS4 run in this night")
        return "; ".join(reasons) or None

    def why_skipped(self, entry: RunEntry, left_out: Mapping[int, str]) -> str:
        if entry.run in left_out:
            return f"left out: {left_out[entry.run]}"
        if entry.type is RunType.UNPROCESSED:
            return f"type {entry.label} is not processed"
        if 0 not in self.raw_subruns.get(entry.run, ()):
            return "no raw file of its first sub-run"
        is_drs4 = entry.type is RunType.DRS4
        chosen = self.choice.drs4_run if is_drs4 else self.choice.calibration_run
        if chosen is None:
            return "not needed: there is no usable calibration run"
        return f"not needed: run {run_tag(chosen)} was chosen"
