"""What a document tells of files, of configurations and of collections."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import pytest
from prov.constants import PROV
from prov.model import (
    ProvAssociation,
    ProvAttribution,
    ProvEntity,
    ProvInfluence,
    ProvMembership,
    ProvUsage,
)

from osa.provenance.checks import check_document
from osa.provenance.document import OSA, VOPROV, activity_id, entity_id, make_document
from osa.provenance.lineage import build_lineage
from tests.provenance.reading import STORY, element, ends, of_type, records, value
from tests.provenance.stories import (
    CALIBRATED_BY,
    DRIVE_LOG,
    attempt,
    config,
    digest,
    dl1,
    dl2,
    move,
    named,
    to_dl1,
    to_dl2,
)


@pytest.fixture(scope="module")
def lineage():
    return build_lineage(STORY)


@pytest.fixture(scope="module")
def document(lineage):
    return make_document(lineage)


# ------------------------------------------------------------------------------------ files


def test_what_is_told_of_a_file(document, lineage):
    first, again = named(lineage, dl1(0).name)
    told = element(document, entity_id(again))
    assert value(told, PROV["type"]) == VOPROV["DatasetEntity"]
    assert value(told, VOPROV["name"]) == dl1(0).name
    assert value(told, PROV["location"]) == f"/final/{dl1(0).name}"
    assert value(told, VOPROV["generatedAtTime"]) == again.made_at.isoformat()
    assert value(told, VOPROV["invalidatedAtTime"]) is None
    assert value(told, OSA["sha256"]) == digest("again")
    assert (value(told, OSA["size"]), value(told, OSA["modified"])) == (5, 10**18)
    assert (value(told, OSA["run"]), value(told, OSA["subrun"])) == (1874, 0)
    assert value(element(document, entity_id(first)), VOPROV["invalidatedAtTime"]) is not None


def test_an_empty_file_has_a_size(document):
    (log,) = [e for e in of_type(document, "DatasetEntity") if value(e, VOPROV["name"]) == DRIVE_LOG.name]
    assert value(log, OSA["size"]) == 0


def test_every_file_is_described_with_its_type_of_content(document):
    descriptions = {e.identifier: e for e in of_type(document, "DatasetDescription")}
    described = dict(ends(r) for r in records(document, ProvInfluence) if ends(r)[1] in descriptions)
    assert set(described) == {e.identifier for e in of_type(document, "DatasetEntity")}
    content = {
        value(element(document, start), OSA["kind"]): value(descriptions[end], VOPROV["contentType"])
        for start, end in described.items()
    }
    assert content["DL1"] == "application/x-hdf5"
    assert content["muons"] == content["R0"] == "application/fits"
    assert content["drive log"] == "text/plain"


def test_no_identifier_holds_a_path_or_a_name(document):
    names = {item.name for item in (*CALIBRATED_BY, dl1(0), dl2(0))}
    for record in document.get_records():
        if record.identifier is not None:
            text = record.identifier.localpart
            assert re.fullmatch(r"[A-Za-z0-9._-]+", text), text
            assert not any(name in text for name in names)


def test_identifiers_do_not_depend_on_places():
    moved = [replace(r, inputs=tuple(replace(i, path=f"/else{i.path}") for i in r.inputs)) for r in STORY]
    one, two = (make_document(build_lineage(each)) for each in (STORY[:9], moved[:9]))
    assert {r.identifier for r in one.get_records()} == {r.identifier for r in two.get_records()}


def test_products_are_by_the_collaboration_and_work_is_done_by_software(document, lineage):
    creators = {ends(r)[1] for r in records(document, ProvAttribution)}
    assert creators == {OSA["CTAO-LST-collaboration"]}
    assert {value(r, PROV["role"]) for r in records(document, ProvAttribution)} == {"Creator"}
    attributed = {ends(r)[0] for r in records(document, ProvAttribution)}
    assert attributed == {entity_id(e) for e in lineage.entities.values() if e.made_by}
    operators = {ends(r)[0]: ends(r)[1] for r in records(document, ProvAssociation)}
    assert set(operators) == {activity_id(r) for r in STORY}
    assert {value(r, PROV["role"]) for r in records(document, ProvAssociation)} == {"Operator"}
    agent = element(document, operators[activity_id(to_dl1(10))])
    assert (value(agent, VOPROV["name"]), value(agent, OSA["version"])) == ("lstchain", "0.12.3")
    assert PROV["SoftwareAgent"] in agent.get_asserted_types()


def test_the_software_is_one_entity_that_all_used(document):
    (software,) = of_type(document, "ValueEntity")
    assert value(software, VOPROV["value"]) == "lst-osa 0.1.0, lstchain 0.12.3"
    assert value(software, OSA["archived"]) == f"{digest('all that is installed')}.software.txt"
    users = {ends(r)[0] for r in records(document, ProvUsage) if ends(r)[1] == software.identifier}
    assert users == {activity_id(record) for record in STORY}


# ----------------------------------------------------------------------------- configuration


def configured(document, record) -> list[tuple[str, str]]:
    relations = [
        r
        for r in records(document, ProvInfluence)
        if VOPROV["ConfigurationRelation"] in r.get_asserted_types() and ends(r)[0] == activity_id(record)
    ]
    return [
        (value(r, VOPROV["artefactType"]), value(element(document, ends(r)[1]), VOPROV["name"]))
        for r in relations
    ]


def test_a_try_is_configured_by_files_and_parameters(document):
    assert configured(document, to_dl1(31, 0, content="again")) == [
        ("Parameter", "flatfield-heuristic"),
        ("Parameter", "empty"),
        ("ConfigFile", "lstchain.json"),
    ]
    assert configured(document, move(300)) == []
    (empty,) = [e for e in of_type(document, "Parameter") if value(e, VOPROV["name"]) == "empty"]
    assert value(empty, VOPROV["value"]) == ""


def test_a_configuration_file_is_its_content(document):
    files = {value(e, OSA["sha256"]): e for e in of_type(document, "ConfigFile")}
    assert set(files) == {digest("{}"), digest("[]"), digest("of DL2")}
    told = files[digest("{}")]
    assert value(told, PROV["location"]) == "/cfg/lstchain.json"
    assert value(told, OSA["archived"]) == config().archived
    descriptions = of_type(document, "ConfigFileDescription")
    assert {value(e, VOPROV["name"]) for e in descriptions} == {
        "R0 to DL1",
        "DL1 to DL2",
        "charge calibration",
    }


def test_nothing_is_described_twice(document):
    described = Counter(
        ends(r)
        for r in records(document, ProvInfluence)
        if VOPROV["DescriptionRelation"] in r.get_asserted_types()
    )
    assert set(described.values()) == {1}


def test_equal_parameters_are_one():
    how = {"parameters": {"max-events": "100"}}
    document = make_document(build_lineage([to_dl1(10, **how), to_dl1(20, **how), to_dl2(30, **how)]))
    assert len(of_type(document, "Parameter")) == 2  # those of two steps are two


# ------------------------------------------------------------------------------- collections


def test_files_of_a_run_and_level_are_a_collection(document):
    members = Counter(ends(r)[0].localpart for r in records(document, ProvMembership))
    assert members == {
        "collection-R0-Run01872": 1,
        "collection-R0-Run01873": 1,
        "collection-R0-Run01874": 2,
        "collection-DL1-Run01874": 3,
        "collection-DL2-Run01874": 3,
        "collection-muons-Run01874": 3,
        "collection-data-check-Run01874": 2,
        "collection-random-forest": 4,
    }
    for each in records(document, ProvEntity):
        if PROV["Collection"] in each.get_asserted_types():
            assert value(each, OSA["members"]) == members.pop(each.identifier.localpart)
    assert not members
    assert len(set(map(ends, records(document, ProvMembership)))) == 19


def test_a_move_influences_the_collections_that_it_moved(document):
    by = activity_id(STORY[-1])
    moved = {ends(r)[0].localpart for r in records(document, ProvInfluence) if ends(r)[1] == by}
    assert moved == {"collection-DL1-Run01874", "collection-DL2-Run01874"}


def test_a_part_of_a_lineage_has_no_loose_ends(lineage):
    for step in {record.step for record in STORY}:
        part = make_document(lineage.restricted(lambda record, step=step: record.step == step))
        assert check_document(part) == []


def test_an_unknown_step_has_its_name_and_no_more():
    document = make_document(build_lineage([attempt(1, "some_new_step")]))
    (description,) = of_type(document, "ActivityDescription")
    assert value(description, VOPROV["name"]) == "some new step"
    assert value(description, VOPROV["type"]) == "Other"
    assert value(description, VOPROV["docurl"]) is None
