"""Make a night that is only looked at, of any size, as if it had been analysed.

    python -m benchmarks.make_large_night FOLDER [--runs N] [--subruns M] [--half]

Raw files and products are names of sparse files, as the sequencer looks at names and sizes only;
histories, night summary and logs of the drive are real.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.common import CALIBRATION_RUN, DATA_RUN, DRS4_RUN, NIGHT
from osa.config import load_settings
from osa.layout import DL1, MUONS, PRODUCT_KINDS, Layout
from osa.model.run import RunEntry
from osa.nightsummary.nightsummary import format_night_summary
from osa.simulation.configuration import fill_in
from osa.simulation.monitoring import write_monitoring
from osa.simulation.plan import NightPlan, RunKind, RunPlan
from osa.simulation.targets import Pointing, find_target
from osa.steps import (
    charge_calibration,
    datacheck,
    dl1_to_dl2,
    drs4_pedestal,
    r0_to_dl1,
    time_calibration,
)
from osa.steps.history import HistoryRecord

_STREAMS = 4
_FIRST_START = datetime(2020, 1, 27, 18, tzinfo=UTC)
_WOBBLE_ANGLES = (70.0, 250.0, 160.0, 340.0)
_INPUT_FOLDERS = ("R0", "NightSummary", "monitoring/RunSummary", "monitoring/DrivePositioning", "models")


def main() -> None:
    """Make a night."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=200, help="DATA runs")
    parser.add_argument("--subruns", type=int, default=100, help="sub-runs of each")
    parser.add_argument("--half", action="store_true", help="every second sub-run got no farther than DL1")
    given = parser.parse_args()
    root = given.folder.absolute()
    unfinished = _write_configuration(root)
    layout = Layout(load_settings(unfinished, "LST1"), NIGHT)
    plan = _plan(given.runs, given.subruns)
    _write_inputs(layout, plan)
    _write_calibration(layout)
    for run in plan.of_kind(RunKind.DATA):
        for subrun in range(run.subruns):
            _write_subrun(layout, run.run, subrun, is_done=not given.half or subrun % 2 == 0)
    unfinished.rename(root / "sequencer.cfg")


def _plan(n_runs: int, subruns: int) -> NightPlan:
    """Plan the runs, with sub-runs of only a second, so that the night is long enough for all."""
    before = timedelta(minutes=10)
    calibration = (
        RunPlan(DRS4_RUN, RunKind.DRS4, _FIRST_START - 2 * before, 1, 500),
        RunPlan(CALIBRATION_RUN, RunKind.CALIBRATION, _FIRST_START - before, 1, 200),
    )
    data = (
        RunPlan(
            DATA_RUN + number,
            RunKind.DATA,
            _FIRST_START + number * timedelta(seconds=subruns + 80),
            subruns,
            events=100,
            subrun_duration=timedelta(seconds=1),
            pointing=Pointing(find_target("Crab"), 0.4, _WOBBLE_ANGLES[number % len(_WOBBLE_ANGLES)]),
        )
        for number in range(n_runs)
    )
    return NightPlan(NIGHT.date, (*calibration, *data))


def _write_configuration(root: Path) -> Path:
    for folder in _INPUT_FOLDERS:
        (root / folder).mkdir(parents=True)
    shipped = Path("cfg/sequencer.cfg").read_text(encoding="utf-8")
    path = root / "unfinished.cfg"
    values = {("DEFAULT", "base"): str(root).replace("%", "%%"), ("ARRIVAL", "quiet_minutes"): "0"}
    path.write_text(fill_in(shipped, values), encoding="utf-8")
    return path


def _write_inputs(layout: Layout, plan: NightPlan) -> None:
    """Write all that the sequencer plans a night from."""
    entries = [RunEntry(run.run, run.subruns, run.kind.value, run.start) for run in plan.runs]
    layout.night_summary.write_text(format_night_summary(tuple(entries)), encoding="ascii")
    write_monitoring(plan, layout.settings.telescope.drive_dir)
    for run in plan.runs:
        for subrun in range(run.subruns):
            first = layout.raw_file(run.run, subrun)
            names = [first.name.replace(".1.", f".{stream}.", 1) for stream in range(1, _STREAMS + 1)]
            _add_files(layout.raw_dir, names)


def _write_calibration(layout: Layout) -> None:
    products = (
        layout.drs4_pedestal(DRS4_RUN),
        layout.time_calibration(CALIBRATION_RUN),
        layout.charge_calibration(CALIBRATION_RUN),
    )
    steps = {
        drs4_pedestal.PROGRAM: layout.raw_file(DRS4_RUN, 0),
        time_calibration.PROGRAM: layout.raw_file(CALIBRATION_RUN, 0),
        charge_calibration.PROGRAM: layout.raw_file(CALIBRATION_RUN, 0),
    }
    _add_files(layout.analysis_dir, [path.name for path in products])
    _write_history(layout, CALIBRATION_RUN, None, steps)


def _write_subrun(layout: Layout, run: int, subrun: int, *, is_done: bool) -> None:
    dl1 = layout.working(DL1, run, subrun)
    steps = {r0_to_dl1.PROGRAM: layout.raw_file(run, subrun)}
    if is_done:
        steps |= {datacheck.PROGRAM: dl1, dl1_to_dl2.PROGRAM: dl1}
    kinds = PRODUCT_KINDS if is_done else (DL1, MUONS)
    _add_files(layout.analysis_dir, [layout.working(kind, run, subrun).name for kind in kinds])
    _write_history(layout, run, subrun, steps)


def _analysed(run: int, subrun: int) -> datetime:
    """Tell when a sub-run was analysed: hardly two in the same second, as in a real night."""
    return _FIRST_START + timedelta(hours=15, seconds=3 * (100 * (run - DATA_RUN) + subrun))


def _add_files(folder: Path, names: Iterable[str]) -> None:
    """Make files that are not empty and take no room on the disk."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        with (folder / name).open("wb") as stream:
            stream.truncate(1_000_000)


def _write_history(layout: Layout, run: int, subrun: int | None, steps: Mapping[str, Path]) -> None:
    """Write the history of steps that succeeded one after the other; program to input."""
    records = [
        HistoryRecord.now(
            run,
            subrun,
            program=program,
            prod_id=layout.settings.production.prod_id,
            input=input_file.name,
            card="lstchain_standard_config",
            return_code=0,
            clock=_analysed(run, subrun or 0) + timedelta(minutes=number),
        )
        for number, (program, input_file) in enumerate(steps.items())
    ]
    text = "".join(f"{record.line}\n" for record in records)
    layout.history(run, subrun).write_text(text, encoding="ascii")


if __name__ == "__main__":
    main()
