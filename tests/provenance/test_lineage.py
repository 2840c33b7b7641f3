"""Which try made a file, which read it, where it is now: made-up stories."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from osa.model.dataset import DatasetKind as Kind
from osa.provenance.lineage import Lineage, build_lineage, merge_tries
from osa.records.model import MOVE_STEP, Status
from tests.provenance.stories import (
    CALIBRATED_BY,
    CHARGES,
    DRIVE_LOG,
    FAILED,
    FORESTS,
    PEDESTAL,
    SUMMARY,
    TIMES,
    UNFINISHED,
    attempt,
    calibration,
    config,
    digest,
    dl1,
    dl2,
    file,
    minute,
    move,
    moved,
    named,
    raw,
    read_by,
    to_dl1,
    to_dl2,
    whole_run,
)


def maker(lineage: Lineage, name: str) -> str | None:
    (entity,) = named(lineage, name)
    return entity.made_by


# ------------------------------------------------------------------------ who made, who read


def test_nothing_has_no_lineage():
    assert build_lineage([]) == Lineage({}, {}, ())


def test_a_whole_run():
    records = whole_run(2)
    lineage = build_lineage(records)
    assert list(lineage.tries.values()) == sorted(records, key=lambda record: record.started)
    for subrun in range(2):
        made = to_dl1(10 + 2 * subrun, subrun)
        assert maker(lineage, dl1(subrun).name) == made.id
        assert [entity.name for entity in read_by(lineage, made)] == [
            raw(1874, subrun).name,
            *(item.name for item in CALIBRATED_BY),
            "lstchain.json",
        ]
        for item in (PEDESTAL, TIMES, CHARGES):
            (read,) = [entity for entity in read_by(lineage, made) if entity.name == item.name]
            assert read.made_by in {record.id for record in calibration()}
        (read, *forests, _) = read_by(lineage, to_dl2(200 + subrun, subrun))
        assert read.made_by == made.id
        assert [entity.name for entity in forests] == [item.name for item in FORESTS]
    assert len(named(lineage, raw(1874, 0).name)) == len(named(lineage, DRIVE_LOG.name)) == 1


def test_an_entity_tells_what_it_is():
    lineage = build_lineage(whole_run(1))
    (made,) = named(lineage, dl1().name)
    record = to_dl1(10)
    item = dl1()
    assert (made.kind, made.location, made.size, made.modified) == (
        Kind.DL1,
        item.path,
        item.size,
        item.modified,
    )
    assert (made.sha256, made.sample, made.night, made.run, made.subrun) == (
        item.sha256,
        None,
        record.night,
        1874,
        0,
    )
    assert (made.made_at, made.replaced_at) == (record.ended, None)
    (read,) = named(lineage, raw(1874, 0).name)
    assert (read.run, read.subrun, read.made_by, read.made_at) == (1874, 0, None, None)
    assert read.id == f"sample-{raw(1874, 0).sample}-LST-1.1.Run01874.0000"
    (log,) = named(lineage, DRIVE_LOG.name)
    assert (log.run, log.subrun) == (None, None)
    (first, second) = named(lineage, "lstchain.json")[1:]
    assert {first.archived, second.archived} == {config().archived, config(content="of DL2").archived}


@pytest.mark.parametrize("path", ["/raw/odd.fits.fz", "/raw/LST-1.1.Run01874.fits.fz", "/raw/x.Run1.0001."])
def test_a_raw_file_of_another_name_is_of_no_run(path):
    lineage = build_lineage([attempt(1, "r0_to_dl1", 0, [replace(raw(1, 0), path=path)])])
    (entity,) = lineage.entities.values()
    assert (entity.run, entity.subrun) == (None, None)


def test_what_was_not_there_or_not_hashed_is_in_no_lineage():
    missing = replace(DRIVE_LOG, size=None, modified=None, sha256=None)
    lost = replace(config(), sha256=None, archived=None)
    lineage = build_lineage([attempt(1, "r0_to_dl1", 0, [missing], configuration=(lost,))])
    assert (lineage.entities, lineage.uses) == ({}, ())


def test_empty_files_of_two_kinds_are_two():
    lineage = build_lineage([to_dl1(10)])
    (log,), (summary,) = named(lineage, DRIVE_LOG.name), named(lineage, SUMMARY.name)
    assert log.sha256 == summary.sha256 == digest("")
    assert log.id != summary.id


def test_what_is_read_twice_in_the_same_role_is_read_once():
    records = [attempt(1, "r0_to_dl1", 0, [DRIVE_LOG, DRIVE_LOG, replace(DRIVE_LOG, role="again")])]
    lineage = build_lineage(records)
    assert [use.role for use in lineage.uses] == [DRIVE_LOG.role, "again"]
    assert len(lineage.entities) == 1


def test_one_configuration_may_serve_two_purposes():
    both = (config("R0 to DL1"), config("DL1 to DL2"))
    lineage = build_lineage([attempt(1, "r0_to_dl1", 0, configuration=both)])
    assert [(use.role, use.is_configuration) for use in lineage.uses] == [
        ("R0 to DL1", True),
        ("DL1 to DL2", True),
    ]
    assert len(lineage.entities) == 1


@pytest.mark.parametrize("how", [FAILED, UNFINISHED], ids=["failed", "unfinished"])
def test_a_try_that_did_not_succeed_has_read_and_made_nothing(how):
    record = to_dl1(10, **how)
    lineage = build_lineage([*calibration(), record])
    assert lineage.made_by.get(record.id, ()) == ()
    assert len(lineage.uses_of[record.id]) == 7
    assert named(lineage, dl1().name) == []


# --------------------------------------------------------------------- same content, time


def test_the_same_content_made_twice_is_two_files():
    first, again = to_dl1(10), to_dl1(20)
    lineage = build_lineage([first, again])
    one, two = named(lineage, dl1().name)
    assert one.id != two.id
    assert (one.made_by, one.replaced_at) == (first.id, again.ended)
    assert (two.made_by, two.replaced_at) == (again.id, None)


def test_of_the_same_content_the_latest_before_the_try_is_read():
    first, between, again, after = to_dl1(10), to_dl2(15), to_dl1(20), to_dl2(25)
    lineage = build_lineage([first, between, again, after])
    assert read_by(lineage, between)[0].made_by == first.id
    assert read_by(lineage, after)[0].made_by == again.id


def test_of_other_content_that_one_is_read():
    first, again = to_dl1(10, content="one"), to_dl1(20, content="two")
    late = to_dl2(30, read=dl1(content="one"))  # say a copy that was put back
    lineage = build_lineage([first, again, late])
    assert read_by(lineage, late)[0].made_by == first.id


def test_of_the_same_content_that_of_the_name_is_read():
    """Two sub-runs without events give the same file, but for its name."""
    one, two = to_dl1(10, 0, content="none"), to_dl1(11, 1, content="none")
    readers = [to_dl2(20, 0, read=dl1(0, "none")), to_dl2(21, 1, read=dl1(1, "none"))]
    lineage = build_lineage([one, two, *readers])
    assert [read_by(lineage, reader)[0].made_by for reader in readers] == [one.id, two.id]


def test_a_calibration_under_another_name_is_the_same():
    """Another night's serves under the name of this night's run."""
    lent = file(Kind.CHARGE_CALIBRATION, "calibration.Run01999.0000.h5", content=CHARGES.name)
    reader = replace(to_dl1(10), inputs=(raw(1874, 0), lent))
    lineage = build_lineage([*calibration(), reader])
    assert read_by(lineage, reader)[1].made_by == calibration()[2].id
    assert named(lineage, lent.name) == []


@pytest.mark.parametrize("seconds", [1, 30, 49])
def test_clocks_of_nodes_may_differ_a_little(seconds):
    """The reader's clock is behind: its file seems to come later."""
    made = to_dl1(10)
    reader = replace(to_dl2(11), started=made.ended - timedelta(seconds=seconds))
    lineage = build_lineage([made, reader])
    assert read_by(lineage, reader)[0].made_by == made.id


