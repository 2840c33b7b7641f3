"""Files that are moved by a journal, and what must hold of them at any time."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from osa.closing.actions import Move
from osa.closing.journal import begun_batches, perform_moves
from osa.system.files import sync_directory
from osa.system.moves import bring_file, flush_source, make_folder, remove_source


def verified_move(source: Path, target: Path) -> bool:
    """Move one file as the journal moves many; False where nothing was left to do."""
    make_folder(target.parent)
    flush_source(source, target)
    arrived = bring_file(source, target)
    if arrived.was_there:
        return False
    sync_directory(target.parent)
    remove_source(source, arrived)
    sync_directory(source.parent)
    return True


CALLS = ("write", "fsync", "replace", "unlink", "mkdir")
FILES = 5


@dataclass(frozen=True)
class Place:
    """A working folder and final places, with files that are to be moved."""

    work: Path
    final: Path

    @property
    def journal(self) -> Path:
        return self.work / "moves.journal"

    def move(self, number: int) -> Move:
        name = f"product{number}.h5"
        return Move(self.work / name, self.final / ("DL1" if number % 2 else "DL2") / name)

    @property
    def all_moves(self) -> list[Move]:
        return [self.move(number) for number in range(FILES)]

    def plan(self) -> list[Move]:
        """What a closer would find to be moved."""
        return [move for move in self.all_moves if move.source.exists()]

    def fill(self) -> Place:
        self.work.mkdir(parents=True)
        for move in self.all_moves:
            move.source.write_bytes(content(move))
        return self

    def forget(self) -> None:
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.rmtree(self.final, ignore_errors=True)

    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.journal.read_text("utf-8").splitlines() if line]


def content(move: Move) -> bytes:
    return move.source.name.encode() * 50


def ignore(_count: int, _total: int) -> None:
    """Take progress."""


def go_on(place: Place) -> None:
    perform_moves(place.journal, place.plan(), ignore)


def is_whole(path: Path, move: Move) -> bool:
    return path.is_file() and path.read_bytes() == content(move)


def assert_nothing_lost(place: Place) -> None:
    for move in place.all_moves:
        assert is_whole(move.source, move) or is_whole(move.target, move), move
        assert not move.target.exists() or is_whole(move.target, move), move


def assert_moved(place: Place, moves: Sequence[Move] | None = None) -> None:
    for move in place.all_moves if moves is None else moves:
        assert is_whole(move.target, move), move
        assert not move.source.exists(), move
    assert not list(place.final.rglob("*.partial"))
    assert begun_batches(place.journal)[0] == []
