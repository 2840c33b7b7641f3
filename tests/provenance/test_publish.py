"""Documents of a complete night: what they tell, where they are, and what is said of them."""

from __future__ import annotations

import errno
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from prov.model import ProvActivity, ProvDocument

from osa.layout import DATA_PARTS, DL2, DocumentPart, Layout
from osa.model.dataset import DatasetKind as Kind
from osa.provenance import graph, publish
from osa.provenance.checks import check_disk, check_document
from osa.provenance.document import OSA, VOPROV
from osa.provenance.publish import (
    document_paths,
    keep_records,
    lineage_of_sequence,
    part_lineage,
    parts_of,
    wants_graphs,
    write_documents,
)
from osa.provenance.sources import records_of_run
from osa.records.lines import read_records
from osa.records.model import MOVE_STEP, Status
from osa.records.recorder import Recorder
from osa.system import files

needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")


@pytest.fixture
def write(complete, plan, run):
    """Write the documents of a run."""

    def make(number: int = 1874, *, graphs: bool = False, **how: object) -> publish.Written:
        lineage = lineage_of_sequence(complete, plan, run(number))
        return write_documents(complete, lineage, run(number), graphs=graphs, **how)

    return make


def read(path: Path) -> ProvDocument:
    return ProvDocument.deserialize(content=path.read_text(), format="json")


def steps_in(path: Path) -> set[str]:
    activities = json.loads(path.read_text())["activity"].values()
    return {each["osa:step"] for each in activities}


def kinds_in(path: Path) -> set[str]:
    entities = json.loads(path.read_text())["entity"].values()
    return {each["osa:kind"] for each in entities if "osa:kind" in each}


def fake_dot(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    folder.mkdir()
    (folder / "dot").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "dot").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


# ------------------------------------------------------------------------------ what is written


def test_documents_of_a_run(complete, write, run):
    written = write()
    assert written.faults == ()
    assert list(written.files) == document_paths(complete, run(1874))
    assert [path.name for path in written.files] == [
        "calibration_to_dl1_LST-1.Run01874_prov.json",
        "dl1_to_dl2_LST-1.Run01874_prov.json",
        "calibration_to_dl2_LST-1.Run01874_prov.json",
    ]
    assert [path.parent for path in written.files] == [
        complete.final_dl1_dir / "log",
        complete.final_dl2_dir / "log",
        complete.final_dl2_dir / "log",
    ]


def test_documents_of_the_calibration(complete, write, run):
    written = write(1873)
    assert written.faults == ()
    assert list(written.files) == document_paths(complete, run(1873))
    assert written.files == (complete.final_calibration_dir / "log/calibration_LST-1.Run01873_prov.json",)
    assert steps_in(written.files[0]) == {
        "drs4_pedestal",
        "time_calibration",
        "charge_calibration",
        "calibration_plots",
    }


def test_documents_are_sound_and_tell_of_their_part(write):
    dl1, dl2, everything = write().files
    for path, part in zip((dl1, dl2, everything), DATA_PARTS, strict=True):
        assert check_document(read(path), part) == []
    calibration = {"drs4_pedestal", "time_calibration", "charge_calibration"}
    assert steps_in(dl1) == {"r0_to_dl1", "datacheck", *calibration}
    assert steps_in(dl2) == {"dl1_to_dl2"}
    assert steps_in(everything) == {"r0_to_dl1", "datacheck", "dl1_to_dl2", *calibration}
    assert kinds_in(dl2) == {"DL1", "DL2", "random forest"}
    assert {"R0", "DL2", "drive log", "muons", "data check", "charge calibration"} <= kinds_in(everything)


def test_a_document_tells_of_its_own_run_alone(write):
    for path in write(1875).files:
        activities = read(path).get_records(ProvActivity)
        assert {next(iter(each.get_attribute(OSA["run"]))) for each in activities} <= {1873, 1875}


