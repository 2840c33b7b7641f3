"""Backwards and forwards through the links, compared with the lineage itself."""

from __future__ import annotations

import random

import pytest
from sqlalchemy import Connection

from osa.database import walks
from osa.database.find import find_entity
from osa.database.ingest import ingest_lineage
from osa.database.walks import impact_of, impact_of_version, lineage_of, lineage_of_run
from osa.errors import InputError
from osa.provenance.lineage import Lineage
from osa.records.model import Status
from tests.database.made_up import LATER, PROD, VERSIONS, Story, calibrate, file, observe, raw


def names(lineage: Lineage) -> set[str]:
    return {entity.name for entity in lineage.entities.values()}


def steps(lineage: Lineage) -> list[str]:
    return [record.step for record in lineage.tries.values()]


def id_of(connection: Connection, name: str) -> str:
    return find_entity(connection, name)[0].id


@pytest.fixture
def story(connection: Connection) -> Story:
    """A calibration, two sub-runs, and a third of which DL1 failed."""
    story = Story()
    charge = calibrate(story)
    for subrun in (0, 1):
        observe(story, charge, subrun)
    story.add("r0_to_dl1", (raw(1874, 2), charge), subrun=2, status=Status.FAILED)
    story.add("r0_to_dl1", (raw(1874, 2), charge), subrun=2, status=Status.UNFINISHED)
    ingest_lineage(connection, story.lineage, PROD)
    return story


def test_the_lineage_of_a_file_has_its_makers_and_no_others(connection: Connection, story: Story) -> None:
    lineage = lineage_of(connection, [id_of(connection, "dl2_LST-1.Run01874.0000.h5")])
    assert steps(lineage) == ["drs4_pedestal", "charge_calibration", "r0_to_dl1", "dl1_to_dl2"]
    assert names(lineage) == {
        "LST-1.1.Run01872.0000.fits.fz",
        "LST-1.1.Run01873.0000.fits.fz",
        "LST-1.1.Run01874.0000.fits.fz",
        "drs4_pedestal.Run01872.0000.h5",
        "calibration.Run01873.0000.h5",
        "dl1_LST-1.Run01874.0000.h5",
        "dl2_LST-1.Run01874.0000.h5",
        "reg_energy.sav",
        "standard.json",
    }
    places = {key: place for place, key in enumerate(lineage.entities)}
    for use in lineage.uses:
        for made in lineage.made_by.get(use.try_id, ()):
            assert places[use.entity_id] < places[made.id]


@pytest.mark.parametrize(
    ("depth", "found"),
    [
        (0, []),
        (1, ["dl1_to_dl2"]),
        (2, ["r0_to_dl1", "dl1_to_dl2"]),
        (3, ["charge_calibration", "r0_to_dl1", "dl1_to_dl2"]),
        (9, ["drs4_pedestal", "charge_calibration", "r0_to_dl1", "dl1_to_dl2"]),
    ],
)
def test_the_lineage_ends_where_it_is_told(
    connection: Connection, story: Story, depth: int, found: list[str]
) -> None:
    lineage = lineage_of(connection, [id_of(connection, "dl2_LST-1.Run01874.0000.h5")], depth)
    assert steps(lineage) == found
    assert len(lineage.entities) == {0: 1, 1: 4, 2: 6, 3: 8, 9: 9}[depth]


def test_the_impact_of_a_calibration_has_failed_tries_too(connection: Connection, story: Story) -> None:
    lineage = impact_of(connection, [id_of(connection, "calibration.Run01873.0000.h5")])
    assert steps(lineage) == ["r0_to_dl1", "dl1_to_dl2"] * 2 + ["r0_to_dl1"] * 2
    assert [record.status for record in lineage.tries.values()][-2:] == [Status.FAILED, Status.UNFINISHED]
    assert names(lineage) == {
        "calibration.Run01873.0000.h5",
        *(f"{kind}_LST-1.Run01874.000{n}.h5" for kind in ("dl1", "dl2") for n in (0, 1)),
        *(f"muons_LST-1.Run01874.000{n}.fits" for n in (0, 1)),
    }
    assert all(record.configuration for record in lineage.tries.values())


@pytest.mark.parametrize(("depth", "n_tries", "n_files"), [(0, 0, 1), (1, 4, 5), (2, 6, 7)])
def test_the_impact_ends_where_it_is_told(
    connection: Connection, story: Story, depth: int, n_tries: int, n_files: int
) -> None:
    lineage = impact_of(connection, [id_of(connection, "calibration.Run01873.0000.h5")], depth)
    assert (len(lineage.tries), len(lineage.entities)) == (n_tries, n_files)


