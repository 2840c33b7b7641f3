"""Whether all raw files of a night have come."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from osa.config import ArrivalSettings
from osa.layout import Layout
from osa.model.text import printable
from osa.nightsummary.raw import RawFile, find_raw_files, find_unfinished

__all__ = ["Arrival", "day_is_done", "end_of_night", "judge_arrival", "look_at_arrival"]

_USUAL_HOUR = timedelta(hours=18)


@dataclass(frozen=True)
class Arrival:
    """How far the raw files of a night have come.

    Parameters
    ----------
    why : str
        Why not all may have come, a sentence for people; empty where all have.
    moving : mapping of int to tuple of int
        Sub-runs that may still be written or copied, ascending, by run.
    lacking : mapping of int to tuple of int
        Sub-runs with fewer files than each should have, ascending, by run.
    """

    why: str = ""
    moving: Mapping[int, tuple[int, ...]] = field(default_factory=lambda: MappingProxyType({}))
    lacking: Mapping[int, tuple[int, ...]] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def is_complete(self) -> bool:
        """Whether all raw files have come."""
        return not self.why


def end_of_night(layout: Layout) -> datetime:
    """Tell from when on (UTC) no more data is taken in a night."""
    return _day_after(layout) + layout.settings.arrival.end_hour


def day_is_done(layout: Layout) -> datetime:
    """Tell by when (UTC) a night should be closed: the hour of the alarm, or where there is none 18:00."""
    hour = layout.settings.alarm.hour
    return _day_after(layout) + (_USUAL_HOUR if hour is None else hour)


def _day_after(layout: Layout) -> datetime:
    """Give the midnight (UTC) that the day after the night begins with."""
    return datetime(*layout.night.date.timetuple()[:3], tzinfo=UTC) + timedelta(days=1)


def look_at_arrival(layout: Layout, clock: datetime, files: Iterable[RawFile] | None = None) -> Arrival:
    """Look whether the raw files of a night are still arriving.

    Parameters
    ----------
    layout : Layout
        Of the night.
    clock : datetime.datetime
        The time.
    files : iterable of RawFile, optional
        The night's raw files, where they were looked for before.
    """
    how, flag = layout.settings.arrival, layout.end_flag
    files = find_raw_files(layout) if files is None else tuple(files)
    if flag is not None and flag.is_file():
        return Arrival(lacking=_by_run(_lacking_streams(files, how.streams)))
    try:
        status = layout.raw_dir.stat()
        folder_changed = max(status.st_mtime_ns, status.st_ctime_ns)
    except OSError:
        folder_changed = 0
    return judge_arrival(
        files,
        folder_changed_ns=folder_changed,
        unfinished=find_unfinished(layout),
        clock=clock,
        how=how,
        end=end_of_night(layout),
        due=end_of_night(layout) if flag is None else day_is_done(layout),
    )


def judge_arrival(
    files: Iterable[RawFile],
    *,
    folder_changed_ns: int,
    unfinished: Sequence[str] = (),
    clock: datetime,
    how: ArrivalSettings,
    end: datetime,
    due: datetime,
) -> Arrival:
    """Judge a night without an end-of-night flag; pure.

    A file that is being written or copied was changed just now, and so was one that has just been given
    its name and the times of what it was copied from; a folder, where a file has appeared in it.

    Parameters
    ----------
    files : iterable of RawFile
        All raw files.
    folder_changed_ns : int
        When the folder changed last, ns since 1970.
    unfinished : sequence of str
        Names of copies that are not whole yet.
    clock : datetime.datetime
        The time.
    how : ArrivalSettings
        How long nothing may have changed, and how many files each sub-run has.
    end : datetime.datetime
        From when on no more data is taken.
    due : datetime.datetime
        Until when the flag is waited for.
    """
    files, quiet = tuple(files), how.quiet_minutes
    since = int((clock - quiet).timestamp() * 1e9)
    changing = [file for file in files if quiet and file.changed_ns > since]
    lacking = _lacking_streams(files, how.streams)
    minutes = f"{quiet.total_seconds() / 60:.0f} minutes"
    if clock < end:
        why = f"data may be taken until {end:%Y-%m-%d %H:%M} UTC"
    elif changing:
        last = max(changing, key=lambda file: file.changed_ns)
        when = datetime.fromtimestamp(last.changed_ns / 1e9, UTC)
        which = f"{last.path.name} at {when:%H:%M} UTC"
        why = f"{len(changing)} raw file(s) changed less than {minutes} ago, {which}"
    elif unfinished:
        name = printable(unfinished[0], "?")
        why = f"{len(unfinished)} file(s) are being copied, or were not copied to their end: {name}"
    elif quiet and folder_changed_ns > since:
        why = f"files appeared in the raw folder less than {minutes} ago"
    elif clock < due:
        why = f"{how.end_flag} has not come"
    elif lacking:
        first = "run {:05d}, sub-run {}".format(*lacking[0])
        flag = f"{how.end_flag} there says that no more come" if how.end_flag else "see [ARRIVAL] streams"
        why = f"{len(lacking)} sub-run(s) have fewer than {how.streams} raw files ({first}; {flag})"
    else:
        return Arrival()
    moving = _by_run((*((file.run, file.subrun) for file in changing), *lacking))
    return Arrival(why, moving, _by_run(lacking))


def _by_run(subruns: Iterable[tuple[int, int]]) -> Mapping[int, tuple[int, ...]]:
    found: dict[int, set[int]] = defaultdict(set)
    for run, subrun in subruns:
        found[run].add(subrun)
    return MappingProxyType({run: tuple(sorted(found[run])) for run in sorted(found)})


def _lacking_streams(files: Iterable[RawFile], streams: int) -> list[tuple[int, int]]:
    """Name the sub-runs, by run, that have fewer files than each has: not all may have come."""
    counts = Counter((file.run, file.subrun) for file in files)
    return sorted(subrun for subrun, count in counts.items() if count < streams)
