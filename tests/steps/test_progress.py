from __future__ import annotations

from datetime import UTC, datetime
from itertools import permutations, product

import pytest

from osa.config import ProductionSettings
from osa.layout import PRODUCT_KINDS
from osa.steps import (
    charge_calibration,
    datacheck,
    dl1_to_dl2,
    drs4_pedestal,
    r0_to_dl1,
    time_calibration,
)
from osa.steps.history import HistoryRecord
from osa.steps.progress import CALIBRATION_STEPS, DATA_STEPS, production_of, steps_done

PRODUCTION = ProductionSettings("run", "one", "two", "cal")
PROGRAMS = {
    "drs4": (drs4_pedestal.PROGRAM, "cal"),
    "time": (time_calibration.PROGRAM, "cal"),
    "reference": (time_calibration.REFERENCE_PROGRAM, "cal"),
    "charge": (charge_calibration.PROGRAM, "cal"),
    "dl1": (r0_to_dl1.PROGRAM, "one"),
    "check": (datacheck.PROGRAM, "one"),
    "dl2": (dl1_to_dl2.PROGRAM, "two"),
}


def history(text, prod_id=None):
    """Make records of words such as ``dl1 check:1``: name, and the return code where not 0."""
    records = []
    for word in text.split():
        name, _, code = word.partition(":")
        program, production = PROGRAMS[name]
        records.append(
            HistoryRecord.now(
                1874,
                3,
                program=program,
                prod_id=prod_id or production,
                input="input",
                card="card",
                return_code=int(code or 0),
                clock=datetime(2020, 1, 27, tzinfo=UTC),
            )
        )
    return records


def done(outlines, records, missing=()):
    return set(steps_done(outlines, records, PRODUCTION, lambda step: step.name not in missing))


def data(text, **kwargs):
    return done(DATA_STEPS, history(text), **kwargs)


def calibration(text, **kwargs):
    return done(CALIBRATION_STEPS, history(text), **kwargs)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", set()),
        ("dl1", {"r0_to_dl1"}),
        ("dl1 check", {"r0_to_dl1", "datacheck"}),
        ("dl1 dl2", {"r0_to_dl1", "dl1_to_dl2"}),
        ("dl1 check dl2", {"r0_to_dl1", "datacheck", "dl1_to_dl2"}),
        ("dl1 dl2 check", {"r0_to_dl1", "datacheck", "dl1_to_dl2"}),
        ("dl1:1", set()),
        ("dl1:1 dl1", {"r0_to_dl1"}),
        ("dl1 dl1:1", set()),
        ("dl1 check:1 dl2", {"r0_to_dl1", "dl1_to_dl2"}),
        ("dl1 check:1 check dl2:-9", {"r0_to_dl1", "datacheck"}),
        ("check dl2", set()),
        ("dl2 check dl1", {"r0_to_dl1"}),
    ],
)
def test_what_is_done_of_a_subrun(text, expected):
    assert data(text) == expected


def test_what_was_made_of_an_older_dl1_is_made_again():
    assert data("dl1 check dl2 dl1") == {"r0_to_dl1"}
    assert data("dl1 check dl2 dl1 dl2") == {"r0_to_dl1", "dl1_to_dl2"}
    assert data("dl1 check dl2 dl1:1 dl1 check") == {"r0_to_dl1", "datacheck"}


def test_a_failed_step_takes_what_needs_it_along():
    assert data("dl1 check dl2 dl1:1") == set()


@pytest.mark.parametrize("order", list(permutations(["dl1", "check", "dl2"])))
@pytest.mark.parametrize("codes", list(product([0, 1], repeat=3)))
def test_any_order_and_outcome(order, codes):
    words = [f"{name}:{code}" for name, code in zip(order, codes, strict=True)]
    code = dict(zip(order, codes, strict=True))
    expected = set()
    if code["dl1"] == 0:
        expected.add("r0_to_dl1")
        for name, step in (("check", "datacheck"), ("dl2", "dl1_to_dl2")):
            if code[name] == 0 and order.index(name) > order.index("dl1"):
                expected.add(step)
    assert data(" ".join(words)) == expected


def test_a_line_counts_for_its_production_only():
    assert done(DATA_STEPS, history("dl1 check dl2", prod_id="one")) == {"r0_to_dl1", "datacheck"}
    assert done(DATA_STEPS, history("dl1 check dl2", prod_id="two")) == set()
    records = [*history("dl1 check"), *history("dl2", prod_id="older")]
    assert done(DATA_STEPS, records) == {"r0_to_dl1", "datacheck"}


def test_the_same_history_counts_anew_for_another_production():
    records = history("dl1 check dl2")
    assert len(done(DATA_STEPS, records)) == 3
    other = ProductionSettings("run", "another", "two", "cal")
    assert steps_done(DATA_STEPS, records, other, lambda step: True) == set()
    assert len(done(DATA_STEPS, records)) == 3


def test_products_are_looked_at_every_time():
    for missing in ((), {"datacheck"}, ()):
        assert done(DATA_STEPS, history("dl1 check"), missing) == {"r0_to_dl1", "datacheck"} - set(missing)


def test_a_failure_in_another_production_does_not_count():
    records = [*history("dl1 dl2"), *history("dl2:1", prod_id="other")]
    assert done(DATA_STEPS, records) == {"r0_to_dl1", "dl1_to_dl2"}


def test_a_step_without_its_product_is_not_done_nor_is_what_needs_it():
    assert data("dl1 check dl2", missing={"r0_to_dl1"}) == set()
    assert data("dl1 check dl2", missing={"datacheck"}) == {"r0_to_dl1", "dl1_to_dl2"}


def test_products_are_looked_at_only_where_the_history_tells_success():
    asked = []
    steps_done(DATA_STEPS, history("dl1 check:1"), PRODUCTION, lambda step: asked.append(step.name) or True)
    assert asked == ["r0_to_dl1"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("drs4 time charge", {"drs4_pedestal", "time_calibration", "charge_calibration"}),
        ("drs4 time:1 reference charge", {"drs4_pedestal", "time_calibration", "charge_calibration"}),
        ("drs4 reference", {"drs4_pedestal", "time_calibration"}),
        ("drs4 reference time:1", {"drs4_pedestal"}),
        ("drs4 time reference:1", {"drs4_pedestal"}),
        ("drs4 time charge reference", {"drs4_pedestal", "time_calibration"}),
        ("drs4 charge time", {"drs4_pedestal", "time_calibration"}),
        ("drs4 time charge drs4", {"drs4_pedestal"}),
        ("time charge", set()),
        ("dl1 check dl2", set()),
    ],
)
def test_what_is_done_of_a_calibration(text, expected):
    assert calibration(text) == expected


def test_the_productions_of_the_steps():
    names = [step.name for step in (*CALIBRATION_STEPS, *DATA_STEPS)]
    assert [production_of(name, PRODUCTION) for name in names] == ["cal", "cal", "cal", "one", "one", "two"]


def test_the_steps_give_every_product_of_the_table():
    given = [kind for step in DATA_STEPS for kind in step.products]
    assert sorted(kind.name for kind in given) == sorted(kind.name for kind in PRODUCT_KINDS)


@pytest.mark.parametrize("outlines", [CALIBRATION_STEPS, DATA_STEPS])
def test_no_step_needs_a_later_one(outlines):
    known = set()
    for outline in outlines:
        assert set(outline.needs) <= known
        known.add(outline.name)
