"""The record of one try of one step: what it read, made and was told, where, when, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from osa.model.dataset import DatasetKind

__all__ = [
    "ASIDE",
    "MOVE_STEP",
    "REFERENCE_ROLE",
    "ConfigFile",
    "FileRecord",
    "JobIds",
    "Software",
    "Status",
    "TryRecord",
]

MOVE_STEP = "move"
"""Name of the try in which the closer moved a run's products: it makes nothing, but changes places."""

ASIDE = {"aside": "yes"}
"""Parameters of a move that sets products aside: they are no longer those of the night."""

REFERENCE_ROLE = "reference"
"""Role of a file that a step copies."""


class Status(StrEnum):
    """How a try ended."""

    DONE = "done"
    FAILED = "failed"
    UNFINISHED = "unfinished"
    """Nothing is known of its end: it is at work, or was killed with its task."""


@dataclass(frozen=True)
class FileRecord:
    """A file that a try read or made, as it was then.

    Parameters
    ----------
    role : str
        What it was for.
    kind : DatasetKind
        What it holds.
    path : str
        Where it was; of what a try made, its name once it was complete.
    size : int or None
        Bytes; None where there was no such file.
    modified : int or None
        Time of its last change, ns since 1970.
    sha256 : str or None
        Hash of its content; None where that was not read (raw files).
    sample : str or None
        Of raw files: hash of their size and of blocks from all over them (see
        :mod:`osa.records.identity`).
    source : str or None
        Where it was moved from.
    """

    role: str
    kind: DatasetKind
    path: str
    size: int | None = None
    modified: int | None = None
    sha256: str | None = None
    sample: str | None = None
    source: str | None = None

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class ConfigFile:
    """A configuration file that a try was given.

    Parameters
    ----------
    name : str
        What it configures.
    path : str
        Where it was.
    sha256 : str or None
        Hash of its content; None where it could not be read.
    archived : str or None
        Name of its copy in the archive of the night.
    """

    name: str
    path: str
    sha256: str | None = None
    archived: str | None = None


@dataclass(frozen=True)
class JobIds:
    """The job in which a try ran; None where it did not run in one.

    Parameters
    ----------
    job : str
        The job, or the array that it is of.
    task : int
        Index in the array.
    restart : int
        How often the resource manager had begun it again.
    """

    job: str | None = None
    task: int | None = None
    restart: int | None = None


@dataclass(frozen=True)
class Software:
    """What did the work.

    Parameters
    ----------
    versions : mapping of str to str
        Versions of what the analysis stands on, by name.
    environment : str
        Hash of the list of all that is installed, which is kept in the archive of the night.
    """

    versions: Mapping[str, str] = field(default_factory=dict)
    environment: str = ""


@dataclass(frozen=True)
class TryRecord:
    """One try of one step.

    Parameters
    ----------
    id : str
        A UUID of its own.
    telescope, night : str
        ``LST1``, and the date of the evening as ``2020-01-27``.
    run, subrun : int, int or None
        What it worked on; no sub-run for the calibration and for whole runs.
    step, program : str
        Name of the step, and of the program behind it.
    package : str
        The package whose version counts for the program.
    prod_id : str
        Production that it worked for.
    started : datetime.datetime
        UTC.
    ended : datetime.datetime or None
        UTC; None where nothing is known of its end.
    status : Status
        How it ended.
    exit_code : int or None
        Of the program; negative for a signal.
    reason : str
        What was wrong, where it failed.
    inputs, outputs : tuple of FileRecord
        What it read and made; a failed try made nothing.
    configuration : tuple of ConfigFile
        Configuration files that it was given.
    parameters : mapping of str to str
        What else it was told.
    software : Software
        What did the work.
    host, user : str
        Where it ran, and under whose account.
    job : JobIds
        The job in which it ran.
    wall_time, cpu_time : float
        Seconds.
    peak_memory : float
        MB.
    """

    id: str
    telescope: str
    night: str
    run: int
    subrun: int | None
    step: str
    program: str
    package: str
    prod_id: str
    started: datetime
    ended: datetime | None = None
    status: Status = Status.UNFINISHED
    exit_code: int | None = None
    reason: str = ""
    inputs: tuple[FileRecord, ...] = ()
    outputs: tuple[FileRecord, ...] = ()
    configuration: tuple[ConfigFile, ...] = ()
    parameters: Mapping[str, str] = field(default_factory=dict)
    software: Software = field(default_factory=Software)
    host: str = ""
    user: str = ""
    job: JobIds = field(default_factory=JobIds)
    wall_time: float = 0.0
    cpu_time: float = 0.0
    peak_memory: float = 0.0

    @property
    def version(self) -> str:
        """Version of the program."""
        return self.software.versions.get(self.package, "unknown")
