"""Which raw files of a night are there."""

from __future__ import annotations

import errno
import os
import stat
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from osa.errors import InputError
from osa.layout import Layout

__all__ = [
    "RawFile",
    "find_raw_files",
    "find_raw_subruns",
    "find_unfinished",
    "is_forbidden",
    "usable_subruns",
]


@dataclass(frozen=True)
class RawFile:
    """A raw file: the events of one stream of a sub-run.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    run, subrun, stream : int
        What its name says.
    size : int
        Bytes.
    changed_ns : int
        When it changed last, ns since 1970: its content, or (copies can be given the time of what they are
        copied from) name, owner or times.
    written_ns : int
        When its content was written, as far as the file system knows.
    """

    path: Path
    run: int
    subrun: int
    stream: int
    size: int
    changed_ns: int
    written_ns: int = 0

    @property
    def is_usable(self) -> bool:
        """Whether there is something in it that we may read."""
        return self.size > 0 and os.access(self.path, os.R_OK)


def find_raw_files(layout: Layout) -> tuple[RawFile, ...]:
    """Find all raw files of a night, of all streams, ascending; empty ones too.

    Raises
    ------
    InputError
        If the folder is there and cannot be read; one that is not there has no files.
    """
    pattern = layout.raw_pattern
    found = []
    try:
        with os.scandir(layout.raw_dir) as entries:
            for entry in entries:
                match = pattern.fullmatch(entry.name)
                status = _status(entry) if match else None
                if match and status:
                    run, subrun, stream = (int(match[name]) for name in ("run", "subrun", "stream"))
                    path = Path(entry.path)
                    changed = max(status.st_mtime_ns, status.st_ctime_ns)
                    size, written = status.st_size, status.st_mtime_ns
                    found.append(RawFile(path, run, subrun, stream, size, changed, written))
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise InputError(f"raw files cannot be looked for in {layout.raw_dir}: {error.strerror}") from None
    return tuple(sorted(found, key=lambda file: (file.run, file.subrun, file.stream)))


def usable_subruns(files: Iterable[RawFile]) -> dict[int, tuple[int, ...]]:
    """Select the sub-runs whose raw files (of stream 1) are not empty, and readable.

    Returns
    -------
    dict of int to tuple of int
        Ascending indices of sub-runs, by run.
    """
    found: dict[int, set[int]] = defaultdict(set)
    for file in files:
        if file.stream == 1 and file.is_usable:
            found[file.run].add(file.subrun)
    return {run: tuple(sorted(subruns)) for run, subruns in sorted(found.items())}


def find_raw_subruns(layout: Layout) -> dict[int, tuple[int, ...]]:
    """Find the sub-runs of a night that have raw files; see the two functions above."""
    return usable_subruns(find_raw_files(layout))


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    """Look at a file; None for what is no regular file, or a link to nothing."""
    try:
        status = entry.stat()
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ELOOP}:  # a dangling link, or gone since
            return None
        raise  # what cannot be looked at now is not to be taken for what is not there
    return status if stat.S_ISREG(status.st_mode) else None


def find_unfinished(layout: Layout) -> tuple[str, ...]:
    """Name what copies of raw files are called until they are whole: the name, and something around it.

    Programs that copy write to names such as ``.LST-1.1.Run01874.0003.fits.fz.Xy12Zq`` or ``….part``.
    """
    pattern = layout.raw_pattern
    try:
        names = [path.name for path in layout.raw_dir.iterdir()]
    except OSError:
        return ()
    return tuple(sorted(name for name in names if pattern.search(name) and not pattern.fullmatch(name)))


def is_forbidden(path: Path) -> bool:
    """Tell whether a raw file is there and we have no permission to read it."""
    return path.is_file() and not os.access(path, os.R_OK)
