"""Whether all raw files of a night have come."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from osa.layout import Layout
from osa.nightsummary.raw import RawFile, find_raw_files

__all__ = ["Arrival", "end_of_night", "judge_arrival", "look_at_arrival"]


@dataclass(frozen=True)
class Arrival:
    """How far the raw files of a night have come.

    Parameters
    ----------
    why : str
        Why not all may have come, a sentence for people; empty where all have.
    moving : mapping of int to tuple of int
        Sub-runs that may still be written or copied, ascending, by run.
    """

    why: str = ""
    moving: Mapping[int, tuple[int, ...]] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def is_complete(self) -> bool:
        """Whether all raw files have come."""
        return not self.why


def end_of_night(layout: Layout) -> datetime:
    """Tell from when on (UTC) no more data is taken in a night."""
    midnight = datetime(*layout.night.date.timetuple()[:3], tzinfo=UTC)
    return midnight + timedelta(days=1) + layout.settings.arrival.end_hour


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
    if flag is not None and flag.is_file():
        return Arrival()
    files = find_raw_files(layout) if files is None else files
    try:
        folder_changed = layout.raw_dir.stat().st_mtime_ns
    except OSError:
        folder_changed = 0
    return judge_arrival(
        files,
        folder_changed_ns=folder_changed,
        clock=clock,
        quiet=how.quiet_minutes,
        end=end_of_night(layout),
    )


def judge_arrival(
    files: Iterable[RawFile], *, folder_changed_ns: int, clock: datetime, quiet: timedelta, end: datetime
) -> Arrival:
    """Judge a night without an end-of-night flag; pure.

    The time of the last change is that of the content: a file that is being written or copied has a
    recent one, whatever the copy is given when it is complete. That of the folder changes when a file
    appears in it or gets its name.

    Parameters
    ----------
    files : iterable of RawFile
        All raw files.
    folder_changed_ns : int
        When the folder changed last, ns since 1970.
    clock : datetime.datetime
        The time.
    quiet : datetime.timedelta
        What has not changed for so long is complete.
    end : datetime.datetime
        From when on no more data is taken.
    """
    files = tuple(files)
    since = int((clock - quiet).timestamp() * 1e9)
    changing = [file for file in files if quiet and file.changed_ns > since]
    minutes = f"{quiet.total_seconds() / 60:.0f} minutes"
    if clock < end:
        why = f"data may be taken until {end:%Y-%m-%d %H:%M} UTC"
    elif changing:
        last = max(changing, key=lambda file: file.changed_ns)
        when = datetime.fromtimestamp(last.changed_ns / 1e9, UTC)
        which = f"{last.path.name} at {when:%H:%M} UTC"
        why = f"{len(changing)} raw file(s) changed less than {minutes} ago, {which}"
    elif quiet and folder_changed_ns > since:
        why = f"files appeared in the raw folder less than {minutes} ago"
    else:
        return Arrival()
    moving: dict[int, set[int]] = defaultdict(set)
    for file in changing:
        moving[file.run].add(file.subrun)
    for run, subrun in _lacking_streams(files):
        moving[run].add(subrun)
    return Arrival(why, MappingProxyType({run: tuple(sorted(moving[run])) for run in sorted(moving)}))


def _lacking_streams(files: Iterable[RawFile]) -> Iterable[tuple[int, int]]:
    """Name the sub-runs that have fewer streams than another sub-run of the same run."""
    streams: dict[int, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for file in files:
        streams[file.run][file.subrun] += 1
    for run, counts in streams.items():
        most = max(counts.values())
        yield from ((run, subrun) for subrun, count in counts.items() if count < most)
