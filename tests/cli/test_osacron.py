"""The command osacron: what it runs in which order, what it prints and mails, and its exit codes."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from osa.cli.osacron import JOBS, main
from osa.config import Settings, load_settings
from osa.cron.jobs import JobName, last_night, nights_in_work
from osa.cron.run import lock_of, log_of
from osa.errors import ExitCode
from osa.layout import Layout
from osa.model.night import Night
from osa.system.locks import only_instance
from tests.closing.test_alarm import Mailbox

Capture = pytest.CaptureFixture[str]
LIMIT = 20.0
FAULTY = "01872 what\n"


@pytest.fixture(autouse=True)
def same_handlers() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of our own: what was said of a broken configuration is noted there."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("OSA_CONFIG", raising=False)
    return folder


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Tells which commands are started, which they are for all that."""
    commands: list[list[str]] = []

    class Recorded(subprocess.Popen[Any]):
        def __init__(self, arguments: Any, *more: Any, **how: Any) -> None:
            commands.append([str(word) for word in arguments])
            super().__init__(arguments, *more, **how)

    monkeypatch.setattr(subprocess, "Popen", Recorded)
    return commands


def jobs_of(commands: list[list[str]]) -> list[str]:
    """The commands of ours, each with the night that it is for."""
    found = []
    for words in commands:
        if words[1:3] == ["-P", "-m"]:
            name = words[3].removeprefix("osa.cli.")
            night = words[words.index("-d") + 1] if "-d" in words else ""
            found.append(f"{name} {night}".strip())
    return found


def osacron(settings: Settings, *words: str) -> int:
    return main(["-c", str(settings.path), *words])


def of_night(layout: Layout, *words: str) -> int:
    return osacron(layout.settings, "-d", layout.night.underscored, *words)


def listing(folder: Path) -> dict[Path, int]:
    return {path: path.lstat().st_mtime_ns for path in folder.rglob("*")}


def other_hour() -> str:
    return str((datetime.now(UTC).hour + 12) % 24)


def with_keys(layout: Layout, **keys: str) -> Layout:
    """Give the configuration of a night other keys of [ALARM]."""
    path = layout.settings.path
    before, header, rest = path.read_text("utf-8").partition("[ALARM]\n")
    for key, value in keys.items():
        rest = re.sub(rf"(?m)^{key} =.*$", f"{key} = {value}", rest, count=1)
    path.write_text(before + header + rest, "utf-8")
    return Layout(load_settings(path, "LST1"), layout.night)


@pytest.fixture
def mailbox(tmp_path: Path) -> Mailbox:
    return Mailbox(tmp_path / "mail")


@pytest.fixture
def mailed(layout: Layout, mailbox: Mailbox) -> Layout:
    """The night, and somebody who is told of troubles."""
    return with_keys(layout, recipient="shift@example.org", mailer=str(mailbox.path))


# ------------------------------------------------------------------------- what is run


def test_jobs_are_the_same_as_those_of_cron() -> None:
    assert list(JOBS) == list(JobName)


def test_jobs_are_run_night_by_night_the_latest_first_in_the_order_given(
    settings: Settings, started: list[list[str]], capsys: Capture
) -> None:
    last = last_night(settings, datetime.now(UTC))
    days = [Night(last.date - timedelta(days=back)) for back in range(3)]
    for night in days:
        Layout(settings, night).night_summary.write_text(FAULTY, "utf-8")
    assert [found.night for found in nights_in_work(settings, datetime.now(UTC))] == days
    osacron(settings, "sequencer", "statuspage", "nightsummary", "nightclean", "closer")
    nights = [
        f"{name} {night.underscored}" for night in days for name in ("sequencer", "nightsummary", "closer")
    ]
    assert jobs_of(started) == [*nights, "statuspage", "nightclean"]


