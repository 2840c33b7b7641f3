from __future__ import annotations

import errno
import hashlib
import multiprocessing
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from osa.system import files
from osa.system.files import append_line, publish, sha256, sync_directory, write_text

FAULTS = [errno.ENOSPC, errno.EIO]


@pytest.fixture
def as_user():
    """Be somebody who may not do everything, in a folder that everybody may enter."""
    folder = Path(tempfile.mkdtemp(dir="/dev/shm", prefix="osa-test-"))
    folder.chmod(0o777)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    yield folder
    if is_root:
        os.seteuid(0)
    shutil.rmtree(folder)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# -------------------------------------------------------------------------- write_text


def test_a_file_is_written_whole_with_its_folders(tmp_path):
    path = tmp_path / "a" / "b" / "file.txt"
    write_text(path, "é\n", mode=0o755)
    assert path.read_bytes() == "é\n".encode()
    assert path.stat().st_mode & 0o777 == 0o755
    assert names(path.parent) == {"file.txt"}


def test_a_file_is_replaced(tmp_path):
    path = tmp_path / "file.txt"
    write_text(path, "old and longer")
    write_text(path, "new")
    assert path.read_text() == "new"


def test_the_target_of_a_link_is_left_alone(tmp_path):
    (tmp_path / "precious").write_text("kept")
    (tmp_path / "file.txt").symlink_to("precious")
    write_text(tmp_path / "file.txt", "new")
    assert (tmp_path / "precious").read_text() == "kept"
    assert (tmp_path / "file.txt").read_text() == "new"


@pytest.mark.parametrize("code", FAULTS)
@pytest.mark.parametrize("function", ["fsync", "replace", "fchmod"])
def test_a_fault_leaves_the_old_content_and_nothing_else(tmp_path, break_os, function, code):
    path = tmp_path / "file.txt"
    write_text(path, "old")
    break_os(function, code)
    with pytest.raises(OSError, match=os.strerror(code)):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert names(tmp_path) == {"file.txt"}


def test_text_that_cannot_be_encoded_leaves_nothing(tmp_path):
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "file.txt", "\ud800")
    assert names(tmp_path) == set()


def test_the_name_is_made_durable(tmp_path, break_os):
    break_os("fsync", errno.EIO, after=1)  # the second is that of the folder
    with pytest.raises(OSError, match="Input/output error"):
        write_text(tmp_path / "file.txt", "new")


def test_a_folder_that_may_not_be_written(as_user):
    folder = as_user / "closed"
    folder.mkdir(mode=0o555)
    with pytest.raises(PermissionError):
        write_text(folder / "file.txt", "new")
    assert names(folder) == set()


# ------------------------------------------------------------------------- append_line


def test_lines_are_appended(tmp_path):
    path = tmp_path / "a" / "log"
    append_line(path, "one")
    append_line(path, "two é")
    assert path.read_text(encoding="utf-8") == "one\ntwo é\n"


def test_a_torn_line_is_ended_first(tmp_path):
    path = tmp_path / "log"
    path.write_text("one\ntw")
    append_line(path, "three")
    assert path.read_text() == "one\ntw\nthree\n"


@pytest.mark.parametrize("line", ["a\nb", "a\n", "a\0b"])
def test_more_than_one_line_is_refused(tmp_path, line):
    with pytest.raises(ValueError, match="not one line"):
        append_line(tmp_path / "log", line)
    assert names(tmp_path) == set()


@pytest.mark.parametrize("code", FAULTS)
def test_a_line_that_is_not_durable_is_an_error(tmp_path, break_os, code):
    break_os("fsync", code)
    with pytest.raises(OSError, match=os.strerror(code)):
        append_line(tmp_path / "log", "one")


def test_a_line_written_in_part_is_an_error_and_does_not_spoil_the_next(tmp_path, monkeypatch):
    path, write = tmp_path / "log", os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:3]))
    with pytest.raises(OSError, match="only in part"):
        append_line(path, "first")
    monkeypatch.undo()
    append_line(path, "second")
    assert path.read_text() == "fir\nsecond\n"


def _append_many(path: Path, writer: int) -> None:
    for number in range(50):
        append_line(path, f"{writer} {number} " + str(writer) * 200)


def test_concurrent_writers_do_not_mix(tmp_path):
    path = tmp_path / "log"
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_append_many, args=(path, writer)) for writer in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    expected = [f"{writer} {number} " + str(writer) * 200 for writer in range(4) for number in range(50)]
    lines = [line for line in path.read_text().split("\n") if line]
    assert sorted(lines) == sorted(expected)


# ----------------------------------------------------------------------------- publish


def test_a_file_gets_its_final_name(tmp_path):
    made = tmp_path / "made"
    made.write_text("x")
    publish(made, tmp_path / "a" / "final")
    assert (tmp_path / "a" / "final").read_text() == "x"
    assert not made.exists()


@pytest.mark.parametrize("code", FAULTS)
def test_a_file_that_cannot_be_flushed_gets_no_final_name(tmp_path, break_os, code):
    made, final = tmp_path / "made", tmp_path / "final"
    made.write_text("x")
    break_os("fsync", code)
    with pytest.raises(OSError, match=os.strerror(code)):
        publish(made, final)
    assert names(tmp_path) == {"made"}


