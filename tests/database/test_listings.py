"""Products and tries by run, night, version and configuration."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection

from osa.database.ingest import ingest_lineage
from osa.database.listings import (
    NightCounts,
    Product,
    entities_to_verify,
    find_by_configuration,
    find_by_night,
    find_by_run,
    find_by_version,
    nights_in_index,
    tries_of,
)
from osa.errors import InputError
from osa.records.model import ConfigFile, Status
from tests.database.made_up import (
    CONFIG,
    LATER,
    NIGHT,
    PROD,
    VERSIONS,
    Story,
    calibrate,
    file,
    observe,
    raw,
    sha,
)


@pytest.fixture(autouse=True)
def nights(connection: Connection) -> dict[str, Story]:
    """Two nights; of the later a sub-run was done twice and another failed."""
    made = {}
    for night in (NIGHT, LATER):
        story = made[night] = Story(night)
        charge = calibrate(story, night)
        observe(story, charge)
    observe(story, charge, content="again")
    story.add("r0_to_dl1", (raw(1874, 1, LATER), charge), subrun=1, status=Status.FAILED)
    for story in made.values():
        ingest_lineage(connection, story.lineage, PROD)
    return made


def told(products: list[Product]) -> list[tuple[str, str]]:
    return [(product.entity.name, product.step) for product in products]


PRODUCTS = [
    ("dl1_LST-1.Run01874.0000.h5", "r0_to_dl1"),
    ("muons_LST-1.Run01874.0000.fits", "r0_to_dl1"),
    ("dl2_LST-1.Run01874.0000.h5", "dl1_to_dl2"),
]
CALIBRATION = [
    ("drs4_pedestal.Run01872.0000.h5", "drs4_pedestal"),
    ("calibration.Run01873.0000.h5", "charge_calibration"),
]


def test_products_of_a_run_are_those_that_count(connection: Connection) -> None:
    assert told(find_by_run(connection, 1874, night=LATER)) == PRODUCTS
    assert sorted(told(find_by_run(connection, 1874))) == sorted(PRODUCTS * 2)
    assert told(find_by_run(connection, 1874, 1)) == []
    assert told(find_by_run(connection, 1874, 0, LATER, limit=2)) == PRODUCTS[:2]
    assert all(product.entity.replaced_at is None for product in find_by_run(connection, 1874))


def test_products_of_a_night(connection: Connection) -> None:
    assert sorted(told(find_by_night(connection, NIGHT, "LST1"))) == sorted(CALIBRATION + PRODUCTS)
    assert find_by_night(connection, NIGHT, "LST2") == []
    assert len(find_by_night(connection, LATER, "LST1", limit=None)) == 5


def test_products_of_a_version(connection: Connection) -> None:
    story = Story("2020-01-29")
    versions = {**VERSIONS, "numpy": "2.2.6"}
    story.add("dl1_to_dl2", (), (file("/new.h5"),), versions=versions)
    ingest_lineage(connection, story.lineage, PROD)
    assert told(find_by_version(connection, "numpy", "2.2.6")) == [("new.h5", "dl1_to_dl2")]
    assert len(find_by_version(connection, "lstchain", "0.12.3")) == 11
    assert told(find_by_version(connection, "lstchain", "0.12.3", limit=1)) == [("new.h5", "dl1_to_dl2")]
    assert find_by_version(connection, "lstchain", "0.12.%") == []


def test_products_of_a_configuration(connection: Connection) -> None:
    other = ConfigFile("dl2", "/cfg/other.json", sha("other"), None)
    story = Story("2020-01-29")
    story.add("dl1_to_dl2", (), (file("/new.h5"),), configuration=(other,))
    ingest_lineage(connection, story.lineage, PROD)
    assert other.sha256 is not None and CONFIG.sha256 is not None
    for text in ("other.json", other.sha256, other.sha256[:8]):
        assert told(find_by_configuration(connection, text)) == [("new.h5", "dl1_to_dl2")], text
    for text in ("standard.json", CONFIG.sha256[:10]):
        assert len(find_by_configuration(connection, text)) == 10, text
    assert find_by_configuration(connection, "reg_energy.sav") == []
    assert find_by_configuration(connection, sha("forest")) == []
    assert find_by_configuration(connection, "%") == []


def test_the_beginning_of_several_configurations_is_refused(connection: Connection) -> None:
    story = Story("2020-01-29")
    for number in (1, 2):
        config = ConfigFile("dl2", f"/cfg/{number}.json", "abcdef01" + str(number) * 56)
        story.add("dl1_to_dl2", (), (file(f"/{number}.h5"),), configuration=(config,))
    ingest_lineage(connection, story.lineage, PROD)
    with pytest.raises(InputError, match="beginning of 2 hashes"):
        find_by_configuration(connection, "abcdef01")
    assert len(find_by_configuration(connection, "abcdef012")) == 1


def test_tries_of_a_subrun_come_by_time_with_what_they_made(connection: Connection) -> None:
    attempts = tries_of(connection, 1874, night=LATER)
    assert [(attempt.record.step, attempt.record.subrun) for attempt in attempts] == [
        *[("r0_to_dl1", 0), ("dl1_to_dl2", 0)] * 2,
        ("r0_to_dl1", 1),
    ]
    assert [len(attempt.made) for attempt in attempts] == [2, 1, 2, 1, 0]
    assert attempts[-1].record.status is Status.FAILED and "it's" in attempts[-1].record.reason
    assert attempts[0].made[0].replaced_at is not None and attempts[2].made[0].replaced_at is None
    assert [a.record.subrun for a in tries_of(connection, 1874, 1)] == [1]
    assert len(tries_of(connection, 1874)) == 7 and tries_of(connection, 1) == []


def test_files_to_verify_are_those_that_should_be_there(connection: Connection) -> None:
    every = list(entities_to_verify(connection))
    assert len(every) == 10 and all(e.replaced_at is None and e.made_by for e in every)
    assert len(list(entities_to_verify(connection, night=NIGHT))) == 5
    assert len(list(entities_to_verify(connection, run=1874))) == 6
    assert len(list(entities_to_verify(connection, run=1874, subrun=1))) == 0
    assert len(list(entities_to_verify(connection, telescope="LST2"))) == 0
    with_inputs = list(entities_to_verify(connection, night=LATER, run=1874, inputs=True))
    assert {e.name for e in with_inputs if e.made_by is None} == {
        "LST-1.1.Run01874.0000.fits.fz",
        "LST-1.1.Run01874.0001.fits.fz",
        "standard.json",
        "reg_energy.sav",
    }
    assert len(list(entities_to_verify(connection, inputs=True))) == 10 + 2 + 3 + 4


def test_many_files_to_verify_come_in_pieces(connection: Connection) -> None:
    story = Story("2020-01-29")
    story.add("step", (), tuple(file(f"/{number}.h5") for number in range(1201)))
    ingest_lineage(connection, story.lineage, PROD)
    names = [entity.name for entity in entities_to_verify(connection)]
    assert len(names) == 10 + 1201 and {f"{number}.h5" for number in range(1201)} <= set(names)
    assert len(list(entities_to_verify(connection, night="2020-01-29"))) == 1201


def test_nights_are_counted_the_latest_first(connection: Connection) -> None:
    assert nights_in_index(connection) == [
        NightCounts("LST1", LATER, PROD, runs=2, tries=7, products=5),
        NightCounts("LST1", NIGHT, PROD, runs=2, tries=4, products=5),
    ]
    assert [night.night for night in nights_in_index(connection, limit=1)] == [LATER]
