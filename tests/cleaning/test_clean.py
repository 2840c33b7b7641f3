"""Cleaning a night: only what is due, only when nobody is at work, killed anywhere and done again."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from made_up_scheduler import MadeUpScheduler
from night_states import SUBMITTED

from osa.cleaning import clean as clean_module
from osa.cleaning.clean import Cleaned, clean_night, look_at
from osa.cleaning.due import Kind
from osa.cleaning.trees import Tally
from osa.closing.undo import stamp
from osa.config import Settings
from osa.cures.evidence import read_tail
from osa.errors import MissingServiceError
from osa.layout import Layout
from osa.model.job import JobGroup, JobSpec, JobState, Resources, TaskRecord
from osa.model.night import Night
from osa.scheduler.local_store import LocalStore
from osa.scheduler.submissions import Submission, Submissions
from osa.system.locks import only_instance
from tests.cleaning.leftover_night import (
    CLOCK,
    SAID,
    SETTINGS,
    Snapshot,
    base_of,
    close,
    held_elsewhere,
    is_killed,
    snapshot,
    without_locks,
    write,
    write_logs,
    write_night,
    write_set_aside,
    write_unfinished,
    write_what_stays,
)


def clean(layout: Layout, scheduler: MadeUpScheduler | None = None, clock: datetime = CLOCK) -> Cleaned:
    return clean_night(layout, scheduler or MadeUpScheduler(), clock=clock)


def here(layout: Layout) -> Snapshot:
    return without_locks(snapshot(base_of(layout)))


def what_stays(layout: Layout, *more: Callable[[Layout], None]) -> Snapshot:
    """Tell what there is of a night that has nothing but what stays, and some more."""
    write_what_stays(layout)
    for each in more:
        each(layout)
    close(layout)
    return here(layout)


def assert_same(found: Snapshot, expected: Snapshot) -> None:
    """Compare all but the times, which are those of two nights that were written one after the other."""
    assert {path: what[:2] for path, what in found.items()} == {
        path: what[:2] for path, what in expected.items()
    }


def test_all_that_is_due_goes_and_nothing_else(left: Layout) -> None:
    before = here(left)
    cleaned = clean(left)
    after = here(left)
    assert cleaned.faults == ()
    assert cleaned.left_alone is None
    gone = {path.removeprefix(f"{left.analysis_dir}/") for path in before.keys() - after.keys()}
    new = {path.removeprefix(f"{left.analysis_dir}/") for path in after.keys() - before.keys()}
    assert new == {f"log/{name}.gz" for name in SAID}
    tops = (".unfinished", ".environment", "set_aside")
    assert {path for path in gone if path.split("/")[0] not in tops} == {
        ".sequence_LST1_01874.py.ab12_x9z",
        ".Incidences.txt.abcdefgh",
        ".left_out.override.abcdefgh",
        ".calibration.Run01873.0000.h5.link",
        "log/.gone.log.gz.partial",
        "dl1_LST-1.Run01874.0001.h5.damaged.20200128T120000",
        "dl1_LST-1.Run01874.0001.h5.damaged.20200128T120000.2",
        *(f"log/{name}" for name in SAID),
    }
    assert not any((left.analysis_dir / top).exists() for top in tops)
    # What is left was not touched: neither content nor time.
    assert {path: before[path] for path in after if path in before} == {
        path: what for path, what in after.items() if path in before
    }
    for name, said in SAID.items():
        assert gzip.decompress((left.log_dir / f"{name}.gz").read_bytes()) == said


def test_what_was_freed_is_told(left: Layout) -> None:
    size = sum(len(said) for said in SAID.values())
    cleaned = clean(left)
    packed = sum((left.log_dir / f"{name}.gz").stat().st_size for name in SAID)
    assert cleaned.tallies == {
        Kind.UNFINISHED: Tally(8, 6040),
        Kind.SET_ASIDE: Tally(4, 5450),
        Kind.LOG: Tally(4, size - packed),
    }


def test_second_time_has_nothing_to_do(left: Layout) -> None:
    clean(left)
    before = here(left)
    assert look_at(left, CLOCK).leftovers == ()
    assert clean(left) == Cleaned()
    assert here(left) == before


def test_looking_changes_nothing(left: Layout) -> None:
    before = snapshot(base_of(left))
    look = look_at(left, CLOCK)
    assert look.is_closed
    assert look.tallies[Kind.SET_ASIDE] == Tally(4, 5450)
    assert snapshot(base_of(left)) == before


@pytest.mark.parametrize(
    ("days", "written"),
    [
        (1, (write_unfinished, write_logs, write_set_aside)),
        (5, (write_logs, write_set_aside)),
        (40, (write_set_aside,)),
        (100, ()),
    ],
)
def test_each_kind_goes_when_it_is_due(
    make_settings: Callable[..., Settings],
    night: Night,
    tmp_path: Path,
    days: int,
    written: tuple[Callable[[Layout], None], ...],
) -> None:
    layout = Layout(make_settings(SETTINGS), night)
    expected = what_stays(layout, *written)
    base_of(layout).rename(tmp_path / "first")
    layout = Layout(make_settings(SETTINGS), night)
    write_night(layout, days)
    cleaned = clean(layout)
    assert cleaned.faults == ()
    found = here(layout)
    packed = [path for path in found if path.endswith(".log.gz")]
    assert len(packed) == (0 if write_logs in written else len(SAID))
    assert_same({path: what for path, what in found.items() if path not in packed}, expected)


def test_night_that_is_not_closed_is_not_touched(left: Layout) -> None:
    left.night_finished.unlink()
    before = here(left)
    look = look_at(left, CLOCK)
    assert (look.is_closed, look.leftovers) == (False, ())
    assert clean(left).left_alone == "it is not closed"
    assert here(left) == before


def test_night_that_was_opened_while_we_waited_is_not_touched(left: Layout) -> None:
    """It is looked at once more when the lock is held."""
    look = look_at(left, CLOCK)
    assert look.leftovers
    left.night_finished.rename(left.night_finished.with_name(f"NightFinished.{stamp(CLOCK)}.txt"))
    before = here(left)
    assert clean(left).left_alone is not None
    assert here(left) == before


def test_clock_that_was_set_back_touches_nothing(left: Layout) -> None:
    before = here(left)
    assert clean(left, clock=CLOCK - timedelta(days=200)) == Cleaned()
    assert here(left) == before


def test_held_night_is_left_alone(left: Layout) -> None:
    before = here(left)
    with only_instance(left.night_lock, "the test"):
        cleaned = clean(left)
    assert cleaned.left_alone is not None
    assert f"night {left.night} of LST1: already at work (process {os.getpid()}" in cleaned.left_alone
    assert here(left) == before


def test_night_is_held_while_it_is_cleaned(left: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    real = clean_module.compress_log
    others = []

    def compress(folder: int, name: str) -> int | None:
        others.append(clean(left).left_alone)
        return real(folder, name)

    monkeypatch.setattr(clean_module, "compress_log", compress)
    assert clean(left).left_alone is None
    assert len(others) == len(SAID)
    assert all(other is not None and "already at work" in other for other in others)


@pytest.mark.parametrize("number", [18730000, 18740001])
def test_task_that_was_started_by_hand_keeps_its_night(left: Layout, number: int) -> None:
    """No scheduler knows of it, but it has its lock."""
    before = here(left)
    code = (
        "from osa.system.locks import only_try\n"
        f"with only_try(Path({str(left.task_lock)!r}), {number}, 'a task'):\n wait()"
    )
    with held_elsewhere(code):
        assert clean(left).left_alone == f"night {left.night} of LST1: a task is at work"
    assert here(left) == before
    assert clean(left).left_alone is None


def test_night_without_a_lock_of_tasks_is_cleaned(left: Layout) -> None:
    left.task_lock.unlink()
    assert clean(left).left_alone is None
    assert not left.task_lock.exists()
    assert not left.scratch_dir.exists()


@pytest.mark.parametrize("state", [state for state in JobState if state.is_live])
def test_task_that_may_be_alive_keeps_its_night(left: Layout, state: JobState) -> None:
    scheduler = MadeUpScheduler([TaskRecord("7", "LST1_01874", 0, state, SUBMITTED)])
    before = here(left)
    assert clean(left, scheduler).left_alone == "tasks of LST1_01874 may be at work"
    assert here(left) == before
    scheduler.known[0] = replace(scheduler.known[0], state=JobState.FAILED)
    assert clean(left, scheduler).left_alone is None


def test_jobs_are_asked_for_by_their_scripts(left: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script that was submitted by hand has no note."""
    asked: list[str] = []

    def records(_group: JobGroup, names: list[str]) -> tuple[TaskRecord, ...]:
        asked.extend(names)
        return ()

    scheduler = MadeUpScheduler()
    monkeypatch.setattr(scheduler, "records", records)
    clean(left, scheduler)
    assert asked == ["LST1_01874"]


