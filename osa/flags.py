"""Flags of a sequence, one small file each: vetoed, begun afresh, closed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from osa.layout import Layout
from osa.model.sequence import Sequence
from osa.system.files import write_text

__all__ = [
    "BY_OPERATOR",
    "FreshStart",
    "closed_text",
    "is_veto_of_operator",
    "late_raw_files",
    "lift_veto",
    "put_veto",
    "read_fresh_start",
]

BY_OPERATOR = "by an operator"
"""How the reason begins of a veto that nobody but an operator put."""


def put_veto(layout: Layout, sequence: Sequence, why: str) -> None:
    """Have a sequence left alone until an operator lifts the veto; the flag tells why."""
    hint = f"Lift it with: sequencer -d {layout.night.underscored} --unveto {sequence.run}"
    write_text(layout.veto(sequence), f"{sequence.name}: {why}\n{hint}\n")


def is_veto_of_operator(layout: Layout, sequence: Sequence) -> bool:
    """Tell whether an operator put a veto, rather than too many failures."""
    try:
        said = layout.veto(sequence).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return said.startswith(f"{sequence.name}: {BY_OPERATOR}")


@dataclass(frozen=True)
class FreshStart:
    """The word of an operator that what failed before does not count any more.

    Parameters
    ----------
    when : datetime.datetime
        When it was given, UTC: lines of histories after it count.
    jobs : frozenset of str
        Jobs that had been submitted by then: tries of others count. The scheduler's clock need not
        be ours.
    """

    when: datetime
    jobs: frozenset[str]


def lift_veto(layout: Layout, sequence: Sequence, jobs: Iterable[str], *, clock: datetime) -> bool:
    """Lift a veto and let the tries begin afresh: what failed before does not count any more.

    Parameters
    ----------
    layout : Layout
        Of the night.
    sequence : Sequence
        The sequence.
    jobs : iterable of str
        Its jobs so far.
    clock : datetime.datetime
        The time.

    Returns
    -------
    bool
        Whether there was a veto.
    """
    # In this order: stopped in between, the sequence is still vetoed.
    word = {"when": clock.astimezone(UTC).isoformat(), "jobs": sorted(set(jobs))}
    write_text(layout.fresh_start(sequence), json.dumps(word) + "\n")
    veto = layout.veto(sequence)
    there = veto.exists()
    veto.unlink(missing_ok=True)
    return there


def read_fresh_start(path: Path) -> FreshStart | None:
    """Read since when tries count; None where all of them do, or the file does not tell."""
    try:
        word = json.loads(path.read_text(encoding="utf-8"))
        when = datetime.fromisoformat(word["when"]).astimezone(UTC)
        return FreshStart(when, frozenset(map(str, word["jobs"])))
    except (OSError, ValueError, TypeError, KeyError, OverflowError):
        return None


def closed_text(layout: Layout, sequence: Sequence) -> str:
    """Write what was closed, so that what comes later can be told from it.

    Of sub-runs that were left out the size of the raw file is kept: it may have been on its way.
    """
    known = {
        "subruns": list(sequence.subruns),
        "left_out": {subrun: _size(layout.raw_file(sequence.run, subrun)) for subrun in sequence.left_out},
    }
    return json.dumps(known) + "\n"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def late_raw_files(layout: Layout, sequence: Sequence) -> tuple[int, ...]:
    """Tell which sub-runs of a closed sequence have raw files that it was not closed with.

    Returns
    -------
    tuple of int
        Sub-runs; none where the flag does not tell what there was.
    """
    try:
        known = json.loads(layout.closed(sequence).read_text(encoding="utf-8"))
        subruns = {int(subrun) for subrun in known["subruns"]}
        left_out = {int(subrun): int(size) for subrun, size in known["left_out"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return ()
    changed = (s for s in sequence.left_out if _size(layout.raw_file(sequence.run, s)) != left_out.get(s, 0))
    new = (s for s in sequence.subruns if s not in subruns and s not in left_out)
    return tuple(sorted({*changed, *new}))