def test_the_file_is_flushed_before_its_name_and_the_name_after(tmp_path, monkeypatch):
    made, final, order = tmp_path / "made", tmp_path / "final", []
    made.write_text("x")
    monkeypatch.setattr(files, "sync_file", lambda path: order.append(("flush", path)))
    monkeypatch.setattr(files, "sync_directory", lambda path: order.append(("names", path)))
    monkeypatch.setattr(os, "replace", lambda a, b: order.append(("rename", a)))
    publish(made, final)
    assert order == [("flush", made), ("rename", made), ("names", tmp_path)]


def test_names_of_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        sync_directory(tmp_path / "missing")


def test_hash_of_a_file_longer_than_a_block(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_BLOCK", 4)
    (tmp_path / "file").write_bytes(b"abc" * 5)
    (tmp_path / "other").write_bytes(b"abc" * 4 + b"abd")
    assert sha256(tmp_path / "file") == hashlib.sha256(b"abc" * 5).hexdigest()
    assert sha256(tmp_path / "file") != sha256(tmp_path / "other")


def test_created_file_is_whole_and_made_once(tmp_path: Path) -> None:
    path = tmp_path / "new" / "note.json"
    files.create_text(path, "first\n")
    with pytest.raises(FileExistsError):
        files.create_text(path, "second\n")
    assert path.read_text() == "first\n"
    assert list(path.parent.iterdir()) == [path]


# ----------------------------------------------------------- write_bytes and create_bytes

BYTES = [b"", b"caf\xe9\r\n\0\xff", b"x" * (3 << 20)]


@pytest.mark.parametrize("data", BYTES, ids=len)
@pytest.mark.parametrize("write", [files.write_bytes, files.create_bytes])
def test_bytes_are_written_as_they_are(tmp_path, write, data):
    path = tmp_path / "a" / "b" / "file"
    write(path, data)
    assert path.read_bytes() == data
    assert path.stat().st_mode & 0o777 == 0o644
    assert names(path.parent) == {"file"}


def test_permissions_do_not_depend_on_the_umask(tmp_path):
    before = os.umask(0o077)
    try:
        files.write_bytes(tmp_path / "one", b"x")
        files.write_bytes(tmp_path / "two", b"x", mode=0o600)
        files.create_bytes(tmp_path / "three", b"x")
    finally:
        os.umask(before)
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("one", "two", "three")]
    assert modes == [0o644, 0o600, 0o644]


def test_bytes_replace_what_was_there(tmp_path):
    path = tmp_path / "file"
    files.write_bytes(path, b"old and longer")
    files.write_bytes(path, b"new")
    assert path.read_bytes() == b"new"


def test_bytes_that_are_created_replace_nothing(tmp_path):
    path, link = tmp_path / "file", tmp_path / "link"
    link.symlink_to("nowhere")
    files.create_bytes(path, b"first")
    for taken in (path, link):
        with pytest.raises(FileExistsError):
            files.create_bytes(taken, b"second")
    assert path.read_bytes() == b"first"
    assert names(tmp_path) == {"file", "link"}


@pytest.mark.parametrize("code", FAULTS)
@pytest.mark.parametrize(
    ("write", "function"),
    [
        (files.write_bytes, "replace"),
        (files.write_bytes, "fsync"),
        (files.create_bytes, "link"),
        (files.create_bytes, "fsync"),
        (files.create_bytes, "fchmod"),
    ],
)
def test_bytes_that_cannot_be_written_leave_nothing(tmp_path, break_os, write, function, code):
    break_os(function, code)
    with pytest.raises(OSError, match=os.strerror(code)):
        write(tmp_path / "file", b"new")
    assert names(tmp_path) == set()


@pytest.mark.parametrize("write", [files.write_bytes, files.create_bytes])
def test_bytes_are_whole_before_they_have_their_name_and_it_is_durable(tmp_path, monkeypatch, write):
    order = []

    def watch(name):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *how: order.append(name) or real(*how))

    for name in ("fsync", "replace", "link"):
        watch(name)
    write(tmp_path / "file", b"new")
    assert order == ["fsync", "replace" if write is files.write_bytes else "link", "fsync"]


def _create(path: Path, number: int, barrier, results) -> None:
    barrier.wait()
    try:
        files.create_bytes(path, b"%d" % number * 100)
        results.put(number)
    except FileExistsError:
        results.put(None)


def test_of_several_who_create_a_file_one_does(tmp_path):
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(4), context.Queue()
    processes = [
        context.Process(target=_create, args=(tmp_path / "file", number, barrier, results))
        for number in range(4)
    ]
    for process in processes:
        process.start()
    told = [results.get(timeout=30) for _ in processes]
    for process in processes:
        process.join()
    (winner,) = [number for number in told if number is not None]
    assert (tmp_path / "file").read_bytes() == b"%d" % winner * 100
    assert names(tmp_path) == {"file"}
