"""The alarm: when it is due, what the report says, and to whom it is mailed how often."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from failed_tries import NO_MEMORY, Failures
from made_up_scheduler import MadeUpScheduler
from night_states import calibration_sequence, data_sequence

from osa.closing.alarm import alarm_text, raise_alarm, tell_of_late_files
from osa.closing.cure import Cures
from osa.closing.due import is_late
from osa.closing.night import Closing
from osa.config import Settings, load_settings
from osa.flags import put_veto
from osa.incidences import add_incidence
from osa.layout import DL2, PRODUCT_KINDS, Layout
from osa.model.job import JobState

DUE = datetime(2020, 1, 28, 18, 0, tzinfo=UTC)
MAKER = f"#!{sys.executable}\n"


def with_alarm(layout: Layout, hour: str, **more: str) -> Layout:
    """Give the configuration of a night other alarm keys."""
    path = layout.settings.path
    lines = []
    for line in path.read_text("utf-8").splitlines():
        key = line.partition("=")[0].strip()
        values = {"hour": hour, **more}
        lines.append(f"{key} = {values[key]}" if key in values and "=" in line else line)
    path.write_text("\n".join(lines), "utf-8")
    return Layout(load_settings(path, "LST1"), layout.night)


@pytest.mark.parametrize(
    ("hour", "minutes", "due"),
    [("18", 0, True), ("18", -1, False), ("18", 5000, True), ("18.5", 29, False), ("18.5", 30, True)],
)
def test_when_it_is_late(
    make_settings: Callable[..., Settings], layout: Layout, hour: str, minutes: float, due: bool
) -> None:
    settings = make_settings({("ALARM", "hour"): hour})
    assert is_late(Layout(settings, layout.night), DUE + timedelta(minutes=minutes)) is due


def test_midnight_is_that_after_the_night(make_settings: Callable[..., Settings], layout: Layout) -> None:
    layout = Layout(make_settings({("ALARM", "hour"): "0"}), layout.night)
    assert is_late(layout, datetime(2020, 1, 28, tzinfo=UTC))
    assert not is_late(layout, datetime(2020, 1, 27, 23, 59, 59, tzinfo=UTC))


def test_without_an_hour_it_is_late_in_the_evening_and_nobody_is_told(complete: Layout) -> None:
    assert complete.settings.alarm.hour is None
    assert is_late(complete, DUE) and not is_late(complete, DUE - timedelta(seconds=1))
    assert alarm(complete, clock=datetime(2100, 1, 1, tzinfo=UTC)) == (False, [])
    assert not complete.alarm.exists()


# -------------------------------------------------------------------------------- the report


@pytest.fixture
def open_night(complete: Layout) -> Layout:
    """A night of which a sub-run is missing, with an alarm that is due."""
    complete.night_lock.touch()
    complete.history(1874, 1).unlink()
    for kind in PRODUCT_KINDS:
        complete.working(kind, 1874, 1).unlink()
    return with_alarm(complete, "18")


def closing(layout: Layout, *tries: Failures) -> Closing:
    return Closing.prepare(layout, MadeUpScheduler(known=[r for one in tries for r in one.records]))


def report(layout: Layout, *tries: Failures, cures: Cures | None = None) -> dict[str, list[str]]:
    """The report by its titles."""
    text = alarm_text(closing(layout, *tries), Cures() if cures is None else cures, clock=DUE)
    assert text.endswith("\n")
    parts: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line and not line.startswith(" "):
            title = line
            parts[title] = []
        elif line:
            parts[title].append(line.strip())
    return parts


def test_report_says_what_is_missing_and_what_to_do(open_night: Layout) -> None:
    parts = report(open_night, cures=Cures(remarks=("look at the disk",)))
    assert list(parts)[:3] == [
        "Night 2020-01-27 of LST1 is not closed: LST1_01874: no DL1 of sub-runs 1 (and 4 more).",
        "To do: closer -s -d 2020_01_27 says more; closer -f -d 2020_01_27 closes what is there.",
        "As of 2020-01-28 18:00 UTC.",
    ]
    missing = [f"LST1_01874: no {kind.name} of sub-runs 1" for kind in PRODUCT_KINDS]
    assert parts["Missing"] == [*missing, "look at the disk"]
    assert parts["Tried"] == ["nothing"]
    to_do = "\n".join(parts["Commands that help"])
    assert "sequencer -s -d 2020_01_27" in to_do and "closer -f -d 2020_01_27" in to_do
    assert "--unveto" not in to_do


def test_report_says_what_was_tried(open_night: Layout) -> None:
    add_incidence(open_night.incidences, open_night.night, "LST1", "The dome was shut.")
    tries = Failures(open_night)
    tries.add(JobState.OUT_OF_MEMORY, task=1)
    tries.add(JobState.FAILED, task=1)
    assert report(open_night, tries)["Tried"] == [
        "sub-run 1 of run 01874: out of memory",
        "sub-run 1 of run 01874: unknown failure",
        "The dome was shut.",
    ]


def test_report_names_the_command_for_each_veto(open_night: Layout) -> None:
    put_veto(open_night, data_sequence(), "x")
    put_veto(open_night, calibration_sequence(), "x")
    to_do = report(open_night)["Commands that help"]
    assert [line.split()[4] for line in to_do if "--unveto" in line] == ["1874", "1873"]


def test_report_of_tasks_that_are_at_work(open_night: Layout) -> None:
    tries = Failures(open_night)
    tries.add(JobState.RUNNING, task=1)
    parts = report(open_night, tries)
    assert "LST1_01874: 1 task(s) still pending or running" in parts["Missing"]
    assert any("tasks are still at work" in line for line in parts["Commands that help"])


def test_night_without_runs(open_night: Layout) -> None:
    open_night.night_summary.write_text("", "utf-8")
    shutil.rmtree(open_night.raw_dir)
    parts = report(open_night)
    assert parts["Missing"] == ["the night summary has no run that is processed"]


def test_runs_that_a_person_has_to_say_something_of(open_night: Layout) -> None:
    text = open_night.night_summary.read_text("utf-8")
    open_night.night_summary.write_text(text.replace("01875    1 DATA ", "01875    6 ERROR"), "utf-8")
    open_night.raw_file(1899, 0).write_bytes(b"x")
    night = closing(open_night)
    assert night.open_questions == (
        "run 01875 (ERROR): type ERROR is not processed",
        "run 01899: the night summary does not have it",
    )
    assert not night.is_complete
    assert set(night.open_questions) <= set(report(open_night)["Missing"])
    open_night.override.write_text("[leave out]\n1899 = a test\n[types]\n1875 = DATA\n", "utf-8")
    assert closing(open_night).open_questions == ()


def test_short_run_of_unknown_type_needs_nobody(open_night: Layout) -> None:
    text = open_night.night_summary.read_text("utf-8")
    open_night.night_summary.write_text(text.replace("01875    1 DATA ", "01875    5 ERROR"), "utf-8")
    assert closing(open_night).open_questions == ()


def tail_of(parts: dict[str, list[str]]) -> list[str]:
    (title,) = (title for title in parts if title.startswith("The end of"))
    return [line.removeprefix("|").strip() for line in parts[title]]


def test_ends_of_the_logs_of_failed_tasks(open_night: Layout) -> None:
    tries = Failures(open_night)
    tries.add(task=1, log="of an older try")
    tries.add(task=1, log="\n".join(f"line {number}" for number in range(100)))
    tries.add(task=0, log="of a task that is done since")
    assert tail_of(report(open_night, tries)) == [f"line {number}" for number in range(85, 100)]


def test_log_with_bytes_that_are_no_text(open_night: Layout) -> None:
    tries = Failures(open_night)
    tries.add(task=1, log=b"\x1b[31mred\x1b[0m\n\xff\xfe\0bad\n")
    tail = tail_of(report(open_night, tries))
    assert len(tail) == 2 and tail[0] == "[31mred [0m"
    assert all(line.isprintable() for line in tail) and tail[1].endswith("bad")


def test_huge_line_of_a_log_is_cut(open_night: Layout) -> None:
    tries = Failures(open_night)
    tries.add(task=1, log=b"x" * 10_000_000)
    (line,) = tail_of(report(open_night, tries))
    assert len(line) < 10_000


@pytest.mark.parametrize("state", [JobState.CANCELLED, JobState.COMPLETED, JobState.PENDING])
def test_logs_of_what_did_not_fail_are_not_shown(open_night: Layout, state: JobState) -> None:
    tries = Failures(open_night)
    tries.add(state, task=1, log=NO_MEMORY)
    assert not any(title.startswith("The end of") for title in report(open_night, tries))


def test_ends_of_some_logs_stand_for_all(layout: Layout) -> None:
    layout.night_lock.parent.mkdir(parents=True)
    for subrun in range(30):
        layout.raw_file(1874, subrun).write_bytes(b"raw")
    tries = Failures(layout)
    for task in range(30):
        tries.add(task=task, log=f"log of {task}")
    titles = [title for title in report(layout, tries) if title.startswith("The end of")]
    assert len(titles) == 5


# --------------------------------------------------------------------------------- mailing


class Mailbox:
    """A mailer that keeps what it is given."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "mailer"
        self.works()

    def works(self) -> None:
        self.write(
            "import os, sys\nfolder = os.path.dirname(__file__)\n"
            "name = f'{len(os.listdir(folder)):03d}.mail'\n"
            "open(os.path.join(folder, name), 'wb').write(sys.stdin.buffer.read())\n"
        )

    def fails(self) -> None:
        self.write("raise SystemExit('no route to host')\n")

    def write(self, program: str) -> None:
        self.folder.mkdir(exist_ok=True)
        self.path.write_text(MAKER + program, "utf-8")
        self.path.chmod(0o755)

    @property
    def mails(self) -> list[str]:
        found = sorted(self.folder.glob("*.mail"))
        messages = [message_from_bytes(path.read_bytes(), policy=policy.default) for path in found]
        return [f"{mail['To']}|{mail['Subject']}|{mail.get_content()}" for mail in messages]


