"""Names for files of the simulation until they are whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from osa.system.files import publish

__all__ = ["atomic_path", "part_of"]


def part_of(path: Path) -> Path:
    """Name the file beside ``path`` that is written to before it is complete."""
    return path.with_name(f".{path.name}.{os.getpid()}.part")


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a name beside ``path`` to write to; renamed to ``path`` where all went well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = part_of(path)
    try:
        yield part
        publish(part, path)
    finally:
        part.unlink(missing_ok=True)
