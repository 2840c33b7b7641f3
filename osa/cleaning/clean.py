"""Putting away what a closed night leaves behind."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from osa.cleaning.due import Kind, days_since_closing, due_kinds
from osa.cleaning.idle import no_task, what_is_alive
from osa.cleaning.leftovers import Leftover, find_leftovers, working_folder
from osa.cleaning.logs import compress_log
from osa.cleaning.trees import OnFault, Tally, remove
from osa.errors import AnotherInstanceError, OsaError
from osa.layout import Layout
from osa.scheduler.base import Scheduler
from osa.system.locks import only_instance

__all__ = ["Cleaned", "Look", "add_tallies", "clean_night", "look_at"]

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Look:
    """What there is to be done with a night.

    Parameters
    ----------
    layout : Layout
        Of the night.
    is_closed : bool
        Whether it is closed.
    leftovers : tuple of Leftover
        What is to go; of a night that is not closed nothing.
    faults : tuple of str
        What could not be looked at.
    """

    layout: Layout
    is_closed: bool
    leftovers: tuple[Leftover, ...] = ()
    faults: tuple[str, ...] = ()

    @property
    def tallies(self) -> Mapping[Kind, Tally]:
        """What there is of each kind."""
        return add_tallies((leftover.kind, leftover.tally) for leftover in self.leftovers)


@dataclass(frozen=True)
class Cleaned:
    """What was done with a night.

    Parameters
    ----------
    tallies : mapping of Kind to Tally
        The files that were removed or compressed, and by how much more is free now.
    faults : tuple of str
        What could not be done.
    left_alone : str or None
        Why nothing was done.
    """

    tallies: Mapping[Kind, Tally] = field(default_factory=dict)
    faults: tuple[str, ...] = ()
    left_alone: str | None = None


def look_at(layout: Layout, clock: datetime) -> Look:
    """Find out what there is to be done with a night; changes nothing.

    Parameters
    ----------
    layout : Layout
        Of the night.
    clock : datetime.datetime
        The time.
    """
    faults: list[str] = []
    days = None
    leftovers: tuple[Leftover, ...] = ()
    try:
        days = days_since_closing(layout, clock)
        kinds = due_kinds(layout.settings.cleaning, days)
        leftovers = find_leftovers(layout, kinds, faults.append)
    except OSError as error:
        faults.append(f"cannot look at {error.filename or layout.title}: {error.strerror}")
    return Look(layout, days is not None, leftovers, tuple(faults))


def clean_night(
    layout: Layout, scheduler: Scheduler, *, clock: datetime, progress: Progress = lambda *_: None
) -> Cleaned:
    """Put away what a night leaves behind, if it is closed and nobody is at work on it.

    What cannot be done does not keep the rest. Can be killed anywhere and done again.

    Parameters
    ----------
    layout : Layout
        Of the night.
    scheduler : Scheduler
        Knows whether tasks are alive.
    clock : datetime.datetime
        The time.
    progress : callable
        Told how many of the logs are compressed, and of how many.
    """
    try:
        with only_instance(layout.night_lock, layout.title), no_task(layout.task_lock, layout.title):
            alive = what_is_alive(layout, scheduler)
            if alive is not None:
                return Cleaned(left_alone=alive)
            # Looked at again: it may have been opened before the lock was ours.
            look = look_at(layout, clock)
            if not look.is_closed:
                return Cleaned(left_alone="it is not closed", faults=look.faults)
            return _clean(look, progress)
    except AnotherInstanceError as error:
        return Cleaned(left_alone=str(error))
    except OSError as error:
        return Cleaned(faults=(f"cannot clean {error.filename or layout.title}: {error.strerror}",))


def _clean(look: Look, progress: Progress) -> Cleaned:
    faults: list[str] = []
    logs = [leftover for leftover in look.leftovers if leftover.kind is Kind.LOG]
    others = [leftover for leftover in look.leftovers if leftover.kind is not Kind.LOG]
    # Logs last: there is more room then for the compressed files.
    done = [(leftover.kind, _put_away(look.layout, leftover, faults.append)) for leftover in others]
    for count, leftover in enumerate(logs, start=1):
        done.append((leftover.kind, _put_away(look.layout, leftover, faults.append)))
        progress(count, len(logs))
    # What could not be looked into was not removed either, for the same reason.
    return Cleaned(add_tallies(done), tuple(dict.fromkeys((*look.faults, *faults))))


def _put_away(layout: Layout, leftover: Leftover, on_fault: OnFault) -> Tally:
    """Remove a leftover, or compress it if it is a log; gives the files, and what is free now."""
    path = layout.analysis_dir / leftover.path
    try:
        with working_folder(layout, *leftover.path.parent.parts) as folder:
            if folder is None:
                return Tally()
            if leftover.kind is not Kind.LOG:
                return remove(folder, path.name, path, on_fault)
            freed = compress_log(folder, path.name)
            return Tally() if freed is None else Tally(1, freed)
    except (OSError, OsaError) as error:
        what = "compress" if leftover.kind is Kind.LOG else "remove"
        reason = error.strerror if isinstance(error, OSError) else error
        on_fault(f"cannot {what} {path}: {reason}")
        return Tally()


def add_tallies(tallies: Iterable[tuple[Kind, Tally]]) -> Mapping[Kind, Tally]:
    """Add up by kind; kinds without files are not among them."""
    total: defaultdict[Kind, Tally] = defaultdict(Tally)
    for kind, tally in tallies:
        total[kind] += tally
    return {kind: tally for kind, tally in total.items() if tally.files}
