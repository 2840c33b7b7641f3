"""The plan of a night refuses what cannot be simulated."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from osa.simulation.plan import (
    DataFormat,
    EventMix,
    NightPlan,
    RunKind,
    RunPlan,
    make_plan,
)
from osa.simulation.targets import Pointing, choose_window, find_target, horizontal_track

START = datetime(2020, 1, 27, 22, 0, tzinfo=UTC)
DRS4 = RunPlan(1872, RunKind.DRS4, START, 1, 500)


@pytest.fixture(scope="module")
def tiny() -> NightPlan:
    return make_plan()


def test_tiny_night_has_all_kinds_of_run(tiny: NightPlan) -> None:
    kinds = [run.kind for run in tiny.runs]
    assert kinds == [RunKind.DRS4, RunKind.CALIBRATION, RunKind.DATA, RunKind.DATA]
    assert [run.run for run in tiny.runs] == [1872, 1873, 1874, 1875]


def test_runs_are_apart_and_in_the_night(tiny: NightPlan) -> None:
    for before, after in zip(tiny.runs, tiny.runs[1:], strict=False):
        assert before.end < after.start
    assert all(run.start.date() in {date(2020, 1, 27), date(2020, 1, 28)} for run in tiny.runs)


def test_overrides_and_formats() -> None:
    plan = make_plan(data_runs=3, subruns=1, events=40, data_format="R1v1", streams=4)
    data = plan.of_kind(RunKind.DATA)
    assert [(run.subruns, run.events) for run in data] == [(1, 40)] * 3
    assert plan.data_format is DataFormat.R1V1
    assert plan.streams == 4
    angles = {run.pointing.position_angle for run in data if run.pointing}
    assert len(angles) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": "huge"}, "no size"),
        ({"streams": 2}, "streams"),
        ({"data_format": "EVBv9"}, "EVBv9"),
        ({"events": 10}, "too few"),
        ({"subruns": 0}, "positive"),
        ({"data_runs": 0}, "positive"),
        ({"seed": -1}, "seed"),
        ({"target": "Vega"}, "no source"),
        ({"wobble_offset": 5.0}, "wobble"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_plan(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"run": 0}, "number"),
        ({"subruns": 0}, "sub-runs"),
        ({"start": START.replace(tzinfo=None)}, "UTC"),
        ({"events": 100}, "too few"),
        ({"pointing": Pointing(find_target("Crab"), 0.4, 0.0)}, "need a pointing"),
        ({"subrun_duration": timedelta(0)}, "less than 1 s"),
    ],
)
def test_bad_runs_are_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(DRS4, **change)  # type: ignore[arg-type]


def test_runs_that_overlap_or_leave_the_night_are_refused() -> None:
    night = date(2020, 1, 27)
    with pytest.raises(ValueError, match="starts before"):
        NightPlan(night, (DRS4, replace(DRS4, run=1873, start=START + timedelta(seconds=5))))
    with pytest.raises(ValueError, match="not in the night"):
        NightPlan(date(2020, 1, 20), (DRS4,))
    with pytest.raises(ValueError, match="not ascending"):
        NightPlan(night, (DRS4, DRS4))
    with pytest.raises(ValueError, match="at least one"):
        NightPlan(night, ())


@pytest.mark.parametrize("shares", [{"pedestals": 0.1}, {"flatfields": 0.95}, {"gammas": 1.2}])
def test_event_mix_is_checked(shares: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"pedestals|shares"):
        EventMix(**shares)


@pytest.mark.parametrize("month", [1, 4, 7, 10])
def test_some_source_is_up_in_any_season(month: int) -> None:
    duration = timedelta(minutes=30)
    target, start = choose_window(date(2024, month, 15), duration)
    altitude, _ = horizontal_track(target.ra, target.dec, [start, start + duration])
    assert altitude.min() > 29.0
