"""The jobs that cron starts, and which nights they are for."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from osa.config import Settings
from osa.errors import ExitCode
from osa.layout import Layout
from osa.model.night import Night
from osa.nightsummary.arrival import end_of_night

__all__ = ["Job", "JobName", "last_night", "nights_in_work"]

_FINE = frozenset({ExitCode.DONE, ExitCode.ANOTHER_INSTANCE, ExitCode.NOT_YET})
_ONE_DAY = timedelta(days=1)


class JobName(StrEnum):
    """The commands that cron runs."""

    NIGHTSUMMARY = "nightsummary"
    SEQUENCER = "sequencer"
    CLOSER = "closer"
    STATUSPAGE = "statuspage"
    NIGHTCLEAN = "nightclean"


_OPTIONS = {
    # Nobody is there to answer, and the next job of the line is not to wait for the tasks.
    JobName.NIGHTSUMMARY: ("--keep",),
    JobName.SEQUENCER: ("--detach",),
    JobName.CLOSER: ("-y", "--detach"),
    JobName.STATUSPAGE: (),
    JobName.NIGHTCLEAN: ("-y",),
}
_OF_A_NIGHT = frozenset({JobName.NIGHTSUMMARY, JobName.SEQUENCER, JobName.CLOSER})
# The closer mails what becomes of a night, and the page shows what cannot be read.
_TELL_THEMSELVES = frozenset({JobName.SEQUENCER, JobName.CLOSER, JobName.STATUSPAGE})
_NEED_A_SUMMARY = frozenset({JobName.SEQUENCER, JobName.CLOSER})


@dataclass(frozen=True)
class Job:
    """A command, for one night or for none in particular.

    Parameters
    ----------
    name : JobName
        The command.
    layout : Layout
        Of the night; of any, where the command is not for one.
    """

    name: JobName
    layout: Layout

    @property
    def night(self) -> Night | None:
        """The night that it is for."""
        return self.layout.night if self.name in _OF_A_NIGHT else None

    @property
    def title(self) -> str:
        """The command and its night, as names of files have them."""
        return self.name if self.night is None else f"{self.name}_{self.night.tag}"

    @property
    def arguments(self) -> list[str]:
        """The command line after the name of the command."""
        settings = self.layout.settings
        night = [] if self.night is None else ["-d", self.night.underscored]
        by_option = self.name in {JobName.STATUSPAGE, JobName.NIGHTCLEAN}
        telescope = ["-t", settings.telescope_name] if by_option else [settings.telescope_name]
        return ["-c", str(settings.path), *night, *_OPTIONS[self.name], *telescope]

    @property
    def command_line(self) -> str:
        """The same for people, as they would type it."""
        words = [self.name, *(word for word in self.arguments if word not in _OPTIONS[self.name])]
        return shlex.join(words)

    @property
    def obstacle(self) -> str:
        """Why it cannot do anything now; empty where it can."""
        if self.layout.night_finished.exists() and self.name is JobName.SEQUENCER:
            return "the night is closed"
        is_ready = self.name not in _NEED_A_SUMMARY or self.layout.night_summary.exists()
        return "" if is_ready or self.layout.night_finished.exists() else "there is no night summary"

    def is_fine(self, code: int) -> bool:
        """Tell whether an exit code needs nobody."""
        return code in _FINE or (code == ExitCode.NOT_COMPLETE and self.name in _TELL_THEMSELVES)


def last_night(settings: Settings, clock: datetime) -> Night:
    """Tell which night ended last: the same from its end to that of the next one."""
    night = Night(clock.date())
    while end_of_night(Layout(settings, night)) > clock:
        night = Night(night.date - _ONE_DAY)
    return night


def nights_in_work(settings: Settings, clock: datetime) -> Iterator[Layout]:
    """Give the nights that are worked on, the latest first.

    These are the last night, whatever there is of it, and the others of the last days, that of today
    included, that have raw files or a night summary. They do not depend on an hour at which one night
    gives way to the next, and a night that takes longer is not given up.

    Parameters
    ----------
    settings : Settings
        The configuration.
    clock : datetime.datetime
        The time, UTC.
    """
    last = last_night(settings, clock)
    since_last = (clock.date() - last.date).days
    for days in range(max(settings.cron.nights, since_last) + 1):
        layout = Layout(settings, Night(clock.date() - days * _ONE_DAY))
        is_begun = layout.raw_dir.is_dir() or layout.night_summary.exists()
        if layout.night == last or is_begun:
            yield layout
