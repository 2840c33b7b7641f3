"""The page with the last nights: what it shows, and how that becomes HTML; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from osa.decision import Action
from osa.model.job import JobState
from osa.model.night import Night
from osa.report import COLUMNS

__all__ = ["LogTail", "NightStatus", "Status", "Word", "render"]

_NOTHING: Mapping[str, str] = MappingProxyType({})


class Word(StrEnum):
    """The state of a night in one word."""

    NEEDS_A_PERSON = "needs a person"
    UNKNOWN = "unknown"
    AT_WORK = "at work"
    WAITING = "waiting"
    CLOSED = "closed"
    NO_DATA = "no data"


@dataclass(frozen=True)
class NightStatus:
    """What the page tells of a night.

    Parameters
    ----------
    night : Night
        The night.
    word : Word
        Its state.
    why : str
        Why it is in that state.
    troubles : tuple of str
        What could not be read; where there is any, the rest may lack something.
    tasks : str
        How many of its tasks are alive, in words; empty where none is.
    dl2 : tuple of int
        How many sub-runs have a DL2, and how many the night summary promises.
    finished : mapping of str to str
        What NightFinished.txt says, by key; empty where the night is not closed.
    rows : tuple of mapping
        The table of the sequencer, as :func:`osa.report.table_rows` makes it.
    notes : tuple of str
        What stands below it.
    incidences : tuple of str
        What a person should know.
    alarm : str or None
        NotClosed.txt of a night that is not closed, where there is one.
    """

    night: Night
    word: Word
    why: str = ""
    troubles: tuple[str, ...] = ()
    tasks: str = ""
    dl2: tuple[int, int] = (0, 0)
    finished: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    rows: tuple[Mapping[str, Any], ...] = ()
    notes: tuple[str, ...] = ()
    incidences: tuple[str, ...] = ()
    alarm: str | None = None


@dataclass(frozen=True)
class LogTail:
    """The end of what a job of cron said, and when it said that; or why nobody knows."""

    name: str
    changed: datetime | None = None
    lines: tuple[str, ...] = ()
    trouble: str = ""


@dataclass(frozen=True)
class Status:
    """All that is on the page.

    Parameters
    ----------
    telescope : str
        Section of the configuration.
    production : str
        Name of the production.
    other_productions : mapping of str to str
        Names of those parts that are produced under others.
    clock : datetime.datetime
        When all this was looked at.
    nights : tuple of NightStatus
        The latest first.
    log_dir : str
        Where cron's logs are.
    logs : tuple of LogTail
        Their ends.
    troubles : tuple of str
        What could not be read, of no night.
    """

    telescope: str
    production: str
    clock: datetime
    nights: tuple[NightStatus, ...]
    log_dir: str
    logs: tuple[LogTail, ...] = ()
    other_productions: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    troubles: tuple[str, ...] = ()

    @property
    def all_troubles(self) -> tuple[str, ...]:
        """Everything that could not be read, with what it is of."""
        nights = (f"night {night.night}: {said}" for night in self.nights for said in night.troubles)
        logs = (f"log {log.name}: {log.trouble}" for log in self.logs if log.trouble)
        return (*nights, *self.troubles, *logs)


# --------------------------------------------------------------------------- rendering

_WORDS = frozenset({"Tel", "Type", "Source", "Wobble", "Action", "State", "Reason", "Host"})
"""Columns of text; the others are of numbers, which stand at the right."""

_TONES: Mapping[Any, str] = MappingProxyType(
    {
        Action.CLOSED: "good",
        Action.VETO: "bad",
        JobState.COMPLETED: "good",
        JobState.RUNNING: "busy",
        JobState.PENDING: "busy",
        JobState.UNKNOWN: "doubt",
        JobState.CANCELLED: "doubt",
        JobState.FAILED: "bad",
        JobState.TIMEOUT: "bad",
        JobState.OUT_OF_MEMORY: "bad",
        JobState.NODE_FAIL: "bad",
    }
)
_FINISHED = MappingProxyType(
    {
        "timestamp": "Closed (UTC)",
        "data.size": "Raw data",
        "data.files.r0": "R0 files",
        "data.files.dl1": "DL1 files",
        "data.files.dl2": "DL2 files",
        "data.files.muons": "Muon files",
        "data.files.datacheck": "Data checks",
    }
)
"""Keys of NightFinished.txt that are shown in this order, and what they are called."""

_COMMENT = "data.comment"


def render(status: Status) -> str:
    """Write the page: one HTML file that needs no other, nor a program in the browser.

    Parameters
    ----------
    status : Status
        What it tells.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_printable,
    )
    template = environment.from_string(
        files("osa").joinpath("data", "status.html.j2").read_text(encoding="utf-8")
    )
    clock = status.clock.astimezone(UTC)
    return template.render(
        status=status,
        headline=_headline(status),
        written=f"{clock:%Y-%m-%d %H:%M:%S} UTC",
        written_iso=f"{clock:%Y-%m-%dT%H:%M:%SZ}",
        nights=[_night(night) for night in status.nights],
        logs=[_log(log, clock) for log in status.logs],
        columns=[(head, _is_number(head)) for head in COLUMNS],
    )


