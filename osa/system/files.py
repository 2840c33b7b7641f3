"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = [
    "append_line",
    "create_bytes",
    "create_text",
    "publish",
    "sha256",
    "sync_directory",
    "sync_file",
    "write_bytes",
    "write_text",
]

_BLOCK = 1 << 20
_DEFAULT_MODE = 0o644


def sync_directory(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Make the content of a file durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str, *, mode: int = _DEFAULT_MODE) -> None:
    """Write a file through a temporary name beside it; see :func:`write_bytes`."""
    write_bytes(path, text.encode(), mode=mode)


def write_bytes(path: Path, data: bytes, *, mode: int = _DEFAULT_MODE) -> None:
    """Write a file through a temporary name beside it.

    Parameters
    ----------
    path : pathlib.Path
        The file; folders above it are made.
    data : bytes
        Its whole content.
    mode : int
        Its permissions.
    """
    with _written_beside(path, data, mode) as name:
        os.replace(name, path)


def create_text(path: Path, text: str) -> None:
    """Write a file that must not be there yet; see :func:`create_bytes`."""
    create_bytes(path, text.encode())


def create_bytes(path: Path, data: bytes) -> None:
    """Write a file that must not be there yet; of several who try at once, one does.

    Parameters
    ----------
    path : pathlib.Path
        The file; folders above it are made.
    data : bytes
        Its whole content.

    Raises
    ------
    FileExistsError
        If it is there.
    """
    with _written_beside(path, data, _DEFAULT_MODE) as name:
        os.link(name, path)
        Path(name).unlink()


@contextmanager
def _written_beside(path: Path, data: bytes, mode: int) -> Iterator[str]:
    """Write a file under a temporary name, to be given its own; it is durable after that."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
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
    sync_file(made)
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
