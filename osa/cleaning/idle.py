"""Whether anybody is at work on a night, and keeping tasks from beginning."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from osa.errors import AnotherInstanceError, OsaError
from osa.layout import Layout
from osa.model.job import live_tries
from osa.scheduler.base import Scheduler
from osa.scheduler.local import LocalScheduler
from osa.scheduler.local_store import LocalStore
from osa.scheduler.submissions import Submissions

__all__ = ["no_task", "what_is_alive"]


def what_is_alive(layout: Layout, scheduler: Scheduler) -> str | None:
    """Say which jobs of a night may be alive; None where none is. What nobody knows counts as alive.

    Parameters
    ----------
    layout : Layout
        Of the night.
    scheduler : Scheduler
        Who has its jobs now; the other backend may have some, too.
    """
    scripts = layout.analysis_dir.glob("sequence_*.py")  # any of them can be submitted by hand
    names = sorted(script.stem.removeprefix("sequence_") for script in scripts)
    try:
        live = {record.name for record in live_tries(scheduler.records(layout.group, names))}
        live |= _with_other_backend(layout, scheduler)
    except OsaError as error:
        return f"nobody knows whether tasks are at work ({error})"
    return f"tasks of {', '.join(sorted(live))} may be at work" if live else None


def _with_other_backend(layout: Layout, scheduler: Scheduler) -> set[str]:
    if isinstance(scheduler, LocalScheduler):
        notes = Submissions(layout.group.submissions).read()
        return {note.name for note in notes if not note.is_settled}
    records = LocalStore(layout.settings.local.state_dir).records(layout.group.name)
    return {record.name for record in live_tries(records)}


@contextmanager
def no_task(lock: Path, what: str) -> Iterator[None]:
    """Keep tasks of a night from being at work while the block runs, be they started by hand.

    Each holds its byte of this file; here all bytes are held.

    Parameters
    ----------
    lock : pathlib.Path
        The lock file of the tasks; where there is none there was never a task.
    what : str
        What is worked on, for the message.

    Raises
    ------
    AnotherInstanceError
        If a task is at work.
    """
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        yield
        return
    try:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in {errno.EACCES, errno.EAGAIN}:
                raise
            raise AnotherInstanceError(f"{what}: a task is at work") from None
        yield
    finally:
        os.close(descriptor)
