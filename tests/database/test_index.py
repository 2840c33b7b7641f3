"""Bringing nights into the index, and finding those of which there are records."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from night_states import record as job_record
from night_states import sequence_state

from osa.config import Settings
from osa.database import index as index_module
from osa.database.engine import open_database
from osa.database.index import index_night, nights_with_records, rebuild_index, update_index
from osa.database.listings import find_by_night, nights_in_index, tries_of
from osa.errors import OsaError
from osa.layout import DocumentPart, Layout
from osa.model.night import Night
from osa.nightsummary.plan import plan_night
from osa.records.lines import append_begin, append_end
from osa.records.model import Status, TryRecord
from tests.database.made_up import Story, calibrate, observe

SUMMARY = """\
01872    1 DRS4  2020-01-27 19:51:44 0001 1580154753739954334 5739954100 nan nan nan
01873    1 CALI  2020-01-27 20:23:43 0001 1580156670887160057 1887159800 nan nan nan
01874    1 DATA  2020-01-27 20:44:13 0003 1580157904186709543 5186709300 nan nan nan
01876    1 ERROR 2020-01-27 21:30:00 nan nan nan nan nan nan
"""
NIGHTS = ("2020-01-25", "2020-01-27", "2020-02-01")


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings({("PROVENANCE", "graphs"): "no"})


@pytest.fixture
def layout(settings: Settings, night: Night) -> Layout:
    """The night with summary, raw files and records."""
    layout = Layout(settings, night)
    write_summary(layout)
    write_records(layout, story_of(night).records)
    return layout


def write_summary(layout: Layout) -> None:
    layout.night_summary.write_text(SUMMARY, "utf-8")
    layout.raw_dir.mkdir(parents=True)
    for run in (1872, 1873, 1874):
        layout.raw_file(run, 0).write_bytes(b"raw")


def story_of(night: Night) -> Story:
    story = Story(str(night))
    observe(story, calibrate(story, f"gains of {night}"))
    return story


def write_records(layout: Layout, records: list[TryRecord]) -> None:
    for record in records:
        path = layout.records(record.run, record.subrun)
        append_begin(path, record)
        if record.ended is not None:
            append_end(path, record)


def keep_with_products(layout: Layout) -> None:
    """Have all records only where the products are."""
    for path in layout.records_dir.glob("*.jsonl"):
        is_calibration = "01873" in path.name
        part = DocumentPart.CALIBRATION if is_calibration else DocumentPart.CALIBRATION_TO_DL1
        kept = layout.kept_records(part, 1873 if is_calibration else 1874)
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, kept)
    shutil.rmtree(layout.analysis_dir)


def products(layout: Layout) -> set[str]:
    with open_database(layout.settings.provenance, create=False).reading() as connection:
        return {p.entity.name for p in find_by_night(connection, str(layout.night), "LST1")}


def sequences_of(settings: Settings) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(settings.provenance.database)) as connection:
        return connection.execute("SELECT name, state, is_closed FROM sequences ORDER BY name").fetchall()


ALL_PRODUCTS = {
    "drs4_pedestal.Run01872.0000.h5",
    "calibration.Run01873.0000.h5",
    "dl1_LST-1.Run01874.0000.h5",
    "muons_LST-1.Run01874.0000.fits",
    "dl2_LST-1.Run01874.0000.h5",
}


# ------------------------------------------------------------------------------ one night


def test_night_comes_into_the_index_once(layout: Layout) -> None:
    plan = plan_night(layout)
    states = [sequence_state(s, records=[job_record(s.name)]) for s in plan.sequences]
    changes = update_index(layout, plan, states)
    assert changes.inserted > 20 and (changes.updated, changes.removed) == (0, 0)
    assert products(layout) == ALL_PRODUCTS
    assert not update_index(layout, plan, states)
    assert [name for name, _, _ in sequences_of(layout.settings)] == ["LST1_01873", "LST1_01874"]


def test_what_is_new_of_a_night_is_added(layout: Layout) -> None:
    plan = plan_night(layout)
    update_index(layout, plan, [])
    story = story_of(layout.night)
    late = Story(str(layout.night))
    late.now = story.now
    again = late.add("dl1_to_dl2", status=Status.FAILED)
    write_records(layout, [again])
    changes = update_index(layout, plan, [sequence_state(plan.data[0], closed=True)])
    assert changes.inserted >= 1 and changes.updated == 1
    with open_database(layout.settings.provenance, create=False).reading() as connection:
        assert [a.record.id for a in tries_of(connection, 1874, 0) if a.record.status is Status.FAILED] == [
            again.id
        ]
    assert [name for name, _, closed in sequences_of(layout.settings) if closed] == ["LST1_01874"]


def test_night_without_plan_brings_its_records_alone(layout: Layout) -> None:
    database = open_database(layout.settings.provenance, create=True)
    assert index_night(database, layout, None)
    assert products(layout) == ALL_PRODUCTS
    assert sequences_of(layout.settings) == []
    assert not index_night(database, layout, None)


def test_night_without_anything(settings: Settings, night: Night) -> None:
    database = open_database(settings.provenance, create=True)
    assert not index_night(database, Layout(settings, night), None)
    with database.reading() as connection:
        assert nights_in_index(connection) == []


def test_what_fails_leaves_the_index_as_it_was(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OsaError("no")

    monkeypatch.setattr(index_module, "ingest_state", fail)
    with pytest.raises(OsaError, match="no"):
        update_index(layout, plan_night(layout), [])
    with open_database(layout.settings.provenance, create=False).reading() as connection:
        assert nights_in_index(connection) == []


# ---------------------------------------------------------------------- nights with records


def other_night(settings: Settings, text: str) -> Layout:
    layout = Layout(settings, Night.parse(text))
    write_records(layout, story_of(layout.night).records)
    return layout


def test_no_folders_no_nights(settings: Settings) -> None:
    for folder in (settings.telescope.analysis_dir, settings.telescope.dl1_dir):
        shutil.rmtree(folder, ignore_errors=True)
    assert list(nights_with_records(settings)) == []
    assert rebuild_index([settings]) == ([], [])


def test_nights_are_found_in_work_and_with_products(settings: Settings) -> None:
    layouts = [other_night(settings, text) for text in reversed(NIGHTS)]
    keep_with_products(layouts[1])
    assert not layouts[1].analysis_dir.exists()
    assert [str(each.night) for each in nights_with_records(settings)] == list(NIGHTS)


@pytest.mark.parametrize("text", NIGHTS[:1])
@pytest.mark.parametrize(
    "part", [DocumentPart.CALIBRATION, DocumentPart.CALIBRATION_TO_DL1, DocumentPart.DL1_TO_DL2]
)
def test_records_with_any_products_are_enough(settings: Settings, text: str, part: DocumentPart) -> None:
    layout = other_night(settings, text)
    kept = layout.kept_records(part, 1874)
    kept.parent.mkdir(parents=True)
    shutil.move(layout.records(1874, 0), kept)
    shutil.rmtree(settings.telescope.analysis_dir)
    assert [str(each.night) for each in nights_with_records(settings)] == [text]


def test_foreign_folders_are_passed_over(settings: Settings) -> None:
    layout = other_night(settings, NIGHTS[0])
    for folder in (settings.telescope.analysis_dir, settings.telescope.dl2_dir):
        for name in ("20201345", "lost+found", "old", ".hidden", "20200131.bak", "٢٠٢٠٠١٣١", "20200131"):
            (folder / name / "v0.1.0" / "log").mkdir(parents=True)
        (folder / "20200130").write_text("no folder", "utf-8")
        (folder / "20200129").symlink_to("/nowhere")
    odd = layout.records_dir
    for name in ("LST1_x.jsonl", "LST1_.jsonl", "LST2_01874.jsonl", "LST1_01874.0000.jsonl~", "notes.txt"):
        (odd / name).write_text("{}", "utf-8")
    (odd / "LST1_01999.jsonl").write_bytes(b"\xff\xfe garbage")
    assert [str(each.night) for each in nights_with_records(settings)] == [NIGHTS[0]]


# ------------------------------------------------------------------------------ all nights


def test_rebuilding_brings_all_nights(settings: Settings, layout: Layout) -> None:
    others = [other_night(settings, text) for text in (NIGHTS[0], NIGHTS[2])]
    keep_with_products(others[0])
    told: list[tuple[int, int]] = []
    nights, _ = rebuild_index([settings], lambda *what: told.append(what))
    assert [str(each.night) for each in nights] == list(NIGHTS)
    assert told == [(1, 3), (2, 3), (3, 3)]
    for each in (*others, layout):
        assert products(each) == ALL_PRODUCTS
    # only one of them has a night summary
    assert [name for name, _, _ in sequences_of(settings)] == ["LST1_01873", "LST1_01874"]


def test_night_whose_summary_is_gone(settings: Settings, layout: Layout) -> None:
    update_index(layout, plan_night(layout), [])
    layout.night_summary.unlink()
    assert [str(each.night) for each in rebuild_index([settings])[0]] == [str(layout.night)]
    assert products(layout) == ALL_PRODUCTS
    assert sequences_of(settings) == []


@pytest.mark.parametrize("text", ["garbage\n", "01874 x DATA\n", "\0"])
def test_night_whose_summary_cannot_be_read(settings: Settings, layout: Layout, text: str) -> None:
    layout.night_summary.write_text(text, "utf-8")
    rebuild_index([settings])
    assert products(layout) == ALL_PRODUCTS


def test_rebuilding_replaces_what_was_there(settings: Settings, layout: Layout, tmp_path: Path) -> None:
    plan = plan_night(layout)
    gone = other_night(settings, NIGHTS[0])
    update_index(layout, plan, [])
    index_night(open_database(settings.provenance, create=True), gone, None)
    assert products(gone) == ALL_PRODUCTS
    shutil.rmtree(gone.analysis_dir)
    rebuild_index([settings])
    assert products(gone) == set() and products(layout) == ALL_PRODUCTS
