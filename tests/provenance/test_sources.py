"""Records of a run are found wherever they are, and only they."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

import pytest
from product_builders import borrow_from_earlier_night

from osa.layout import DocumentPart, Layout
from osa.model.night import Night
from osa.nightsummary.plan import plan_night
from osa.provenance.publish import keep_records
from osa.provenance.sources import (
    calibration_records,
    part_of,
    records_of_night,
    records_of_run,
    records_of_sequence,
)
from osa.records.lines import append_begin, append_end, read_records
from osa.records.model import MOVE_STEP, Status, TryRecord
from osa.records.recorder import Recorder
from tests.provenance.stories import attempt, to_dl1


def steps(records: Iterable[TryRecord]) -> Counter[tuple[int, int | None, str]]:
    """Count the tries of steps; of those of a test several begin at the same time."""
    return Counter((record.run, record.subrun, record.step) for record in records)


CALIBRATION = Counter(
    (1873, None, name)
    for name in ("drs4_pedestal", "time_calibration", "charge_calibration", "calibration_plots")
)


def data(run: int, subruns: int) -> Counter[tuple[int, int | None, str]]:
    names = ("r0_to_dl1", "datacheck", "dl1_to_dl2")
    return Counter((run, subrun, name) for subrun in range(subruns) for name in names)


def write(layout: Layout, run: int, subrun: int | None, *records: TryRecord) -> None:
    for record in records:
        append_begin(layout.records(run, subrun), record)
        if record.ended is not None:
            append_end(layout.records(run, subrun), record)


def record_move(layout: Layout, run: int, prod_id: str = "v0.1.0") -> None:
    recorder = Recorder(layout, run, None)
    recorder.begin(MOVE_STEP, "closer", package="lst-osa", prod_id=prod_id).done(())


# ------------------------------------------------------------------------------ of one run


def test_records_of_a_run_and_of_its_subruns(complete):
    assert steps(records_of_run(complete, 1873)) == CALIBRATION
    assert steps(records_of_run(complete, 1874)) == data(1874, 2)
    assert all(record.status is Status.DONE for record in records_of_run(complete, 1874))


def test_a_run_without_records_has_none(layout):
    assert records_of_run(layout, 1874) == ()
    layout.records_dir.mkdir(parents=True)
    assert records_of_run(layout, 1874) == ()
    assert records_of_night(layout) == ()


def test_a_run_whose_number_begins_alike_is_another(layout):
    for run in (187, 1874, 18740, 187400, 11874):
        write(layout, run, 0, replace(to_dl1(run), run=run))
        write(layout, run, None, attempt(run + 0.5, "merge_dl2", run=run))
    for run in (187, 1874, 18740, 187400, 11874):
        assert {record.run for record in records_of_run(layout, run)} == {run}
        assert len(records_of_run(layout, run)) == 2
    assert len(records_of_night(layout)) == 10


def test_what_is_no_file_of_records_is_passed_over(complete):
    folder = complete.records_dir
    good = folder / "LST1_01874.0000.jsonl"
    for name in (
        "LST1_01874.0000.jsonl~",
        ".LST1_01874.0000.jsonl",
        "LST2_01874.0000.jsonl",
        "LST1_01874.txt",
    ):
        shutil.copy(good, folder / name)
    assert steps(records_of_run(complete, 1874)) == data(1874, 2)
    assert {record.run for record in records_of_night(complete)} == {1873, 1874, 1875}


def test_a_file_of_records_that_cannot_be_read_is_an_error(complete):
    (complete.records_dir / "LST1_01874.0007.jsonl").mkdir()
    with pytest.raises(IsADirectoryError):
        records_of_run(complete, 1874)
    assert steps(records_of_run(complete, 1875)) == data(1875, 1)


# ------------------------------------------------------------------- in work, and with products


@pytest.mark.parametrize("where", ["in work", "with products", "both"])
def test_records_are_found_in_both_places(complete, plan, where):
    expected = records_of_night(complete)
    assert len(expected) == 13
    if where != "in work":
        for sequence in plan.sequences:
            keep_records(complete, sequence)
    if where == "with products":
        shutil.rmtree(complete.analysis_dir)
    assert records_of_night(complete) == expected
    assert steps(records_of_run(complete, 1874)) == data(1874, 2)
    for sequence in plan.data:
        found = records_of_sequence(complete, plan, sequence)
        assert steps(found) == CALIBRATION + data(sequence.run, sequence.n_subruns)


def test_what_is_told_more_of_counts(complete, run):
    record = to_dl1(10, run=1874)
    append_begin(complete.records(1874, 7), record)
    keep_records(complete, run(1874))
    append_end(complete.records(1874, 7), record)
    (found,) = [each for each in records_of_run(complete, 1874) if each.id == record.id]
    assert found.status is Status.DONE
    shutil.rmtree(complete.records_dir)
    (found,) = [each for each in records_of_run(complete, 1874) if each.id == record.id]
    assert found.status is Status.UNFINISHED


def test_a_damaged_file_of_records_costs_no_more_than_its_own(complete):
    path = complete.records(1874, 1)
    path.write_bytes(b"\0" * 100 + b"\n{}\n\xff\xfe")
    assert steps(records_of_run(complete, 1874)) == data(1874, 1)


# ------------------------------------------------------------------------- of one sequence


def test_records_of_sequences(complete, plan):
    found = {s.run: steps(records_of_sequence(complete, plan, s)) for s in plan.sequences}
    assert found == {
        1873: CALIBRATION,
        1874: CALIBRATION + data(1874, 2),
        1875: CALIBRATION + data(1875, 1),
    }


def test_tries_of_other_productions_are_left_out(complete, plan, run):
    before = {s.run: records_of_sequence(complete, plan, s) for s in plan.sequences}
    write(complete, 1873, None, attempt(1, "drs4_pedestal", run=1873, prod_id="v0.0.9"))
    write(complete, 1874, 0, to_dl1(2, prod_id="v0.0.9"))
    write(complete, 1874, 0, attempt(3, "dl1_to_dl2", 0, prod_id="v0.0.9"))
    assert {s.run: records_of_sequence(complete, plan, s) for s in plan.sequences} == before
    assert len(records_of_run(complete, 1874)) == 8


def test_each_level_has_its_own_production(complete, make_settings, night):
    changes = {("PRODUCTION", "dl2_prod_id"): "v0.2.0"}
    other = Layout(make_settings(changes), night)
    plan = plan_night(other)
    (sequence,) = [s for s in plan.sequences if s.run == 1875]
    write(other, 1875, 0, attempt(9, "dl1_to_dl2", 0, run=1875, prod_id="v0.2.0"))
    found = [r for r in records_of_sequence(other, plan, sequence) if r.run == 1875]
    assert [(record.step, record.prod_id) for record in found if record.step == "dl1_to_dl2"] == [
        ("dl1_to_dl2", "v0.2.0")
    ]
    assert {record.step for record in found} == {"r0_to_dl1", "datacheck", "dl1_to_dl2"}


def test_moves_of_run_and_calibration_count(complete, plan, run):
    record_move(complete, 1873)
    record_move(complete, 1874)
    record_move(complete, 1875)
    found = [r.run for r in records_of_sequence(complete, plan, run(1874)) if r.step == MOVE_STEP]
    assert found == [1873, 1874]


def test_a_borrowed_calibration_has_the_records_of_its_night(complete, plan):
    assert plan.borrowed is None
    borrow_from_earlier_night(complete)
    lent = plan_night(complete)
    assert lent.borrowed is not None
    other = Layout(complete.settings, Night(lent.borrowed.night.date))
    assert calibration_records(complete, lent) == ()
    write(other, 1701, None, attempt(1, "charge_calibration", run=1701))
    write(complete, 1701, None, attempt(2, "charge_calibration", run=1701))
    assert [record.id for record in calibration_records(complete, lent)] == [attempt(1, "").id]
    for sequence in lent.data:
        found = records_of_sequence(complete, lent, sequence)
        lent_by = Counter([(1701, None, "charge_calibration")])
        assert steps(found) == lent_by + data(sequence.run, sequence.n_subruns)


def test_without_a_calibration_there_are_no_records_of_it(complete, plan):
    none = replace(plan, choice=replace(plan.choice, calibration_run=None))
    assert calibration_records(complete, none) == ()
    assert steps(records_of_sequence(complete, none, plan.data[0])) == data(1874, 2)


# ------------------------------------------------------------------------------------ parts


@pytest.mark.parametrize(
    ("step", "part"),
    [
        ("drs4_pedestal", DocumentPart.CALIBRATION),
        ("calibration_plots", DocumentPart.CALIBRATION),
        ("r0_to_dl1", DocumentPart.CALIBRATION_TO_DL1),
        ("datacheck", DocumentPart.CALIBRATION_TO_DL1),
        ("merge_datacheck", DocumentPart.CALIBRATION_TO_DL1),
        ("dl1_to_dl2", DocumentPart.DL1_TO_DL2),
        ("merge_dl2", DocumentPart.DL1_TO_DL2),
        (MOVE_STEP, DocumentPart.CALIBRATION_TO_DL1),
    ],
)
def test_a_try_is_kept_with_what_it_made(step, part):
    assert part_of(attempt(1, step)) is part
    assert part_of(attempt(1, step), is_calibration=True) is DocumentPart.CALIBRATION


def test_kept_records_read_as_those_in_work(complete, run):
    keep_records(complete, run(1874))
    kept = [read_records(complete.kept_records(part, 1874)) for part in list(DocumentPart)[1:3]]
    assert [record for records in kept for record in records] != []
    assert {record.id: record for records in kept for record in records} == {
        record.id: record for record in records_of_run(complete, 1874)
    }
