"""Choose the DRS4 and the calibration run that serve a night; pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from osa.errors import InputError
from osa.model.run import NightRuns, RunEntry, RunType, run_tag
from osa.model.sequence import CalibrationChoice

__all__ = ["NO_RUNS_LEFT_OUT", "SERVES", "Request", "by_time", "choose_calibration", "first_request"]

SERVES = "it served when the first task of the night was submitted"
"""Who asks for a run that serves already: a wish, which counts for nothing where it cannot be met."""

NO_RUNS_LEFT_OUT: Mapping[int, str] = MappingProxyType({})

_NUMBERS = 100
"""Run numbers before the first DATA run that are looked at: a night has fewer."""

_NOUNS = {RunType.DRS4: "DRS4 run", RunType.CALIBRATION: "calibration run"}


@dataclass(frozen=True)
class Request:
    """A run that somebody asks for.

    Parameters
    ----------
    run : int
        The run.
    origin : str
        Who asks, so that it can follow on "as": ``given with --drs4-run``.
    """

    run: int
    origin: str


def first_request(candidates: Iterable[tuple[int | None, str]]) -> Request | None:
    """Take the first that names a run; the candidates come in order of precedence.

    Parameters
    ----------
    candidates : iterable of (int or None, str)
        Run and origin.
    """
    return next((Request(run, origin) for run, origin in candidates if run is not None), None)


def by_time(runs: Iterable[RunEntry]) -> list[RunEntry]:
    """Sort runs by their start; by number where two started in the same second."""
    return sorted(runs, key=lambda entry: (entry.start, entry.run))


@dataclass(frozen=True)
class _Night:
    """What the choice is made from."""

    runs: tuple[RunEntry, ...]
    raw_subruns: Mapping[int, tuple[int, ...]]
    left_out: Mapping[int, str]
    arriving: Collection[int]

    def obstacle(self, entry: RunEntry) -> str | None:
        """Tell why a run cannot calibrate, where it cannot."""
        if entry.run in self.left_out:
            return f"left out: {self.left_out[entry.run]}"
        if not self.lacks_raw_file(entry):
            return None
        if entry.run in self.arriving:
            return "the raw file of its first sub-run is still arriving"
        return "no raw file of its first sub-run"

    def lacks_raw_file(self, entry: RunEntry) -> bool:
        """Whether a run cannot calibrate because the raw file of its first sub-run is not there."""
        return entry.run not in self.left_out and 0 not in self.raw_subruns.get(entry.run, ())

    def untold_before(self, first: RunEntry) -> list[int]:
        """Name the runs before another that have no type yet, or of which nothing has come."""
        known = {entry.run for entry in self.runs}
        errors = {entry.run for entry in self.runs if entry.type is RunType.UNPROCESSED}
        begin = max(min(known), first.run - _NUMBERS)
        numbers = {*(set(range(begin, first.run)) - known), *errors}
        return sorted(run for run in numbers if run < first.run and run not in self.left_out)

    def of_type(self, kind: RunType) -> list[RunEntry]:
        return [entry for entry in self.runs if entry.type is kind]

    def first_data(self) -> RunEntry | None:
        data = self.of_type(RunType.DATA)
        return next((entry for entry in data if entry.run not in self.left_out), None)


def choose_calibration(
    runs: NightRuns,
    *,
    raw_subruns: Mapping[int, tuple[int, ...]],
    drs4: Request | None = None,
    calibration: Request | None = None,
    left_out: Mapping[int, str] = NO_RUNS_LEFT_OUT,
    arriving: Collection[int] = (),
) -> CalibrationChoice:
    """Choose the runs that calibrate the night.

    What is asked for is taken. Otherwise the calibration run is the last one that started before
    the first DATA run, or the first one after it; the DRS4 run is the last one before the
    calibration run, or the first one after it. Runs that are left out or that lack the raw file
    of their first sub-run are passed over.

    Parameters
    ----------
    runs : tuple of RunEntry
        The night.
    raw_subruns : mapping of int to tuple of int
        Sub-runs with a raw file, by run.
    drs4, calibration : Request or None
        Runs that are asked for.
    left_out : mapping of int to str
        Runs to leave out, and why.
    arriving : collection of int
        Runs whose first sub-run is still being written or copied; it does not count as there.

    Raises
    ------
    InputError
        If a run that is asked for cannot serve; all reasons in one message.
    """
    night = _Night(tuple(by_time(runs)), raw_subruns, left_out, arriving)
    drs4 = _if_possible(drs4, RunType.DRS4, night)
    calibration = _if_possible(calibration, RunType.CALIBRATION, night)
    faults = [
        fault
        for request, kind in ((drs4, RunType.DRS4), (calibration, RunType.CALIBRATION))
        if request is not None and (fault := _fault(request, kind, night))
    ]
    if faults:
        raise InputError("\n  ".join(["the night cannot be calibrated as asked for:", *faults]))
    said: list[str] = []
    chosen = _choose(RunType.CALIBRATION, calibration, night, night.first_data(), said)
    if chosen is None and drs4 is None:
        said.append("no DRS4 run is chosen, as there is no calibration run")
        return CalibrationChoice(None, None, tuple(said))
    pedestal = _choose(RunType.DRS4, drs4, night, chosen, said)
    return CalibrationChoice(
        drs4_run=pedestal.run if pedestal else None,
        calibration_run=chosen.run if chosen else None,
        explanation=tuple(said),
        may_change=_what_may_change(
            night, None if calibration else chosen, None if drs4 else pedestal, chosen
        ),
    )


def _what_may_change(
    night: _Night, chosen: RunEntry | None, pedestal: RunEntry | None, calibration: RunEntry | None
) -> str:
    """Tell why more raw files could change the choice.

    What is looked for is a better run: it would have been taken before the first DATA run. None can
    come where all numbers up to that run are there, and each of them has a type.

    Parameters
    ----------
    night : _Night
        What the choice was made from.
    chosen, pedestal : RunEntry or None
        Calibration and DRS4 run that the rule chose; None where they were asked for.
    calibration : RunEntry or None
        The calibration run, however it was chosen.
    """
    order = {entry.run: place for place, entry in enumerate(night.runs)}
    first = night.first_data()
    if chosen is not None and (first is None or order[first.run] < order[chosen.run]):
        return "a calibration run before the first DATA run may come"
    if pedestal is not None and calibration is not None and order[calibration.run] < order[pedestal.run]:
        return "a DRS4 run before the calibration run may come"
    if first is not None and (chosen is not None or pedestal is not None):
        untold = [run_tag(run) for run in night.untold_before(first)]
        if untold:
            more = f" and {len(untold) - 1} more" if len(untold) > 1 else ""
            return f"what run {untold[0]}{more} before the first DATA run is may change"
    for kind, run in ((RunType.CALIBRATION, chosen), (RunType.DRS4, pedestal)):
        waiting = [entry.tag for entry in night.of_type(kind) if run and night.lacks_raw_file(entry)]
        if waiting:
            return f"the raw file of the first sub-run of {', '.join(waiting)} may come"
    return ""


def _if_possible(request: Request | None, kind: RunType, night: _Night) -> Request | None:
    is_wish = request is not None and request.origin == SERVES
    return None if is_wish and request is not None and _fault(request, kind, night) else request


def _fault(request: Request, kind: RunType, night: _Night) -> str | None:
    noun = f"{_NOUNS[kind]} {run_tag(request.run)} (as {request.origin})"
    entry = next((entry for entry in night.runs if entry.run == request.run), None)
    if entry is None:
        there = ", ".join(entry.tag for entry in night.of_type(kind)) or "none"
        return f"{noun} is not in the night summary; {_NOUNS[kind]}s there: {there}"
    if entry.type is not kind:
        there = ", ".join(entry.tag for entry in night.of_type(kind)) or "none"
        return f"{noun} is of type {entry.label} there; {_NOUNS[kind]}s of the night: {there}"
    obstacle = night.obstacle(entry)
    return f"{noun} cannot be used: {obstacle}" if obstacle else None


def _choose(
    kind: RunType, request: Request | None, night: _Night, reference: RunEntry | None, said: list[str]
) -> RunEntry | None:
    """Choose a run relative to a reference, and say why."""
    noun = _NOUNS[kind]
    if request is not None:
        because = "" if request.origin == SERVES else "as "
        said.append(f"{noun} {run_tag(request.run)}: {because}{request.origin}")
        return next(entry for entry in night.runs if entry.run == request.run)
    candidates = []
    for entry in night.of_type(kind):
        obstacle = night.obstacle(entry)
        if obstacle:
            said.append(f"{noun} {entry.tag} was passed over: {obstacle}")
        else:
            candidates.append(entry)
    if not candidates:
        said.append(f"no usable {noun} in this night")
        return None
    chosen, why = _nearest(candidates, reference, night)
    said.append(f"{noun} {chosen.tag}: {why}")
    return chosen


def _nearest(candidates: list[RunEntry], reference: RunEntry | None, night: _Night) -> tuple[RunEntry, str]:
    if reference is None:
        return candidates[-1], f"{_place('last', candidates)} of the night, without DATA runs so far"
    order = {entry.run: place for place, entry in enumerate(night.runs)}
    before = [entry for entry in candidates if order[entry.run] < order[reference.run]]
    what = "the first DATA run" if reference.type is RunType.DATA else "the calibration run"
    if before:
        return before[-1], f"{_place('last', before)} before {what} {reference.tag}"
    return candidates[0], f"{_place('first', candidates)} after {what} {reference.tag}, as none is before it"


def _place(place: str, candidates: list[RunEntry]) -> str:
    return f"the {place} of {len(candidates)}" if len(candidates) > 1 else "the only one"
