"""The faults that the project is held against, and the rows of the table at the end of a session."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["FAULTS", "NOT_INJECTED", "Tried", "table_lines"]

FAULTS: Mapping[int, str] = {
    1: "task killed while it writes",
    2: "sequencer dies between two submissions",
    3: "two sequencers at the same time",
    4: "lock that was left behind",
    5: "history line cut short",
    6: "history with corrupt or doubled lines",
    7: "torn or foreign HDF5 product",
    8: "task out of memory",
    9: "task over its time limit",
    10: "node lost",
    11: "task begun again after it succeeded",
    12: "one task of an array fails",
    13: "calibration job forgotten by Slurm",
    14: "reply of sbatch lost",
    15: "submission refused for good",
    16: "slurmctld down or hung",
    17: "accounting away, empty or late",
    18: "job number or name used again",
    19: "disk full while products are moved",
    20: "move across file systems cut short",
    21: "write, flush or close fails",
    22: "broken night summary",
    23: "hostile text in inputs",
    24: "clock and time zone",
    25: "raw files late or growing",
    26: "doubled rows, missing sub-runs",
    27: "symbolic links",
    28: "permission denied",
    29: "provenance fails",
}

NOT_INJECTED: dict[int, str] = {}
"""Faults, or parts of them, that no test injects, and why."""

_WIDTH = 110


@dataclass(frozen=True)
class Tried:
    """How one test of a fault ended.

    Parameters
    ----------
    number : int
        The fault.
    injected, holds : str
        What the test does and what has to hold all the same, as its marker says.
    outcome : str
        pytest's word: ``passed``, ``failed``, ``error``, ``skipped``, ``xfailed``, ``xpassed``.
    reason : str
        Why it was skipped or is known to fail.
    """

    number: int
    injected: str
    holds: str
    outcome: str
    reason: str = ""


def table_lines(tried: Iterable[Tried]) -> list[str]:
    """Write the table: a line for each fault, and below it what was injected and what held."""
    by_number: dict[int, list[Tried]] = defaultdict(list)
    for each in tried:
        by_number[each.number].append(each)
    lines = []
    for number, title in FAULTS.items():
        found = by_number[number]
        lines.append(f"{number:>3}  {title:<42}  {_verdict(number, found)}")
        for (injected, holds), tests in _by_words(found).items():
            counted = Counter(test.outcome for test in tests)
            how = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counted.items()))
            lines.append(f"       {injected} -> {holds} [{how}]")
            lines += sorted({f"         {test.reason}"[:_WIDTH] for test in tests if test.reason})
    return lines


def _by_words(tried: Sequence[Tried]) -> dict[tuple[str, str], list[Tried]]:
    groups: dict[tuple[str, str], list[Tried]] = defaultdict(list)
    for each in tried:
        groups[each.injected, each.holds].append(each)
    return groups


def _verdict(number: int, tried: Sequence[Tried]) -> str:
    outcomes = {each.outcome for each in tried}
    if outcomes & {"failed", "error", "xpassed"}:
        return "FAILED"
    if "xfailed" in outcomes:
        return "held, but for a known bug" if "passed" in outcomes else "FAILED (known bug)"
    held = "held" if "passed" in outcomes else "not run"
    left_out = NOT_INJECTED.get(number)
    if left_out is None:
        return held
    return f"{held}; not injected: {left_out}" if tried else f"not injected: {left_out}"
