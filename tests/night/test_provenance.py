"""Where the products of the real night come from, as its documents and the index tell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from prov.model import ProvDocument
from real_night import CALIBRATION_RUN, DATA, Stage, on_night, run
from voprov_environment import convert

from osa.layout import DATA_PARTS, DL1, DL2, DocumentPart
from osa.provenance.audit import documents_of_night
from osa.provenance.checks import check_document
from osa.records.identity import raw_sample
from osa.system.files import sha256

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SUBRUNS = [(run, subrun) for run, subruns in DATA.items() for subrun in subruns]


def ask(stage: Stage, question: str, *words: object) -> Any:
    answer = run("provquery", question, "-c", stage.config, *words, "--json")
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


@pytest.mark.parametrize(("number", "subrun"), SUBRUNS)
def test_every_dl2_reaches_all_that_it_was_made_from(closed: Stage, number: int, subrun: int) -> None:
    layout = closed.layout
    found: dict[str, list[dict[str, Any]]] = {}
    for entity in ask(closed, "lineage", layout.final(DL2, number, subrun)):
        found.setdefault(entity["kind"], []).append(entity)
    names = {kind: sorted(entity["name"] for entity in entities) for kind, entities in found.items()}
    assert layout.raw_file(number, subrun).name in names["R0"]
    assert not any(f"Run{other:05d}" in name for other in DATA if other != number for name in names["R0"])
    assert names["DL1"] == [layout.final(DL1, number, subrun).name]
    assert names["DRS4 pedestal"] == ["drs4_pedestal.Run01872.0000.h5"]
    assert names["time calibration"] == ["time_calibration.Run01873.0000.h5"]
    assert names["charge calibration"] == ["calibration.Run01873.0000.h5"]
    assert names["drive log"] == [layout.drive_log.name]
    assert names["bending model correction"] == ["BendingModelCorrection_log_20200127.txt"]
    assert names["run summary"] == [layout.run_summary.name]
    forests = ["cls_disp_sign.sav", "cls_gh.sav", "reg_disp_norm.sav", "reg_energy.sav"]
    assert names["random forest"] == forests
    assert names["configuration"] == ["lstchain_standard_config.json", "onsite_camera_calibration_param.json"]
    for entity in (entity for entities in found.values() for entity in entities):
        path = Path(entity["location"])
        if entity["kind"] == "R0":
            assert raw_sample(path) == entity["sample"]
        else:
            assert sha256(path) == entity["sha256"]


def test_everything_on_disk_is_as_it_was_recorded(closed: Stage) -> None:
    answer = run("provquery", "verify", "-c", closed.config, "--inputs")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "0 missing or changed" in answer.stderr


def test_impact_of_the_calibration_is_exactly_its_dl2(closed: Stage) -> None:
    layout = closed.layout
    calibration = layout.final_calibration_dir / layout.charge_calibration(CALIBRATION_RUN).name
    impact = ask(closed, "impact", calibration, "--kind", "DL2")
    expected = [str(layout.final(DL2, *which)) for which in SUBRUNS]
    assert sorted(entity["location"] for entity in impact) == sorted(expected)


def test_redone_subrun_shows_both_tries(closed: Stage) -> None:
    tries = [row for row in ask(closed, "tries", "1875.1") if row["Step"] == "dl1_to_dl2"]
    assert [row["Status"] for row in tries] == ["done", "done"]
    assert [row["Made"].endswith("(replaced)") for row in tries] == [True, False]
    assert len({row["Job"] for row in tries}) == 2
    document = closed.layout.document(DocumentPart.CALIBRATION_TO_DL2, 1875)
    activities = json.loads(document.read_text("utf-8"))["activity"].values()
    redone = [a for a in activities if a["osa:step"] == "dl1_to_dl2" and a["osa:subrun"]["$"] == "1"]
    assert len(redone) == 2


def test_documents_are_there_and_sound(closed: Stage) -> None:
    layout = closed.layout
    expected = {layout.document(part, number) for part in DATA_PARTS for number in DATA}
    expected.add(layout.document(DocumentPart.CALIBRATION, CALIBRATION_RUN))
    documents = documents_of_night(layout)
    assert {path for _, path in documents} == expected
    for part, path in documents:
        text = path.read_text("utf-8")
        document = ProvDocument.deserialize(content=text, format="json")
        assert check_document(document, part) == []
        assert ProvDocument.deserialize(content=document.serialize(None, format="json")) == document
        assert path.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
        assert path.stat().st_mode & 0o777 == 0o644
    answer = run("provquery", "check", "-c", closed.config, "-d", layout.night.underscored, "--full")
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_documents_become_the_classes_of_the_ivoa(closed: Stage, voprov_python: Path) -> None:
    for _, path in documents_of_night(closed.layout):
        result = convert(voprov_python, path)
        assert result.returncode == 0, result.stderr
        counts = {name: int(count) for name, count in map(str.split, result.stdout.splitlines())}
        assert counts["Activity"] == len(json.loads(path.read_text("utf-8"))["activity"])
        assert counts["DatasetEntity"] > 0 and counts["ConfigurationRelation"] > 0


def test_documents_and_index_are_made_again_from_the_records(closed: Stage, tmp_path: Path) -> None:
    before = ask(closed, "lineage", closed.layout.final(DL2, 1874, 0))
    closed.layout.settings.provenance.database.unlink()
    assert run("provquery", "nights", "-c", closed.config).returncode == 3
    rebuilt = run("provprocess", "-c", closed.config, "--rebuild-index")
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert ask(closed, "lineage", closed.layout.final(DL2, 1874, 0)) == before
    again = on_night(closed, "provprocess", "1874", "-o", tmp_path)
    assert again.returncode == 0, again.stderr
    for part in DATA_PARTS:
        path = closed.layout.document(part, 1874)
        ours, theirs = (
            ProvDocument.deserialize(content=each.read_text("utf-8"), format="json")
            for each in (tmp_path / path.name, path)
        )
        assert ours == theirs
