"""What a task costs around the calls to lstchain, and what its ways to make them cost.

    python -m benchmarks.task [--repeat N]

On one sub-run of a simulated night, in turn, so that drifts of the machine cancel:

- bare: one process that imports lstchain once and calls its three functions, nothing around them;
- task: ``datasequence``, with its checks, history, locks and one fork a step;
- programs: ``datasequence`` with every step as a program of its own.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from pathlib import Path
from statistics import median

from benchmarks.common import (
    CALIBRATION_RUN,
    DATA_RUN,
    DRS4_RUN,
    NIGHT,
    Usage,
    command,
    forget_analysis,
    make_night,
    print_table,
    spread,
    timed,
)
from osa.layout import Layout
from osa.steps.environment import prepare_environment
from osa.steps.sequences import DATA_MODULES

CALIBRATORS = (f"--drs4-run={DRS4_RUN}", f"--calibration-run={CALIBRATION_RUN}")
_IMPORTED = re.compile(r"lstchain imported in ([\d.]+) s")
_DONE = re.compile(r"(\w+): done in ([\d.]+) s, ([\d.]+) s of CPU, at most (\d+) MB")
_BARE = """
import importlib, json, os, sys
steps = json.loads(sys.argv[1])
modules = [importlib.import_module(module) for module, _, _ in steps]
for module, (_, function, argv) in zip(modules, steps):
    sys.argv = argv
    try:
        getattr(module, function)()
    except SystemExit as end:
        assert not end.code, (argv, end.code)
"""


def calibrate(layout: Layout) -> list[tuple[str, Usage]]:
    """Make the calibration that the data needs; gives the cost of its steps."""
    forget_analysis(layout)
    layout.analysis_dir.mkdir(parents=True)
    log = layout.analysis_dir / "calibration.log"
    night = ("-c", layout.settings.path, "-d", NIGHT.underscored)
    whole = timed(command("calibrationsequence", *night, *CALIBRATORS), log=log)
    return [*steps_of(log), ("the task", whole)]


def steps_of(log: Path) -> list[tuple[str, Usage]]:
    """Read the cost of the steps from the log of a task."""
    found = _DONE.findall(log.read_text("utf-8", errors="replace"))
    return [(name, Usage(float(w), float(c), float(m))) for name, w, c, m in found]


def bare(layout: Layout) -> Usage:
    """Call lstchain's functions one after another in one process, without anything around."""
    import json

    from osa.steps.datacheck import datacheck
    from osa.steps.dl1_to_dl2 import dl1_to_dl2
    from osa.steps.r0_to_dl1 import r0_to_dl1

    subrun = {"run": DATA_RUN, "subrun": 0}
    steps = (
        r0_to_dl1(layout, **subrun, drs4_run=DRS4_RUN, calibration_run=CALIBRATION_RUN),
        datacheck(layout, **subrun),
        dl1_to_dl2(layout, **subrun),
    )
    folder = layout.analysis_dir / ".bare"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()

    def here(word: str) -> str:
        """Let the steps after the first read where that one wrote."""
        word = word.replace(str(layout.analysis_dir / "dl1_"), str(folder / "dl1_"))
        return f"--muons-dir={folder}" if word.startswith("--muons-dir=") else word

    calls = [[step.entry.module, step.entry.function, [*map(here, step.command)]] for step in steps]
    return timed(
        [sys.executable, "-c", _BARE, json.dumps(calls)], folder=folder, log=layout.analysis_dir / "bare.log"
    )


def task(layout: Layout, config: Path, log: Path) -> Usage:
    """Run the sub-run as a task."""
    for path in layout.analysis_dir.glob(f"*{DATA_RUN:05d}.0000*"):
        path.unlink()
    night = ("-c", config, "-d", NIGHT.underscored)
    subrun = f"{DATA_RUN:05d}.0000"
    return timed(command("datasequence", *night, *CALIBRATORS, subrun), log=log)


def main() -> None:
    """Measure and print."""
    import os

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--events", type=int, default=200, help="of the sub-run")
    given = parser.parse_args()
    repeat = given.repeat
    size = ("--size", "small", "--runs", 1, "--subruns", 1, "--events", given.events)
    layout = make_night(f"task-{given.events}", *size)
    os.environ.update(prepare_environment(layout.environment_dir, 1))
    calibration = calibrate(layout)
    separate = layout.settings.path.with_name("separate.cfg")
    text = layout.settings.path.read_text("utf-8")
    separate.write_text(
        text.replace("separate_programs =", "separate_programs = r0_to_dl1, datacheck, dl1_to_dl2"), "utf-8"
    )
    logs = {name: layout.analysis_dir / f"{name}.log" for name in ("task", "programs")}
    usages: dict[str, list[Usage]] = {"bare": [], "task": [], "programs": []}
    for _ in range(repeat):
        usages["bare"].append(bare(layout))
        usages["task"].append(task(layout, layout.settings.path, logs["task"]))
        usages["programs"].append(task(layout, separate, logs["programs"]))

    print(f"\n{repeat} runs in turn; lstchain's modules: {', '.join(DATA_MODULES)}\n")
    heads = ("what", "wall s", "CPU s", "memory MB")
    print_table(heads, [(name, u.wall, u.cpu, u.memory) for name, u in calibration])
    print()
    rows = []
    for name, log in logs.items():
        steps = steps_of(log)
        for step in dict.fromkeys(step for step, _ in steps):
            mine = [usage for found, usage in steps if found == step]
            rows.append((f"{step} ({name})", *_medians(mine)))
    rows += [(name, *_medians(found)) for name, found in usages.items()]
    print_table(heads, rows)
    print()
    ratios = {
        name: [a.wall / b.wall for a, b in zip(usages[name], usages["bare"], strict=True)]
        for name in ("task", "programs")
    }
    print_table(
        ("ratio of wall times", "median (range)"), [(f"{n} / bare", spread(r)) for n, r in ratios.items()]
    )
    steps = [usage.wall for _, usage in steps_of(logs["task"])]
    imports = [float(t) for t in _IMPORTED.findall(logs["task"].read_text("utf-8", errors="replace"))]
    each = len(steps) // repeat
    inside = [sum(steps[i * each : (i + 1) * each]) + imports[i] for i in range(repeat)]
    ours = [u.wall - wall for u, wall in zip(usages["task"], inside, strict=True)]
    print(f"\ntime of a task outside lstchain's imports and calls: {spread(ours)} s,")
    print(f"of the time inside: {spread([100 * o / i for o, i in zip(ours, inside, strict=True)])} %")


def _medians(usages: list[Usage]) -> tuple[float, float, float]:
    return (
        median(u.wall for u in usages),
        median(u.cpu for u in usages),
        median(u.memory for u in usages),
    )


if __name__ == "__main__":
    main()
