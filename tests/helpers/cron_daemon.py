"""Debian's cron daemon and mailer for tests, with crontabs, mail and a log of their own.

``CronDaemon`` runs crontabs by the real clock, or by one of ``fake_clock``; ``run_day`` says at which
times the daemon would start the lines of a crontab.
"""

from __future__ import annotations

import email
import email.policy
import fcntl
import mailbox
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import NamedTuple, Self
from zoneinfo import ZoneInfo

import pytest

SEARCHED = "/usr/sbin:/usr/bin:/sbin:/bin"
# program and Debian package
PROGRAMS = {
    "cron": "cron",
    "crontab": "cron",
    "dma": "dma",
    "faketime": "faketime",
    "mount": "mount",
    "setpriv": "util-linux",
    "unshare": "util-linux",
}
LIMIT = 10.0  # seconds for what takes a fraction of one

# Below the folder of a daemon, where it is seen, and with which group and mode the packages have it.
PLACES = (
    ("crontabs", "/var/spool/cron/crontabs", "crontab", 0o1730),
    ("cron.d", "/etc/cron.d", "root", 0o755),
    ("run", "/run", "root", 0o755),
    ("mail", "/var/mail", "mail", 0o2775),
    ("dma-spool", "/var/spool/dma", "mail", 0o2770),
    ("dma", "/etc/dma", "mail", 0o755),
)
# Jobs get what is set in the last two, through PAM; not each machine has them.
EMPTY_FILES = ("/etc/crontab", "/etc/environment", "/etc/default/locale")
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
DEVICE_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "fd/0",
    "stdout": "fd/1",
    "stderr": "fd/2",
    "ptmx": "pts/ptmx",
}

# Mail for users of the machine is delivered. All other stays in the queue: nothing listens at this port.
MAILER_CONFIG = """\
MAILNAME cron.test
ALIASES /etc/dma/aliases
SMARTHOST localhost
PORT 9
"""

# Its arguments: user and crontab, pairs of folders, --, and the daemon. Installing by crontab(1) gives
# the file the owner and mode that cron asks for, and refuses one that cron would not read.
ENTER = """\
set -e
user=$1 crontab=$2
shift 2
while [ "$1" != -- ]; do
  mount --no-mtab --rbind "$1" "$2"
  shift 2
done
shift
crontab -u "$user" "$crontab"
exec "$@"
"""

LOG_LINE = re.compile(r"<\d+>.{15} ([^\[:]+)(?:\[([^\]]*)\])?: (.*)", re.DOTALL)
LAUNCH = re.compile(r"\((\S+)\) CMD \((?:\[\d+\] )?(.*)\)", re.DOTALL)
SHELL_LINE = re.compile(r"\s*[\"']?SHELL[\"']?\s*=")
MARK = re.compile(r": minute (\d+) of the hour")
MINUTE = timedelta(minutes=1)


def missing_for_cron() -> str:
    """What keeps a daemon from being started here; empty if nothing does."""
    if os.geteuid() != 0:
        return "a cron daemon with folders of its own has to be started as root"
    packages = {package for name, package in PROGRAMS.items() if not shutil.which(name, path=SEARCHED)}
    return f"install the Debian packages {' '.join(sorted(packages))}" if packages else ""


needs_cron = pytest.mark.skipif(bool(missing_for_cron()), reason=missing_for_cron() or "-")


class LogLine(NamedTuple):
    """What a program said to syslog."""

    arrival: datetime
    program: str
    pid: str  # that of dma is none
    text: str


class Launch(NamedTuple):
    """A line of a crontab that was started."""

    time: datetime
    user: str
    command: str


class SystemLog:
    """Listens at a folder's ``log`` in place of syslogd at /dev/log."""

    def __init__(self, folder: Path) -> None:
        self.lines: list[LogLine] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(0.1)
        # The path of a socket may be no longer than 107 bytes; temporary folders of tests often are.
        with folder_descriptor(folder) as descriptor:
            self._socket.bind(f"/proc/self/fd/{descriptor}/log")
        (folder / "log").chmod(0o666)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="cron-log", daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while True:
            try:
                message = self._socket.recv(1 << 16)
            except TimeoutError:
                if self._ended.is_set():
                    return
                continue
            arrival = datetime.now(UTC)
            self.lines.append(read_log_line(arrival, message.rstrip(b"\n\0").decode(errors="replace")))

    def close(self) -> None:
        """End when all has been read that was sent."""
        self._ended.set()
        self._thread.join()
        self._socket.close()