def test_documents_are_whole_files_that_all_may_read(write):
    before = os.umask(0o077)
    try:
        paths = write().files
    finally:
        os.umask(before)
    for path in paths:
        assert path.stat().st_mode & 0o777 == 0o644
        assert path.read_text().endswith("}\n")
        assert not [other for other in path.parent.iterdir() if other.name.startswith(".")]


def test_the_same_records_give_the_same_documents(write):
    first = {path: path.read_bytes() for path in write().files}
    assert {path: path.read_bytes() for path in write().files} == first


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_an_older_document_stays_where_a_new_one_cannot_be_written(write, monkeypatch, code):
    before = {path: path.read_bytes() for path in write().files}

    def broken(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(files.os, "fsync", broken)
    with pytest.raises(OSError, match=os.strerror(code)):
        write()
    assert {path: path.read_bytes() for path in before} == before
    assert len(list(next(iter(before)).parent.iterdir())) == 1


def test_documents_go_where_they_are_wanted(complete, write, tmp_path):
    written = write(folder=tmp_path / "new" / "folder")
    assert {path.parent for path in written.files} == {tmp_path / "new" / "folder"}
    assert len(written.files) == 3
    assert not complete.final_dl2_dir.exists()


def test_of_what_was_not_done_there_is_no_document(layout, plan, run):
    written = write_documents(layout, lineage_of_sequence(layout, plan, run(1874)), run(1874), graphs=False)
    assert written == publish.Written(())


def test_failed_tries_are_in_the_documents(complete, plan, run, write):
    recorder = Recorder(complete, 1874, 0)
    how = {"package": "lstchain", "prod_id": "v0.1.0"}
    recorder.begin("r0_to_dl1", "program", **how).failed(-9, "ended with signal 9")
    recorder.begin("r0_to_dl1", "program", **how)
    written = write()
    assert written.faults == ()
    statuses = [each["osa:status"] for each in json.loads(written.files[0].read_text())["activity"].values()]
    assert sorted(statuses) == ["done"] * 7 + ["failed", "unfinished"]


def test_what_is_wrong_is_named_with_its_document(complete, plan, run):
    lineage = lineage_of_sequence(complete, plan, run(1874))
    forests = {entity.id for entity in lineage.entities.values() if entity.kind is Kind.RANDOM_FOREST}
    lame = replace(lineage, uses=tuple(use for use in lineage.uses if use.entity_id not in forests))
    written = write_documents(complete, lame, run(1874), graphs=False)
    assert len(written.files) == 3
    assert sorted(written.faults) == [
        f"{name}_LST-1.Run01874_prov.json: dl2_LST-1.Run01874.000{subrun}.h5 "
        "is told to come from no random forest"
        for name in ("calibration_to_dl2", "dl1_to_dl2")
        for subrun in (0, 1)
    ]


# ------------------------------------------------------------------------------------- parts


def test_parts_of_sequences(run):
    assert parts_of(run(1873)) == (DocumentPart.CALIBRATION,)
    assert parts_of(run(1874)) == DATA_PARTS


def test_parts_select_steps_with_what_came_before(complete, plan, run):
    lineage = lineage_of_sequence(complete, plan, run(1874))
    every = part_lineage(lineage, 1874, DocumentPart.CALIBRATION_TO_DL2)
    dl1 = part_lineage(lineage, 1874, DocumentPart.CALIBRATION_TO_DL1)
    dl2 = part_lineage(lineage, 1874, DocumentPart.DL1_TO_DL2)
    assert part_lineage(lineage, 1873, DocumentPart.CALIBRATION) is lineage
    assert set(every.tries) == set(dl1.tries) | set(dl2.tries)
    assert not set(dl1.tries) & set(dl2.tries)
    assert "calibration_plots" not in {record.step for record in every.tries.values()}
    for part in (every, dl1, dl2):
        assert all(use.try_id in part.tries and use.entity_id in part.entities for use in part.uses)


def test_moves_of_the_calibration_are_told_with_the_calibration(complete, plan, run):
    for number in (1873, 1874):
        Recorder(complete, number, None).begin(MOVE_STEP, "closer", package="lst-osa", prod_id="v").done(())
    lineage = lineage_of_sequence(complete, plan, run(1874))
    for part in DATA_PARTS:
        moves = [r.run for r in part_lineage(lineage, 1874, part).tries.values() if r.step == MOVE_STEP]
        assert moves == [1874]


def test_failed_tries_of_the_calibration_are_not_those_of_a_run(complete, plan, run):
    recorder = Recorder(complete, 1873, None)
    recorder.begin("drs4_pedestal", "program", package="lstchain", prod_id="v0.1.0").failed(1, "no")
    lineage = lineage_of_sequence(complete, plan, run(1874))
    part = part_lineage(lineage, 1874, DocumentPart.CALIBRATION_TO_DL2)
    assert all(record.status is Status.DONE for record in part.tries.values())


def test_the_lineage_is_what_is_on_disk(complete, plan):
    for sequence in plan.sequences:
        lineage = lineage_of_sequence(complete, plan, sequence)
        assert list(check_disk(lineage.entities.values(), full=True)) == []
    complete.working(DL2, 1875, 0).unlink()
    assert len(list(check_disk(lineage.entities.values()))) == 1


# ------------------------------------------------------------------------------------- graphs


@pytest.mark.parametrize(
    ("how", "is_there", "expected"),
    [
        ("yes", True, True),
        ("yes", False, True),
        ("no", True, False),
        ("auto", True, True),
        ("auto", False, False),
    ],
)
def test_graphs_are_wanted_as_configured(
    make_settings, night, tmp_path, monkeypatch, how, is_there, expected
):
    layout = Layout(make_settings({("PROVENANCE", "graphs"): how}), night)
    if is_there:
        fake_dot(tmp_path / "bin", monkeypatch, "exit 0")
    else:
        monkeypatch.setenv("PATH", str(tmp_path))
    assert wants_graphs(layout) is expected


@needs_dot
@pytest.mark.parametrize("number", [1873, 1874])
@pytest.mark.parametrize("detail", [False, True])
def test_graphs_are_beside_their_documents(write, number, detail):
    written = write(number, graphs=True, detail=detail)
    assert written.faults == ()
    jsons = [path for path in written.files if path.suffix == ".json"]
    assert sorted(written.files) == sorted([*jsons, *(path.with_suffix(".pdf") for path in jsons)])
    for path in jsons:
        pdf = path.with_suffix(".pdf")
        assert pdf.read_bytes().startswith(b"%PDF")
        assert pdf.stat().st_mode & 0o777 == 0o644


def test_without_graphs_none_is_drawn(write, monkeypatch):
    monkeypatch.setattr(publish, "draw_graph", lambda *_, **__: pytest.fail("drawn"))
    assert [path.suffix for path in write().files] == [".json"] * 3


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("kill -9 $$", "dot ended with signal 9"),
        ("exit 2", "dot ended with exit code 2"),
        ("exec /bin/sleep 60", "dot took longer than"),
        ("exit 0", "dot answered nothing"),
        (None, "the program dot is not installed"),
    ],
)
def test_a_dot_that_does_not_work_costs_the_graph_and_nothing_else(
    write, tmp_path, monkeypatch, script, said
):
    if script is None:
        monkeypatch.setenv("PATH", str(tmp_path))
    else:
        fake_dot(tmp_path / "bin", monkeypatch, script)
    monkeypatch.setattr(graph, "_SECONDS", 0.3)
    written = write(graphs=True)
    assert [path.suffix for path in written.files] == [".json"] * 3
    assert all(check_document(read(path)) == [] for path in written.files)
    assert len(written.faults) == 3
    for path, fault in zip(written.files, written.faults, strict=True):
        assert fault.startswith(f"{path.name}: no graph: {said}")


