"""Moving by a journal: what it says, what is done with what it says, and what is not moved."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from moving import CALLS, FILES, Place, assert_moved, assert_nothing_lost, go_on, ignore, is_whole

from osa.closing import journal as module
from osa.closing.actions import Move
from osa.closing.journal import begun_batches, perform_moves
from osa.errors import OsaError
from osa.system import moves as moves_module

pytestmark = pytest.mark.usefixtures("small_batches")


# -------------------------------------------------------------------------- what it does


def test_files_are_moved_and_the_journal_tells(place: Place) -> None:
    told: list[tuple[int, int]] = []
    perform_moves(place.journal, place.plan(), lambda *progress: told.append(progress))
    assert_moved(place)
    assert told == [(number, FILES) for number in range(1, FILES + 1)]
    lines = place.lines()
    assert [line["batch"] for line in lines] == [1, 1, 2, 2, 3, 3]
    assert lines[0]["move"] == {
        "product0.h5": str(place.final / "DL2" / "product0.h5"),
        "product1.h5": str(place.final / "DL1" / "product1.h5"),
    }
    moved = lines[1]["moved"]
    assert isinstance(moved, dict) and set(moved) == {"product0.h5", "product1.h5"}
    size, digest = moved["product0.h5"]
    assert size == 550
    is_copy = not place.final.is_relative_to(place.work.parent)
    assert (digest is not None and len(digest) == 64) if is_copy else digest is None


def test_nothing_to_move_leaves_no_journal(tmp_path: Path) -> None:
    perform_moves(tmp_path / "work" / "moves.journal", [], ignore)
    assert list(tmp_path.iterdir()) == []


def test_a_second_time_goes_on_with_the_numbers(place: Place) -> None:
    perform_moves(place.journal, place.plan()[:2], ignore)
    go_on(place)
    assert_moved(place)
    assert [line["batch"] for line in place.lines()] == [1, 1, 2, 2, 3, 3]


def test_large_files_make_small_batches(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BATCH_BYTES", 100)
    go_on(place)
    assert_moved(place)
    assert len(place.lines()) == 2 * FILES


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    place = Place(tmp_path / "work", tmp_path / "final").fill()
    name = os.fsdecode(b"\xff\n.h5")
    (place.work / name).write_text("x")
    perform_moves(place.journal, [Move(place.work / name, place.final / name)], ignore)
    assert (place.final / name).read_text() == "x"


def test_only_when_all_is_durable_the_source_goes(across: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_AT_ONCE", 1)
    done: list[tuple[str, str]] = []

    def noting(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def wrapped(first: object, *rest: object, **options: object) -> object:
            what = os.readlink(f"/proc/self/fd/{first}") if isinstance(first, int) else str(first)
            result = real(first, *rest, **options)
            done.append((name, what))
            return result

        return wrapped

    for name in CALLS:
        monkeypatch.setattr(os, name, noting(name, getattr(os, name)))
    go_on(across)
    monkeypatch.undo()
    of_journal = [at for at, what in enumerate(done) if what == ("fsync", str(across.journal))]
    for number in range(FILES):
        move, batch = across.move(number), number // 2
        partial = str(move.target.with_name(f".{move.target.name}.partial"))
        said, done_said = of_journal[2 * batch : 2 * batch + 2]
        order = [
            said,
            done.index(("write", partial)),
            done.index(("fsync", partial)),
            done.index(("replace", partial)),
            next(
                at
                for at, what in enumerate(done)
                if what == ("fsync", str(move.target.parent)) and at > done.index(("replace", partial))
            ),
            done.index(("unlink", str(move.source))),
            next(
                at
                for at, what in enumerate(done)
                if what == ("fsync", str(across.work)) and at > done.index(("unlink", str(move.source)))
            ),
            done_said,
        ]
        assert order == sorted(order)


# ------------------------------------------------------------------------- the journal


def interrupted(place: Place) -> bytes:
    """Have the second batch cut short with its files at both places; gives the journal."""
    real = moves_module.remove_source

    def die(source: Path, arrived: moves_module.Arrived) -> None:
        if source.name == "product2.h5":
            raise KeyboardInterrupt
        real(source, arrived)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_AT_ONCE", 1)
        patch.setattr(module, "remove_source", die)
        with pytest.raises(KeyboardInterrupt):
            go_on(place)
    return place.journal.read_bytes()


@pytest.mark.usefixtures("no_flush")
def test_torn_at_every_byte(across: Place, tmp_path: Path) -> None:
    written = interrupted(across)
    saved = tmp_path / "saved"
    shutil.copytree(across.work, saved / "work")
    shutil.copytree(across.final, saved / "final")
    for length in range(len(written) + 1):
        across.forget()
        shutil.copytree(saved / "work", across.work)
        shutil.copytree(saved / "final", across.final)
        os.truncate(across.journal, length)
        go_on(across)
        assert_moved(across)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\0\0\0\0",
        b"\xff\xfe",
        b"[]",
        b"7",
        b"null",
        b"{}",
        b'{"batch": 1}',
        b'{"batch": "1", "moved": {}}',
        b'{"batch": true, "moved": {}}',
        b'{"batch": 1, "move": ["product0.h5"]}',
        b'{"batch": 1, "move": {"product0.h5": 7}}',
        b'{"batch": 1, "move": {"product0.h5": "x"',
        b"[" * 100_000,
    ],
)
def test_lines_that_say_nothing(tmp_path: Path, line: bytes) -> None:
    journal = tmp_path / "moves.journal"
    begun = b'{"batch": 1, "move": {"a": "final/a"}}\n'
    journal.write_bytes(begun + line + b"\n" + line)
    (batch,), last = begun_batches(journal)
    assert (batch.number, batch.moves, last) == (1, (Move(tmp_path / "a", tmp_path / "final/a"),), 1)


@pytest.mark.parametrize("number", [2, 3], ids=["the same batch", "another batch"])
def test_doubled_intents(place: Place, number: int) -> None:
    interrupted(place)
    intents = place.journal.read_text("utf-8").splitlines()[-1]
    with place.journal.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps({**json.loads(intents), "batch": number}) + "\n")
    told: list[tuple[int, int]] = []
    perform_moves(place.journal, place.plan(), lambda *progress: told.append(progress))
    assert_moved(place)
    assert told[-1] == (3, 3)


def test_a_batch_that_was_finished_is_not_looked_at_again(place: Place) -> None:
    go_on(place)
    before = place.journal.read_bytes()
    place.move(0).source.write_bytes(b"made again, after the night was opened again")
    perform_moves(place.journal, [], ignore)
    assert place.journal.read_bytes() == before
    assert place.move(0).source.exists()


def test_where_the_plan_says_something_else_it_is_done(across: Place) -> None:
    interrupted(across)
    elsewhere = [Move(move.source, across.work / "new" / move.source.name) for move in across.plan()]
    perform_moves(across.journal, elsewhere, ignore)
    assert {path.name for path in (across.work / "new").iterdir()} == {
        "product2.h5",
        "product3.h5",
        "product4.h5",
    }
    assert across.plan() == []
    assert begun_batches(across.journal)[0] == []
    for number in range(FILES):
        move = across.move(number)
        assert is_whole(move.target, move) or is_whole(across.work / "new" / move.source.name, move)


def test_a_begun_file_that_is_nowhere_is_told_once(place: Place) -> None:
    interrupted(place)
    lost = place.move(2)
    lost.source.unlink(missing_ok=True)
    lost.target.unlink(missing_ok=True)
    with pytest.raises(OsaError, match=r"product2\.h5: neither it nor"):
        go_on(place)
    go_on(place)
    assert_moved(place, [move for move in place.all_moves if move != lost])


# ------------------------------------------------------------------- what is not moved


def test_another_file_at_a_target_keeps_only_that_one(place: Place) -> None:
    move = place.move(2)
    move.target.parent.mkdir(parents=True)
    move.target.write_bytes(b"other")
    with pytest.raises(OsaError, match=r"1 file\(s\) could not be moved:\n.*differs from.*both are kept"):
        go_on(place)
    assert (is_whole(move.source, move), move.target.read_bytes()) == (True, b"other")
    assert_moved(place, [other for other in place.all_moves if other != move])
    kept = [line["kept"] for line in place.lines() if line.get("kept")]
    assert len(kept) == 1 and "both are kept" in str(kept[0])
    move.target.unlink()
    go_on(place)
    assert_moved(place)


def test_many_that_are_kept_are_listed_in_part(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LISTED", 2)
    for move in place.all_moves:
        move.target.parent.mkdir(parents=True, exist_ok=True)
        move.target.write_bytes(b"other")
    with pytest.raises(OsaError, match=r"5 file\(s\)") as caught:
        go_on(place)
    said = str(caught.value).split("\n  ")
    assert len(said) == 4
    assert said[-1] == f"… and 3 more: see {place.journal}"


def test_two_files_for_one_target(place: Place) -> None:
    first, second = place.move(0), place.move(1)
    with pytest.raises(OsaError, match="both are kept"):
        perform_moves(place.journal, [first, Move(second.source, first.target)], ignore)
    assert is_whole(first.target, first)
    assert is_whole(second.source, second)


@pytest.mark.parametrize("leads_to", ["product0.h5", "nothing"])
def test_a_link_stays_and_is_told(place: Place, leads_to: str) -> None:
    link = place.move(3).source
    link.unlink()
    link.symlink_to(leads_to)
    with pytest.raises(OsaError, match=r"product3\.h5 is a symbolic link, which is neither moved nor"):
        perform_moves(place.journal, place.all_moves, ignore)
    assert os.readlink(link) == leads_to
    assert_moved(place, [move for move in place.all_moves if move.source != link])
    assert not place.move(3).target.exists()


def test_a_folder_that_cannot_be_made_keeps_its_files(place: Place) -> None:
    place.final.mkdir()
    (place.final / "DL1").write_text("a file where the folder should be")
    with pytest.raises(OsaError, match=r"2 file\(s\) could not be moved"):
        go_on(place)
    assert_nothing_lost(place)
    assert_moved(place, [place.move(number) for number in (0, 2, 4)])
    (place.final / "DL1").unlink()
    go_on(place)
    assert_moved(place)


def test_a_source_that_cannot_be_removed_is_told(across: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Path, _arrived: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(source))

    with monkeypatch.context() as patch:
        patch.setattr(module, "remove_source", refuse)
        with pytest.raises(OsaError, match="Permission denied"):
            go_on(across)
    assert len(across.plan()) == FILES
    go_on(across)
    assert_moved(across)


def test_a_journal_that_cannot_be_written_moves_nothing(place: Place) -> None:
    place.journal.mkdir()
    with pytest.raises((OsaError, OSError)):
        go_on(place)
    assert len(place.plan()) == FILES
