"""What closing does for provenance: moves are recorded, documents written, checked and indexed."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from night_states import CALIBRATION_RUN
from provenance_nights import add_try, calibrate_from_other_night, close, distinct_dl2

from osa.closing import journal
from osa.closing.actions import all_moves
from osa.closing.provenance import MoveRecord
from osa.closing.undo import reopen
from osa.config import Settings
from osa.database import engine
from osa.database.engine import open_database
from osa.database.listings import find_by_night, nights_in_index, tries_of
from osa.database.walks import lineage_of
from osa.errors import NightNotCompleteError, OsaError
from osa.incidences import read_incidences
from osa.layout import DATA_PARTS, DL1, DL2, MUONS, DocumentPart, Layout
from osa.model.dataset import DatasetKind
from osa.model.night import Night
from osa.nightsummary.plan import plan_night
from osa.provenance.audit import audit_documents, audit_files, documents_of_night
from osa.provenance.lineage import Entity
from osa.provenance.publish import lineage_of_sequence
from osa.provenance.sources import records_of_run
from osa.records.model import MOVE_STEP, Status, TryRecord
from tests.closing.conftest import RAW, SUMMARY

pytestmark = pytest.mark.usefixtures("no_flush")
ALL_RUNS = (1873, 1874, 1875)


@pytest.fixture
def layout(make_settings: Callable[..., Settings], night: Night) -> Layout:
    """The night of the other tests of closing, without graphs, which take their time."""
    layout = Layout(make_settings({("PROVENANCE", "graphs"): "no"}), night)
    layout.night_summary.write_text(SUMMARY, encoding="utf-8")
    layout.raw_dir.mkdir(parents=True)
    for run, subruns in RAW.items():
        for subrun in range(subruns):
            layout.raw_file(run, subrun).write_bytes(f"raw {run}.{subrun}".encode() * 1000)
    return layout


def drawing(layout: Layout, how: str) -> Layout:
    settings = layout.settings
    return Layout(replace(settings, provenance=replace(settings.provenance, graphs=how)), layout.night)


def current(layout: Layout) -> list[Entity]:
    """What was made of the night and is there, as the records tell."""
    plan = plan_night(layout)
    found = {
        entity.id: entity
        for sequence in plan.sequences
        for entity in lineage_of_sequence(layout, plan, sequence).entities.values()
        if entity.made_by is not None and entity.replaced_at is None
    }
    return list(found.values())


def targets(layout: Layout) -> set[str]:
    plan = plan_night(layout)
    moves = [move for sequence in plan.sequences for move in all_moves(layout, sequence)]
    return {str(move.target) for move in moves if move.target.exists()}


def assert_all_is_told(layout: Layout) -> None:
    """Records, documents and index agree with what is on disk."""
    made = current(layout)
    assert Counter(entity.location for entity in made) == Counter(targets(layout))
    assert list(audit_files(layout, full=True)) == []
    for path, faults in audit_documents(documents_of_night(layout)):
        assert faults == [], path
    with open_database(layout.settings.provenance, create=False).reading() as connection:
        found = find_by_night(connection, str(layout.night), "LST1")
    assert {product.entity.location for product in found} == targets(layout)


def moves_of(layout: Layout, run: int) -> list[TryRecord]:
    return [record for record in records_of_run(layout, run) if record.step == MOVE_STEP]


def said(layout: Layout) -> str:
    """All incidences of the night, whether it is closed or not."""
    paths = (layout.incidences, layout.closer_dir / "Incidences.txt")
    return "\n".join(line for path in paths if path.exists() for line in read_incidences(path))


def expected_documents(layout: Layout) -> set[Path]:
    return {layout.document(DocumentPart.CALIBRATION, CALIBRATION_RUN)} | {
        layout.document(part, run) for part in DATA_PARTS for run in (1874, 1875)
    }


def is_open(layout: Layout) -> bool:
    return not layout.night_finished.exists() and not list(layout.analysis_dir.glob("*.closed"))


# ------------------------------------------------------------------------- a complete night


def test_closing_writes_all_documents(complete: Layout) -> None:
    old = os.umask(0o077)  # others shall read them all the same
    try:
        close(complete)
    finally:
        os.umask(old)
    telescope = complete.settings.telescope
    roots = (telescope.calibration_dir, telescope.dl1_dir, telescope.dl2_dir)
    found = {path for root in roots for path in root.rglob("*_prov.json")}
    assert found == expected_documents(complete)
    kept = {path.name for root in roots for path in root.rglob("records_*.jsonl")}
    assert kept == {f"records_LST-1.Run{run:05d}.jsonl" for run in ALL_RUNS}
    beside = [path for root in roots for path in root.rglob("log/**/*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in beside} == {0o644}
    assert not [path for path in beside if path.name.startswith(".")]
    assert not [path for path in beside if path.suffix == ".pdf" and "_prov" in path.name]
    assert_all_is_told(complete)
    archived = {path.name.partition(".")[2] for path in beside if path.parent.name == "archive"}
    assert archived == {
        "software.txt",
        "lstchain_standard_config.json",
        "onsite_camera_calibration_param.json",
    }
    assert said(complete) == ""


def test_records_beside_the_products_tell_all_without_the_working_folder(complete: Layout) -> None:
    close(complete)
    before = {run: records_of_run(complete, run) for run in ALL_RUNS}
    assert {record.step for record in before[1874]} >= {"r0_to_dl1", "datacheck", "dl1_to_dl2", MOVE_STEP}
    shutil.rmtree(complete.records_dir)
    assert {run: records_of_run(complete, run) for run in ALL_RUNS} == before


def test_graphs_are_drawn_where_they_are_wanted(complete: Layout) -> None:
    if shutil.which("dot") is None:
        pytest.skip("Graphviz is not installed")
    close(drawing(complete, "yes"))
    for path in expected_documents(complete):
        assert path.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
        assert path.with_suffix(".pdf").stat().st_mode & 0o777 == 0o644


def test_moves_of_all_products_are_recorded(complete: Layout) -> None:
    close(complete)
    for run in ALL_RUNS:
        (move,) = moves_of(complete, run)
        assert (move.status, move.program, move.package) == (Status.DONE, "closer", "lst-osa")
        assert {item.source for item in move.outputs} == {item.path for item in move.inputs}
        assert all(Path(item.path).is_file() for item in move.outputs)
    n_moved = sum(len(moves_of(complete, run)[0].outputs) for run in ALL_RUNS)
    assert n_moved == len(targets(complete)) == 20


def test_a_second_closer_changes_nothing(complete: Layout) -> None:
    close(complete)
    before = {path: path.read_bytes() for path in expected_documents(complete)}
    records = {run: records_of_run(complete, run) for run in ALL_RUNS}
    complete.night_finished.unlink()
    close(complete)
    assert {path: path.read_bytes() for path in before} == before
    assert {run: records_of_run(complete, run) for run in ALL_RUNS} == records


# ---------------------------------------------------------------------- moves that go wrong


def test_failed_move_is_recorded_and_completed_by_the_next(complete: Layout) -> None:
    target = complete.final(MUONS, 1874, 0)
    target.parent.mkdir(parents=True)
    shutil.copy(complete.working(MUONS, 1874, 1), target)
    with target.open("r+b") as stream:
        stream.seek(-100, os.SEEK_END)
        stream.write(b"x")
    with pytest.raises(OsaError, match="both are kept"):
        close(complete)
    (failed,) = moves_of(complete, 1874)
    assert failed.status is Status.FAILED and failed.outputs == ()
    assert str(target) in failed.reason
    assert len({item.path for item in failed.inputs}) == len(failed.inputs) == 10
    assert is_open(complete)
    target.unlink()
    close(complete)
    assert [move.status for move in moves_of(complete, 1874)] == [Status.FAILED, Status.DONE]
    assert_all_is_told(complete)
    document = json.loads(complete.document(DocumentPart.CALIBRATION_TO_DL1, 1874).read_text("utf-8"))
    failed_ones = [a for a in document["activity"].values() if a["osa:status"] == "failed"]
    assert [activity["osa:step"] for activity in failed_ones] == [MOVE_STEP]


@pytest.mark.parametrize(("at", "after"), [(1, False), (2, False), (3, True)])
def test_killed_between_moving_and_recording(
    complete: Layout, monkeypatch: pytest.MonkeyPatch, at: int, after: bool
) -> None:
    calls: list[MoveRecord] = []
    real = MoveRecord.done

    def killed(record: MoveRecord) -> None:
        calls.append(record)
        if len(calls) < at or after:
            real(record)
        if len(calls) == at:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MoveRecord, "done", killed)
        with pytest.raises(KeyboardInterrupt):
            close(complete)
    assert len(targets(complete)) == 20 and is_open(complete)
    close(complete)
    assert_all_is_told(complete)
    done = {run: [m for m in moves_of(complete, run) if m.status is Status.DONE] for run in ALL_RUNS}
    assert [len(moves) for moves in done.values()] == [1, 1, 1]


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("at", [1, 17])
def test_killed_while_moving(complete: Layout, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    calls: list[int] = []
    real = journal.bring_file

    def killed(source: Path, target: Path) -> object:
        calls.append(1)
        if len(calls) == at:
            raise KeyboardInterrupt
        return real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(journal, "_AT_ONCE", 1)
        patch.setattr(journal, "bring_file", killed)
        with pytest.raises(KeyboardInterrupt):
            close(complete)
    assert len(targets(complete)) < 20
    close(complete)
    assert_all_is_told(complete)


# ----------------------------------------------------------- what keeps the night from closing


def test_missing_records_of_a_subrun_keep_the_night_open(complete: Layout) -> None:
    complete.records(1874, 1).unlink()
    with pytest.raises(NightNotCompleteError) as raised:
        close(complete)
    text = str(raised.value)
    for name in ("dl1_LST-1.Run01874.0001.h5", "muons_LST-1.Run01874.0001.fits"):
        assert name in text
    assert "-f closes all the same" in text and "01875" not in text
    assert is_open(complete)
    assert complete.final(DL1, 1874, 1).is_file()
    close(complete, force=True)
    assert complete.night_finished.exists()
    assert "provenance is not complete" in said(complete) and "dl1_LST-1.Run01874.0001.h5" in said(complete)
    assert "provenance is not complete" in complete.night_finished.read_text("utf-8")


def test_records_that_cannot_be_read_keep_the_night_open(complete: Layout) -> None:
    path = complete.records(1875, 0)
    path.write_bytes(os.urandom(2000))
    with pytest.raises(NightNotCompleteError, match=r"dl1_LST-1\.Run01875\.0000\.h5"):
        close(complete)
    assert is_open(complete)


def test_missing_records_of_the_calibration_keep_the_night_open(complete: Layout) -> None:
    complete.records(CALIBRATION_RUN).unlink()
    with pytest.raises(NightNotCompleteError, match=r"calibration\.Run01873\.0000\.h5"):
        close(complete)
    assert is_open(complete)


@pytest.mark.parametrize("moved", [False, True], ids=["before it is moved", "afterwards"])
def test_products_that_changed_since_they_were_recorded_are_found(complete: Layout, moved: bool) -> None:
    if moved:
        complete.records(1875, 0).rename(complete.analysis_dir / "kept")
        with pytest.raises(NightNotCompleteError):
            close(complete)
        (complete.analysis_dir / "kept").rename(complete.records(1875, 0))
    distinct_dl2(complete, 1874, 1, energy=7.0)
    if moved:
        os.replace(complete.working(DL2, 1874, 1), complete.final(DL2, 1874, 1))
    with pytest.raises(NightNotCompleteError, match=r"dl2_LST-1\.Run01874\.0001\.h5 has changed since"):
        close(complete)
    assert is_open(complete)


def test_products_with_another_time_and_the_same_content_are_no_fault(complete: Layout) -> None:
    os.utime(complete.working(DL2, 1874, 1), (1e9, 1e9))
    close(complete)
    assert_all_is_told(complete)


def fake_dot(folder: Path, script: str) -> str:
    folder.mkdir()
    (folder / "dot").write_text(f"#!/bin/sh\n{script}\n", "utf-8")
    (folder / "dot").chmod(0o755)
    return os.pathsep.join([str(folder), os.environ["PATH"]])


@pytest.mark.parametrize(
    ("script", "word"),
    [
        ("echo 'out of ink' >&2; exit 1", "out of ink"),
        ("kill -9 $$", "signal 9"),
        ("cat > /dev/null", "answered nothing"),
    ],
)
def test_failing_graphviz_keeps_the_night_open_and_the_data_safe(
    complete: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, word: str
) -> None:
    complete = drawing(complete, "auto")
    before = {move: move.source.read_bytes() for s in plan_night(complete).sequences
              for move in all_moves(complete, s) if move.source.exists()}  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setenv("PATH", fake_dot(tmp_path / "bin", script))
        with pytest.raises(NightNotCompleteError, match=word):
            close(complete)
    assert is_open(complete)
    assert {move: move.target.read_bytes() for move in before} == before
    assert not [path for path in complete.final_dl1_dir.rglob("*.pdf") if path.stat().st_size == 0]
    assert {path for path in expected_documents(complete) if path.exists()} == expected_documents(complete)
    close(drawing(complete, "no"))
    assert complete.night_finished.exists()
    assert_all_is_told(complete)


@pytest.mark.parametrize(("how", "closes"), [("auto", True), ("no", True), ("yes", False)])
def test_without_graphviz(
    complete: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, closes: bool
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    complete = drawing(complete, how)
    if closes:
        close(complete)
        assert ("No graphs of the provenance" in said(complete)) is (how == "auto")
    else:
        with pytest.raises(NightNotCompleteError, match="dot is not installed"):
            close(complete)
    assert complete.night_finished.exists() is closes


def test_documents_that_cannot_be_written_keep_the_night_open(
    complete: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = complete.document_dir(DocumentPart.DL1_TO_DL2)
    folder.parent.mkdir(parents=True)
    folder.write_text("in the way", "utf-8")
    with pytest.raises(NightNotCompleteError, match="provenance of LST1_01874 could not be written"):
        close(complete)
    assert is_open(complete) and complete.final(DL2, 1874, 1).is_file()
    folder.unlink()
    close(complete)
    assert_all_is_told(complete)


def test_many_faults_are_told_shortly(complete: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    faults = [(plan_night(complete).data[0], f"fault {number}") for number in range(50)]
    monkeypatch.setattr("osa.closing.night.record_provenance", lambda *_: iter(faults))
    with pytest.raises(NightNotCompleteError, match=r"fault 19\n  … and 30 more") as raised:
        close(complete)
    assert "fault 20" not in str(raised.value)


# ------------------------------------------------------------------------------- the index


def test_locked_index_keeps_the_night_open(complete: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "BUSY_SECONDS", 0.1)
    open_database(complete.settings.provenance, create=True)
    with closing(sqlite3.connect(complete.settings.provenance.database)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(NightNotCompleteError, match=r"index was not brought up to date.*is locked"):
            close(complete)
        assert is_open(complete)
    close(complete)
    assert_all_is_told(complete)


def test_index_that_is_garbage_keeps_the_night_open(complete: Layout) -> None:
    database = complete.settings.provenance.database
    database.parent.mkdir(parents=True, exist_ok=True)
    database.write_bytes(os.urandom(5000))
    with pytest.raises(NightNotCompleteError, match="provprocess --rebuild-index"):
        close(complete)
    assert is_open(complete)
    close(complete, force=True)
    assert "the index was not brought up to date" in said(complete)


def test_sequences_are_closed_in_the_index(complete: Layout) -> None:
    close(complete, run=1874)
    with closing(sqlite3.connect(complete.settings.provenance.database)) as plain:
        query = "SELECT name, is_closed FROM sequences ORDER BY name"
        assert plain.execute(query).fetchall() == [("LST1_01873", 0), ("LST1_01874", 1), ("LST1_01875", 0)]
        close(complete)
        assert [closed for _, closed in plain.execute(query)] == [1, 1, 1]


# ------------------------------------------------------------------------- in other orders


def test_runs_closed_one_by_one_then_the_night(complete: Layout) -> None:
    for run in (1874, 1875, 1873):
        close(complete, run=run)
    close(complete)
    assert_all_is_told(complete)
    for path in expected_documents(complete):
        entities = json.loads(path.read_text("utf-8"))["entity"].values()
        places = [e["prov:location"] for e in entities if e.get("voprov:generatedAtTime")]
        assert places and not [place for place in places if str(complete.analysis_dir) in place], path.name


def test_reopened_and_redone_subrun_has_both_tries(complete: Layout) -> None:
    close(complete)
    plan = plan_night(complete)
    reopen(complete, plan, plan.sequences, clock=datetime.now(UTC))
    complete.final(DL2, 1874, 1).unlink()
    complete.final(DL2, 1874).unlink()
    for path in (DL1, MUONS):
        complete.working(path, 1874, 1).symlink_to(complete.final(path, 1874, 1))
    distinct_dl2(complete, 1874, 1, energy=7.0)
    add_try(complete, 1874, 1, "dl1_to_dl2")
    close(complete)
    assert_all_is_told(complete)
    document = json.loads(complete.document(DocumentPart.DL1_TO_DL2, 1874).read_text("utf-8"))
    tries = [a for a in document["activity"].values() if a["osa:step"] == "dl1_to_dl2"]
    assert Counter(each["osa:subrun"]["$"] for each in tries) == {"0": 1, "1": 2}
    made = [e for e in document["entity"].values() if e.get("voprov:name") == "dl2_LST-1.Run01874.0001.h5"]
    assert sorted("voprov:invalidatedAtTime" in each for each in made) == [False, True]
    assert len({each["osa:sha256"] for each in made}) == 2
    assert {each["prov:location"] for each in made} == {str(complete.final(DL2, 1874, 1))}
    with open_database(complete.settings.provenance, create=False).reading() as connection:
        attempts = [a for a in tries_of(connection, 1874, 1) if a.record.step == "dl1_to_dl2"]
    assert [[entity.replaced_at is None for entity in a.made] for a in attempts] == [[False], [True]]


def test_borrowed_calibration_is_reached(complete: Layout) -> None:
    other = calibrate_from_other_night(complete)
    close(complete)
    assert [faults for _, faults in audit_documents(documents_of_night(complete)) if faults] == []
    document = json.loads(complete.document(DocumentPart.CALIBRATION_TO_DL2, 1874).read_text("utf-8"))
    steps = Counter((a["osa:step"], a["osa:night"]) for a in document["activity"].values())
    assert steps["charge_calibration", "2020-01-25"] == 1
    with open_database(complete.settings.provenance, create=False).reading() as connection:
        found = find_by_night(connection, str(complete.night), "LST1")
        for dl2 in (product.entity for product in found if product.entity.kind is DatasetKind.DL2):
            lineage = lineage_of(connection, [dl2.id])
            charges = [e for e in lineage.entities.values() if e.kind is DatasetKind.CHARGE_CALIBRATION]
            places = [(e.night, e.location) for e in charges]
            final = other.final_calibration_dir / "calibration.Run01701.0000.h5"
            assert places == [("2020-01-25", str(final))]
            assert charges[0].made_by in lineage.tries


def test_left_out_subruns_are_not_asked_for(complete: Layout) -> None:
    complete.left_out.write_text("[leave out]\n01874.0001 = no pointing\n", "utf-8")
    complete.records(1874, 1).unlink()
    for path in complete.analysis_dir.glob("*Run01874.0001.*"):
        path.unlink()
    close(complete)
    assert_all_is_told(complete)
    document = complete.document(DocumentPart.CALIBRATION_TO_DL2, 1874).read_text("utf-8")
    assert "Run01874.0000" in document and "Run01874.0001" not in document


def test_night_without_data(layout: Layout) -> None:
    layout.night_summary.unlink()
    close(layout, without_data="moon")
    assert layout.night_finished.exists()
    assert documents_of_night(layout) == []
    with open_database(layout.settings.provenance, create=False).reading() as connection:
        assert [(n.night, n.runs, n.products) for n in nights_in_index(connection)] == [("2020-01-27", 0, 0)]


def test_forced_closing_of_an_incomplete_night_documents_what_there_is(complete: Layout) -> None:
    complete.working(DL2, 1874, 1).unlink()
    close(complete, force=True)
    assert "closed although no DL2 of sub-runs 1" in said(complete)
    assert "provenance is not complete" not in said(complete)
    assert complete.document(DocumentPart.CALIBRATION_TO_DL2, 1874).exists()
