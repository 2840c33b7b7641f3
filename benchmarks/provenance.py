"""What provenance costs: records in a task, documents and graphs of a run.

    python -m benchmarks.provenance [--subruns N [N ...]] [--events N [N ...]] [--repeat N]

Documents: the records of a run are written to files as tasks do, one a sub-run, and then read, put
together, and written as PROV-JSON and as graphs; runs are made, not processed.

Records: on a processed sub-run of a simulated night each step's record is written once more, by what
writes it in a task, with all hashes taken anew; set against the time that the step took.
"""

from __future__ import annotations

import argparse
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.common import (
    CALIBRATION_RUN,
    DATA_RUN,
    DRS4_RUN,
    NIGHT,
    command,
    forget_analysis,
    make_night,
    print_table,
    timed,
)
from benchmarks.made_records import calibration_tries, data_tries
from osa.layout import Layout
from osa.records.recorder import Recorder
from osa.steps.datacheck import datacheck
from osa.steps.dl1_to_dl2 import dl1_to_dl2
from osa.steps.r0_to_dl1 import r0_to_dl1
from osa.steps.runner import begin_try
from osa.steps.step import Step

_DONE = re.compile(r"(\w+): done in ([\d.]+) s")


def _timed(call: Callable[[], object]) -> tuple[float, object]:
    started = time.perf_counter()
    result = call()
    return time.perf_counter() - started, result


def documents(subruns: int, folder: Path) -> tuple[int, float, float, float, float, float]:
    """Measure one run; gives seconds of records to JSON, its check, both graphs, and megabytes."""
    from osa.provenance.checks import check_document, check_round_trip
    from osa.provenance.document import make_document
    from osa.provenance.graph import draw_graph
    from osa.provenance.lineage import Lineage, build_lineage
    from osa.records.lines import append_begin, append_end, read_records

    for record in (*calibration_tries(), *data_tries(DATA_RUN, subruns)):
        path = folder / f"{record.run}.{record.subrun}.jsonl"
        append_begin(path, record)
        append_end(path, record)

    def to_json() -> tuple[Lineage, str]:
        records = [record for path in sorted(folder.iterdir()) for record in read_records(path)]
        lineage = build_lineage(records)
        return lineage, make_document(lineage).serialize(None, format="json") or ""

    seconds, (lineage, text) = _timed(to_json)  # type: ignore[misc]
    document = make_document(lineage)
    checked, faults = _timed(lambda: [*check_document(document), *check_round_trip(document, text)])
    assert faults == [], faults
    folded, _ = _timed(lambda: draw_graph(lineage, "folded"))
    detailed, _ = _timed(lambda: draw_graph(lineage, "in detail", detail=True))
    return subruns, seconds, checked, folded, detailed, len(text) / 1e6


def process(layout: Layout) -> dict[str, float]:
    """Process calibration and a sub-run, where that was not done; gives the seconds of each step."""
    calibrators = (f"--drs4-run={DRS4_RUN}", f"--calibration-run={CALIBRATION_RUN}")
    night = ("-c", layout.settings.path, "-d", NIGHT.underscored)
    log = layout.analysis_dir / "tasks.log"
    if not log.exists():
        forget_analysis(layout)
        layout.analysis_dir.mkdir(parents=True)
        timed(command("calibrationsequence", *night, *calibrators), log=log)
        timed(command("datasequence", *night, *calibrators, f"{DATA_RUN:05d}.0000"), log=log)
    return {name: float(seconds) for name, seconds in _DONE.findall(log.read_text("utf-8", errors="replace"))}


def _record(recorder: Recorder, step: Step) -> None:
    """Write the record of a step whose products are there."""
    attempt = begin_try(recorder, step)
    made = [product for product in step.products if product.final.exists()]
    attempt.done(attempt.identify((str(p.kind), p.kind, p.final, p.final) for p in made))


def recording(layout: Layout, repeat: int) -> dict[str, tuple[float, float]]:
    """Write the record of each step again; gives milliseconds: the first task of a night, the others."""
    which = {"run": DATA_RUN, "subrun": 0}
    calibrators = {"drs4_run": DRS4_RUN, "calibration_run": CALIBRATION_RUN}
    steps = (
        r0_to_dl1(layout, **which, **calibrators),
        datacheck(layout, **which),
        dl1_to_dl2(layout, **which),
    )
    costs: dict[tuple[str, str], list[float]] = {}
    for _ in range(repeat):
        shutil.rmtree(layout.hashes_dir, ignore_errors=True)
        for who in ("first", "other"):
            recorder = Recorder(layout, DATA_RUN, 0)
            for step in steps:
                seconds, _ = _timed(partial(_record, recorder, step))
                costs.setdefault((step.name, who), []).append(1000 * seconds)
    names = dict.fromkeys(name for name, _ in costs)
    return {name: (median(costs[name, "first"]), median(costs[name, "other"])) for name in names}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--subruns", type=int, nargs="+", default=[50, 100, 200, 400])
    parser.add_argument("--events", type=int, nargs="+", default=[200, 1000], help="of the sub-run")
    parser.add_argument("--repeat", type=int, default=5)
    given = parser.parse_args()
    rows = []
    for subruns in given.subruns:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(documents(subruns, Path(folder)))
    print_table(
        ("sub-runs", "records to JSON s", "checks s", "graph s", "graph in detail s", "JSON MB"), rows
    )
    print()
    steps = []
    for events in given.events:
        size = ("--size", "small", "--runs", 1, "--subruns", 1, "--events", events)
        layout = make_night(f"task-{events}", *size)
        took = process(layout)
        for name, (first, other) in recording(layout, given.repeat).items():
            share = f"{other / 10 / took[name]:.2f}"
            steps.append((events, name, took[name], round(first, 1), round(other, 1), share))
    heads = ("events", "step", "step s", "record ms, first task", "record ms, others", "% of the step")
    print_table(heads, steps)


if __name__ == "__main__":
    main()
