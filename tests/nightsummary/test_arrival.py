"""Whether all raw files of a night have come."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from osa.config import ArrivalSettings, load_settings
from osa.layout import Layout
from osa.model.night import Night
from osa.nightsummary.arrival import Arrival, judge_arrival, look_at_arrival
from osa.nightsummary.plan import keep_first_choice, plan_night
from osa.nightsummary.raw import RawFile

END = datetime(2020, 1, 28, 7, tzinfo=UTC)
QUIET = timedelta(minutes=15)
DUE = END + timedelta(hours=11)
LONG_AGO = END - timedelta(hours=3)


def raw(subrun: int, changed: datetime = LONG_AGO, *, run: int = 1874, stream: int = 1) -> RawFile:
    name = Path(f"LST-1.{stream}.Run{run:05d}.{subrun:04d}.fits.fz")
    return RawFile(name, run, subrun, stream, 1000, int(changed.timestamp() * 1e9))


def judge(
    *files: RawFile,
    clock: datetime,
    folder: datetime = LONG_AGO,
    quiet: timedelta = QUIET,
    streams: int = 1,
    unfinished: tuple[str, ...] = (),
    flag: str | None = "end_of_night",
) -> Arrival:
    return judge_arrival(
        files,
        folder_changed_ns=int(folder.timestamp() * 1e9),
        unfinished=unfinished,
        clock=clock,
        how=ArrivalSettings(end_flag=flag, streams=streams, quiet_minutes=quiet, end_hour=timedelta(hours=7)),
        end=END,
        due=DUE,
    )


def test_quiet_night_that_is_over_is_complete() -> None:
    arrival = judge(raw(0), raw(1), clock=DUE)
    assert (arrival.is_complete, arrival.why, arrival.moving) == (True, "", {})


def test_night_goes_on_until_its_end_however_quiet_it_is() -> None:
    arrival = judge(raw(0), clock=END - timedelta(seconds=1))
    assert arrival.why == "data may be taken until 2020-01-28 07:00 UTC"
    assert arrival.moving == {}


@pytest.mark.parametrize(
    ("age", "moves"),
    [
        (timedelta(0), True),
        (QUIET - timedelta(seconds=1), True),
        (QUIET, False),
        (-timedelta(hours=1), True),  # a clock that is ahead of ours
    ],
)
def test_file_that_changed_just_now_is_still_written(age: timedelta, moves: bool) -> None:
    clock = DUE + timedelta(hours=1)
    arrival = judge(raw(0), raw(3, clock - age), raw(0, run=1875), clock=clock)
    assert arrival.is_complete is not moves
    assert arrival.moving == ({1874: (3,)} if moves else {})
    if moves:
        assert "1 raw file(s) changed less than 15 minutes ago, LST-1.1.Run01874.0003.fits.fz" in arrival.why


def test_file_that_got_its_name_just_now_changes_the_folder() -> None:
    """A copy can have the time of what it was copied from."""
    clock = DUE + timedelta(hours=1)
    arrival = judge(raw(0), clock=clock, folder=clock - timedelta(minutes=1))
    assert arrival.why == "files appeared in the raw folder less than 15 minutes ago"
    assert arrival.moving == {}


def test_sub_run_waits_for_all_its_streams() -> None:
    """A copy in the order of names brings the first stream of all sub-runs before any other."""
    files = [raw(subrun, stream=stream) for subrun in (0, 1) for stream in (1, 2, 3, 4)]
    others = [raw(2, stream=1), raw(2, stream=2), raw(0, run=1875)]
    for clock in (END - timedelta(hours=1), END + timedelta(hours=9), DUE + timedelta(hours=9)):
        arrival = judge(*files, *others, clock=clock, streams=4)
        assert arrival.moving == {1874: (2,), 1875: (0,)}
        assert not arrival.is_complete
    assert judge(*files, clock=DUE, streams=4).is_complete
    assert judge(*files, *others, clock=DUE, streams=1).is_complete


@pytest.mark.parametrize(
    ("flag", "hint"),
    [("end_of_night", "end_of_night there says that no more come"), (None, "see [ARRIVAL] streams")],
)
def test_what_ends_the_waiting_for_streams_is_said(flag: str | None, hint: str) -> None:
    arrival = judge(raw(0), raw(1), clock=DUE, streams=4, flag=flag)
    assert arrival.why == f"2 sub-run(s) have fewer than 4 raw files (run 01874, sub-run 0; {hint})"


def test_unfinished_copy_is_waited_for_however_old() -> None:
    name = ".LST-1.1.Run01874.0003.fits.fz.Xy12Zq"
    arrival = judge(raw(0), clock=DUE + timedelta(hours=9), unfinished=(name,))
    assert arrival.why == f"1 file(s) are being copied, or were not copied to their end: {name}"


def test_without_a_time_of_quiet_nothing_moves() -> None:
    arrival = judge(raw(0, DUE), clock=DUE, folder=DUE, quiet=timedelta(0))
    assert arrival.is_complete


def test_flag_that_is_configured_is_waited_for_until_the_day_is_done() -> None:
    arrival = judge(raw(0), clock=DUE - timedelta(seconds=1))
    assert arrival.why == "end_of_night has not come"
    assert arrival.moving == {}  # what is there may be processed
    assert judge(raw(0), clock=DUE).is_complete


# ------------------------------------------------------------------------------- on a disk

SUMMARY = """\
01872    1 DRS4  {date} 19:51:44 nan nan nan nan nan nan
01873    1 CALI  {date} 20:23:43 nan nan nan nan nan nan
01874    3 DATA  {date} 20:44:13 nan nan nan nan nan nan
"""


def fill(layout: Layout, clock: datetime, *fresh: Path, summary: str = SUMMARY) -> None:
    """Write a night; what is fresh was changed a minute before the clock, the rest now, long before it."""
    layout.night_summary.write_text(summary.format(date=TOMORROW), "ascii")
    layout.drive_log.touch()
    for line in summary.splitlines():
        run, count, *_ = line.split()
        for subrun in range(int(count)):
            layout.raw_file(int(run), subrun).write_bytes(b"x")
    for path in fresh:
        os.utime(path, ((clock - timedelta(minutes=1)).timestamp(),) * 2)


@pytest.fixture
def layout(make_layout: Callable[..., Layout]) -> Layout:
    """The night of tomorrow: files that are written now are neither too old nor too new for it."""
    layout = make_layout(quiet_minutes="15")
    coming = Layout(layout.settings, Night(TOMORROW))
    coming.raw_dir.mkdir()
    return coming


TOMORROW = (datetime.now(UTC) + timedelta(days=1)).date()
EARLY = datetime.now(UTC) + timedelta(hours=1)
CLOCK = datetime(TOMORROW.year, TOMORROW.month, TOMORROW.day, tzinfo=UTC) + timedelta(days=2)


def test_flag_ends_the_night(layout: Layout) -> None:
    fresh = layout.raw_file(1874, 2)
    fill(layout, CLOCK, fresh)
    assert look_at_arrival(layout, CLOCK).moving == {1874: (2,)}
    flag = layout.end_flag
    assert flag is not None and flag.name == "end_of_night"
    flag.touch()
    for clock in (CLOCK, EARLY):
        assert look_at_arrival(layout, clock) == Arrival()


@pytest.mark.parametrize(
    ("name", "waits"),
    [
        (".LST-1.1.Run01874.0003.fits.fz.Xy12Zq", True),
        ("LST-1.1.Run01874.0003.fits.fz.part", True),
        ("LST-2.1.Run01874.0003.fits.fz.part", False),
        ("notes.txt", False),
    ],
)
def test_names_of_unfinished_copies(layout: Layout, name: str, waits: bool) -> None:
    (layout.raw_dir / name).write_bytes(b"x")
    fill(layout, CLOCK)
    assert look_at_arrival(layout, CLOCK).is_complete is not waits


def test_folder_of_that_name_is_no_flag(layout: Layout) -> None:
    fill(layout, CLOCK, layout.raw_file(1874, 2))
    (layout.raw_dir / "end_of_night").mkdir()
    assert not look_at_arrival(layout, CLOCK).is_complete


def test_what_is_complete_is_planned(layout: Layout) -> None:
    fill(layout, CLOCK, layout.raw_file(1874, 2))
    plan = plan_night(layout, clock=CLOCK)
    sequence = plan.by_run(1874)
    assert sequence is not None and plan.calibration is not None
    assert (sequence.subruns, sequence.arriving, sequence.absent_subruns) == ((0, 1), (2,), ())
    assert (sequence.blocked, plan.calibration.blocked) == (None, None)
    assert "1 raw file(s) changed" in plan.arriving
    later = plan_night(layout, clock=CLOCK + timedelta(hours=1))
    assert later.arriving == "" and later.data[0].subruns == (0, 1, 2)


def test_data_waits_for_the_drive_log_while_files_arrive(layout: Layout) -> None:
    """Without it each try of the analysis would fail, until the runs are vetoed."""
    fill(layout, CLOCK, layout.raw_file(1874, 2))
    layout.drive_log.unlink()
    plan = plan_night(layout, clock=CLOCK)
    assert plan.calibration is not None and plan.calibration.blocked is None
    assert plan.data[0].blocked == "raw files are still arriving, and the drive log has not come"
    assert plan_night(layout, clock=CLOCK + timedelta(hours=1)).data[0].blocked is None


def test_streams_that_never_came_are_told(layout: Layout) -> None:
    fill(layout, CLOCK)
    text = layout.settings.path.read_text("utf-8").replace("\nstreams = 1", "\nstreams = 2")
    layout.settings.path.write_text(text, "utf-8")
    layout = Layout(load_settings(layout.settings.path, "LST1"), layout.night)
    second = layout.raw_file(1874, 1).name.replace("LST-1.1.", "LST-1.2.")
    (layout.raw_dir / second).write_bytes(b"x")
    flag = layout.end_flag
    assert flag is not None
    flag.touch()
    plan = plan_night(layout, clock=CLOCK)
    assert (plan.arriving, plan.data[0].subruns, plan.data[0].lacking) == ("", (0, 1, 2), (0, 2))
    assert "run 01874: files of some streams of sub-runs 0, 2 are not there" in plan.remarks


DRS4, CALIBRATION, DATA = SUMMARY.splitlines(keepends=True)
LATE_CALIBRATION = "01875    1 CALI  {date} 23:23:43 nan nan nan nan nan nan\n"
LATE_DRS4 = "01875    1 DRS4  {date} 23:23:43 nan nan nan nan nan nan\n"


@pytest.mark.parametrize(
    ("summary", "what_may_come"),
    [
        (DRS4 + CALIBRATION, "a calibration run before the first DATA run"),
        (DRS4 + DATA + LATE_CALIBRATION, "a calibration run before the first DATA run"),
        (CALIBRATION + DATA + LATE_DRS4, "a DRS4 run before the calibration run"),
        (SUMMARY, None),
    ],
)
def test_calibration_waits_until_no_better_one_can_come(
    layout: Layout, summary: str, what_may_come: str | None
) -> None:
    """Made with one that is not chosen later, data would have to be made again."""
    fill(layout, CLOCK, summary=summary)
    early = plan_night(layout, clock=EARLY)
    expected = what_may_come and f"raw files are still arriving: {what_may_come} may come"
    assert [s.blocked for s in early.sequences] == [expected] * len(early.sequences)
    settled = plan_night(layout, clock=CLOCK)
    assert settled.choice == early.choice
    assert [s.blocked for s in settled.sequences] == [None] * len(settled.sequences)


def test_calibration_that_is_asked_for_does_not_wait(layout: Layout) -> None:
    fill(layout, CLOCK, summary=DRS4 + DATA + LATE_CALIBRATION)
    clock = EARLY
    plan = plan_night(layout, drs4_run=1872, calibration_run=1875, clock=clock)
    assert [s.blocked for s in plan.sequences] == [None, None]


def test_better_calibration_that_is_being_written_is_waited_for(layout: Layout) -> None:
    summary = DRS4 + CALIBRATION + DATA.replace("01874", "01875").replace("20:44", "23:44")
    better = "01874    1 CALI  {date} 21:23:43 nan nan nan nan nan nan\n"
    fill(layout, CLOCK, layout.raw_file(1874, 0), summary=summary + better)
    plan = plan_night(layout, clock=CLOCK)
    assert plan.choice.calibration_run == 1873
    blocked = {s.blocked for s in plan.sequences}
    assert blocked == {"raw files are still arriving: the raw file of the first sub-run of 01874 may come"}
    settled = plan_night(layout, clock=CLOCK + timedelta(hours=1))
    assert settled.choice.calibration_run == 1874


@pytest.mark.parametrize(
    ("summary", "run"),
    [
        (DRS4 + CALIBRATION + DATA.replace("01874", "01876"), "01874 and 1 more"),
        (
            DRS4
            + CALIBRATION
            + LATE_DRS4.replace("01875", "01874").replace("DRS4", "ERROR")
            + DATA.replace("01874", "01875"),
            "01874",
        ),
    ],
)
def test_calibration_waits_for_runs_that_may_become_one(layout: Layout, summary: str, run: str) -> None:
    """They arrive in any order, and what is half there has no type yet."""
    fill(layout, CLOCK, summary=summary)
    early = plan_night(layout, clock=EARLY)
    expected = f"raw files are still arriving: what run {run} before the first DATA run is may change"
    assert {s.blocked for s in early.sequences} == {expected}
    assert {s.blocked for s in plan_night(layout, clock=CLOCK).sequences} == {None}


def test_copy_with_the_times_of_what_it_was_copied_from_is_new(layout: Layout) -> None:
    fill(layout, CLOCK)
    for path in (*layout.raw_dir.iterdir(), layout.raw_dir):
        os.utime(path, (1_580_000_000.0,) * 2)
    now = datetime.now(UTC) + timedelta(seconds=1)
    assert look_at_arrival(layout, now).moving == {1872: (0,), 1873: (0,), 1874: (0, 1, 2)}


def test_better_calibration_that_comes_later_does_not_change_what_serves(layout: Layout) -> None:
    """Data that was made with one run is not left behind by another."""
    summary = DRS4 + CALIBRATION + DATA.replace("01874", "01876").replace("20:44", "23:44")
    fill(layout, CLOCK, summary=summary)
    plan = plan_night(layout, clock=CLOCK)
    keep_first_choice(layout, plan)
    better = "01875    1 CALI  {date} 21:23:43 nan nan nan nan nan nan\n"
    fill(layout, CLOCK, summary=summary + better)
    later = plan_night(layout, clock=CLOCK)
    assert (plan.choice.calibration_run, later.choice.calibration_run) == (1873, 1873)
    said = "calibration run 01873: it served when the first task of the night was submitted"
    assert said in later.choice.explanation
    asked = plan_night(layout, calibration_run=1875, clock=CLOCK)
    assert asked.choice.calibration_run == 1875


def test_run_that_served_and_cannot_any_more_gives_way(layout: Layout) -> None:
    fill(layout, CLOCK, summary=DRS4 + CALIBRATION + LATE_CALIBRATION + DATA.replace("01874", "01876"))
    keep_first_choice(layout, plan_night(layout, clock=CLOCK))
    serving = plan_night(layout, clock=CLOCK).choice.calibration_run
    layout.override.write_text(f"[leave out]\n{serving} = clouds\n", "utf-8")
    other = plan_night(layout, clock=CLOCK).choice.calibration_run
    assert {serving, other} == {1873, 1875}
