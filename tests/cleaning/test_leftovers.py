"""What counts as a leftover, and what does not; looking changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from osa.cleaning.due import Kind
from osa.cleaning.leftovers import Leftover, find_leftovers
from osa.cleaning.trees import Tally
from osa.layout import Layout
from osa.system import files
from tests.cleaning.leftover_night import SAID, base_of, snapshot, write

ALL = tuple(Kind)


def find(layout: Layout, *kinds: Kind) -> dict[str, Leftover]:
    faults: list[str] = []
    found = find_leftovers(layout, kinds or ALL, faults.append)
    assert faults == []
    assert len({leftover.path for leftover in found}) == len(found)
    return {str(leftover.path): leftover for leftover in found}


def test_all_leftovers_are_found_and_nothing_else(left: Layout) -> None:
    before = snapshot(base_of(left))
    found = find(left)
    assert {path: (leftover.kind, leftover.tally) for path, leftover in found.items()} == {
        ".unfinished": (Kind.UNFINISHED, Tally(2, 5700)),
        ".environment": (Kind.UNFINISHED, Tally(1, 300)),
        ".sequence_LST1_01874.py.ab12_x9z": (Kind.UNFINISHED, Tally(1, 10)),
        ".Incidences.txt.abcdefgh": (Kind.UNFINISHED, Tally(1, 10)),
        ".left_out.override.abcdefgh": (Kind.UNFINISHED, Tally(1, 10)),
        ".calibration.Run01873.0000.h5.link": (Kind.UNFINISHED, Tally(1, 0)),
        "log/.gone.log.gz.partial": (Kind.UNFINISHED, Tally(1, 10)),
        "set_aside": (Kind.SET_ASIDE, Tally(2, 5000)),
        "dl1_LST-1.Run01874.0001.h5.damaged.20200128T120000": (Kind.SET_ASIDE, Tally(1, 400)),
        "dl1_LST-1.Run01874.0001.h5.damaged.20200128T120000.2": (Kind.SET_ASIDE, Tally(1, 50)),
        **{f"log/{name}": (Kind.LOG, Tally(1, len(said))) for name, said in SAID.items()},
    }
    assert snapshot(base_of(left)) == before


@pytest.mark.parametrize("kind", ALL)
def test_only_the_kinds_that_are_asked_for(left: Layout, kind: Kind) -> None:
    found = find(left, kind)
    assert found
    assert {leftover.kind for leftover in found.values()} == {kind}


def test_night_without_a_folder_leaves_nothing(layout: Layout) -> None:
    assert find(layout) == {}


def test_what_a_killed_writer_leaves_is_recognised(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the names that are really given, not under those that we believe to be."""

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "replace", killed)
    monkeypatch.setattr(files.Path, "unlink", lambda *_, **__: None)  # nor tidied up
    targets = (layout.kept_choice, layout.left_out, layout.analysis_dir / "sequence_LST1_01874.veto")
    for target in targets:
        with pytest.raises(KeyboardInterrupt):
            files.write_text(target, "text")
    names = sorted(path.name for path in layout.analysis_dir.iterdir())
    assert len(names) == len(targets)
    assert sorted(find(layout, Kind.UNFINISHED)) == names


@pytest.mark.parametrize("name", [".unfinished", ".environment", "set_aside", "log"])
def test_folder_that_is_a_link_is_none_of_the_nights(left: Layout, name: str, tmp_path: Path) -> None:
    folder = left.analysis_dir / name
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    found = find(left)
    assert found
    assert not [path for path in found if path.split("/")[0] == name]


@pytest.mark.parametrize("which", ["night", "production"])
def test_linked_night_is_refused(left: Layout, which: str, tmp_path: Path) -> None:
    folder = left.analysis_dir if which == "production" else left.analysis_dir.parent
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match=r"a symbolic link, or no folder: '.*20200127") as caught:
        find_leftovers(left, ALL, lambda _: None)
    assert caught.value.filename == str(folder)


@pytest.mark.parametrize(
    "name",
    [
        "log/LST1_01874_2_7.log",
        "dl1_LST-1.Run01875.0001.h5.damaged.20200128T120000",
        ".Incidences.txt.aaaaaaaa",
    ],
)
@pytest.mark.parametrize("what", ["link", "folder"])
def test_only_files_are_taken_for_files(layout: Layout, name: str, what: str) -> None:
    path = layout.analysis_dir / name
    if what == "folder":
        write(path / "in it")
    else:
        write(layout.raw_dir / "raw")
        path.parent.mkdir(parents=True)
        path.symlink_to(layout.raw_dir / "raw")
    assert find(layout) == {}


def test_file_in_the_place_of_a_folder_is_left_alone(layout: Layout) -> None:
    for folder in (layout.scratch_dir, layout.environment_dir, layout.set_aside_dir, layout.log_dir):
        write(folder)
    assert find(layout) == {}


def test_empty_scratch_folder_can_go(layout: Layout) -> None:
    layout.scratch_dir.mkdir(parents=True)
    assert find(layout)[".unfinished"].tally == Tally()


def test_file_with_another_name_frees_nothing(layout: Layout) -> None:
    path = write(layout.scratch_dir / "a", b"x" * 100)
    (layout.scratch_dir.parent / "b").hardlink_to(path)
    assert find(layout)[".unfinished"].tally == Tally(1, 0)


def test_what_cannot_be_looked_into_is_named(left: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    real = os.open

    def refuse(path: object, *arguments: object, **options: object) -> int:
        if path in {"log", "deep"}:
            raise PermissionError(13, "Permission denied", path)
        return real(path, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refuse)
    faults: list[str] = []
    found = find_leftovers(left, ALL, faults.append)
    deep = left.scratch_dir / "01874.0000.r0_to_dl1" / "deep"
    assert faults == [
        f"cannot look into {deep}: Permission denied",
        f"cannot look into {left.log_dir}: Permission denied",
    ]
    assert {leftover.kind for leftover in found} == {Kind.UNFINISHED, Kind.SET_ASIDE}
