"""Is a sequence complete? Judged from its histories and by opening its products."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from osa.errors import ProductError
from osa.layout import DATACHECK, DL1, DL2, MUONS, PRODUCT_KINDS, Layout, ProductKind
from osa.model.run import list_subruns
from osa.model.sequence import SequenceKind
from osa.nightstate import SequenceState
from osa.steps.checks import (
    check_charge_calibration,
    check_datacheck,
    check_dl1,
    check_dl2,
    check_drs4_pedestal,
    check_muons,
    check_time_calibration,
)

__all__ = ["Verdict", "judge", "present_path"]


@dataclass(frozen=True)
class Verdict:
    """Whether a sequence is complete.

    Parameters
    ----------
    state : SequenceState
        The sequence and what has become of it.
    missing : tuple of str
        What is missing, for people; empty where it is complete.
    """

    state: SequenceState
    missing: tuple[str, ...]

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing."""
        return not self.missing


def present_path(layout: Layout, kind: ProductKind, run: int, subrun: int) -> Path:
    """Find a sub-run's product: in its final place, or where it was made."""
    final = layout.final(kind, run, subrun)
    return final if final.exists() else layout.working(kind, run, subrun)


def judge(layout: Layout, state: SequenceState) -> Verdict:
    """Judge one sequence.

    Parameters
    ----------
    layout : Layout
        Of the night.
    state : SequenceState
        What has become of the sequence.
    """
    if state.closed:
        return Verdict(state, ())
    sequence = state.sequence
    missing = [sequence.blocked] if sequence.blocked else []
    if state.vetoed:
        missing.append("it is vetoed")
    if state.live:
        missing.append(f"{len(state.live)} task(s) still pending or running")
    if sequence.kind is SequenceKind.CALIBRATION:
        missing += _judge_calibration(layout, state)
    elif not sequence.blocked:
        missing += _judge_data(layout, state)
    return Verdict(state, tuple(missing))


def _judge_calibration(layout: Layout, state: SequenceState) -> list[str]:
    sequence = state.sequence
    if sequence.drs4_run is None:
        return []
    if state.todo:
        return ["the calibration is not finished"]
    checks = (
        (check_drs4_pedestal, layout.drs4_pedestal(sequence.drs4_run)),
        (check_time_calibration, layout.time_calibration(sequence.run)),
        (check_charge_calibration, layout.charge_calibration(sequence.run)),
    )
    faults = []
    for check, path in checks:
        moved = layout.final_calibration_dir / path.name
        try:
            check(moved if moved.exists() else path)
        except ProductError as error:
            faults.append(str(error))
    return faults


def _judge_data(layout: Layout, state: SequenceState) -> list[str]:
    """List by kind of fault the sub-runs that have it."""
    sequence = state.sequence
    missing = []
    if sequence.absent_subruns:
        missing.append(f"no raw files of sub-runs {list_subruns(sequence.absent_subruns)}")
    if not sequence.subruns:
        missing.append("it has no raw files")
    for kind in PRODUCT_KINDS:
        lacking = [s for s in state.todo if not present_path(layout, kind, sequence.run, s).exists()]
        if lacking:
            missing.append(f"no {kind.name} of sub-runs {list_subruns(lacking)}")
    unfinished = [s for s in state.todo if _has_all(layout, sequence.run, s)]
    if unfinished:
        missing.append(f"the history does not say done for sub-runs {list_subruns(unfinished)}")
    done = [subrun for subrun in sequence.subruns if subrun not in state.todo]
    missing += list(_unreadable(layout, sequence.run, done))
    return missing


def _has_all(layout: Layout, run: int, subrun: int) -> bool:
    return all(present_path(layout, kind, run, subrun).exists() for kind in PRODUCT_KINDS)


def _unreadable(layout: Layout, run: int, subruns: Iterable[int]) -> Iterator[str]:
    """Name the sub-runs of which a product is not what it should be.

    Each was read through when it was made; a night is too large to read all of it once more.
    """
    for subrun in subruns:
        paths = {kind: present_path(layout, kind, run, subrun) for kind in PRODUCT_KINDS}
        try:
            check_dl1(paths[DL1], run=run, whole=False)
            check_muons(paths[MUONS], run=run)
            check_datacheck(paths[DATACHECK], run=run, subruns=(subrun,), whole=False)
            check_dl2(paths[DL2], run=run, dl1=paths[DL1], whole=False)
        except ProductError as error:
            yield f"sub-run {subrun}: {error}"