def test_a_file_under_another_name_does_not_come_from_a_later_try():
    """The reference was there before a copy of it was made; a copy is not where it came from."""
    reference = file(Kind.TIME_CALIBRATION, "reference.h5", folder="/cfg")
    copy = file(Kind.TIME_CALIBRATION, TIMES.name, content=reference.name)
    failed = attempt(1, "time_calibration", None, [reference], **FAILED)
    made = attempt(5, "time_calibration", None, [reference], [copy])
    lineage = build_lineage([failed, made])
    assert [entity.name for entity in read_by(lineage, failed)] == ["reference.h5"]
    assert [entity.name for entity in read_by(lineage, made)] == ["reference.h5"]


def test_copies_read_by_each_other_make_no_circle():
    one, two = file(Kind.OTHER, "one", "same"), file(Kind.OTHER, "two", "same")
    other = file(Kind.OTHER, "other")
    records = [attempt(1, "a", None, [one], [other]), attempt(5, "b", None, [other], [two])]
    lineage = build_lineage(records)
    assert read_by(lineage, records[0])[0].made_by is None


def test_a_file_of_another_kind_is_another_file():
    """What is empty is not for that a product of ours."""
    plots = file(Kind.CALIBRATION_PLOTS, "plots.pdf", "")
    made, reader = attempt(1, "calibration_plots", None, [], [plots]), to_dl1(10)
    lineage = build_lineage([made, reader])
    assert {entity.name for entity in read_by(lineage, reader)} >= {DRIVE_LOG.name, SUMMARY.name}


