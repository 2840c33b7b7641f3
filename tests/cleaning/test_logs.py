"""Compressing logs: nothing that one says is ever lost."""

from __future__ import annotations

import errno
import gzip
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osa.cleaning import logs
from osa.cleaning.logs import compress_log
from osa.errors import OsaError
from tests.cleaning.leftover_night import is_killed, snapshot

TIME = 1580000000_123456789
SAID = b"the task begins\n" + b"MemoryError\n" * 2000


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "a.log"
    path.write_bytes(SAID)
    path.chmod(0o640)
    os.utime(path, ns=(1, TIME))
    return path


@pytest.fixture
def packed(log: Path) -> Path:
    return log.with_name("a.log.gz")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_log_becomes_a_compressed_one_of_the_same_time_and_mode(log: Path, packed: Path, folder: int) -> None:
    freed = compress_log(folder, "a.log")
    assert names(log.parent) == ["a.log.gz"]
    assert gzip.decompress(packed.read_bytes()) == SAID
    assert packed.stat().st_mtime_ns == TIME
    assert packed.stat().st_mode & 0o7777 == 0o640
    assert freed == len(SAID) - packed.stat().st_size
    assert freed > 0
    assert subprocess.run(["gzip", "-dc", packed], capture_output=True, check=True).stdout == SAID


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=4))
def test_whatever_logs_say_comes_back(tmp_path_factory: pytest.TempPathFactory, said: list[bytes]) -> None:
    """One after the other, as where the night was opened again between them."""
    path = tmp_path_factory.mktemp("logs") / "a.log"
    descriptor = os.open(path.parent, os.O_RDONLY)
    whole = b""
    try:
        for text in said:
            path.write_bytes(text)
            before = whole
            compress_log(descriptor, "a.log")
            whole = gzip.decompress((path.parent / "a.log.gz").read_bytes())
            # One that says the same as the end of the one before is taken for the same.
            assert whole == before + text or (whole == before and whole.endswith(text))
            assert names(path.parent) == ["a.log.gz"]
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("at_a_time", [1, 7, 1000])
def test_what_is_read_in_blocks_is_whole(
    log: Path, packed: Path, folder: int, monkeypatch: pytest.MonkeyPatch, at_a_time: int
) -> None:
    monkeypatch.setattr(logs, "_BLOCK", at_a_time)
    log.write_bytes(SAID[:2000])
    compress_log(folder, "a.log")
    log.write_bytes(SAID[:1000])
    compress_log(folder, "a.log")
    assert gzip.decompress(packed.read_bytes()) == SAID[:2000] + SAID[:1000]


@pytest.mark.parametrize("at_a_time", [1, 7, 1 << 20])
@pytest.mark.parametrize("older", [b"", b"what it said before\n" * 3])
def test_log_that_was_taken_in_before_only_goes(
    log: Path, packed: Path, folder: int, monkeypatch: pytest.MonkeyPatch, at_a_time: int, older: bytes
) -> None:
    monkeypatch.setattr(logs, "_BLOCK", at_a_time)
    log.write_bytes(SAID[:100])
    packed.write_bytes(gzip.compress(older + SAID[:100]))
    before = packed.read_bytes()
    assert compress_log(folder, "a.log") == 100
    assert names(log.parent) == ["a.log.gz"]
    assert packed.read_bytes() == before


def test_log_that_has_gone_is_none(tmp_path: Path, folder: int) -> None:
    assert compress_log(folder, "none.log") is None
    assert names(tmp_path) == []


@pytest.mark.parametrize("has_older", [False, True])
def test_killed_anywhere_and_done_again(tmp_path: Path, log: Path, packed: Path, has_older: bool) -> None:
    older = b"what it said before\n" if has_older else b""

    def compress() -> None:
        descriptor = os.open(tmp_path, os.O_RDONLY)
        try:
            compress_log(descriptor, "a.log")
        finally:
            os.close(descriptor)

    at = 0
    while True:
        at += 1
        for path in tmp_path.iterdir():
            path.unlink()
        log.write_bytes(SAID)
        os.utime(log, ns=(1, TIME))
        if has_older:
            packed.write_bytes(gzip.compress(older))
        was_killed = is_killed(compress, at)
        if log.exists():
            assert log.read_bytes() == SAID
        else:
            assert gzip.decompress(packed.read_bytes()) == older + SAID
        compress()
        assert names(tmp_path) == ["a.log.gz"]
        assert gzip.decompress(packed.read_bytes()) == older + SAID
        assert packed.stat().st_mtime_ns == TIME
        if not was_killed:
            break
    assert at > 8  # it has so many steps


