"""Which raw files of a night are there."""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from pathlib import Path

from osa.errors import InputError
from osa.layout import Layout

__all__ = ["find_raw_subruns", "is_forbidden"]


def find_raw_subruns(layout: Layout) -> dict[int, tuple[int, ...]]:
    """Find the sub-runs of a night whose raw files (of stream 1) are there, not empty, and readable.

    Parameters
    ----------
    layout : Layout
        Of the night.

    Returns
    -------
    dict of int to tuple of int
        Ascending indices of sub-runs, by run; empty where the night has no folder.

    Raises
    ------
    InputError
        If the folder is there and cannot be read.
    """
    pattern = layout.raw_pattern
    found: dict[int, set[int]] = defaultdict(set)
    try:
        with os.scandir(layout.raw_dir) as entries:
            for entry in entries:
                match = pattern.fullmatch(entry.name)
                if match and _has_content(entry):
                    found[int(match["run"])].add(int(match["subrun"]))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InputError(f"raw files cannot be looked for in {layout.raw_dir}: {error.strerror}") from None
    return {run: tuple(sorted(subruns)) for run, subruns in sorted(found.items())}


def _has_content(entry: os.DirEntry[str]) -> bool:
    try:
        status = entry.stat()
    except OSError:  # a dangling link, or gone since
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size > 0 and os.access(entry.path, os.R_OK)


def is_forbidden(path: Path) -> bool:
    """Tell whether a raw file is there and we have no permission to read it."""
    return path.is_file() and not os.access(path, os.R_OK)