def test_a_dot_that_cannot_be_run_costs_the_graph_and_nothing_else(write, tmp_path, monkeypatch):
    fake_dot(tmp_path / "bin", monkeypatch, "exit 0")
    (tmp_path / "bin" / "dot").chmod(0o644)
    written = write(graphs=True)
    assert len(written.files) == len(written.faults) == 3
    assert all("no graph: " in fault for fault in written.faults)


def test_a_move_that_failed_before_anything_was_done_can_be_told(layout, plan, run):
    """Its records are all that there is of a run."""
    recorder = Recorder(layout, 1874, None)
    recorder.begin(MOVE_STEP, "closer", package="lst-osa", prod_id="v0.1.0").failed(None, "disk full")
    lineage = lineage_of_sequence(layout, plan, run(1874))
    written = write_documents(layout, lineage, run(1874), graphs=shutil.which("dot") is not None)
    assert written.faults == ()


# -------------------------------------------------------------------------------- keep_records


def test_records_stay_with_the_products(complete, run):
    keep_records(complete, run(1874))
    assert (
        complete.kept_records(DocumentPart.CALIBRATION_TO_DL1, 1874).parent == complete.final_dl1_dir / "log"
    )
    before = records_of_run(complete, 1874)
    shutil.rmtree(complete.records_dir)
    assert records_of_run(complete, 1874) == before
    keep_records(complete, run(1874))  # again, of what is kept
    assert records_of_run(complete, 1874) == before


