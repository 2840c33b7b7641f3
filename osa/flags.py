"""Flags of a sequence, one small file each: vetoed, begun afresh, closed."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from osa.layout import Layout
from osa.model.run import list_subruns
from osa.model.sequence import Sequence
from osa.system.files import write_text

__all__ = ["closed_subruns", "closed_text", "lift_veto", "put_veto", "read_fresh_start"]

_SUBRUNS = re.compile(r"sub-runs: (?P<list>[0-9, -]*)")


def put_veto(layout: Layout, sequence: Sequence, why: str) -> None:
    """Have a sequence left alone until an operator lifts the veto; the flag tells why."""
    hint = f"Lift it with: sequencer -d {layout.night.underscored} --unveto {sequence.run}"
    write_text(layout.veto(sequence), f"{sequence.name}: {why}\n{hint}\n")


def lift_veto(layout: Layout, sequence: Sequence, *, clock: datetime) -> bool:
    """Lift a veto and let the tries begin afresh: what failed before does not count any more.

    Returns
    -------
    bool
        Whether there was a veto.
    """
    # In this order: stopped in between, the sequence is still vetoed.
    write_text(layout.fresh_start(sequence), f"{clock.astimezone(UTC).isoformat()}\n")
    veto = layout.veto(sequence)
    there = veto.exists()
    veto.unlink(missing_ok=True)
    return there


def read_fresh_start(path: Path) -> datetime | None:
    """Read the time since which tries count; None where all of them do."""
    try:
        return datetime.fromisoformat(path.read_text(encoding="utf-8").strip()).astimezone(UTC)
    except (OSError, ValueError):
        return None


def closed_text(sequence: Sequence) -> str:
    """Write what was closed, so that what comes later can be told from it."""
    return f"sub-runs: {list_subruns((*sequence.subruns, *sequence.left_out))}\n"


def closed_subruns(path: Path) -> frozenset[int] | None:
    """Read the sub-runs that a closed sequence had; None where its flag does not tell."""
    try:
        match = _SUBRUNS.search(path.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None
    if match is None:
        return None
    found: set[int] = set()
    for part in filter(None, (part.strip() for part in match["list"].split(","))):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)
