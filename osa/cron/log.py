"""Logs with dates that rotate, one a job."""

from __future__ import annotations

import logging
import logging.handlers
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from osa.errors import OsaError

__all__ = ["open_log"]

_BYTES = 2_000_000
_FILES = 10
_LONGEST = 100_000


class _Handler(logging.handlers.RotatingFileHandler):
    """Keeps what kept it from writing: the work goes on without a log, and that is said at the end."""

    fault = ""

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record)[:_LONGEST]

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is logging's
        self.fault = self.fault or str(sys.exc_info()[1])


@contextmanager
def open_log(path: Path, *, echo: bool = False) -> Iterator[logging.Logger]:
    """Give a logger that writes to a file, a date in front of each line.

    At 2 MB the file is renamed to ``….1``, and so on up to ``….10``. One process at a time: the
    lock of the job sees to that.

    Parameters
    ----------
    path : pathlib.Path
        The file; folders above it are made.
    echo : bool
        Whether to show it on standard error as well.

    Raises
    ------
    OsaError
        At the end, if not all could be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = _Handler(path, maxBytes=_BYTES, backupCount=_FILES, encoding="utf-8", errors="backslashreplace")
    form = logging.Formatter("%(asctime)sZ %(message)s", "%Y-%m-%d %H:%M:%S")
    form.converter = time.gmtime
    handler.setFormatter(form)
    logger = logging.Logger(path.name)  # of our own: nobody else's settings count
    logger.addHandler(handler)
    if echo:
        logger.addHandler(logging.StreamHandler())
    try:
        yield logger
    finally:
        with suppress(OSError):  # it has been noted, where something was still to be written
            handler.close()
    if handler.fault:
        raise OsaError(f"not all that was said could be logged: {handler.fault}")
