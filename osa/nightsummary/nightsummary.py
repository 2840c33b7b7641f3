"""``NightSummary_YYYYMMDD.txt``: read, checked, and written."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import TypeVar

from osa.errors import InputError
from osa.model.run import NightRuns, RunEntry, TimeReference

__all__ = ["format_night_summary", "parse_night_summary", "read_night_summary"]

COLUMNS = (
    "run",
    "subruns",
    "type",
    "start date",
    "start time",
    "Dragon reference module",
    "ucts_t0_dragon",
    "dragon_counter0",
    "TIB reference module",
    "ucts_t0_tib",
    "tib_counter0",
)

_BLANKS = re.compile(r"[ \t]+")
_RUN = re.compile(r"[0-9]{1,9}")
_SUBRUNS = re.compile(r"[0-9]{1,9}")
_MOST_SUBRUNS = 10_000  # file names have four digits for the sub-run
_LABEL = re.compile(r"[A-Z0-9_]{1,32}")
_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_TIME = re.compile(r"([0-9]{2}):([0-9]{2}):([0-9]{2})")
_REFERENCE = re.compile(r"[+-]?[0-9]{1,20}")
_LONGEST_QUOTE = 40

T = TypeVar("T")

# ------------------------------------------------- converters: text of a column -> value


def _run(text: str) -> int:
    value = int(text) if _RUN.fullmatch(text) else 0
    if value < 1:
        raise ValueError("a run number such as 01874")
    return value


def _subruns(text: str) -> int:
    value = int(text) if _SUBRUNS.fullmatch(text) else -1
    if not 0 <= value <= _MOST_SUBRUNS:
        raise ValueError(f"a number of sub-runs from 0 to {_MOST_SUBRUNS}")
    return value


def _label(text: str) -> str:
    if not _LABEL.fullmatch(text):
        raise ValueError("a type such as DATA: up to 32 capital letters, digits and underscores")
    return text


def _date(text: str) -> date:
    match = _DATE.fullmatch(text)
    try:
        if match:
            return date(int(match[1]), int(match[2]), int(match[3]))
    except ValueError:
        pass
    raise ValueError("a day of the calendar such as 2020-01-27")


def _time(text: str) -> time:
    match = _TIME.fullmatch(text)
    try:
        if match:
            return time(int(match[1]), int(match[2]), int(match[3]))
    except ValueError:
        pass
    raise ValueError("a time in UTC such as 20:44:13")


def _reference(text: str) -> int | None:
    if text.lower() == "nan":
        return None
    if not _REFERENCE.fullmatch(text):
        raise ValueError("a whole number, or nan where there is none")
    return int(text)


# ----------------------------------------------------------------------------- reading


def read_night_summary(path: Path) -> NightRuns:
    """Read a night summary.

    Parameters
    ----------
    path : pathlib.Path
        The file.

    Returns
    -------
    tuple of RunEntry
        In the order of the file; empty where it lists no run.

    Raises
    ------
    InputError
        If the file is not there or cannot be read, or with all its faults.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(
            f"there is no night summary {path}: make it, or check the date (-d) and "
            "night_summary_dir in the configuration"
        ) from None
    except OSError as error:
        raise InputError(f"night summary {path} cannot be read: {error.strerror}") from None
    return parse_night_summary(data.decode("utf-8", errors="replace"), path)


def parse_night_summary(text: str, path: Path) -> NightRuns:
    """Read the text of a night summary; pure.

    Empty lines, what follows on ``#``, a byte order mark, line ends of other systems and rows
    that repeat another row are passed over.

    Parameters
    ----------
    text : str
        The text.
    path : pathlib.Path
        Where it is from, for messages.

    Returns
    -------
    tuple of RunEntry
        In the order of the text.

    Raises
    ------
    InputError
        With all faults, one a line, each with file, line and column and with what was expected.
    """
    faults: list[str] = []
    found: dict[int, tuple[int, RunEntry]] = {}
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        content = line.partition("#")[0].strip(" \t\r")
        if not content:
            continue
        row = _Row(_BLANKS.split(content))
        entry = row.entry()
        where = f"{path}:{number}: "
        faults.extend(where + fault for fault in row.faults)
        if entry is None:
            continue
        first, known = found.setdefault(entry.run, (number, entry))
        if known != entry:
            faults.append(
                f"{where}column 1 (run): run {entry.tag} is in line {first} already and differs "
                "from that; expected one row a run"
            )
    if faults:
        raise InputError("\n  ".join([f"night summary {path} has {len(faults)} fault(s):", *faults]))
    return tuple(entry for _, entry in found.values())


@dataclass
class _Row:
    """A row that is being read; gathers its faults."""

    columns: list[str]
    faults: list[str] = field(default_factory=list)

    def entry(self) -> RunEntry | None:
        """Build the run; None where the row has faults."""
        if len(self.columns) != len(COLUMNS):
            self._report_number_of_columns()
            return None
        run = self._read(0, _run)
        subruns = self._read(1, _subruns)
        label = self._read(2, _label)
        day = self._read(3, _date)
        clock = self._read(4, _time)
        references = [self._read(index, _reference) for index in range(5, len(COLUMNS))]
        if run is None or subruns is None or label is None or day is None or clock is None or self.faults:
            return None
        start = datetime.combine(day, clock, UTC)
        return RunEntry(
            run, subruns, label, start, TimeReference(*references[:3]), TimeReference(*references[3:])
        )

    def _read(self, index: int, convert: Callable[[str], T]) -> T | None:
        text = self.columns[index]
        try:
            return convert(text)
        except ValueError as error:
            self.faults.append(f"column {index + 1} ({COLUMNS[index]}): {_quote(text)}; expected {error}")
            return None

    def _report_number_of_columns(self) -> None:
        count = len(self.columns)
        if count < len(COLUMNS):
            place = f"column {count + 1} ({COLUMNS[count]}) is missing"
        else:
            place = f"column {len(COLUMNS) + 1} ({_quote(self.columns[len(COLUMNS)])}) is one too many"
        self.faults.append(f"{place}: the row has {count} columns; expected {len(COLUMNS)}")


def _quote(text: str) -> str:
    """Quote text of unknown origin shortly, in ASCII, without control characters."""
    return ascii(text if len(text) <= _LONGEST_QUOTE else text[:_LONGEST_QUOTE] + "...")


# ----------------------------------------------------------------------------- writing


def format_night_summary(runs: NightRuns) -> str:
    """Write a night summary.

    Parameters
    ----------
    runs : tuple of RunEntry
        The runs, in the order in which they are written.
    """
    return "".join(f"{_format_row(entry)}\n" for entry in runs)


def _format_row(entry: RunEntry) -> str:
    start = entry.start.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ", timespec="seconds")
    references = f"{_format_reference(entry.dragon)} {_format_reference(entry.tib)}"
    return f"{entry.tag} {entry.n_subruns:4d} {entry.label:<5} {start} {references}"


def _format_reference(reference: TimeReference) -> str:
    module = "nan" if reference.module is None else f"{reference.module:04d}"
    numbers = (reference.ucts_t0, reference.counter0)
    return " ".join([module, *("nan" if number is None else str(number) for number in numbers)])
