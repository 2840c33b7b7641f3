"""What the page is told of nights in all states, and of what cannot be read."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from made_up_scheduler import MadeUpScheduler
from night_states import add_done_histories, add_name_only_products, add_try, record

from osa.closing.finish import finish_night
from osa.config import Settings
from osa.errors import InterruptedNightError, MissingServiceError
from osa.flags import closed_text, put_veto
from osa.incidences import note_incidence
from osa.layout import DL2, Layout
from osa.model.job import NEVER, JobSpec, JobState, TaskRecord
from osa.model.night import Night
from osa.model.sequence import NightPlan
from osa.nightsummary.plan import plan_night
from osa.report import COLUMNS
from osa.scheduler.base import Scheduler
from osa.scheduler.local_store import LocalStore
from osa.scheduler.select import select_scheduler
from osa.statuspage import collect
from osa.statuspage.collect import OpenScheduler, collect_night, collect_status
from osa.statuspage.page import NightStatus, Status, Word

Say = Callable[[str], None]
MORNING = datetime(2020, 1, 28, 8, 0, tzinfo=UTC)
SUMMARY = """\
01872    1 DRS4  2020-01-27 19:51:44 0001 1580154753739954334 5739954100 nan nan nan
01873    1 CALI  2020-01-27 20:23:43 0001 1580156670887160057 1887159800 nan nan nan
01874    3 DATA  2020-01-27 20:44:13 0003 1580157904186709543 5186709300 nan nan nan
01875    2 DATA  2020-01-27 21:05:44 0003 1580159197411578464 7411578200 nan nan nan
"""
RAW = {1872: 1, 1873: 1, 1874: 3, 1875: 2}


def write_inputs(layout: Layout) -> Layout:
    layout.night_summary.write_text(SUMMARY, "utf-8")
    layout.raw_dir.mkdir(parents=True)
    for run, subruns in RAW.items():
        for subrun in range(subruns):
            layout.raw_file(run, subrun).write_bytes(b"raw")
    return layout


def make_products(layout: Layout) -> NightPlan:
    plan = plan_night(layout, clock=MORNING)
    for sequence in plan.sequences:
        add_name_only_products(layout, sequence)
        add_done_histories(layout, sequence)
    return plan


def close(layout: Layout, plan: NightPlan, reason: str | None = None) -> None:
    for sequence in plan.sequences:
        layout.closed(sequence).write_text(closed_text(layout, sequence), "utf-8")
    finish_night(layout, plan, clock=MORNING + timedelta(hours=2), reason=reason)


@pytest.fixture
def taken(layout: Layout) -> Layout:
    """A night whose inputs are there."""
    return write_inputs(layout)


@pytest.fixture
def done(taken: Layout) -> Layout:
    """A night of which all is made."""
    make_products(taken)
    return taken


@pytest.fixture
def closed(done: Layout) -> Layout:
    close(done, plan_night(done))
    return done


def opener(layout: Layout) -> OpenScheduler:
    return lambda say: select_scheduler(layout.settings, None, warn=say)


def knowing(*known: TaskRecord) -> OpenScheduler:
    return lambda _: MadeUpScheduler(known=list(known))


def look(
    layout: Layout, open_scheduler: OpenScheduler | None = None, clock: datetime = MORNING
) -> NightStatus:
    return collect_night(layout, clock=clock, open_scheduler=open_scheduler or opener(layout))


def listing(layout: Layout) -> dict[Path, int]:
    base = layout.settings.telescope.raw_dir.parent
    return {path: path.stat().st_mtime_ns for path in base.rglob("*")}


# ----------------------------------------------------------------------- nights that wait


@pytest.mark.parametrize(
    ("hours", "why"),
    [(0, "no raw files"), (-6, "no raw files so far: data may be taken until 2020-01-28 07:00 UTC")],
)
def test_night_of_which_there_is_nothing(layout: Layout, hours: float, why: str) -> None:
    found = look(layout, clock=MORNING + timedelta(hours=hours))
    assert (found.word, found.why) == (Word.NO_DATA, f"no night summary and {why}")
    assert found.troubles == () and found.rows == ()


@pytest.mark.parametrize("content", [b"raw", b""])
def test_raw_files_without_a_night_summary_wait_for_it(layout: Layout, content: bytes) -> None:
    layout.raw_dir.mkdir(parents=True)
    layout.raw_file(1874, 0).write_bytes(content)
    found = look(layout)
    assert found.word is Word.WAITING
    assert "no night summary yet" in found.why


def test_raw_files_that_are_still_arriving(taken: Layout) -> None:
    found = look(taken, clock=MORNING - timedelta(hours=2))
    assert found.word is Word.WAITING
    assert found.why == "raw files may still arrive: data may be taken until 2020-01-28 07:00 UTC"


def test_night_that_is_not_sequenced(taken: Layout) -> None:
    found = look(taken)
    assert (found.word, found.why) == (Word.WAITING, "6 task(s) are not submitted yet")
    assert found.dl2 == (0, 5)
    assert [row["Run"] for row in found.rows] == ["01873", "01874", "01875"]
    assert all(tuple(row) == COLUMNS for row in found.rows)
    assert any("calibration run 01873" in note for note in found.notes)


def test_night_that_waits_for_the_closer(done: Layout) -> None:
    found = look(done)
    assert (found.word, found.why) == (Word.WAITING, "all is done, and the closer has not closed it yet")
    assert found.dl2 == (5, 5)


def test_night_that_lacks_raw_files(taken: Layout) -> None:
    taken.raw_file(1875, 1).unlink()
    make_products(taken)
    found = look(taken)
    assert found.word is Word.WAITING and "raw files are missing" in found.why
    assert found.dl2 == (4, 5)
    assert "LST1_01875: no raw files of sub-runs 1" in found.notes


def test_run_without_any_raw_file(taken: Layout) -> None:
    for subrun in range(2):
        taken.raw_file(1875, subrun).unlink()
    make_products(taken)
    found = look(taken)
    assert found.word is Word.WAITING and "LST1_01875" in found.why
    assert any(note.startswith("LST1_01875") for note in found.notes)


def test_night_without_data_runs(taken: Layout) -> None:
    lines = SUMMARY.splitlines(keepends=True)
    taken.night_summary.write_text("".join(line for line in lines if " DATA " not in line), "utf-8")
    found = look(taken)
    assert found.word is Word.WAITING and "no DATA run" in found.why


# ------------------------------------------------------------------------ nights at work


def submit(layout: Layout) -> LocalStore:
    job = JobSpec("LST1_01874", layout.group, Path("x"), Path("log"), layout.settings.data_job, (0, 1, 2))
    store = LocalStore(layout.settings.local.state_dir)
    store.add(job, None)
    return store


def test_tasks_that_are_pending(taken: Layout) -> None:
    submit(taken).enter(taken.group.name, os.getpid())
    found = look(taken)
    assert (found.word, found.tasks) == (Word.AT_WORK, "3 pending")


def test_pending_tasks_that_nobody_runs_are_not_at_work(taken: Layout) -> None:
    submit(taken)
    found = look(taken)
    assert found.word is Word.WAITING
    assert found.why.startswith("3 task(s) do not run by themselves")
    assert found.tasks == "3 pending that do not run by themselves"


@pytest.mark.parametrize(
    ("states", "word", "tasks"),
    [
        (("RUNNING", "PENDING", "COMPLETED"), Word.AT_WORK, "1 running, 1 pending"),
        (("UNKNOWN", "COMPLETED"), Word.UNKNOWN, "1 of which nobody knows whether they are alive"),
        (
            ("RUNNING", "UNKNOWN"),
            Word.AT_WORK,
            "1 running, 1 of which nobody knows whether they are alive",
        ),
        (("COMPLETED", "FAILED"), Word.WAITING, ""),
    ],
)
def test_states_of_tasks(taken: Layout, states: tuple[str, ...], word: Word, tasks: str) -> None:
    known = [record(task=task, state=JobState(state)) for task, state in enumerate(states)]
    found = look(taken, knowing(*known))
    assert (found.word, found.tasks) == (word, tasks)


def test_tasks_that_can_never_run_are_not_at_work(taken: Layout) -> None:
    job = TaskRecord("7", "LST1_01874", 0, JobState.PENDING, MORNING, reason=NEVER)
    assert look(taken, knowing(job)).word is Word.WAITING


def test_task_of_which_the_night_has_no_sequence(done: Layout) -> None:
    found = look(done, knowing(record("LST1_01999", state=JobState.RUNNING)))
    assert found.word is Word.AT_WORK
    assert any("LST1_01999 may be at work" in note for note in found.notes)


# ------------------------------------------------------------------ nights that need a person


def test_vetoed_run_needs_a_person(taken: Layout) -> None:
    sequence = plan_night(taken).by_run(1874)
    assert sequence is not None
    put_veto(taken, sequence, "why")
    found = look(taken, knowing(record("LST1_01875", state=JobState.RUNNING)))
    assert found.word is Word.NEEDS_A_PERSON
    assert "vetoed: run(s) 01874" in found.why
    assert found.tasks == "1 running"


def test_run_that_the_next_sequencer_will_veto_needs_a_person(taken: Layout) -> None:
    for _ in range(2):
        add_try(taken, 1873, None, "onsite_create_drs4_pedestal_file", 1)
    found = look(taken)
    assert found.word is Word.NEEDS_A_PERSON and "01873" in found.why


def test_alarm_needs_a_person(done: Layout) -> None:
    done.alarm.parent.mkdir(parents=True)
    done.alarm.write_bytes(b"not closed \xff\n")
    found = look(done)
    assert found.word is Word.NEEDS_A_PERSON
    assert found.why.startswith("it should have been closed by now; all is done")
    assert found.alarm == "not closed \ufffd\n"


def test_alarm_of_an_unplanned_night_is_told(layout: Layout) -> None:
    layout.alarm.parent.mkdir(parents=True)
    layout.alarm.write_text("", "utf-8")
    found = look(layout)
    assert (found.word, found.alarm) == (Word.NEEDS_A_PERSON, "")
    assert "should have been closed" in found.why


# ------------------------------------------------------------------------------ closed nights


def test_closed_night_says_what_it_was_closed_with(done: Layout) -> None:
    note_incidence(done, "Run 01874 was slow.")
    close(done, plan_night(done))
    found = look(done)
    assert (found.word, found.why) == (Word.CLOSED, "since 2020-01-28 10:00:00 UTC")
    assert found.finished["data.files.r0"] == "7"
    assert found.finished["data.comment"] == "Run 01874 was slow."
    assert found.incidences == ("Run 01874 was slow.",)
    assert {str(row["Action"]) for row in found.rows} == {"Closed"}


def test_night_closed_without_data(layout: Layout) -> None:
    finish_night(layout, NightPlan(()), clock=MORNING, reason="moon")
    found = look(layout)
    assert found.word is Word.CLOSED and found.rows == ()
    assert "moon" in found.finished["data.comment"]


def test_alarm_that_a_killed_closer_left_does_not_open_the_night(closed: Layout) -> None:
    closed.alarm.write_text("not closed\n", "utf-8")
    found = look(closed)
    assert (found.word, found.alarm) == (Word.CLOSED, None)


def test_late_raw_files_need_a_person(done: Layout) -> None:
    done.raw_file(1875, 1).unlink()
    close(done, plan_night(done))
    done.raw_file(1875, 1).write_bytes(b"late")
    found = look(done)
    assert found.word is Word.NEEDS_A_PERSON
    assert "sub-runs 1 of run 01875" in found.why and "--reopen" in found.why
    assert found.finished


def test_incidences_are_found_when_the_working_folder_is_gone(done: Layout) -> None:
    note_incidence(done, "Run 01874 was slow.")
    close(done, plan_night(done))
    done.incidences.unlink()
    assert look(done).incidences == ("Run 01874 was slow.",)


@pytest.mark.parametrize("text", ["", "\n\n", "closed, I think\n"])
def test_flag_that_says_nothing_is_no_success(done: Layout, text: str) -> None:
    done.closer_dir.mkdir(parents=True)
    done.night_finished.write_text(text, "utf-8")
    found = look(done)
    assert found.word is Word.NEEDS_A_PERSON
    assert any("says nothing" in trouble for trouble in found.troubles)


# ------------------------------------------------------------------------ what cannot be read


def bad_summary(layout: Layout) -> None:
    layout.night_summary.write_text("01872 five\n", "utf-8")


def bad_override(layout: Layout) -> None:
    layout.override.write_text("[what is this]\n", "utf-8")


def raw_folder_is_a_file(layout: Layout) -> None:
    for path in layout.raw_dir.iterdir():
        path.unlink()
    layout.raw_dir.rmdir()
    layout.raw_dir.write_text("", "utf-8")


def working_folder_is_a_file(layout: Layout) -> None:
    layout.analysis_dir.parent.mkdir(parents=True)
    layout.analysis_dir.write_text("", "utf-8")


def closer_folder_is_a_file(layout: Layout) -> None:
    layout.closer_dir.parent.mkdir(parents=True)
    layout.closer_dir.write_text("", "utf-8")


def alarm_is_a_folder(layout: Layout) -> None:
    layout.alarm.mkdir(parents=True)


def incidences_are_a_folder(layout: Layout) -> None:
    layout.incidences.mkdir(parents=True)


def bad_store(layout: Layout) -> None:
    path = LocalStore(layout.settings.local.state_dir).path
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no database" * 1000)


BREAKS: list[tuple[Callable[[Layout], None], str]] = [
    (bad_summary, "1 fault(s)"),
    (bad_override, "NightSummary_20200127.override"),
    (raw_folder_is_a_file, "raw files cannot be looked for"),
    (working_folder_is_a_file, "Not a directory"),
    (closer_folder_is_a_file, "Not a directory"),
    (alarm_is_a_folder, "NotClosed.txt"),
    (incidences_are_a_folder, "Incidences.txt"),
    (bad_store, "jobs.sqlite"),
]


@pytest.mark.parametrize(("break_it", "words"), BREAKS)
def test_what_cannot_be_read_needs_a_person(
    taken: Layout, break_it: Callable[[Layout], None], words: str
) -> None:
    break_it(taken)
    found = look(taken)
    assert found.word is Word.NEEDS_A_PERSON
    assert "not all of it could be read" in found.why
    assert any(words in trouble for trouble in found.troubles)
    assert not any("unexpected" in trouble for trouble in found.troubles)


def test_rest_of_a_night_is_told_where_something_cannot_be_read(taken: Layout) -> None:
    incidences_are_a_folder(taken)
    assert len(look(taken).rows) == 3
    bad_summary(taken)
    taken.alarm.parent.mkdir(parents=True)
    taken.alarm.write_text("not closed", "utf-8")
    assert look(taken).alarm == "not closed"


def test_raw_folder_that_cannot_be_read_is_not_no_data(layout: Layout) -> None:
    layout.raw_dir.write_text("", "utf-8")
    found = look(layout)
    assert found.word is Word.NEEDS_A_PERSON and found.troubles


def test_night_summary_of_which_nobody_knows_is_not_called_missing(
    taken: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "exists", forbidden)
    found = look(taken)
    assert (found.word, found.why) == (Word.NEEDS_A_PERSON, "not all of it could be read")
    assert any("NightSummary_20200127.txt" in trouble for trouble in found.troubles)


def test_what_nobody_expected_is_told_too(taken: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> NightPlan:
        raise ValueError("off by one")

    monkeypatch.setattr(collect, "plan_night", fail)
    found = look(taken)
    assert found.word is Word.NEEDS_A_PERSON
    assert found.troubles == ("unexpected ValueError: off by one",)


def test_signal_stops_all_of_it(taken: Layout) -> None:
    def interrupted(_: Say) -> Scheduler:
        raise InterruptedNightError("stopped by SIGTERM")

    with pytest.raises(InterruptedNightError):
        look(taken, interrupted)


def silent(say: Say) -> Scheduler:
    say("Slurm's queue gave no answer")
    say("Slurm's queue gave no answer")
    return MadeUpScheduler()


def test_silent_scheduler_leaves_an_open_night_unknown(done: Layout) -> None:
    found = look(done, silent)
    assert found.word is Word.NEEDS_A_PERSON
    assert found.troubles == ("Slurm's queue gave no answer",)
    assert len(found.rows) == 3


def test_silent_scheduler_does_not_open_a_closed_night(closed: Layout) -> None:
    found = look(closed, silent)
    assert found.word is Word.CLOSED
    assert found.troubles == ("Slurm's queue gave no answer",)


def test_scheduler_that_cannot_be_had(taken: Layout) -> None:
    def missing(_: Say) -> Scheduler:
        raise MissingServiceError("no sbatch")

    found = look(taken, missing)
    assert found.word is Word.NEEDS_A_PERSON and found.troubles == ("no sbatch",)


def test_tasks_that_are_with_the_other_backend_are_not_passed_over(taken: Layout) -> None:
    submit(taken)
    found = look(taken, knowing())
    assert found.word is Word.NEEDS_A_PERSON
    assert "--backend local" in found.troubles[0]


# ------------------------------------------------------------------------------- all nights


def status(settings: Settings, nights: int = 3, clock: datetime = MORNING) -> Status:
    return collect_status(
        settings,
        nights=nights,
        clock=clock,
        open_scheduler=lambda say: select_scheduler(settings, None, warn=say),
    )


@pytest.mark.parametrize(("hours", "latest"), [(7.9, 27), (8, 28), (-16, 27), (-16.1, 26)])
def test_nights_are_the_current_one_and_those_before(settings: Settings, hours: float, latest: int) -> None:
    found = status(settings, clock=MORNING + timedelta(hours=hours))
    assert [night.night for night in found.nights] == [
        Night(date(2020, 1, latest) - timedelta(days=back)) for back in range(3)
    ]


def test_one_bad_night_does_not_hide_the_others(taken: Layout) -> None:
    before = Layout(taken.settings, Night(date(2020, 1, 26)))
    write_inputs(before)
    bad_summary(taken)
    found = status(taken.settings)
    assert [night.word for night in found.nights] == [Word.NEEDS_A_PERSON, Word.WAITING, Word.NO_DATA]
    assert [line.split(": ")[0] for line in found.all_troubles] == ["night 2020-01-27"]


def test_each_night_hears_of_a_silent_scheduler(taken: Layout) -> None:
    write_inputs(Layout(taken.settings, Night(date(2020, 1, 26))))
    found = collect_status(taken.settings, nights=2, clock=MORNING, open_scheduler=silent)
    assert [len(night.troubles) for night in found.nights] == [1, 1]


def test_productions_of_other_names_are_told(make_settings: Callable[..., Settings]) -> None:
    assert status(make_settings()).other_productions == {}
    found = status(make_settings({("PRODUCTION", "dl2_prod_id"): "v7"}))
    assert (found.production, found.other_productions) == ("v0.1.0", {"DL2": "v7"})


def test_it_only_looks(done: Layout) -> None:
    submit(done)
    before = listing(done)
    status(done.settings)
    assert listing(done) == before


# ------------------------------------------------------------------------------- cron's logs


def write_log(settings: Settings, name: str, content: bytes) -> Path:
    folder = settings.cron.log_dir
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    os.utime(folder / name, (MORNING.timestamp(),) * 2)
    return folder / name


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", ()),
        (b"one\n", ("one",)),
        (b"1\n2\n3\n4\n5\n", ("3", "4", "5")),
        (b"1\n2\n3\n4", ("2", "3", "4")),
        (b"1\n\n  \n2\n\n", ("1", "2")),
        (b"bad \xff byte\n", ("bad \ufffd byte",)),
        (b"x" * 100_000, ("x" * 500,)),
        (b"first\n" + b"y" * 30_000 + b"\nlast\n", ("y" * 500, "last")),
    ],
)
def test_end_of_a_log(settings: Settings, content: bytes, lines: tuple[str, ...]) -> None:
    write_log(settings, "closer.log", content)
    (tail,) = status(settings).logs
    assert (tail.name, tail.changed, tail.lines, tail.trouble) == ("closer.log", MORNING, lines, "")


def test_only_logs_are_looked_at(settings: Settings) -> None:
    write_log(settings, "b.log", b"b\n")
    write_log(settings, "a.log", b"a\n")
    write_log(settings, "a.log.1", b"old\n")
    (settings.cron.log_dir / "folder.log").mkdir()
    (settings.cron.log_dir / "gone.log").symlink_to("nowhere")
    os.mkfifo(settings.cron.log_dir / "pipe.log")  # would be waited for
    assert [log.name for log in status(settings).logs] == ["a.log", "b.log"]


def test_log_that_cannot_be_read(settings: Settings) -> None:
    write_log(settings, "a.log", b"a\n")
    (settings.cron.log_dir / "b.log").symlink_to("/proc/self/mem")  # readable for nobody at its start
    found = status(settings)
    assert [bool(log.trouble) for log in found.logs] == [False, True]
    assert found.all_troubles == (f"log b.log: {found.logs[1].trouble}",)


def test_cron_that_has_not_begun_yet_is_no_trouble(settings: Settings) -> None:
    found = status(settings)
    assert found.logs == () and found.all_troubles == ()


def test_folder_of_logs_that_cannot_be_read(settings: Settings) -> None:
    settings.cron.log_dir.parent.mkdir(parents=True, exist_ok=True)
    settings.cron.log_dir.write_text("", "utf-8")
    found = status(settings)
    assert len(found.nights) == 3
    assert any(str(settings.cron.log_dir) in trouble for trouble in found.all_troubles)


def test_products_that_are_not_told_as_done_do_not_count(done: Layout) -> None:
    done.working(DL2, 1874, 0).write_bytes(b"")
    assert look(done).dl2 == (4, 5)