def test_scheduler_that_gives_no_answer_keeps_the_night(
    left: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def records(*_: object) -> tuple[TaskRecord, ...]:
        raise MissingServiceError("Slurm is away")

    scheduler = MadeUpScheduler()
    monkeypatch.setattr(scheduler, "records", records)
    before = here(left)
    assert clean(left, scheduler).left_alone == "nobody knows whether tasks are at work (Slurm is away)"
    assert here(left) == before


def test_task_of_this_machine_keeps_the_night_whoever_has_its_jobs_now(left: Layout) -> None:
    resources = Resources(cpus=1, memory=1, walltime=timedelta(hours=1))
    job = JobSpec("LST1_01875", left.group, left.analysis_dir / "job.py", left.log_dir, resources)
    LocalStore(left.settings.local.state_dir).add(job, None)
    assert clean(left).left_alone == "tasks of LST1_01875 may be at work"


def test_task_of_slurm_keeps_the_night_whoever_has_its_jobs_now(left: Layout) -> None:
    from osa.scheduler.select import select_scheduler

    Submissions(left.group.submissions).add(Submission("LST1_01875", 1, (0,), 0, SUBMITTED))
    scheduler = select_scheduler(left.settings, "local")
    cleaned = clean_night(left, scheduler, clock=CLOCK)
    assert cleaned.left_alone == "tasks of LST1_01875 may be at work"


def test_killed_anywhere_and_done_again(
    make_settings: Callable[..., Settings], night: Night, tmp_path: Path
) -> None:
    layout = Layout(make_settings(SETTINGS), night)
    clean(write_night(layout))
    done = here(layout)
    at, rounds = 0, 0
    while True:
        rounds += 1
        at += 1 if at < 12 else 3
        base_of(layout).rename(tmp_path / f"{at}")
        layout = write_night(Layout(make_settings(SETTINGS), night))
        written = here(layout)
        was_killed = is_killed(lambda layout=layout: clean(layout), at)  # type: ignore[misc]
        found = here(layout)
        for name, said in SAID.items():
            log = layout.log_dir / name
            assert log.exists() or gzip.decompress((layout.log_dir / f"{name}.gz").read_bytes()) == said
        stays = done.keys() & written.keys()
        assert {path: found[path] for path in stays} == {path: written[path] for path in stays}
        assert clean(layout).faults == ()
        assert_same(here(layout), done)
        if not was_killed:
            break
    assert rounds > 20


@pytest.mark.parametrize("stuck", ["dl1.h5", "LST1_01873_1.log"])
def test_what_cannot_be_removed_is_named_and_the_rest_is_done(
    left: Layout, monkeypatch: pytest.MonkeyPatch, stuck: str
) -> None:
    real = os.unlink

    def refuse(path: object, **options: object) -> None:
        if path == stuck:
            raise PermissionError(13, "Permission denied", path)
        real(path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "unlink", refuse)
    cleaned = clean(left)
    if stuck == "dl1.h5":
        assert cleaned.faults == (
            f"cannot remove {left.scratch_dir}/01874.0000.r0_to_dl1/dl1.h5: Permission denied",
            f"cannot remove {left.set_aside_dir}/20200128T120000/dl1.h5: Permission denied",
        )
        assert cleaned.tallies[Kind.UNFINISHED] == Tally(7, 1040)
    else:
        assert cleaned.faults == (f"cannot compress {left.log_dir}/{stuck}: Permission denied",)
        assert (left.log_dir / stuck).read_bytes() == SAID[stuck]
    monkeypatch.undo()
    assert clean(left).faults == ()
    assert look_at(left, CLOCK).leftovers == ()


def test_files_that_vanish_meanwhile_are_not_counted(left: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    real = clean_module.look_at

    def look(layout: Layout, clock: datetime) -> clean_module.Look:
        found = real(layout, clock)
        (left.log_dir / "LST1_01873_1.log").unlink()
        (left.analysis_dir / ".Incidences.txt.abcdefgh").unlink()
        return found

    monkeypatch.setattr(clean_module, "look_at", look)
    cleaned = clean(left)
    assert cleaned.faults == ()
    assert cleaned.tallies[Kind.LOG].files == len(SAID) - 1
    assert cleaned.tallies[Kind.UNFINISHED] == Tally(7, 6030)


def test_folder_that_vanishes_meanwhile_is_no_fault(left: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    real = clean_module.look_at

    def look(layout: Layout, clock: datetime) -> clean_module.Look:
        found = real(layout, clock)
        left.log_dir.rename(left.log_dir.with_name("moved"))
        left.scratch_dir.rename(left.scratch_dir.with_name("moved too"))
        return found

    monkeypatch.setattr(clean_module, "look_at", look)
    cleaned = clean(left)
    assert cleaned.faults == ()
    assert cleaned.tallies[Kind.UNFINISHED].files == 5
    assert Kind.LOG not in cleaned.tallies


def test_folder_that_becomes_a_link_meanwhile_is_named_and_not_followed(
    left: Layout, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    write(outside / "LST1_01873_1.log", b"not ours")
    before = snapshot(outside)
    real = clean_module.look_at

    def look(layout: Layout, clock: datetime) -> clean_module.Look:
        found = real(layout, clock)
        left.log_dir.rename(left.log_dir.with_name("moved"))
        left.log_dir.symlink_to(outside)
        return found

    monkeypatch.setattr(clean_module, "look_at", look)
    faults = clean(left).faults
    assert f"cannot compress {left.log_dir}/LST1_01873_1.log: a symbolic link, or no folder" in faults
    assert snapshot(outside) == before
    assert not left.scratch_dir.exists()


def test_night_that_cannot_be_looked_at_is_named(left: Layout, tmp_path: Path) -> None:
    left.analysis_dir.rename(tmp_path / "elsewhere")
    left.analysis_dir.symlink_to(tmp_path / "elsewhere")
    before = here(left)
    look = look_at(left, CLOCK)
    assert look.faults == (f"cannot look at {left.analysis_dir}: a symbolic link, or no folder",)
    assert here(left) == before


def test_logs_of_a_night_that_is_opened_again_are_read_all_the_same(left: Layout) -> None:
    logs = {name: read_tail(left.log_dir / name) for name in SAID}
    assert "MemoryError" in logs["LST1_01874_2_0.log"]
    clean(left)
    assert {name: read_tail(left.log_dir / name) for name in SAID} == logs
