"""Which source each run looked at, and how far beside it the telescope pointed.

Both logs are of use only for the table, so nothing in them is a reason to stop: lines that cannot
be read are skipped and counted, and what is not known is None.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import inf, isfinite
from pathlib import Path

from osa.model.run import NightRuns, RunEntry, RunType
from osa.nightsummary.drive import DriveRow, read_drive_log
from osa.nightsummary.sky import (
    Direction,
    angular_offset,
    horizontal_to_j2000,
    mean_direction,
    wobble_label,
)
from osa.nightsummary.sources import clean_name, known_position

__all__ = [
    "Target",
    "TargetLog",
    "find_pointings",
    "mean_pointing",
    "parse_target_log",
    "read_target_log",
    "source_position",
    "target_at",
]

_WINDOW = 60.0  # seconds of a run from which its pointing is taken
_MOST_ROWS = 12  # of these seconds that are turned into directions
_SAME_PLACE = 0.05  # degrees between positions that are one
_LARGEST_LOG = 16 << 20  # bytes


@dataclass(frozen=True)
class Target:
    """Something that the drive followed.

    Parameters
    ----------
    start, end : float
        Unix time; the end is infinite where the log does not have it.
    name : str or None
        Name, safe to print.
    position : (float, float) or None
        Right ascension and declination that the drive followed, degrees.
    """

    start: float
    end: float = inf
    name: str | None = None
    position: Direction | None = None


@dataclass(frozen=True)
class TargetLog:
    """The target log.

    Parameters
    ----------
    targets : tuple of Target
        By time.
    skipped : int
        Lines that could not be read.
    """

    targets: tuple[Target, ...] = ()
    skipped: int = 0


# -------------------------------------------------------------------------- target log


def read_target_log(path: Path) -> TargetLog:
    """Read a target log; one that is not there or cannot be read gives nothing."""
    try:
        with path.open("rb") as stream:
            data = stream.read(_LARGEST_LOG)
    except OSError:
        return TargetLog()
    return parse_target_log(data.decode("utf-8", errors="replace"))


def parse_target_log(text: str) -> TargetLog:
    """Read the text of a target log; pure.

    Lines are ``<unix> TrackStart <ra> <dec> <name>`` and ``<unix> TrackEnd``. A tracking without
    an end ends where the next one starts. A name may hold blanks or be missing; a position that
    is not written in degrees is not known.
    """
    targets: list[Target] = []
    skipped = 0
    tracking = False
    for line in text.split("\n"):
        columns = line.split(None, 4)
        if not columns:
            continue
        time = _number(columns[0])
        word = columns[1] if len(columns) > 1 else ""
        if time is None or word not in {"TrackStart", "TrackEnd"}:
            skipped += 1
            continue
        if tracking:
            targets[-1] = replace(targets[-1], end=time)
        tracking = word == "TrackStart"
        if tracking:
            name = clean_name(columns[4]) if len(columns) > 4 else None
            targets.append(Target(time, name=name, position=_position(columns[2:4])))
    return TargetLog(tuple(sorted(targets, key=lambda target: target.start)), skipped)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if isfinite(value) else None


def _position(columns: list[str]) -> Direction | None:
    numbers = [number for column in columns if (number := _number(column)) is not None]
    if len(numbers) != 2:
        return None
    ra, dec = numbers
    return (ra % 360.0, dec) if -360.0 <= ra <= 360.0 and -90.0 <= dec <= 90.0 else None


def target_at(log: TargetLog, unix_time: float) -> Target | None:
    """Find what the drive followed at a time; None where it followed nothing."""
    begun = [target for target in log.targets if target.start <= unix_time]
    return begun[-1] if begun and unix_time < begun[-1].end else None


def source_position(log: TargetLog, target: Target) -> Direction | None:
    """Tell where the source of a target is.

    It is the position of the catalogue where the source is in it. Otherwise it is the one that
    the drive followed, unless the drive followed several under this name: then they are beside
    the source, and where that is cannot be told.

    Returns
    -------
    (float, float) or None
        Right ascension and declination, degrees.
    """
    if target.name is None or target.position is None:
        return None
    known = known_position(target.name, target.position)
    if known is not None:
        return known
    others = (other.position for other in log.targets if other.name == target.name and other.position)
    if any(angular_offset(target.position, other)[0] > _SAME_PLACE for other in others):
        return None
    return target.position


# --------------------------------------------------------------------------- pointings


def mean_pointing(rows: Iterable[DriveRow], corrections: Iterable[DriveRow] = ()) -> Direction | None:
    """Average where the telescope pointed.

    Parameters
    ----------
    rows : iterable of DriveRow
        Rows of the drive log; a few, spread over all, are used.
    corrections : iterable of DriveRow
        Rows of the bending model's corrections at about the same times; their mean is added.

    Returns
    -------
    (float, float) or None
        Right ascension and declination (J2000), degrees; None where there are no rows.
    """
    rows, corrections = list(rows), list(corrections)
    if not rows:
        return None
    d_azimuth = sum(row.azimuth for row in corrections) / max(len(corrections), 1)
    d_zenith = sum(row.zenith for row in corrections) / max(len(corrections), 1)
    directions = [
        horizontal_to_j2000(row.azimuth + d_azimuth, 90.0 - row.zenith - d_zenith, row.unix_time)
        for row in rows[:: -(-len(rows) // _MOST_ROWS)]
    ]
    return mean_direction(directions)


def find_pointings(
    runs: NightRuns, target_log: Path, drive_log: Path
) -> Mapping[int, tuple[str | None, str | None]]:
    """Tell source and wobble of every DATA run of a night.

    Parameters
    ----------
    runs : tuple of RunEntry
        The night.
    target_log, drive_log : pathlib.Path
        The logs; either may be missing. Corrections of the bending model are taken from beside
        the drive log, as lstchain does.

    Returns
    -------
    mapping of int to (str or None, str or None)
        Name of the source at the run's start, and the label of
        :func:`osa.nightsummary.sky.wobble_label` from the first minute, by run.
    """
    log = read_target_log(target_log)
    found: list[tuple[RunEntry, Target]] = []
    for entry in runs:
        target = target_at(log, entry.start.timestamp()) if entry.type is RunType.DATA else None
        if target is not None:
            found.append((entry, target))
    stretches = [_stretch(entry, target) for entry, target in found]
    rows = read_drive_log(drive_log, stretches).rows
    bending = _bending_log(drive_log)
    corrections = read_drive_log(bending, stretches).rows if bending else tuple(() for _ in found)
    return {
        entry.run: (target.name, _label(source_position(log, target), mean_pointing(*of_run)))
        for (entry, target), *of_run in zip(found, rows, corrections, strict=True)
    }


def _stretch(entry: RunEntry, target: Target) -> tuple[float, float]:
    start = entry.start.timestamp()
    return start, min(start + _WINDOW, target.end)


def _bending_log(drive_log: Path) -> Path | None:
    if not drive_log.name.startswith("DrivePosition"):
        return None
    return drive_log.with_name(drive_log.name.replace("DrivePosition", "BendingModelCorrection", 1))


def _label(source: Direction | None, pointing: Direction | None) -> str | None:
    return None if source is None or pointing is None else wobble_label(source, pointing)
