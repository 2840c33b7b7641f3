"""Removing trees: never through a link, never onto another file system, as much as can be."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from osa.cleaning import trees
from osa.cleaning.trees import Tally, folder_below, remove, tally
from tests.cleaning.leftover_night import snapshot, write


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def no_fault(message: str) -> None:
    raise AssertionError(message)


def test_tree_goes_with_all_that_is_in_it(tmp_path: Path, folder: int) -> None:
    write(tmp_path / "tree" / "a" / "b" / "c", b"x" * 7)
    write(tmp_path / "tree" / "d", b"x" * 5)
    (tmp_path / "tree" / "empty").mkdir()
    os.mkfifo(tmp_path / "tree" / "pipe")
    expected = Tally(3, 12)
    assert tally(folder, "tree", tmp_path / "tree", no_fault) == expected
    assert remove(folder, "tree", tmp_path / "tree", no_fault) == expected
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_there_is_no_fault(tmp_path: Path, folder: int) -> None:
    assert tally(folder, "none", tmp_path / "none", no_fault) == Tally()
    assert remove(folder, "none", tmp_path / "none", no_fault) == Tally()


@pytest.mark.parametrize("target", ["folder", "file", "nothing", "above"])
def test_links_go_and_what_they_lead_to_stays(tmp_path: Path, folder: int, target: str) -> None:
    outside = tmp_path / "outside"
    write(outside / "kept" / "file")
    before = snapshot(outside)
    leads_to = {
        "folder": outside,
        "file": outside / "kept" / "file",
        "nothing": Path("no"),
        "above": Path(".."),
    }
    (tmp_path / "tree" / "in").mkdir(parents=True)
    (tmp_path / "tree" / "in" / "link").symlink_to(leads_to[target])
    assert remove(folder, "tree", tmp_path / "tree", no_fault) == Tally(1, 0)
    assert not (tmp_path / "tree").exists()
    assert snapshot(outside) == before


def test_link_in_the_place_of_the_tree_goes_alone(tmp_path: Path, folder: int) -> None:
    write(tmp_path / "outside" / "file")
    (tmp_path / "tree").symlink_to("outside")
    assert remove(folder, "tree", tmp_path / "tree", no_fault) == Tally(1, 0)
    assert (tmp_path / "outside" / "file").exists()


def test_folder_that_becomes_a_link_meanwhile_is_not_followed(
    tmp_path: Path, folder: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "outside" / "file")
    (tmp_path / "tree" / "in").mkdir(parents=True)
    real = os.open

    def swap(path: object, *arguments: object, **options: object) -> int:
        if path == "in":
            (tmp_path / "tree" / "in").rmdir()
            (tmp_path / "tree" / "in").symlink_to(tmp_path / "outside")
        return real(path, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", swap)
    faults: list[str] = []
    remove(folder, "tree", tmp_path / "tree", faults.append)
    assert (tmp_path / "outside" / "file").exists()
    assert faults == [f"cannot look into {tmp_path / 'tree' / 'in'}: Not a directory"]


def test_other_file_system_is_left_alone(
    tmp_path: Path, folder: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "tree" / "mounted" / "file")
    write(tmp_path / "tree" / "own")
    real = os.stat

    def elsewhere(path: object, **options: object) -> os.stat_result:
        found = real(path, **options)  # type: ignore[arg-type, call-overload]
        return os.stat_result((*found[:2], 4711, *found[3:])) if path == "mounted" else found

    monkeypatch.setattr(os, "stat", elsewhere)
    faults: list[str] = []
    assert remove(folder, "tree", tmp_path / "tree", faults.append) == Tally(1, 10)
    assert (tmp_path / "tree" / "mounted" / "file").exists()
    assert faults == [f"{tmp_path / 'tree' / 'mounted'} is on another file system: left alone"]


def test_what_cannot_go_is_named_once_and_the_rest_goes(
    tmp_path: Path, folder: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "stuck", "z"):
        write(tmp_path / "tree" / "in" / name)
    real = os.unlink

    def refuse(path: object, **options: object) -> None:
        if path == "stuck":
            raise PermissionError(1, "Operation not permitted", path)
        real(path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "unlink", refuse)
    faults: list[str] = []
    assert remove(folder, "tree", tmp_path / "tree", faults.append) == Tally(2, 20)
    assert faults == [f"cannot remove {tmp_path / 'tree' / 'in' / 'stuck'}: Operation not permitted"]
    assert [path.name for path in (tmp_path / "tree" / "in").iterdir()] == ["stuck"]


def test_file_that_vanishes_meanwhile_is_no_fault(
    tmp_path: Path, folder: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "tree" / "a")
    write(tmp_path / "tree" / "b")
    real = os.unlink

    def late(path: object, **options: object) -> None:
        if path == "a":
            real(path, **options)  # type: ignore[arg-type]
        real(path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "unlink", late)
    assert remove(folder, "tree", tmp_path / "tree", no_fault) == Tally(1, 10)
    assert not (tmp_path / "tree").exists()


def test_file_that_comes_meanwhile_stays_and_is_told(
    tmp_path: Path, folder: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tree").mkdir()
    real = trees.entries

    def late(*arguments: object) -> Iterator[trees.Entry]:
        for entry in real(*arguments):  # type: ignore[arg-type]
            write(tmp_path / "tree" / "new")
            yield entry

    monkeypatch.setattr(trees, "entries", late)
    faults: list[str] = []
    remove(folder, "tree", tmp_path / "tree", faults.append)
    assert (tmp_path / "tree" / "new").exists()
    assert faults == [f"cannot remove {tmp_path / 'tree'}: Directory not empty"]


def test_no_descriptor_is_left_open(tmp_path: Path, folder: int) -> None:
    for number in range(20):
        write(tmp_path / "tree" / str(number) / "a" / "b")
    before = len(os.listdir("/proc/self/fd"))
    with folder_below(tmp_path, "tree", "1", "a") as inner:
        assert inner is not None
    with pytest.raises(OSError, match="no folder"), folder_below(tmp_path, "tree", "1", "a", "b"):
        pass
    with folder_below(tmp_path, "tree", "none", "a") as nothing:
        assert nothing is None
    remove(folder, "tree", tmp_path / "tree", no_fault)
    assert len(os.listdir("/proc/self/fd")) == before
