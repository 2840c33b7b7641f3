"""Tells whether a process that somebody wrote down is still the same, and still there."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["END_WITH_PARENT", "is_alive", "start_time"]

END_WITH_PARENT = "OSA_END_WITH_PARENT"
"""Variable with the process that runs a task: without it the task would go on unseen."""


def _stat(pid: int) -> list[str]:
    """Read what the kernel tells of a process, from its state on; empty where there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rpartition(")")[2].split()  # before it stands the name, which may hold anything


def _start(stat: list[str]) -> float:
    return int(stat[19]) / os.sysconf("SC_CLK_TCK")


def start_time(pid: int) -> float | None:
    """Tell when a process started, s after the machine did: the clock may be set, this stays.

    None where there is no such process.
    """
    stat = _stat(pid)
    return _start(stat) if stat else None


def is_alive(pid: int | None, started: float | None) -> bool:
    """Tell whether a process still runs; its start time tells it from a later one of that number."""
    if pid is None or started is None:
        return False
    stat = _stat(pid)
    return bool(stat) and stat[0] not in "ZX" and _start(stat) == started
