"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["atomic_path", "part_of", "put_in_place"]


def part_of(path: Path) -> Path:
    """Name the file beside ``path`` that is written to before it is complete."""
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def put_in_place(part: Path, path: Path) -> None:
    """Flush a complete file to disk and give it its final name."""
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(path)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a name beside ``path`` to write to; renamed to ``path`` where all went well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = part_of(path)
    try:
        yield part
        put_in_place(part, path)
    finally:
        part.unlink(missing_ok=True)
