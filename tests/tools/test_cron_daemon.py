from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cron_daemon import CronDaemon, fake_clock, missing_for_cron, needs_cron, run_day

HOUR = timedelta(hours=1)
# Where cron and the mailer of the machine keep their things.
OF_THE_MACHINE = ("/var/spool/cron/crontabs", "/etc/cron.d", "/etc/dma", "/var/mail", "/var/spool/dma")
FAST = 1440


def soon() -> dict[str, str]:
    """A clock that shows a full minute in two seconds."""
    return fake_clock(datetime(2020, 1, 27, 19, 59, 58, tzinfo=UTC))


def state_of_the_machine() -> dict[str, object]:
    state: dict[str, object] = {"mounts": Path("/proc/mounts").read_text()}
    for folder in OF_THE_MACHINE:
        state[folder] = [(path, path.stat().st_mtime_ns) for path in sorted(Path(folder).iterdir())]
    state["clocks"] = sorted(Path("/dev/shm").glob("*faketime*"))
    for path in (Path("/run/crond.pid"), Path("/run/crond.reboot"), Path("/dev/log")):
        state[str(path)] = path.exists()
    return state


@needs_cron
@pytest.mark.slow
@pytest.mark.timeout(120)
def test_job_runs_on_the_minute_as_its_user_and_its_output_is_mailed(tmp_path: Path) -> None:
    before = state_of_the_machine()
    crontab = "MAILTO=root\n* * * * * id -un; env; echo grüße\n"
    with CronDaemon(tmp_path / "cron", crontab, user="daemon", time_zone="Asia/Tokyo") as daemon:
        daemon.wait_for(daemon.mails, 70, "the mail of the first run")
        launch = daemon.launches()[0]
        assert (launch.user, launch.time.second // 10) == ("daemon", 0)
        assert launch.command.startswith("id -un")
        (mail,) = daemon.mails("root")
        assert daemon.mails("daemon") == []
        assert mail["Subject"].startswith("Cron <daemon@")
        said = mail.get_content().splitlines()
        assert (said[0], said[-1]) == ("daemon", "grüße")
        assert not [line for line in said if line.startswith(("TZ=", "LANG="))]  # of the daemon alone
        assert state_of_the_machine() == before
    assert state_of_the_machine() == before


@needs_cron
def test_clock_can_be_set_to_just_before_a_minute(tmp_path: Path) -> None:
    crontab = "MAILTO=root\n0 20 27 1 * date +\\%Y; env\n"
    with CronDaemon(tmp_path / "cron", crontab, environment=soon()) as daemon:
        daemon.wait_for(daemon.mails, 20, "the mail of the job")
        said = daemon.mails()[0].get_content()
    assert not said.startswith("2020")  # the job has the real clock
    assert "FAKETIME" not in said


@needs_cron
def test_mail_to_other_machines_stays_in_the_queue(tmp_path: Path) -> None:
    crontab = "MAILTO=operator@example.org\n* * * * * echo trouble; exit 1\n"
    with CronDaemon(tmp_path / "cron", crontab, environment=soon()) as daemon:
        daemon.wait_for(daemon.queued_mails, 20, "the mail of the job")
        daemon.wait_for(lambda: daemon.says("refused"), 20, "a try to deliver it")
        (mail,) = daemon.queued_mails()
        assert daemon.mails() == []
    assert (mail["To"], mail.get_content()) == ("operator@example.org", "trouble\n")


@needs_cron
def test_stops_with_jobs_that_run_and_with_what_jobs_have_left_behind(tmp_path: Path) -> None:
    before = state_of_the_machine()
    crontab = 'MAILTO=""\n* * * * * sleep 3601\n* * * * * setsid --fork sleep 3602\n'
    daemon = CronDaemon(tmp_path / "cron", crontab, environment=soon())
    daemon.start()

    def sleeping() -> int:
        commands = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in daemon.processes()]
        return sum(command in {b"sleep\x003601\0", b"sleep\x003602\0"} for command in commands)

    daemon.wait_for(lambda: sleeping() == 2, 20, "the two jobs to sleep")
    processes = daemon.processes()
    assert len(processes) >= 4
    daemon.stop()
    assert daemon.processes() == []
    # What has no parent any more is waited for by the first process of the machine.
    assert not [pid for pid in processes if is_alive(pid)]
    assert state_of_the_machine() == before


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@needs_cron
def test_can_be_started_again(tmp_path: Path) -> None:
    daemon = CronDaemon(tmp_path / "cron", "@reboot true\n")
    with daemon:
        daemon.wait_for(lambda: daemon.says("Running @reboot jobs"), 10, "the first start")
    with daemon:
        daemon.wait_for(lambda: daemon.says("Skipping @reboot jobs"), 10, "the second start")


@needs_cron
def test_crontab_that_cron_does_not_take_is_an_error(tmp_path: Path) -> None:
    daemon = CronDaemon(tmp_path / "cron", "61 * * * * true\n")
    with pytest.raises(AssertionError, match="bad minute"):
        daemon.start()
    assert daemon.processes() == []


def test_says_that_it_has_to_be_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(RuntimeError, match="has to be started as root"):
        CronDaemon(tmp_path / "cron", "").start()


def test_says_which_packages_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    def which(name: str, path: str) -> str | None:
        return None if name in {"cron", "crontab", "dma"} else name

    monkeypatch.setattr(shutil, "which", which)
    assert missing_for_cron() == "install the Debian packages cron dma"


CHANGE = """\
SHELL=/bin/false
0 * * * * each hour
30 2 * * * at a time
"""


@needs_cron
@pytest.mark.slow
@pytest.mark.parametrize(
    ("start", "at_a_time"),
    [
        # The clock goes from 2:00 to 3:00: what was due between is run then.
        (datetime(2020, 3, 28, 23, tzinfo=UTC), datetime(2020, 3, 29, 1, 0, tzinfo=UTC)),
        # It goes from 3:00 to 2:00: what was due is not run again.
        (datetime(2020, 10, 24, 23, tzinfo=UTC), datetime(2020, 10, 25, 0, 30, tzinfo=UTC)),
    ],
    ids=["spring", "autumn"],
)
def test_line_for_each_hour_is_started_each_hour_across_a_change(
    start: datetime, at_a_time: datetime
) -> None:
    launches = run_day(CHANGE, start, 4, "Europe/Madrid", FAST)
    each_hour = [minute for minute, command in launches if command == "each hour"]
    assert each_hour == [start + number * HOUR for number in range(4)]
    (started,) = [minute for minute, command in launches if command == "at a time"]
    # What was left out is run with pauses of some seconds.
    assert timedelta(0) <= started - at_a_time <= timedelta(minutes=3)


@needs_cron
def test_zone_is_that_of_the_daemon() -> None:
    nine_in_tokyo = datetime(2020, 1, 27, 0, 0, tzinfo=UTC)
    launches = run_day("0 9 * * * nine\n", nine_in_tokyo - HOUR / 4, 0.5, "Asia/Tokyo", FAST)
    assert launches == [(nine_in_tokyo, "nine")]


@needs_cron
def test_zone_is_not_that_of_the_crontab() -> None:
    nine = datetime(2020, 1, 27, 9, 0, tzinfo=UTC)
    crontab = "CRON_TZ=Asia/Tokyo\nTZ=Asia/Tokyo\n0 9 * * * nine\n"
    assert run_day(crontab, nine - HOUR / 4, 0.5, "UTC", FAST) == [(nine, "nine")]
