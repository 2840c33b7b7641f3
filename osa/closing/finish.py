"""NightFinished.txt: the flag and the summary of a closed night."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from osa.incidences import read_incidences
from osa.layout import DATACHECK, DL1, DL2, MUONS, Layout, ProductKind
from osa.model.sequence import NightPlan
from osa.system.files import write_text

__all__ = ["finish_night", "night_finished_text"]

_COUNTED: tuple[ProductKind, ...] = (DL1, DL2, MUONS, DATACHECK)
_GB = 1e9


def night_finished_text(layout: Layout, plan: NightPlan, *, clock: datetime, comments: Iterable[str]) -> str:
    """Write the summary of a night.

    Parameters
    ----------
    layout : Layout
        Of the night; its files are counted.
    plan : NightPlan
        Its sequences.
    clock : datetime.datetime
        The time at which it is closed.
    comments : iterable of str
        What a person should know.

    Returns
    -------
    str
        One ``key=value`` a line; the size is that of the raw files, in GB of 1e9 bytes.
    """
    raw = _raw_files(layout)
    values = {
        "timestamp": f"{clock.astimezone(UTC):%Y-%m-%d %H:%M:%S}",
        "night": layout.night.tag,
        "telescope": layout.settings.telescope_name,
        "data.size": f"{sum(path.stat().st_size for path in raw) / _GB:.3f} GB",
        "data.files.r0": len(raw),
    }
    for kind in _COUNTED:
        values[f"data.files.{kind.name.lower()}"] = _count(layout, plan, kind)
    values["data.comment"] = " ".join(comments) or "none"
    return "".join(f"analysis.finished.{key}={value}\n" for key, value in values.items())


def _raw_files(layout: Layout) -> list[Path]:
    """List the raw files of the night, of all streams."""
    if not layout.raw_dir.is_dir():
        return []
    return [path for path in layout.raw_dir.glob("LST-*.fits.fz") if path.is_file()]


def _count(layout: Layout, plan: NightPlan, kind: ProductKind) -> int:
    return sum(
        layout.final(kind, sequence.run, subrun).exists()
        for sequence in plan.data
        for subrun in sequence.subruns
    )


def finish_night(layout: Layout, plan: NightPlan, *, clock: datetime, reason: str | None) -> None:
    """Write Incidences.txt to its final place, then NightFinished.txt, which closes the night."""
    comments = list(read_incidences(layout.incidences))
    if reason:
        comments.append(f"Night closed without data: {reason}.")
    if layout.incidences.exists():
        said = layout.incidences.read_text(encoding="utf-8", errors="replace")
        write_text(layout.closer_dir / layout.incidences.name, said)
    text = night_finished_text(layout, plan, clock=clock, comments=comments)
    write_text(layout.night_finished, text)
    for path in (layout.alarm, layout.alarm_mailed):
        path.unlink(missing_ok=True)
