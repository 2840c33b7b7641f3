"""Is a sequence complete? Judged from its histories and by opening its products."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from osa.closing.examine import Damage, Examiner, present_path
from osa.errors import ProductError
from osa.flags import late_raw_files
from osa.layout import PRODUCT_KINDS, Layout
from osa.model.run import list_subruns
from osa.model.sequence import SequenceKind
from osa.nightstate import SequenceState
from osa.steps.checks import check_charge_calibration, check_drs4_pedestal, check_time_calibration

__all__ = ["Verdict", "judge"]


@dataclass(frozen=True)
class Verdict:
    """Whether a sequence is complete.

    Parameters
    ----------
    state : SequenceState
        The sequence and what has become of it.
    missing : tuple of str
        What is missing, for people; empty where it is complete.
    damaged : tuple of Damage
        Products that keep it from being complete.
    """

    state: SequenceState
    missing: tuple[str, ...]
    damaged: tuple[Damage, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing."""
        return not self.missing


def judge(layout: Layout, state: SequenceState, examiner: Examiner) -> Verdict:
    """Judge one sequence.

    Parameters
    ----------
    layout : Layout
        Of the night.
    state : SequenceState
        What has become of the sequence.
    examiner : Examiner
        Opens the products of the sub-runs that are done.
    """
    sequence = state.sequence
    if state.closed:
        late = list_subruns(late_raw_files(layout, sequence))
        hint = (
            f"sub-runs {late} came after it was closed (closer --reopen --seq {sequence.run} takes them in)"
        )
        return Verdict(state, (hint,) if late else ())
    missing = [sequence.blocked] if sequence.blocked else []
    if state.vetoed:
        missing.append("it is vetoed")
    if state.live:
        missing.append(f"{len(state.live)} task(s) still pending or running")
    damaged: tuple[Damage, ...] = ()
    if sequence.kind is SequenceKind.CALIBRATION:
        if sequence.drs4_run is not None and state.todo:
            missing.append("the calibration is not finished")
        elif sequence.drs4_run is not None:
            damaged = tuple(_damaged_calibration(layout, sequence.drs4_run, sequence.run))
    elif not sequence.blocked:
        missing += _judge_data(layout, state)
        done = [subrun for subrun in sequence.subruns if subrun not in state.todo]
        damaged = tuple(examiner.examine(layout, sequence.run, done))
    return Verdict(state, (*missing, *map(str, damaged)), damaged)


def _damaged_calibration(layout: Layout, drs4_run: int, calibration_run: int) -> Iterator[Damage]:
    checks = (check_drs4_pedestal, check_time_calibration, check_charge_calibration)
    for check, path in zip(checks, layout.calibration_products(drs4_run, calibration_run), strict=True):
        moved = layout.final_calibration_dir / path.name
        present = moved if moved.exists() else path
        try:
            check(present)
        except ProductError as error:
            yield Damage(present, None, str(error))


def _judge_data(layout: Layout, state: SequenceState) -> list[str]:
    """List by kind of fault the sub-runs that have it."""
    sequence = state.sequence
    missing = []
    if sequence.absent_subruns:
        missing.append(f"no raw files of sub-runs {list_subruns(sequence.absent_subruns)}")
    if sequence.arriving:
        missing.append(f"raw files of sub-runs {list_subruns(sequence.arriving)} are still arriving")
    if not sequence.subruns:
        missing.append("it has no raw files")
    for kind in PRODUCT_KINDS:
        lacking = [s for s in state.todo if not present_path(layout, kind, sequence.run, s).exists()]
        if lacking:
            missing.append(f"no {kind.name} of sub-runs {list_subruns(lacking)}")
    unfinished = [s for s in state.todo if _has_all(layout, sequence.run, s)]
    if unfinished:
        missing.append(f"the history does not say done for sub-runs {list_subruns(unfinished)}")
    return missing


def _has_all(layout: Layout, run: int, subrun: int) -> bool:
    return all(present_path(layout, kind, run, subrun).exists() for kind in PRODUCT_KINDS)
