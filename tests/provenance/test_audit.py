"""Checking documents and files of a night as they are on disk."""

from __future__ import annotations

import copy
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from provenance_nights import (
    DATA_RUNS,
    OTHERWISE,
    ClosedNight,
    changed_for_now,
    make_closed_night,
    rewrite_records,
)

from osa.layout import DATA_PARTS, DL1, DL2, DocumentPart, Layout
from osa.provenance.audit import audit_documents, audit_files, documents_of_night

CALIBRATION = 1873


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> ClosedNight:
    """The night, closed; tests leave it as it is."""
    return make_closed_night(tmp_path_factory.mktemp("told"))


@pytest.fixture
def layout(told: ClosedNight) -> Layout:
    return told.layout


def audit_of(path: Path, part: DocumentPart) -> list[str]:
    ((audited, faults),) = audit_documents([(part, path)])
    assert audited == path
    return faults


# ------------------------------------------------------------------------------- documents


def test_all_documents_of_a_night(layout: Layout) -> None:
    found = documents_of_night(layout)
    expected = {(part, layout.document(part, run)) for part in DATA_PARTS for run in DATA_RUNS}
    expected.add((DocumentPart.CALIBRATION, layout.document(DocumentPart.CALIBRATION, CALIBRATION)))
    assert set(found) == expected and len(found) == len(expected)


def test_documents_of_some_runs(layout: Layout) -> None:
    assert [path for _, path in documents_of_night(layout, [1875])] == [
        layout.document(part, 1875) for part in DATA_PARTS
    ]
    assert documents_of_night(layout, [CALIBRATION]) == [
        (DocumentPart.CALIBRATION, layout.document(DocumentPart.CALIBRATION, CALIBRATION))
    ]
    assert documents_of_night(layout, [4711]) == []


def test_night_without_documents(layout: Layout, tmp_path: Path) -> None:
    from osa.model.night import Night

    assert documents_of_night(Layout(layout.settings, Night.parse("2020_02_02"))) == []


def test_sound_documents_have_no_faults(layout: Layout) -> None:
    assert [faults for _, faults in audit_documents(documents_of_night(layout))] == [[]] * 13


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"3",
        b'"text"',
        b"\xff\xfe\x00",
        b'{"entity": 3}',
        b'{"what": {"a": {}}}',
        b"[" * 100_000,
        os.urandom(1000),
    ],
)
def test_what_is_no_document_cannot_be_read(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "some_prov.json"
    path.write_bytes(data)
    (fault,) = audit_of(path, DocumentPart.CALIBRATION)
    assert fault.startswith("cannot be read: ") and "\n" not in fault


def test_document_that_is_gone_meanwhile_or_a_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for name, word in (("none", "FileNotFoundError"), ("folder", "IsADirectoryError")):
        (fault,) = audit_of(tmp_path / name, DocumentPart.CALIBRATION)
        assert word in fault


def test_empty_document_tells_nothing_of_products(tmp_path: Path) -> None:
    path = tmp_path / "some_prov.json"
    path.write_text("{}", "utf-8")
    assert audit_of(path, DocumentPart.CALIBRATION) == []


Change = Callable[[dict[str, Any]], None]


def drop(section: str, key: str, value: str) -> Change:
    """Have relations or elements go that have a value."""

    def change(document: dict[str, Any]) -> None:
        kept = {name: item for name, item in document[section].items() if item.get(key) != value}
        assert len(kept) < len(document[section])
        document[section] = kept

    return change


def second_maker(document: dict[str, Any]) -> None:
    relation = dict(next(iter(document["wasGeneratedBy"].values())))
    makers = {item["prov:activity"] for item in document["wasGeneratedBy"].values()}
    relation["prov:activity"] = next(iter(makers - {relation["prov:activity"]}))
    document["wasGeneratedBy"]["_:more"] = relation


def read_what_it_made(document: dict[str, Any]) -> None:
    made = next(iter(document["wasGeneratedBy"].values()))
    document["used"]["_:more"] = {key: made[key] for key in ("prov:activity", "prov:entity")}


def used_too_late(document: dict[str, Any]) -> None:
    next(iter(document["used"].values()))["prov:time"] = "2099-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (drop("activity", "osa:step", "r0_to_dl1"), "is named by a relation, and is nowhere"),
        (drop("used", "prov:role", "random forest"), "is told to come from no random forest"),
        (drop("used", "prov:role", "raw data"), "is told to come from no R0"),
        (second_maker, "was made by 2 activities"),
        (read_what_it_made, "was both read and made by"),
        (read_what_it_made, "it goes round in a circle"),
        (used_too_late, "at a time when it did not run"),
    ],
)
def test_tampered_documents(layout: Layout, tmp_path: Path, change: Change, words: str) -> None:
    source = layout.document(DocumentPart.CALIBRATION_TO_DL2, 1875)
    document = json.loads(source.read_text("utf-8"))
    change(document)
    path = tmp_path / source.name
    path.write_text(json.dumps(document), "utf-8")
    faults = audit_of(path, DocumentPart.CALIBRATION_TO_DL2)
    assert any(words in fault for fault in faults), faults


