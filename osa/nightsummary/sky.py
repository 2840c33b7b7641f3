"""Just enough positional astronomy for a wobble label, without heavy imports.

Good to about 0.02 deg: nutation, aberration and UT1-UTC, each below 0.006 deg, are left out, and
so is refraction, as in lstchain.
"""

from __future__ import annotations

from math import asin, atan2, cos, degrees, hypot, radians, sin

__all__ = ["angular_offset", "horizontal_to_j2000", "mean_direction", "wobble_label"]

# LST-1, degrees.
_LATITUDE = 28.761526
_LONGITUDE = -17.891497

_UNIX_EPOCH = 2440587.5
_J2000 = 2451545.0
_DAYS_PER_CENTURY = 36525.0
_ARCSEC = 3600.0

_ON_SOURCE = 0.1
_LARGEST_WOBBLE = 3.0
_ANGLE_STEP = 5

Direction = tuple[float, float]
"""Right ascension and declination, or azimuth and altitude, in degrees."""


def horizontal_to_j2000(azimuth: float, altitude: float, unix_time: float) -> Direction:
    """Turn a direction at LST-1 into right ascension and declination.

    Parameters
    ----------
    azimuth, altitude : float
        Degrees; azimuth from north through east.
    unix_time : float
        UTC, seconds.

    Returns
    -------
    tuple of float
        Right ascension and declination, mean equator and equinox of J2000, degrees.

    Notes
    -----
    Greenwich mean sidereal time: IAU 1982, as in J. Meeus, *Astronomical Algorithms* (2nd ed.),
    eq. 12.4. Precession: IAU 1976 (Lieske et al. 1977), *ibid.* eqs. 21.2 and 21.4 with the
    angles from J2000, applied backwards.
    """
    days = unix_time / 86400.0 + _UNIX_EPOCH - _J2000
    centuries = days / _DAYS_PER_CENTURY
    az, alt, lat = radians(azimuth), radians(altitude), radians(_LATITUDE)
    north, east, up = cos(alt) * cos(az), cos(alt) * sin(az), sin(alt)
    # Axes of the equator: towards the meridian, towards the east, towards the pole.
    meridian = up * cos(lat) - north * sin(lat)
    pole = up * sin(lat) + north * cos(lat)
    ra_of_date = radians(_sidereal_time(days, centuries)) + atan2(east, meridian)
    return _precess_to_j2000(ra_of_date, atan2(pole, hypot(meridian, east)), centuries)


def _sidereal_time(days: float, centuries: float) -> float:
    """Local mean sidereal time at LST-1 in degrees."""
    greenwich = 280.46061837 + 360.98564736629 * days + centuries**2 * (0.000387933 - centuries / 38710000.0)
    return (greenwich + _LONGITUDE) % 360.0


def _precess_to_j2000(ra: float, dec: float, centuries: float) -> Direction:
    """Go from the mean equator of the date, in radians, to that of J2000, in degrees."""
    t = centuries
    zeta = radians((2306.2181 + (0.30188 + 0.017998 * t) * t) * t / _ARCSEC)
    z = radians((2306.2181 + (1.09468 + 0.018203 * t) * t) * t / _ARCSEC)
    theta = radians((2004.3109 - (0.42665 + 0.041833 * t) * t) * t / _ARCSEC)
    a = cos(dec) * sin(ra - z)
    b = cos(theta) * cos(dec) * cos(ra - z) + sin(theta) * sin(dec)
    c = cos(theta) * sin(dec) - sin(theta) * cos(dec) * cos(ra - z)
    return degrees(atan2(a, b) - zeta) % 360.0, degrees(atan2(c, hypot(a, b)))


def mean_direction(directions: list[Direction]) -> Direction:
    """Average directions of the sky, also across 0 deg of right ascension.

    Parameters
    ----------
    directions : list of (float, float)
        Right ascension and declination, degrees; not empty, and not all over the sky.
    """
    x = sum(cos(radians(dec)) * cos(radians(ra)) for ra, dec in directions)
    y = sum(cos(radians(dec)) * sin(radians(ra)) for ra, dec in directions)
    z = sum(sin(radians(dec)) for _, dec in directions)
    return degrees(atan2(y, x)) % 360.0, degrees(atan2(z, hypot(x, y)))


def angular_offset(origin: Direction, other: Direction) -> tuple[float, float]:
    """Tell how far and in which direction one position of the sky is from another.

    Parameters
    ----------
    origin, other : (float, float)
        Right ascension and declination, degrees.

    Returns
    -------
    tuple of float
        Separation, and position angle of the other as seen from the origin, from north through
        east (0 to 360); degrees.

    Notes
    -----
    Haversine formula; J. Meeus, *Astronomical Algorithms* (2nd ed.), chapters 17 and 48.
    """
    (ra0, dec0), (ra1, dec1) = (map(radians, place) for place in (origin, other))
    d_ra, d_dec = ra1 - ra0, dec1 - dec0
    haversine = sin(d_dec / 2) ** 2 + cos(dec0) * cos(dec1) * sin(d_ra / 2) ** 2
    east = cos(dec1) * sin(d_ra)
    north = sin(dec1) * cos(dec0) - cos(dec1) * sin(dec0) * cos(d_ra)
    return degrees(2.0 * asin(min(1.0, haversine**0.5))), degrees(atan2(east, north)) % 360.0


def wobble_label(source: Direction, pointing: Direction) -> str | None:
    """Write where the telescope points relative to the source.

    Parameters
    ----------
    source, pointing : (float, float)
        Right ascension and declination, degrees.

    Returns
    -------
    str or None
        ``ON`` for offsets below 0.1 deg; else such as ``W0.40+090``: the offset in degrees, and
        the position angle of the pointing as seen from the source, from north through east,
        rounded to 5 deg. None above 3 deg, where the telescope does not look at the source.
    """
    offset, angle = angular_offset(source, pointing)
    if offset < _ON_SOURCE:
        return "ON"
    if offset > _LARGEST_WOBBLE:
        return None
    return f"W{offset:.2f}+{round(angle / _ANGLE_STEP) * _ANGLE_STEP % 360:03d}"
