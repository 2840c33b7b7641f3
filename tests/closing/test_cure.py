"""What the closer can do about what is missing, and that it does just that."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from failed_tries import NO_POINTING, Failures
from made_up_scheduler import MadeUpScheduler
from night_states import CALIBRATION_RUN, DRS4_RUN, SUBMITTED, calibration_sequence, data_sequence

from osa.closing.cure import Applied, Cures, apply_cures, find_cures
from osa.closing.night import Closing
from osa.closing.remedies import SetAside
from osa.config import Settings
from osa.cures.other_night import find_other_calibration
from osa.flags import lift_veto, put_veto
from osa.incidences import read_incidences
from osa.layout import DL1, DL2, PRODUCT_KINDS, Layout
from osa.model.job import JobState
from osa.model.night import Night
from osa.model.sequence import NightPlan
from osa.nightsummary.plan import plan_night
from osa.sequencing import decide_night

FAILED, OOM, RUNNING, PENDING = JobState.FAILED, JobState.OUT_OF_MEMORY, JobState.RUNNING, JobState.PENDING


@pytest.fixture
def worked(complete: Layout) -> Layout:
    """The complete night, on which the sequencer has worked."""
    complete.night_lock.touch()
    return complete


def unmake(layout: Layout, run: int, *subruns: int) -> None:
    for subrun in subruns:
        layout.history(run, subrun).unlink()
        for kind in PRODUCT_KINDS:
            layout.working(kind, run, subrun).unlink()


def unmake_calibration(layout: Layout) -> None:
    layout.history(CALIBRATION_RUN).unlink()
    for path in own_calibration(layout):
        path.unlink()


def unmake_all(layout: Layout) -> None:
    unmake(layout, 1874, 0, 1)
    unmake(layout, 1875, 0)
    unmake_calibration(layout)


def own_calibration(layout: Layout) -> list[Path]:
    return [
        layout.drs4_pedestal(DRS4_RUN),
        layout.time_calibration(CALIBRATION_RUN),
        layout.charge_calibration(CALIBRATION_RUN),
    ]


def lend(layout: Layout, days: int = 2) -> Night:
    """Give the night's calibration to an earlier night, where it is final."""
    other = Layout(layout.settings, Night(layout.night.date - timedelta(days=days)))
    other.final_calibration_dir.mkdir(parents=True)
    for path in own_calibration(layout):
        shutil.copy(path, other.final_calibration_dir)
    return other.night


def prepare(layout: Layout, scheduler: MadeUpScheduler, run: int | None = None) -> Closing:
    return Closing.prepare(layout, scheduler, run=run)


def cures_of(layout: Layout, *tries: Failures, run: int | None = None) -> Cures:
    scheduler = MadeUpScheduler(known=[record for one in tries for record in one.records])
    return prepare(layout, scheduler, run).cures(scheduler)


def apply(layout: Layout, *tries: Failures, run: int | None = None) -> tuple[Applied, MadeUpScheduler]:
    scheduler = MadeUpScheduler(known=[record for one in tries for record in one.records])
    cures = prepare(layout, scheduler, run).cures(scheduler)
    return apply_cures(layout, cures, scheduler, run=run), scheduler


# -------------------------------------------------------------------------------- submitting


def test_complete_night_needs_no_cure(worked: Layout) -> None:
    cures = cures_of(worked)
    assert not cures
    assert (cures.lines, cures.remarks) == ((), ())


def test_night_that_no_sequencer_has_worked_on_is_left_to_it(complete: Layout) -> None:
    unmake(complete, 1874, 1)
    cures = cures_of(complete)
    assert not cures
    assert cures.remarks == ("sequencer was not run on this night yet",)


def test_what_is_missing_is_submitted_with_what_it_lacked(worked: Layout) -> None:
    unmake(worked, 1874, 0, 1)
    tries = Failures(worked)
    tries.add(OOM, task=1)
    assert cures_of(worked, tries).lines == (
        "submit sub-run 0 of run 01874: it is missing",
        "submit sub-run 1 of run 01874 with 16 GB: out of memory",
    )
    done, scheduler = apply(worked, tries)
    assert done.submitted == 2
    assert done.lines == cures_of(worked, tries).lines
    assert sorted(scheduler.taken) == [("LST1_01874", (0,), 8192), ("LST1_01874", (1,), 16384)]


