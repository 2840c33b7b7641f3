"""Documents become the classes of the IVOA's own package, in an environment that has it and no lst-osa."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import pytest
from prov.constants import PROV
from prov.model import ProvDocument
from voprov_environment import PACKAGES, convert

from osa.model.dataset import DatasetKind
from osa.provenance.document import VOPROV, make_document
from osa.provenance.lineage import build_lineage
from osa.records.model import MOVE_STEP, ConfigFile, FileRecord, JobIds, Software, Status, TryRecord

pytestmark = pytest.mark.slow
START = datetime(2020, 1, 28, 9, tzinfo=UTC)
SECTIONS = {
    "Activity": "activity",
    "Agent": "agent",
    "Collection": "entity",
    "DatasetEntity": "datasetEntity",
    "ValueEntity": "valueEntity",
    "ConfigFile": "configFile",
    "Parameter": "parameter",
    "ActivityDescription": "activityDescription",
    "ConfigFileDescription": "configFileDescription",
    "DatasetDescription": "datasetDescription",
    "GenerationDescription": "generationDescription",
    "UsageDescription": "usageDescription",
    "Association": "wasAssociatedWith",
    "Attribution": "wasAttributedTo",
    "Communication": "wasInformedBy",
    "ConfigurationRelation": "wasConfiguredBy",
    "Derivation": "wasDerivedFrom",
    "DescriptionRelation": "isDescribedBy",
    "Generation": "wasGeneratedBy",
    "Influence": "wasInfluencedBy",
    "Membership": "hadMember",
    "Usage": "used",
    "RelatedToRelation": "isRelatedTo",
}
"""Where voprov's JSON has each class; it writes collections as entities."""


