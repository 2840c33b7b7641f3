"""Where the telescope points, and where that puts the source in the camera."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from osa.simulation.monitoring import drive_track, write_monitoring
from osa.simulation.plan import NightPlan, RunKind, RunPlan
from osa.simulation.showers import METRES_PER_DEGREE
from osa.simulation.targets import (
    Pointing,
    Target,
    find_target,
    source_in_camera,
    wobble_pointing,
)

START = datetime(2020, 1, 27, 23, 50, tzinfo=UTC)
CRAB = Pointing(find_target("crab"), 0.4, 70.0)
PLAN = NightPlan(
    date(2020, 1, 27),
    (
        RunPlan(1, RunKind.DRS4, START - timedelta(minutes=5), 1, 500),
        RunPlan(2, RunKind.DATA, START, 2, 50, pointing=CRAB),
    ),
)


def test_north_and_east_of_a_source() -> None:
    source = Target("somewhere", 80.0, 0.0)
    assert wobble_pointing(Pointing(source, 0.4, 0.0)) == pytest.approx((80.0, 0.4))
    assert wobble_pointing(Pointing(source, 0.4, 90.0)) == pytest.approx((80.4, 0.0))


def test_source_is_at_the_wobble_offset_and_turns_with_the_field() -> None:
    times = [START, START + timedelta(hours=1)]
    x, y = source_in_camera(CRAB, times)
    assert np.hypot(x, y) / METRES_PER_DEGREE == pytest.approx([0.4, 0.4], abs=2e-3)
    turned = np.rad2deg(np.arctan2(y[1], x[1]) - np.arctan2(y[0], x[0]))
    assert abs(turned) > 1.0


def test_opposite_wobbles_put_the_source_on_opposite_sides() -> None:
    x, y = source_in_camera(CRAB, [START])
    x2, y2 = source_in_camera(Pointing(CRAB.target, 0.4, 250.0), [START])
    assert (x2[0], y2[0]) == pytest.approx((-x[0], -y[0]), abs=0.01)


def test_drive_log_spans_the_runs_and_follows_the_sky() -> None:
    log = drive_track(PLAN)
    assert log.unix_time[0] < PLAN.runs[0].start.timestamp()
    assert log.unix_time[-1] > PLAN.runs[1].end.timestamp() + 2
    assert np.all(np.diff(log.unix_time) > 0)
    tracked = log.unix_time >= START.timestamp()
    assert np.all(log.zenith[tracked] < 60.0)
    assert 0.0 < np.abs(np.diff(log.zenith[tracked])).max() < 0.01


def test_logs_are_as_lstchain_reads_them(tmp_path: Path) -> None:
    drive, bending, target = write_monitoring(PLAN, tmp_path)
    assert drive.name == "DrivePosition_log_20200127.txt"
    rows, corrections = (np.loadtxt(path) for path in (drive, bending))
    assert np.array_equal(rows[:, 0], corrections[:, 0])
    log = drive_track(PLAN)
    assert rows[:, 1] + corrections[:, 1] == pytest.approx(log.azimuth, abs=1e-5)
    assert rows[:, 2] + corrections[:, 2] == pytest.approx(log.zenith, abs=1e-5)
    start, end = (line.split(" ") for line in target.read_text().splitlines())
    assert (start[1], start[4], end[1]) == ("TrackStart", "Crab", "TrackEnd")
    ra, dec = wobble_pointing(CRAB)
    assert (float(start[2]), float(start[3])) == pytest.approx((ra, dec), abs=1e-4)
    assert [path.name for path in tmp_path.glob(".*")] == []