def test_any_damage_is_a_fault_or_none_but_never_an_error(layout: Layout, tmp_path: Path) -> None:
    source = layout.document(DocumentPart.DL1_TO_DL2, 1875)
    whole = json.loads(source.read_text("utf-8"))
    dice = random.Random(1)
    path = tmp_path / source.name
    noticed = 0
    for _ in range(60):
        document = copy.deepcopy(whole)
        section = dice.choice(sorted(set(document) - {"prefix"}))
        name = dice.choice(sorted(document[section]))
        item = document[section][name]
        key = dice.choice(sorted(item)) if isinstance(item, dict) and item else None
        how = dice.randrange(4)
        if how == 0 or key is None:
            del document[section][name]
        elif how == 1:
            del item[key]
        else:
            item[key] = dice.choice([None, 3, "osa:x", [], {}, {"$": "x"}, "", "2020", [1, "osa:y"]])
        path.write_text(json.dumps(document), "utf-8")
        noticed += bool(audit_of(path, DocumentPart.DL1_TO_DL2))
    assert noticed >= 30


# ----------------------------------------------------------------------------------- files


@pytest.mark.parametrize("full", [False, True])
def test_files_as_they_were_recorded(layout: Layout, full: bool) -> None:
    assert list(audit_files(layout, full=full)) == []


def test_files_that_changed_or_went(layout: Layout) -> None:
    changed, gone = layout.final(DL2, 1874, 1), layout.final(DL1, 1875, 0)
    with changed_for_now(changed), changed_for_now(gone):
        changed.write_bytes(b"else")
        gone.unlink()
        assert sorted(audit_files(layout)) == sorted(
            [f"{changed} has changed since it was recorded", f"{gone} is not there"]
        )
        assert list(audit_files(layout, [1875])) == [f"{gone} is not there"]
        assert list(audit_files(layout, [OTHERWISE, CALIBRATION])) == []


def test_full_audit_reads_what_seems_unchanged(layout: Layout) -> None:
    path = layout.final(DL2, 1874, 0)
    with changed_for_now(path):
        status = path.stat()
        path.write_bytes(bytes(reversed(path.read_bytes())))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert list(audit_files(layout)) == []
        assert list(audit_files(layout, full=True)) == [f"{path} has changed since it was recorded"]


def test_touched_file_is_no_fault(layout: Layout) -> None:
    path = layout.final(DL2, 1874, 0)
    with changed_for_now(path):
        os.utime(path, (1e9, 1e9))
        assert list(audit_files(layout)) == []


def test_inputs_are_not_asked_for(layout: Layout) -> None:
    raw = layout.raw_file(1874, 0)
    with changed_for_now(raw):
        raw.unlink()
        assert list(audit_files(layout, full=True)) == []


def test_night_of_which_nothing_is_recorded(layout: Layout) -> None:
    from osa.model.night import Night

    assert list(audit_files(Layout(layout.settings, Night.parse("2020_02_02")))) == []


def test_damaged_records_do_not_stop_the_audit(layout: Layout) -> None:
    path = layout.records(1875, 0)
    with changed_for_now(path):
        path.write_bytes(b"\xff\n{\n" + path.read_bytes()[:-50])
        assert list(audit_files(layout)) == []
    with changed_for_now(path):
        rewrite_records(path, lambda record: record)
        assert list(audit_files(layout)) == []
