"""What was submitted to Slurm, one file a submission, and what was last known of it.

A submission has a number, counted for each job name. Its file is made before ``sbatch`` is called,
and can be made only once: of two sequencers that come to the same decision one makes it and the
other learns of it, whatever locks there are. The identifier of the job is added when Slurm has
told it. A file without one therefore is a job that may or may not exist.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from osa.errors import AnotherInstanceError, InputError
from osa.model.job import JobState, TaskRecord
from osa.system.files import create_text, sync_directory, write_text

__all__ = ["Submission", "Submissions", "next_number"]

_FILE = re.compile(r"(?P<name>[A-Za-z0-9_.-]+)\.(?P<number>\d{4,})\.json")


@dataclass(frozen=True, slots=True)
class Submission:
    """One job, or the intent of one.

    Parameters
    ----------
    name : str
        Name of the job.
    number : int
        Counted from 1 for each name.
    tasks : tuple of int
        Sub-runs; empty for a job that is no array.
    offset : int
        What is added to the index within the array to get the sub-run.
    intended : datetime.datetime
        When it was decided, UTC.
    job_id : str or None
        What Slurm calls it; None while that is not known.
    known : tuple of TaskRecord
        What was last heard of its tasks.
    """

    name: str
    number: int
    tasks: tuple[int, ...]
    offset: int
    intended: datetime
    job_id: str | None = None
    known: tuple[TaskRecord, ...] = ()

    @property
    def indices(self) -> frozenset[int | None]:
        """Indices within the array."""
        return frozenset(task - self.offset for task in self.tasks) or frozenset({None})

    @property
    def is_settled(self) -> bool:
        """Whether the end of every task is known."""
        latest = {record.task: record.state for record in self.known}
        wanted: tuple[int | None, ...] = self.tasks or (None,)
        return all(task in latest and not latest[task].is_live for task in wanted)


class Submissions:
    """The submissions of a group of jobs.

    Parameters
    ----------
    folder : pathlib.Path
        Folder of their files; made with the first.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self) -> tuple[Submission, ...]:
        """Read all, in the order in which they were made.

        Raises
        ------
        InputError
            If a file is not what was written.
        """
        try:
            with os.scandir(self.folder) as entries:
                names = [entry.name for entry in entries]
        except FileNotFoundError:
            return ()
        read = (self._read(match) for name in names if (match := _FILE.fullmatch(name)))
        found = [submission for submission in read if submission is not None]
        return tuple(sorted(found, key=lambda s: (s.intended, s.name, s.number)))

    def _read(self, match: re.Match[str]) -> Submission | None:
        path = self.folder / match[0]
        try:
            return _from_document(match["name"], int(match["number"]), json.loads(path.read_bytes()))
        except FileNotFoundError:
            return None  # withdrawn just now
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
            raise InputError(
                f"{path} does not tell what was submitted ({error}); if no job {match['name']} of this "
                "night is in the queue, move the file away and run sequencer again"
            ) from None

    def add(self, submission: Submission) -> None:
        """Write down the intent of a submission, durably.

        Raises
        ------
        AnotherInstanceError
            If somebody else has made that submission.
        """
        try:
            create_text(self._path(submission), _as_text(submission))
        except FileExistsError:
            raise AnotherInstanceError(
                f"{submission.name}: another sequencer submits it at this moment"
            ) from None

    def update(self, submission: Submission) -> None:
        """Write down what has become known of a submission."""
        write_text(self._path(submission), _as_text(submission))

    def withdraw(self, submission: Submission) -> None:
        """Forget a submission that gave no job."""
        self._path(submission).unlink(missing_ok=True)
        sync_directory(self.folder)

    def _path(self, submission: Submission) -> Path:
        return self.folder / f"{submission.name}.{submission.number:04d}.json"


def next_number(submissions: Iterable[Submission], name: str) -> int:
    """Number of the next submission of a job."""
    return max((s.number for s in submissions if s.name == name), default=0) + 1


# ------------------------------------------------------------------------------ the files


def _as_text(submission: Submission) -> str:
    document = {
        "tasks": submission.tasks,
        "offset": submission.offset,
        "intended": submission.intended.timestamp(),
        "job_id": submission.job_id,
        "known": [_as_row(record) for record in submission.known],
    }
    return json.dumps(document) + "\n"


def _from_document(name: str, number: int, document: dict[str, Any]) -> Submission:
    return Submission(
        name=name,
        number=number,
        tasks=tuple(int(task) for task in document["tasks"]),
        offset=int(document["offset"]),
        intended=datetime.fromtimestamp(document["intended"], UTC),
        job_id=None if document["job_id"] is None else str(document["job_id"]),
        known=tuple(_from_row(name, row) for row in document["known"]),
    )


def _as_row(record: TaskRecord) -> list[Any]:
    return [
        record.job_id,
        record.task,
        record.state.value,
        record.submitted.timestamp(),
        None if record.started is None else record.started.timestamp(),
        None if record.ended is None else record.ended.timestamp(),
        record.exit_code,
        record.host,
        record.cpu_time.total_seconds(),
        record.reason,
    ]


def _from_row(name: str, row: list[Any]) -> TaskRecord:
    job_id, task, state, submitted, started, ended, exit_code, host, cpu, reason = row
    return TaskRecord(
        job_id=job_id,
        name=name,
        task=task,
        state=JobState(state),
        submitted=datetime.fromtimestamp(submitted, UTC),
        started=None if started is None else datetime.fromtimestamp(started, UTC),
        ended=None if ended is None else datetime.fromtimestamp(ended, UTC),
        exit_code=exit_code,
        host=host,
        cpu_time=timedelta(seconds=cpu),
        reason=reason,
    )
