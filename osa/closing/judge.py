"""Is a sequence complete? Judged from its histories and by opening its products."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
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
    raw_event_count,
)

__all__ = ["Damage", "Verdict", "judge", "present_path"]


@dataclass(frozen=True)
class Damage:
    """A product that is there, and is not what it should be.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    subrun : int or None
        Whose it is; None for the calibration.
    reason : str
        What is wrong with it.
    """

    path: Path
    subrun: int | None
    reason: str

    def __str__(self) -> str:
        return self.reason if self.subrun is None else f"sub-run {self.subrun}: {self.reason}"


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
    damaged: tuple[Damage, ...] = ()
    if sequence.kind is SequenceKind.CALIBRATION:
        if sequence.drs4_run is not None and state.todo:
            missing.append("the calibration is not finished")
        elif sequence.drs4_run is not None:
            damaged = tuple(_damaged_calibration(layout, sequence.drs4_run, sequence.run))
    elif not sequence.blocked:
        missing += _judge_data(layout, state)
        done = [subrun for subrun in sequence.subruns if subrun not in state.todo]
        damaged = tuple(_damaged_data(layout, sequence.run, done))
    return Verdict(state, (*missing, *map(str, damaged)), damaged)


def _damaged_calibration(layout: Layout, drs4_run: int, calibration_run: int) -> Iterator[Damage]:
    checks = (
        (check_drs4_pedestal, layout.drs4_pedestal(drs4_run)),
        (check_time_calibration, layout.time_calibration(calibration_run)),
        (check_charge_calibration, layout.charge_calibration(calibration_run)),
    )
    for check, path in checks:
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


def _damaged_data(layout: Layout, run: int, subruns: Iterable[int]) -> Iterator[Damage]:
    """Name the sub-runs of which a product is not what it should be, with the first such product.

    Each was read through when it was made; a night is too large to read all of it once more.
    """
    for subrun in subruns:
        paths = {kind: present_path(layout, kind, run, subrun) for kind in PRODUCT_KINDS}
        raw = layout.raw_file(run, subrun)
        checks: tuple[tuple[ProductKind, Callable[[Path], None]], ...] = (
            (DL1, partial(check_dl1, run=run, raw_file=_if_newer(raw, paths[DL1]), whole=False)),
            (MUONS, partial(check_muons, run=run)),
            (DATACHECK, partial(check_datacheck, run=run, subruns=(subrun,), whole=False)),
            (DL2, partial(check_dl2, run=run, dl1=paths[DL1], whole=False)),
        )
        for kind, check in checks:
            try:
                check(paths[kind])
            except ProductError as error:
                yield Damage(paths[kind], subrun, str(error))
                break


def _if_newer(raw_file: Path, product: Path) -> Path | None:
    """Give a raw file back if it was changed since the product was made from it: it may have grown.

    One that cannot be read now tells nothing of a product that was made from it.
    """
    try:
        if raw_file.stat().st_mtime > product.stat().st_mtime:
            raw_event_count(raw_file)
            return raw_file
    except (OSError, ProductError):
        pass
    return None