def test_of_closed_nights_and_of_those_without_a_summary_only_some_jobs_are_run(
    settings: Settings, started: list[list[str]], capsys: Capture
) -> None:
    last = last_night(settings, datetime.now(UTC))
    days = [Night(last.date - timedelta(days=back)) for back in range(3)]
    for night in days:
        layout = Layout(settings, night)
        layout.raw_dir.mkdir()
        layout.night_finished.parent.mkdir(parents=True)
        if night != days[1]:
            layout.night_finished.touch()
    osacron(settings, "closer", "nightsummary", "sequencer")
    assert jobs_of(started) == [
        # They are closed: it is asked whether raw files have come since.
        f"closer {days[0].underscored}",
        f"nightsummary {days[0].underscored}",
        # It has no night summary yet.
        f"nightsummary {days[1].underscored}",
        f"closer {days[2].underscored}",
        f"nightsummary {days[2].underscored}",
    ]


def test_one_night_alone(layout: Layout, started: list[list[str]], capsys: Capture) -> None:
    last = Layout(layout.settings, last_night(layout.settings, datetime.now(UTC)))
    last.night_summary.write_text(FAULTY, "utf-8")
    of_night(layout, "nightsummary", "statuspage")
    assert jobs_of(started) == ["nightsummary 2020_01_27", "statuspage"]


def test_what_a_night_summary_is_needed_for_waits_silently(
    layout: Layout, started: list[list[str]], capsys: Capture
) -> None:
    assert of_night(layout, "sequencer", "closer") == ExitCode.NOT_YET
    assert started == []
    assert capsys.readouterr() == ("", "")
    assert not layout.settings.cron.log_dir.exists()


def test_command_line_of_a_job(layout: Layout, started: list[list[str]]) -> None:
    layout.night_finished.parent.mkdir(parents=True)
    layout.night_finished.touch()
    assert of_night(layout, "closer") == 0
    expected = f"-P -m osa.cli.closer -c {layout.settings.path} -d 2020_01_27 -y --detach LST1"
    assert started == [[sys.executable, *expected.split()]]


def test_second_telescope(layout: Layout, started: list[list[str]], capsys: Capture) -> None:
    path = layout.settings.path
    text = path.read_text("utf-8")
    begin, end = text.index("[LST1]"), text.index("[PRODUCTION]")
    second = text[begin:end].replace("[LST1]", "[LST2]").replace("tel_id = 1", "tel_id = 2")
    path.write_text(text + "\n" + second, "utf-8")
    assert of_night(layout, "-t", "LST2", "statuspage", "nightclean") == 0
    assert [words[-2:] for words in started] == [["-t", "LST2"]] * 2
    logs = sorted(path.name for path in layout.settings.cron.log_dir.glob("*.log"))
    assert logs == ["LST2_nightclean.log", "LST2_statuspage.log"]


def test_jobs_that_are_fine_say_nothing(layout: Layout, capfd: Capture) -> None:
    layout.night_finished.parent.mkdir(parents=True)
    layout.night_finished.touch()
    assert of_night(layout, *JOBS) == ExitCode.NOT_YET  # nothing to submit
    assert capfd.readouterr() == ("", "")
    for job in set(JobName) - {JobName.SEQUENCER}:
        text = log_of(layout.settings, job).read_text("utf-8")
        assert text.count(" begin: ") == text.count(" ended with exit code 0 (done) after ") == 1


# ------------------------------------------------------------------------------ the hours


@pytest.mark.parametrize("config", ["/nowhere/x.cfg", None])
def test_at_another_hour_nothing_at_all_is_done(
    settings: Settings, home: Path, tmp_path: Path, capfd: Capture, config: str | None
) -> None:
    path = config or str(settings.path)
    if config is None:
        settings.path.write_text("no configuration", "utf-8")
    before = listing(tmp_path)
    for jobs in (["nightsummary"], list(JOBS)):
        assert main(["-c", path, "--hours", other_hour(), *jobs]) == ExitCode.DONE
    assert capfd.readouterr() == ("", "")
    assert listing(tmp_path) == before


