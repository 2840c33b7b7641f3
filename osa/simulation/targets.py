"""Sources to look at, and where the telescope points while it follows them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "TARGETS",
    "Pointing",
    "Target",
    "choose_window",
    "find_target",
    "horizontal_track",
    "source_in_camera",
    "wobble_pointing",
]

FloatArray = npt.NDArray[np.float64]
Frame = Any  # astropy has no types

# Position of LST-1 (WGS84), degrees and metres: ctapipe_io_lst.constants.LST1_LOCATION.
_LONGITUDE, _LATITUDE, _HEIGHT = -17.89149701, 28.76152611, 2199.885
_SUN_LIMIT = -13.0  # degrees; darker than nautical twilight
_STEP = timedelta(minutes=5)
_EFFECTIVE_FOCAL_LENGTH = 29.30565  # metres, as lstchain maps sky to camera


@dataclass(frozen=True)
class Target:
    """A source in the sky.

    Parameters
    ----------
    name : str
        Name without blanks, as the target log writes it.
    ra, dec : float
        ICRS position, degrees.
    """

    name: str
    ra: float
    dec: float


@dataclass(frozen=True)
class Pointing:
    """What the telescope follows during a run.

    Parameters
    ----------
    target : Target
        The source.
    offset : float
        Angle between the source and the centre of the camera, degrees.
    position_angle : float
        Direction from the source to the centre of the camera, from north through east, degrees.
    """

    target: Target
    offset: float
    position_angle: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.offset <= 1.5:
            raise ValueError(f"wobble offset {self.offset} deg is not between 0 and 1.5")


# Positions from SIMBAD, ICRS.
TARGETS = (
    Target("Crab", 83.6331, 22.0145),
    Target("Mrk421", 166.1138, 38.2088),
    Target("Mrk501", 253.4676, 39.7602),
    Target("1ES1959+650", 299.9994, 65.1485),
    Target("BLLac", 330.6804, 42.2778),
    Target("1ES0647+250", 102.6937, 25.0499),
    Target("1ES0229+200", 38.2026, 20.2882),
)


def find_target(name: str) -> Target:
    """Look up a source by its name.

    Raises
    ------
    ValueError
        If the source is not one of :data:`TARGETS`.
    """
    for target in TARGETS:
        if target.name.lower() == name.lower():
            return target
    known = ", ".join(target.name for target in TARGETS)
    raise ValueError(f"{name!r} is no source that can be simulated; there are {known}")


def choose_window(
    night: date,
    duration: timedelta,
    *,
    candidates: Iterable[Target] = TARGETS,
    minimum_altitude: float = 30.0,
) -> tuple[Target, datetime]:
    """Choose the first source that is up, in the dark, for long enough.

    Parameters
    ----------
    night : datetime.date
        Date of the evening.
    duration : datetime.timedelta
        How long the source has to be above the minimum altitude.
    candidates : iterable of Target
        Sources in order of preference.
    minimum_altitude : float
        Degrees.

    Returns
    -------
    target : Target
        The source.
    start : datetime.datetime
        When to start with it, UTC: the duration is centred on its highest altitude where the
        night allows that.

    Raises
    ------
    ValueError
        If no source is up for that long.
    """
    first = datetime(night.year, night.month, night.day, 17, 30, tzinfo=UTC)
    times = [first + k * _STEP for k in range(170)]
    dark = _sun_altitude(times) < _SUN_LIMIT
    needed = int(np.ceil(duration / _STEP)) + 1
    names = []
    for target in candidates:
        names.append(target.name)
        altitude, _ = horizontal_track(target.ra, target.dec, times)
        usable = dark & (altitude > minimum_altitude)
        sums = np.convolve(usable, np.ones(needed), mode="valid")
        starts = np.flatnonzero(sums == needed)
        if starts.size:
            best = starts[np.argmax([altitude[s : s + needed].mean() for s in starts])]
            return target, times[int(best)]
    raise ValueError(
        f"none of {', '.join(names)} is above {minimum_altitude:.0f} deg in the dark for "
        f"{duration} in the night of {night}"
    )


def wobble_pointing(pointing: Pointing) -> tuple[float, float]:
    """Tell where the centre of the camera is, ICRS right ascension and declination in degrees."""
    from astropy import units as u
    from astropy.coordinates import SkyCoord

    source = SkyCoord(pointing.target.ra * u.deg, pointing.target.dec * u.deg)
    centre = source.directional_offset_by(pointing.position_angle * u.deg, pointing.offset * u.deg)
    return float(centre.ra.deg), float(centre.dec.deg)


def horizontal_track(ra: float, dec: float, times: Iterable[datetime]) -> tuple[FloatArray, FloatArray]:
    """Follow a position of the sky.

    Parameters
    ----------
    ra, dec : float
        ICRS, degrees.
    times : iterable of datetime.datetime
        UTC.

    Returns
    -------
    altitude, azimuth : ndarray, shape (n_times,)
        Degrees; without refraction, as lstchain computes.
    """
    from astropy import units as u
    from astropy.coordinates import SkyCoord

    horizontal = SkyCoord(ra * u.deg, dec * u.deg).transform_to(_horizon(times))
    return np.atleast_1d(horizontal.alt.deg), np.atleast_1d(horizontal.az.deg)


def source_in_camera(pointing: Pointing, times: Iterable[datetime]) -> tuple[FloatArray, FloatArray]:
    """Tell where the source is in the camera while the telescope follows the wobble position.

    Parameters
    ----------
    pointing : Pointing
        Source and wobble offset.
    times : iterable of datetime.datetime
        UTC.

    Returns
    -------
    x, y : ndarray, shape (n_times,)
        Position in ctapipe's ``CameraFrame`` with the effective focal length, metres.
    """
    from astropy import units as u
    from astropy.coordinates import SkyCoord
    from ctapipe.coordinates import CameraFrame

    frame = _horizon(times)
    ra, dec = wobble_pointing(pointing)
    centre = SkyCoord(ra * u.deg, dec * u.deg).transform_to(frame)
    source = SkyCoord(pointing.target.ra * u.deg, pointing.target.dec * u.deg).transform_to(frame)
    camera = CameraFrame(focal_length=_EFFECTIVE_FOCAL_LENGTH * u.m, telescope_pointing=centre)
    position = source.transform_to(camera)
    return np.atleast_1d(position.x.to_value(u.m)), np.atleast_1d(position.y.to_value(u.m))


def _horizon(times: Iterable[datetime]) -> Frame:
    from astropy import units as u
    from astropy.coordinates import AltAz, EarthLocation
    from astropy.time import Time
    from astropy.utils import iers

    iers.conf.auto_download = False
    iers.conf.iers_degraded_accuracy = "warn"
    place = EarthLocation(lon=_LONGITUDE * u.deg, lat=_LATITUDE * u.deg, height=_HEIGHT * u.m)
    return AltAz(location=place, obstime=Time([t.timestamp() for t in times], format="unix"))


def _sun_altitude(times: Iterable[datetime]) -> FloatArray:
    from astropy.coordinates import get_sun

    frame = _horizon(times)
    return np.asarray(get_sun(frame.obstime).transform_to(frame).alt.deg)
