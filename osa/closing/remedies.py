"""The remedies that the closer has: each can be told of, and done."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from osa.closing.examine import Damage
from osa.closing.provenance import record_aside
from osa.closing.undo import stamp
from osa.cures.other_night import borrow
from osa.incidences import note_incidence
from osa.layout import DL1, INTERLEAVED, MUONS, PRODUCT_KINDS, Layout, subrun_tag
from osa.model.rule import Rule
from osa.model.run import list_subruns, run_tag
from osa.model.sequence import BorrowedCalibration, Sequence, SequenceKind
from osa.nightsummary.left_out import leave_out
from osa.scheduler.base import Scheduler

__all__ = ["Borrow", "Cancel", "LeaveOut", "Remedy", "SetAside", "what_of"]


def what_of(sequence: Sequence, tasks: Iterable[int], of: Iterable[int] | None = None) -> str:
    """Name tasks of a sequence in words: ``sub-runs 3, 5 of run 01874``.

    Parameters
    ----------
    sequence : Sequence
        The sequence.
    tasks : iterable of int
        Its sub-runs.
    of : iterable of int, optional
        All that it has; where it is given and the tasks are all of them, the run is named alone.
    """
    tasks = sorted(tasks)
    run = f"run {run_tag(sequence.run)}"
    if sequence.kind is SequenceKind.CALIBRATION:
        return f"calibration {run}"
    if of is not None and tasks == sorted(of):
        return run
    return f"sub-run{'' if len(tasks) == 1 else 's'} {list_subruns(tasks)} of {run}"


@dataclass(frozen=True)
class SetAside:
    """Set a damaged product aside, so that it is made again."""

    layout: Layout = field(repr=False)
    sequence: Sequence
    damage: Damage

    def __str__(self) -> str:
        return f"set aside {self.damage.path.name}, to have it made again: {self.damage.reason}"

    def perform(self) -> None:
        """Do it; within its file system, so that nothing can be lost."""
        path = self.damage.path
        note_incidence(
            self.layout, f"{path.name} was damaged and is made again: {self.damage.reason}.", once=False
        )
        others = self._made_again_with_it()
        moved = {other: _put_away(other, "replaced") for other in others}
        moved[path] = _put_away(path, "damaged")
        record_aside(self.layout, self.sequence.run, moved)

    def _made_again_with_it(self) -> list[Path]:
        """List what is in its final place and will be made again: it would be in the way there."""
        subrun, run = self.damage.subrun, self.sequence.run
        if subrun is None or not self.damage.path.name.startswith((f"{DL1.prefix}_", f"{MUONS.prefix}_")):
            return []
        finals = (self.layout.final(kind, run, subrun) for kind in (*PRODUCT_KINDS, INTERLEAVED))
        return [path for path in finals if path.exists() and path != self.damage.path]

    @staticmethod
    def count(path: Path) -> int:
        """Count how often a product was set aside before."""
        return sum(1 for _ in path.parent.glob(f"{path.name}.damaged.*"))


def _put_away(path: Path, how: str) -> Path:
    name = f"{path.name}.{how}.{stamp(datetime.now(UTC))}"
    other = path.with_name(name)
    for number in count(2):
        if not other.exists():
            break
        other = path.with_name(f"{name}.{number}")
    os.replace(path, other)
    return other


@dataclass(frozen=True)
class LeaveOut:
    """Leave out sub-runs that no other try can cure, or the whole run where nothing else is in it."""

    layout: Layout = field(repr=False)
    sequence: Sequence
    subruns: tuple[int, ...]
    rule: Rule

    @property
    def is_whole_run(self) -> bool:
        """Whether nothing of the run is left then."""
        return self.subruns == self.sequence.subruns and not self.sequence.absent_subruns

    @property
    def _what(self) -> str:
        return what_of(self.sequence, self.subruns, self.sequence.subruns if self.is_whole_run else None)

    def __str__(self) -> str:
        return f"leave out {self._what}: {self.rule.name}"

    def perform(self) -> None:
        """Do it."""
        words = self.rule.words or "left out"
        what = self._what
        note_incidence(self.layout, f"{what[0].upper()}{what[1:]}: {self.rule.name}; {words}.", once=False)
        run = self.sequence.run
        tags = [run_tag(run)] if self.is_whole_run else [subrun_tag(run, subrun) for subrun in self.subruns]
        leave_out(self.layout, dict.fromkeys(tags, self.rule.name))


@dataclass(frozen=True)
class Borrow:
    """Use the calibration of another night."""

    layout: Layout = field(repr=False)
    calibration: BorrowedCalibration
    why: str

    def __str__(self) -> str:
        return f"use the calibration of the night {self.calibration.night}: the night's own {self.why}"

    def perform(self) -> None:
        """Do it."""
        borrow(self.layout, self.calibration, self.why, clock=datetime.now(UTC))


@dataclass(frozen=True)
class Cancel:
    """Cancel what waits in vain."""

    layout: Layout = field(repr=False)
    scheduler: Scheduler = field(repr=False)
    sequence: Sequence
    why: str

    def __str__(self) -> str:
        return f"cancel what is pending of {self.sequence.name}: {self.why}"

    def perform(self) -> None:
        """Do it."""
        self.scheduler.cancel(self.layout.group, [self.sequence.name])


Remedy = SetAside | LeaveOut | Borrow | Cancel