def test_finding_cures_changes_nothing(worked: Layout) -> None:
    lend(worked)
    unmake(worked, 1874, 0, 1)
    unmake_calibration(worked)
    worked.working(DL1, 1875, 0).write_bytes(b"torn")
    tries, calibration = Failures(worked), Failures(worked, calibration_sequence())
    tries.add(FAILED, task=0, log=NO_POINTING)
    tries.add(PENDING, task=1, reason="DependencyNeverSatisfied")
    calibration.add(OOM)
    calibration.add(OOM)
    base = worked.settings.telescope.raw_dir.parent
    lines = cures_of(worked, tries, calibration).lines
    assert {line.split()[0] for line in lines} == {"set", "cancel", "veto"}
    unmake(worked, 1875, 0)
    before = {path: path.lstat().st_mtime_ns for path in base.rglob("*")}
    lines = cures_of(worked, tries, calibration).lines
    assert {line.split()[0] for line in lines} == {"cancel", "use", "veto"}
    assert {path: path.lstat().st_mtime_ns for path in base.rglob("*")} == before


def test_what_is_at_work_is_not_submitted(worked: Layout) -> None:
    unmake(worked, 1874, 0, 1)
    tries = Failures(worked)
    tries.add(RUNNING, task=0)
    tries.add(PENDING, task=1)
    assert not cures_of(worked, tries)


def test_used_up_tries_are_vetoed_once(worked: Layout) -> None:
    unmake(worked, 1875, 0)
    tries = Failures(worked, data_sequence(1875, 1))
    tries.add(OOM)
    tries.add(OOM)
    done, scheduler = apply(worked, tries)
    (line,) = done.lines
    assert line.startswith("veto run 01875: ")
    assert (done.submitted, scheduler.jobs) == (0, [])
    assert worked.veto(tries.sequence).exists()
    assert not cures_of(worked, tries)


def test_only_the_run_that_is_asked_for(worked: Layout) -> None:
    unmake(worked, 1874, 0)
    unmake(worked, 1875, 0)
    assert cures_of(worked, run=1875).lines == ("submit sub-run 0 of run 01875: it is missing",)
    _, scheduler = apply(worked, run=1875)
    assert [name for name, _, _ in scheduler.taken] == ["LST1_01875"]


def test_with_one_run_goes_the_calibration_that_it_waits_for(worked: Layout) -> None:
    unmake(worked, 1874, 0)
    unmake(worked, 1875, 0)
    unmake_calibration(worked)
    _, scheduler = apply(worked, run=1875)
    assert [name for name, _, _ in scheduler.taken] == ["LST1_01873", "LST1_01875"]
    assert scheduler.after == [None, "101"]


def test_what_is_said_of_one_run_is_what_is_done(worked: Layout) -> None:
    unmake(worked, 1875, 0)
    unmake_calibration(worked)
    put_veto(worked, calibration_sequence(), "x")
    said = cures_of(worked, run=1875).lines
    done, scheduler = apply(worked, run=1875)
    assert scheduler.jobs == []
    assert said == done.lines


# ------------------------------------------------------------------------------ leaving out


def test_what_no_try_cures_is_left_out(worked: Layout) -> None:
    unmake(worked, 1874, 1)
    tries = Failures(worked, data_sequence(n_subruns=2))
    tries.add(FAILED, task=1, log=NO_POINTING)
    done, scheduler = apply(worked, tries)
    assert done.lines == ("leave out sub-run 1 of run 01874: no pointing",)
    assert scheduler.jobs == []
    assert prepare(worked, scheduler).is_complete


def test_run_of_which_nothing_is_left_is_left_out(worked: Layout) -> None:
    unmake(worked, 1874, 0, 1)
    tries = Failures(worked, data_sequence(n_subruns=2))
    for task in (0, 1):
        tries.add(FAILED, task=task, log=NO_POINTING)
    done, _ = apply(worked, tries)
    assert done.lines == ("leave out run 01874: no pointing",)
    assert [sequence.run for sequence in plan_night(worked).data] == [1875]
    # What the run had waits for nobody.
    assert prepare(worked, MadeUpScheduler()).is_complete


def test_nothing_is_left_out_while_its_run_is_at_work(worked: Layout) -> None:
    unmake(worked, 1874, 0, 1)
    tries = Failures(worked, data_sequence(n_subruns=2))
    tries.add(FAILED, task=1, log=NO_POINTING)
    tries.add(RUNNING, task=0)
    assert not cures_of(worked, tries)