@pytest.fixture
def mailbox(tmp_path: Path) -> Mailbox:
    return Mailbox(tmp_path / "mail")


@pytest.fixture
def mailed(open_night: Layout, mailbox: Mailbox) -> Layout:
    return with_alarm(open_night, "18", recipient="shift@example.org", mailer=str(mailbox.path))


def alarm(
    layout: Layout, *, attended: bool = False, clock: datetime = DUE, remark: str = ""
) -> tuple[bool, list[str]]:
    said: list[str] = []
    cures = Cures(remarks=(remark,) if remark else ())
    return raise_alarm(closing(layout), cures, attended=attended, say=said.append, clock=clock), said


EARLY = DUE - timedelta(hours=10)


def test_nothing_is_written_before_it_is_late(mailed: Layout, mailbox: Mailbox) -> None:
    night = closing(mailed)
    cures = night.cures(MadeUpScheduler())
    assert cures  # what is missing is submitted
    for clock in (EARLY, DUE - timedelta(seconds=1)):
        assert not raise_alarm(night, cures, attended=False, say=print, clock=clock)
    assert not mailed.closer_dir.exists()
    assert mailbox.mails == []


def test_where_only_a_person_can_help_it_is_said_at_once(mailed: Layout, mailbox: Mailbox) -> None:
    put_veto(mailed, data_sequence(), "x")
    night = closing(mailed)
    cures = night.cures(MadeUpScheduler())
    assert not cures
    assert raise_alarm(night, cures, attended=False, say=print, clock=EARLY)
    what, todo, *_ = mailbox.mails[0].split("|", 2)[2].splitlines()
    assert what.endswith("run(s) 01874 failed too often and wait(s) for a person.")
    assert todo.startswith("To do: look at ") and todo.endswith("sequencer -d 2020_01_27 --unveto 1874.")


