"""Products that were set aside, and made again: what counts is what is there now."""

from __future__ import annotations

from dataclasses import replace

from osa.layout import DocumentPart
from osa.provenance.checks import check_document
from osa.provenance.document import make_document
from osa.provenance.lineage import build_lineage
from osa.provenance.publish import part_lineage
from osa.records.model import ASIDE, REFERENCE_ROLE
from tests.provenance.stories import (
    TIMES,
    attempt,
    dl1,
    move,
    moved,
    named,
    read_by,
    to_dl1,
    to_dl2,
    whole_run,
)


def aside(number, item):
    """Record that a product was set aside."""
    return attempt(
        number,
        "move",
        None,
        (),
        [moved(replace(item, path=f"/final/{item.name}"), "/aside")],
        parameters=ASIDE,
    )


def test_what_was_set_aside_is_not_there_any_more():
    made, gone = to_dl1(10), aside(30, dl1())
    gone = replace(gone, outputs=(replace(gone.outputs[0], source=f"/final/{dl1().name}"),))
    lineage = build_lineage([made, move(20, *made.outputs), gone])
    (entity,) = named(lineage, dl1().name)
    assert entity.location == f"/aside/{dl1().name}"
    assert entity.replaced_at == gone.ended


def test_what_was_set_aside_is_made_again_as_another():
    first, second = to_dl1(10, content="torn"), to_dl1(40, content="whole")
    lineage = build_lineage([first, aside(30, replace(first.outputs[1], path="/work/x")), second])
    old, new = named(lineage, dl1().name)
    assert old.replaced_at is not None and new.replaced_at is None


def test_a_try_without_inputs_is_forgiven_when_it_was_made_again():
    records = whole_run(1)
    lame = next(i for i, record in enumerate(records) if record.step == "r0_to_dl1")
    bad = replace(records[lame], inputs=(), configuration=())
    for part in (DocumentPart.CALIBRATION_TO_DL1, DocumentPart.CALIBRATION_TO_DL2):
        alone = [*records[:lame], bad, *records[lame + 1 :]]
        assert faults(alone, part)
        again = [*alone, to_dl1(300, content="again"), to_dl2(310, read=dl1(content="again"), content="b")]
        assert faults(again, part) == []


def faults(records, part):
    return check_document(make_document(part_lineage(build_lineage(records), 1874, part)), part)


def test_a_copy_is_not_where_its_reference_comes_from():
    reference = replace(TIMES, role=REFERENCE_ROLE, path="/references/times.h5")
    copied = [attempt(number, "time_calibration", None, [reference], [TIMES]) for number in (1, 5)]
    lineage = build_lineage(copied)
    for record in copied:
        (read,) = read_by(lineage, record)
        assert (read.name, read.made_by) == ("times.h5", None)
