"""How long a night takes on the local backend, over the least that its tasks allow.

    python -m benchmarks.makespan [--size SIZE] [--repeat N]

The bound is that of the tasks as they were in the same run: the calibration, and after it the
longest DATA task, or the sum of all over the cores, whichever is longer.
"""

from __future__ import annotations

import argparse
import os

from benchmarks.common import NIGHT, command, forget_analysis, make_night, print_table, timed
from osa.model.sequence import SequenceKind
from osa.nightsummary.plan import plan_night
from osa.scheduler.select import select_scheduler


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--size", default="small")
    parser.add_argument("--repeat", type=int, default=2)
    given = parser.parse_args()
    layout = make_night(f"makespan-{given.size}", "--size", given.size)
    cores = len(os.sched_getaffinity(0))
    rows = []
    for _ in range(given.repeat):
        forget_analysis(layout)
        log = layout.settings.path.with_name("sequencer.log")
        usage = timed(command("sequencer", "-c", layout.settings.path, "-d", NIGHT.underscored), log=log)
        records = select_scheduler(layout.settings, "local").records(layout.group)
        plan = plan_night(layout)
        calibration_name = next(s.name for s in plan.sequences if s.kind is SequenceKind.CALIBRATION)
        times: dict[bool, list[float]] = {True: [], False: []}
        for record in records:
            assert record.started and record.ended
            duration = (record.ended - record.started).total_seconds()
            times[record.name == calibration_name].append(duration)
        data = times[False]
        bound = sum(times[True]) + max(max(data), sum(data) / cores)
        rows.append((len(data), sum(times[True]), sum(data), bound, usage.wall, usage.wall / bound))
    heads = ("DATA tasks", "calibration s", "DATA s, summed", "bound s", "sequencer s", "ratio")
    print(f"\n{given.size} night on {cores} cores\n")
    print_table(heads, rows)


if __name__ == "__main__":
    main()