def still_at_work(layout: Layout) -> Closing:
    tries = Failures(layout)
    tries.add(JobState.RUNNING, task=0)
    return closing(layout, tries)


def raw_files_may_come(layout: Layout) -> Closing:
    layout.raw_file(1875, 0).unlink()
    return closing(layout)


def raw_files_arrive(layout: Layout) -> Closing:
    night = closing(layout)
    return replace(night, plan=replace(night.plan, arriving="a raw file changed just now"))


def no_sequencer_was_run(layout: Layout) -> Closing:
    layout.night_lock.unlink()
    return closing(layout)


@pytest.mark.parametrize("make", [still_at_work, raw_files_may_come, raw_files_arrive, no_sequencer_was_run])
def test_while_something_may_happen_by_itself_nothing_is_said(
    mailed: Layout, mailbox: Mailbox, make: Callable[[Layout], Closing]
) -> None:
    put_veto(mailed, data_sequence(), "x")
    assert not raise_alarm(make(mailed), Cures(), attended=False, say=print, clock=EARLY)
    assert mailbox.mails == []


def test_late_files_of_a_closed_night_are_mailed_once(mailed: Layout, mailbox: Mailbox) -> None:
    for late in ({1874: (3, 4)}, {1874: (3, 4)}, {}, {1874: (3, 4, 5), 1875: (0,)}):
        tell_of_late_files(mailed, late, attended=False, say=print)
    assert len(mailbox.mails) == 2
    what, todo = mailbox.mails[1].split("|", 2)[2].splitlines()
    assert what.endswith("before raw files came: sub-runs 3-5 of run 01874, sub-runs 0 of run 01875.")
    assert todo.startswith("To do: closer --reopen -d 2020_01_27, then sequencer -d 2020_01_27")
    assert mailed.alarm.read_text("utf-8") == f"{what}\n{todo}\n"