def hashed(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def file_of(kind: DatasetKind, name: str, content: str | None = None, **more: Any) -> FileRecord:
    content = hashed(content or name)
    return FileRecord(str(kind), kind, f"/data/{name}", 100, 10**18, sha256=content, **more)


def raw_file(run: int, subrun: int) -> FileRecord:
    path = f"/data/R0/LST-1.1.Run{run:05d}.{subrun:04d}.fits.fz"
    return FileRecord("raw data", DatasetKind.R0, path, 10**9, 10**18, sample=hashed(path))


def attempt(
    number: int,
    step: str,
    subrun: int | None,
    inputs: Iterable[FileRecord],
    outputs: Iterable[FileRecord],
    **more: Any,
) -> TryRecord:
    package = "lst-osa" if step == MOVE_STEP else "lstchain"
    record = TryRecord(
        id=str(uuid5(UUID(int=0), str(number))),
        telescope="LST1",
        night="2020-01-27",
        run=1874,
        subrun=subrun,
        step=step,
        program=f"program_of_{step}",
        package=package,
        prod_id="v0.1.0",
        started=START + timedelta(minutes=number),
        ended=START + timedelta(minutes=number, seconds=50),
        status=Status.DONE,
        exit_code=0,
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        software=Software({"lstchain": "0.12.3", "lst-osa": "0.1.0"}, hashed("all that is installed")),
        host="node",
        user="lstanalyzer",
        job=JobIds("17", subrun, 0),
        wall_time=50.0,
        cpu_time=49.5,
        peak_memory=800.0,
    )
    return replace(record, **more)


def made_up_records() -> list[TryRecord]:
    """A calibration, and two sub-runs; the first needs two tries and gets another DL2; merged, and moved."""
    kinds = DatasetKind
    pedestal = file_of(kinds.DRS4_PEDESTAL, "drs4_pedestal.Run01872.0000.h5")
    times = file_of(kinds.TIME_CALIBRATION, "time_calibration.Run01872.0000.h5")
    charges = file_of(kinds.CHARGE_CALIBRATION, "calibration.Run01873.0000.h5")
    calibrated = (pedestal, times, charges, file_of(kinds.DRIVE_LOG, "drive_log_20_01_28.txt"))
    forests = [file_of(kinds.RANDOM_FOREST, f"{name}.sav") for name in ("reg_energy", "cls_gh")]
    dl1 = [file_of(kinds.DL1, f"dl1_LST-1.Run01874.{i:04d}.h5") for i in range(2)]
    dl2 = [file_of(kinds.DL2, f"dl2_LST-1.Run01874.{i:04d}.h5") for i in range(2)]
    first_dl2 = file_of(kinds.DL2, "dl2_LST-1.Run01874.0000.h5", "of older models")
    merged = file_of(kinds.DL2_MERGED, "dl2_LST-1.Run01874.h5")
    moved = [replace(item, path=item.path.replace("/data/", "/final/"), source=item.path) for item in dl2]
    config = ConfigFile("lstchain", "/cfg/lstchain.json", hashed("cfg"), f"{hashed('cfg')}.lstchain.json")
    camera = ConfigFile("charge calibration", "/cfg/camera.json", hashed("camera"))
    failed = {"status": Status.FAILED, "exit_code": -9, "reason": "killed by signal 9"}
    cuts = {"parameters": {"max-events": "20000"}}
    return [
        attempt(1, "drs4_pedestal", None, [raw_file(1872, 0)], [pedestal], **cuts),
        attempt(2, "time_calibration", None, [raw_file(1873, 0), pedestal], [times], **cuts),
        attempt(
            3,
            "charge_calibration",
            None,
            [raw_file(1873, 0), pedestal, times],
            [charges],
            configuration=(camera,),
            parameters={"min-ff": "3000", "filters": "52"},
        ),
        attempt(4, "r0_to_dl1", 0, [raw_file(1874, 0), *calibrated], [], configuration=(config,), **failed),
        attempt(5, "r0_to_dl1", 0, [raw_file(1874, 0), *calibrated], [dl1[0]], configuration=(config,)),
        attempt(6, "r0_to_dl1", 1, [raw_file(1874, 1), *calibrated], [dl1[1]], configuration=(config,)),
        attempt(7, "dl1_to_dl2", 0, [dl1[0]], [first_dl2], configuration=(config,)),
        attempt(8, "dl1_to_dl2", 0, [dl1[0], *forests], [dl2[0]], configuration=(config,)),
        attempt(9, "dl1_to_dl2", 1, [dl1[1], *forests], [dl2[1]], configuration=(config,)),
        attempt(10, "merge_dl2", None, dl2, [merged]),
        attempt(11, MOVE_STEP, None, [], moved),
    ]


def count_classes(document: ProvDocument) -> Counter[str]:
    """Count the records by the class that they stand for."""
    counts: Counter[str] = Counter()
    for record in document.get_records():
        types = record.get_asserted_types()
        named = [name.localpart for name in types if name.namespace == VOPROV]
        named += ["Collection"] if PROV["Collection"] in types else []
        counts[named[0] if named else record.get_type().localpart] += 1
        counts["RelatedToRelation"] += len(record.get_attribute(VOPROV["activityDescription"]))
    return counts


def texts(element: dict[str, Any], prefix: str) -> dict[str, str]:
    """Give the attributes of a namespace as text, whatever type they are given with."""
    values = {name: value for name, value in element.items() if name.startswith(prefix)}
    return {name: str(v["$"] if isinstance(v, dict) else v) for name, v in values.items()}


@pytest.fixture(scope="module")
def document() -> ProvDocument:
    return make_document(build_lineage(made_up_records()))


@pytest.fixture
def written(document: ProvDocument, tmp_path: Path) -> Path:
    path = tmp_path / "document_prov.json"
    path.write_text(document.serialize(None, format="json"))
    return path


def assert_refused(result: subprocess.CompletedProcess[str], exit_code: int, *words: str) -> None:
    """One line says what is wrong, and nothing else is said."""
    assert result.returncode == exit_code, result.stderr
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1 and result.stderr.startswith("to_voprov: ")
    assert all(word in result.stderr for word in words), result.stderr


def test_every_record_becomes_its_class(
    voprov_python: Path, document: ProvDocument, written: Path, tmp_path: Path
) -> None:
    counts = count_classes(document)
    assert set(counts) == set(SECTIONS)  # what was made up has all of them
    assert (counts["Activity"], counts["ConfigFile"], counts["Parameter"]) == (11, 2, 4)
    result = convert(voprov_python, written, "-o", tmp_path / "voprov.json")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "".join(f"{name} {counts[name]}\n" for name in SECTIONS)

    made = json.loads((tmp_path / "voprov.json").read_text())
    found = {
        name: sum(len(item) if isinstance(item, list) else 1 for item in made[section].values())
        for name, section in SECTIONS.items()
    }
    assert found == counts
    assert set(made) == {"prefix", *SECTIONS.values()}


def test_attributes_are_kept(voprov_python: Path, written: Path, tmp_path: Path) -> None:
    assert convert(voprov_python, written, "-o", tmp_path / "voprov.json").returncode == 0
    before = json.loads(written.read_text())
    sections = json.loads((tmp_path / "voprov.json").read_text())
    made = {name: element for section in sections.values() for name, element in section.items()}
    elements = before["entity"] | before["activity"] | before["agent"]
    assert {name: texts(element, "osa:") for name, element in elements.items()} == {
        name: texts(made[name], "osa:") for name in elements
    }
    replaced = [name for name, e in before["entity"].items() if "voprov:invalidatedAtTime" in e]
    assert replaced
    for name in replaced:
        assert made[name]["voprov:invalidatedAtTime"] == elements[name]["voprov:invalidatedAtTime"]
        assert made[name]["prov:name"] == elements[name]["voprov:name"]
    used = [*sections["used"].values(), *sections["wasGeneratedBy"].values()]
    assert all(made[relation["voprov:descriptor"]]["prov:role"] == relation["prov:role"] for relation in used)


def test_without_output_nothing_is_written(voprov_python: Path, written: Path, tmp_path: Path) -> None:
    assert convert(voprov_python, written).returncode == 0
    assert list(tmp_path.iterdir()) == [written]


def first(elements: dict[str, Any], kind: str) -> dict[str, Any]:
    """Find the first of a section that is of a type."""
    return next(e for e in elements.values() if e.get("prov:type", {}).get("$") == kind)


def unknown_type(content: dict[str, Any]) -> str:
    first(content["entity"], "voprov:DatasetEntity")["prov:type"]["$"] = "voprov:Telescope"
    return "Telescope"


def undeclared_prefix(content: dict[str, Any]) -> str:
    first(content["entity"], "voprov:Parameter")["prov:type"]["$"] = "ivoa:Parameter"
    return "ivoa:Parameter"


def no_type(content: dict[str, Any]) -> str:
    del first(content["entity"], "voprov:Parameter")["prov:type"]
    return "osa:parameter-"


def dangling_description(content: dict[str, Any]) -> str:
    relation = first(content["wasInfluencedBy"], "voprov:DescriptionRelation")
    relation["prov:influencer"] = "osa:nowhere"
    return "osa:nowhere"


def dangling_usage_description(content: dict[str, Any]) -> str:
    next(iter(content["used"].values()))["osa:isDescribedBy"]["$"] = "osa:nowhere"
    return "osa:nowhere"


def parameter_without_value(content: dict[str, Any]) -> str:
    del first(content["entity"], "voprov:Parameter")["voprov:value"]
    return "value"


def relation_without_class(content: dict[str, Any]) -> str:
    one, other = list(content["agent"])[:2]
    content["actedOnBehalfOf"] = {"_:id0": {"prov:delegate": one, "prov:responsible": other}}
    return "Delegation"


@pytest.mark.parametrize(
    "tamper",
    [
        unknown_type,
        undeclared_prefix,
        no_type,
        dangling_description,
        dangling_usage_description,
        parameter_without_value,
        relation_without_class,
    ],
)
def test_what_cannot_be_converted_is_told(
    voprov_python: Path, written: Path, tmp_path: Path, tamper: Callable[[dict[str, Any]], str]
) -> None:
    content = json.loads(written.read_text())
    word = tamper(content)
    written.write_text(json.dumps(content))
    assert_refused(convert(voprov_python, written, "-o", tmp_path / "voprov.json"), 1, word)
    assert not (tmp_path / "voprov.json").exists()


@pytest.mark.parametrize("text", ["hello", "[1]", "{}", '{"entity": 3}', '{"telescope": {"osa:a": {}}}'])
def test_what_is_no_document_is_told(voprov_python: Path, tmp_path: Path, text: str) -> None:
    path = tmp_path / "some.json"
    path.write_text(text)
    assert_refused(convert(voprov_python, path), 2, "some.json", "JSON")


def test_missing_file_is_told(voprov_python: Path, tmp_path: Path) -> None:
    assert_refused(convert(voprov_python, tmp_path / "none.json"), 2, "none.json", "No such file")


def test_environment_without_voprov_is_told(written: Path) -> None:
    assert_refused(convert(sys.executable, written), 3, "pip install", *PACKAGES)
