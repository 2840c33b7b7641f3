"""Records of tries that made the products of a night, as the tasks would have written them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from osa.layout import Layout
from osa.model.sequence import Sequence, SequenceKind
from osa.records.recorder import Recorder
from osa.steps.calibration_plots import calibration_plots
from osa.steps.charge_calibration import charge_calibration
from osa.steps.datacheck import datacheck
from osa.steps.dl1_to_dl2 import dl1_to_dl2
from osa.steps.drs4_pedestal import drs4_pedestal
from osa.steps.r0_to_dl1 import r0_to_dl1
from osa.steps.runner import begin_try
from osa.steps.step import Step
from osa.steps.time_calibration import time_calibration


def steps_of(layout: Layout, sequence: Sequence) -> Iterator[tuple[int | None, Step]]:
    """Give the steps of a sequence in their order, each with its sub-run."""
    assert sequence.drs4_run is not None and sequence.calibration_run is not None
    runs = {"drs4_run": sequence.drs4_run, "calibration_run": sequence.calibration_run}
    if sequence.kind is SequenceKind.CALIBRATION:
        yield None, drs4_pedestal(layout, sequence.drs4_run)
        yield None, time_calibration(layout, **runs, subruns=sequence.subruns)
        yield None, charge_calibration(layout, **runs, subruns=sequence.subruns)
        yield None, calibration_plots(layout, **runs)
        return
    for subrun in sequence.subruns:
        which = {"run": sequence.run, "subrun": subrun}
        yield subrun, r0_to_dl1(layout, **which, **runs)
        yield subrun, datacheck(layout, **which)
        yield subrun, dl1_to_dl2(layout, **which)


def provide_inputs(layout: Layout) -> None:
    """Have the files that steps read besides raw data, with nothing in them, where there are none."""
    telescope = layout.settings.telescope
    forests = ("reg_energy", "reg_disp_norm", "cls_disp_sign", "cls_gh")
    for path in (
        layout.drive_log,
        layout.run_summary,
        *(telescope.models_dir / f"{name}.sav" for name in forests),
    ):
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()


def record_try(layout: Layout, run: int, subrun: int | None, step: Step) -> None:
    """Record a try that made what there is of a step's products."""
    attempt = begin_try(Recorder(layout, run, subrun), step)
    made = [product for product in step.products if product.final.exists()]
    attempt.done(attempt.identify((str(p.kind), p.kind, p.final, p.final) for p in made))


def add_records(layout: Layout, sequence: Sequence) -> None:
    """Record one try of each step of a sequence."""
    provide_inputs(layout)
    for subrun, step in steps_of(layout, sequence):
        record_try(layout, sequence.run, subrun, step)


def is_provenance(layout: Layout, path: Path) -> bool:
    """Tell what has times and identifiers of tries in it, which no two closings have in common."""
    index = layout.settings.provenance.database
    return (
        path == index
        or layout.records_dir in path.parents
        or (path.parent.name == "log" and path.parent != layout.log_dir)
    )
