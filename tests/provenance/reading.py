"""Documents read back, and a story with all that they tell."""

from __future__ import annotations

from prov.model import ProvActivity, ProvDocument, ProvElement

from osa.provenance.document import VOPROV, activity_id
from osa.records.model import TryRecord
from tests.provenance.stories import FAILED, UNFINISHED, dl1, dl2, move, to_dl1, to_dl2, whole_run

STORY = [
    *whole_run(2),
    to_dl1(30, 0, **FAILED),
    to_dl1(31, 0, content="again", parameters={"flatfield-heuristic": "yes", "empty": ""}),
    to_dl1(32, 1, **UNFINISHED),
    to_dl2(210, 0, content="again", read=dl1(0, "again")),
    move(300, dl1(0, "again"), dl1(1), dl2(0, "again"), dl2(1)),
]


def records(document: ProvDocument, kind: type) -> list:
    return [record for record in document.get_records() if type(record) is kind]


def of_type(document: ProvDocument, name: str) -> list[ProvElement]:
    return [e for e in document.get_records(ProvElement) if VOPROV[name] in e.get_asserted_types()]


def value(element, name):
    """Give an attribute, which is there at most once."""
    found = element.get_attribute(name)
    assert len(found) <= 1, (element, name)
    return next(iter(found), None)


def ends(relation) -> tuple:
    return tuple(end for _, end in relation.formal_attributes[:2])


def element(document, identifier) -> ProvElement:
    (found,) = document.get_record(identifier)
    return found


def activity(document: ProvDocument, record: TryRecord) -> ProvActivity:
    return element(document, activity_id(record))
