"""What looking into the raw files of a night costs, and how that grows.

    python -m benchmarks.nightsummary [--runs N [N ...]] [--subruns M] [--repeat N] [--with-lstchain]

The raw files are those of three small runs (DRS4, calibration, DATA), of 500 events and more a sub-run,
linked under the names of as many runs and sub-runs as are wanted: what is read of each, and the number of
names, are those of a real night. In each round all nights in turn, by a fresh process, with warm caches.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.common import NIGHT, WORK, Usage, command, make_night, print_table, spread, timed

_FIRST = 3000
_EVENTS = 600
_LSTCHAIN_RUNS = 4
_CALIBRATION_SUBRUNS = 5


def make_raw_night(runs: int, subruns: int) -> Path:
    """Make a night of many runs, where it is not there; its configuration."""
    source = make_night("raw", "--runs", 1, "--subruns", 1, "--events", _EVENTS, "--size", "small")
    root = WORK / f"raw-{runs}x{subruns}"
    config = root / "sequencer.cfg"
    if config.exists():
        return config
    shutil.rmtree(root, ignore_errors=True)
    raw = root / "R0" / NIGHT.tag
    for folder in (
        raw,
        root / "NightSummary",
        root / "monitoring/RunSummary",
        root / "monitoring/DrivePositioning",
    ):
        folder.mkdir(parents=True)
    (root / "models").symlink_to(source.settings.telescope.models_dir)
    (root / "lstchain").symlink_to((WORK / "raw" / "lstchain").absolute())
    originals = sorted(source.raw_dir.glob("LST-1.1.*.fits.fz"))
    for run in range(runs):
        # As in a night: the first two calibrate, all others are DATA.
        original = originals[min(run, len(originals) - 1)]
        for subrun in range(subruns if run >= len(originals) - 1 else _CALIBRATION_SUBRUNS):
            os.link(original, raw / f"LST-1.1.Run{_FIRST + run:05d}.{subrun:04d}.fits.fz")
    (raw / "end_of_night").touch()
    text = source.settings.path.read_text("utf-8")
    config.write_text(text.replace(str(source.settings.path.parent), str(root.absolute())), "utf-8")
    return config


def _first_look(config: Path) -> Usage:
    for path in config.parent.glob("NightSummary/*"):
        path.unlink()
    return _look(config)


def _look(config: Path) -> Usage:
    return timed(command("nightsummary", "-c", config, "-d", NIGHT.underscored, "--overwrite"))


def _lstchain(config: Path) -> Usage:
    """Run lstchain's own on the same files; 3 s of it are spent on asking for a database."""
    program = Path(sys.executable).parent / "lstchain_create_run_summary"
    out = config.parent / "by_lstchain"
    out.mkdir(exist_ok=True)
    words = [program, "-d", NIGHT.tag, "--r0-path", config.parent / "R0", "-o", out, "-t", "localhost"]
    return timed([*words, "--overwrite"])


def _measure(
    configs: dict[tuple[int, int], Path], repeat: int
) -> Iterator[tuple[tuple[int, int], str, Usage]]:
    for _ in range(repeat):
        for size, config in configs.items():
            yield size, "first look", _first_look(config)
            yield size, "nothing changed", _look(config)


def main() -> None:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, nargs="+", default=[10, 20, 40])
    parser.add_argument("--subruns", type=int, default=100)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--with-lstchain", action="store_true", help="compare with lstchain's program")
    given = parser.parse_args()
    sizes = [(runs, given.subruns) for runs in given.runs] + [(max(given.runs), 10 * given.subruns)]
    found: dict[tuple[tuple[int, int], str], list[Usage]] = {}
    for size, what, usage in _measure({size: make_raw_night(*size) for size in sizes}, given.repeat):
        found.setdefault((size, what), []).append(usage)
    rows = [
        (f"{runs} x {subruns}", what, spread([u.wall for u in used]), max(u.memory for u in used))
        for ((runs, subruns), what), used in found.items()
    ]
    print_table(("runs x sub-runs", "what", "wall s", "memory MB"), rows)
    if given.with_lstchain:
        config = make_raw_night(_LSTCHAIN_RUNS, given.subruns)
        ours, theirs = _first_look(config), _lstchain(config)
        print_table(
            (f"{_LSTCHAIN_RUNS} runs", "wall s", "CPU s"),
            [("nightsummary", ours.wall, ours.cpu), ("lstchain", theirs.wall, theirs.cpu)],
        )
        print(f"\nlstchain / nightsummary: {theirs.wall / ours.wall:.1f}")


if __name__ == "__main__":
    main()
