"""Telling a person what a job of cron cannot do by itself; once, in two lines."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from osa.closing.due import is_late
from osa.config import Settings
from osa.cron.jobs import JobName
from osa.cron.run import Outcome, log_of
from osa.errors import ExitCode, MissingServiceError
from osa.system.files import write_text
from osa.system.mail import send_mail

__all__ = ["Notebook", "Trouble", "is_news", "stuck", "trouble_of"]

_ONE_DAY = timedelta(days=1)
_LONGEST = 300


@dataclass(frozen=True)
class Trouble:
    """What a person should act on.

    Parameters
    ----------
    what, todo : str
        What happened, and what to do.
    mark : str
        Tells it from other troubles of the same job.
    """

    what: str
    todo: str
    mark: str

    @property
    def text(self) -> str:
        """The mail."""
        text = f"{self.what}.\nTo do: {self.todo}.\n"
        return text.encode(errors="backslashreplace").decode()


def trouble_of(outcome: Outcome, clock: datetime) -> Trouble | None:
    """Tell whether a person has to act on how a job ended; None where nobody has to.

    What is wrong with a night the closer mails itself, and notes that. Where it could not, or should have
    and did not even write its report, that is a trouble of the job.

    Parameters
    ----------
    outcome : Outcome
        How it ended.
    clock : datetime.datetime
        The time.
    """
    job, code = outcome.job, outcome.code
    layout = job.layout
    of_night = "" if job.night is None else f" of night {job.night}"
    if job.name is JobName.CLOSER and _is_newer(layout.alarm, outcome.began):
        return None if layout.alarm_mailed.exists() else _unsent(layout.alarm)
    is_overdue = (
        job.name is JobName.CLOSER
        and code in {ExitCode.NOT_COMPLETE, ExitCode.ANOTHER_INSTANCE}
        and layout.settings.alarm.hour is not None
        and is_late(layout, clock)
    )
    if job.is_fine(code) and not is_overdue:
        return None
    last_line = outcome.last_line.removeprefix(f"{job.name}: ").rstrip(".")
    last_line = last_line if len(last_line) <= _LONGEST else f"{last_line[:_LONGEST]} …"
    said = f": {last_line}" if last_line else ""
    what = f"{job.name}{of_night} {outcome.ended}{said}"
    log = log_of(layout.settings, job.name)
    todo = f"cure that and call {job.command_line}, or wait for the next time; the log is {log}"
    # What it said may hold numbers and names that are others each time.
    return Trouble(what, todo, f"{job.title} {code}")


def _unsent(report: Path) -> Trouble:
    """Tell what the closer wrote and could not mail."""
    try:
        lines = report.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    what, todo = [line.rstrip(".") for line in (*lines[:2], "", "")][:2]
    return Trouble(what, f"{todo.removeprefix('To do: ')}; {report} says more", f"{report} {what}")


def stuck(settings: Settings, job: JobName, since: datetime, who: str) -> Trouble:
    """Say that an instance of a job does not end."""
    what = f"{job} has been at work since {since:%Y-%m-%d %H:%M} UTC ({who}), and no other can begin"
    todo = f"see what it waits for (its log is {log_of(settings, job)}), and kill it if it hangs"
    return Trouble(what, todo, f"stuck {since:%Y-%m-%d %H:%M}")


class Notebook:
    """What was told of a job last, so that it is told once.

    Parameters
    ----------
    settings : Settings
        The configuration.
    name : str
        The job, and its night where it has one.
    """

    def __init__(self, settings: Settings, name: str) -> None:
        self._settings = settings
        self._name = name
        self._path = settings.cron.log_dir / f".{settings.telescope_name}_{name}.told"

    def tell(self, trouble: Trouble, say: Callable[[str], None]) -> bool:
        """Mail a trouble, unless it was told last.

        Parameters
        ----------
        trouble : Trouble
            What it is.
        say : callable
            Told what was done.

        Returns
        -------
        bool
            Whether somebody has been told; where nobody is configured, or no mail can be sent, not.
        """
        if self._last() == _hash(trouble.mark):
            return True
        alarm = self._settings.alarm
        if alarm.recipient is None:
            return False
        try:
            send_mail(
                alarm.mailer, alarm.recipient, f"{self._settings.telescope_name}: {self._name}", trouble.text
            )
        except MissingServiceError as error:
            say(str(error))
            return False
        self.note(trouble)
        say(f"mailed to {alarm.recipient}")
        return True

    def note(self, trouble: Trouble) -> None:
        """Note that a trouble was told, in whatever way."""
        write_text(self._path, f"{_hash(trouble.mark)}\n")

    def forget(self) -> None:
        """Note that there is no trouble any more: the same is told again when it comes back."""
        self._path.unlink(missing_ok=True)

    def _last(self) -> str:
        try:
            return self._path.read_text("ascii", errors="replace").strip()
        except OSError:
            return ""


def is_news(text: str, folder: Path, clock: datetime) -> bool:
    """Tell whether a text was not told within a day; notes it.

    For what goes wrong before the configuration is read: cron mails what is printed, every time.

    Parameters
    ----------
    text : str
        The text.
    folder : pathlib.Path
        Where to note it.
    clock : datetime.datetime
        The time.
    """
    path = folder / f"osacron.{_hash(text)[:16]}.said"
    with suppress(OSError):
        if clock - datetime.fromtimestamp(path.stat().st_mtime, UTC) < _ONE_DAY:
            return False
    with suppress(OSError):  # then it is said again
        write_text(path, ascii(text))
    return True


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def _is_newer(path: Path, when: datetime) -> bool:
    try:
        return path.stat().st_mtime >= when.timestamp() - 1  # some file systems count whole seconds
    except OSError:
        return False
