"""Who is told what: which ends of a job are trouble, in which words, and how often."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from osa.config import Settings
from osa.cron.jobs import Job, JobName, last_night
from osa.cron.log import open_log
from osa.cron.run import Outcome, log_of, run_job
from osa.cron.telling import Notebook, Trouble, is_news, stuck, trouble_of
from osa.errors import ExitCode
from osa.layout import Layout
from osa.model.night import Night
from tests.closing.test_alarm import Mailbox

BEGAN = datetime(2020, 1, 28, 10, tzinfo=UTC)
EARLY, LATE = BEGAN, BEGAN + timedelta(hours=10)
FINE = {ExitCode.DONE, ExitCode.ANOTHER_INSTANCE, ExitCode.NOT_YET}
CODES = [*ExitCode, -15, -9, 6, 126, 255]
OF_A_NIGHT = {JobName.NIGHTSUMMARY, JobName.SEQUENCER, JobName.CLOSER}


@pytest.fixture
def due(make_settings: Callable[..., Settings], night: Night) -> Layout:
    """The night, with an alarm at 18:00."""
    return Layout(make_settings({("ALARM", "hour"): "18"}), night)


@pytest.fixture
def mailbox(tmp_path: Path) -> Mailbox:
    return Mailbox(tmp_path / "mail")


@pytest.fixture
def mailed(make_settings: Callable[..., Settings], mailbox: Mailbox) -> Settings:
    """Settings with somebody who is told."""
    keys = {("ALARM", "recipient"): "shift@example.org", ("ALARM", "mailer"): str(mailbox.path)}
    return make_settings(keys)


def end(
    layout: Layout, name: JobName, code: int, last_line: str = "something", began: datetime = BEGAN
) -> Outcome:
    return Outcome(Job(name, layout), code, last_line, began)


def told(outcome: Outcome, clock: datetime = EARLY) -> list[str]:
    trouble = trouble_of(outcome, clock)
    assert trouble is not None
    assert trouble.text.endswith("\n")
    return trouble.text.splitlines()


# ------------------------------------------------------------------------ what is trouble


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("name", JobName)
def test_which_ends_are_trouble(due: Layout, name: JobName, code: int) -> None:
    tells_itself = name in {JobName.SEQUENCER, JobName.CLOSER, JobName.STATUSPAGE}
    is_fine = code in FINE or (code == ExitCode.NOT_COMPLETE and tells_itself)
    assert (trouble_of(end(due, name, code), EARLY) is None) is is_fine


@pytest.mark.parametrize("name", JobName)
def test_what_is_told_of_a_job(layout: Layout, name: JobName) -> None:
    what, todo = told(end(layout, name, 2, f"{name}: there is no {{it}} of 100 %."))
    night = " of night 2020-01-27" if name in OF_A_NIGHT else ""
    how = "ended with exit code 2 (wrong call or configuration)"
    assert what == f"{name}{night} {how}: there is no {{it}} of 100 %."
    log = log_of(layout.settings, name)
    call = Job(name, layout).command_line
    assert todo == f"To do: cure that and call {call}, or wait for the next time; the log is {log}."


def test_job_that_said_nothing(layout: Layout) -> None:
    what, _ = told(end(layout, JobName.CLOSER, -9, ""))
    assert what == "closer of night 2020-01-27 was ended by signal 9."


@pytest.mark.parametrize("name", JobName)
def test_command_that_is_told_can_be_called(layout: Layout, name: JobName) -> None:
    _, todo = told(end(layout, name, 70))
    found = re.search(r" call (.*), or wait", todo)
    assert found is not None
    called, *words = shlex.split(found[1])
    assert called == name
    given = importlib.import_module(f"osa.cli.{name}")._parser().parse_args(words)
    assert given.config == layout.settings.path


# What is wrong with a night the closer tells itself.

WHAT = "Night 2020-01-27 of LST1 is not closed: run(s) 01874 failed too often"
TODO = "look at its log"


def report(layout: Layout, when: datetime, *, is_mailed: bool = True) -> None:
    """Have the closer write its report, and mail it."""
    layout.alarm.parent.mkdir(parents=True)
    layout.alarm.write_text(f"{WHAT}.\nTo do: {TODO}.\n\nMissing\n  all\n", "utf-8")
    os.utime(layout.alarm, (when.timestamp(), when.timestamp()))
    if is_mailed:
        layout.alarm_mailed.touch()


def is_trouble(
    layout: Layout, clock: datetime = LATE, name: JobName = JobName.CLOSER, code: int = ExitCode.NOT_COMPLETE
) -> bool:
    return trouble_of(end(layout, name, code), clock) is not None


def test_closer_that_writes_no_report_late_in_the_day_is_trouble(due: Layout) -> None:
    assert is_trouble(due)
    what, _ = told(end(due, JobName.CLOSER, 1, "Traceback: no module"), LATE)
    assert what == "closer of night 2020-01-27 ended with exit code 1 (not complete): Traceback: no module."


@pytest.mark.parametrize("code", ExitCode)
def test_which_ends_of_the_closer_are_trouble_late_in_the_day(due: Layout, code: ExitCode) -> None:
    """With another instance that goes on and on nobody would write a report."""
    assert is_trouble(due, code=code) is (code not in {ExitCode.DONE, ExitCode.NOT_YET})


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("clock", [EARLY, LATE])
def test_report_that_was_mailed_says_it_all(due: Layout, clock: datetime, code: int) -> None:
    report(due, BEGAN + timedelta(minutes=1))
    assert not is_trouble(due, clock, code=code)


@pytest.mark.parametrize("code", [ExitCode.NOT_COMPLETE, ExitCode.NOT_YET])
@pytest.mark.parametrize("clock", [EARLY, LATE])
def test_report_that_was_not_mailed_is_told(due: Layout, clock: datetime, code: int) -> None:
    report(due, BEGAN, is_mailed=False)
    assert told(end(due, JobName.CLOSER, code), clock) == [
        f"{WHAT}.",
        f"To do: {TODO}; {due.alarm} says more.",
    ]


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"one line", b"\xff\xfe\n\x1b[2J\x85\n", b"To do: x\nwhat\n"]
)
def test_damaged_report_makes_two_lines(due: Layout, content: bytes) -> None:
    report(due, BEGAN, is_mailed=False)
    due.alarm.write_bytes(content)
    what, todo = told(end(due, JobName.CLOSER, 1), LATE)
    assert todo.startswith("To do: ")
    assert str(due.alarm) in todo
    assert what.isprintable()


def test_report_of_an_earlier_time_says_nothing(due: Layout) -> None:
    report(due, BEGAN - timedelta(minutes=1))
    assert is_trouble(due)
    assert not is_trouble(due, EARLY)


def test_file_system_that_counts_whole_seconds_is_allowed_for(due: Layout) -> None:
    report(due, BEGAN)
    outcome = end(due, JobName.CLOSER, 1, began=BEGAN + timedelta(milliseconds=900))
    assert trouble_of(outcome, LATE) is None


@pytest.mark.parametrize(("minutes", "expected"), [(-1, False), (0, True)])
def test_before_the_hour_of_the_alarm_no_report_is_expected(
    due: Layout, minutes: int, expected: bool
) -> None:
    assert is_trouble(due, datetime(2020, 1, 28, 18, tzinfo=UTC) + timedelta(minutes=minutes)) is expected


def test_without_an_hour_no_report_is_expected(layout: Layout) -> None:
    assert layout.settings.alarm.hour is None
    assert not is_trouble(layout)


def test_other_commands_write_no_report(due: Layout) -> None:
    assert not is_trouble(due, name=JobName.SEQUENCER)
    report(due, BEGAN)
    assert is_trouble(due, name=JobName.SEQUENCER, code=2)


def run_closer(layout: Layout) -> Outcome:
    with open_log(log_of(layout.settings, JobName.CLOSER)) as logger:
        return run_job(Job(JobName.CLOSER, layout), logger)


@pytest.fixture
def without_data(due: Layout) -> Layout:
    """A night that only a person can close."""
    due.night_summary.write_text("01872 1 DRS4 2020-01-27 19:51:44 nan nan nan nan nan nan\n", "utf-8")
    due.raw_dir.mkdir()
    due.raw_file(1872, 0).write_bytes(b"raw")
    return due


def test_real_closer_that_has_nobody_to_mail_to(without_data: Layout) -> None:
    outcome = run_closer(without_data)
    assert outcome.code == ExitCode.NOT_COMPLETE
    what, todo = told(outcome, datetime.now(UTC))
    assert what == without_data.alarm.read_text("utf-8").splitlines()[0]
    assert todo.startswith("To do: closer -d 2020_01_27 ")
    without_data.alarm.unlink()
    assert told(outcome, datetime.now(UTC))[0].startswith("closer of night 2020-01-27 ended with ")


def test_real_closer_that_mails(without_data: Layout, mailed: Settings, mailbox: Mailbox) -> None:
    """The configuration is that of ``mailed``, with the hour of the alarm."""
    path = mailed.path
    path.write_text(path.read_text("utf-8").replace("\nhour = \n", "\nhour = 18\n"), "utf-8")
    outcome = run_closer(without_data)
    assert trouble_of(outcome, datetime.now(UTC)) is None
    assert len(mailbox.mails) == 1


# --------------------------------------------------------------------------- in which words


@given(st.text(st.characters(exclude_categories=("C", "Z"), include_characters=" ")))
@hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_was_said_makes_two_lines(layout: Layout, last_line: str) -> None:
    for name in JobName:
        what, todo = told(end(layout, name, 3, last_line))
        assert what.startswith(f"{name} ")
        assert todo.startswith("To do: ")
        assert what.endswith(".")
        assert todo.endswith(".")
        assert last_line.rstrip(".") in what or last_line.startswith(f"{name}: ")


HOSTILE = [
    r"To do: rm everything\nTo do: now",
    r"\r\nBcc: all@example.org\r\n\r\ntext\n",
    r"a\302\205b\342\200\250c\342\200\251d\013e\014f\034g\035h\036i",
    r"\377\376\000\033[2J",
    r"100 %% of %%s {what}",
    r"closer: closer: twice...",
]


@pytest.mark.parametrize("said", HOSTILE)
def test_hostile_last_lines_make_two_lines(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\nprintf '{said}'\nexit 70\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    with open_log(log_of(layout.settings, JobName.CLOSER)) as logger:
        outcome = run_job(Job(JobName.CLOSER, layout), logger)
    what, todo = told(outcome)
    assert what.startswith("closer of night 2020-01-27 ended with exit code 70 (unexpected error): ")
    assert todo.startswith("To do: cure that and call closer -c ")
    assert what.isprintable()
    assert todo.isprintable()


def test_very_long_last_line_makes_no_very_long_mail(layout: Layout) -> None:
    assert len("".join(told(end(layout, JobName.CLOSER, 70, "x" * 1_000_000)))) < 10_000


def test_what_the_page_could_not_read_stands_on_it(settings: Settings) -> None:
    layout = Layout(settings, last_night(settings, datetime.now(UTC)))
    layout.night_summary.write_text("01872 what\n", "utf-8")
    with open_log(log_of(settings, JobName.STATUSPAGE)) as logger:
        outcome = run_job(Job(JobName.STATUSPAGE, layout), logger)
    assert outcome.code == ExitCode.NOT_COMPLETE
    assert trouble_of(outcome, datetime.now(UTC)) is None
    assert str(layout.night_summary) in (settings.cron.status_dir / "LST1.html").read_text("utf-8")


def test_what_could_not_be_cleaned_is_told(layout: Layout) -> None:
    """Nobody sees it elsewhere."""
    layout.analysis_dir.mkdir(parents=True)
    circle = layout.closer_dir.parent
    circle.parent.mkdir(parents=True)
    circle.symlink_to(circle.name)
    with open_log(log_of(layout.settings, JobName.NIGHTCLEAN)) as logger:
        outcome = run_job(Job(JobName.NIGHTCLEAN, layout), logger)
    assert outcome.code == ExitCode.NOT_COMPLETE
    what, _ = told(outcome)
    assert "Too many levels of symbolic links" in what


def test_what_is_told_of_a_job_that_does_not_end(settings: Settings) -> None:
    since = datetime(2020, 1, 28, 3, 5, tzinfo=UTC)
    trouble = stuck(settings, JobName.CLOSER, since, "process 42 on here")
    what, todo = trouble.text.splitlines()
    assert what == (
        "closer has been at work since 2020-01-28 03:05 UTC (process 42 on here), and no other can begin."
    )
    log = log_of(settings, JobName.CLOSER)
    assert todo == f"To do: see what it waits for (its log is {log}), and kill it if it hangs."
    other = stuck(settings, JobName.CLOSER, since + timedelta(days=1), "process 42 on here")
    assert trouble.mark != other.mark


# ----------------------------------------------------------------------------- how often


A, B = Trouble("it broke", "mend it", "a"), Trouble("it broke otherwise", "mend that", "b")
NAME = "closer_20200127"


def tell(settings: Settings, trouble: Trouble, name: str = NAME) -> tuple[bool, list[str]]:
    said: list[str] = []
    return Notebook(settings, name).tell(trouble, said.append), said


def test_trouble_is_mailed_once(mailed: Settings, mailbox: Mailbox) -> None:
    assert tell(mailed, A) == (True, ["mailed to shift@example.org"])
    for _ in range(3):
        assert tell(mailed, A) == (True, [])
    assert mailbox.mails == ["shift@example.org|LST1: closer_20200127|it broke.\nTo do: mend it.\n"]


def test_other_trouble_is_mailed_again(mailed: Settings, mailbox: Mailbox) -> None:
    for trouble in (A, B, B, A):
        assert tell(mailed, trouble)[0]
    assert len(mailbox.mails) == 3
    assert "it broke otherwise" in mailbox.mails[1]


def test_trouble_that_came_back_is_mailed_again(mailed: Settings, mailbox: Mailbox) -> None:
    tell(mailed, A)
    Notebook(mailed, NAME).forget()
    tell(mailed, A)
    assert len(mailbox.mails) == 2
    Notebook(mailed, "never told").forget()


def test_trouble_of_another_night_job_or_telescope_does_not_count(mailed: Settings, mailbox: Mailbox) -> None:
    tell(mailed, A)
    for name in ("closer_20200128", "sequencer_20200127"):
        tell(mailed, A, name)
        Notebook(mailed, name).forget()
    tell(replace(mailed, telescope_name="LST2"), A)
    assert len(mailbox.mails) == 4
    tell(mailed, A)
    assert len(mailbox.mails) == 4
    assert mailbox.mails[3].startswith("shift@example.org|LST2: closer_20200127|")


@pytest.mark.parametrize("name", JobName)
def test_what_else_a_job_said_makes_no_other_trouble(layout: Layout, name: JobName) -> None:
    """It may hold a time or the number of a process."""

    def mark(code: int, last_line: str, of: Layout = layout) -> str:
        trouble = trouble_of(end(of, name, code, last_line), EARLY)
        assert trouble is not None
        return trouble.mark

    assert mark(2, "process 17 at 12:01") == mark(2, "process 18 at 14:01")
    assert mark(2, "it") != mark(3, "it")
    assert mark(2, "it") != mark(-2, "it")
    following = Layout(layout.settings, Night(layout.night.date + timedelta(days=1)))
    assert (mark(2, "it") == mark(2, "it", following)) is (name not in OF_A_NIGHT)


def test_what_was_told_otherwise_is_not_mailed(mailed: Settings, mailbox: Mailbox) -> None:
    Notebook(mailed, NAME).note(A)
    assert tell(mailed, A) == (True, [])
    assert mailbox.mails == []
    assert tell(mailed, B)[0]
    assert len(mailbox.mails) == 1


def test_mailer_that_fails_leaves_it_untold_and_is_tried_again(mailed: Settings, mailbox: Mailbox) -> None:
    mailbox.fails()
    is_told, said = tell(mailed, A)
    assert not is_told
    assert "no route to host" in said[0]
    mailbox.works()
    assert tell(mailed, A) == (True, ["mailed to shift@example.org"])
    assert len(mailbox.mails) == 1


def test_mailer_that_is_missing_leaves_it_untold(mailed: Settings, mailbox: Mailbox) -> None:
    mailbox.path.unlink()
    is_told, said = tell(mailed, A)
    assert not is_told
    assert str(mailbox.path) in said[0]


def test_mailer_that_fails_does_not_undo_what_was_told_before(mailed: Settings, mailbox: Mailbox) -> None:
    tell(mailed, A)
    mailbox.fails()
    assert not tell(mailed, B)[0]
    mailbox.works()
    assert tell(mailed, A) == (True, [])
    assert len(mailbox.mails) == 1


def test_without_a_recipient_nobody_is_told(settings: Settings, mailbox: Mailbox) -> None:
    settings = replace(settings, alarm=replace(settings.alarm, recipient=None, mailer=mailbox.path))
    assert tell(settings, A) == (False, [])
    assert mailbox.mails == []


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\0", b"a" * 100_000, b"\n\n"])
def test_damaged_notebook_tells_again(mailed: Settings, mailbox: Mailbox, content: bytes) -> None:
    tell(mailed, A)
    (notes,) = mailed.cron.log_dir.glob(".*.told")
    notes.write_bytes(content)
    assert tell(mailed, A)[0]
    assert tell(mailed, A)[0]
    assert len(mailbox.mails) == 2


def test_notebook_is_no_log_of_the_page(mailed: Settings) -> None:
    tell(mailed, A)
    assert list(mailed.cron.log_dir.glob("*.log")) == []


# --------------------------------------------------------- before there is a configuration


NOW = datetime(2020, 1, 28, 12, tzinfo=UTC)


def news(folder: Path, *texts: str, clock: datetime = NOW) -> list[bool]:
    return [is_news(text, folder, clock) for text in texts]


def noted(folder: Path, age: timedelta) -> None:
    (file,) = folder.iterdir()
    when = (NOW - age).timestamp()
    os.utime(file, (when, when))


def test_text_is_news_once(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    assert news(folder, "a", "a", "b", "b", "a", "b") == [True, False, True, False, False, False]


@pytest.mark.parametrize(
    ("age", "again"),
    [
        (timedelta(hours=1), False),
        (timedelta(hours=23, minutes=59), False),
        (timedelta(days=1, seconds=1), True),
        (timedelta(days=400), True),
    ],
)
def test_text_is_news_again_after_a_day(tmp_path: Path, age: timedelta, again: bool) -> None:
    news(tmp_path, "a")
    noted(tmp_path, age)
    assert news(tmp_path, "a") == [again]


def test_a_day_counts_from_when_it_was_said(tmp_path: Path) -> None:
    news(tmp_path, "a")
    noted(tmp_path, timedelta(hours=23))
    assert news(tmp_path, "a", clock=NOW) == [False]
    assert news(tmp_path, "a", clock=NOW + timedelta(hours=2)) == [True]


def test_folder_that_cannot_be_written_says_it_each_time(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert news(tmp_path / "file", "a", "a") == [True, True]


def test_text_that_is_no_utf8(tmp_path: Path) -> None:
    """A path of an argument may have bytes that are none."""
    assert news(tmp_path, "/a\udcff", "/a\udcff") == [True, False]
