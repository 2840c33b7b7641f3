"""Moving one file: nothing is overwritten, and a copy is compared before its source may go.

A move has two halves, so that many files can share what lies between them: first the file gets to its
target, by a rename or, across file systems, as a copy; then, when the names in the target's folder are
durable, :func:`remove_source` removes the source of a copy.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from osa.errors import NotMovedError
from osa.system.files import sha256, sync_directory, sync_file

__all__ = [
    "Arrived",
    "bring_file",
    "flush_source",
    "forget_partial",
    "make_folder",
    "means_full",
    "remove_source",
]

_BLOCK = 1 << 20

_Stamp = tuple[int, int, int, int]


@dataclass(frozen=True)
class Arrived:
    """A file that is at its target.

    Parameters
    ----------
    size : int
        Its bytes.
    sha256 : str, optional
        Of its content, where that was read: when it was copied, or was there already.
    left : tuple of int, optional
        The source as it was when it was read, where it is still there and has to be removed.
    was_there : bool
        Whether there was nothing to do any more.
    """

    size: int
    sha256: str | None = None
    left: _Stamp | None = None
    was_there: bool = False


def flush_source(source: Path, target: Path) -> None:
    """Make a file durable that may get its final name, which means complete, by a mere rename.

    Of many files all are flushed before the first is renamed: a flush makes all names durable that were
    changed before, and to do so for each file takes several times as long.
    """
    found = _regular(source)
    if found is not None and found.st_dev == target.parent.stat().st_dev:
        sync_file(source)


def bring_file(source: Path, target: Path) -> Arrived:
    """Bring a file to its target: renamed, or as a durable copy whose source is still there.

    Parameters
    ----------
    source, target : pathlib.Path
        The file, and its new name in a folder that is there. A copy has a name of its own until it is
        known to be right.

    Raises
    ------
    NotMovedError
        If another file with other content is at the target, or the copy differs from the source, or
        neither is there. If one of them is no regular file: symbolic links are not followed, as what
        they lead to is not ours to move, and not moved, as a relative one would lead elsewhere then.
    """
    found, there = _regular(source), _regular(target)
    if found is None:
        if there is None:
            raise NotMovedError(f"cannot move {source}: neither it nor {target} is there")
        return Arrived(there.st_size, was_there=True)
    if there is None:
        if _rename(source, target):
            return Arrived(found.st_size)
        return Arrived(found.st_size, _copy(source, target), _stamp(found))
    if _is_same_entry(source, found, target, there):
        return Arrived(there.st_size, was_there=True)
    digest = sha256(source)
    if there.st_size != found.st_size or sha256(target) != digest:
        raise NotMovedError(f"{target} is there already and differs from {source}: both are kept")
    sync_file(target)  # it may be the copy of a move that was cut short
    return Arrived(found.st_size, digest, _stamp(found))


def remove_source(source: Path, arrived: Arrived) -> None:
    """Remove a file whose copy has arrived, and is durable under its name.

    Raises
    ------
    NotMovedError
        If it is not what was copied any more.
    """
    if arrived.left is None:
        return
    found = _regular(source)
    if found is None:
        return
    if _stamp(found) != arrived.left:
        raise NotMovedError(f"{source} was changed while it was copied: it and the copy are kept")
    source.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Make a folder with those above it, durably."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    try:
        sync_directory(folder.parent)
    except OSError:
        with suppress(OSError):
            folder.rmdir()  # so that the next try makes it durable
        raise


def forget_partial(source: Path, target: Path) -> None:
    """Remove what a copy that was cut short left beside the target, unless nothing else is left."""
    if source.exists() or target.exists():
        _partial(target).unlink(missing_ok=True)


def means_full(error: OSError) -> bool:
    """Tell whether there was no room, on the file system or in somebody's share of it."""
    return error.errno in {errno.ENOSPC, errno.EDQUOT}


def _rename(source: Path, target: Path) -> bool:
    """Rename a file; false where that does not lead to the target's file system."""
    try:
        os.replace(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        return False
    return True


def _copy(source: Path, target: Path) -> str:
    """Copy to a file that is not there, by way of another name; gives the hash of the content."""
    partial = _partial(target)
    partial.unlink(missing_ok=True)
    digest = hashlib.sha256()
    try:
        with source.open("rb", buffering=0) as read, partial.open("xb", buffering=0) as written:
            while block := read.read(_BLOCK):
                digest.update(block)
                _write(written.fileno(), block)
            shutil.copystat(source, partial)
            os.fsync(written.fileno())
        if sha256(partial) != digest.hexdigest():
            raise NotMovedError(f"the copy of {source} to {target.parent} differs from it: not moved")
        os.replace(partial, target)
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    return digest.hexdigest()


def _write(descriptor: int, block: bytes) -> None:
    rest = memoryview(block)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _partial(target: Path) -> Path:
    return target.with_name(f".{target.name}.partial")


def _regular(path: Path) -> os.stat_result | None:
    """Look at a file that may be there; links are not followed, and only files are moved."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(found.st_mode):
        raise NotMovedError(
            f"{path} is a symbolic link, which is neither moved nor followed: nothing is changed"
        )
    if not stat.S_ISREG(found.st_mode):
        raise NotMovedError(f"{path} is no regular file: nothing is changed")
    return found


def _stamp(found: os.stat_result) -> _Stamp:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _is_same_entry(source: Path, found: os.stat_result, target: Path, there: os.stat_result) -> bool:
    """Tell whether two paths are one entry of one folder: removing one would remove the other."""
    if not os.path.samestat(found, there):
        return False
    if found.st_nlink == 1:  # also where a folder is mounted at two places
        return True
    return source.parent.resolve() / source.name == target.parent.resolve() / target.name