class Interfered(BaseException):
    """Stands for whatever ends a process."""


@pytest.mark.parametrize(
    ("function", "error"),
    [
        ("fsync", OSError(errno.ENOSPC, "No space left on device")),
        ("replace", PermissionError(errno.EACCES, "Permission denied")),
        ("utime", PermissionError(errno.EPERM, "Operation not permitted")),
        ("fsync", Interfered()),
    ],
)
def test_log_stays_as_it_is_where_it_cannot_be_compressed(
    log: Path, folder: int, monkeypatch: pytest.MonkeyPatch, function: str, error: BaseException
) -> None:
    before = snapshot(log.parent)

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(os, function, fail)
    with pytest.raises(type(error)):
        compress_log(folder, "a.log")
    assert snapshot(log.parent) == before


def test_what_is_read_again_has_to_be_the_same(
    log: Path, folder: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that writes something else."""
    before = snapshot(log.parent)
    real = gzip.GzipFile

    class Bad(real):  # type: ignore[misc, valid-type]
        def write(self, data: Any) -> int:
            return super().write(data.replace(b"MemoryError", b"MemoryErrro"))

    monkeypatch.setattr(logs.gzip, "GzipFile", Bad)
    with pytest.raises(OsaError, match="differs"):
        compress_log(folder, "a.log")
    assert snapshot(log.parent) == before


@pytest.mark.parametrize("when", ["before it is there", "before the log goes"])
def test_log_that_is_written_meanwhile_stays(
    log: Path, folder: int, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    function = "utime" if when == "before it is there" else "replace"
    real = getattr(os, function)

    def late(*arguments: Any, **options: Any) -> None:
        real(*arguments, **options)
        if not log.read_bytes().endswith(b"more\n"):
            with log.open("ab") as stream:
                stream.write(b"more\n")

    monkeypatch.setattr(os, function, late)
    with pytest.raises(OsaError, match="changed meanwhile"):
        compress_log(folder, "a.log")
    assert log.read_bytes() == SAID + b"more\n"
    assert (log.parent / "a.log.gz").exists() == (when != "before it is there")
    monkeypatch.undo()
    compress_log(folder, "a.log")
    assert gzip.decompress((log.parent / "a.log.gz").read_bytes()).endswith(SAID + b"more\n")


def test_what_a_killed_one_left_is_no_hindrance(log: Path, packed: Path, folder: int) -> None:
    (log.parent / ".a.log.gz.partial").write_bytes(b"half")
    compress_log(folder, "a.log")
    assert names(log.parent) == ["a.log.gz"]
    assert gzip.decompress(packed.read_bytes()) == SAID


def test_link_under_the_temporary_name_is_not_followed(log: Path, folder: int, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_bytes(b"kept")
    (tmp_path / ".a.log.gz.partial").symlink_to(kept)
    compress_log(folder, "a.log")
    assert kept.read_bytes() == b"kept"
    assert names(tmp_path) == ["a.log.gz", "kept"]


@pytest.mark.parametrize("what", ["garbage", "cut short", "link", "folder", "bad sum"])
def test_what_is_in_the_way_stays_with_the_log(log: Path, packed: Path, folder: int, what: str) -> None:
    good = gzip.compress(SAID * 2)
    if what == "folder":
        packed.mkdir()
    elif what == "link":
        other = log.parent / "other.gz"
        other.write_bytes(good)
        packed.symlink_to(other)
    else:
        contents = {"garbage": b"no gzip", "cut short": good[:-20], "bad sum": good[:-8] + bytes(8)}
        packed.write_bytes(contents[what])
    before = snapshot(log.parent)
    with pytest.raises((OSError, OsaError)):
        compress_log(folder, "a.log")
    assert snapshot(log.parent) == before


def test_link_is_no_log(log: Path, folder: int) -> None:
    (log.parent / "b.log").symlink_to(log)
    before = snapshot(log.parent)
    with pytest.raises(OSError, match="symbolic links"):
        compress_log(folder, "b.log")
    assert snapshot(log.parent) == before
