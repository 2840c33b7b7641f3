"""Histories: what was tried on a sub-run, one line a step.

A line is ``run[.subrun] program prod_id <date> input card rc``, the date written as
``Thu Mar 25 12:53:40 UTC 2021`` or, in older files, ``2021-12-19 22:11``. A line that cannot be
read is no evidence of anything: it is passed over, and the step is done again.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from osa.system.files import append_line

__all__ = ["HistoryRecord", "append_record", "failed_tries", "parse_history", "read_history"]

_WORD = "[^ ]+"  # which characters it may have, _is_damaged says
_CLOCK = r"(?:[01]\d|2[0-3]):[0-5]\d"
_LINE = re.compile(
    rf"(?P<run>\d{{5,}})(?:\.(?P<subrun>\d{{4}}))? (?P<program>{_WORD}) (?P<prod_id>{_WORD}) (?P<date>"
    rf"(?P<day>[A-Z][a-z]{{2}} [A-Z][a-z]{{2}} +\d{{1,2}}) {_CLOCK}:[0-5]\d UTC (?P<year>\d{{4}})"
    rf"|(?P<iso_day>\d{{4}}-\d\d-\d\d) {_CLOCK}"
    rf") (?P<input>{_WORD}) (?P<card>{_WORD}) (?P<code>-?\d+)",
    re.ASCII,
)
_DATES = ("%a %b %d %H:%M:%S UTC %Y", "%Y-%m-%d %H:%M")
_DAYS = ("%a %b %d %Y", "%Y-%m-%d")
_WRITTEN = "%a %b %d %H:%M:%S UTC %Y"
_BLOCK = 1 << 13  # bytes; few histories are longer


class HistoryRecord(NamedTuple):
    """One try of one step.

    Parameters
    ----------
    run : int
        Run number.
    subrun : int or None
        Sub-run; None for the calibration sequence.
    program : str
        What was run.
    prod_id : str
        Production that it was run for.
    date : str
        End of the try, UTC, in one of the two forms above; see :attr:`when`.
    input, card : str
        Name of the input file and of the configuration file; no blanks.
    return_code : int
        0 for success, negative for a signal.
    """

    run: int
    subrun: int | None
    program: str
    prod_id: str
    date: str
    input: str
    card: str
    return_code: int

    @classmethod
    def now(
        cls,
        run: int,
        subrun: int | None,
        *,
        program: str,
        prod_id: str,
        input: str,
        card: str,
        return_code: int,
        clock: datetime,
    ) -> HistoryRecord:
        """Make the record of a try that ended at the time ``clock``."""
        date = f"{clock.astimezone(UTC):{_WRITTEN}}"
        return cls(run, subrun, program, prod_id, date, input, card, return_code)

    @property
    def when(self) -> datetime:
        """End of the try, UTC."""
        when = _read_time(self.date, _DATES)
        if when is None:
            raise ValueError(f"{self.date!r} is no date of a history")
        return when

    @property
    def line(self) -> str:
        """The record as it is written."""
        tag = f"{self.run:05d}" + ("" if self.subrun is None else f".{self.subrun:04d}")
        program, prod_id = _word(self.program), _word(self.prod_id)
        names = f"{_word(self.input)} {_word(self.card)}"
        return f"{tag} {program} {prod_id} {self.date} {names} {self.return_code}"


def _word(text: str) -> str:
    """Make one word of a name: a file name may hold blanks, a column of a history may not."""
    return "_".join(text.split()) or "-"


def parse_history(text: str) -> tuple[HistoryRecord, ...]:
    """Read the lines of a history that can be believed.

    Parameters
    ----------
    text : str
        The file; a last line without its end was cut short and does not count.
    """
    records = []
    complete, _, _torn = text.rpartition("\n")
    for line in complete.split("\n"):
        record = _parse_line(line.strip())
        if record is not None:
            records.append(record)
    return tuple(records)


def _parse_line(line: str) -> HistoryRecord | None:
    match = _LINE.fullmatch(line)
    if match is None or _is_damaged(line):
        return None
    run, subrun, program, prod_id, date, day, year, iso_day, input, card, code = match.groups()
    if not _is_in_calendar(iso_day or f"{day} {year}"):
        return None
    number = None if subrun is None else int(subrun)
    return HistoryRecord(int(run), number, program, prod_id, date, input, card, int(code))


@lru_cache
def _is_in_calendar(day: str) -> bool:
    """Tell whether there is such a day; asked of few days, for each line of a night."""
    return _read_time(day, _DAYS) is not None


def _read_time(text: str, forms: Iterable[str]) -> datetime | None:
    for form in forms:
        with suppress(ValueError):
            return datetime.strptime(" ".join(text.split()), form).replace(tzinfo=UTC)
    return None


def _is_damaged(line: str) -> bool:
    """Tell whether a line has NUL or other bytes that no name holds."""
    return "\ufffd" in line or not line.isprintable()


def read_history(path: Path | str, *, dir_fd: int | None = None) -> tuple[HistoryRecord, ...]:
    """Read a history file; one that is not there is empty.

    Parameters
    ----------
    path : pathlib.Path or str
        The file.
    dir_fd : int, optional
        Descriptor of the folder from which a relative path counts.
    """
    # Without Python's layers of streams: a night may have tens of thousands of these small files.
    try:
        descriptor = os.open(path, os.O_RDONLY, dir_fd=dir_fd)
    except FileNotFoundError:
        return ()
    try:
        data = _read_all(descriptor)
    finally:
        os.close(descriptor)
    text = data.decode("utf-8", errors="replace")  # line ends may be those of other systems
    return parse_history(text.replace("\r\n", "\n").replace("\r", "\n"))


def _read_all(descriptor: int) -> bytes:
    data = block = os.read(descriptor, _BLOCK)
    while len(block) == _BLOCK:  # a file gives less only at its end
        block = os.read(descriptor, _BLOCK)
        data += block
    return data


def append_record(path: Path, record: HistoryRecord) -> None:
    """Add a try to a history file, durably."""
    append_line(path, record.line)


def failed_tries(records: Iterable[HistoryRecord]) -> int:
    """Count how often a program ended with the same non-zero code on the same input.

    Returns
    -------
    int
        For each program and production, the equal failures at the end of its own tries; of
        these the largest number. 0 where the last try of every program succeeded. A line that
        stands there twice is one try.
    """
    latest: dict[tuple[str, str], HistoryRecord] = {}
    streaks: dict[tuple[str, str], tuple[str, int, int]] = {}
    for record in records:
        key = (record.program, record.prod_id)
        if latest.get(key) == record:
            continue
        latest[key] = record
        before_input, before_code, count = streaks.get(key, ("", 0, 0))
        same = (before_input, before_code) == (record.input, record.return_code)
        streaks[key] = (record.input, record.return_code, count + 1 if same else 1)
    return max((count for _, code, count in streaks.values() if code != 0), default=0)