def test_a_try_does_not_read_what_it_makes():
    """A step that copies its input gives the same content."""
    item = file(Kind.DATACHECK_MERGED, "merged.h5", content="x")
    record = attempt(1, "merge_datacheck", None, [file(Kind.DATACHECK, "single.h5", content="x")], [item])
    lineage = build_lineage([record])
    (read,) = read_by(lineage, record)
    assert (read.name, read.made_by) == ("single.h5", None)
    assert maker(lineage, "merged.h5") == record.id


def test_two_files_of_one_name_from_one_try_are_two():
    here, there = file(Kind.DL1, "x.h5", "one", "/a"), file(Kind.DL1, "x.h5", "two", "/b")
    lineage = build_lineage([attempt(1, "r0_to_dl1", 0, [], [here, there])])
    assert sorted(entity.location for entity in lineage.entities.values()) == ["/a/x.h5", "/b/x.h5"]


# --------------------------------------------------------------------------------- moves


def test_a_move_changes_the_place_and_nothing_else():
    records = [*calibration(), to_dl1(10), to_dl2(20)]
    before, after = build_lineage(records), build_lineage([*records, move(30, dl1(), dl2())])
    (was,), (now,) = named(before, dl1().name), named(after, dl1().name)
    assert now == replace(was, location=f"/final/{dl1().name}")
    assert len(after.entities) == len(before.entities)
    assert after.uses == before.uses
    assert read_by(after, move(30, dl1(), dl2())) == []


@pytest.mark.parametrize("how", [FAILED, UNFINISHED], ids=["failed", "killed"])
def test_a_move_without_its_end_tells_nothing(how):
    lineage = build_lineage([to_dl1(10), move(30, dl1(), **how)])
    assert named(lineage, dl1().name)[0].location == dl1().path


def test_a_file_may_be_moved_twice_and_told_twice():
    there = replace(dl1(), path=f"/final/{dl1().name}")
    records = [to_dl1(10), move(30, dl1()), move(40, dl1()), move(50, there, folder="/archive")]
    (entity,) = named(build_lineage(records), dl1().name)
    assert (entity.location, entity.replaced_at) == (f"/archive/{dl1().name}", None)


def test_what_was_where_a_file_is_moved_to_is_replaced():
    records = [
        to_dl1(10, content="one"),
        move(20, dl1(content="one")),
        to_dl1(30, content="two"),
        move(40, dl1(content="two")),
    ]
    first, second = named(build_lineage(records), dl1().name)
    assert (first.location, first.replaced_at) == (f"/final/{dl1().name}", records[3].ended)
    assert (second.location, second.replaced_at) == (f"/final/{dl1().name}", None)


def test_what_is_made_anew_where_a_file_was_moved_away_replaces_nothing():
    records = [to_dl1(10, content="one"), move(20, dl1(content="one")), to_dl1(30, content="two")]
    first, second = named(build_lineage(records), dl1().name)
    assert (first.location, first.replaced_at) == (f"/final/{dl1().name}", None)
    assert (second.location, second.replaced_at) == (dl1().path, None)


def test_a_move_of_what_nobody_made_is_passed_over():
    lineage = build_lineage([to_dl1(10), move(20, file(Kind.DL1, "unknown.h5"))])
    assert named(lineage, "unknown.h5") == []


def test_a_move_onto_itself_changes_nothing():
    lineage = build_lineage([to_dl1(10), move(20, dl1(), folder="/work")])
    (entity,) = named(lineage, dl1().name)
    assert (entity.location, entity.replaced_at) == (dl1().path, None)


def test_files_that_change_places():
    one, two = dl1(0), dl1(1)
    swap = [moved(one, "/aside"), replace(one, path=one.path, source=two.path)]
    records = [to_dl1(10, 0), to_dl1(11, 1), attempt(20, MOVE_STEP, None, [], swap)]
    lineage = build_lineage(records)
    assert [named(lineage, item.name)[0].location for item in (one, two)] == [
        f"/aside/{one.name}",
        one.path,
    ]
    assert [named(lineage, item.name)[0].replaced_at for item in (one, two)] == [None, None]


# ------------------------------------------------------------------ ancestors and restricted


def test_ancestors_are_all_that_a_file_was_made_from():
    lineage = build_lineage(whole_run(2))
    (last,) = named(lineage, dl2(0).name)
    found = {lineage.entities[entity_id].name for entity_id in lineage.ancestors([last.id])}
    assert {dl2(0).name, dl1(0).name, raw(1874, 0).name, raw(1873, 0).name, raw(1872, 0).name} <= found
    assert {item.name for item in (*CALIBRATED_BY, *FORESTS)} <= found
    assert not {dl1(1).name, raw(1874, 1).name, "datacheck_dl1_LST-1.Run01874.0000.h5"} & found
    assert lineage.ancestors(["unknown"]) == frozenset()