def test_other_failures_of_the_run_are_tried_again_meanwhile(worked: Layout) -> None:
    unmake(worked, 1874, 0, 1)
    tries = Failures(worked, data_sequence(n_subruns=2))
    tries.add(FAILED, task=1, log=NO_POINTING)
    tries.add(OOM, task=0)
    _, scheduler = apply(worked, tries)
    assert scheduler.taken == [("LST1_01874", (0,), 16384)]
    assert plan_night(worked).data[0].left_out == (1,)


def todo_after_taking_in(layout: Layout, tries: Failures) -> dict[int, tuple[int, ...]]:
    decisions = decide_night(layout, plan_night(layout), tries.records, simulate=False)
    return {decision.sequence.run: decision.tasks for decision in decisions}


@pytest.mark.parametrize("is_there_now", [False, True])
def test_line_that_is_removed_by_hand(worked: Layout, is_there_now: bool) -> None:
    """It is tried again where the drive log has come since; else what is known of it is known still."""
    unmake(worked, 1874, 1)
    worked.drive_log.touch()
    ended = max(path.stat().st_mtime for path in (worked.drive_log, worked.raw_file(1874, 1))) + 1
    tries = Failures(worked, data_sequence(n_subruns=2))
    tries.add(FAILED, task=1, log=NO_POINTING, ended=datetime.fromtimestamp(ended, UTC))
    apply(worked, tries)
    assert plan_night(worked).data[0].left_out == (1,)
    worked.left_out.unlink()
    if is_there_now:
        os.utime(worked.drive_log, (ended + 1, ended + 1))
    again = (1,) if is_there_now else ()
    assert todo_after_taking_in(worked, tries) == {1873: (), 1874: again, 1875: ()}
    # Failing so once more leaves it out for good.
    tries.add(FAILED, task=1, log=NO_POINTING, ended=datetime.fromtimestamp(ended + 2, UTC))
    assert todo_after_taking_in(worked, tries) == {1873: (), 1874: (), 1875: ()}


def test_line_that_is_removed_and_tries_that_do_not_count_any_more(worked: Layout) -> None:
    unmake(worked, 1874, 1)
    tries = Failures(worked, data_sequence(n_subruns=2))
    tries.add(FAILED, task=1, log=NO_POINTING)
    apply(worked, tries)
    worked.left_out.unlink()
    lift_veto(worked, tries.sequence, ["1"], clock=SUBMITTED)
    assert todo_after_taking_in(worked, tries) == {1873: (), 1874: (1,), 1875: ()}


def without_pointing(layout: Layout) -> list[Failures]:
    """No sub-run of the night has a pointing."""
    unmake(layout, 1874, 0, 1)
    unmake(layout, 1875, 0)
    tries, others = Failures(layout, data_sequence(n_subruns=2)), Failures(layout, data_sequence(1875, 1))
    for task in (0, 1):
        tries.add(FAILED, task=task, log=NO_POINTING)
    others.add(FAILED, log=NO_POINTING)
    return [tries, others]


def test_nothing_is_left_out_where_it_would_be_all_of_the_night(worked: Layout) -> None:
    cures = cures_of(worked, *without_pointing(worked))
    assert not cures
    assert cures.remarks == (
        "no sub-run of the night can be analysed (no pointing): nothing is left out by itself",
    )


def test_one_run_after_the_other_does_not_leave_out_all_of_the_night(worked: Layout) -> None:
    tries = without_pointing(worked)
    done, _ = apply(worked, *tries, run=1874)
    assert done.lines == ("leave out run 01874: no pointing",)
    cures = cures_of(worked, *tries, run=1875)
    assert not cures and "no sub-run of the night" in cures.remarks[0]


# --------------------------------------------------------------------------- setting aside


def test_damaged_product_is_set_aside_and_made_again(worked: Layout) -> None:
    path = worked.working(DL2, 1874, 1)
    path.write_bytes(b"torn")
    done, scheduler = apply(worked)
    assert not path.exists()
    assert scheduler.taken == [("LST1_01874", (1,), 8192)]
    assert [line.split(":")[0] for line in done.lines] == [
        f"set aside {path.name}, to have it made again",
        "submit sub-run 1 of run 01874",
    ]
    assert any(path.name in line for line in read_incidences(worked.incidences))


