"""The calibration of another night, where the night's own cannot be had."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from osa.errors import ProductError
from osa.incidences import note_incidence
from osa.layout import Layout
from osa.model.night import Night
from osa.model.run import run_tag
from osa.model.sequence import BorrowedCalibration
from osa.nightsummary.borrowed import write_borrowed
from osa.steps.checks import check_charge_calibration, check_drs4_pedestal, check_time_calibration

__all__ = ["borrow", "find_other_calibration", "link_file", "links_to_calibration"]

_CHARGE = re.compile(r"calibration\.Run(?P<run>\d{5,})\.0000\.h5")
_DRS4 = re.compile(r"drs4_pedestal\.Run(?P<run>\d{5,})\.0000\.h5")


def find_other_calibration(layout: Layout) -> BorrowedCalibration | None:
    """Find the calibration of the nearest earlier night within the configured days.

    Only files in their final places count, and only those that pass the same checks as when they
    were made. A calibration that was itself taken from another night is passed over: what is to
    be near is the night in which it was taken.

    Returns
    -------
    BorrowedCalibration or None
        None where there is none, or none is wanted.
    """
    for days in range(1, (layout.settings.calibration.other_night_days or 0) + 1):
        other = Layout(layout.settings, Night(layout.night.date - timedelta(days=days)))
        found = _calibration_of(other)
        if found is not None:
            return found
    return None


def _calibration_of(layout: Layout) -> BorrowedCalibration | None:
    """Find the one calibration of a night; where there are several, the one of the latest run."""
    names: list[str] = []
    with suppress(OSError):
        names = [path.name for path in layout.final_calibration_dir.iterdir()]
    drs4_runs = _runs(_DRS4, names)
    for run in _runs(_CHARGE, names):
        # The DRS4 run of a calibration comes before it.
        drs4_run = next((drs4 for drs4 in drs4_runs if drs4 < run), next(iter(drs4_runs), None))
        if drs4_run is not None:
            found = BorrowedCalibration(layout.night, drs4_run, run)
            if _is_usable(layout, found):
                return found
    return None


def _runs(pattern: re.Pattern[str], names: Iterable[str]) -> list[int]:
    """Read run numbers out of file names, the latest first."""
    return sorted((int(m["run"]) for name in names if (m := pattern.fullmatch(name))), reverse=True)


def _is_usable(layout: Layout, calibration: BorrowedCalibration) -> bool:
    checks = (check_drs4_pedestal, check_time_calibration, check_charge_calibration)
    try:
        for check, path in zip(checks, _final_files(layout, calibration), strict=True):
            if path.is_symlink():
                return False
            check(path)
    except ProductError:
        return False
    return True


def _final_files(layout: Layout, calibration: BorrowedCalibration) -> tuple[Path, ...]:
    """The three files in their final places: of the DRS4 pedestal, the times, the charges."""
    products = layout.calibration_products(calibration.drs4_run, calibration.calibration_run)
    return tuple(layout.final_calibration_dir / product.name for product in products)


def links_to_calibration(layout: Layout, calibration: BorrowedCalibration) -> Iterator[tuple[Path, Path]]:
    """Tell the links that make another night's calibration serve.

    Yields
    ------
    tuple of pathlib.Path
        A link in the night's working folder, and the file that it stands for.
    """
    other = Layout(layout.settings, calibration.night)
    links = layout.calibration_products(calibration.drs4_run, calibration.calibration_run)
    yield from zip(links, _final_files(other, calibration), strict=True)


def link_file(link: Path, target: Path) -> None:
    """Make a symbolic link, in the place of one that is there; a file is never replaced."""
    if link.is_symlink() and link.readlink() == target:
        return
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.exists() and not link.is_symlink():
        raise FileExistsError(f"{link} is there already, and no link to {target}")
    temporary = link.with_name(f".{link.name}.link")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    os.replace(temporary, link)


def borrow(layout: Layout, calibration: BorrowedCalibration, why: str, *, clock: datetime) -> None:
    """Make the calibration of another night serve: link its files, then say that it serves.

    Parameters
    ----------
    layout : Layout
        Of the night that lacks one, whose lock is held.
    calibration : BorrowedCalibration
        Whose it is.
    why : str
        Why the night's own cannot be had.
    clock : datetime.datetime
        The time, UTC.
    """
    runs = f"run {run_tag(calibration.calibration_run)}, DRS4 run {run_tag(calibration.drs4_run)}"
    note_incidence(
        layout,
        f"{clock:%Y-%m-%d %H:%M} UTC: the calibration of the night {calibration.night} serves ({runs}), "
        f"as the night's own {why}.",
        once=False,
    )
    for link, target in links_to_calibration(layout, calibration):
        link_file(link, target)
    write_borrowed(layout.borrowed_calibration, calibration)