def read_log_line(arrival: datetime, message: str) -> LogLine:
    found = LOG_LINE.fullmatch(message)
    return (
        LogLine(arrival, found[1], found[2] or "", found[3]) if found else LogLine(arrival, "", "", message)
    )


@contextmanager
def folder_descriptor(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@dataclass
class CronDaemon:
    """A daemon that has the crontab of one user, and a mailer that delivers to the users of the machine.

    Both see a /run, /dev/log and /dev/shm of their own, and so do the jobs. ``time_zone`` is that of the
    daemon; jobs do not inherit it. ``environment`` is added to that of the daemon.
    """

    folder: Path
    crontab: str
    user: str = "root"
    time_zone: str = "UTC"
    environment: Mapping[str, str] = field(default_factory=dict)
    _log: SystemLog | None = field(default=None, init=False, repr=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)
    _namespace: int | None = field(default=None, init=False, repr=False)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the daemon; it first runs what is due at the next full minute."""
        if missing := missing_for_cron():
            raise RuntimeError(missing)
        mounts = self._make_places()
        self._log = SystemLog(self.folder / "dev")
        try:
            self._process = self._enter(mounts)
            self.wait_for(lambda: self.says("(CRON) INFO (pidfile"), LIMIT, "cron to start")
            self._namespace = os.open(f"/proc/{self._process.pid}/ns/mnt", os.O_RDONLY)
        except BaseException:
            self.stop()
            raise

    def _make_places(self) -> list[tuple[Path, str]]:
        mounts = []
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, seen_at, group, mode in PLACES:
            place = self.folder / name
            place.mkdir(exist_ok=True)  # a daemon may be started again
            shutil.chown(place, "root", group)
            place.chmod(mode)
            mounts.append((place, seen_at))
        empty = self.folder / "empty"
        for file, text in (("dma/dma.conf", MAILER_CONFIG), ("dma/aliases", ""), ("empty", "")):
            (self.folder / file).write_text(text)
            (self.folder / file).chmod(0o644)  # whatever the umask is: jobs of others read them
        mounts += [(empty, path) for path in EMPTY_FILES if Path(path).exists()]
        return mounts + self._make_devices()

    def _make_devices(self) -> list[tuple[Path, str]]:
        """Make a whole /dev: a bind mount needs something to be put on, and there may be no /dev/log."""
        devices = self.folder / "dev"
        for folder in ("pts", "shm"):
            (devices / folder).mkdir(parents=True, exist_ok=True)
        devices.chmod(0o755)
        (devices / "shm").chmod(0o1777)
        for name in DEVICES:
            (devices / name).touch()
        for link, target in DEVICE_LINKS.items():
            (devices / link).unlink(missing_ok=True)
            (devices / link).symlink_to(target)
        (devices / "log").unlink(missing_ok=True)
        shown = [(Path("/dev", name), str(devices / name)) for name in ("pts", *DEVICES)]
        return [*shown, (devices, "/dev")]

    def _enter(self, mounts: Iterable[tuple[Path, str]]) -> subprocess.Popen[bytes]:
        crontab = self.folder / "crontab"
        crontab.write_text(self.crontab)
        own = {"PATH": SEARCHED, "LANG": "C.UTF-8", "TZ": self.time_zone, **self.environment}
        # Each of them becomes the next, so that the process is the daemon in the end.
        command = [
            *("setpriv", "--pdeathsig", "KILL"),  # it is not to outlive tests that are killed
            *("unshare", "--mount", "--propagation", "private"),
            *("sh", "-c", ENTER, "enter", self.user, str(crontab)),
            *(str(path) for pair in mounts for path in pair),
            *("--", "env", "-i", *(f"{name}={value}" for name, value in own.items())),
            *("cron", "-f", "-L", "15"),
        ]
        with (self.folder / "output").open("wb") as output:
            return subprocess.Popen(
                command,
                env={"PATH": SEARCHED},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                umask=0o022,
            )

    def stop(self) -> None:
        """Kill the daemon and all that it has started; with the last of them go the mounts."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None
        limit = time.monotonic() + LIMIT
        while left := self.processes():
            assert time.monotonic() < limit, f"processes {left} of cron cannot be killed"
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        if self._namespace is not None:
            os.close(self._namespace)
            self._namespace = None
        if self._log:
            self._log.close()

    def processes(self) -> list[int]:
        """The daemon, its jobs, and what these have left behind; empty when the daemon was stopped.

        They are known by their mount namespace, which they keep also when they change their session
        or lose their parent. The open descriptor keeps its number from being given to another.
        """
        if self._namespace is None:
            return []
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if os.path.samestat((path / "ns" / "mnt").stat(), os.fstat(self._namespace)):
                    found.append(int(path.name))
        return found

    def log(self) -> list[LogLine]:
        """What cron, its PAM session and the mailer have said to syslog, by the real clock."""
        return list(self._log.lines) if self._log else []

    def says(self, text: str) -> bool:
        """Whether a line of the log has some text."""
        return any(text in line.text for line in self.log())

    def launches(self) -> list[Launch]:
        """What cron has started until now, by the real clock."""
        return [launch for _, launch in self.numbered_launches()]

    def numbered_launches(self) -> Iterator[tuple[int, Launch]]:
        """Launches with the number of the process that the daemon forked for each."""
        for line in self.log():
            if line.program == "CRON" and (found := LAUNCH.fullmatch(line.text)):
                yield int(line.pid), Launch(line.arrival, found[1], found[2])

    def mails(self, user: str | None = None) -> list[EmailMessage]:
        """What was delivered to a user, or to anybody."""
        boxes = sorted((self.folder / "mail").iterdir())
        return [mail for box in boxes if user in {None, box.name} for mail in read_mailbox(box)]

    def queued_mails(self) -> list[EmailMessage]:
        """What the mailer has not delivered: mail to other machines."""
        return [parse_mail(path.read_bytes()) for path in sorted((self.folder / "dma-spool").glob("M*"))]

    def wait_for(self, condition: Callable[[], object], timeout: float, what: str) -> None:
        """Poll until something is true."""
        limit = time.monotonic() + timeout
        while not condition():
            alive = self._process is not None and self._process.poll() is None
            assert alive, f"cron ended while waiting for {what}\n{self._account()}"
            in_time = time.monotonic() < limit
            assert in_time, f"gave up waiting for {what} after {timeout:.0f} s\n{self._account()}"
            time.sleep(0.05)

    def _account(self) -> str:
        said = [f"{line.arrival:%H:%M:%S} {line.program}: {line.text}" for line in self.log()[-20:]]
        return "\n".join([(self.folder / "output").read_text(errors="replace"), *said])


def parse_mail(content: bytes) -> EmailMessage:
    mail = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(mail, EmailMessage)
    return mail


def read_mailbox(path: Path) -> list[EmailMessage]:
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)  # dma locks it while it writes
        box = mailbox.mbox(path, create=False)
        try:
            return [parse_mail(box.get_bytes(key)) for key in box.keys()]  # noqa: SIM118 - no mapping
        finally:
            box.close()


