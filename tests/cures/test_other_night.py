"""The calibration of another night: which one, and making it serve."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from night_states import CALIBRATION_RUN, CLOCK, DRS4_RUN
from product_builders import write_calibration

from osa.config import Settings
from osa.cures import other_night
from osa.cures.other_night import borrow, find_other_calibration, link_file, links_to_calibration
from osa.incidences import read_incidences
from osa.layout import Layout
from osa.model.night import Night
from osa.model.sequence import BorrowedCalibration
from osa.nightsummary.borrowed import read_borrowed

Place = Callable[..., Layout]
KINDS = ("drs4_pedestal", "time_calibration", "calibration")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the calibration is kept for all tests."""
    yield tmp_path_factory.mktemp("calibration") / "files"


@pytest.fixture
def place(layout: Layout, prepared: Path) -> Place:
    """Put a calibration into the final place of a night so many days before."""
    if not prepared.exists():
        write_calibration(layout)
        shutil.move(layout.analysis_dir, prepared)

    def put(days: int, drs4_run: int = DRS4_RUN, run: int = CALIBRATION_RUN, *, link: bool = False) -> Layout:
        other = Layout(layout.settings, Night(layout.night.date - timedelta(days=days)))
        folder = other.final_calibration_dir
        folder.mkdir(parents=True, exist_ok=True)
        for kind, number in zip(KINDS, (drs4_run, run, run), strict=True):
            (found,) = prepared.glob(f"{kind}.Run*.h5")
            name = folder / f"{kind}.Run{number:05d}.0000.h5"
            if not name.exists():
                (os.symlink if link else os.link)(found, name)
        return other

    return put


def replace_with(path: Path, content: bytes | None) -> None:
    path.unlink()
    if content is not None:
        path.write_bytes(content)


def test_nearest_earlier_night_is_taken(layout: Layout, place: Place) -> None:
    far, near = place(5), place(2)
    place(-1)  # a later one
    assert find_other_calibration(layout) == BorrowedCalibration(near.night, DRS4_RUN, CALIBRATION_RUN)
    shutil.rmtree(near.final_calibration_dir)
    assert find_other_calibration(layout) == BorrowedCalibration(far.night, DRS4_RUN, CALIBRATION_RUN)


def test_without_any_there_is_none(layout: Layout) -> None:
    assert find_other_calibration(layout) is None


@pytest.mark.parametrize(("days", "is_found"), [("7", True), ("3", True), ("2", False), ("", False)])
def test_days_are_bounded(
    make_settings: Callable[..., Settings], layout: Layout, place: Place, days: str, is_found: bool
) -> None:
    place(3)
    settings = make_settings({("CALIBRATION", "other_night_days"): days})
    assert (find_other_calibration(Layout(settings, layout.night)) is not None) is is_found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["gone", "empty", "torn", "link", "dangling", "folder"])