def test_restricted_keeps_tries_with_what_they_read_and_made():
    lineage = build_lineage(whole_run(2))
    part = lineage.restricted(lambda record: record.step == "dl1_to_dl2")
    assert {record.step for record in part.tries.values()} == {"dl1_to_dl2"}
    assert {entity.kind for entity in part.entities.values()} == {
        Kind.DL1,
        Kind.DL2,
        Kind.RANDOM_FOREST,
        Kind.CONFIGURATION,
    }
    for entity in part.entities.values():
        assert entity == lineage.entities[entity.id]
    assert all(use.try_id in part.tries and use.entity_id in part.entities for use in part.uses)
    (read,) = named(part, dl1().name)
    assert read.made_by not in part.tries
    assert part.ancestors([read.id]) == {read.id}


# ------------------------------------------------------------------------------ merge_tries


def test_of_a_try_that_is_there_twice_the_one_that_ended_counts():
    whole = to_dl1(10)
    begun = replace(whole, outputs=(), **UNFINISHED)
    failed = to_dl1(12, **FAILED)
    for sources in (
        [[begun], [whole]],
        [[whole], [begun]],
        [[begun, whole, begun]],
        [[begun], [begun, whole]],
    ):
        assert merge_tries(*sources) == (whole,)
    assert merge_tries([failed], [begun]) == (begun, failed)
    assert merge_tries([replace(failed, **UNFINISHED)], [failed]) == (failed,)
    assert merge_tries() == ()


STORY = [
    *whole_run(2),
    to_dl1(30, 0, **FAILED),
    to_dl1(31, 0, content="again"),
    to_dl1(32, 1, **UNFINISHED),
    to_dl2(210, 0, content="again", read=dl1(0, "again")),
    move(300, dl1(0, "again"), dl1(1), dl2(0, "again"), dl2(1)),
    move(301, dl1(0, "again"), **UNFINISHED),
]


@given(st.permutations(STORY), st.integers(0, len(STORY)), st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_order_of_the_records_does_not_matter(records, count, data):
    doubled = data.draw(st.lists(st.sampled_from(STORY), max_size=5))
    begun = [replace(record, outputs=(), **UNFINISHED) for record in data.draw(st.permutations(doubled))]
    expected = build_lineage(STORY)
    assert build_lineage([*begun, *records, *doubled]) == expected
    merged = merge_tries(records[:count], begun, records[count:])
    assert build_lineage(merged) == expected
    assert list(build_lineage(merged).entities) == list(expected.entities)


contents = st.sampled_from(["", "x", "y"])
names = st.sampled_from(["one", "two", "three"])
items = st.builds(
    file, st.sampled_from([Kind.DL1, Kind.DL2]), names, contents, st.sampled_from(["/work", "/final"])
)


@st.composite
def stories(draw):
    """Tries that read, make and move files that are easily mistaken for each other."""
    records = []
    for number in range(draw(st.integers(0, 7))):
        start = minute(draw(st.integers(0, 5)))
        step = draw(st.sampled_from(["a", "b", MOVE_STEP]))
        status = draw(st.sampled_from(Status))
        outputs = draw(st.lists(items, max_size=3)) if status is Status.DONE else []
        if step == MOVE_STEP:
            outputs = [replace(item, source=draw(items).path) for item in outputs]
        ended = start + timedelta(minutes=draw(st.integers(0, 3)))
        records.append(
            attempt(
                number,
                step,
                0,
                draw(st.lists(items, max_size=3)),
                outputs,
                configuration=draw(st.lists(st.just(config()), max_size=1).map(tuple)),
                started=start,
                ended=None if status is Status.UNFINISHED else ended,
                status=status,
            )
        )
    return records


@given(stories())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_lineage_is_consistent(records):
    lineage = build_lineage(records)
    assert set(lineage.tries) == {record.id for record in records}
    for use in lineage.uses:
        assert use.try_id in lineage.tries and use.entity_id in lineage.entities
        assert lineage.entities[use.entity_id].made_by != use.try_id
        assert lineage.tries[use.try_id].step != MOVE_STEP
    for entity_id, entity in lineage.entities.items():
        assert entity.id == entity_id
        if entity.made_by is not None:
            assert lineage.tries[entity.made_by].status is Status.DONE
            assert entity.made_at == lineage.tries[entity.made_by].ended
    present = [e.location for e in lineage.entities.values() if e.made_by and e.replaced_at is None]
    assert len(present) == len(set(present))