def fake_clock(start: datetime, factor: int = 1) -> dict[str, str]:
    """Environment of a daemon whose clock shows another time, and may be faster than the real one.

    Jobs do not inherit it. With the start some seconds before a full minute they need not be waited for.
    """
    assert start.tzinfo, "the start needs a time zone"
    libraries = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    assert libraries, "libfaketime is missing: install the Debian package faketime"
    # As seconds: an hour of the autumn change would be ambiguous as a local time.
    return {
        "LD_PRELOAD": str(libraries[0]),
        "FAKETIME_FMT": "%s",
        "FAKETIME": f"@{start.timestamp():.0f} x{factor}",
    }


def run_day(
    crontab: str, start: datetime, hours: float, time_zone: str = "UTC", factor: int = 720
) -> list[tuple[datetime, str]]:
    """Let a daemon go through some hours fast; return when (UTC, whole minutes) it started which line.

    No command is run: ``/bin/true`` is the shell. The time is never taken from the time that a line in
    the log arrives at, where a delay of milliseconds counts as minutes. Marks in the crontab, lines for
    each minute of the hour, tell it: what is started after a mark and before the next (the daemon starts
    them one after the other, with rising numbers) is of that minute.

    A daemon that is kept from running for five of its minutes leaves out what was due: then all is done
    again, at half the speed.
    """
    assert start.tzinfo and not start.second, "the start has to be a full minute in some time zone"
    start = start.astimezone(UTC)  # sums of times in another zone would leave out its changes
    until = start + timedelta(hours=hours)
    marked = with_marks(crontab)
    wrong: list[datetime] = []
    for slower in (1, 2, 4):
        launches = date_launches(run_fast(marked, start, until, time_zone, factor // slower), time_zone)
        inside = [(minute, command) for minute, command in launches if start <= minute < until]
        marks = [minute for minute, command in inside if MARK.fullmatch(command)]
        if not (wrong := wrong_minutes(marks, start, until)):
            return [(minute, command) for minute, command in inside if not MARK.fullmatch(command)]
    raise AssertionError(f"the daemon did not go once through each minute, as at {wrong[0]}: is it too fast?")


def run_fast(
    crontab: str, start: datetime, until: datetime, time_zone: str, factor: int
) -> list[tuple[datetime, str]]:
    """Run a crontab; return its launches one after the other, with estimates of their times."""
    origin = start - 2 * MINUTE  # the daemon first runs what is due at its second minute
    lasting = (until + 2 * MINUTE - origin) / factor
    with tempfile.TemporaryDirectory(prefix="osa-cron-") as folder:
        clock = fake_clock(origin, factor)
        with CronDaemon(Path(folder), crontab, time_zone=time_zone, environment=clock) as daemon:
            begun = daemon.log()[0].arrival
            limit = lasting.total_seconds() + LIMIT
            daemon.wait_for(lambda: datetime.now(UTC) > begun + lasting, limit, "the end of the time")
            launches = in_order_of_start(daemon.numbered_launches())
    return [(origin + (launch.time - begun) * factor, launch.command) for launch in launches]


def with_marks(crontab: str) -> str:
    # Before and after, as cron may go through the lines of a crontab in either direction.
    marks = [f"{minute} * * * * : minute {minute} of the hour" for minute in range(60)]
    own = [line for line in crontab.splitlines() if not SHELL_LINE.match(line)]
    return "\n".join(["SHELL=/bin/true", *marks, *own, *marks, ""])


def in_order_of_start(launches: Iterable[tuple[int, Launch]]) -> list[Launch]:
    """Sort by process numbers, which begin anew after the largest."""
    count = int(Path("/proc/sys/kernel/pid_max").read_text())
    ordered: list[tuple[int, Launch]] = []
    last = None
    for pid, launch in launches:
        # Those that arrive one after the other are near each other.
        last = pid if last is None else last + (pid - last + count // 2) % count - count // 2
        ordered.append((last, launch))
    return [launch for _, launch in sorted(ordered, key=lambda pair: pair[0])]


def date_launches(launches: Iterable[tuple[datetime, str]], time_zone: str) -> Iterator[tuple[datetime, str]]:
    """Give launches the minute of the last mark; what is before the first is left out."""
    minute = None
    for about, command in launches:
        if mark := MARK.fullmatch(command):
            minute = nearest_minute(about, int(mark[1]), ZoneInfo(time_zone))
        if minute:
            yield minute, command


def nearest_minute(about: datetime, of_hour: int, zone: ZoneInfo) -> datetime:
    """Find the time, near another, at which a clock in a zone shows some minute of the hour."""
    whole = about.astimezone(UTC).replace(second=0, microsecond=0)
    around = sorted((whole + offset * MINUTE for offset in range(-30, 31)), key=lambda one: abs(one - about))
    return next(one for one in around if one.astimezone(zone).minute == of_hour)


def wrong_minutes(marks: Iterable[datetime], start: datetime, until: datetime) -> list[datetime]:
    """Find the minutes that the daemon did not go through once, with both of their marks."""
    counts = Counter(marks)
    minutes = int((until - start) / MINUTE)
    return [one for one in (start + number * MINUTE for number in range(minutes)) if counts[one] != 2]
