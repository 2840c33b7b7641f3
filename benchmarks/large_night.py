"""How fast ``sequencer -s`` answers on nights far larger than real ones, and how that grows.

    python -m benchmarks.large_night [--runs N [N ...]] [--subruns M] [--repeat N] [--backend NAME]

Every night is looked at by a fresh process, all nights in turn, several times, with warm caches. Of
the largest there is a second one, of which every second sub-run got no farther than DL1.
"""

from __future__ import annotations

import argparse
import compileall
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.common import NIGHT, WORK, Usage, command, print_table, timed


@dataclass(frozen=True)
class LargeNight:
    """A night that is only looked at.

    Parameters
    ----------
    runs, subruns : int
        DATA runs, and sub-runs of each.
    half : bool
        Whether every second sub-run is still to be done.
    """

    runs: int
    subruns: int
    half: bool = False

    @property
    def root(self) -> Path:
        return WORK / (f"large-{self.runs}x{self.subruns}" + ("-half" if self.half else ""))

    def make(self) -> None:
        """Make it, where it is not there."""
        if (self.root / "sequencer.cfg").exists():
            return
        shutil.rmtree(self.root, ignore_errors=True)
        size = ["--runs", self.runs, "--subruns", self.subruns, *(["--half"] if self.half else [])]
        for module in ("make_large_night", "slurm_answers"):
            words = [sys.executable, "-m", f"benchmarks.{module}", self.root, *size]
            subprocess.run([str(word) for word in words], check=True)

    def look(self, backend: str) -> Usage:
        """Look at it."""
        night = ("-c", self.root / "sequencer.cfg", "-d", NIGHT.underscored)
        return timed(
            command("sequencer", "-s", "--backend", backend, *night),
            environment=scheduler_environment(backend, self),
        )


def scheduler_environment(backend: str, night: LargeNight) -> Mapping[str, str]:
    """Tell the environment in which the sequencer finds the scheduler and its records of a night.

    For Slurm stand-ins of its programs are first on ``PATH``; the local backend needs none, and knows
    of no job here.
    """
    if backend != "slurm":
        return os.environ
    return {**os.environ, "PATH": f"{night.root.absolute() / 'slurm'}:{os.environ['PATH']}"}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, nargs="+", default=[10, 50, 200])
    parser.add_argument("--subruns", type=int, default=100)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--backend", default="slurm", choices=("local", "slurm"))
    given = parser.parse_args()
    sizes = sorted(given.runs)
    nights = [LargeNight(runs, given.subruns) for runs in sizes]
    nights.append(LargeNight(sizes[-1], given.subruns, half=True))
    compileall.compile_dir("osa", quiet=1)  # as an installation has it
    for night in nights:
        night.make()
        night.look(given.backend)  # what it reads is in the caches then
    usages: dict[LargeNight, list[Usage]] = {night: [] for night in nights}
    for _ in range(given.repeat):
        for night in nights:
            usages[night].append(night.look(given.backend))
    print(f"\nsequencer -s --backend {given.backend}, median of {given.repeat}\n")
    heads = ("runs", "sub-runs", "wall s", "CPU s", "memory MB", "ms a sub-run", "relative")
    rows = [_row(night, usages[night]) for night in nights]
    print_table(heads, [(*row, row[-1] / rows[0][-1]) for row in rows])


def _row(night: LargeNight, usages: list[Usage]) -> tuple[str, int, float, float, int, float]:
    n_subruns = night.runs * night.subruns
    wall = median(usage.wall for usage in usages)
    return (
        f"{night.runs}{', half done' if night.half else ''}",
        n_subruns,
        wall,
        median(usage.cpu for usage in usages),
        round(max(usage.memory for usage in usages)),
        1000 * wall / n_subruns,
    )


if __name__ == "__main__":
    main()
