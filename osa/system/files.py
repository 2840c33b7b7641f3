"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from osa.errors import OsaError

__all__ = ["append_line", "create_text", "publish", "sha256", "sync_directory", "verified_move", "write_text"]

_BLOCK = 1 << 20
_DEFAULT_MODE = 0o644


def sync_directory(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str, *, mode: int = _DEFAULT_MODE) -> None:
    """Write a file through a temporary name beside it.

    Parameters
    ----------
    path : pathlib.Path
        The file; folders above it are made.
    text : str
        Its whole content.
    mode : int
        Its permissions.
    """
    with _written_beside(path, text, mode) as name:
        os.replace(name, path)


def create_text(path: Path, text: str) -> None:
    """Write a file that must not be there yet; of several who try at once, one does.

    Parameters
    ----------
    path : pathlib.Path
        The file; folders above it are made.
    text : str
        Its whole content.

    Raises
    ------
    FileExistsError
        If it is there.
    """
    with _written_beside(path, text, _DEFAULT_MODE) as name:
        os.link(name, path)
        Path(name).unlink()


@contextmanager
def _written_beside(path: Path, text: str, mode: int) -> Iterator[str]:
    """Write a file under a temporary name, to be given its own; it is durable after that."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        yield name
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def append_line(path: Path, line: str) -> None:
    """Append one line with a single write, so that concurrent writers do not mix.

    A last line that was cut short by an earlier crash is ended first, so that it cannot swallow
    the new one. One that is being written just then looks the same: an empty line is the result.
    """
    if "\n" in line or "\0" in line:
        raise ValueError(f"not one line: {line!r}")
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, _DEFAULT_MODE)
    try:
        size = os.fstat(descriptor).st_size
        torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        data = (("\n" if torn else "") + line + "\n").encode()
        if os.write(descriptor, data) != len(data):
            raise OSError(errno.ENOSPC, "line was written only in part", str(path))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def publish(made: Path, final: Path) -> None:
    """Give a finished file its final name: flushed, then renamed.

    Parameters
    ----------
    made : pathlib.Path
        The file under its temporary name, on the same file system.
    final : pathlib.Path
        The name that means complete.
    """
    _sync_file(made)
    final.parent.mkdir(parents=True, exist_ok=True)
    os.replace(made, final)
    sync_directory(final.parent)


def sha256(path: Path) -> str:
    """Hash a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def verified_move(source: Path, target: Path) -> bool:
    """Move a file; across file systems as a copy that is compared before the source goes.

    Parameters
    ----------
    source, target : pathlib.Path
        The file, and its new name; folders above it are made.

    Returns
    -------
    bool
        False where the move was done before and nothing was left to do.

    Raises
    ------
    OsaError
        If another file with other content is at the target already, or the copy differs from
        the source. Nothing is lost then.
    """
    if not source.exists():
        if target.exists():
            return False
        raise OsaError(f"cannot move {source}: neither it nor {target} is there")
    target.parent.mkdir(parents=True, exist_ok=True)
    if _entry(source) == _entry(target):
        return False
    if target.is_symlink():
        raise OsaError(f"{target} is a symbolic link: {source} is kept")
    if target.exists():
        if sha256(source) != sha256(target):
            raise OsaError(f"{target} is there already and differs from {source}: both are kept")
        _sync_file(target)  # it may be the copy of a move that was cut short
        sync_directory(target.parent)
    else:
        try:
            publish(source, target)
            return True
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
        _copy_across(source, target)
    source.unlink()
    sync_directory(source.parent)
    return True


def _entry(path: Path) -> Path:
    """The directory entry that a path names: two paths to one entry must not be told apart."""
    return path.parent.resolve() / path.name


def _copy_across(source: Path, target: Path) -> None:
    partial = target.with_name(f".{target.name}.partial")
    try:
        shutil.copy2(source, partial)
        _sync_file(partial)
        if sha256(partial) != sha256(source):
            raise OsaError(f"the copy of {source} to {target.parent} differs from it: not moved")
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    sync_directory(target.parent)