def test_documents_can_be_made_anew_of_what_is_kept(complete, plan, run, write):
    first = {path: path.read_bytes() for path in write().files}
    for sequence in plan.sequences:
        keep_records(complete, sequence)
    shutil.rmtree(complete.records_dir)
    for path in first:
        path.unlink()
    written = write()
    assert written.faults == ()
    assert {path: path.read_bytes() for path in written.files} == first


def test_what_is_kept_is_added_to(complete, run):
    keep_records(complete, run(1875))
    Recorder(complete, 1875, 0).begin("dl1_to_dl2", "p", package="lstchain", prod_id="v0.1.0").failed(1, "no")
    keep_records(complete, run(1875))
    before = records_of_run(complete, 1875)
    shutil.rmtree(complete.records_dir)
    assert records_of_run(complete, 1875) == before
    assert [record.status for record in before].count(Status.FAILED) == 1


@pytest.mark.parametrize("number", [1873, 1874])
def test_copies_stay_with_the_records_that_name_them(complete, run, number):
    archive = {path.name: path.read_bytes() for path in complete.archive_dir.iterdir()}
    keep_records(complete, run(number))
    for part in parts_of(run(number))[:2]:
        folder = complete.document_dir(part) / "archive"
        kept = {path.name: path.read_bytes() for path in folder.iterdir()}
        assert kept.items() <= archive.items()
        assert len(kept) >= 2
        assert any(name.endswith(".software.txt") for name in kept)
    shutil.rmtree(complete.archive_dir)
    keep_records(complete, run(number))
    assert {path.name for path in folder.iterdir()} == set(kept)


def test_moves_are_kept_with_all_products_of_a_run(complete, run):
    for number in (1873, 1874):
        Recorder(complete, number, None).begin(MOVE_STEP, "closer", package="lst-osa", prod_id="v").done(())
        keep_records(complete, run(number))
        for part in parts_of(run(number))[:2]:
            kept = read_records(complete.kept_records(part, number))
            assert [record.step for record in kept].count(MOVE_STEP) == 1


def test_a_run_without_records_keeps_none(layout, run):
    keep_records(layout, run(1874))
    assert not layout.final_dl1_dir.exists()


def test_the_whole_document_tells_of_the_configuration(write):
    document = read(write().files[-1])
    names = {
        next(iter(e.get_attribute(VOPROV["name"])))
        for e in document.get_records()
        if VOPROV["ConfigFile"] in e.get_asserted_types()
    }
    assert names == {"lstchain_standard_config.json", "onsite_camera_calibration_param.json"}
