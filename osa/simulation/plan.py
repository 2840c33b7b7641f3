"""The plan of a simulated night: which runs, how long, on what."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

from osa.simulation.targets import TARGETS, Pointing, Target, choose_window, find_target

__all__ = [
    "END_FLAG",
    "SIZES",
    "DataFormat",
    "EventMix",
    "NightPlan",
    "NightSize",
    "RunKind",
    "RunPlan",
    "make_plan",
]


END_FLAG = "end_of_night"
"""File in the raw folder that says that all raw files have come."""


class DataFormat(StrEnum):
    """Format of the raw files."""

    EVBV5 = "EVBv5"
    R1V1 = "R1v1"


class RunKind(StrEnum):
    """Kinds of run, as the night summary writes them."""

    DRS4 = "DRS4"
    CALIBRATION = "CALI"
    DATA = "DATA"


@dataclass(frozen=True)
class EventMix:
    """What the events of a DATA run are.

    Parameters
    ----------
    pedestals, flatfields, muons : float
        Shares of all events. lstchain's data check needs two pedestal and two flat-field events
        in each sub-run; a run with 10 % pedestals is no DATA run.
    gammas : float
        Share of the air showers that are gammas from the source; the rest are protons.
    """

    pedestals: float = 0.07
    flatfields: float = 0.10
    muons: float = 0.04
    gammas: float = 0.6

    def __post_init__(self) -> None:
        if not 0.0 < self.pedestals < 0.1:
            raise ValueError(f"{self.pedestals:.0%} pedestals: a DATA run has less than 10 %")
        if min(self.flatfields, self.muons) < 0.0 or not 0.0 <= self.gammas <= 1.0:
            raise ValueError(f"shares of events must be between 0 and 1: {self}")
        if self.pedestals + self.flatfields + self.muons >= 1.0:
            raise ValueError(f"the shares leave no air showers: {self}")


@dataclass(frozen=True)
class RunPlan:
    """One run.

    Parameters
    ----------
    run : int
        Run number.
    kind : RunKind
        What it is for.
    start : datetime.datetime
        Start, UTC.
    subruns : int
        Sub-run files of each stream.
    events : int
        Events of each sub-run.
    subrun_duration : datetime.timedelta
        Time that the events of a sub-run span; the next sub-run follows at once.
    pointing : Pointing or None
        What the telescope follows; None while it is parked.
    """

    run: int
    kind: RunKind
    start: datetime
    subruns: int
    events: int
    subrun_duration: timedelta = timedelta(seconds=10)
    pointing: Pointing | None = None

    def __post_init__(self) -> None:
        name = f"run {self.run}"
        if not 1 <= self.run <= 99_999:
            raise ValueError(f"{name}: the number is not between 1 and 99999")
        if self.subruns < 1 or self.subruns > 9999:
            raise ValueError(f"{name}: {self.subruns} sub-runs; there can be 1 to 9999")
        if self.start.tzinfo is None or self.start.utcoffset() != timedelta(0):
            raise ValueError(f"{name}: the start {self.start} is not in UTC")
        fewest = _FEWEST_EVENTS[self.kind]
        if self.events < fewest:
            raise ValueError(
                f"{name}: {self.events} events a sub-run are too few for a {self.kind} run, "
                f"lstchain needs {fewest}"
            )
        if self.subrun_duration < timedelta(seconds=1):
            raise ValueError(f"{name}: a sub-run lasts {self.subrun_duration}, less than 1 s")
        if (self.kind is RunKind.DATA) != (self.pointing is not None):
            raise ValueError(f"{name}: DATA runs, and only these, need a pointing")

    @property
    def duration(self) -> timedelta:
        """Time between the first and the last event."""
        return self.subruns * self.subrun_duration

    @property
    def end(self) -> datetime:
        """End of the last sub-run, UTC."""
        return self.start + self.duration


# lstchain_create_run_summary calls a run DRS4 if 500 events of the first sub-run are physics
# triggers, and a calibration run if more than 50 of them are pedestals. The data check needs two
# pedestals and two flat-field events in a sub-run.
_FEWEST_EVENTS = {RunKind.DRS4: 500, RunKind.CALIBRATION: 150, RunKind.DATA: 30}


@dataclass(frozen=True)
class NightPlan:
    """A night to be made.

    Parameters
    ----------
    date : datetime.date
        Date of the evening.
    runs : tuple of RunPlan
        Runs in the order in which they are taken.
    seed : int
        Same seed, same waveforms and tables.
    data_format : DataFormat
        Format of the raw files.
    streams : int
        Raw files of each sub-run that share its events, 1 or 4.
    mix : EventMix
        What the events of the DATA runs are.
    training_events : int
        Gammas, and protons, that train the random forests.
    trees : int
        Trees of each forest.
    """

    date: date
    runs: tuple[RunPlan, ...]
    seed: int = 1
    data_format: DataFormat = DataFormat.EVBV5
    streams: int = 1
    mix: EventMix = field(default_factory=EventMix)
    training_events: int = 2000
    trees: int = 20

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed {self.seed} is negative")
        if self.streams not in {1, 4}:
            raise ValueError(f"{self.streams} streams: there are 1 or 4")
        if self.training_events < 200 or self.trees < 1:
            raise ValueError("the forests need 200 training events and one tree at the least")
        object.__setattr__(self, "data_format", DataFormat(self.data_format))
        self._check_runs()

    def _check_runs(self) -> None:
        if not self.runs:
            raise ValueError("a night needs at least one run")
        numbers = [run.run for run in self.runs]
        if numbers != sorted(set(numbers)):
            raise ValueError(f"run numbers are not ascending: {numbers}")
        midnight = datetime(self.date.year, self.date.month, self.date.day, tzinfo=UTC)
        evening, morning = midnight + timedelta(hours=12), midnight + timedelta(hours=36)
        for run in self.runs:
            if not evening <= run.start <= run.end <= morning:
                raise ValueError(f"run {run.run} is not in the night of {self.date}")
        for before, after in zip(self.runs, self.runs[1:], strict=False):
            if after.start < before.end:
                raise ValueError(f"run {after.run} starts before run {before.run} ends")

    @property
    def tag(self) -> str:
        """The date as paths write it, ``20200127``."""
        return f"{self.date:%Y%m%d}"

    def of_kind(self, kind: RunKind) -> tuple[RunPlan, ...]:
        """Select the runs of one kind."""
        return tuple(run for run in self.runs if run.kind is kind)


@dataclass(frozen=True)
class NightSize:
    """How much of everything a night has.

    Parameters
    ----------
    data_runs, subruns, events : int
        DATA runs, sub-runs of each, events of each sub-run.
    drs4_events, calibration_events : int
        Events of the DRS4 run and of the calibration run (one sub-run each).
    training_events, trees : int
        As in :class:`NightPlan`.
    """

    data_runs: int
    subruns: int
    events: int
    drs4_events: int
    calibration_events: int
    training_events: int
    trees: int


SIZES = {
    "tiny": NightSize(2, 2, 80, 500, 240, 1500, 15),
    "small": NightSize(2, 4, 200, 600, 400, 3000, 30),
    "full": NightSize(10, 20, 1000, 2000, 2000, 10000, 50),
}
_WOBBLE_ANGLES = (70.0, 250.0, 160.0, 340.0)
_GAP = timedelta(minutes=2)


def make_plan(
    night: date = date(2020, 1, 27),
    size: str = "tiny",
    *,
    seed: int = 1,
    data_format: DataFormat | str = DataFormat.EVBV5,
    streams: int = 1,
    data_runs: int | None = None,
    subruns: int | None = None,
    events: int | None = None,
    target: str | None = None,
    wobble_offset: float = 0.4,
    first_run: int = 1872,
    mix: EventMix | None = None,
) -> NightPlan:
    """Plan a night: a DRS4 run, a calibration run, and DATA runs on one source.

    Parameters
    ----------
    night : datetime.date
        Date of the evening.
    size : str
        ``tiny``, ``small`` or ``full``.
    seed, data_format, streams, mix
        As in :class:`NightPlan`.
    data_runs, subruns, events : int or None
        Overrides of the size.
    target : str or None
        Name of the source; None for the first one that is up.
    wobble_offset : float
        Degrees.
    first_run : int
        Number of the DRS4 run.

    Raises
    ------
    ValueError
        If the size, the source or a number cannot be used.
    """
    if size not in SIZES:
        raise ValueError(f"{size!r} is no size of a night; there are {', '.join(SIZES)}")
    amount = SIZES[size]
    n_runs = amount.data_runs if data_runs is None else data_runs
    n_subruns = amount.subruns if subruns is None else subruns
    if n_runs < 1 or n_subruns < 1:
        raise ValueError(f"{n_runs} DATA runs of {n_subruns} sub-runs: both must be positive")
    spacing = max(timedelta(minutes=5), n_subruns * timedelta(seconds=10) + _GAP)
    candidates = TARGETS if target is None else (find_target(target),)
    source, start = choose_window(night, n_runs * spacing, candidates=candidates)
    runs = [
        RunPlan(first_run, RunKind.DRS4, start - timedelta(minutes=20), 1, amount.drs4_events),
        RunPlan(
            first_run + 1,
            RunKind.CALIBRATION,
            start - timedelta(minutes=10),
            1,
            amount.calibration_events,
        ),
    ]
    for k, pointing in zip(range(n_runs), _wobbles(source, wobble_offset), strict=False):
        runs.append(
            RunPlan(
                first_run + 2 + k,
                RunKind.DATA,
                start + k * spacing,
                n_subruns,
                amount.events if events is None else events,
                pointing=pointing,
            )
        )
    return NightPlan(
        date=night,
        runs=tuple(runs),
        seed=seed,
        data_format=DataFormat(data_format),
        streams=streams,
        mix=mix or EventMix(),
        training_events=amount.training_events,
        trees=amount.trees,
    )


def _wobbles(target: Target, offset: float) -> Iterator[Pointing]:
    while True:
        for angle in _WOBBLE_ANGLES:
            yield Pointing(target, offset, angle)