@pytest.mark.parametrize("most", [1, 3])
def test_setting_aside_is_bounded(make_settings: Callable[..., Settings], worked: Layout, most: int) -> None:
    layout = Layout(make_settings({("ANALYSIS", "maxtryfailed"): str(most)}), worked.night)
    path = layout.working(DL2, 1874, 1)
    for number in range(most):
        path.write_bytes(b"torn")
        assert SetAside.count(path) == number
        assert cures_of(layout).remedies
        os.replace(path, path.with_name(f"{path.name}.damaged.2020012{number}T000000"))
    path.write_bytes(b"torn")
    cures = cures_of(layout)
    assert not cures
    assert cures.remarks == (f"{path.name} was damaged and made again too often: look at the disk",)


def test_damaged_calibration_is_made_again_before_the_data(worked: Layout) -> None:
    unmake(worked, 1875, 0)
    worked.charge_calibration(CALIBRATION_RUN).write_bytes(b"torn")
    _, scheduler = apply(worked)
    assert [name for name, _, _ in scheduler.taken] == ["LST1_01873", "LST1_01875"]
    assert scheduler.after == [None, "101"]


@pytest.mark.parametrize("state", [RUNNING, PENDING, JobState.UNKNOWN])
def test_nothing_is_set_aside_under_its_tasks(worked: Layout, state: JobState) -> None:
    worked.working(DL2, 1874, 1).write_bytes(b"torn")
    tries = Failures(worked, data_sequence(n_subruns=2))
    tries.add(state, task=0)
    assert not cures_of(worked, tries)


@pytest.mark.parametrize("state", [RUNNING, PENDING, JobState.UNKNOWN])
def test_calibration_is_not_set_aside_while_a_task_of_the_night_reads_it(
    worked: Layout, state: JobState
) -> None:
    unmake(worked, 1875, 0)
    worked.charge_calibration(CALIBRATION_RUN).write_bytes(b"torn")
    tries = Failures(worked, data_sequence(1875, 1))
    tries.add(state)
    assert not any(line.startswith("set aside") for line in cures_of(worked, tries).lines)
    assert any(line.startswith("set aside") for line in cures_of(worked).lines)


def test_nothing_is_set_aside_of_a_vetoed_run(worked: Layout) -> None:
    worked.working(DL2, 1874, 1).write_bytes(b"torn")
    put_veto(worked, data_sequence(), "x")
    assert not cures_of(worked)


# ------------------------------------------------------------------------------- cancelling


def test_what_waits_in_vain_is_cancelled(worked: Layout) -> None:
    unmake(worked, 1874, 0, 1)
    unmake_calibration(worked)
    tries, calibration = Failures(worked), Failures(worked, calibration_sequence())
    calibration.add(FAILED)
    for task in (0, 1):
        tries.add(PENDING, task=task, reason="DependencyNeverSatisfied")
    done, scheduler = apply(worked, tries, calibration)
    assert "cancel what is pending of LST1_01874: calibration failed" in done.lines
    assert scheduler.cancelled == ["LST1_01874"]


def test_what_runs_is_not_cancelled_with_what_waits_in_vain(worked: Layout) -> None:
    unmake(worked, 1874, 0, 1)
    unmake_calibration(worked)
    tries, calibration = Failures(worked), Failures(worked, calibration_sequence())
    calibration.add(FAILED)
    tries.add(RUNNING, task=0)
    tries.add(PENDING, task=1, reason="DependencyNeverSatisfied")
    _, scheduler = apply(worked, tries, calibration)
    assert scheduler.cancelled == []


# --------------------------------------------------------------------------------- borrowing


def test_calibration_that_is_used_up_is_borrowed(worked: Layout) -> None:
    night = lend(worked)
    unmake_all(worked)
    calibration = Failures(worked, calibration_sequence())
    for _ in range(2):
        calibration.add(OOM)
    done, scheduler = apply(worked, calibration)
    assert (
        f"use the calibration of the night {night}: the night's own cannot be had: run 01873 is vetoed"
        in (done.lines)
    )
    assert scheduler.taken == [("LST1_01874", (0, 1), 8192), ("LST1_01875", (0,), 8192)]
    assert scheduler.after == [None, None]
    plan = plan_night(worked)
    assert plan.borrowed is not None and plan.borrowed.night == night


@pytest.mark.parametrize("label", ["DRS4", "CALI"])
def test_night_without_usable_runs_borrows(worked: Layout, label: str) -> None:
    night = lend(worked)
    unmake_all(worked)
    text = worked.night_summary.read_text("utf-8").replace(label, "ERROR")
    worked.night_summary.write_text(text, "utf-8")
    apply(worked)
    plan = plan_night(worked)
    assert plan.borrowed is not None and plan.borrowed.night == night


