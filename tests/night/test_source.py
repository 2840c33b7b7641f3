"""In DL2 the source is seen at its place on the sky, and would not be seen at another."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from astropy import units as u
from astropy.coordinates import AltAz, EarthLocation, SkyCoord
from astropy.time import Time
from astropy.utils import iers
from real_night import DATA, Stage

from osa.layout import DL2
from osa.steps.checks import DL2_PARAMETERS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

CRAB = SkyCoord(83.63308 * u.deg, 22.01450 * u.deg)
LST1 = EarthLocation.from_geodetic(-17.891497 * u.deg, 28.761526 * u.deg, 2184 * u.m)
SHOWER = 32
GAMMALIKE = 0.6
CLOSE = 0.12
"""Degrees; lstchain's toy forests find a gamma within some 0.05 degrees."""


@pytest.fixture(scope="module")
def gammas(closed: Stage) -> pd.DataFrame:
    """All gamma-like showers of the night."""
    files = [closed.layout.final(DL2, run) for run in DATA]
    events = pd.concat([pd.read_hdf(file, DL2_PARAMETERS) for file in files])
    chosen = events[(events["event_type"] == SHOWER) & (events["gammaness"] > GAMMALIKE)]
    assert len(chosen) > 40
    return chosen


def distances(events: pd.DataFrame, position: SkyCoord) -> npt.NDArray[np.float64]:
    """Angles between reconstructed directions and a position on the sky, degrees."""
    with iers.conf.set_temp("auto_download", False):
        times = Time(events["dragon_time"].to_numpy(), format="unix")
        frame = AltAz(obstime=times, location=LST1)
        expected = position.transform_to(frame)
        alt, az = (events[name].to_numpy() * u.rad for name in ("reco_alt", "reco_az"))
        found = SkyCoord(alt=alt, az=az, frame=frame)
        return np.asarray(found.separation(expected).deg)


def is_seen(events: pd.DataFrame, position: SkyCoord) -> bool:
    """Tell whether most gamma-like events come from a position."""
    return bool(np.median(distances(events, position)) < CLOSE)


def test_source_is_seen_at_its_place(gammas: pd.DataFrame) -> None:
    assert is_seen(gammas, CRAB), np.median(distances(gammas, CRAB))


@pytest.mark.parametrize("angle", range(0, 360, 45))
def test_source_would_not_be_seen_elsewhere(gammas: pd.DataFrame, angle: int) -> None:
    moved = CRAB.directional_offset_by(angle * u.deg, 0.3 * u.deg)
    assert not is_seen(gammas, moved)


def test_both_wobble_positions_see_it(gammas: pd.DataFrame) -> None:
    """A direction that is right in the camera and wrong on the sky would follow the telescope."""
    for run in DATA:
        assert is_seen(gammas[gammas["obs_id"] == run], CRAB)
