"""A lineage as a document: all that it tells is there, once, and comes back as it was."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prov.constants import PROV
from prov.model import (
    ProvActivity,
    ProvAgent,
    ProvCommunication,
    ProvDerivation,
    ProvDocument,
    ProvGeneration,
    ProvInfluence,
    ProvUsage,
)

from osa.model.dataset import DatasetKind as Kind
from osa.provenance.checks import check_document, check_round_trip
from osa.provenance.document import OSA, VOPROV, activity_id, entity_id, make_document
from osa.provenance.lineage import build_lineage
from osa.records.lines import begin_line, end_line, parse_records
from osa.records.model import ConfigFile, Software
from tests.provenance.reading import STORY, activity, element, ends, of_type, records, value
from tests.provenance.stories import (
    FAILED,
    UNFINISHED,
    digest,
    dl1,
    dl2,
    file,
    named,
    to_dl1,
    to_dl2,
)
from tests.records.made_up import digests, tries


@pytest.fixture(scope="module")
def lineage():
    return build_lineage(STORY)


@pytest.fixture(scope="module")
def document(lineage):
    return make_document(lineage)


# ------------------------------------------------------------------------------- round trip


def test_it_comes_back_as_it_was(document):
    text = document.serialize(None, format="json")
    json.loads(text)
    assert ProvDocument.deserialize(content=text, format="json") == document
    assert check_round_trip(document, text) == []
    assert check_document(document) == []


def test_it_can_be_written_as_prov_n(document):
    text = document.serialize(None, format="provn")
    assert text.startswith("document") and text.rstrip().endswith("endDocument")
    assert text.count("activity(osa:") == len(STORY)


def test_nothing_is_a_document_too():
    document = make_document(build_lineage([]))
    assert check_round_trip(document, document.serialize(None, format="json")) == []
    assert len(records(document, ProvAgent)) == 1


def test_the_same_records_give_the_same_document(lineage, document):
    again = make_document(build_lineage(reversed(STORY)))
    assert again.serialize(None, format="json") == document.serialize(None, format="json")


ODD = [
    'a "b"',
    "back\\slash",
    "naïve 漢字 🙂",
    "new\nline",
    "tab\t",
    "<b>&amp;",
    "'",
    "%s {0}",
    "a:b",
    "\x7f",
]


@pytest.mark.parametrize("text", ODD)
def test_odd_names_and_values_come_back(text):
    read = file(Kind.DRIVE_LOG, f"log {text}", "", folder=f"/odd {text}")
    record = replace(
        to_dl1(10),
        reason=text,
        parameters={text: text, "x": ""},
        configuration=(ConfigFile(f"R0 to DL1 {text}", f"/cfg/{text}.json", digest(text)),),
        host=text,
        user=text,
        program=text,
        inputs=(read,),
    )
    document = make_document(build_lineage([record]))
    written = document.serialize(None, format="json")
    assert check_round_trip(document, written) == []
    assert check_document(document) == []
    back = ProvDocument.deserialize(content=written, format="json")
    made = activity(back, record)
    assert [value(made, OSA[name]) for name in ("reason", "host", "user", "program")] == [text] * 4
    parameters = {value(e, VOPROV["name"]): value(e, VOPROV["value"]) for e in of_type(back, "Parameter")}
    assert parameters == {text: text, "x": ""}
    (log,) = [e for e in of_type(back, "DatasetEntity") if value(e, OSA["kind"]) == "drive log"]
    assert value(log, VOPROV["name"]) == f"log {text}"
    assert value(log, PROV["location"]) == f"/odd {text}/log {text}"


@pytest.mark.parametrize("text", ODD)
def test_odd_versions_and_steps_make_identifiers_that_can_be_written(text):
    """What PROV-N cannot write, prov warns of, and is to refuse."""
    software = Software({f"lstchain{text}": f"0.12.3+{text}"}, digest("software"))
    record = replace(to_dl1(10), step=f"step{text}", package=f"lstchain{text}", software=software)
    document = make_document(build_lineage([record]))
    assert check_round_trip(document, document.serialize(None, format="json")) == []
    assert (OSA["version"], f"0.12.3+{text}") in {
        pair for agent in records(document, ProvAgent) for pair in agent.attributes
    }


plain = st.builds(
    replace,
    tries,
    step=st.sampled_from(["r0_to_dl1", "dl1_to_dl2", "datacheck", "move", "new_step"]),
    package=st.sampled_from(["lstchain", "lst-osa"]),
    software=st.builds(
        Software,
        st.dictionaries(st.sampled_from(["lstchain", "lst-osa"]), st.sampled_from(["0.12.3", "1.dev2+g5a"])),
        digests,
    ),
)


@given(st.lists(plain, max_size=3, unique_by=lambda record: record.id))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_was_recorded_comes_back(records):
    lines = [line for record in records for line in (begin_line(record), end_line(record))]
    document = make_document(build_lineage(parse_records(lines)))
    text = document.serialize(None, format="json")
    assert check_round_trip(document, text) == []
    text.encode()  # it can be written to a file


# ------------------------------------------------------------------------------- activities


def test_every_try_is_an_activity(document):
    made = {value(e, PROV["type"]): e for e in records(document, ProvActivity)}
    assert set(made) == {VOPROV["Activity"]}
    assert {e.identifier for e in records(document, ProvActivity)} == {activity_id(r) for r in STORY}
    statuses = Counter(value(e, OSA["status"]) for e in records(document, ProvActivity))
    assert statuses == {"done": len(STORY) - 2, "failed": 1, "unfinished": 1}


def test_what_is_told_of_a_try(document):
    record = to_dl1(10)
    made = activity(document, record)
    assert (made.get_startTime(), made.get_endTime()) == (record.started, record.ended)
    told = {
        "step": "r0_to_dl1",
        "program": record.program,
        "telescope": "LST1",
        "night": "2020-01-27",
        "run": 1874,
        "subrun": 0,
        "prodId": "v0.1.0",
        "status": "done",
        "exitCode": 0,
        "host": "node",
        "user": "lstanalyzer",
        "job": "17",
        "arrayTask": 0,
        "restart": 0,
        "wallTime": 50.0,
        "cpuTime": 49.5,
        "peakMemory": 800.0,
    }
    assert {name: value(made, OSA[name]) for name in told} == told
    assert value(made, OSA["reason"]) is None
    assert value(made, VOPROV["name"]) == "R0 to DL1"


def test_a_failed_try_says_why(document):
    made = activity(document, to_dl1(30, 0, **FAILED))
    assert (value(made, OSA["exitCode"]), value(made, OSA["reason"])) == (-9, "ended with signal 9")
    assert made.get_endTime() is not None
    assert [r for r in records(document, ProvGeneration) if ends(r)[1] == made.identifier] == []
    assert len([r for r in records(document, ProvUsage) if ends(r)[0] == made.identifier]) == 7


def test_an_unfinished_try_has_no_end(document):
    made = activity(document, to_dl1(32, 1, **UNFINISHED))
    assert made.get_endTime() is None
    assert value(made, OSA["exitCode"]) is None


def test_times_are_in_utc():
    east = timezone(timedelta(hours=9))
    record = to_dl1(10)
    local = replace(record, started=record.started.astimezone(east), ended=record.ended.astimezone(east))
    read = parse_records([begin_line(local), end_line(local)])
    text = make_document(build_lineage(read)).serialize(None, format="json")
    found = re.findall(r'"(\d{4}-\d\d-\d\dT[^"]*)"', text)
    assert found
    assert all(datetime.fromisoformat(each).utcoffset() == timedelta() for each in found), found


def test_every_activity_is_described(document):
    described = {
        start: element(document, end)
        for start, end in (
            ends(r)
            for r in records(document, ProvInfluence)
            if VOPROV["DescriptionRelation"] in r.get_asserted_types()
        )
        if VOPROV["ActivityDescription"] in element(document, end).get_asserted_types()
    }
    types = {value(activity(document, r), OSA["step"]): described[activity_id(r)] for r in STORY}
    assert {step: value(e, VOPROV["type"]) for step, e in types.items()} == {
        "drs4_pedestal": "Calibration",
        "time_calibration": "Calibration",
        "charge_calibration": "Calibration",
        "r0_to_dl1": "Reduction",
        "datacheck": "Analysis",
        "dl1_to_dl2": "Reconstruction",
        "move": "Other",
    }
    for step, each in types.items():
        assert value(each, VOPROV["version"]) == ("0.1.0" if step == "move" else "0.12.3")
        assert value(each, VOPROV["name"]) and value(each, VOPROV["description"])
        assert str(value(each, VOPROV["docurl"])).startswith("https://")


def test_another_version_is_another_description_and_agent():
    newer = to_dl1(20, software=Software({"lstchain": "0.12.4"}, digest("newer")))
    document = make_document(build_lineage([to_dl1(10), newer]))
    versions = [value(e, VOPROV["version"]) for e in of_type(document, "ActivityDescription")]
    assert sorted(versions) == ["0.12.3", "0.12.4"]
    agents = {value(e, OSA["version"]) for e in records(document, ProvAgent)} - {None}
    assert agents == {"0.12.3", "0.12.4"}
    assert len(of_type(document, "ValueEntity")) == 2


# ---------------------------------------------------------------------------- used and made


def test_an_entity_has_at_most_one_maker(document, lineage):
    makers = Counter(ends(r)[0] for r in records(document, ProvGeneration))
    assert set(makers.values()) == {1}
    assert set(makers) == {entity_id(e) for e in lineage.entities.values() if e.made_by}
    used = {ends(r) for r in records(document, ProvUsage)}
    assert not {(maker, made) for made, maker in map(ends, records(document, ProvGeneration))} & used


def test_uses_and_generations_have_time_and_role(document):
    for relation in records(document, ProvUsage):
        by, _ = ends(relation)
        when = dict(relation.formal_attributes)[PROV["time"]]
        start, end = element(document, by).get_startTime(), element(document, by).get_endTime()
        assert start <= when and (end is None or when <= end)
        assert value(relation, PROV["role"])
    for relation in records(document, ProvGeneration):
        _, by = ends(relation)
        assert dict(relation.formal_attributes)[PROV["time"]] == element(document, by).get_endTime()
        assert value(relation, PROV["role"])


def test_roles_are_described(document):
    for kind, name in ((ProvUsage, "UsageDescription"), (ProvGeneration, "GenerationDescription")):
        for relation in records(document, kind):
            described = element(document, value(relation, OSA["isDescribedBy"]))
            assert VOPROV[name] in described.get_asserted_types()
            assert value(described, PROV["role"]) == value(relation, PROV["role"])
            of = element(document, value(described, VOPROV["activityDescription"]))
            assert VOPROV["ActivityDescription"] in of.get_asserted_types()


def test_derivation_and_information_follow(document, lineage):
    (made,) = named(lineage, dl2(1).name)
    (read,) = named(lineage, dl1(1).name)
    derived = {
        (ends(r), dict(r.formal_attributes)[PROV["activity"]]) for r in records(document, ProvDerivation)
    }
    maker = activity_id(to_dl2(201, 1))
    assert ((entity_id(made), entity_id(read)), maker) in derived
    informed = Counter(ends(r) for r in records(document, ProvCommunication))
    assert informed[(maker, activity_id(to_dl1(12, 1)))] == 1
    assert set(informed.values()) == {1}
    assert len(informed) == 23
