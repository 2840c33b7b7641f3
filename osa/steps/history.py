"""Histories: what was tried on a sub-run, one line a step.

A line is ``run[.subrun] program prod_id <date> input card rc``, the date written as
``Thu Mar 25 12:53:40 UTC 2021`` or, in older files, ``2021-12-19 22:11``. A line that cannot be
read is no evidence of anything: it is passed over, and the step is done again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from osa.system.files import append_line

__all__ = ["HistoryRecord", "append_record", "failed_tries", "parse_history", "read_history"]

_LINE = re.compile(
    r"(?P<run>\d{5,})(?:\.(?P<subrun>\d{4}))? (?P<program>\S+) (?P<prod_id>\S+) "
    r"(?P<date>[A-Z][a-z]{2} [A-Z][a-z]{2} +\d{1,2} \d\d:\d\d:\d\d UTC \d{4}|\d{4}-\d\d-\d\d \d\d:\d\d)"
    r" (?P<input>\S+) (?P<card>\S+) (?P<code>-?\d+)",
    re.ASCII,
)
_DATES = ("%a %b %d %H:%M:%S UTC %Y", "%Y-%m-%d %H:%M")
_WRITTEN = "%a %b %d %H:%M:%S UTC %Y"


@dataclass(frozen=True)
class HistoryRecord:
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
        for form in _DATES:
            with suppress(ValueError):
                return datetime.strptime(" ".join(self.date.split()), form).replace(tzinfo=UTC)
        raise ValueError(f"{self.date!r} is no date of a history")

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
    record = HistoryRecord(
        run=int(match["run"]),
        subrun=None if match["subrun"] is None else int(match["subrun"]),
        program=match["program"],
        prod_id=match["prod_id"],
        date=match["date"],
        input=match["input"],
        card=match["card"],
        return_code=int(match["code"]),
    )
    try:
        _ = record.when
    except ValueError:
        return None
    return record


def _is_damaged(line: str) -> bool:
    """Tell whether a line has NUL or other bytes that no name holds."""
    return "\ufffd" in line or not line.isprintable()


def read_history(path: Path) -> tuple[HistoryRecord, ...]:
    """Read a history file; one that is not there is empty."""
    try:
        return parse_history(path.read_text(encoding="utf-8", errors="replace"))
    except FileNotFoundError:
        return ()


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
