"""The night of observation."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

__all__ = ["Night"]

_DATE = re.compile(r"(\d{4})([-_]?)(\d{2})\2(\d{2})")


@dataclass(frozen=True, order=True)
class Night:
    """A night, named by the UTC date of its evening until its end.

    Parameters
    ----------
    date : datetime.date
        Date of the evening on which the night starts.
    """

    date: date

    @classmethod
    def parse(cls, text: str) -> Night:
        """Read ``2020_01_27``, ``2020-01-27`` or ``20200127``.

        Raises
        ------
        ValueError
            If the text is none of these or no day of the calendar.
        """
        match = _DATE.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"{text!r} is no date: write it as YYYY_MM_DD, such as 2020_01_27")
        year, _, month, day = match.groups()
        try:
            return cls(date(int(year), int(month), int(day)))
        except ValueError as error:
            raise ValueError(f"{text!r} is no day of the calendar ({error})") from None

    @classmethod
    def current(cls, now: datetime, offset: timedelta) -> Night:
        """Tell the night that a command means when none is given.

        Parameters
        ----------
        now : datetime.datetime
            Any time with a time zone.
        offset : datetime.timedelta
            How long after midnight UTC the date still means the night before (NIGHTOFFSET).
        """
        if now.tzinfo is None:
            raise ValueError("the time needs a time zone")
        return cls((now.astimezone(UTC) - offset).date())

    @property
    def tag(self) -> str:
        """The date as it stands in paths and file names, ``20200127``."""
        return f"{self.date:%Y%m%d}"

    @property
    def underscored(self) -> str:
        """The date as commands take it, ``2020_01_27``."""
        return f"{self.date:%Y_%m_%d}"

    def __str__(self) -> str:
        return f"{self.date:%Y-%m-%d}"
