"""What identifies a file: a hash of its content, never its path.

Of raw files, which are large and never change once they are closed, blocks from all over the file are
hashed together with its size: cheap, and enough to tell two raw files apart, or to see that one was cut.
``raw_hash = full`` in the configuration has all of them hashed besides.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from osa.model.dataset import DatasetKind
from osa.records.model import FileRecord
from osa.system.files import sha256, write_text

__all__ = ["Identifier", "raw_sample", "same_content"]

_SAMPLES = 16
_SAMPLE_BYTES = 1 << 16
_SETTLED_SECONDS = 5
"""A file that was changed just now may be changed again without its time telling so."""


def raw_sample(path: Path) -> str:
    """Hash the size of a file and blocks from all over it, its first and its last among them.

    Returns
    -------
    str
        SHA-256 in hexadecimal; of a file of up to a megabyte all of it goes in.
    """
    with path.open("rb", buffering=0) as stream:
        size = os.fstat(stream.fileno()).st_size
        digest = hashlib.sha256(f"{size}\n".encode())
        last = max(0, size - _SAMPLE_BYTES)
        for start in sorted({last * index // (_SAMPLES - 1) for index in range(_SAMPLES)}):
            digest.update(os.pread(stream.fileno(), _SAMPLE_BYTES, start))
    return digest.hexdigest()


_Stamp = tuple[int, int]
"""Size of a file, and time of its last change in ns."""


@dataclass
class Identifier:
    """Identifies files, each content once.

    Parameters
    ----------
    store : pathlib.Path
        Folder for hashes of what all tasks of a night read; one file each, so that tasks on other
        machines never write to the same one.
    hash_raw : bool
        Whether raw files are read through for their hash.
    clock : callable
        Tells the time, s since 1970.
    """

    store: Path
    hash_raw: bool = False
    clock: Callable[[], float] = time.time
    _known: dict[str, tuple[_Stamp, str]] = field(default_factory=dict)

    def identify(self, role: str, kind: DatasetKind, path: Path, *, final: Path | None = None) -> FileRecord:
        """Describe a file as it is now.

        Parameters
        ----------
        role : str
            What it is for.
        kind : DatasetKind
            What it holds.
        path : pathlib.Path
            The file. Where there is none, that is what the record says.
        final : pathlib.Path, optional
            The name that it is about to get.

        Raises
        ------
        OSError
            If it is there and cannot be read.
        """
        named = str(final or path)
        try:
            found = path.stat()
        except FileNotFoundError:
            return FileRecord(role, kind, named)
        sample = raw_sample(path) if kind.is_raw else None
        digest = self._hash(path, kind, found, final) if self.hash_raw or not kind.is_raw else None
        return FileRecord(role, kind, named, found.st_size, found.st_mtime_ns, digest, sample)

    def learn(self, files: Iterable[FileRecord]) -> None:
        """Take over hashes that were recorded before; they count while size and time stay the same."""
        for item in files:
            if item.sha256 is not None and item.size is not None and item.modified is not None:
                self._known[item.path] = (item.size, item.modified), item.sha256

    def _hash(self, path: Path, kind: DatasetKind, found: os.stat_result, final: Path | None) -> str:
        stamp = (found.st_size, found.st_mtime_ns)
        known = self._known.get(str(path)) or (self._recall(path) if kind.is_shared else None)
        digest = known[1] if known is not None and known[0] == stamp else None
        if digest is None:
            digest = sha256(path)
            if kind.is_shared:
                self._remember(path, stamp, digest)
        self._known[str(final or path)] = stamp, digest  # a rename changes nothing of it
        return digest

    def _note(self, path: Path) -> Path:
        return self.store / f"{hashlib.sha256(os.fsencode(path)).hexdigest()}.json"

    def _recall(self, path: Path) -> tuple[_Stamp, str] | None:
        with suppress(OSError, ValueError, KeyError, TypeError):
            kept = json.loads(self._note(path).read_text(encoding="utf-8"))
            size, modified = kept["stamp"]
            if kept["path"] == str(path):
                return (int(size), int(modified)), str(kept["sha256"])
        return None

    def _remember(self, path: Path, stamp: _Stamp, digest: str) -> None:
        if self.clock() - stamp[1] / 1e9 > _SETTLED_SECONDS:
            kept = {"path": str(path), "stamp": stamp, "sha256": digest}
            with suppress(OSError):  # it is read through again then
                write_text(self._note(path), json.dumps(kept) + "\n")


def same_content(path: Path, size: int | None, digest: str | None, sample: str | None) -> bool:
    """Tell whether a file has the content that a record describes, by reading it.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    if size is not None and path.stat().st_size != size:
        return False
    if digest is not None:
        return sha256(path) == digest
    return sample is None or raw_sample(path) == sample