def test_nothing_is_borrowed_where_nobody_needs_it(worked: Layout) -> None:
    lend(worked)
    unmake_calibration(worked)
    put_veto(worked, calibration_sequence(), "x")
    assert not cures_of(worked)


@pytest.mark.parametrize("state", [FAILED, RUNNING, PENDING])
def test_nothing_is_borrowed_while_the_own_may_come(worked: Layout, state: JobState) -> None:
    lend(worked)
    unmake_all(worked)
    calibration = Failures(worked, calibration_sequence())
    calibration.add(state)
    assert not any(line.startswith("use") for line in cures_of(worked, calibration).lines)


@pytest.mark.parametrize("why", ["vetoed", "no usable run"])
def test_nothing_is_borrowed_for_one_run(worked: Layout, why: str) -> None:
    """It would change the others too."""
    lend(worked)
    unmake_all(worked)
    if why == "vetoed":
        put_veto(worked, calibration_sequence(), "x")
    else:
        text = worked.night_summary.read_text("utf-8").replace("CALI", "ERROR")
        worked.night_summary.write_text(text, "utf-8")
    assert not any(line.startswith("use") for line in cures_of(worked, run=1875).lines)
    apply(worked, run=1875)
    assert plan_night(worked).borrowed is None


@pytest.mark.parametrize(
    ("days", "words"), [("3", "none of the 3 night(s) before has one"), ("", "is empty")]
)
def test_where_there_is_none_to_borrow_it_is_said(
    make_settings: Callable[..., Settings], worked: Layout, days: str, words: str
) -> None:
    unmake_all(worked)
    put_veto(worked, calibration_sequence(), "x")
    layout = Layout(make_settings({("CALIBRATION", "other_night_days"): days}), worked.night)
    (remark,) = cures_of(layout).remarks
    assert words in remark and "run 01873 is vetoed" in remark


def test_what_is_borrowed_is_not_borrowed_again(worked: Layout) -> None:
    lend(worked)
    unmake_all(worked)
    put_veto(worked, calibration_sequence(), "x")
    apply(worked)
    assert find_other_calibration(worked) is not None
    assert [line.split()[0] for line in cures_of(worked).lines] == ["submit", "submit"]


def test_nothing_is_borrowed_where_data_was_made_with_the_own(worked: Layout) -> None:
    lend(worked)
    unmake(worked, 1875, 0)
    unmake_calibration(worked)
    put_veto(worked, calibration_sequence(), "x")
    cures = cures_of(worked)
    assert not cures
    (remark,) = cures.remarks
    assert "data was made with it already: no other is mixed in" in remark


def test_nothing_is_borrowed_where_an_operator_wants_the_own(worked: Layout) -> None:
    night = lend(worked)
    unmake_all(worked)
    put_veto(worked, calibration_sequence(), "x")
    worked.own_calibration.touch()
    cures = cures_of(worked)
    assert not cures
    (remark,) = cures.remarks
    assert "an operator wants that and no other (calibration.own; remove it" in remark
    worked.own_calibration.unlink()
    assert any(str(night) in line for line in cures_of(worked).lines)


@pytest.mark.parametrize("run", [DRS4_RUN, CALIBRATION_RUN])
@pytest.mark.parametrize("is_over", [False, True])
def test_nothing_is_borrowed_while_raw_files_of_the_own_may_come(
    worked: Layout, monkeypatch: pytest.MonkeyPatch, run: int, is_over: bool
) -> None:
    lend(worked)
    unmake_all(worked)
    worked.raw_file(run, 0).unlink()
    monkeypatch.setattr("osa.closing.cure.is_late", lambda *_: is_over)
    cures = cures_of(worked)
    assert [line.split()[0] for line in cures.lines] == (["use"] if is_over else [])
    waits = f"raw files of run(s) {run} may still come: it is waited for them"
    assert any(waits in remark for remark in cures.remarks) is not is_over


def test_cures_are_found_without_a_closing_too(worked: Layout, plan: NightPlan) -> None:
    scheduler = MadeUpScheduler()
    closing = prepare(worked, scheduler)
    assert not find_cures(worked, plan, iter(closing.states), iter(closing.verdicts), scheduler)
    unmake(worked, 1874, 0)
    states = prepare(worked, scheduler).states
    assert find_cures(worked, plan, iter(states), closing.verdicts, scheduler).lines == (
        "submit sub-run 0 of run 01874: it is missing",
    )
