"""The values of a configuration: text to value, or a ValueError that says what is wanted."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from osa.model.job import JobState
from osa.model.rule import Cure, Scope

__all__ = [
    "PATHS",
    "STEP_NAMES",
    "as_address",
    "as_backend",
    "as_codes",
    "as_cure",
    "as_database_url",
    "as_directory",
    "as_factor",
    "as_file",
    "as_folders",
    "as_graphs",
    "as_hour",
    "as_memory",
    "as_minutes",
    "as_name",
    "as_path",
    "as_pattern",
    "as_positive",
    "as_raw_hash",
    "as_scope",
    "as_states",
    "as_steps",
    "as_streams",
    "as_walltime",
    "as_yes_no",
    "key",
]

STEP_NAMES = (
    "drs4_pedestal",
    "time_calibration",
    "charge_calibration",
    "calibration_plots",
    "r0_to_dl1",
    "datacheck",
    "dl1_to_dl2",
)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_MEMORY = re.compile(r"(\d{1,9}(?:\.\d+)?)\s*(MB|GB)", re.IGNORECASE)
_TIME = re.compile(r"(?:(\d{1,3})-)?(\d{1,3}):([0-5]\d):([0-5]\d)")
_ADDRESS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*(@[A-Za-z0-9][A-Za-z0-9.-]*)?")
_DATABASE_URL = re.compile(
    r"(?:mysql|mariadb)(?:\+[a-z]+)?://(?P<account>[^/@]*@)?[^/@?]+/[A-Za-z0-9_]+(?:\?(?P<options>.*))?"
)
_PASSWORDS = frozenset({"password", "passwd"})
_LARGEST_FACTOR = 100
_MB_PER_GB = 1024
_MINUTES_OF_A_DAY = 1440


def as_name(text: str) -> str:
    """Read a name that may be part of a path."""
    if not _NAME.fullmatch(text):
        raise ValueError("wants letters, digits, dots, dashes and underscores")
    return text


def as_positive(text: str) -> int:
    """Read a whole number above 0."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise ValueError("wants a whole number above 0")
    return value


def as_hour(text: str) -> timedelta:
    """Read an hour of the day."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 24:
        raise ValueError("wants hours from 0 to 24")
    return timedelta(hours=value)


def as_streams(text: str) -> int:
    """Read how many files a sub-run is split into."""
    if text not in {"1", "2", "3", "4"}:
        raise ValueError("wants a number from 1 to 4")
    return int(text)


def as_minutes(text: str) -> timedelta:
    """Read a number of minutes, which may be 0."""
    try:
        value = int(text)
    except ValueError:
        value = -1
    if not 0 <= value <= _MINUTES_OF_A_DAY:
        raise ValueError(f"wants whole minutes from 0 to {_MINUTES_OF_A_DAY}")
    return timedelta(minutes=value)


def as_folders(text: str) -> tuple[Path, ...]:
    """Read absolute folders, separated by colons."""
    folders = tuple(Path(part) for part in text.split(":") if part)
    if not all(folder.is_absolute() for folder in folders):
        raise ValueError("wants absolute paths, separated by colons")
    return folders


def as_yes_no(text: str) -> bool:
    """Read yes or no."""
    try:
        return {"yes": True, "no": False}[text.lower()]
    except KeyError:
        raise ValueError("wants yes or no") from None


def as_memory(text: str) -> int:
    """Read an amount of memory; in MB."""
    match = _MEMORY.fullmatch(text)
    if match is None or float(match[1]) <= 0:
        raise ValueError("wants an amount such as 8 GB or 500 MB")
    return max(1, int(float(match[1]) * (_MB_PER_GB if match[2].upper() == "GB" else 1)))


def as_walltime(text: str) -> timedelta:
    """Read a time, ``HH:MM:SS`` or ``D-HH:MM:SS``."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError("wants a time such as 06:00:00 or 1-12:00:00")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    value = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    if not value:
        raise ValueError("wants a time above zero")
    return value


def as_steps(text: str) -> frozenset[str]:
    """Read names of steps, separated by commas."""
    names = frozenset(part.strip() for part in text.split(",") if part.strip())
    unknown = sorted(names - set(STEP_NAMES))
    if unknown:
        raise ValueError(f"does not know {', '.join(unknown)}: the steps are {', '.join(STEP_NAMES)}")
    return names


