"""Which nights there are, and what of their leftovers is old enough to go."""

from __future__ import annotations

import os
import stat
from datetime import datetime
from enum import Enum

from osa.cleaning.trees import folder_below, names_in
from osa.config import Settings
from osa.config.settings import CleaningSettings
from osa.layout import Layout
from osa.model.night import Night

__all__ = ["Kind", "days_since_closing", "due_kinds", "nights_below"]

_SECONDS_OF_A_DAY = 86400


class Kind(Enum):
    """Kinds of leftovers; the configuration has a number of days for each."""

    UNFINISHED = "unfinished"
    SET_ASIDE = "set aside"
    LOG = "log"


def days_since_closing(layout: Layout, clock: datetime) -> float | None:
    """Tell how many days ago a night was closed; None where it is not closed.

    They are less than 0 where the clock was set back.
    """
    try:
        finished = os.lstat(layout.night_finished)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISREG(finished.st_mode):
        return None
    return (clock.timestamp() - finished.st_mtime) / _SECONDS_OF_A_DAY


def due_kinds(settings: CleaningSettings, days: float | None) -> frozenset[Kind]:
    """Tell which leftovers are to go.

    Parameters
    ----------
    settings : CleaningSettings
        The days of the configuration.
    days : float or None
        How many have passed since the night was closed; None where it is not closed.
    """
    if days is None:
        return frozenset()
    limits = {
        Kind.UNFINISHED: settings.scratch_days,
        Kind.SET_ASIDE: settings.set_aside_days,
        Kind.LOG: settings.compress_logs_days,
    }
    return frozenset(kind for kind, limit in limits.items() if limit is not None and days >= limit)


def nights_below(settings: Settings) -> tuple[Night, ...]:
    """List the nights that have a working folder of the configured production, the oldest first.

    Where the folder of a night is a symbolic link it is not among them.
    """
    with folder_below(settings.telescope.analysis_dir) as folder:
        if folder is None:
            return ()
        nights = [night for name in names_in(folder) if (night := _as_night(name)) is not None]
        production = settings.production.prod_id
        return tuple(night for night in nights if _has_folder(folder, night, production))


def _as_night(name: str) -> Night | None:
    try:
        night = Night.parse(name)
    except ValueError:
        return None
    return night if night.tag == name else None


def _has_folder(folder: int, night: Night, production: str) -> bool:
    """Tell whether a night has a folder for a production, without a link on the way."""
    try:
        modes = [
            os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
            for name in (night.tag, f"{night.tag}/{production}")
        ]
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:  # whoever looks into it says why that cannot be
        return True
    return all(map(stat.S_ISDIR, modes))
