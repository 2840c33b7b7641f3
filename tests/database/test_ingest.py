"""Taking lineages into the index: all of it, once, and as it is now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from sqlalchemy import Connection, func, select

from osa.database.engine import Database
from osa.database.find import find_entity
from osa.database.ingest import ingest_lineage
from osa.database.listings import nights_in_index, tries_of
from osa.database.schema import metadata
from osa.database.upsert import Changes
from osa.database.walks import impact_of, lineage_of, lineage_of_run
from osa.model.dataset import DatasetKind
from osa.provenance.lineage import Lineage
from osa.records.model import Status, TryRecord
from tests.database.made_up import (
    LATER,
    NIGHT,
    PROD,
    Story,
    calibrate,
    file,
    observe,
    raw,
)


def counts(connection: Connection) -> dict[str, int]:
    return {
        table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
        for table in metadata.sorted_tables
    }


def without_files(record: TryRecord) -> TryRecord:
    return replace(record, inputs=(), outputs=())


def assert_same(found: Lineage, expected: Lineage) -> None:
    assert dict(found.entities) == dict(expected.entities)
    assert list(found.tries.values()) == [without_files(record) for record in expected.tries.values()]
    assert set(found.uses) == set(expected.uses) and len(found.uses) == len(expected.uses)


@pytest.fixture
def story() -> Story:
    story = Story()
    observe(story, calibrate(story))
    return story


def test_all_comes_out_as_it_went_in(connection: Connection, story: Story) -> None:
    story.add("datacheck", (file("/x"),), status=Status.FAILED)
    story.add("datacheck", (file("/x"),), status=Status.UNFINISHED)

    ingest_lineage(connection, story.lineage, PROD)

    own = lineage_of_run(connection, 1874)
    assert_same(own, story.lineage)
    (entity,) = find_entity(connection, "calibration.Run01873.0000.h5")
    assert entity.made_at is not None and entity.made_at.utcoffset() is not None
    assert entity.made_at.microsecond == 580_000  # .123 and 30.457 s
    assert list(own.entities.values())[-1].kind is DatasetKind.DL2


def test_twice_the_same_changes_nothing(database: Database, story: Story) -> None:
    with database.transaction() as connection:
        first = ingest_lineage(connection, story.lineage, PROD)
        before = counts(connection)
    with database.transaction() as connection:
        second = ingest_lineage(connection, story.lineage, PROD)
        assert counts(connection) == before

    assert first.inserted == sum(before.values()) - before["osa_schema"] - before["software_versions"]
    assert not first.updated and not first.removed
    assert second == Changes() and not second


def test_a_try_that_ends_is_updated_and_never_unfinished_again(connection: Connection) -> None:
    story = Story()
    begun = story.add("r0_to_dl1", (raw(1874, 0),), status=Status.UNFINISHED)
    early = story.lineage
    ingest_lineage(connection, early, PROD)
    (attempt,) = tries_of(connection, 1874)
    assert attempt.record == without_files(begun) and attempt.made == ()

    ended = story.end(begun, (file("/work/dl1.h5"),))
    changes = ingest_lineage(connection, story.lineage, PROD)

    assert changes == Changes(inserted=1, updated=1)
    assert not ingest_lineage(connection, early, PROD)
    (attempt,) = tries_of(connection, 1874)
    assert attempt.record == without_files(ended)
    assert [entity.name for entity in attempt.made] == ["dl1.h5"]


def test_a_moved_file_is_the_same_in_another_place(connection: Connection) -> None:
    story = Story()
    dl1 = file("/work/dl1.h5")
    story.add("r0_to_dl1", (raw(1874, 0),), (dl1,))
    ingest_lineage(connection, story.lineage, PROD)
    (before,) = find_entity(connection, "/work/dl1.h5")

    story.move((dl1, "/DL1/final/dl1.h5"))
    changes = ingest_lineage(connection, story.lineage, PROD)

    assert changes == Changes(inserted=1, updated=1)
    assert find_entity(connection, "/work/dl1.h5") == []
    assert find_entity(connection, "/DL1/final/dl1.h5") == [replace(before, location="/DL1/final/dl1.h5")]


def test_a_redone_subrun_shows_both_tries_and_which_file_counts(connection: Connection) -> None:
    story = Story()
    charge = calibrate(story)
    observe(story, charge)
    ingest_lineage(connection, story.lineage, PROD)
    observe(story, charge, content="again")
    ingest_lineage(connection, story.lineage, PROD)

    attempts = tries_of(connection, 1874, 0)
    assert [attempt.record.step for attempt in attempts] == ["r0_to_dl1", "dl1_to_dl2"] * 2
    now, before = find_entity(connection, "dl2_LST-1.Run01874.0000.h5")
    assert now.replaced_at is None and before.replaced_at == now.made_at
    assert (before.made_by, now.made_by) == (attempts[1].record.id, attempts[3].record.id)
    assert lineage_of(connection, [now.id]).entities.keys() == story.lineage.ancestors([now.id])


def test_shared_files_are_there_once_and_keep_what_was_known_first(connection: Connection) -> None:
    for night in (NIGHT, LATER):
        story = Story(night)
        observe(story, calibrate(story, night))
        ingest_lineage(connection, story.lineage, PROD)

    assert len(find_entity(connection, "reg_energy.sav")) == 1
    (config,) = find_entity(connection, "standard.json")
    assert config.location == "/cfg/standard.json" and config.archived == "c0.standard.json"
    assert [night.night for night in nights_in_index(connection)] == [LATER, NIGHT]


def test_what_is_missing_of_a_shared_file_is_filled_in(connection: Connection) -> None:
    story = Story()
    read = file("/cfg/standard.json", DatasetKind.CONFIGURATION, "config")
    story.add("a", (read,), configuration=())
    ingest_lineage(connection, story.lineage, PROD)
    story = Story()
    story.add("b")
    ingest_lineage(connection, story.lineage, PROD)

    (entity,) = find_entity(connection, "standard.json")
    assert entity.archived == "c0.standard.json" and entity.size == 1000


def borrowing(charge_name: str = "calibration.Run01873.0000.h5") -> tuple[Story, Story, Mapping[str, str]]:
    """Two nights of which the later reads a calibration that the earlier made."""
    earlier, later = Story(NIGHT), Story(LATER)
    charge = calibrate(earlier)
    observe(earlier, charge)
    observe(later, replace(charge, path=f"/work/{LATER}/{charge_name}"))
    return earlier, later, {"made": charge.name, "dl2": f"/work/{LATER}/dl2_LST-1.Run01874.0000.h5"}


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (1, 0, 1, 0)])
@pytest.mark.parametrize("knows", ["content alone", "maker"])
def test_a_borrowed_calibration_is_the_one_that_was_made(
    connection: Connection, order: tuple[int, ...], knows: str
) -> None:
    earlier, later, names = borrowing()
    both = Story()
    both.records = [*earlier.records, *later.records]
    of_later = both.lineage.restricted(lambda record: record.night == LATER)
    lineages = [earlier.lineage, later.lineage if knows == "content alone" else of_later]
    for which in order:
        ingest_lineage(connection, lineages[which], PROD)

    for lineage in lineages:
        assert not ingest_lineage(connection, lineage, PROD)
    (charge,) = find_entity(connection, names["made"])
    assert charge.made_by is not None and charge.night == NIGHT
    (dl2,) = find_entity(connection, names["dl2"])
    assert_same(lineage_of(connection, [dl2.id]), pruned(both.lineage, dl2.id))
    nights = {record.night for record in impact_of(connection, [charge.id]).tries.values()}
    assert nights == {NIGHT, LATER}


def pruned(lineage: Lineage, entity_id: str) -> Lineage:
    """What a file was made from."""
    kept = lineage.ancestors([entity_id])
    makers = {lineage.entities[key].made_by for key in kept}
    return Lineage(
        {key: record for key, record in lineage.tries.items() if key in makers},
        {key: entity for key, entity in lineage.entities.items() if key in kept},
        tuple(use for use in lineage.uses if use.try_id in makers),
    )


def test_equal_content_under_another_name_is_not_taken_for_borrowed(connection: Connection) -> None:
    earlier, later, _ = borrowing("elsewhere.h5")
    for story in (earlier, later):
        ingest_lineage(connection, story.lineage, PROD)
    assert len(find_entity(connection, "elsewhere.h5")) == 1
    assert not ingest_lineage(connection, earlier.lineage, PROD)


def test_a_file_written_anew_with_the_same_content_is_not_made_of_itself(connection: Connection) -> None:
    story = Story()
    same = file("/work/dl1.h5")
    story.add("touch", (same,), (same,))
    for _ in range(2):
        ingest_lineage(connection, story.lineage, PROD)
    made = next(e for e in find_entity(connection, "dl1.h5") if e.made_by)
    assert len(lineage_of(connection, [made.id]).entities) == 3  # and what was read, and the configuration


def test_links_follow_what_the_records_tell_now(connection: Connection) -> None:
    """Records of a maker that come late change what was read."""
    story = Story()
    calibration = calibrate(story)
    late = story.records
    story.records = []
    observe(story, calibration)
    ingest_lineage(connection, story.lineage, PROD)
    (foreign,) = find_entity(connection, calibration.name)
    assert foreign.made_by is None

    story.records = [*late, *story.records]
    changes = ingest_lineage(connection, story.lineage, PROD)

    assert changes.removed == 1
    (made,) = find_entity(connection, calibration.name)
    assert made.made_by is not None
    assert_same(lineage_of_run(connection, 1874), story.lineage)


HOSTILE = [
    "it's.h5",
    'say "dl1".h5',
    "100%_.h5",
    "; DROP TABLE tries; --",
    "ünï码😀.h5",
    "back\\slash\\'.h5",
    "tab\t.h5",
    "trailing .h5 ",
    "UPPER.h5",
    "upper.h5",
]


def test_names_are_only_names(connection: Connection) -> None:
    story = Story()
    for name in HOSTILE:
        story.add("r0_to_dl1", (raw(1874, 0),), (file(f"/work/{name}"),))
    ingest_lineage(connection, story.lineage, PROD)

    for name in HOSTILE:
        assert [entity.name for entity in find_entity(connection, name)] == [name]
        assert [entity.name for entity in find_entity(connection, f"/work/{name}")] == [name]
    assert find_entity(connection, "%.h5") == [] and find_entity(connection, "_pper.h5") == []
    assert not ingest_lineage(connection, story.lineage, PROD)


def test_odd_records_do_not_keep_a_night_out(connection: Connection) -> None:
    """Records are files that anybody may have written."""
    story = Story()
    odd = replace(file("/work/\udcff.h5"), size=10**30)
    begun = story.add("x" * 1000, (odd, raw(10**12, 0)), (replace(odd, path="/\udcfe/dl1.h5"),))
    story.records = [
        replace(
            begun,
            wall_time=float("nan"),
            exit_code=2**40,
            reason="y" * 100_000 + "\0",
            parameters={"a\udcff": "b" * 70_000},
            user="\0",
        )
    ]
    ingest_lineage(connection, story.lineage, PROD)
    assert not ingest_lineage(connection, story.lineage, PROD)
    (attempt,) = tries_of(connection, 1874)
    assert attempt.record.exit_code == 2**31 - 1 and attempt.record.wall_time == 0.0
    assert [entity.location for entity in attempt.made] == ["/\\udcfe/dl1.h5"]
    assert find_entity(connection, "/\udcfe/dl1.h5")
    assert find_entity(connection, "\udcff.h5")


def test_many_values_go_in_pieces(connection: Connection) -> None:
    story = Story()
    for subrun in range(600):
        story.add("r0_to_dl1", (raw(1874, subrun),), (file(f"/work/{subrun}.h5"),), subrun=subrun)
    ingest_lineage(connection, story.lineage, PROD)
    assert not ingest_lineage(connection, story.lineage, PROD)
    assert counts(connection)["tries"] == 600
    assert_same(lineage_of_run(connection, 1874), story.lineage)


def test_an_error_leaves_nothing_behind(database: Database, story: Story) -> None:
    with pytest.raises(ZeroDivisionError), database.transaction() as connection:
        ingest_lineage(connection, story.lineage, PROD)
        raise ZeroDivisionError
    with database.reading() as connection:
        found = counts(connection)
    assert sum(found.values()) == found["osa_schema"] == 1


def test_an_empty_lineage_is_nothing(connection: Connection) -> None:
    assert not ingest_lineage(connection, Story().lineage, PROD)
