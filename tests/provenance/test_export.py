"""Lineages in other formats, read back by others."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from astropy.io.votable import parse
from astropy.table import Table
from prov.model import ProvDocument

from osa.errors import MissingServiceError
from osa.model.dataset import DatasetKind
from osa.provenance.document import make_document
from osa.provenance.export import FORMATS, export_lineage
from osa.provenance.lineage import Lineage, build_lineage
from osa.records.model import JobIds, Status
from tests.database.made_up import Story, calibrate, file, observe

HOSTILE = "<b>&amp;<i> ]]> \"'\\N ü 星 $x$ %d.h5"


@pytest.fixture
def story() -> Story:
    """A sub-run that was made after a try that failed and another that was killed, and made again."""
    story = Story()
    charge = calibrate(story)
    story.add("r0_to_dl1", (charge,), status=Status.FAILED)
    story.add("r0_to_dl1", (charge,), status=Status.UNFINISHED)
    observe(story, charge)
    observe(story, charge, content="again")
    return story


@pytest.fixture
def lineage(story: Story) -> Lineage:
    return story.lineage


def tables_of(lineage: Lineage, title: str = "title") -> dict[str, Table]:
    data = export_lineage(lineage, "votable", title)
    votable = parse(io.BytesIO(data), verify="exception")
    assert votable.resources[0].description == title
    return {table.name: table.to_table() for table in votable.iter_tables()}


def test_formats_are_told_apart_by_their_endings() -> None:
    assert len(set(FORMATS.values())) == len(FORMATS) == 4
    assert all(ending.startswith(".") for ending in FORMATS.values())


@pytest.mark.parametrize("form", ["json", "provn", "votable"])
def test_empty_lineage(form: str) -> None:
    data = export_lineage(build_lineage([]), form, "nothing")
    assert data.strip()
    if form == "votable":
        assert list(parse(io.BytesIO(data), verify="exception").iter_tables()) == []


def test_json_is_the_document(lineage: Lineage) -> None:
    data = export_lineage(lineage, "json", "title")
    assert data.endswith(b"}\n")
    assert ProvDocument.deserialize(content=data.decode(), format="json") == make_document(lineage)


def test_prov_n(lineage: Lineage) -> None:
    text = export_lineage(lineage, "provn", "title").decode()
    assert text.startswith("document\n") and text.rstrip().endswith("endDocument")
    assert text.count("activity(osa:activity-") == len(lineage.tries)
    assert text.count("wasGeneratedBy(") == sum(e.made_by is not None for e in lineage.entities.values())


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_pdf(lineage: Lineage) -> None:
    plain = export_lineage(lineage, "pdf", HOSTILE)
    assert plain.startswith(b"%PDF") and b"%%EOF" in plain[-20:]


def test_pdf_without_graphviz(
    lineage: Lineage, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path_factory.mktemp("empty")))
    with pytest.raises(MissingServiceError, match="dot is not installed"):
        export_lineage(lineage, "pdf", "title")


def test_votable_has_all_classes(lineage: Lineage) -> None:
    tables = tables_of(lineage)
    assert {name: len(table) for name, table in tables.items()} == {
        "Activity": len(lineage.tries),
        "Entity": len(lineage.entities),
        "Used": sum(not use.is_configuration for use in lineage.uses),
        "WasConfiguredBy": sum(use.is_configuration for use in lineage.uses),
        "WasGeneratedBy": sum(entity.made_by is not None for entity in lineage.entities.values()),
    }
    activities, entities = set(tables["Activity"]["id"]), set(tables["Entity"]["id"])
    for name in ("Used", "WasConfiguredBy", "WasGeneratedBy"):
        assert set(tables[name]["activity"]) <= activities and set(tables[name]["entity"]) <= entities


def test_what_is_not_known_is_masked(lineage: Lineage) -> None:
    activities = tables_of(lineage)["Activity"]
    ended = {row["id"]: row["endTime"] for row in activities}
    codes = dict(zip(activities["id"], activities["exit_code"], strict=True))
    for record in lineage.tries.values():
        if record.status is Status.UNFINISHED:
            assert not ended[record.id] or ended[record.id] is np.ma.masked
            assert codes[record.id] is np.ma.masked
        else:
            assert ended[record.id].endswith("Z")
            assert int(codes[record.id]) == record.exit_code
    entities = tables_of(lineage)["Entity"]
    sizes = dict(zip(entities["id"], entities["size"], strict=True))
    for entity in lineage.entities.values():
        assert (sizes[entity.id] is np.ma.masked) is (entity.size is None)
        if entity.size is not None:
            assert int(sizes[entity.id]) == entity.size


def test_numbers_are_numbers_though_all_are_unknown_in_part(story: Story) -> None:
    story.records = [replace(record, job=JobIds()) for record in story.records]
    activities = tables_of(story.lineage)["Activity"]
    assert set(activities["run"]) == {1873, 1874}
    assert all(not value or value is np.ma.masked for value in activities["job"])
    assert all(not value or value is np.ma.masked for value in activities["task"])


def test_sub_run_zero_is_not_unknown(lineage: Lineage) -> None:
    activities = tables_of(lineage)["Activity"]
    subruns = dict(zip(activities["id"], activities["subrun"], strict=True))
    expected = {record.id: record.subrun for record in lineage.tries.values()}
    assert {k: None if v is np.ma.masked else int(v) for k, v in subruns.items()} == expected


def test_large_numbers_and_times(story: Story) -> None:
    big = replace(file("/work/big.h5"), size=5 * 10**12)
    story.add("datacheck", (), (big,))
    entities = tables_of(story.lineage)["Entity"]
    assert max(int(size) for size in entities["size"] if size is not np.ma.masked) == 5 * 10**12
    made = [text for text in entities["generatedAtTime"] if text]
    times = [datetime.fromisoformat(text) for text in made]
    assert {when.tzinfo for when in times} == {UTC}
    invalidated = [text for text in entities["invalidatedAtTime"] if text]
    assert len(invalidated) == 3  # DL1, muons and DL2 that were made again


def with_name(name: str) -> Lineage:
    story = Story()
    story.add("r0_to_dl1", (), (file(f"/work/{name}", DatasetKind.DL1, "content"),))
    return story.lineage


def test_hostile_names() -> None:
    lineage = with_name(HOSTILE)
    entities = json.loads(export_lineage(lineage, "json", HOSTILE))["entity"].values()
    assert HOSTILE in {entity.get("voprov:name") for entity in entities}
    assert HOSTILE in set(tables_of(lineage, HOSTILE)["Entity"]["name"])
    assert export_lineage(lineage, "provn", HOSTILE).startswith(b"document")
    if shutil.which("dot"):
        assert export_lineage(lineage, "pdf", HOSTILE).startswith(b"%PDF")


@pytest.mark.parametrize("name", ["escape \x1b[31m", "line\nend", "\x01\ufffe"])
@pytest.mark.parametrize("form", ["json", "provn", "votable", "pdf"])
def test_characters_that_no_text_should_have(form: str, name: str) -> None:
    """Linux takes them in names of files: they may be shown otherwise, but break nothing."""
    if form == "pdf" and shutil.which("dot") is None:
        pytest.skip("Graphviz is not installed")
    lineage = with_name(name)
    data = export_lineage(lineage, form, name)
    if form == "votable":
        assert len(tables_of(lineage)["Entity"]) == 2
    elif form == "json":
        assert name in {entity.get("voprov:name") for entity in json.loads(data)["entity"].values()}
    else:
        assert data
