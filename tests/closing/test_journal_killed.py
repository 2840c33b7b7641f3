"""Moving by a journal, killed anywhere and on disks that fail: nothing is lost, and the next goes on."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from moving import CALLS, FILES, Place, assert_moved, assert_nothing_lost, content, go_on, ignore

from osa.closing import journal as module
from osa.closing.actions import Move
from osa.closing.journal import begun_batches, perform_moves
from osa.errors import ExitCode, InterruptedNightError, OsaError

pytestmark = pytest.mark.usefixtures("small_batches")


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
