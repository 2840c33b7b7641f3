"""Moving by a journal: killed anywhere, and on disks that fail, nothing is lost and the next goes on."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from osa.closing import journal as module
from osa.closing.actions import Move
from osa.closing.journal import begun_batches, perform_moves
from osa.errors import ExitCode, InterruptedNightError, OsaError
from osa.system import moves as moves_module

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


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system."""
    folder = Path(tempfile.mkdtemp(dir="/dev/shm", prefix="osa-test-"))
    if folder.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("/dev/shm is on the file system of the temporary files")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(params=["same file system", "other file system"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    is_same = request.param == "same file system"
    root = tmp_path if is_same else request.getfixturevalue("elsewhere")
    return Place(tmp_path / "work", root / "final").fill()


@pytest.fixture
def across(tmp_path: Path, elsewhere: Path) -> Place:
    return Place(tmp_path / "work", elsewhere / "final").fill()


@pytest.fixture
def no_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what costs most and does nothing for a process that is killed: the kernel stays."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BATCH_FILES", 2)


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


# ----------------------------------------------------------------------- killed anywhere


def killed_at(place: Place, at: int, *, torn: bool = False) -> bool:
    """Move in a child that is killed before its n-th call, or in the midst of it; tells whether it was."""
    child = os.fork()
    if child == 0:
        try:
            _kill_at(at, torn)
            go_on(place)
        except BaseException:
            os._exit(3)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.waitstatus_to_exitcode(status) == 0
    return False


def _kill_at(at: int, torn: bool) -> None:
    calls, lock = [0], threading.Lock()

    def counting(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def wrapped(*arguments: object, **options: object) -> object:
            with lock:
                calls[0] += 1
                is_it = calls[0] == at
            if is_it:
                if torn and name == "write":
                    data = bytes(arguments[1])  # type: ignore[call-overload]
                    real(arguments[0], data[: len(data) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return None if name == "fsync" else real(*arguments, **options)

        return wrapped

    for name in CALLS:
        setattr(os, name, counting(name, getattr(os, name)))


@pytest.mark.usefixtures("no_flush")
@pytest.mark.parametrize("torn", [False, True], ids=["before", "within a write"])
@pytest.mark.parametrize("how", ["the same plan", "another plan"])
def test_killed_at_every_call_and_gone_on(
    place: Place, monkeypatch: pytest.MonkeyPatch, torn: bool, how: str
) -> None:
    monkeypatch.setattr(module, "_AT_ONCE", 1)  # so that the n-th call is the same each time
    for at in range(1, 500):
        place.forget()
        place.fill()
        if not killed_at(place, at, torn=torn):
            assert at > 6 * FILES
            break
        assert_nothing_lost(place)
        if how == "the same plan":
            go_on(place)
            assert_moved(place)
        else:  # one that does not list what was begun
            begun = [move for batch in begun_batches(place.journal)[0] for move in batch.moves]
            perform_moves(place.journal, [], ignore)
            assert_moved(place, begun)
            assert_nothing_lost(place)
    else:
        pytest.fail("never came to an end")
    assert_moved(place)


@pytest.mark.usefixtures("no_flush")
def test_killed_again_and_again(place: Place) -> None:
    """With several files in flight at once, and killed while it goes on, too."""
    choose = random.Random(1)
    for _ in range(40):
        place.forget()
        place.fill()
        while killed_at(place, choose.randrange(1, 60), torn=choose.random() < 0.5):
            assert_nothing_lost(place)
        assert_moved(place)


@pytest.mark.parametrize("error", [KeyboardInterrupt, InterruptedNightError("stopped by SIGTERM")])
def test_interrupted_and_gone_on(place: Place, error: type[BaseException] | BaseException) -> None:
    def interrupt(count: int, _total: int) -> None:
        if count == 3:
            raise error

    with pytest.raises(error if isinstance(error, type) else type(error)):
        perform_moves(place.journal, place.plan(), interrupt)
    assert_nothing_lost(place)
    go_on(place)
    assert_moved(place)


def test_a_signal_within_a_move_stops(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no reason to keep one file and go on with the others."""

    def stop(*_: object) -> None:
        raise InterruptedNightError("stopped by SIGTERM")

    monkeypatch.setattr(module, "bring_file", stop)
    with pytest.raises(InterruptedNightError):
        go_on(place)
    assert len(place.lines()) == 1


# --------------------------------------------------------------------- disks that fail


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC], ids=["EIO", "ENOSPC"])
@pytest.mark.parametrize("call", CALLS)
def test_what_failed_is_not_reported_as_done(
    place: Place, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    monkeypatch.setattr(module, "_AT_ONCE", 1)
    real = getattr(os, call)
    for at in range(1, 200):
        place.forget()
        place.fill()
        calls = []

        def broken(
            *arguments: object,
            calls: list[int] = calls,
            at: int = at,
            **options: object,
        ) -> object:
            calls.append(1)
            if len(calls) == at:
                raise OSError(code, os.strerror(code), "somewhere")
            return real(*arguments, **options)

        with monkeypatch.context() as patch:
            patch.setattr(os, call, broken)
            try:
                go_on(place)
            except OsaError as error:
                assert error.exit_code is ExitCode.NOT_COMPLETE
                if code == errno.ENOSPC:
                    assert "is full" in str(error)
            else:
                if len(calls) < at:
                    break
                # In vain was only tidied up, or made a folder that is there.
                assert call in {"unlink", "mkdir"}
        assert_nothing_lost(place)
        for line in place.lines() if place.journal.exists() else []:
            moved = line.get("moved", {})
            assert isinstance(moved, dict)
            for name in moved:
                assert not (place.work / name).exists()
        go_on(place)
        assert_moved(place)
    else:
        pytest.fail("never came to an end")


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 kB."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=256k", "osa-test", str(folder)]
    if os.geteuid() != 0 or shutil.which("mount") is None or subprocess.run(words, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_stops_at_once_and_more_room_goes_on(tmp_path: Path, tiny_disk: Path) -> None:
    moves = [Move(tmp_path / f"p{n}", tiny_disk / "DL1" / f"p{n}") for n in range(20)]
    for move in moves:
        move.source.write_bytes(content(move) * 500)
    journal = tmp_path / "moves.journal"
    with pytest.raises(OsaError) as caught:
        perform_moves(journal, moves, ignore)
    assert caught.value.exit_code is ExitCode.NOT_COMPLETE
    assert f"the file system {tiny_disk} is full" in str(caught.value)
    assert "of 20 files are moved" in str(caught.value)
    assert "Make room there and run closer again" in str(caught.value)
    for move in moves:
        kept = move.source if move.source.exists() else move.target
        assert kept.read_bytes() == content(move) * 500
    assert not list(tiny_disk.rglob("*.partial"))
    with pytest.raises(OsaError, match="is full"):
        perform_moves(journal, [move for move in moves if move.source.exists()], ignore)
    subprocess.run(["mount", "-o", "remount,size=4m", str(tiny_disk)], check=True)
    perform_moves(journal, [move for move in moves if move.source.exists()], ignore)
    assert all(move.target.read_bytes() == content(move) * 500 for move in moves)
    assert not any(move.source.exists() for move in moves)
    assert begun_batches(journal)[0] == []


def test_a_full_disk_can_be_left_for_another(tmp_path: Path, tiny_disk: Path) -> None:
    """Where the configuration names another final place, what was begun goes there."""
    sources = [tmp_path / f"p{n}" for n in range(20)]
    for path in sources:
        path.write_bytes(os.urandom(30_000))
    journal = tmp_path / "moves.journal"
    with pytest.raises(OsaError, match="is full"):
        perform_moves(journal, [Move(path, tiny_disk / "DL1" / path.name) for path in sources], ignore)
    left = [path for path in sources if path.exists()]
    perform_moves(journal, [Move(path, tmp_path / "large" / path.name) for path in left], ignore)
    assert not any(path.exists() for path in sources)
    assert {path.name for path in (tmp_path / "large").iterdir()} == {path.name for path in left}
    assert begun_batches(journal)[0] == []


def test_no_room_for_the_journal(tmp_path: Path, tiny_disk: Path) -> None:
    place = Place(tiny_disk / "work", tmp_path / "final").fill()
    place.journal.touch()
    filler = tiny_disk / "filler"
    with pytest.raises(OSError, match="No space"), filler.open("wb") as stream:
        while True:
            stream.write(bytes(4096))
            stream.flush()
    with pytest.raises(OsaError, match=f"the file system {tiny_disk} is full"):
        go_on(place)
    assert len(place.plan()) == FILES
    assert not place.final.exists()
    filler.unlink()
    go_on(place)
    assert_moved(place)


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
