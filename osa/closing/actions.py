"""What closing a night consists of: actions that can be listed, done, and done again."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from osa.closing.examine import present_path
from osa.cures.other_night import link_file, links_to_calibration
from osa.flags import closed_text
from osa.layout import (
    DATACHECK,
    DL2,
    INTERLEAVED,
    MUONS,
    PRODUCT_KINDS,
    Layout,
)
from osa.model.sequence import NightPlan, Sequence, SequenceKind
from osa.nightstate import SequenceState
from osa.steps.datacheck import merged_datacheck
from osa.steps.merge_dl2 import merged_dl2
from osa.steps.step import Step
from osa.system.files import write_text

__all__ = [
    "Link",
    "Merge",
    "Move",
    "PutFlag",
    "all_moves",
    "calibration_links",
    "closing_moves",
    "merges",
    "put_closed_flag",
]


@dataclass(frozen=True)
class Move:
    """Move a file to its final place; :mod:`osa.closing.journal` does it."""

    source: Path
    target: Path

    def __str__(self) -> str:
        return f"move {self.source} to {self.target}"


@dataclass(frozen=True)
class Merge:
    """Merge the products of a run's sub-runs."""

    run: int
    step: Step
    folder: Path

    def __str__(self) -> str:
        return f"merge {self.step.input} to {', '.join(str(p.final) for p in self.step.products)}"


@dataclass(frozen=True)
class Link:
    """Link a file of another night where the night's own would be."""

    link: Path
    target: Path

    def __str__(self) -> str:
        return f"link {self.link} to {self.target}"

    def perform(self) -> None:
        """Do it; nothing where it was done before."""
        link_file(self.link, self.target)


@dataclass(frozen=True)
class PutFlag:
    """Put the flag that says that a sequence is closed, and what there was of it."""

    path: Path
    text: str

    def __str__(self) -> str:
        return f"put {self.path}"

    def perform(self) -> None:
        """Do it."""
        write_text(self.path, self.text)


def closing_moves(layout: Layout, state: SequenceState) -> list[Move]:
    """List the moves of a sequence's products that are not in their final place yet."""
    candidates = all_moves(layout, state.sequence)
    return [move for move in candidates if os.path.lexists(move.source) and not _is_there(move)]


def all_moves(layout: Layout, sequence: Sequence) -> list[Move]:
    """List where each product of a sequence is made, and its final place."""
    if sequence.kind is SequenceKind.CALIBRATION:
        return _calibration_moves(layout, sequence)
    return [
        Move(layout.working(kind, sequence.run, subrun), layout.final(kind, sequence.run, subrun))
        for kind in (*PRODUCT_KINDS, INTERLEAVED)
        for subrun in sequence.subruns
    ]


def _is_there(move: Move) -> bool:
    """Tell whether a file was moved when the night was closed before; a link was left in its place."""
    return move.source.is_symlink() and move.source.resolve() == move.target.resolve()


def _calibration_moves(layout: Layout, sequence: Sequence) -> list[Move]:
    if sequence.drs4_run is None:
        return []
    products = layout.calibration_products(sequence.drs4_run, sequence.run)
    sources = [*products, *(layout.plot(product) for product in products)]
    return [Move(source, layout.final_calibration_dir / source.name) for source in sources]


def merges(layout: Layout, sequence: Sequence) -> list[Merge]:
    """List the merges of a DATA run, of the sub-runs that have what is merged."""
    run = sequence.run
    checked, with_dl2 = (
        {
            subrun: layout.final(kind, run, subrun)
            for subrun in sequence.subruns
            if present_path(layout, kind, run, subrun).exists()
        }
        for kind in (DATACHECK, DL2)
    )
    found = []
    if checked:
        muons_dir = layout.final_dir(MUONS)
        step = merged_datacheck(layout, run=run, subrun_files=checked, muons_dir=muons_dir)
        found.append(Merge(run, step, layout.final_dir(DATACHECK)))
    if with_dl2:
        step = merged_dl2(layout, run=run, subrun_files=with_dl2)
        found.append(Merge(run, step, layout.final_dir(DL2)))
    return found


def put_closed_flag(layout: Layout, sequence: Sequence) -> PutFlag:
    """Make the action that ends the closing of a sequence."""
    return PutFlag(layout.closed(sequence), closed_text(layout, sequence))


def calibration_links(layout: Layout, plan: NightPlan) -> list[Link]:
    """List the links that show whose calibration the final data was made with, where it is another's."""
    if plan.borrowed is None:
        return []
    return [
        Link(layout.final_calibration_dir / link.name, target)
        for link, target in links_to_calibration(layout, plan.borrowed)
    ]
