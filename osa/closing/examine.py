"""Opening the products of sub-runs to see whether they are what they should be."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from osa.errors import ProductError
from osa.layout import DATACHECK, DL1, DL2, MUONS, PRODUCT_KINDS, Layout, ProductKind
from osa.steps.checks import check_datacheck, check_dl1, check_dl2, check_muons, raw_event_count

__all__ = ["Damage", "Examiner", "damage_of", "present_path"]

_AT_ONCE = 10
"""Sub-runs that a process is given at a time: seconds of work, where they are large."""

_WORTH_IT = 100
"""Sub-runs from which on several processes, with a second of imports each, are quicker."""

_Signature = tuple[tuple[int, int] | None, ...]


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


def present_path(layout: Layout, kind: ProductKind, run: int, subrun: int) -> Path:
    """Find a sub-run's product: in its final place, or where it was made."""
    final = layout.final(kind, run, subrun)
    return final if final.exists() else layout.working(kind, run, subrun)


class Examiner:
    """Examines sub-runs, several at once where there are many, and each only once.

    What was examined before counts for as long as its files have the same size and time.

    Parameters
    ----------
    cores : int
        How many processes it may use.
    """

    def __init__(self, cores: int = 1) -> None:
        self._cores = cores
        self._pool: ProcessPoolExecutor | None = None
        self._known: dict[tuple[int, int], tuple[_Signature, Damage | None]] = {}

    def __enter__(self) -> Examiner:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def examine(self, layout: Layout, run: int, subruns: Iterable[int]) -> Iterator[Damage]:
        """Name the sub-runs of which a product is not what it should be, with the first such product.

        Each product was read through when it was made; a night is too large to read all of it once
        more, so that structure and the columns that are needed have to do.

        Parameters
        ----------
        layout : Layout
            Of the night.
        run : int
            The run.
        subruns : iterable of int
            Its sub-runs, of which all products are there.
        """
        signatures = {subrun: _signature(layout, run, subrun) for subrun in subruns}
        fresh = [s for s, signature in signatures.items() if self._recall(run, s) != signature]
        for subrun, damage in zip(fresh, self._examine_all(layout, run, fresh), strict=True):
            self._known[run, subrun] = signatures[subrun], damage
        for subrun in signatures:
            _, damage = self._known[run, subrun]
            if damage is not None:
                yield damage

    def _recall(self, run: int, subrun: int) -> _Signature | None:
        known = self._known.get((run, subrun))
        return None if known is None else known[0]

    def _examine_all(self, layout: Layout, run: int, subruns: list[int]) -> Iterable[Damage | None]:
        examine = partial(damage_of, layout, run)
        if self._pool is None and (self._cores < 2 or len(subruns) < _WORTH_IT):
            return map(examine, subruns)
        if self._pool is None:
            # Not forks: the bar on the terminal has a thread.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._cores, context, initializer=_leave_interrupts_to_caller)
        return self._pool.map(examine, subruns, chunksize=_AT_ONCE)


def _leave_interrupts_to_caller() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _signature(layout: Layout, run: int, subrun: int) -> _Signature:
    """Tell products and raw file from what they are after any change."""
    products = (present_path(layout, kind, run, subrun) for kind in PRODUCT_KINDS)
    return tuple(_size_and_time(path) for path in (*products, layout.raw_file(run, subrun)))


def _size_and_time(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def damage_of(layout: Layout, run: int, subrun: int) -> Damage | None:
    """Open the products of a sub-run; tell of the first that is not what it should be."""
    paths = {kind: present_path(layout, kind, run, subrun) for kind in PRODUCT_KINDS}
    raw = _if_newer(layout.raw_file(run, subrun), paths[DL1])
    checks: tuple[tuple[ProductKind, Callable[[Path], None]], ...] = (
        (DL1, partial(check_dl1, run=run, raw_file=raw, whole=False)),
        (MUONS, partial(check_muons, run=run)),
        (DATACHECK, partial(check_datacheck, run=run, subruns=(subrun,), whole=False)),
        (DL2, partial(check_dl2, run=run, dl1=paths[DL1], whole=False)),
    )
    for kind, check in checks:
        try:
            check(paths[kind])
        except ProductError as error:
            return Damage(paths[kind], subrun, str(error))
    return None


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
