"""What identifies a file."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path

import pytest

from osa.model.dataset import DatasetKind
from osa.records import identity
from osa.records.identity import Identifier, raw_sample, same_content
from osa.records.model import FileRecord

LATER = time.time() + 3600
BLOCK = 1 << 16
SHARED = [kind for kind in DatasetKind if kind.is_shared]
OWN = [kind for kind in DatasetKind if not kind.is_shared and not kind.is_raw]


@pytest.fixture
def make(tmp_path):
    """Make identifiers that have the same store, an hour from now."""
    return lambda **how: Identifier(tmp_path / "hashes", clock=lambda: LATER, **how)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file.h5"
    path.write_bytes(b"content")
    return path


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def stamp(path: Path) -> tuple[int, int]:
    return path.stat().st_size, path.stat().st_mtime_ns


def store(path: Path) -> list[Path]:
    return sorted((path.parent / "hashes").glob("*"))


# ----------------------------------------------------------------------------- identify


def test_kinds_are_raw_or_shared_or_neither():
    assert {DatasetKind.RANDOM_FOREST, DatasetKind.DRIVE_LOG, DatasetKind.TIME_CALIBRATION} <= set(SHARED)
    assert {DatasetKind.DL1, DatasetKind.DL2, DatasetKind.MUONS} <= set(OWN)
    assert not any(kind.is_shared and kind.is_raw for kind in DatasetKind)


@pytest.mark.parametrize("kind", [DatasetKind.R0, DatasetKind.DL1, DatasetKind.RUN_SUMMARY])
@pytest.mark.parametrize("hash_raw", [False, True])
def test_a_file_that_is_not_there(make, tmp_path, kind, hash_raw):
    missing = tmp_path / "missing"
    assert make(hash_raw=hash_raw).identify("x", kind, missing) == FileRecord("x", kind, str(missing))


def test_a_dangling_link_is_not_there(make, tmp_path):
    (tmp_path / "link").symlink_to("nowhere")
    found = make().identify("x", DatasetKind.DL1, tmp_path / "link")
    assert (found.size, found.sha256) == (None, None)


@pytest.mark.parametrize("content", [b"", b"content", b"\r\n\0\xff" * 1000])
def test_a_file_is_its_content(make, path, content):
    path.write_bytes(content)
    found = make().identify("DL1", DatasetKind.DL1, path)
    assert found == FileRecord("DL1", DatasetKind.DL1, str(path), *stamp(path), digest(content))


def test_a_link_is_what_it_leads_to_under_its_own_name(make, path, tmp_path):
    (tmp_path / "link").symlink_to(path)
    found = make().identify("DL1", DatasetKind.DL1, tmp_path / "link")
    assert (found.name, found.sha256, found.size) == ("link", digest(b"content"), 7)


def test_raw_files_are_sampled_and_read_through_only_where_that_is_asked_for(make, path, hashed):
    found = make().identify("raw data", DatasetKind.R0, path)
    assert found == FileRecord(
        "raw data", DatasetKind.R0, str(path), *stamp(path), sha256=None, sample=raw_sample(path)
    )
    assert hashed == []
    full = make(hash_raw=True).identify("raw data", DatasetKind.R0, path)
    assert (full.sha256, full.sample) == (digest(b"content"), found.sample)
    assert store(path) == []


def test_a_folder_cannot_be_read(make, tmp_path):
    with pytest.raises(OSError, match="Is a directory"):
        make().identify("x", DatasetKind.DL1, tmp_path)


@pytest.mark.parametrize("kind", [DatasetKind.R0, DatasetKind.DL1])
def test_a_file_that_may_not_be_read_is_an_error(as_user, kind):
    path = as_user / "file"
    path.write_bytes(b"content")
    path.chmod(0)
    with pytest.raises(PermissionError):
        Identifier(as_user / "hashes").identify("x", kind, path)


def test_a_loop_of_links_is_an_error(make, tmp_path):
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    with pytest.raises(OSError, match="symbolic links"):
        make().identify("x", DatasetKind.DL1, tmp_path / "one")


def test_a_name_that_is_no_utf8_can_be_identified(make, tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt"))
    path.write_bytes(b"content")
    assert make().identify("x", DatasetKind.DRIVE_LOG, path).sha256 == digest(b"content")


# -------------------------------------------------------------------------- what is known


@pytest.mark.parametrize("kind", [DatasetKind.DL1, DatasetKind.DRIVE_LOG])
def test_a_file_is_read_once_while_it_stays_the_same(make, path, hashed, kind):
    identifier = make()
    for _ in range(3):
        assert identifier.identify("x", kind, path).sha256 == digest(b"content")
    assert hashed == ["file.h5"]
    path.write_bytes(b"longer content")
    assert identifier.identify("x", kind, path).sha256 == digest(b"longer content")
    path.write_bytes(b"LONGER CONTENT")
    os.utime(path, ns=(10**18, 10**18))
    assert identifier.identify("x", kind, path).sha256 == digest(b"LONGER CONTENT")
    assert hashed == ["file.h5"] * 3


@pytest.mark.parametrize("kind", DatasetKind)
def test_hashes_of_what_all_subruns_read_are_shared(make, path, hashed, kind):
    expected = digest(b"content")
    for _ in range(3):
        found = make(hash_raw=True).identify("x", kind, path)
        assert found.sha256 == expected
    assert len(hashed) == (1 if kind.is_shared else 3)
    assert len(store(path)) == (1 if kind.is_shared else 0)


def test_the_store_serves_only_while_the_file_stays_the_same(make, path, hashed):
    make().identify("x", DatasetKind.DRIVE_LOG, path)
    for content, when in ((b"content!", None), (b"CONTENT!", 10**18)):
        path.write_bytes(content)
        if when is not None:
            os.utime(path, ns=(when, when))
        assert make().identify("x", DatasetKind.DRIVE_LOG, path).sha256 == digest(content)
    assert len(hashed) == 3
    assert len(store(path)) == 1


def test_each_path_has_its_own_place_in_the_store(make, path, tmp_path):
    (tmp_path / "other.h5").write_bytes(b"content")
    for name in ("file.h5", "other.h5"):
        make().identify("x", DatasetKind.DRIVE_LOG, tmp_path / name)
    assert len(store(path)) == 2


def _tampered(text: str) -> list[str]:
    values = json.loads(text)
    return [
        "",
        "null",
        "[]",
        "5",
        "\0\0\0",
        text[: len(text) // 2],
        json.dumps({**values, "path": "/other/file"}),
        json.dumps({**values, "stamp": 5}),
        json.dumps({**values, "stamp": [1]}),
        json.dumps({**values, "stamp": ["x", "y"]}),
        json.dumps({**values, "stamp": [values["stamp"][0], values["stamp"][1] + 1]}),
        json.dumps({"path": values["path"], "stamp": values["stamp"]}),
    ]


def test_a_store_that_cannot_be_read_is_passed_over_and_mended(make, path, hashed):
    make().identify("x", DatasetKind.DRIVE_LOG, path)
    (note,) = store(path)
    good = note.read_text()
    for count, text in enumerate([*_tampered(good), None], start=2):
        if text is None:
            note.write_bytes(b"\xff\xfe")
        else:
            note.write_text(text)
        assert make().identify("x", DatasetKind.DRIVE_LOG, path).sha256 == digest(b"content")
        assert len(hashed) == count, text
        assert note.read_text() == good


def test_a_store_that_cannot_be_written_does_no_harm(path, hashed, tmp_path):
    (tmp_path / "file").touch()
    for count in (1, 2):
        identifier = Identifier(tmp_path / "file" / "hashes", clock=lambda: LATER)
        assert identifier.identify("x", DatasetKind.DRIVE_LOG, path).sha256 == digest(b"content")
        assert len(hashed) == count


@pytest.mark.parametrize(("age", "is_kept"), [(-60, False), (0, False), (4.9, False), (5.1, True)])
def test_a_file_that_was_just_written_is_not_remembered(path, tmp_path, age, is_kept):
    """It may be written again without its time telling so."""
    os.utime(path, (1_000_000, 1_000_000))
    identifier = Identifier(tmp_path / "hashes", clock=lambda: 1_000_000 + age)
    identifier.identify("x", DatasetKind.DRIVE_LOG, path)
    assert len(store(path)) == is_kept


def test_a_name_to_come_is_the_name_and_the_hash_goes_with_it(make, path, tmp_path, hashed):
    identifier, final = make(), tmp_path / "final" / "dl1.h5"
    made = identifier.identify("DL1", DatasetKind.DL1, path, final=final)
    assert made.path == str(final)
    final.parent.mkdir()
    path.rename(final)
    assert identifier.identify("DL1", DatasetKind.DL1, final) == made
    assert hashed == ["file.h5"]


def test_another_file_under_the_name_to_come_is_read(make, path, tmp_path, hashed):
    identifier, final = make(), tmp_path / "final.h5"
    identifier.identify("DL1", DatasetKind.DL1, path, final=final)
    final.write_bytes(b"another")
    os.utime(final, ns=(10**18, 10**18))
    assert identifier.identify("DL1", DatasetKind.DL1, final).sha256 == digest(b"another")
    assert hashed == ["file.h5", "final.h5"]


def test_what_was_recorded_before_is_not_read_again(make, path, hashed):
    record = FileRecord("x", DatasetKind.DL1, str(path), *stamp(path), sha256="told")
    identifier = make()
    identifier.learn([record])
    assert identifier.identify("x", DatasetKind.DL1, path).sha256 == "told"
    assert hashed == []
    os.utime(path, ns=(10**18, 10**18))
    assert identifier.identify("x", DatasetKind.DL1, path).sha256 == digest(b"content")


@pytest.mark.parametrize("lacking", ["size", "modified", "sha256"])
def test_what_was_recorded_in_part_is_read(make, path, lacking):
    values = dict(zip(("size", "modified", "sha256"), (*stamp(path), "told"), strict=True))
    identifier = make()
    identifier.learn([FileRecord("x", DatasetKind.DL1, str(path), **{**values, lacking: None})])
    assert identifier.identify("x", DatasetKind.DL1, path).sha256 == digest(b"content")


# --------------------------------------------------------------------------- raw_sample


def test_an_empty_file_has_a_sample(tmp_path):
    (tmp_path / "raw").touch()
    assert raw_sample(tmp_path / "raw") == digest(b"0\n")


@pytest.mark.parametrize("size", [1, 7, 100])
def test_every_byte_of_a_small_file_counts(tmp_path, size):
    raw, found = tmp_path / "raw", set()
    raw.write_bytes(b"\0" * size)
    found.add(raw_sample(raw))
    for position in range(size):
        content = bytearray(size)
        content[position] = 1
        raw.write_bytes(content)
        found.add(raw_sample(raw))
    raw.write_bytes(b"\0" * (size + 1))
    found.add(raw_sample(raw))
    assert len(found) == size + 2


@pytest.mark.parametrize("size", [BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 11, 16 * BLOCK - 1, 16 * BLOCK])
def test_of_a_megabyte_all_goes_in(tmp_path, monkeypatch, size):
    raw = tmp_path / "raw"
    raw.write_bytes(b"\0" * size)
    read, pread = bytearray(size), os.pread

    def watched(descriptor: int, count: int, start: int) -> bytes:
        data = pread(descriptor, count, start)
        read[start : start + len(data)] = b"\1" * len(data)
        return data

    monkeypatch.setattr(identity.os, "pread", watched)
    raw_sample(raw)
    assert 0 not in read


def test_a_large_file_is_known_by_its_blocks_and_its_size(tmp_path):
    raw, size = tmp_path / "raw", 500 * BLOCK + 123
    with raw.open("wb") as stream:
        stream.truncate(size)
    last = size - BLOCK
    starts = [last * index // 15 for index in range(16)]
    found = [raw_sample(raw)]
    for start in starts:
        for position in (start, start + BLOCK - 1):
            with raw.open("r+b") as stream:
                stream.seek(position)
                stream.write(b"\1")
            found.append(raw_sample(raw))
    for other in (size - 1, size + 1, size + 1000 * BLOCK):
        os.truncate(raw, other)
        found.append(raw_sample(raw))
    assert len(set(found)) == len(found)


def test_little_is_read_of_a_large_file(tmp_path, monkeypatch):
    raw, pread, read = tmp_path / "raw", os.pread, []
    with raw.open("wb") as stream:
        stream.truncate(40 << 30)
    monkeypatch.setattr(identity.os, "pread", lambda *how: read.append(pread(*how)) or read[-1])
    raw_sample(raw)
    assert sum(map(len, read)) == 16 * BLOCK


def test_a_raw_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        raw_sample(tmp_path / "missing")


# ------------------------------------------------------------------------- same_content


def test_content_is_compared_by_what_the_record_has(path):
    size, good, sample = 7, digest(b"content"), raw_sample(path)
    assert same_content(path, size, good, sample)
    assert same_content(path, size, good, None)
    assert same_content(path, size, None, sample)
    assert same_content(path, None, good, None)
    assert not same_content(path, 8, good, sample)
    assert not same_content(path, size, digest(b"CONTENT"), None)
    assert not same_content(path, size, None, digest(b"CONTENT"))
    assert not same_content(path, size, digest(b"CONTENT"), sample)  # the hash of all tells more


def test_content_of_a_file_that_is_not_there(path):
    path.unlink()
    with pytest.raises(FileNotFoundError):
        same_content(path, 7, digest(b"content"), None)