def as_backend(text: str) -> str:
    """Read the name of a backend."""
    if text not in {"auto", "local", "slurm"}:
        raise ValueError("wants auto, local or slurm")
    return text


def as_path(text: str) -> Path:
    """Read a path, of something that need not be there."""
    return Path(text)


def as_directory(text: str) -> Path:
    """Read the path of a directory that is there."""
    path = Path(text)
    if not path.is_dir():
        raise ValueError("this directory does not exist")
    return path


def as_file(text: str) -> Path:
    """Read the path of a file that is there."""
    path = Path(text)
    if not path.is_file():
        raise ValueError("this file does not exist")
    return path


def as_address(text: str) -> str:
    """Read a mail address, or the name of a user of this machine."""
    if not _ADDRESS.fullmatch(text):
        raise ValueError("wants one mail address such as shift@example.org, or a user of this machine")
    return text


def as_factor(text: str) -> float:
    """Read how many times as much."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1 <= value <= _LARGEST_FACTOR:
        raise ValueError(f"wants a number from 1 to {_LARGEST_FACTOR}")
    return value


def as_cure(text: str) -> Cure:
    """Read what is done about a failure."""
    cures = [cure for cure in Cure if cure is not Cure.OTHER_CALIBRATION]
    return _one_of(cures, text)


def as_scope(text: str) -> Scope:
    """Read which tasks are meant."""
    return _one_of(list(Scope), text)


E = TypeVar("E", bound=StrEnum)


def _one_of(members: list[E], text: str) -> E:
    found = next((member for member in members if member.value == text), None)
    if found is None:
        raise ValueError(f"wants one of: {', '.join(members)}")
    return found


def as_states(text: str) -> frozenset[JobState]:
    """Read states in which a task can end, separated by commas."""
    states = [state for state in JobState if state is not JobState.COMPLETED]
    return frozenset(_one_of(states, part.strip()) for part in text.split(","))


def as_codes(text: str) -> frozenset[int]:
    """Read exit codes, separated by commas; negative for signals, never 0."""
    try:
        codes = frozenset(int(part) for part in text.split(","))
    except ValueError:
        codes = frozenset({0})
    if 0 in codes:
        raise ValueError("wants exit codes other than 0, separated by commas")
    return codes


def as_pattern(text: str) -> re.Pattern[str]:
    """Read a regular expression."""
    try:
        return re.compile(text)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from None


def as_raw_hash(text: str) -> str:
    """Read how raw files are identified."""
    if text not in {"sampled", "full"}:
        raise ValueError("wants sampled or full")
    return text


def as_graphs(text: str) -> str:
    """Read whether graphs are drawn."""
    if text not in {"yes", "no", "auto"}:
        raise ValueError("wants yes, no or auto")
    return text


def as_database_url(text: str) -> str:
    """Read the URL of a MariaDB or MySQL database; never one with a password in it."""
    match = _DATABASE_URL.fullmatch(text)
    if match is None:
        raise ValueError("wants a URL such as mysql+pymysql://osa@localhost/osa")
    options = {name.lower() for name, _ in parse_qsl(match["options"] or "", keep_blank_values=True)}
    if ":" in (match["account"] or "") or options & _PASSWORDS:
        raise ValueError("must hold no password: put it into a file that only you can read, and name that")
    return text


PATHS = (as_path, as_directory, as_file)
"""Those that read a path."""


def key(
    convert: Callable[[str], Any],
    *,
    may_be_empty: bool = False,
    may_be_absent: bool = False,
    is_secret: bool = False,
) -> Any:
    """Declare a key of a section.

    Parameters
    ----------
    convert : callable
        Reads its text.
    may_be_empty, may_be_absent : bool
        Whether it may be so, which is None then.
    is_secret : bool
        Whether messages must not show what stands there.
    """
    how = {
        "convert": convert,
        "may_be_empty": may_be_empty,
        "may_be_absent": may_be_absent,
        "is_secret": is_secret,
    }
    return field(metadata=how)
