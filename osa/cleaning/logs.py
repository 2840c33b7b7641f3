"""Compressing a log: it is gone only when all that it says is in the compressed file."""

from __future__ import annotations

import gzip
import hashlib
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import IO

from osa.errors import OsaError

__all__ = ["compress_log"]

_BLOCK = 1 << 20

_Stamp = tuple[int, int, int, int]


def compress_log(folder: int, name: str) -> int | None:
    """Compress a log: ``a.log`` becomes ``a.log.gz``, with its mode and time.

    The new file is written under another name, flushed, and read once more before the log goes. Where
    there is one already, as the night was opened again since, what the log says is added to it. Can be
    killed anywhere and done again.

    Parameters
    ----------
    folder : int
        Descriptor of the folder that it is in.
    name : str
        Its name there.

    Returns
    -------
    int or None
        By how many bytes more is free now; None where it had gone.

    Raises
    ------
    OSError
        If it cannot be read, or the other not be written.
    OsaError
        If something else is in the way. Nothing is lost then, as after any error.
    """
    packed, partial = f"{name}.gz", f".{name}.gz.partial"
    with ExitStack() as stack:
        try:
            log = stack.enter_context(_open(folder, name))
        except FileNotFoundError:
            return None
        status = os.fstat(log.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OsaError("it is no regular file")
        before = None
        with suppress(FileNotFoundError):
            before = stack.enter_context(_open(folder, packed))
        if before is not None and _ends_with(before, log, status.st_size):
            size = 0  # killed after this log was taken in, and before it was removed
        else:
            with suppress(FileNotFoundError):
                os.unlink(partial, dir_fd=folder)
            try:
                size = _write(folder, partial, log, before)
                _refuse_changed(folder, name, status)
                os.replace(partial, packed, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with suppress(OSError):
                    os.unlink(partial, dir_fd=folder)
                raise
        os.fsync(folder)
        _refuse_changed(folder, name, status)
        os.unlink(name, dir_fd=folder)
        return status.st_size - size


def _open(folder: int, name: str, mode: str = "rb") -> IO[bytes]:
    """Open a file in a folder; a link is not followed."""

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | os.O_NOFOLLOW, 0o600, dir_fd=folder)

    return open(name, mode, opener=opener)


def _write(folder: int, partial: str, log: IO[bytes], before: IO[bytes] | None) -> int:
    """Write the compressed file, and read it again; gives by how much it is larger than before."""
    status = os.fstat(log.fileno())
    digest = hashlib.sha256()
    with _open(folder, partial, "x+b") as stream:
        descriptor = stream.fileno()
        had = 0
        if before is not None:
            had = os.fstat(before.fileno()).st_size
            for block in _unpacked(before):
                digest.update(block)
            for block in _blocks(before):  # one member of the format after the other is a file again
                stream.write(block)
        with gzip.GzipFile(filename="", mode="wb", fileobj=stream, mtime=0) as packed:
            for block in _blocks(log):
                digest.update(block)
                packed.write(block)
        stream.flush()
        os.fchmod(descriptor, stat.S_IMODE(status.st_mode))
        os.utime(descriptor, ns=(status.st_atime_ns, status.st_mtime_ns))
        os.fsync(descriptor)
        again = hashlib.sha256()
        for block in _unpacked(stream):
            again.update(block)
        if again.digest() != digest.digest():
            raise OsaError("what was written differs from it: it is kept")
        return os.fstat(descriptor).st_size - had


def _ends_with(packed: IO[bytes], log: IO[bytes], size: int) -> bool:
    """Tell whether the last part of a compressed file is what a log says."""
    skipped = max(0, sum(map(len, _unpacked(packed))) - size)
    digest, wanted = hashlib.sha256(), hashlib.sha256()
    for block in _unpacked(packed):
        digest.update(block[skipped:])
        skipped = max(0, skipped - len(block))
    for block in _blocks(log):
        wanted.update(block)
    return digest.digest() == wanted.digest()


def _blocks(stream: IO[bytes] | gzip.GzipFile) -> Iterator[bytes]:
    """Read all that there is, from the beginning."""
    stream.seek(0)
    while block := stream.read(_BLOCK):
        yield block


def _unpacked(stream: IO[bytes]) -> Iterator[bytes]:
    stream.seek(0)
    try:
        yield from _blocks(gzip.GzipFile(fileobj=stream, mode="rb"))
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise OsaError(f"the compressed file cannot be read ({error}): both are kept") from None


def _refuse_changed(folder: int, name: str, status: os.stat_result) -> None:
    """Refuse to go on where the log is not what was read any more."""
    now = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if _stamp(now) != _stamp(status):
        raise OsaError("it was changed meanwhile: it is kept")


def _stamp(status: os.stat_result) -> _Stamp:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
