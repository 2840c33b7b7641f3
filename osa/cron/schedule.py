"""At which hours of the day a line of the crontab does something; pure.

Cron goes by the clock of its machine, which may be set to a zone with summer time, and Debian's cron knows
no other. So its lines begin every hour, and the hours at which they do something are told here, in UTC.
"""

from __future__ import annotations

import re

__all__ = ["parse_hours"]

_PART = re.compile(r"(?P<first>\d{1,2})(-(?P<last>\d{1,2})(/(?P<step>\d{1,2}))?)?", re.ASCII)


def parse_hours(text: str) -> frozenset[int]:
    """Read hours of the day: ``7``, ``8-18/2``, ``6,12,18``.

    Raises
    ------
    ValueError
        If the text is none of these.
    """
    hours: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part.strip())
        if match is None:
            raise ValueError(f"{part.strip()!r} is no hour such as 7, or 8-18, or 8-18/2")
        first = int(match["first"])
        last, step = int(match["last"] or first), int(match["step"] or 1)
        if not first <= last <= 23 or step < 1:
            raise ValueError(f"{part.strip()!r}: hours go from 0 to 23")
        hours.update(range(first, last + 1, step))
    return frozenset(hours)