def test_who_looks_at_a_closed_night_is_not_mailed(mailed: Layout, mailbox: Mailbox) -> None:
    tell_of_late_files(mailed, {1874: (3,)}, attended=True, say=print)
    assert mailed.alarm.exists() and mailbox.mails == []


def test_without_a_recipient_it_is_written(open_night: Layout) -> None:
    raised, said = alarm(open_night)
    assert raised and said == [f"a person has to see to the night: {open_night.alarm} says why"]
    assert "no DL2 of sub-runs 1" in open_night.alarm.read_text("utf-8")


def test_mailed_once_and_again_where_something_else_is_missing(mailed: Layout, mailbox: Mailbox) -> None:
    assert alarm(mailed)[1][-1] == "mailed to shift@example.org"
    for hours in (1, 2, 30):
        assert "mailed to" not in "".join(alarm(mailed, clock=DUE + timedelta(hours=hours))[1])
    assert len(mailbox.mails) == 1
    to, subject, text = mailbox.mails[0].split("|", 2)
    assert (to, subject) == ("shift@example.org", "LST1: night 2020-01-27 is not closed")
    assert "no DL2 of sub-runs 1" in text
    mailed.working(DL2, 1875, 0).unlink()
    alarm(mailed)
    assert len(mailbox.mails) == 2 and "LST1_01875" in mailbox.mails[1]
    alarm(mailed, remark="no calibration")
    assert len(mailbox.mails) == 3 and "no calibration" in mailbox.mails[2]


def test_report_is_that_of_the_last_time(mailed: Layout) -> None:
    alarm(mailed)
    alarm(mailed, clock=DUE + timedelta(hours=5))
    assert "2020-01-28 23:00 UTC" in mailed.alarm.read_text("utf-8")


def test_who_sits_at_a_terminal_is_not_mailed(mailed: Layout, mailbox: Mailbox) -> None:
    assert alarm(mailed, attended=True)[0]
    assert mailed.alarm.exists()
    assert mailbox.mails == []
    alarm(mailed)
    assert len(mailbox.mails) == 1


def test_mailer_that_fails_is_told_and_tried_again(mailed: Layout, mailbox: Mailbox) -> None:
    mailbox.fails()
    raised, said = alarm(mailed)
    assert raised and "no route to host" in said[-1]
    assert mailed.alarm.exists()
    mailbox.works()
    alarm(mailed)
    assert len(mailbox.mails) == 1


def test_mailer_that_is_missing_is_told(mailed: Layout, mailbox: Mailbox) -> None:
    mailbox.path.unlink()
    raised, said = alarm(mailed)
    assert raised and str(mailbox.path) in said[-1]


def test_report_goes_when_the_night_is_closed(mailed: Layout, mailbox: Mailbox, merged: list[str]) -> None:
    alarm(mailed)
    assert mailed.alarm.exists() and mailed.alarm_mailed.exists() and len(mailbox.mails) == 1
    closing(mailed).perform(lambda *_: None)  # by force
    assert mailed.night_finished.exists()
    assert not mailed.alarm.exists() and not mailed.alarm_mailed.exists()


def test_mark_that_was_damaged_mails_again(mailed: Layout, mailbox: Mailbox) -> None:
    alarm(mailed)
    mailed.alarm.with_suffix(".mailed").write_bytes(b"\xff\xfe")
    alarm(mailed)
    assert len(mailbox.mails) == 2


def test_tasks_that_go_on_are_no_news(mailed: Layout, mailbox: Mailbox) -> None:
    for running in (2, 1):
        tries = Failures(mailed)
        for task in range(running):
            tries.add(JobState.RUNNING, task=task)
        raise_alarm(closing(mailed, tries), Cures(), attended=False, say=print, clock=DUE)
    assert len(mailbox.mails) == 1
