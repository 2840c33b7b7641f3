"""Finding what a night leaves behind: this only looks, and says what could go."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from osa.cleaning.due import Kind
from osa.cleaning.trees import OnFault, Tally, folder_below, names_in, tally
from osa.layout import Layout

__all__ = ["Leftover", "find_leftovers", "working_folder"]

# As osa.closing.remedies names them.
_DAMAGED = re.compile(r"[^.].*\.damaged\.\d{8}T\d{6}(\.\d+)?")
# Before a file gets its name it is written under these: by osa.system.files, osa.cures.other_night and
# osa.cleaning.logs.
_WRITTEN = re.compile(r"\.(?P<final>.+)\.[a-z0-9_]{8}")
_LINKED = re.compile(r"\.(drs4_pedestal|time_calibration|calibration)\.Run\d{5,}\.0000\.h5\.link")
_COMPRESSED = re.compile(r"\.[^.].*\.log\.gz\.partial")
_LOG = re.compile(r"[^.].*\.log")


@dataclass(frozen=True)
class Leftover:
    """Something that is to be removed; if it is a log, to be compressed.

    Parameters
    ----------
    kind : Kind
        What it is.
    path : pathlib.Path
        Where it is, from the night's working folder on: a file, or a folder with all that is in it.
    tally : Tally
        Its files.
    """

    kind: Kind
    path: Path
    tally: Tally


def working_folder(layout: Layout, *names: str) -> AbstractContextManager[int | None]:
    """Open the working folder of a night, or a folder in it; see :func:`osa.cleaning.trees.folder_below`."""
    root, production = layout.settings.telescope.analysis_dir, layout.settings.production.prod_id
    return folder_below(root, layout.night.tag, production, *names)


def find_leftovers(layout: Layout, kinds: Collection[Kind], on_fault: OnFault) -> tuple[Leftover, ...]:
    """Find what a night leaves behind, below its working folder and nowhere else.

    Parameters
    ----------
    layout : Layout
        Of the night.
    kinds : collection of Kind
        What to look for.
    on_fault : callable
        Told what cannot be looked into.

    Raises
    ------
    OSError
        If the night's working folder is a symbolic link, or cannot be read.
    """
    with working_folder(layout) as folder:
        if folder is None or not kinds:
            return ()
        found = list(_look(layout, folder, Path(), _signs(layout), on_fault))
        if stat.S_ISDIR(_mode(folder, layout.log_dir.name)):
            try:
                with working_folder(layout, layout.log_dir.name) as logs:
                    if logs is not None:
                        found += _look(layout, logs, Path(layout.log_dir.name), _LOG_SIGNS, on_fault)
            except OSError as error:
                on_fault(f"cannot look into {layout.log_dir}: {error.strerror}")
    return tuple(leftover for leftover in found if leftover.kind in kinds)


@dataclass(frozen=True)
class _Sign:
    """By which leftovers are known: name, and type of file."""

    kind: Kind
    is_name: Callable[[str], object]
    types: tuple[int, ...]


_LOG_SIGNS = (
    _Sign(Kind.LOG, _LOG.fullmatch, (stat.S_IFREG,)),
    _Sign(Kind.UNFINISHED, _COMPRESSED.fullmatch, (stat.S_IFREG,)),
)


def _signs(layout: Layout) -> tuple[_Sign, ...]:
    """Tell how leftovers in the working folder itself are known; a name of which is a link is none."""
    unfinished = {layout.scratch_dir.name, layout.environment_dir.name}
    written = (
        layout.incidences,
        layout.kept_choice,
        layout.left_out,
        layout.borrowed_calibration,
        layout.own_calibration,
    )
    names = {path.name for path in written}

    def is_temporary(name: str) -> bool:
        match = _WRITTEN.fullmatch(name)
        return match is not None and (match["final"] in names or match["final"].startswith("sequence_"))

    return (
        _Sign(Kind.UNFINISHED, unfinished.__contains__, (stat.S_IFDIR,)),
        _Sign(Kind.UNFINISHED, is_temporary, (stat.S_IFREG,)),
        _Sign(Kind.UNFINISHED, _LINKED.fullmatch, (stat.S_IFLNK,)),
        _Sign(Kind.SET_ASIDE, {layout.set_aside_dir.name}.__contains__, (stat.S_IFDIR,)),
        _Sign(Kind.SET_ASIDE, _DAMAGED.fullmatch, (stat.S_IFREG,)),
    )


def _look(
    layout: Layout, folder: int, within: Path, signs: tuple[_Sign, ...], on_fault: OnFault
) -> Iterator[Leftover]:
    for name in names_in(folder):
        for sign in signs:
            # Of the many names few are looked at.
            if sign.is_name(name) and stat.S_IFMT(_mode(folder, name)) in sign.types:
                path = layout.analysis_dir / within / name
                found = tally(folder, name, path, on_fault)
                # Nothing is won by compressing an empty log; an empty folder can go.
                if found.size or sign.kind is not Kind.LOG:
                    yield Leftover(sign.kind, within / name, found)


def _mode(folder: int, name: str) -> int:
    """Tell what has a name; 0 where it has gone."""
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return 0
