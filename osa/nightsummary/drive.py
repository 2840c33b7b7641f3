"""The drive log, read only where it is needed.

Two formats, told apart by the number of columns: ``DrivePosition_log_YYYYMMDD.txt`` has three
(unix time, azimuth, zenith); the older ``drive_log_YY_MM_DD.txt`` has at least thirteen, of
which the sixth is the unix time, the eighth the mean azimuth and the thirteenth the mean zenith.
Angles are in degrees. Rows are sorted by time, so that the place of a run is found by bisection.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import BinaryIO, NamedTuple

__all__ = ["DriveReading", "DriveRow", "parse_row", "read_drive_log"]

_BLOCK = 1024  # bytes; shorter stretches are read in order
_LONGEST_LINE = 1024
_MOST_LINES = 5000  # of one stretch of time, so that a damaged log cannot hold a command up
_OLD_COLUMNS = 13


class DriveRow(NamedTuple):
    """A row of the log: UTC in seconds, azimuth and zenith distance in degrees."""

    unix_time: float
    azimuth: float
    zenith: float


@dataclass(frozen=True)
class DriveReading:
    """What was read from a drive log.

    Parameters
    ----------
    rows : tuple of tuple of DriveRow
        The rows of each stretch of time that was asked for.
    lines_read, lines_skipped : int
        Lines that were looked at, and those of them that could not be read.
    """

    rows: tuple[tuple[DriveRow, ...], ...]
    lines_read: int = 0
    lines_skipped: int = 0


def parse_row(line: bytes) -> DriveRow | None:
    """Read a line of either format; None where it cannot be read."""
    columns = line.split()
    if len(columns) >= _OLD_COLUMNS:
        columns = [columns[5], columns[7], columns[12]]
    elif len(columns) != len(DriveRow._fields):
        return None
    try:
        row = DriveRow(float(columns[0]), float(columns[1]), float(columns[2]))
    except ValueError:
        return None
    return row if isfinite(sum(row)) else None


def read_drive_log(path: Path, stretches: Iterable[tuple[float, float]]) -> DriveReading:
    """Read the rows of some stretches of time.

    Parameters
    ----------
    path : pathlib.Path
        The log.
    stretches : iterable of (float, float)
        First and last unix time of each, inclusive.

    Returns
    -------
    DriveReading
        One tuple of rows for each stretch, empty where the log has none or cannot be read.
    """
    stretches = tuple(stretches)
    try:
        with path.open("rb") as stream:
            reader = _Reader(stream, os.fstat(stream.fileno()).st_size)
            rows = tuple(reader.rows(first, last) for first, last in stretches)
    except OSError:
        return DriveReading(tuple(() for _ in stretches))
    return DriveReading(rows, reader.lines_read, reader.lines_skipped)


@dataclass
class _Reader:
    stream: BinaryIO
    size: int
    lines_read: int = 0
    lines_skipped: int = 0

    def rows(self, first: float, last: float) -> tuple[DriveRow, ...]:
        found: list[DriveRow] = []
        self._go_before(first)
        for count, row in enumerate(self._lines()):
            if count >= _MOST_LINES or (row is not None and row.unix_time > last):
                break
            if row is not None and row.unix_time >= first:
                found.append(row)
        return tuple(found)

    def _go_before(self, unix_time: float) -> None:
        """Place the stream at a line shortly before the first row of that time or later."""
        low, high = 0, self.size
        while high - low > _BLOCK:
            middle = (low + high) // 2
            row = self._first_row(middle, high)
            if row is not None and row.unix_time < unix_time:
                low = middle
            else:
                high = middle
        self._start_at(low)

    def _first_row(self, start: int, end: int) -> DriveRow | None:
        self._start_at(start)
        for row in self._lines():
            if row is not None:
                return row
            if self.stream.tell() >= end:
                return None
        return None

    def _start_at(self, place: int) -> None:
        """Go to the first whole line after a place."""
        self.stream.seek(place)
        if place:
            self.stream.readline(_LONGEST_LINE)

    def _lines(self) -> Iterator[DriveRow | None]:
        while line := self.stream.readline(_LONGEST_LINE):
            row = parse_row(line)
            self.lines_read += 1
            self.lines_skipped += row is None
            yield row
