"""Moving products by a journal: killed anywhere, the next closer finishes what was begun.

The journal is a text file of lines of JSON that is only appended to. Files are moved in batches; a line
says what a batch is about to move, and a line says what it has moved::

    {"batch": 1, "move": {"dl2_….h5": "/…/DL2/…/dl2_….h5", …}}
    {"batch": 1, "moved": {"dl2_….h5": [20480, "<sha256>"], …}, "kept": {}}

Sources stand relative to the folder of the journal. The hash is null where a file was renamed. A line
that cannot be read, such as the last one where the machine went down, says nothing: what it was about
was not begun, or is looked at again.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from osa.closing.actions import Move
from osa.errors import NotMovedError, OsaError
from osa.system.files import append_line, sync_directory
from osa.system.moves import (
    bring_file,
    flush_source,
    forget_partial,
    make_folder,
    means_full,
    remove_source,
)

__all__ = ["Batch", "begun_batches", "perform_moves"]

_BATCH_FILES = 256
_BATCH_BYTES = 16 << 30
"""So much at most is read once more where a closer was killed."""

_AT_ONCE = 4
"""While one file is flushed others can be copied; the file system flushes several together."""

_LISTED = 20

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Batch:
    """Files that are moved together.

    Parameters
    ----------
    number : int
        Of the batch in the journal.
    moves : tuple of Move
        What is to be moved.
    is_begun : bool
        Whether the journal says so already.
    """

    number: int
    moves: tuple[Move, ...]
    is_begun: bool = False


def perform_moves(journal: Path, moves: Sequence[Move], on_moved: Callable[[int, int], None]) -> None:
    """Finish the batches that were begun, then move what is to be moved.

    A file is at its target, whole and durable, before its source is removed; where another file is at
    the target, both are kept. What cannot be moved does not keep other files from being moved.

    Parameters
    ----------
    journal : pathlib.Path
        The journal of the night, in its working folder.
    moves : sequence of Move
        What is to be moved. A file that a begun batch was to move elsewhere goes where this says.
    on_moved : callable
        Told how many files have got to their targets, and of how many.

    Raises
    ------
    OsaError
        If some files were not moved; it lists them. If a file system is full or cannot make durable
        what was written: nothing more is tried then, and the next call goes on from there.
    """
    begun, last = begun_batches(journal)
    left = {move.source: move.target for batch in begun for move in batch.moves}
    left.update((move.source, move.target) for move in moves)
    total = len(left)
    unfinished = [_still_wanted(batch, left) for batch in begun]
    mover = _Mover(journal, total, on_moved)
    for batch in begun:
        for move in batch.moves:
            forget_partial(move.source, move.target)
    for batch in (*unfinished, *_batches(_moves(left), last + 1)):
        mover.perform(batch)
    if mover.kept:
        raise OsaError(_what_was_kept(mover.kept, journal))


def begun_batches(journal: Path) -> tuple[list[Batch], int]:
    """Read from a journal which batches were begun and not finished, and the last number given."""
    begun: dict[int, dict[Path, Path]] = {}
    last = 0
    try:
        stream = journal.open("rb")
    except FileNotFoundError:
        return [], last
    with stream:
        for line in stream:
            entry = _read_line(line)
            if entry is None:
                continue
            number, moves = entry
            last = max(last, number)
            if moves is None:
                begun.pop(number, None)
            else:
                paths = {journal.parent / source: journal.parent / target for source, target in moves.items()}
                begun.setdefault(number, {}).update(paths)
    return [Batch(number, _moves(paths), is_begun=True) for number, paths in begun.items()], last


def _read_line(line: bytes) -> tuple[int, dict[str, str] | None] | None:
    """Read number and moves of a batch, no moves where it is finished; None from what is no such line."""
    try:
        entry: Any = json.loads(line)
        number, moves = entry["batch"], entry.get("move")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    if type(number) is not int or (moves is None and "moved" not in entry):
        return None
    if moves is None:
        return number, None
    if not isinstance(moves, dict) or not all(isinstance(target, str) for target in moves.values()):
        return None
    return number, moves


def _moves(paths: Mapping[Path, Path]) -> tuple[Move, ...]:
    return tuple(Move(source, target) for source, target in paths.items())


def _still_wanted(batch: Batch, left: dict[Path, Path]) -> Batch:
    """Take from what is left to be moved what a batch is to move.

    It may be less than the batch had: what is to go elsewhere now, be it because its first target has no
    room, is for a new batch.
    """
    moves = tuple(move for move in batch.moves if left.get(move.source) == move.target)
    for move in moves:
        del left[move.source]
    return Batch(batch.number, moves, batch.is_begun)


def _batches(moves: Iterable[Move], number: int) -> Iterator[Batch]:
    """Put moves together into batches of many files, or of few large ones.

    No batch has two files for one target: only the next batch sees that there is one already.
    """
    batch: dict[Path, Move] = {}
    size = 0
    for move in moves:
        if len(batch) >= _BATCH_FILES or size >= _BATCH_BYTES or move.target in batch:
            yield Batch(number, tuple(batch.values()))
            number, batch, size = number + 1, {}, 0
        batch[move.target] = move
        with suppress(OSError):  # the move will say so
            size += os.lstat(move.source).st_size
    if batch:
        yield Batch(number, tuple(batch.values()))


@dataclass
class _Mover:
    """Performs batches one after the other.

    Parameters
    ----------
    journal : pathlib.Path
        Where it says what it does.
    total : int
        How many files there are to be moved.
    on_moved : callable
        Told of the progress.
    """

    journal: Path
    total: int
    on_moved: Callable[[int, int], None]
    kept: dict[Move, str] = field(default_factory=dict)
    _count: int = 0
    _has_said: bool = False
    _folders: set[Path] = field(default_factory=set)

    def perform(self, batch: Batch) -> None:
        """Perform a batch, from what the journal says before to what it says after."""
        if not batch.is_begun:
            self._say(
                {
                    "batch": batch.number,
                    "move": {self._name(m.source): self._name(m.target) for m in batch.moves},
                }
            )
        kept: dict[Move, str] = {}
        self._make_folders(batch.moves, kept)
        self._for_each(lambda move: flush_source(move.source, move.target), _without(batch.moves, kept), kept)
        arrived = self._for_each(
            lambda move: bring_file(move.source, move.target), _without(batch.moves, kept), kept, self._tell
        )
        self._sync(move.target.parent for move in arrived)
        self._for_each(lambda move: remove_source(move.source, arrived[move]), arrived, kept)
        moved = {move: file for move, file in arrived.items() if move not in kept}
        self._sync(move.source.parent for move in moved)
        self.kept.update(kept)
        self._say(
            {
                "batch": batch.number,
                "moved": {self._name(move.source): [file.size, file.sha256] for move, file in moved.items()},
                "kept": {self._name(move.source): reason for move, reason in kept.items()},
            }
        )

    def _make_folders(self, moves: Iterable[Move], kept: dict[Move, str]) -> None:
        for move in moves:
            folder = move.target.parent
            if folder in self._folders:
                continue
            try:
                make_folder(folder)
                self._folders.add(folder)
            except OSError as error:
                kept[move] = self._reason(move, error)

    def _for_each(
        self,
        function: Callable[[Move], _Result],
        moves: Iterable[Move],
        kept: dict[Move, str],
        on_done: Callable[[], None] = lambda: None,
    ) -> dict[Move, _Result]:
        """Call a function for each file, for some at once; tells apart what was done and what is kept."""
        results: dict[Move, _Result] = {}
        with ThreadPoolExecutor(max_workers=_AT_ONCE) as threads:
            futures = {threads.submit(function, move): move for move in moves}
            try:
                for future in as_completed(futures):
                    move = futures[future]
                    try:
                        results[move] = future.result()
                    except (NotMovedError, OSError) as error:
                        kept[move] = self._reason(move, error)
                    else:
                        on_done()
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                raise
        return results

    def _reason(self, move: Move, error: NotMovedError | OSError) -> str:
        """Say why a file is kept, if others can be moved all the same."""
        if isinstance(error, OSError):
            if means_full(error):
                raise OsaError(self._what_is_full(move.target.parent)) from error
            return f"cannot move {move.source} to {move.target}: {error.strerror or error}"
        return str(error)

    def _sync(self, folders: Iterable[Path]) -> None:
        for folder in dict.fromkeys(folders):
            try:
                sync_directory(folder)
            except OSError as error:
                what = f"the names in {folder} cannot be made durable"
                raise OsaError(self._why_stopped(folder, what, error)) from error

    def _say(self, entry: Mapping[str, object]) -> None:
        try:
            append_line(self.journal, json.dumps(entry))
            if not self._has_said:
                sync_directory(self.journal.parent)
            self._has_said = True
        except OSError as error:
            what = f"{self.journal} cannot be written"
            raise OsaError(self._why_stopped(self.journal.parent, what, error)) from error

    def _name(self, path: Path) -> str:
        return str(path).removeprefix(f"{self.journal.parent}{os.sep}")

    def _tell(self) -> None:
        self._count += 1
        self.on_moved(self._count, self.total)

    def _why_stopped(self, folder: Path, what: str, error: OSError) -> str:
        if means_full(error):
            return self._what_is_full(folder)
        reason = error.strerror or error
        return f"{what} ({reason}): stopped; nothing is lost, and the next closer goes on from here"

    def _what_is_full(self, folder: Path) -> str:
        while not folder.exists():
            folder = folder.parent
        mount = folder.resolve()
        while not mount.is_mount():
            mount = mount.parent
        free = shutil.disk_usage(folder).free
        return (
            f"the file system {mount} is full ({free / 1e6:.0f} MB free, or your share of it is used up), "
            f"below {folder}: {self._count} of {self.total} files are moved, the others are where they were. "
            "Make room there and run closer again: it goes on from here"
        )


def _without(moves: Iterable[Move], kept: Mapping[Move, str]) -> list[Move]:
    return [move for move in moves if move not in kept]


def _what_was_kept(kept: Mapping[Move, str], journal: Path) -> str:
    lines = [f"{len(kept)} file(s) could not be moved:"]
    lines += list(kept.values())[:_LISTED]
    if len(kept) > _LISTED:
        lines.append(f"… and {len(kept) - _LISTED} more: see {journal}")
    return "\n  ".join(lines)
