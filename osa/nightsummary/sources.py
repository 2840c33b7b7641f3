"""Positions of sources that LST-1 looks at often.

The target log gives the position that the drive follows: the source's, or the one beside it. The
catalogue tells the two apart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from osa.nightsummary.sky import Direction, angular_offset

__all__ = ["SOURCES", "clean_name", "known_position"]

# SIMBAD, ICRS, degrees. Names without blanks and signs, in small letters.
SOURCES: Mapping[str, Direction] = MappingProxyType(
    {
        "crab": (83.6331, 22.0145),
        "mrk421": (166.1138, 38.2088),
        "mkn421": (166.1138, 38.2088),
        "mrk501": (253.4676, 39.7602),
        "mkn501": (253.4676, 39.7602),
        "1es1959": (299.9994, 65.1485),
        "bllac": (330.6804, 42.2778),
        "1es0647": (102.6937, 25.0499),
        "1es0229": (38.2026, 20.2882),
        "1es1218": (185.3414, 30.1770),
        "pg1553": (238.9294, 11.1901),
        "m87": (187.7059, 12.3911),
        "3c66a": (35.6650, 43.0355),
        "h1426": (217.1361, 42.6724),
        "ngc1275": (49.9507, 41.5117),
        "geminga": (98.4756, 17.7703),
    }
)

_FARTHEST = 2.0  # degrees from a source at which a position under its name is not one beside it
_LONGEST_NAME = 32
_NOT_IN_NAME = re.compile(r"[^A-Za-z0-9._+:-]+")
_SIGNS = re.compile(r"[^a-z0-9]+")


def clean_name(text: str) -> str | None:
    """Make a name from outside safe to print, to put into a file name, and to split at blanks.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    str or None
        At most 32 ASCII letters, digits and ``._+:-``, not beginning with a dot or a dash; all
        else becomes ``_``. None where no letter or digit is left.
    """
    name = _NOT_IN_NAME.sub("_", text.strip()[: 4 * _LONGEST_NAME])[:_LONGEST_NAME]
    if name[:1] in {".", "-"}:
        name = "_" + name.lstrip(".-")
    return name if any(character.isalnum() for character in name) else None


def known_position(name: str, near: Direction) -> Direction | None:
    """Look up a source by the beginning of its name.

    Parameters
    ----------
    name : str
        As the target log has it: ``Crab``, ``CrabNebula``, ``1ES_1959+650``.
    near : (float, float)
        The position under which it stands there, right ascension and declination in degrees; a
        source far from it is another one.
    """
    plain = _SIGNS.sub("", name.lower())
    for key, position in SOURCES.items():
        if plain.startswith(key) and angular_offset(position, near)[0] <= _FARTHEST:
            return position
    return None
