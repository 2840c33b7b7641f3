"""NightFinished.txt and the incidences beside it."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from osa.closing.finish import finish_night, night_finished_text
from osa.incidences import add_incidence
from osa.layout import DL1, DL2, MUONS, Layout
from osa.model.sequence import NightPlan

CLOCK = datetime(2020, 1, 28, 8, 30, 5, tzinfo=timezone(timedelta(hours=1)))


def put_finals(layout: Layout) -> None:
    for kind, run, subrun in (
        (DL1, 1874, 0),
        (DL1, 1874, 1),
        (DL1, 1875, 0),
        (DL2, 1874, 1),
        (MUONS, 1875, 0),
    ):
        path = layout.final(kind, run, subrun)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    layout.final(DL2, 1874).touch()  # merged: no file of a sub-run
    layout.final(DL1, 4711, 0).touch()  # of a run that is not of this night
    # other streams are raw files too; what is no raw file does not count
    (layout.raw_dir / "LST-1.2.Run01874.0000.fits.fz").write_bytes(b"raw" * 1000)
    (layout.raw_dir / "notes.txt").write_text("x" * 10_000_000)


def test_text(layout: Layout, plan: NightPlan) -> None:
    put_finals(layout)
    assert night_finished_text(layout, plan, clock=CLOCK, comments=("First.", "Second.")) == (
        "analysis.finished.timestamp=2020-01-28 07:30:05\n"
        "analysis.finished.night=20200127\n"
        "analysis.finished.telescope=LST1\n"
        "analysis.finished.data.size=0.000 GB\n"
        "analysis.finished.data.files.r0=6\n"
        "analysis.finished.data.files.dl1=3\n"
        "analysis.finished.data.files.dl2=1\n"
        "analysis.finished.data.files.muons=1\n"
        "analysis.finished.data.files.datacheck=0\n"
        "analysis.finished.data.comment=First. Second.\n"
    )


def test_size_is_in_gb_of_1e9_bytes(layout: Layout, plan: NightPlan) -> None:
    with layout.raw_file(1874, 0).open("wb") as stream:
        stream.truncate(2_345_600_000)  # a hole, no data
    text = night_finished_text(layout, plan, clock=CLOCK, comments=())
    assert "data.size=2.346 GB\n" in text
    assert text.endswith("data.comment=none\n")


def test_night_without_raw_folder(layout: Layout) -> None:
    for path in layout.raw_dir.iterdir():
        path.unlink()
    layout.raw_dir.rmdir()
    text = night_finished_text(layout, NightPlan(()), clock=CLOCK, comments=())
    assert "data.size=0.000 GB\n" in text
    assert "files.r0=0\n" in text


def test_incidences_are_carried_over(layout: Layout, plan: NightPlan) -> None:
    for comment in ("No plots of the calibration.", "Run 01875 left out: clouds."):
        add_incidence(layout.incidences, layout.night, "LST1", comment)
    finish_night(layout, plan, clock=CLOCK, reason=None)
    copied = layout.closer_dir / "Incidences.txt"
    assert copied.read_bytes() == layout.incidences.read_bytes()
    text = layout.night_finished.read_text(encoding="utf-8")
    assert text.endswith("data.comment=No plots of the calibration. Run 01875 left out: clouds.\n")


def test_damaged_incidences_do_not_keep_the_night_open(layout: Layout, plan: NightPlan) -> None:
    add_incidence(layout.incidences, layout.night, "LST1", "Readable.")
    with layout.incidences.open("ab") as stream:
        stream.write(b"\xff\xfe torn")
    finish_night(layout, plan, clock=CLOCK, reason=None)
    assert layout.night_finished.read_text(encoding="utf-8").endswith("data.comment=Readable.\n")
    assert "Readable." in (layout.closer_dir / "Incidences.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("reason", "comment"), [("moon", "Night closed without data: moon."), (None, "none")]
)
def test_night_without_incidences(layout: Layout, reason: str | None, comment: str) -> None:
    finish_night(layout, NightPlan(()), clock=CLOCK, reason=reason)
    assert f"data.comment={comment}\n" in layout.night_finished.read_text(encoding="utf-8")
    assert [path.name for path in layout.closer_dir.iterdir()] == ["NightFinished.txt"]
