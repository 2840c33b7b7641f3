"""Writes the records of the tries of one task.

The data is never worse off for it: where a record cannot be written the step goes on, the log and the
incidences say so, and the closer will find that it is missing.
"""

from __future__ import annotations

import hashlib
import os
import socket
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from osa.incidences import note_incidence
from osa.layout import Layout
from osa.model.dataset import DatasetKind
from osa.records.environment import account, installed_software, job_ids, main_versions
from osa.records.identity import Identifier
from osa.records.lines import append_begin, append_end
from osa.records.model import ConfigFile, FileRecord, Software, Status, TryRecord
from osa.system.files import create_bytes
from osa.system.workers import Outcome

__all__ = ["Attempt", "Recorder"]

_LONGEST_NAME = 60

File = tuple[str, DatasetKind, Path]
"""Role, kind and path of a file."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _warn(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


@dataclass
class Recorder:
    """Records what one task does.

    Parameters
    ----------
    layout : Layout
        Of the night.
    run, subrun : int, int or None
        What the task works on.
    say : callable
        Told where a record cannot be written.
    clock : callable
        Tells the time.
    """

    layout: Layout
    run: int
    subrun: int | None
    say: Callable[[str], None] = _warn
    clock: Callable[[], datetime] = _utc_now

    def __post_init__(self) -> None:
        settings = self.layout.settings.provenance
        self.path = self.layout.records(self.run, self.subrun)
        self.identifier = Identifier(self.layout.hashes_dir, hash_raw=settings.raw_hash == "full")

    def begin(
        self,
        step: str,
        program: str,
        *,
        package: str,
        prod_id: str,
        inputs: Iterable[File] = (),
        configuration: Iterable[tuple[str, Path]] = (),
        parameters: Mapping[str, str] | None = None,
        known: Iterable[FileRecord] = (),
    ) -> Attempt:
        """Write down that a try begins, with its inputs as they are now.

        Parameters
        ----------
        step, program, package, prod_id : str
            See :class:`osa.records.model.TryRecord`.
        inputs : iterable of (str, DatasetKind, pathlib.Path)
            Role, kind and path of what it reads.
        configuration : iterable of (str, pathlib.Path)
            Configuration files, each with what it configures.
        parameters : mapping of str to str
            What else it is told.
        known : iterable of FileRecord
            Inputs that are known, and not looked at.
        """
        record = TryRecord(
            id=str(uuid.uuid4()),
            telescope=self.layout.settings.telescope_name,
            night=str(self.layout.night),
            run=self.run,
            subrun=self.subrun,
            step=step,
            program=program,
            package=package,
            prod_id=prod_id,
            started=self.clock(),
            parameters=parameters or {},
            host=socket.gethostname(),
            user=account(),
            job=job_ids(os.environ),
        )
        attempt = Attempt(self, record)
        # Each by itself: one that cannot be read does not cost the others.
        read = [*known]
        for role, kind, path in inputs:
            with self.guarded(step):
                read.append(self.identifier.identify(role, kind, path))
        configured = []
        for name, path in configuration:
            with self.guarded(step):
                configured.append(self._configured(name, path))
        attempt.record = replace(record, inputs=tuple(read), configuration=tuple(configured))
        with self.guarded(step):
            attempt.record = replace(attempt.record, software=self._software())
        with self.guarded(step):
            append_begin(self.path, attempt.record)
            attempt.is_begun = True
        return attempt

    @contextmanager
    def guarded(self, step: str) -> Iterator[None]:
        """Keep whatever goes wrong with a record from the data; but say so."""
        try:
            yield
        except MemoryError:  # not for want of anything of ours: the task is to be tried again with more
            raise
        except Exception as error:
            reason = getattr(error, "strerror", None) or error
            self._tell(f"no provenance of {step} of {self.path.stem}: {reason}")

    def _tell(self, what: str) -> None:
        self.say(what)
        with suppress(OSError):
            note_incidence(self.layout, f"{what[0].upper()}{what[1:]}.")

    def _configured(self, name: str, path: Path) -> ConfigFile:
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return ConfigFile(name, str(path))
        digest, copy = self._archive(path.name, content)
        return ConfigFile(name, str(path), digest, copy)

    def _software(self) -> Software:
        digest, _ = self._archive("software.txt", installed_software().encode())
        return Software(main_versions(), digest)

    def _archive(self, name: str, content: bytes) -> tuple[str, str | None]:
        """Keep a copy of a small file, once for each content.

        Returns
        -------
        tuple of (str, str or None)
            Hash of the content, and name of the copy; None where it could not be made.
        """
        digest = hashlib.sha256(content).hexdigest()
        copy = self.layout.archive_dir / f"{digest}.{name[-_LONGEST_NAME:]}"
        try:
            if not copy.exists():
                create_bytes(copy, content)
        except OSError as error:
            if not copy.is_file():  # else another task was quicker
                self._tell(f"no copy of {name} of {self.path.stem}: {error.strerror or error}")
                return digest, None
        return digest, copy.name


@dataclass
class Attempt:
    """A try that is at work.

    Parameters
    ----------
    recorder : Recorder, optional
        Writes it down; without one nothing is.
    record : TryRecord, optional
        What is known of it.
    is_begun : bool
        Whether its beginning is written down.
    """

    recorder: Recorder | None = None
    record: TryRecord | None = None
    is_begun: bool = False

    def identify(self, files: Iterable[tuple[str, DatasetKind, Path, Path]]) -> tuple[FileRecord, ...]:
        """Describe what the try made: role, kind, where it is, the name that it is about to get."""
        if self.recorder is None or self.record is None:
            return ()
        found: list[FileRecord] = []
        for role, kind, made, final in files:
            with self.recorder.guarded(self.record.step):
                found.append(self.recorder.identifier.identify(role, kind, made, final=final))
        return tuple(found)

    def done(self, outputs: Iterable[FileRecord], used: Outcome | None = None) -> None:
        """Write down that it succeeded, what it made, and what it took."""
        self._end(status=Status.DONE, exit_code=0, outputs=tuple(outputs), **_resources(used))

    def failed(self, exit_code: int | None, reason: str, used: Outcome | None = None) -> None:
        """Write down that it failed."""
        self._end(status=Status.FAILED, exit_code=exit_code, reason=reason, **_resources(used))

    def _end(self, **how: Any) -> None:
        if self.recorder is None or self.record is None:
            return
        with self.recorder.guarded(self.record.step):
            self.record = replace(self.record, ended=max(self.recorder.clock(), self.record.started), **how)
            if not self.is_begun:
                append_begin(self.recorder.path, self.record)
                self.is_begun = True
            append_end(self.recorder.path, self.record)


def _resources(used: Outcome | None) -> dict[str, float]:
    if used is None:
        return {}
    return {"wall_time": used.wall_time, "cpu_time": used.cpu_time, "peak_memory": used.peak_memory}
