"""Taking back what was closed, and what was made with another night's calibration."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

from osa.closing.actions import Move
from osa.closing.journal import perform_moves
from osa.closing.provenance import record_aside
from osa.cures.other_night import link_file, links_to_calibration
from osa.flags import late_raw_files
from osa.incidences import note_incidence
from osa.layout import DATACHECK_PDF, INTERLEAVED, PRODUCT_KINDS, Layout
from osa.model.run import list_subruns, run_tag
from osa.model.sequence import BorrowedCalibration, NightPlan, Sequence
from osa.system.files import write_text

_RUN = re.compile(r"\.Run(\d{5,})\.")

__all__ = ["give_back_calibration", "late_subruns", "reopen", "stamp"]


def stamp(clock: datetime) -> str:
    """Write a time so that names sort by it."""
    return f"{clock:%Y%m%dT%H%M%S}"


def late_subruns(layout: Layout, plan: NightPlan) -> dict[int, tuple[int, ...]]:
    """Tell which raw files came, or changed, after their run or the night was closed.

    Returns
    -------
    dict of int to tuple of int
        Sub-runs by run. Of a run whose flag does not tell what was closed with it there are none.
    """
    late = {}
    for sequence in plan.data:
        if layout.closed(sequence).exists():
            late[sequence.run] = late_raw_files(layout, sequence)
        elif layout.night_finished.exists():
            late[sequence.run] = sequence.subruns
    return {run: subruns for run, subruns in late.items() if subruns}


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
    late = late_subruns(layout, plan)
    came = "; ".join(f"sub-runs {list_subruns(s)} of run {run_tag(run)} came late" for run, s in late.items())
    runs = ", ".join(run_tag(sequence.run) for sequence in sequences)
    why = f" ({came})" if came else ""
    note_incidence(layout, f"Opened again at {clock:%Y-%m-%d %H:%M:%S} UTC: run(s) {runs}{why}.", once=False)
    _link_calibration(layout, plan)
    finished = layout.night_finished
    if finished.exists():
        finished.rename(finished.with_name(f"{finished.stem}.{stamp(clock)}{finished.suffix}"))
    for sequence in sequences:
        layout.closed(sequence).unlink(missing_ok=True)


def _link_calibration(layout: Layout, plan: NightPlan) -> None:
    """Have the calibration at hand for data that is still to be made: it was moved away."""
    calibration = plan.calibration
    if calibration is None or calibration.drs4_run is None:
        return
    for product in layout.calibration_products(calibration.drs4_run, calibration.run):
        final = layout.final_calibration_dir / product.name
        if final.exists() and not product.exists():
            link_file(product, final)


def give_back_calibration(layout: Layout, other: BorrowedCalibration, *, clock: datetime) -> int:
    """Go back to the night's own calibration; what was made with the other is set aside.

    Can be killed anywhere and done again: until all is set aside, the other one serves.

    Parameters
    ----------
    layout : Layout
        Of the night, whose lock is held, and of which no task is at work.
    other : BorrowedCalibration
        The calibration that serves.
    clock : datetime.datetime
        The time, UTC, for the name of the folder.

    Returns
    -------
    int
        Number of files that were set aside.
    """
    folder = layout.set_aside_dir / stamp(clock)
    moves = list(_all_products(layout, folder))
    perform_moves(layout.moves_journal, moves, lambda *_: None)
    _record(layout, moves)
    for flag in layout.analysis_dir.glob("sequence_*.closed"):
        flag.unlink()
    # Said before it is so, and not undone by the next closer.
    note_incidence(
        layout,
        f"{clock:%Y-%m-%d %H:%M} UTC: the night's own calibration is used in the place of that of "
        f"{other.night}; {len(moves)} file(s) made with the other are in {folder.name} below "
        f"{layout.set_aside_dir.name}.",
        once=False,
    )
    write_text(layout.own_calibration, "sequencer --own-calibration\n")
    links = [link for link, _ in links_to_calibration(layout, other)]
    # Those in the final place would mislead; those in the working folder are of no harm, but needed
    # for as long as the other calibration serves.
    _unlink(layout.final_calibration_dir / link.name for link in links)
    layout.borrowed_calibration.unlink()
    _unlink(links)
    return len(moves)


def _record(layout: Layout, moves: Iterable[Move]) -> None:
    """Record what was set aside, with the run that it is of."""
    by_run: dict[int, dict[Path, Path]] = defaultdict(dict)
    for move in moves:
        run = _RUN.search(move.source.name)
        if run is not None:
            by_run[int(run[1])][move.source] = move.target
    for number, moved in by_run.items():
        record_aside(layout, number, moved)


def _unlink(links: Iterable[Path]) -> None:
    for link in links:
        if link.is_symlink():
            link.unlink()


def _all_products(layout: Layout, folder: Path) -> Iterator[Move]:
    """List all products of DATA that there are, of runs and sub-runs that are left out, too."""
    tel_id = layout.settings.telescope.tel_id
    for kind in (*PRODUCT_KINDS, INTERLEAVED, DATACHECK_PDF):
        pattern = kind.tagged_name(tel_id, "*")
        for path in sorted(layout.analysis_dir.glob(pattern)):
            if path.is_symlink():
                path.unlink()  # to the final product, which goes itself
            else:
                yield Move(path, folder / path.name)
        for path in sorted(layout.final_dir(kind).glob(pattern)):
            yield Move(path, folder / "final" / path.name)