def test_calibration_that_is_not_whole_is_passed_over(
    layout: Layout, place: Place, kind: str, how: str, prepared: Path
) -> None:
    near, far = place(1), place(4)
    (path,) = near.final_calibration_dir.glob(f"{kind}.*")
    content = path.read_bytes()
    replace_with(path, {"gone": None, "empty": b"", "torn": content[: len(content) // 2]}.get(how))
    if how == "link":
        (found,) = prepared.glob(f"{kind}.*")
        path.symlink_to(found)
    elif how == "dangling":
        path.symlink_to("nowhere")
    elif how == "folder":
        path.mkdir()
    found_calibration = find_other_calibration(layout)
    assert found_calibration is not None and found_calibration.night == far.night


def test_borrowed_calibration_is_not_lent_on(layout: Layout, place: Place) -> None:
    """Else a calibration could wander through any number of nights, a few days at a time."""
    place(1, link=True)
    assert find_other_calibration(layout) is None


def test_of_several_the_latest_run_with_the_pedestal_before_it(layout: Layout, place: Place) -> None:
    place(1, 1870, 1871)
    place(1, 1880, 1881)
    place(1, 1890, 1885)  # its DRS4 run is another one
    other = place(1, 1875, 1876)
    assert find_other_calibration(layout) == BorrowedCalibration(other.night, 1880, 1885)
    replace_with(other.final_calibration_dir / "time_calibration.Run01885.0000.h5", b"")
    assert find_other_calibration(layout) == BorrowedCalibration(other.night, 1880, 1881)


def test_pedestal_after_the_calibration_serves_where_none_is_before(layout: Layout, place: Place) -> None:
    other = place(1, 1890, 1881)
    assert find_other_calibration(layout) == BorrowedCalibration(other.night, 1890, 1881)


def test_other_files_are_passed_over(layout: Layout, place: Place) -> None:
    other = place(1)
    folder = other.final_calibration_dir
    for name in (
        "calibration.Run01999.0000.h5.damaged.20200128T060000",
        "calibration.Run02000.0000.pdf",
        "x",
    ):
        (folder / name).touch()
    assert find_other_calibration(layout) == BorrowedCalibration(other.night, DRS4_RUN, CALIBRATION_RUN)


def test_run_numbers_of_six_digits_are_later(layout: Layout, place: Place) -> None:
    place(1, 99998, 99999)
    other = place(1, 100000, 100001)
    assert find_other_calibration(layout) == BorrowedCalibration(other.night, 100000, 100001)


# ------------------------------------------------------------------------ making it serve


def calibration_of(other: Layout) -> BorrowedCalibration:
    return BorrowedCalibration(other.night, DRS4_RUN, CALIBRATION_RUN)


def test_borrowing(layout: Layout, place: Place) -> None:
    other = place(2)
    borrow(layout, calibration_of(other), "cannot be had: run 01879 is vetoed", clock=CLOCK)
    for path in (
        layout.drs4_pedestal(DRS4_RUN),
        layout.time_calibration(CALIBRATION_RUN),
        layout.charge_calibration(CALIBRATION_RUN),
    ):
        assert path.is_symlink()
        assert path.resolve() == (other.final_calibration_dir / path.name).resolve()
    assert read_borrowed(layout.borrowed_calibration) == calibration_of(other)
    assert read_incidences(layout.incidences) == (
        "2020-01-28 06:00 UTC: the calibration of the night 2020-01-25 serves (run 01873, DRS4 run 01872), "
        "as the night's own cannot be had: run 01879 is vetoed.",
    )


@pytest.mark.parametrize("at", range(1, 6))
def test_borrowing_that_is_killed_is_done_again(
    layout: Layout, place: Place, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    other = place(2)
    calls = []

    def dying(name: str) -> Callable[..., object]:
        real = getattr(other_night, name)

        def work(*arguments: object, **options: object) -> object:
            calls.append(name)
            if len(calls) == at:
                raise KeyboardInterrupt
            return real(*arguments, **options)

        return work

    with monkeypatch.context() as patch:
        for name in ("link_file", "write_borrowed", "note_incidence"):
            patch.setattr(other_night, name, dying(name))
        with pytest.raises(KeyboardInterrupt):
            borrow(layout, calibration_of(other), "x", clock=CLOCK)
    # What says that it serves comes after what it needs.
    links = [link.is_symlink() for link, _ in links_to_calibration(layout, calibration_of(other))]
    assert all(links) or read_borrowed(layout.borrowed_calibration) is None
    borrow(layout, calibration_of(other), "x", clock=CLOCK)
    assert all(link.is_file() for link, _ in links_to_calibration(layout, calibration_of(other)))
    assert read_borrowed(layout.borrowed_calibration) == calibration_of(other)
    assert len(read_incidences(layout.incidences)) == 1


def test_own_file_is_never_replaced_by_a_link(layout: Layout, place: Place) -> None:
    other = place(2)
    layout.analysis_dir.mkdir(parents=True)
    own = layout.charge_calibration(CALIBRATION_RUN)
    own.write_bytes(b"made this night")
    with pytest.raises(FileExistsError, match="is there already"):
        borrow(layout, calibration_of(other), "x", clock=CLOCK)
    assert own.read_bytes() == b"made this night"
    assert read_borrowed(layout.borrowed_calibration) is None


def test_link_is_made_anew_where_it_led_elsewhere(tmp_path: Path) -> None:
    link, target = tmp_path / "folder" / "link", tmp_path / "target"
    for led_to in ("nowhere", tmp_path / "other", target):
        link.parent.mkdir(exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(led_to)
        (link.parent / ".link.link").symlink_to("left behind")
        link_file(link, target)
        assert link.readlink() == target
        (link.parent / ".link.link").unlink(missing_ok=True)
