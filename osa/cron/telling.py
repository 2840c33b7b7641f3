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
        return f"{self.what}.\nTo do: {self.todo}.\n"


def trouble_of(outcome: Outcome, clock: datetime) -> Trouble | None:
    """Tell whether a person has to act on how a job ended; None where nobody has to.

    That a night is not complete the closer mails itself. Where it should have, and did not even write
    its report, something is wrong with it.
    """
    job = outcome.job
    layout, code = job.layout, outcome.code
    is_silent = (
        job.name is JobName.CLOSER
        and code == ExitCode.NOT_COMPLETE
        and layout.settings.alarm.hour is not None
        and is_late(layout, clock)
        and not _is_newer(layout.alarm, outcome.began)
    )
    if job.is_fine(code) and not is_silent:
        return None
    of_night = "" if job.night is None else f" of night {job.night}"
    last_line = outcome.last_line.removeprefix(f"{job.name}: ").rstrip(".")
    said = f": {last_line}" if last_line else ""
    what = f"{job.name}{of_night} {outcome.ended}{said}"
    log = log_of(layout.settings, job.name)
    todo = f"cure that and call {job.command_line}, or wait for the next time; the log is {log}"
    return Trouble(what, todo, f"{job.night} {code} {outcome.last_line}")


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
        mark = hashlib.sha256(trouble.mark.encode()).hexdigest()
        if self._last() == mark:
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
        write_text(self._path, f"{mark}\n")
        say(f"mailed to {alarm.recipient}")
        return True

    def forget(self) -> None:
        """Note that there is no trouble any more: the same is told again when it comes back."""
        self._path.unlink(missing_ok=True)

    def _last(self) -> str:
        try:
            return self._path.read_text("ascii", errors="replace").strip()
        except OSError:
            return ""


def is_news(text: str, folder: Path, clock: datetime) -> bool:
    """Tell whether a text is another than the last, or that is a day ago; notes it.

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
    path = folder / "osacron.said"
    mark = hashlib.sha256(text.encode()).hexdigest()
    try:
        is_old = clock - datetime.fromtimestamp(path.stat().st_mtime, UTC) > _ONE_DAY
        if path.read_text("ascii", errors="replace").strip() == mark and not is_old:
            return False
    except OSError:
        pass
    with suppress(OSError):  # then it is said again
        write_text(path, f"{mark}\n")
    return True


def _is_newer(path: Path, when: datetime) -> bool:
    try:
        return path.stat().st_mtime >= when.timestamp() - 1  # some file systems count whole seconds
    except OSError:
        return False
