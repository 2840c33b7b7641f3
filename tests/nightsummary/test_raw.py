"""Raw files of a night."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from osa.errors import InputError
from osa.layout import Layout
from osa.nightsummary.raw import find_raw_subruns


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_bytes(b"x")


def test_finds_sub_runs_in_order(layout: Layout) -> None:
    names = [
        layout.raw_file(run, subrun).name for run, subrun in ((1874, 2), (1874, 0), (1873, 0), (123456, 1))
    ]
    put(layout.raw_dir, *names)
    assert find_raw_subruns(layout) == {1873: (0,), 1874: (0, 2), 123456: (1,)}


def test_ignores_what_is_no_raw_file(layout: Layout) -> None:
    folder = layout.raw_dir
    put(
        folder,
        "LST-1.2.Run01874.0000.fits.fz",
        "LST-2.1.Run01874.0000.fits.fz",
        "LST-1.1.Run01874.0000.fits.fz.part",
        ".LST-1.1.Run01874.0000.fits.fz",
        "LST-1.1.Run01874.0000.fits.fz\n",
        "LST-1.1.Run01874.00000.fits.fz",
        "LST-1.1.Run1874.0000.fits.fz",
        "$(touch x)",
    )
    (folder / "LST-1.1.Run01874.0001.fits.fz").touch()
    (folder / "LST-1.1.Run01874.0002.fits.fz").mkdir()
    (folder / "LST-1.1.Run01874.0003.fits.fz").symlink_to(folder / "gone")
    (folder / "LST-1.1.Run01874.0004.fits.fz").symlink_to("LST-1.1.Run01874.0004.fits.fz")
    assert find_raw_subruns(layout) == {}


def test_follows_links_to_files(layout: Layout, tmp_path: Path) -> None:
    put(tmp_path, "elsewhere")
    layout.raw_file(1874, 0).symlink_to(tmp_path / "elsewhere")
    assert find_raw_subruns(layout) == {1874: (0,)}


def test_no_folder_has_no_files(layout: Layout) -> None:
    shutil.rmtree(layout.raw_dir)
    assert find_raw_subruns(layout) == {}


def test_folder_that_is_none(layout: Layout) -> None:
    layout.raw_dir.rmdir()
    layout.raw_dir.touch()
    with pytest.raises(InputError, match="Not a directory"):
        find_raw_subruns(layout)
