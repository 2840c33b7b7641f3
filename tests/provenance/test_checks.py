"""Checks find what is wrong with a document, or on disk, and nothing else."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from prov.model import ProvDocument

from osa.layout import DocumentPart
from osa.model.dataset import DatasetKind as Kind
from osa.provenance.checks import check_disk, check_document, check_round_trip
from osa.provenance.document import OSA, activity_id, entity_id, make_document
from osa.provenance.lineage import Entity, Lineage, build_lineage
from osa.provenance.publish import part_lineage
from osa.records.identity import raw_sample
from osa.records.model import TryRecord
from osa.system.files import sha256
from tests.provenance.stories import (
    FAILED,
    UNFINISHED,
    dl1,
    minute,
    move,
    named,
    to_dl1,
    to_dl2,
    whole_run,
)

PARTS = {part: 1873 if part is DocumentPart.CALIBRATION else 1874 for part in DocumentPart}
CALIBRATIONS = (Kind.DRS4_PEDESTAL, Kind.TIME_CALIBRATION)
FOR_DL1 = (Kind.R0, *CALIBRATIONS, Kind.CHARGE_CALIBRATION, Kind.DRIVE_LOG, Kind.CONFIGURATION)
NEEDED = {
    DocumentPart.CALIBRATION: (Kind.R0, *CALIBRATIONS),
    DocumentPart.CALIBRATION_TO_DL1: FOR_DL1,
    DocumentPart.DL1_TO_DL2: (Kind.DL1, Kind.RANDOM_FOREST),
    DocumentPart.CALIBRATION_TO_DL2: (*FOR_DL1, Kind.DL1, Kind.RANDOM_FOREST),
}
MADE = {
    DocumentPart.CALIBRATION: Kind.CHARGE_CALIBRATION,
    DocumentPart.CALIBRATION_TO_DL1: Kind.DL1,
    DocumentPart.DL1_TO_DL2: Kind.DL2,
    DocumentPart.CALIBRATION_TO_DL2: Kind.DL2,
}


def part_of(records: list[TryRecord], part: DocumentPart) -> Lineage:
    if part is DocumentPart.CALIBRATION:
        records = [record for record in records if record.run == 1873]
    return part_lineage(build_lineage(records), PARTS[part], part)


def faults(lineage: Lineage, part: DocumentPart | None = None) -> list[str]:
    return check_document(make_document(lineage), part)


def without(records: list[TryRecord], kind: Kind) -> list[TryRecord]:
    """Have all tries say nothing of what they read of a kind."""
    if kind is Kind.CONFIGURATION:
        return [replace(record, configuration=()) for record in records]
    return [
        replace(record, inputs=tuple(item for item in record.inputs if item.kind is not kind))
        for record in records
    ]


@pytest.fixture
def document() -> ProvDocument:
    return make_document(build_lineage(whole_run(1)))


def only(found: list[str]) -> str:
    assert len(found) == 1, found
    return found[0]


# ------------------------------------------------------------------------- what is complete


@pytest.mark.parametrize("part", DocumentPart)
def test_a_whole_run_has_no_faults(part):
    records = [*whole_run(2), move(300, dl1(0), dl1(1))]
    lineage = part_of(records, part)
    assert lineage.tries
    assert faults(lineage, part) == []
    assert faults(lineage) == []


@pytest.mark.parametrize("part", DocumentPart)
def test_failed_and_unfinished_tries_and_replaced_files_are_no_fault(part):
    records = [
        *whole_run(2),
        to_dl1(30, 0, **FAILED),
        to_dl1(31, 0, content="again"),
        to_dl1(32, 1, **UNFINISHED),
        to_dl2(210, 0, content="again", read=dl1(0, "again")),
    ]
    assert faults(part_of(records, part), part) == []


def test_a_part_without_products_is_no_fault():
    records = [to_dl1(30, 0, **FAILED)]
    for part in list(DocumentPart)[1:]:
        assert faults(part_of(records, part), part) == []


@pytest.mark.parametrize(
    ("part", "kind"), [(part, kind) for part, kinds in NEEDED.items() for kind in kinds], ids=str
)
def test_what_a_product_has_to_come_from_is_missed(part, kind):
    found = faults(part_of(without(whole_run(2), kind), part), part)
    products = {Kind.CHARGE_CALIBRATION: 1, Kind.DL1: 2, Kind.DL2: 2}[MADE[part]]
    assert len(found) == products, found
    # Without DL1 between them, DL2 comes from nothing before it either.
    for text in found:
        assert f"no {kind}" in text
        assert " is told to come from no " in text
        if kind is not Kind.DL1:
            assert text.endswith(f"is told to come from no {kind}")


def test_the_sub_run_that_lacks_something_is_named():
    records = whole_run(2)
    lame = next(i for i, record in enumerate(records) if record.step == "r0_to_dl1" and record.subrun == 1)
    records[lame] = replace(records[lame], inputs=records[lame].inputs[1:])
    part = DocumentPart.CALIBRATION_TO_DL2
    assert only(faults(part_of(records, part), part)).startswith("dl2_LST-1.Run01874.0001.h5 ")


def test_a_calibration_without_its_records_still_counts():
    """What was read is there; how it came about is told with the calibration."""
    records = [record for record in whole_run(1) if record.run == 1874]
    for part in (DocumentPart.CALIBRATION_TO_DL1, DocumentPart.CALIBRATION_TO_DL2):
        assert faults(part_of(records, part), part) == []


# ---------------------------------------------------------------------- injected, one by one


def test_an_identifier_that_is_nowhere(document):
    document.usage(activity_id(to_dl1(10)), OSA["entity-nowhere"], to_dl1(10).started)
    assert only(check_document(document)) == "osa:entity-nowhere is named by a relation, and is nowhere"


@pytest.mark.parametrize("relation", ["attribution", "derivation", "influence", "membership", "association"])
def test_every_relation_may_dangle(document, relation):
    entity = entity_id(named(build_lineage(whole_run(1)), dl1().name)[0])
    start = activity_id(to_dl1(10)) if relation == "association" else entity
    getattr(document, relation)(start, OSA["nowhere"])
    assert "osa:nowhere is named by a relation" in only(check_document(document))


def test_a_file_with_two_makers(document):
    entity = entity_id(named(build_lineage(whole_run(1)), dl1().name)[0])
    document.generation(entity, activity_id(to_dl2(200)), to_dl2(200).ended)
    found = check_document(document)
    assert f"{dl1().name} was made by 2 activities" in found


def test_a_file_that_its_maker_has_read(document):
    entity = entity_id(named(build_lineage(whole_run(1)), dl1().name)[0])
    document.usage(activity_id(to_dl1(10)), entity, to_dl1(10).started)
    found = check_document(document)
    assert f"{dl1().name} was both read and made by {activity_id(to_dl1(10))}" in found
    assert any(text.startswith("it goes round in a circle: ") for text in found)


def test_a_circle(document):
    (last,) = named(build_lineage(whole_run(1)), "dl2_LST-1.Run01874.0000.h5")
    document.usage(activity_id(to_dl1(10)), entity_id(last), to_dl1(10).started)
    text = only(check_document(document, DocumentPart.CALIBRATION_TO_DL2))
    assert text.startswith("it goes round in a circle: ") and str(entity_id(last)) in text


def test_a_circle_of_derivations(document):
    lineage = build_lineage(whole_run(1))
    one, two = (entity_id(named(lineage, name)[0]) for name in (dl1().name, "dl2_LST-1.Run01874.0000.h5"))
    document.derivation(one, two)
    assert only(check_document(document)).startswith("it goes round in a circle: ")


@pytest.mark.parametrize(("minutes", "is_fault"), [(-0.01, True), (0, False), (0.5, False), (0.9, True)])
def test_a_use_at_a_time_when_its_activity_did_not_run(document, minutes, is_fault):
    log = next(iter(build_lineage(whole_run(1)).entities.values()))
    document.usage(activity_id(to_dl1(10)), entity_id(log), minute(10 + minutes))
    found = [text for text in check_document(document) if "did not run" in text]
    assert len(found) == is_fault


def test_an_activity_without_an_end_may_read_at_any_time_after_its_begin():
    record = to_dl1(10, **UNFINISHED)
    for when, is_fault in ((timedelta(days=1), False), (-timedelta(seconds=1), True)):
        lineage = build_lineage([record])
        document = make_document(lineage)
        document.usage(
            activity_id(record), entity_id(next(iter(lineage.entities.values()))), record.started + when
        )
        assert len(check_document(document)) == is_fault


# ------------------------------------------------------------------------------- round trip


def test_a_text_that_was_tampered_with_is_found(document):
    text = document.serialize(None, format="json")
    assert check_round_trip(document, text) == []
    values = json.loads(text)
    one = next(iter(values["activity"].values()))
    one["prov:startTime"] = "2020-01-27T20:10:00.001000+00:00"
    removed = json.loads(text)
    removed["used"].popitem()
    for other in (
        json.dumps(values),
        json.dumps(removed),
        text.replace("calibration.Run01873", "calibration.Run01872"),
    ):
        assert other != text
        assert check_round_trip(document, other) == [
            "what is read back from the JSON differs from what was written"
        ]


def test_the_same_in_another_order_is_the_same(document):
    values = json.loads(document.serialize(None, format="json"))
    turned = {key: dict(reversed(list(part.items()))) for key, part in reversed(list(values.items()))}
    assert check_round_trip(document, json.dumps(turned)) == []


# ------------------------------------------------------------------------------------- disk


def entity(path: Path, **values) -> Entity:
    found = path.stat()
    known = {"size": found.st_size, "modified": found.st_mtime_ns, "sha256": sha256(path)}
    return Entity(path.name, Kind.DL1, path.name, str(path), **{**known, **values})


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "dl1.h5"
    path.write_bytes(b"content")
    return path


def disk(*entities: Entity, full: bool = False) -> list[str]:
    return list(check_disk(entities, full=full))


@pytest.mark.parametrize("full", [False, True])
def test_files_that_are_as_they_were(path, full):
    assert disk(entity(path), full=full) == []
    assert disk(full=full) == []


@pytest.mark.parametrize("full", [False, True])
def test_a_file_that_is_missing(path, full):
    known = entity(path)
    path.unlink()
    assert disk(known, full=full) == [f"{path} is not there"]


@pytest.mark.parametrize("full", [False, True])
def test_a_file_with_other_content_of_the_same_size(path, full):
    known = entity(path)
    path.write_bytes(b"CONTENT")
    os.utime(path, ns=(10**18, 10**18))
    assert disk(known, full=full) == [f"{path} has changed since it was recorded"]


def test_a_file_that_hides_its_change_is_found_by_reading_it(path):
    known = entity(path)
    path.write_bytes(b"CONTENT")
    os.utime(path, ns=(known.modified, known.modified))
    assert disk(known) == []
    assert disk(known, full=True) == [f"{path} has changed since it was recorded"]


def test_a_file_of_another_size(path):
    known = entity(path)
    path.write_bytes(b"content and more")
    assert disk(known) == disk(known, full=True) == [f"{path} has changed since it was recorded"]


def test_a_file_that_was_only_touched(path):
    known = entity(path)
    os.utime(path, ns=(10**18, 10**18))
    assert disk(known) == disk(known, full=True) == []


def test_a_raw_file_is_compared_by_its_sample(path):
    known = entity(path, sha256=None, sample=raw_sample(path))
    os.utime(path, ns=(10**18, 10**18))
    assert disk(known) == []
    path.write_bytes(b"CONTENT")
    assert disk(known) == [f"{path} has changed since it was recorded"]


def test_files_that_were_replaced_and_those_not_hashed_are_passed_over(path):
    known = entity(path)
    path.unlink()
    assert disk(replace(known, replaced_at=minute(1)), replace(known, sha256=None)) == []


def test_a_file_that_cannot_be_read(path, tmp_path):
    known = entity(path)
    path.unlink()
    path.mkdir()
    assert disk(replace(known, size=path.stat().st_size)) == [f"{path} cannot be read: Is a directory"]
    assert disk(replace(known, location=f"{path}/" + "x" * 300)) == [
        f"{path}/{'x' * 300} cannot be read: File name too long"
    ]


def test_a_name_that_cannot_be_is_told(path):
    assert len(disk(replace(entity(path), location="/tmp/a\0b"))) == 1


def test_every_file_is_looked_at(path, tmp_path):
    other = tmp_path / "other.h5"
    other.write_bytes(b"x")
    entities = [entity(other), entity(path), entity(other)]
    other.unlink()
    assert disk(*entities) == [f"{other} is not there"] * 2
