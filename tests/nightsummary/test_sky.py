"""Positions on the sky agree with astropy to well below what a wobble label needs."""

from __future__ import annotations

from math import cos, radians

import pytest
from astropy import units as u
from astropy.coordinates import AltAz, EarthLocation, SkyCoord
from astropy.time import Time
from astropy.utils import iers
from hypothesis import given
from hypothesis import strategies as st

from osa.nightsummary.sky import (
    angular_offset,
    horizontal_to_j2000,
    mean_direction,
    wobble_label,
)

CRAB = (83.6331, 22.0145)
PLACE = EarthLocation(lat=28.761526 * u.deg, lon=-17.891497 * u.deg, height=2199.885 * u.m)
NIGHTS = ["2018-11-20 01:00", "2020-01-27 22:15", "2023-06-15 02:30", "2026-03-01 05:45", "2026-11-23 23:59"]


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iers.conf, "auto_download", False)
    monkeypatch.setattr(iers.conf, "iers_degraded_accuracy", "ignore")


def true_positions(time: Time) -> tuple[list[tuple[float, float]], SkyCoord]:
    """Horizontal directions over the whole visible sky, and their ICRS positions."""
    directions = [(float(az), alt) for alt in (10.0, 35.0, 60.0, 80.0, 89.5) for az in range(0, 360, 40)]
    frame = AltAz(obstime=time, location=PLACE)
    horizontal = SkyCoord(
        [az for az, _ in directions] * u.deg, [alt for _, alt in directions] * u.deg, frame=frame
    )
    return directions, horizontal.icrs


@pytest.mark.parametrize("night", NIGHTS)
@pytest.mark.filterwarnings("ignore")
def test_directions_agree_with_astropy(night: str) -> None:
    time = Time(night)
    directions, truth = true_positions(time)
    ours = [horizontal_to_j2000(az, alt, time.unix) for az, alt in directions]
    offset = truth.separation(SkyCoord([ra for ra, _ in ours] * u.deg, [dec for _, dec in ours] * u.deg))
    assert offset.max() < 0.02 * u.deg


@pytest.mark.parametrize("night", NIGHTS)
@pytest.mark.parametrize(
    ("offset", "angle"), [(0.4, 0), (0.4, 90), (0.4, 180), (0.4, 270), (0.7, 45), (1.0, 200)]
)
@pytest.mark.filterwarnings("ignore")
def test_wobble_agrees_with_astropy(night: str, offset: float, angle: float) -> None:
    time = Time(night)
    source = SkyCoord(*CRAB, unit="deg")
    pointing = source.directional_offset_by(angle * u.deg, offset * u.deg)
    seen = pointing.transform_to(AltAz(obstime=time, location=PLACE))
    ours = horizontal_to_j2000(float(seen.az.deg), float(seen.alt.deg), time.unix)
    found, _ = angular_offset(CRAB, ours)
    assert found == pytest.approx(offset, abs=0.05)
    label = wobble_label(CRAB, ours)
    assert label is not None
    assert float(label[1:5]) == pytest.approx(offset, abs=0.021)
    assert min(abs(int(label[6:]) - angle), 360 - abs(int(label[6:]) - angle)) <= 5


@given(st.tuples(st.floats(0, 360), st.floats(-85, 85)), st.tuples(st.floats(0, 360), st.floats(-85, 85)))
def test_offsets_agree_with_astropy(one: tuple[float, float], other: tuple[float, float]) -> None:
    separation, angle = angular_offset(one, other)
    first, second = (SkyCoord(*place, unit="deg") for place in (one, other))
    assert separation == pytest.approx(first.separation(second).deg, abs=1e-5)
    if 0.01 < separation < 179.9:
        difference = (angle - first.position_angle(second).deg + 180) % 360 - 180
        assert abs(difference) < 1e-3


@pytest.mark.parametrize(
    ("ra", "dec", "label"),
    [
        (0.0, 0.0, "ON"),
        (0.0, 0.099, "ON"),
        (0.0, 0.4, "W0.40+000"),
        (0.4, 0.0, "W0.40+090"),
        (0.0, -0.4, "W0.40+180"),
        (-0.4, 0.0, "W0.40+270"),
        (-0.01, 0.4, "W0.40+000"),
        (0.0, 2.9, "W2.90+000"),
        (0.0, 3.1, None),
        (100.0, 0.0, None),
    ],
)
def test_labels(ra: float, dec: float, label: str | None) -> None:
    ra0, dec0 = CRAB
    assert wobble_label(CRAB, (ra0 + ra / cos(radians(dec0)), dec0 + dec)) == label


def test_mean_across_zero() -> None:
    ra, dec = mean_direction([(359.0, 10.0), (1.0, 10.0)])
    assert min(ra, 360.0 - ra) < 1e-9
    assert dec == pytest.approx(10.0, abs=0.01)
