"""Made-up tries that failed, with what they left behind: records, logs, raw files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from astropy.io import fits
from night_states import SUBMITTED, data_sequence

from osa.flags import FreshStart
from osa.layout import Layout
from osa.model.job import JobState, TaskRecord
from osa.model.sequence import Sequence, SequenceKind
from osa.nightstate import SequenceState

# What the libraries of lstchain say.
NO_POINTING = (
    "ValueError: A value (1580163611.05) in x_new is above the interpolation range's maximum value "
    "(1580163350)."
)
NO_POINTING_OF_OLD = "ValueError: A value in x_new is below the interpolation range."
NO_ARRAY = (
    "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 116. MiB for an array with shape "
    "(8192, 1855) and data type float64"
)
NO_MEMORY = "OSError: [Errno 12] Cannot allocate memory"
NO_PROCESS = "BlockingIOError: [Errno 11] Resource temporarily unavailable"
NO_PEDESTALS = (
    "tables.exceptions.NoSuchNodeError: group ``/dl1datacheck`` does not have a child named ``pedestals``"
)


@dataclass
class Failures:
    """The tries of one sequence, a minute after one another."""

    layout: Layout
    sequence: Sequence = field(default_factory=data_sequence)
    records: list[TaskRecord] = field(default_factory=list)

    def add(
        self,
        state: JobState = JobState.FAILED,
        *,
        task: int = 0,
        exit_code: int | None = 1,
        log: str | bytes = "",
        reason: str = "",
        submitted: datetime | None = None,
        ended: datetime | None = None,
        job_id: str | None = None,
    ) -> TaskRecord:
        """Add the end of a try, and its log where it said something."""
        is_array = self.sequence.kind is SequenceKind.DATA
        record = TaskRecord(
            job_id=job_id or str(len(self.records) + 1),
            name=self.sequence.name,
            task=task if is_array else None,
            state=state,
            submitted=submitted or SUBMITTED + timedelta(minutes=len(self.records)),
            ended=ended,
            exit_code=exit_code,
            reason=reason,
        )
        if log:
            path = self.layout.job_log(record.name, record.job_id, record.task)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(log if isinstance(log, bytes) else f"Traceback:\n{log}\n".encode())
        self.records.append(record)
        return record

    def state(
        self,
        todo: Iterable[int] = (0,),
        *,
        exhausted: Iterable[int] = (),
        failed: Iterable[int] = (),
        fresh_start: FreshStart | None = None,
        vetoed: bool = False,
    ) -> SequenceState:
        return SequenceState(
            sequence=self.sequence,
            todo=tuple(todo),
            exhausted=tuple(exhausted),
            counts={},
            records=tuple(self.records),
            closed=False,
            vetoed=vetoed,
            fresh_start=fresh_start,
            failed=tuple(failed),
        )


def write_raw(path: Path, n_events: int) -> Path:
    """Write a raw file, as far as its events are counted."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = [fits.Column("event_id", "K", array=np.arange(n_events))]
    fits.BinTableHDU.from_columns(columns, name="Events").writeto(path, overwrite=True)
    return path


def cut_raw(path: Path) -> Path:
    """Cut the end of a raw file off."""
    path.write_bytes(path.read_bytes()[:-2880])
    return path
