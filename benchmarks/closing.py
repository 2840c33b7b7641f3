"""What judging and moving the products of a night costs, and how that grows with the night.

    python -m benchmarks.closing [--runs N [N ...]] [--subruns M] [--elsewhere FOLDER]

The products are real, small as they are, four for each sub-run: what is measured is the cost of a file.
Each night is judged and moved by fresh processes, once within its file system and once to another one.
Before a move the products get hard links in the working folder, which the move takes away again.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common import NIGHT, WORK, Usage, print_table, timed
from osa.layout import Layout

_FINAL = ("dl1_dir", "dl2_dir", "calibration_dir")


@dataclass(frozen=True)
class Night:
    """A night of which the products are judged and moved.

    Parameters
    ----------
    runs, subruns : int
        DATA runs, and sub-runs of each.
    """

    runs: int
    subruns: int

    @property
    def root(self) -> Path:
        return (WORK / f"closing-{self.runs}x{self.subruns}").absolute()

    def make(self) -> None:
        """Make it, where it is not there."""
        made = self.root / "made"
        if made.exists():
            return
        shutil.rmtree(self.root, ignore_errors=True)
        size = ["--runs", str(self.runs), "--subruns", str(self.subruns)]
        subprocess.run(
            [sys.executable, "-m", "benchmarks.make_large_night", str(self.root), *size], check=True
        )
        subprocess.run([sys.executable, "-m", "benchmarks.tiny_products", str(self.root)], check=True)
        made.touch()

    def measure(self, what: str, config: Path) -> Usage:
        """Judge or move in a process of its own; its start is not counted."""
        log = self.root / "measured.json"
        log.unlink(missing_ok=True)
        usage = timed([sys.executable, "-m", "benchmarks.closing", "--only", what, config], log=log)
        wall, cpu = json.loads(log.read_text("utf-8"))
        return Usage(wall, cpu, usage.memory)

    @contextmanager
    def products_to_move(self, final: Path) -> Iterator[Path]:
        """Give a configuration with the final places below a folder; the products stay afterwards."""
        config = self.root / "moving.cfg"
        text = (self.root / "sequencer.cfg").read_text("utf-8")
        for key in _FINAL:
            text = re.sub(rf"^{key} = .*$", f"{key} = {final / key}", text, flags=re.MULTILINE)
        text = re.sub(
            r"^analysis_dir = .*$", f"analysis_dir = {self.root / 'moving'}", text, flags=re.MULTILINE
        )
        config.write_text(text, "utf-8")
        shutil.rmtree(self.root / "moving", ignore_errors=True)
        shutil.copytree(self.root / "running_analysis", self.root / "moving", copy_function=os.link)
        os.sync()
        yield config
        shutil.rmtree(self.root / "moving")
        shutil.rmtree(final)


def _layout(config: Path) -> Layout:
    from osa.config import load_settings

    return Layout(load_settings(config, "LST1"), NIGHT)


def judge_night(config: Path) -> tuple[float, float]:
    """Judge the DATA runs; gives the seconds, by the clock and of CPU."""
    from osa.closing.examine import Examiner
    from osa.closing.judge import judge
    from osa.nightstate import read_night_state
    from osa.nightsummary.plan import plan_night
    from osa.steps.checks import LIBRARIES

    for module in LIBRARIES:
        __import__(module)
    layout = _layout(config)
    started = time.perf_counter(), time.process_time()
    examiner = Examiner()  # in one process, for the CPU time
    for state in read_night_state(layout, plan_night(layout), ()):
        if state.sequence.subruns and state.sequence.parent is not None:
            verdict = judge(layout, state, examiner)
            if not verdict.is_complete:
                raise RuntimeError(str(verdict.missing))
    return time.perf_counter() - started[0], time.process_time() - started[1]


def move_night(config: Path) -> tuple[float, float]:
    """List what is to be moved and move it; gives the seconds, by the clock and of CPU."""
    from osa.closing.actions import closing_moves
    from osa.closing.journal import perform_moves
    from osa.nightstate import read_night_state
    from osa.nightsummary.plan import plan_night

    layout = _layout(config)
    states = read_night_state(layout, plan_night(layout), ())
    started = time.perf_counter(), time.process_time()
    moves = [move for state in states for move in closing_moves(layout, state)]
    perform_moves(layout.moves_journal, moves, lambda *_: None)
    return time.perf_counter() - started[0], time.process_time() - started[1]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, nargs="+", default=[5, 20, 80, 200])
    parser.add_argument("--subruns", type=int, default=100)
    parser.add_argument("--elsewhere", type=Path, default=Path("/dev/shm"), help="on another file system")
    parser.add_argument("--only", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        what, config = given.only
        print(json.dumps({"judge": judge_night, "move": move_night}[what](Path(config))))
        return
    nights = [Night(runs, given.subruns) for runs in sorted(given.runs)]
    rows: dict[str, list[tuple[str, int, float, float, int, float, float]]] = {
        "judging": [],
        "moving": [],
        "moving, other file system": [],
    }
    for night in nights:
        night.make()
        measured = [night.measure("judge", night.root / "sequencer.cfg")]
        with tempfile.TemporaryDirectory(dir=given.elsewhere, prefix="osa-bench-") as elsewhere:
            for final in (night.root / "final", Path(elsewhere) / "final"):
                with night.products_to_move(final) as config:
                    measured.append(night.measure("move", config))
        count = night.runs * night.subruns
        for what, usage in zip(rows, measured, strict=True):
            each = 1000 * usage.cpu / count
            first = rows[what][0][5] if rows[what] else each
            rows[what].append((what, count, usage.wall, usage.cpu, round(usage.memory), each, each / first))
    heads = ("what", "sub-runs", "wall s", "CPU s", "memory MB", "ms of CPU a sub-run", "relative")
    print_table(heads, [row for found in rows.values() for row in found])


if __name__ == "__main__":
    main()