def _printable(value: object) -> str:
    """Replace what no page may hold, or what could change the order in which it is read."""
    return "".join(c if c.isprintable() or c in "\n\t" else " " for c in str(value))


def _headline(status: Status) -> str:
    count = sum(night.word is Word.NEEDS_A_PERSON for night in status.nights)
    if count:
        return f"{count} of {_counted('night', len(status.nights))} need{'s' * (count == 1)} a person"
    if status.all_troubles or any(night.word is Word.UNKNOWN for night in status.nights):
        return "Not all is known"
    return "No night needs a person"


def _counted(noun: str, count: int) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"


def _night(night: NightStatus) -> dict[str, Any]:
    return {
        "date": str(night.night),
        "anchor": f"night-{night.night}",
        "word": str(night.word),
        "tone": night.word.name.lower().replace("_", "-"),
        "dl2": _dl2(night),
        "facts": _facts(night),
        "sequences": _counted("sequence", len(night.rows)),
        "rows": [[_cell(head, row[head]) for head in COLUMNS] for row in night.rows],
        "is_closed": bool(night.finished),
        "told": night,
    }


def _dl2(night: NightStatus) -> str:
    done, promised = night.dl2
    return f"{done} of {promised}" if promised else ""


def _facts(night: NightStatus) -> list[tuple[str, str]]:
    said = {key: value for key, value in night.finished.items() if not _is_told_elsewhere(key, night.word)}
    facts = [("Tasks", night.tasks)] if night.tasks else []
    facts += [("Sub-runs with DL2", _dl2(night))] if _dl2(night) else []
    facts += [(name, said[key]) for key, name in _FINISHED.items() if key in said]
    facts += [(key, value) for key, value in said.items() if key not in _FINISHED]
    # The comment repeats the incidences, which are told one by one, and may have more at its end.
    comment = night.finished.get(_COMMENT, "none").removeprefix(" ".join(night.incidences)).strip()
    if comment not in ("", "none"):
        facts.append(("Comment", comment))
    return facts


def _is_told_elsewhere(key: str, word: Word) -> bool:
    return key in {"night", "telescope", _COMMENT} or (key == "timestamp" and word is Word.CLOSED)


def _cell(head: str, value: Any) -> dict[str, Any]:
    text = "-" if value is None or value == "" else str(value)
    return {"head": head, "text": text, "tone": _tone(head, value), "is_number": _is_number(head)}


def _is_number(head: str) -> bool:
    return head not in _WORDS


def _tone(head: str, value: Any) -> str:
    if value is None or value == "":
        return "nothing"
    if head in {"Action", "State"}:
        return _TONES.get(value, "")
    if head.endswith("%"):
        return "good" if value == 100 else "doubt" if value else ""
    return "bad" if head == "Exit" and value else ""


def _log(log: LogTail, clock: datetime) -> dict[str, Any]:
    return {
        "name": log.name,
        "when": "" if log.changed is None else f"{log.changed.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC",
        "age": "not known" if log.changed is None else _age(clock - log.changed),
        "lines": "\n".join(log.lines),
        "trouble": log.trouble,
    }


def _age(time: timedelta) -> str:
    """Say how long something was ago, as far as it matters."""
    minutes = int(time.total_seconds() // 60)
    if minutes < -1:
        return "in the future"
    if minutes < 120:
        return f"{max(minutes, 0)} min ago"
    return f"{minutes // 60} h ago" if minutes < 48 * 60 else f"{minutes // (24 * 60)} days ago"
