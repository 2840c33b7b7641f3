"""Judging a sequence: what is missing is listed, by run and sub-run."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from failed_tries import write_raw
from night_states import CALIBRATION_RUN, DRS4_RUN, add_try, record
from product_builders import N_EVENTS, write_datacheck, write_dl1, write_dl2

from osa.closing.examine import Examiner, present_path
from osa.closing.judge import Verdict, judge
from osa.layout import DATACHECK, DL1, DL2, INTERLEAVED, MUONS, PRODUCT_KINDS, Layout, ProductKind
from osa.model.job import JobState, TaskRecord
from osa.nightstate import read_night_state
from osa.nightsummary.plan import plan_night


def verdict(layout: Layout, run: int = 1874, records: Iterable[TaskRecord] = ()) -> Verdict:
    states = read_night_state(layout, plan_night(layout), records)
    (state,) = [state for state in states if state.sequence.run == run]
    return judge(layout, state, Examiner())


def cut(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def products(layout: Layout) -> list[Path]:
    return [
        layout.drs4_pedestal(DRS4_RUN),
        layout.time_calibration(CALIBRATION_RUN),
        layout.charge_calibration(CALIBRATION_RUN),
    ]


def test_complete_night(complete: Layout) -> None:
    for run in (1873, 1874, 1875):
        found = verdict(complete, run)
        assert (found.missing, found.is_complete) == ((), True)


def test_night_without_any_product(layout: Layout) -> None:
    assert verdict(layout).missing == (
        "no DL1 of sub-runs 0-1",
        "no MUONS of sub-runs 0-1",
        "no DATACHECK of sub-runs 0-1",
        "no DL2 of sub-runs 0-1",
    )
    assert verdict(layout, 1873).missing == ("the calibration is not finished",)
    assert not layout.analysis_dir.exists()


@pytest.mark.parametrize("kind", PRODUCT_KINDS)
def test_missing_product_is_named_with_its_subrun(complete: Layout, kind: ProductKind) -> None:
    complete.working(kind, 1874, 1).unlink()
    assert verdict(complete).missing == (f"no {kind.name} of sub-runs 1",)
    assert verdict(complete, 1875).is_complete


def test_interleaved_events_need_not_be_there(complete: Layout) -> None:
    complete.working(INTERLEAVED, 1874, 1).unlink()
    assert verdict(complete).is_complete


@pytest.mark.parametrize("kind", PRODUCT_KINDS)
@pytest.mark.parametrize("place", ["working", "final"])
def test_truncated_product_is_found(complete: Layout, kind: ProductKind, place: str) -> None:
    path = complete.working(kind, 1874, 1)
    if place == "final":
        target = complete.final(kind, 1874, 1)
        target.parent.mkdir(parents=True)
        path = path.rename(target)
    cut(path)
    (missing,) = verdict(complete).missing
    assert missing.startswith("sub-run 1: ")
    assert str(path) in missing
    assert "\n" not in missing


def test_products_of_another_run_or_subrun_are_found(complete: Layout) -> None:
    write_dl1(complete.working(DL1, 1874, 0), 1875)
    write_datacheck(complete.working(DATACHECK, 1874, 1), 0)
    first, second = verdict(complete).missing
    assert first.startswith("sub-run 0: ") and "holds events of run(s) [1875], not of 1874" in first
    assert second.startswith("sub-run 1: ") and "holds sub-runs [0]; expected [1]" in second
    write_dl2(complete.working(DL2, 1875, 0), 1874)
    assert "not of 1875" in verdict(complete, 1875).missing[0]


@pytest.mark.parametrize("program", ["lstchain_data_r0_to_dl1", "lstchain_check_dl1", "lstchain_dl1_to_dl2"])
def test_product_whose_history_does_not_say_done(complete: Layout, program: str) -> None:
    add_try(complete, 1874, 1, program, 1)
    assert verdict(complete).missing == ("the history does not say done for sub-runs 1",)


def test_product_without_history(complete: Layout) -> None:
    complete.history(1874, 0).unlink()
    complete.history(1874, 1).unlink()
    assert verdict(complete).missing == ("the history does not say done for sub-runs 0-1",)


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("place", ["working", "final"])
def test_corrupt_calibration_is_found(complete: Layout, number: int, place: str) -> None:
    path = products(complete)[number]
    if place == "final":
        complete.final_calibration_dir.mkdir(parents=True)
        path = path.rename(complete.final_calibration_dir / path.name)
    cut(path)
    (missing,) = verdict(complete, 1873).missing
    assert str(path) in missing


def test_calibration_whose_history_says_failed(complete: Layout) -> None:
    add_try(complete, CALIBRATION_RUN, None, "lstchain_create_calibration_file", 1)
    assert verdict(complete, 1873).missing == ("the calibration is not finished",)


@pytest.mark.parametrize("state", [JobState.PENDING, JobState.RUNNING, JobState.UNKNOWN])
def test_task_that_is_alive(complete: Layout, state: JobState) -> None:
    found = verdict(complete, records=[record("LST1_01874", 0), record("LST1_01874", 1, state)])
    assert found.missing == ("1 task(s) still pending or running",)


def test_vetoed_sequence_is_not_complete(complete: Layout) -> None:
    complete.veto(plan_night(complete).data[0]).touch()
    assert verdict(complete).missing == ("it is vetoed",)


def test_absent_raw_files_are_missing(complete: Layout) -> None:
    complete.raw_file(1874, 0).unlink()
    assert verdict(complete).missing == ("no raw files of sub-runs 0",)


def test_run_without_raw_files(complete: Layout) -> None:
    complete.raw_file(1875, 0).unlink()
    (missing,) = verdict(complete, 1875).missing
    assert "no raw files" in missing


def test_closed_sequence_is_not_opened_again(complete: Layout) -> None:
    complete.closed(plan_night(complete).data[0]).touch()
    for kind in PRODUCT_KINDS:
        complete.working(kind, 1874, 0).unlink()
    assert verdict(complete).is_complete


def test_calibration_that_is_blocked_says_why(complete: Layout) -> None:
    states = read_night_state(complete, plan_night(complete), ())
    sequence = replace(states[0].sequence, drs4_run=None, blocked="no usable DRS4 run")
    assert judge(complete, replace(states[0], sequence=sequence), Examiner()).missing == (
        "no usable DRS4 run",
    )


def test_product_is_looked_for_in_its_final_place_first(complete: Layout) -> None:
    working, final = complete.working(MUONS, 1874, 0), complete.final(MUONS, 1874, 0)
    assert present_path(complete, MUONS, 1874, 0) == working
    final.parent.mkdir(parents=True)
    final.touch()
    assert present_path(complete, MUONS, 1874, 0) == final


# ------------------------------------------------------------------- damage, and files that grew


def test_damage_names_the_file_and_its_subrun(complete: Layout) -> None:
    path = complete.working(DL2, 1874, 1)
    cut(path)
    found = verdict(complete)
    (damage,) = found.damaged
    assert (damage.path, damage.subrun) == (path, 1)
    assert str(damage) == f"sub-run 1: {damage.reason}"
    assert found.missing == (str(damage),)


def test_first_damaged_product_of_a_subrun_is_named_as_the_others_follow_from_it(complete: Layout) -> None:
    for kind in (DL1, DL2):
        for subrun in (0, 1):
            cut(complete.working(kind, 1874, subrun))
    assert [damage.path for damage in verdict(complete).damaged] == [
        complete.working(DL1, 1874, 0),
        complete.working(DL1, 1874, 1),
    ]


def test_damage_of_the_calibration_has_no_subrun(complete: Layout) -> None:
    for path in products(complete)[:2]:
        cut(path)
    found = verdict(complete, 1873).damaged
    assert [(damage.path, damage.subrun) for damage in found] == [
        (path, None) for path in products(complete)[:2]
    ]
    assert all(str(damage) == damage.reason for damage in found)


def test_what_is_still_to_be_made_is_missing_and_not_damaged(complete: Layout) -> None:
    cut(complete.working(DL2, 1874, 1))
    add_try(complete, 1874, 1, "lstchain_dl1_to_dl2", 1)
    assert verdict(complete).damaged == ()
    add_try(complete, CALIBRATION_RUN, None, "lstchain_create_calibration_file", 1)
    cut(complete.charge_calibration(CALIBRATION_RUN))
    assert verdict(complete, 1873).damaged == ()


def test_damage_in_the_final_place_is_that_of_the_final_file(complete: Layout) -> None:
    final = complete.final(MUONS, 1874, 0)
    final.parent.mkdir(parents=True)
    cut(complete.working(MUONS, 1874, 0).rename(final))
    assert [damage.path for damage in verdict(complete).damaged] == [final]


def raw_of(layout: Layout, n_events: int, *, seconds: float) -> None:
    """Give a sub-run a raw file that was changed so long after its DL1 was made."""
    path = write_raw(layout.raw_file(1874, 1), n_events)
    made = layout.working(DL1, 1874, 1).stat().st_mtime
    os.utime(path, (made + seconds, made + seconds))


@pytest.mark.parametrize(
    ("n_events", "seconds", "is_damaged"),
    [
        (N_EVENTS, 60, False),  # touched, or copied again
        (N_EVENTS + 5, 60, False),  # ctapipe_io_lst passes over a handful
        (N_EVENTS + 6, 60, True),
        (10 * N_EVENTS, 60, True),
        (N_EVENTS - 1, 60, True),  # another file
        (10 * N_EVENTS, -60, False),  # it was so when DL1 was made and checked
        (10 * N_EVENTS, 0, False),
    ],
)
def test_raw_file_that_grew_after_dl1_was_made(
    complete: Layout, n_events: int, seconds: float, is_damaged: bool
) -> None:
    raw_of(complete, n_events, seconds=seconds)
    found = verdict(complete)
    assert [(damage.path, damage.subrun) for damage in found.damaged] == (
        [(complete.working(DL1, 1874, 1), 1)] if is_damaged else []
    )
    assert found.is_complete is not is_damaged


@pytest.mark.parametrize("how", ["gone", "torn"])
def test_raw_file_that_cannot_be_read_any_more_says_nothing_of_its_products(
    complete: Layout, how: str
) -> None:
    raw_of(complete, 10 * N_EVENTS, seconds=60)
    state = next(s for s in read_night_state(complete, plan_night(complete), ()) if s.sequence.run == 1874)
    if how == "gone":
        complete.raw_file(1874, 1).unlink()
    else:
        cut(complete.raw_file(1874, 1))
        complete.raw_file(1874, 1).write_bytes(b"SIMPLE" * 1000)
    assert judge(complete, state, Examiner()).is_complete