def test_at_another_hour_little_is_imported() -> None:
    """It is called every hour, by each line."""
    code = (
        "import sys\nfrom osa.cli.osacron import main\n"
        f"code = main(['--hours', {other_hour()!r}, 'closer'])\n"
        "print(code, sorted(name for name in sys.modules if name.startswith('osa.')))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.startswith("0 ")
    assert not re.search(r"osa\.(config|layout|scheduler|closing|system)\b", said)


def test_at_its_hour_it_is_done(layout: Layout, started: list[list[str]]) -> None:
    hours = f"{datetime.now(UTC).hour},{(datetime.now(UTC) + timedelta(minutes=1)).hour}"
    assert of_night(layout, "--hours", hours, "nightclean") == 0
    assert jobs_of(started) == ["nightclean"]


def test_hours_are_utc_whatever_the_zone(
    layout: Layout, started: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert of_night(layout, "--hours", other_hour(), "nightclean") == 0
        # As it is in Tokyo.
        assert of_night(layout, "--hours", str((datetime.now(UTC).hour + 9) % 24), "nightclean") == 0
        assert started == []
        assert of_night(layout, "--hours", "0-23", "nightclean") == 0
        assert jobs_of(started) == ["nightclean"]
    finally:
        monkeypatch.undo()
        time.tzset()


# --------------------------------------------------------------------------- wrong calls


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "wants one or more of nightsummary, sequencer, closer, statuspage, nightclean"),
        (["--hours", "7"], "wants one or more of"),
        (["sequencer", "--install"], "wants one or more of"),
        (["sequencer", "--uninstall"], "wants one or more of"),
        (["dance"], "'dance' is no job; there are nightsummary, sequencer"),
        (["sequencer", "Closer"], "'Closer' is no job"),
        (["simulatenight"], "'simulatenight' is no job"),
        (["--hours", "25", "closer"], "--hours: '25': hours go from 0 to 23"),
        (["--hours", "8/2", "closer"], "--hours: '8/2' is no hour"),
        (["--hours", "", "closer"], "--hours: '' is no hour"),
        (["-d", "2020-02-30", "closer"], "-d: '2020-02-30' is no day of the calendar"),
    ],
)
def test_wrong_call_is_explained_and_nothing_run(
    settings: Settings, started: list[list[str]], capsys: Capture, words: list[str], said: str
) -> None:
    assert osacron(settings, *words) == ExitCode.WRONG_CALL
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"osacron: {said}")
    assert started == []


@pytest.mark.parametrize("hour", [other_hour(), "x"])
def test_wrong_job_is_found_at_any_hour(settings: Settings, capsys: Capture, hour: str) -> None:
    """Not in the middle of the night."""
    assert osacron(settings, "--hours", hour, "dance") == ExitCode.WRONG_CALL
    assert "'dance' is no job" in capsys.readouterr().err


def test_install_or_uninstall_but_not_both(settings: Settings, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as raised:
        osacron(settings, "--install", "--uninstall")
    assert raised.value.code == ExitCode.WRONG_CALL
    assert "not allowed with" in capsys.readouterr().err


def test_help_names_jobs_examples_and_exit_codes(capsys: Capture) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["--help"])
    assert raised.value.code == 0
    out = capsys.readouterr().out
    assert ", ".join(JOBS) in " ".join(out.split())
    assert "osacron nightsummary sequencer closer" in out.split("examples:")[1]
    assert "130 interrupted" in out


# ------------------------------------------------------------- a configuration that is broken


def broken(settings: Settings, text: str = "nights = many") -> None:
    whole = settings.path.read_text("utf-8")
    settings.path.write_text(re.sub(r"(?m)^nights =.*$", text, whole), "utf-8")


def note_of(home: Path) -> Path:
    (path,) = (home / ".cache" / "osa").iterdir()
    return path


