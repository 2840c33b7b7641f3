"""Which nights there are, when they were closed, and what is due then."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import date, timedelta

import pytest

from osa.cleaning.due import Kind, days_since_closing, due_kinds, nights_below
from osa.config import Settings
from osa.config.settings import CleaningSettings
from osa.layout import Layout
from osa.model.night import Night
from tests.cleaning.leftover_night import CLOCK, close

ALL = CleaningSettings(3, 30, 60)


@pytest.mark.parametrize("days", [0, 2.5, 100])
def test_days_count_from_the_time_of_the_flag(layout: Layout, days: float) -> None:
    close(layout, days)
    assert days_since_closing(layout, CLOCK) == pytest.approx(days)


def test_open_night_has_no_days(layout: Layout) -> None:
    assert days_since_closing(layout, CLOCK) is None


def test_opened_again_is_open(layout: Layout) -> None:
    close(layout)
    flag = layout.night_finished
    flag.rename(flag.with_name("NightFinished.20200201T120000.txt"))
    assert days_since_closing(layout, CLOCK) is None


def test_link_closes_no_night(layout: Layout) -> None:
    close(layout)
    flag = layout.night_finished
    flag.rename(flag.with_name("elsewhere.txt"))
    flag.symlink_to("elsewhere.txt")
    assert days_since_closing(layout, CLOCK) is None


def test_folder_closes_no_night(layout: Layout) -> None:
    layout.night_finished.mkdir(parents=True)
    assert days_since_closing(layout, CLOCK) is None


def test_another_production_closes_not_this_one(
    layout: Layout, make_settings: Callable[..., Settings], night: Night
) -> None:
    close(layout)
    other = Layout(make_settings({("PRODUCTION", "prod_id"): "v0.2.0"}), night)
    assert days_since_closing(other, CLOCK) is None


def test_clock_that_was_set_back_makes_nothing_due(layout: Layout) -> None:
    close(layout)
    days = days_since_closing(layout, CLOCK - timedelta(days=500))
    assert days is not None
    assert days < 0
    assert not due_kinds(ALL, days)


@pytest.mark.parametrize(
    ("days", "kinds"),
    [
        (None, set()),
        (-1, set()),
        (0, set()),
        (2.999, set()),
        (3, {Kind.UNFINISHED}),
        (30, {Kind.UNFINISHED, Kind.LOG}),
        (60, {Kind.UNFINISHED, Kind.LOG, Kind.SET_ASIDE}),
    ],
)
def test_each_kind_has_its_days(days: float | None, kinds: set[Kind]) -> None:
    assert due_kinds(ALL, days) == kinds


def test_no_number_is_never() -> None:
    assert due_kinds(CleaningSettings(None, None, None), 1e9) == set()
    assert due_kinds(CleaningSettings(None, 1, None), 1e9) == {Kind.LOG}


def test_nights_are_folders_with_the_production(layout: Layout) -> None:
    root = layout.settings.telescope.analysis_dir
    production = layout.settings.production.prod_id
    for name in ("20200128", "20200127", "20200229"):
        (root / name / production).mkdir(parents=True)
    for name in ("2020_01_26", "2020_01_27", "20200230", "202001271", "x", "20200125 "):
        (root / name / production).mkdir(parents=True)
    (root / "20200201" / "another").mkdir(parents=True)
    (root / "20200202").write_text("no folder")
    (root / "20200203").mkdir()
    (root / "20200203" / production).write_text("no folder")
    (root / "20200204").symlink_to("20200127")
    (root / "20200205").mkdir()
    (root / "20200205" / production).symlink_to(root / "20200127" / production)
    (root / "20200206").symlink_to("nowhere")
    assert nights_below(layout.settings) == tuple(
        Night(day) for day in (date(2020, 1, 27), date(2020, 1, 28), date(2020, 2, 29))
    )


def test_root_may_be_a_link(layout: Layout) -> None:
    """Where the data is, operators decide."""
    root = layout.settings.telescope.analysis_dir
    elsewhere = root.with_name("disk2")
    (elsewhere / layout.night.tag / layout.settings.production.prod_id).mkdir(parents=True)
    root.symlink_to(elsewhere)
    assert nights_below(layout.settings) == (layout.night,)


def test_no_root_no_nights(layout: Layout) -> None:
    assert not os.path.lexists(layout.settings.telescope.analysis_dir)
    assert nights_below(layout.settings) == ()
