"""Locks that vanish with the process that holds them."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from osa.errors import AnotherInstanceError

__all__ = ["holder", "only_instance", "only_try"]


@contextmanager
def only_instance(path: Path, what: str) -> Iterator[None]:
    """Hold a lock while the block runs, or say who holds it.

    The kernel drops the lock when its process ends, however it ends, so a lock never gets stale.
    The file stays; it tells the holder to people.

    Parameters
    ----------
    path : pathlib.Path
        The lock file; folders above it are made.
    what : str
        What is being locked, for the message.

    Raises
    ------
    AnotherInstanceError
        If another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(path, mode=0o644)
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        raise AnotherInstanceError(f"{what}: already at work ({holder(path)})") from None
    try:
        note = path.with_name(path.name + ".holder")
        note.write_text(f"process {os.getpid()} on {socket.gethostname()}\n", encoding="utf-8")
        yield
    finally:
        lock.release()


def holder(path: Path) -> str:
    """Tell who took a lock last."""
    try:
        return path.with_name(path.name + ".holder").read_text(encoding="utf-8").strip() or "unknown"
    except OSError:
        return "unknown"


@contextmanager
def only_try(path: Path, number: int, what: str) -> Iterator[None]:
    """Hold one of the many locks that a single file has room for, one a byte.

    Thousands of sub-runs are worked on in a night, so each has a byte of one file rather than
    a file. The kernel drops the lock with its process; forks do not inherit it. A process holds one
    number of a file at a time: to the kernel all its threads are one, and closing the file for one
    number drops all.

    Parameters
    ----------
    path : pathlib.Path
        The lock file, always empty.
    number : int
        Which byte, from 0.
    what : str
        What is being locked, for the message.

    Raises
    ------
    AnotherInstanceError
        If another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
        except OSError as error:
            if error.errno not in {errno.EACCES, errno.EAGAIN}:
                raise
            raise AnotherInstanceError(f"{what}: another try is at work on it") from None
        yield
    finally:
        os.close(descriptor)