def test_broken_configuration_is_printed_once_a_day(settings: Settings, home: Path, capsys: Capture) -> None:
    broken(settings)
    assert osacron(settings, "statuspage") == ExitCode.WRONG_CALL
    out, err = capsys.readouterr()
    assert out == ""
    assert re.match(r"osacron: configuration file .* has 1 fault\(s\):\n  .*nights: many: wants a whole", err)
    for jobs in (["statuspage"], ["nightsummary", "sequencer"], ["nightclean"]):
        assert osacron(settings, *jobs) == ExitCode.WRONG_CALL
        assert capsys.readouterr() == ("", "")
    yesterday = time.time() - 25 * 3600
    os.utime(note_of(home), (yesterday, yesterday))
    assert osacron(settings, "statuspage") == ExitCode.WRONG_CALL
    assert "nights: many" in capsys.readouterr().err
    assert osacron(settings, "statuspage") == ExitCode.WRONG_CALL
    assert capsys.readouterr() == ("", "")


def test_other_fault_is_printed_at_once(settings: Settings, capsys: Capture) -> None:
    broken(settings)
    osacron(settings, "statuspage")
    capsys.readouterr()
    broken(settings, "nights = none")
    assert osacron(settings, "statuspage") == ExitCode.WRONG_CALL
    assert "nights: none" in capsys.readouterr().err


def test_missing_configuration_is_printed_once(tmp_path: Path, capsys: Capture) -> None:
    words = ["-c", str(tmp_path / "none.cfg"), "statuspage"]
    assert main(words) == ExitCode.WRONG_CALL
    assert "none.cfg (from -c) does not exist" in capsys.readouterr().err
    assert main(words) == ExitCode.WRONG_CALL
    assert capsys.readouterr() == ("", "")


def test_faults_of_two_telescopes_are_printed_once_each(settings: Settings, capsys: Capture) -> None:
    """Each has its lines in the crontab: they take turns."""
    text = settings.path.read_text("utf-8")
    settings.path.write_text(text.replace("[LST1]", "[LST3]"), "utf-8")
    for telescope in ("LST1", "LST2"):
        assert osacron(settings, "-t", telescope, "statuspage") == ExitCode.WRONG_CALL
        assert f"no section [{telescope}]" in capsys.readouterr().err
    for telescope in ("LST1", "LST2", "LST1"):
        assert osacron(settings, "-t", telescope, "statuspage") == ExitCode.WRONG_CALL
        assert capsys.readouterr() == ("", "")


