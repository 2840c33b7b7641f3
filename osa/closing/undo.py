"""Taking back what was closed, and what was made with another night's calibration."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from osa.closing.actions import Move
from osa.closing.journal import perform_moves
from osa.cures.other_night import link_file, links_to_calibration
from osa.flags import closed_subruns
from osa.incidences import add_incidence
from osa.layout import INTERLEAVED, PRODUCT_KINDS, Layout
from osa.model.run import list_subruns, run_tag
from osa.model.sequence import NightPlan, Sequence, SequenceKind

__all__ = ["give_back_calibration", "late_subruns", "reopen", "stamp"]


def stamp(clock: datetime) -> str:
    """Write a time so that names sort by it."""
    return f"{clock:%Y%m%dT%H%M%S}"


def late_subruns(layout: Layout, plan: NightPlan) -> dict[int, tuple[int, ...]]:
    """Tell which sub-runs came after their run, or the night, was closed.

    Returns
    -------
    dict of int to tuple of int
        Sub-runs by run. Of a run whose flag does not tell what was closed with it there are none.
    """
    late = {}
    for sequence in plan.data:
        flag = layout.closed(sequence)
        known: frozenset[int] | None = frozenset()
        if flag.exists():
            known = closed_subruns(flag)
        elif not layout.night_finished.exists():
            continue
        found = () if known is None else tuple(s for s in sequence.subruns if s not in known)
        if found:
            late[sequence.run] = found
    return late


def reopen(layout: Layout, plan: NightPlan, sequences: Iterable[Sequence], *, clock: datetime) -> None:
    """Open a closed night again: its products stay, what is missing can be made and taken in.

    Can be killed anywhere and done again.

    Parameters
    ----------
    layout : Layout
        Of the night, whose lock is held.
    plan : NightPlan
        All its sequences, as they are now.
    sequences : iterable of Sequence
        Those that are opened.
    clock : datetime.datetime
        The time, UTC, for the name under which the old flag is kept.
    """
    sequences = tuple(sequences)
    _link_calibration(layout, plan)
    late = late_subruns(layout, plan)
    came = "; ".join(f"sub-runs {list_subruns(s)} of run {run_tag(run)} came late" for run, s in late.items())
    runs = ", ".join(run_tag(sequence.run) for sequence in sequences)
    for sequence in sequences:
        layout.closed(sequence).unlink(missing_ok=True)
    finished = layout.night_finished
    if finished.exists():
        finished.rename(finished.with_name(f"{finished.stem}.{stamp(clock)}{finished.suffix}"))
    _say(
        layout, f"Opened again at {clock:%Y-%m-%d %H:%M:%S} UTC: run(s) {runs}{f' ({came})' if came else ''}."
    )


def _link_calibration(layout: Layout, plan: NightPlan) -> None:
    """Have the calibration at hand for data that is still to be made: it was moved away."""
    calibration = plan.calibration
    if calibration is None or calibration.drs4_run is None:
        return
    for product in (
        layout.drs4_pedestal(calibration.drs4_run),
        layout.time_calibration(calibration.run),
        layout.charge_calibration(calibration.run),
    ):
        final = layout.final_calibration_dir / product.name
        if final.exists() and not product.exists():
            link_file(product, final)


def give_back_calibration(layout: Layout, plan: NightPlan, *, clock: datetime) -> int:
    """Go back to the night's own calibration; what was made with the other is set aside.

    Can be killed anywhere and done again: that the other does not serve any more is said last.

    Parameters
    ----------
    layout : Layout
        Of the night, whose lock is held.
    plan : NightPlan
        Its sequences, as they are with the other calibration.
    clock : datetime.datetime
        The time, UTC, for the name of the folder.

    Returns
    -------
    int
        Number of files that were set aside.
    """
    other = plan.borrowed
    assert other is not None
    folder = layout.set_aside_dir / stamp(clock)
    moves = [Move(path, folder / path.name) for s in plan.data for path in _products(layout, s)]
    if moves:
        perform_moves(layout.moves_journal, moves, lambda *_: None)
    for sequence in plan.data:
        layout.closed(sequence).unlink(missing_ok=True)
    for link, _ in links_to_calibration(layout, other):
        if link.is_symlink():
            link.unlink()
        final = layout.final_calibration_dir / link.name
        if final.is_symlink():
            final.unlink()
    _say(
        layout,
        f"The night's own calibration is used in the place of that of {other.night}: {len(moves)} file(s) "
        f"made with the other are in {folder.name} below {layout.set_aside_dir.name}.",
    )
    layout.borrowed_calibration.unlink()
    return len(moves)


def _products(layout: Layout, sequence: Sequence) -> Iterable[Path]:
    """List what there is of a run, in work, in its final place, and merged."""
    assert sequence.kind is SequenceKind.DATA
    for kind in (*PRODUCT_KINDS, INTERLEAVED):
        for subrun in (*sequence.subruns, None):
            places = [layout.final(kind, sequence.run, subrun)]
            if subrun is not None:
                places.append(layout.working(kind, sequence.run, subrun))
            yield from (path for path in places if path.exists())


def _say(layout: Layout, comment: str) -> None:
    add_incidence(layout.incidences, layout.night, layout.settings.telescope_name, comment)
