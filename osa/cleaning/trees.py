"""Folders walked and removed by their descriptors, so that no symbolic link is ever followed."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Entry", "OnFault", "Tally", "entries", "folder_below", "names_in", "remove", "tally"]

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

OnFault = Callable[[str], None]
"""Told what cannot be done, one line each."""


@dataclass(frozen=True)
class Entry:
    """What a folder has under a name.

    Parameters
    ----------
    folder : int
        Descriptor of the folder; good until the next entry is asked for.
    name : str
        The name in it.
    path : pathlib.Path
        The whole path, to tell people.
    status : os.stat_result
        What it is; of a link, the link itself.
    """

    folder: int
    name: str
    path: Path
    status: os.stat_result

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return stat.S_ISDIR(self.status.st_mode)

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return stat.S_ISREG(self.status.st_mode)

    @property
    def room(self) -> int:
        """Bytes that are free when it is gone: none where the file has another name yet."""
        return self.status.st_size if self.is_file and self.status.st_nlink == 1 else 0


@dataclass(frozen=True)
class Tally:
    """How many files there are, or were, and how large they are together."""

    files: int = 0
    size: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.files + other.files, self.size + other.size)


@contextmanager
def folder_below(root: Path, *names: str) -> Iterator[int | None]:
    """Open a folder by the names that lead to it; None where it is not there.

    Parameters
    ----------
    root : pathlib.Path
        Where it is below. It comes from the configuration, and may be a link.
    names : str
        The folders below, of which none may be one.

    Raises
    ------
    OSError
        If one of them is a symbolic link, or no folder.
    """
    descriptors: list[int] = []
    try:
        try:
            descriptors.append(os.open(root, _FOLDER & ~os.O_NOFOLLOW))
            path = root
            for name in names:
                path = path / name
                descriptors.append(_open(descriptors[-1], name, path))
        except FileNotFoundError:
            yield None
            return
        yield descriptors[-1]
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _open(folder: int, name: str, path: Path) -> int:
    """Open a folder within another; the error says where a link is in the way."""
    try:
        return os.open(name, _FOLDER, dir_fd=folder)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENOTDIR}:
            raise OSError(error.errno, "a symbolic link, or no folder", str(path)) from None
        raise OSError(error.errno, os.strerror(error.errno or 0), str(path)) from None


def names_in(folder: int) -> list[str]:
    """List the names in a folder whose descriptor is known, in order."""
    with os.scandir(folder) as found:
        return sorted(entry.name for entry in found)


def entries(folder: int, name: str, path: Path, on_fault: OnFault) -> Iterator[Entry]:
    """Walk through a file, or a folder: what is in it comes before it itself.

    Links are given as what they are and not gone through, nor are folders that another file system is
    mounted on.

    Parameters
    ----------
    folder : int
        Descriptor of the folder that it is in.
    name : str
        Its name there; where there is nothing of that name, nothing comes.
    path : pathlib.Path
        Its whole path.
    on_fault : callable
        Told what cannot be looked into.
    """
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            if status.st_dev != os.fstat(folder).st_dev:
                on_fault(f"{path} is on another file system: left alone")
                return
            yield from _within(folder, name, path, on_fault)
    except FileNotFoundError:
        return  # somebody else removed it
    except OSError as error:
        on_fault(f"cannot look into {path}: {error.strerror}")
        return
    yield Entry(folder, name, path, status)


def _within(folder: int, name: str, path: Path, on_fault: OnFault) -> Iterator[Entry]:
    child = os.open(name, _FOLDER, dir_fd=folder)
    try:
        for each in names_in(child):
            yield from entries(child, each, path / each, on_fault)
    finally:
        os.close(child)


def tally(folder: int, name: str, path: Path, on_fault: OnFault) -> Tally:
    """Count the files of a tree, and the room that they take; parameters as of :func:`entries`."""
    total = Tally()
    for entry in entries(folder, name, path, on_fault):
        total += Tally(int(not entry.is_folder), entry.room)
    return total


def remove(folder: int, name: str, path: Path, on_fault: OnFault) -> Tally:
    """Remove a file, a link, or a folder with all that is in it; parameters as of :func:`entries`.

    What cannot be removed does not keep the rest.

    Returns
    -------
    Tally
        The files that were removed, and the room that they took.
    """
    total = Tally()
    faults: list[str] = []
    for entry in entries(folder, name, path, faults.append):
        try:
            if entry.is_folder:
                os.rmdir(entry.name, dir_fd=entry.folder)
            else:
                os.unlink(entry.name, dir_fd=entry.folder)
                total += Tally(1, entry.room)
        except FileNotFoundError:
            pass
        except OSError as error:
            # What is still in a folder was named already.
            if not (faults and error.errno == errno.ENOTEMPTY):
                faults.append(f"cannot remove {entry.path}: {error.strerror}")
    for fault in faults:
        on_fault(fault)
    return total