def on_terminal(settings: Settings, *words: str) -> tuple[int, str]:
    """Call it on a terminal."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "osa.cli.osacron", "-c", str(settings.path), *words]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    code = process.wait(LIMIT)
    said = b""
    with suppress(OSError):  # all has been read
        while select.select([ours], [], [], 1)[0]:
            said += os.read(ours, 4096)
    os.close(ours)
    return code, said.decode().replace("\r\n", "\n")


def test_who_sits_at_a_terminal_is_told_each_time(settings: Settings) -> None:
    broken(settings)
    for _ in range(2):
        code, said = on_terminal(settings, "statuspage")
        assert code == ExitCode.WRONG_CALL
        assert "nights: many" in said


def test_who_sits_at_a_terminal_sees_what_the_jobs_say(layout: Layout) -> None:
    code, said = on_terminal(layout.settings, "-d", "2020_01_27", "sequencer", "nightclean")
    assert code == ExitCode.NOT_YET
    assert "2020-01-27: no sequencer: there is no night summary\n" in said
    assert "nothing to put away\n" in said


# ----------------------------------------------------------------------------- who is told


def test_trouble_is_mailed_once_and_not_printed(mailed: Layout, mailbox: Mailbox, capfd: Capture) -> None:
    mailed.night_summary.write_text(FAULTY, "utf-8")
    for _ in range(3):
        assert of_night(mailed, "sequencer") == ExitCode.NOT_COMPLETE
    assert capfd.readouterr() == ("", "")
    (mail,) = mailbox.mails
    to, subject, text = mail.split("|", 2)
    assert (to, subject) == ("shift@example.org", "LST1: sequencer_20200127")
    what, todo = text.splitlines()
    assert what.startswith("sequencer of night 2020-01-27 ended with exit code 2 ")
    assert str(mailed.night_summary) in what
    assert f"call sequencer -c {mailed.settings.path} -d 2020_01_27 LST1, or wait" in todo
    log = log_of(mailed.settings, JobName.SEQUENCER).read_text("utf-8")
    assert log.count("mailed to shift@example.org") == 1
    assert log.count(" begin: ") == 3


def test_trouble_that_comes_back_is_mailed_again(mailed: Layout, mailbox: Mailbox) -> None:
    for faulty in (True, False, True):
        if faulty:
            mailed.night_summary.write_text(FAULTY, "utf-8")
        else:
            mailed.night_summary.write_text("", "utf-8")
        code = of_night(mailed, "sequencer")
        assert code == (ExitCode.NOT_COMPLETE if faulty else ExitCode.DONE)
    assert len(mailbox.mails) == 2


def test_troubles_of_several_nights_and_jobs_are_mailed_each(mailed: Layout, mailbox: Mailbox) -> None:
    for day in (27, 28):
        layout = Layout(mailed.settings, Night(date(2020, 1, day)))
        layout.night_summary.write_text(FAULTY, "utf-8")
        for _ in range(2):
            of_night(layout, "sequencer", "closer")
    subjects = [mail.split("|")[1] for mail in mailbox.mails]
    assert subjects == [f"LST1: {job}_202001{day}" for day in (27, 28) for job in ("sequencer", "closer")]


def test_one_job_in_trouble_does_not_keep_the_others(
    mailed: Layout, mailbox: Mailbox, started: list[list[str]]
) -> None:
    mailed.night_summary.write_text(FAULTY, "utf-8")
    assert of_night(mailed, "nightsummary", "sequencer", "closer", "statuspage") == ExitCode.NOT_COMPLETE
    names = [words.split()[0] for words in jobs_of(started)]
    assert names == ["nightsummary", "sequencer", "closer", "statuspage"]
    assert len(mailbox.mails) == 3


def test_job_that_cannot_be_run_does_not_keep_the_others(
    layout: Layout, started: list[list[str]], capfd: Capture
) -> None:
    log_of(layout.settings, JobName.NIGHTSUMMARY).mkdir(parents=True)
    for said in (True, False):
        assert of_night(layout, "nightsummary", "statuspage", "nightclean") == ExitCode.NOT_COMPLETE
        out, err = capfd.readouterr()
        assert (out, bool(err)) == ("", said)  # once a day
    assert jobs_of(started) == ["statuspage", "nightclean"] * 2


@pytest.mark.parametrize("how", ["fails", "missing"])
def test_where_no_mail_can_be_sent_it_is_printed_for_cron_to_mail(
    mailed: Layout, mailbox: Mailbox, capfd: Capture, how: str
) -> None:
    if how == "fails":
        mailbox.fails()
    else:
        mailbox.path.unlink()
    mailed.night_summary.write_text(FAULTY, "utf-8")
    assert of_night(mailed, "sequencer") == ExitCode.NOT_COMPLETE
    out, err = capfd.readouterr()
    assert out == ""
    what, todo = err.splitlines()
    assert what.startswith("sequencer of night 2020-01-27 ended with exit code 2 ")
    assert todo.startswith("To do: ")
    assert "no mail to shift@example.org: " in log_of(mailed.settings, JobName.SEQUENCER).read_text("utf-8")
    mailbox.works()
    of_night(mailed, "sequencer")
    assert (len(mailbox.mails), capfd.readouterr()) == (1, ("", ""))


def test_without_a_recipient_it_is_printed_once(layout: Layout, capfd: Capture) -> None:
    """Cron mails it; that of statuspage would come each quarter of an hour."""
    assert layout.settings.alarm.recipient is None
    layout.night_summary.write_text(FAULTY, "utf-8")
    assert of_night(layout, "sequencer") == ExitCode.NOT_COMPLETE
    assert len(capfd.readouterr().err.splitlines()) == 2
    assert of_night(layout, "sequencer") == ExitCode.NOT_COMPLETE
    assert capfd.readouterr() == ("", "")


def test_full_disk_is_no_traceback(layout: Layout, capfd: Capture) -> None:
    """All that is printed is mailed, at each call."""
    log = log_of(layout.settings, JobName.NIGHTCLEAN)
    log.parent.mkdir(parents=True)
    log.symlink_to("/dev/full")
    for lines in (1, 0):  # once a day
        assert of_night(layout, "nightclean", "statuspage") == ExitCode.NOT_COMPLETE
        assert len(capfd.readouterr().err.splitlines()) == lines
    assert (layout.settings.cron.status_dir / "LST1.html").exists()


# ---------------------------------------------------------------- jobs that do not come to an end


def hold(settings: Settings, job: JobName, hours: float = 0.0) -> None:
    """Have the other instance, whose lock is held, be at work since so long."""
    note = lock_of(settings, job).with_name(lock_of(settings, job).name + ".holder")
    when = time.time() - hours * 3600
    os.utime(note, (when, when))


def test_other_instance_is_let_work(
    mailed: Layout, mailbox: Mailbox, started: list[list[str]], capfd: Capture
) -> None:
    settings = mailed.settings
    with only_instance(lock_of(settings, JobName.NIGHTCLEAN), "the first"):
        for hours in (0, 5.9):
            hold(settings, JobName.NIGHTCLEAN, hours)
            assert osacron(settings, "nightclean") == ExitCode.ANOTHER_INSTANCE
        assert capfd.readouterr() == ("", "")
        assert mailbox.mails == []
        assert started == []
        assert osacron(settings, "nightclean", "statuspage") == ExitCode.ANOTHER_INSTANCE
        assert jobs_of(started) == ["statuspage"]
    assert osacron(settings, "nightclean") == ExitCode.DONE


def test_instance_that_hangs_is_told_once(mailed: Layout, mailbox: Mailbox, capfd: Capture) -> None:
    settings = mailed.settings
    with only_instance(lock_of(settings, JobName.CLOSER), "the first"):
        hold(settings, JobName.CLOSER, 6.1)
        mailed.night_summary.write_text(FAULTY, "utf-8")
        for _ in range(3):
            assert of_night(mailed, "closer") == ExitCode.ANOTHER_INSTANCE
    (mail,) = mailbox.mails
    what, todo = mail.split("|", 2)[2].splitlines()
    assert re.match(rf"closer has been at work since .* UTC \(process {os.getpid()} on ", what)
    assert str(log_of(settings, JobName.CLOSER)) in todo
    assert capfd.readouterr().out == ""
    # Another that hangs another time.
    with only_instance(lock_of(settings, JobName.CLOSER), "the second"):
        hold(settings, JobName.CLOSER, 30)
        of_night(mailed, "closer")
    assert len(mailbox.mails) == 2


def test_instance_that_hangs_is_printed_where_nobody_is_mailed(layout: Layout, capfd: Capture) -> None:
    settings = layout.settings
    with only_instance(lock_of(settings, JobName.NIGHTCLEAN), "the first"):
        hold(settings, JobName.NIGHTCLEAN, 7)
        assert osacron(settings, "nightclean") == ExitCode.ANOTHER_INSTANCE
    what, todo = capfd.readouterr().err.splitlines()
    assert what.startswith("nightclean has been at work since ")
    assert todo.startswith("To do: ")


def test_lock_is_of_one_telescope(layout: Layout, started: list[list[str]]) -> None:
    lock = lock_of(layout.settings, JobName.STATUSPAGE)
    other = lock.with_name(lock.name.replace("LST1", "LST2"))
    with only_instance(other, "that of another telescope"):
        assert osacron(layout.settings, "statuspage") == ExitCode.DONE
    assert jobs_of(started) == ["statuspage"]


@pytest.fixture
def blocked(layout: Layout) -> Iterator[Layout]:
    """A night whose nightsummary waits for its override for ever."""
    layout.raw_dir.mkdir()
    layout.raw_file(1872, 0).write_bytes(b"raw")
    os.mkfifo(layout.override)
    yield layout


def begin(layout: Layout, *jobs: str) -> tuple[subprocess.Popen[bytes], psutil.Process]:
    """Start osacron; gives its process and that of its job, which is at work."""
    call = [sys.executable, "-m", "osa.cli.osacron", "-c", str(layout.settings.path)]
    process = subprocess.Popen(
        [*call, "-d", layout.night.underscored, *jobs],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    found: list[psutil.Process] = []
    limit = time.monotonic() + LIMIT
    while not found:
        assert time.monotonic() < limit
        time.sleep(0.02)
        for child in psutil.Process(process.pid).children():
            with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                found += [child] * ("osa.cli.nightsummary" in child.cmdline())
    # It waits for the override, when it is at rest.
    rest = 0
    while rest < 5:
        assert time.monotonic() < limit
        time.sleep(0.02)
        rest = rest + 1 if found[0].status() == psutil.STATUS_SLEEPING else 0
    return process, found[0]


@pytest.mark.parametrize(
    ("number", "code", "words"),
    [(signal.SIGTERM, 130, b"osacron: stopped by SIGTERM"), (signal.SIGINT, 130, b"osacron: interrupted")],
)
def test_signal_ends_the_job_too_and_frees_the_lock(
    blocked: Layout, number: signal.Signals, code: int, words: bytes
) -> None:
    process, job = begin(blocked, "nightsummary", "statuspage")
    try:
        process.send_signal(number)
        out, _ = process.communicate(timeout=LIMIT)
        assert process.returncode == code
        assert out.startswith(words)
        assert not job.is_running()
    finally:
        if job.is_running():
            job.kill()
        process.kill()
    with only_instance(lock_of(blocked.settings, JobName.NIGHTSUMMARY), "again"):
        pass
    assert not log_of(blocked.settings, JobName.STATUSPAGE).exists()


def test_second_osacron_lets_the_first_work(blocked: Layout, capfd: Capture) -> None:
    process, job = begin(blocked, "nightsummary")
    try:
        assert of_night(blocked, "nightsummary", "statuspage") == ExitCode.ANOTHER_INSTANCE
        assert capfd.readouterr() == ("", "")
        assert log_of(blocked.settings, JobName.STATUSPAGE).exists()
        assert job.is_running()
    finally:
        process.terminate()
        process.communicate(timeout=LIMIT)


def test_osacron_that_was_killed_leaves_no_lock(blocked: Layout) -> None:
    process, job = begin(blocked, "nightsummary")
    try:
        process.kill()
        process.communicate(timeout=LIMIT)
        with only_instance(lock_of(blocked.settings, JobName.NIGHTSUMMARY), "again"):
            pass
    finally:
        job.kill()


def test_it_runs_in_the_environment_that_cron_gives(layout: Layout, home: Path) -> None:
    program = Path(sys.executable).parent / "osacron"
    done = subprocess.run(
        [str(program), "-c", str(layout.settings.path), "statuspage", "nightclean"],
        env={"HOME": str(home), "LOGNAME": "root", "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh"},
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert (layout.settings.cron.status_dir / "LST1.html").exists()
    assert list(home.iterdir()) == []
