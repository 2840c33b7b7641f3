"""What the benchmarks share: a night to measure on, timed processes, tables."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from statistics import median

from osa.config import load_settings
from osa.layout import Layout
from osa.model.night import Night

NIGHT = Night(date(2020, 1, 27))
DRS4_RUN, CALIBRATION_RUN, DATA_RUN = 1872, 1873, 1874
WORK = Path("benchmarks/.work")


@dataclass(frozen=True)
class Usage:
    """What a process used, with the children that it waited for.

    Parameters
    ----------
    wall, cpu : float
        Seconds.
    memory : float
        Resident memory of its largest process, MB.
    """

    wall: float
    cpu: float
    memory: float


def timed(
    command: Sequence[object],
    *,
    folder: Path | None = None,
    log: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Usage:
    """Run a command to its end and tell what it used; fails where the command does.

    A process begins as a copy of ours: its memory is never told as less than the most that we have
    had, so what measures imports little.
    """
    out = log.open("ab") if log else subprocess.DEVNULL
    started = time.monotonic()
    process = subprocess.Popen(
        [str(word) for word in command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=out,
    )
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{command} ended with {process.returncode} (log: {log})")
    return Usage(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def command(name: str, *arguments: object) -> list[object]:
    """Write the command line of a command of the project."""
    return [sys.executable, "-m", f"osa.cli.{name}", *arguments]


def make_night(name: str, *options: object) -> Layout:
    """Make a simulated night for a benchmark, or take the one that is there."""
    root = WORK / name
    if not (root / "sequencer.cfg").exists():
        shutil.rmtree(root, ignore_errors=True)
        subprocess.run([str(w) for w in command("simulatenight", root, *options)], check=True)
    return Layout(load_settings((root / "sequencer.cfg").absolute(), "LST1"), NIGHT)


def forget_analysis(layout: Layout) -> None:
    """Remove all that was made of a night of a benchmark."""
    telescope = layout.settings.telescope
    for folder in (
        telescope.analysis_dir,
        telescope.dl1_dir,
        telescope.dl2_dir,
        telescope.calibration_dir,
        telescope.closer_dir,
        layout.settings.local.state_dir,
    ):
        shutil.rmtree(folder, ignore_errors=True)


def print_table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table in Markdown."""
    print("| " + " | ".join(heads) + " |")
    print("|" + "---|" * len(heads))
    for row in rows:
        cells = [f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in row]
        print("| " + " | ".join(cells) + " |")


def spread(values: Sequence[float]) -> str:
    """Write median, minimum and maximum."""
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"