def test_what_nobody_read_has_no_impact(connection: Connection, story: Story) -> None:
    lineage = impact_of(connection, [id_of(connection, "dl2_LST-1.Run01874.0000.h5"), "unknown"])
    assert steps(lineage) == [] and len(lineage.entities) == 1
    assert not lineage_of(connection, ["unknown"]).entities
    assert not lineage_of(connection, []).entities


def test_versions_have_an_impact_on_what_was_made_of_their_products(connection: Connection) -> None:
    story = Story()
    old = {**VERSIONS, "lstchain": "0.11.0"}
    dl1, other = file("/dl1.h5"), file("/other.h5")
    story.add("r0_to_dl1", (raw(1874, 0),), (dl1,), versions=old)
    story.add("r0_to_dl1", (raw(1874, 1),), status=Status.FAILED, versions=old, subrun=1)
    story.add("r0_to_dl1", (raw(1874, 1),), (other,), subrun=1)
    story.add("dl1_to_dl2", (dl1,), (file("/dl2.h5"),))
    ingest_lineage(connection, story.lineage, PROD)

    lineage = impact_of_version(connection, "lstchain", "0.11.0")
    assert names(lineage) == {"dl1.h5", "dl2.h5"}
    assert steps(lineage) == ["r0_to_dl1", "r0_to_dl1", "dl1_to_dl2"]
    assert not impact_of_version(connection, "lstchain", "0.1").tries
    assert not impact_of_version(connection, "lst%", "0.11.0").tries


def test_all_of_a_run_is_told_for_one_night_or_production(connection: Connection, story: Story) -> None:
    later = Story(LATER)
    observe(later, calibrate(later, "others"))
    ingest_lineage(connection, later.lineage, PROD)

    of_night = lineage_of_run(connection, 1874, "2020-01-27")
    expected = story.lineage
    assert list(of_night.tries) == list(expected.tries)
    assert dict(of_night.entities) == dict(expected.entities)
    assert set(of_night.uses) == set(expected.uses)
    assert len(lineage_of_run(connection, 1874).tries) == len(story.records) + len(later.records)
    assert not lineage_of_run(connection, 1874, prod_id="v9").tries
    assert len(lineage_of_run(connection, 1874, LATER, PROD).tries) == 4
    assert steps(lineage_of_run(connection, 1873, LATER)) == ["drs4_pedestal", "charge_calibration"]


@pytest.mark.parametrize("seed", range(3))
def test_any_lineage_is_walked_as_in_memory(connection: Connection, seed: int) -> None:
    chance = random.Random(seed)
    story = Story()
    made = [file(f"/in{n}.dat") for n in range(5)]
    for n in range(60):
        inputs = tuple(chance.sample(made, chance.randint(1, 4)))
        status = chance.choice([Status.DONE, Status.DONE, Status.FAILED, Status.UNFINISHED])
        outputs = tuple(file(f"/out{n}.{part}.dat") for part in range(chance.randint(1, 3)))
        story.add("step", inputs, outputs if status is Status.DONE else (), status=status)
        made += outputs if status is Status.DONE else ()
    lineage = story.lineage
    ingest_lineage(connection, lineage, PROD)

    for entity_id in chance.sample(sorted(lineage.entities), 15):
        back = lineage_of(connection, [entity_id])
        assert back.entities.keys() == lineage.ancestors([entity_id])
        assert {entity.made_by for entity in back.entities.values()} - {None} == back.tries.keys()
        forth = impact_of(connection, [entity_id])
        affected = {key for key in lineage.entities if entity_id in lineage.ancestors([key])}
        assert forth.entities.keys() == affected
        assert forth.tries.keys() == {use.try_id for use in lineage.uses if use.entity_id in affected}
        assert set(forth.uses) == {use for use in lineage.uses if use.entity_id in affected}


def test_a_circle_comes_to_an_end(connection: Connection) -> None:
    """Clocks that differ can make a file seem to be made of what was made of it."""
    story = Story()
    one, two = file("/one"), file("/two")
    story.add("a", (two,), (one,))
    story.add("b", (one,), (two,))
    ingest_lineage(connection, story.lineage, PROD)
    assert len(lineage_of(connection, [id_of(connection, "one")]).tries) == 2
    assert len(impact_of(connection, [id_of(connection, "one")], 50).tries) == 2


def test_more_than_memory_holds_is_refused(
    connection: Connection, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walks, "MOST_FILES", 6)
    charge = id_of(connection, "calibration.Run01873.0000.h5")
    with pytest.raises(InputError, match="more than 6 files"):
        impact_of(connection, [charge])
    with pytest.raises(InputError, match="more than 6 files"):
        impact_of_version(connection, "lstchain", "0.12.3")
    assert len(impact_of(connection, [charge], 1).entities) == 5
