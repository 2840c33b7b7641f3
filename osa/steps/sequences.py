"""The two kinds of task: the calibration of a night, and one sub-run of data.

Each goes on from where its history and its products say that it stands.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from osa.errors import OsaError, StepFailedError
from osa.incidences import note_incidence
from osa.layout import PRODUCT_KINDS, Layout, subrun_tag
from osa.model.run import run_tag
from osa.records.recorder import Recorder
from osa.steps.calibration_plots import calibration_plots
from osa.steps.charge_calibration import charge_calibration
from osa.steps.datacheck import datacheck
from osa.steps.dl1_to_dl2 import dl1_to_dl2
from osa.steps.drs4_pedestal import drs4_pedestal
from osa.steps.history import read_history
from osa.steps.progress import CALIBRATION_STEPS, DATA_STEPS, StepOutline, steps_done
from osa.steps.r0_to_dl1 import r0_to_dl1
from osa.steps.runner import StepRunner, products_are_whole
from osa.steps.step import Step
from osa.steps.time_calibration import reference_time_calibration, time_calibration
from osa.system.locks import only_try
from osa.system.workers import Workshop

__all__ = ["CALIBRATION_MODULES", "DATA_MODULES", "process_calibration", "process_subrun"]

CALIBRATION_MODULES = (
    "lstchain.tools.lstchain_create_drs4_pedestal_file",
    "lstchain.tools.lstchain_create_calibration_file",
    "lstchain.calib.camera.time_correction_calculate",
    "lstchain.visualization.plot_calib",
)
"""Imported once for all steps of a calibration."""

DATA_MODULES = (
    "lstchain.scripts.lstchain_data_r0_to_dl1",
    "lstchain.scripts.lstchain_check_dl1",
    "lstchain.tools.lstchain_dl1_to_dl2",
)
"""Imported once for all steps of a sub-run."""

# Sub-runs share one lock file with a byte each; runs have at most this many (four digits).
_MOST_SUBRUNS = 10_000

Say = Callable[[str], None]


@dataclass(frozen=True)
class _Task:
    """A runner and what is done already."""

    runner: StepRunner
    done: frozenset[str]

    def ensure(self, step: Step) -> None:
        """Run a step where it is not done."""
        if step.name in self.done:
            self.runner.say(f"{step.name}: is done")
        else:
            self.runner.execute(step)


def _runner(layout: Layout, run: int, subrun: int | None, workshop: Workshop, say: Say) -> StepRunner:
    return StepRunner(
        run=run,
        subrun=subrun,
        history=layout.history(run, subrun),
        scratch_dir=layout.scratch_dir,
        workshop=workshop,
        separate_programs=layout.settings.lstchain.separate_programs,
        say=say,
        recorder=Recorder(layout, run, subrun, say),
    )


def _done(
    layout: Layout, outlines: tuple[StepOutline, ...], steps: tuple[Step, ...], history: Path
) -> frozenset[str]:
    by_name = {step.name: step for step in steps}
    return steps_done(
        outlines,
        read_history(history),
        layout.settings.production,
        lambda outline: products_are_whole(by_name[outline.name]),
    )


def process_calibration(
    layout: Layout,
    *,
    drs4_run: int,
    calibration_run: int,
    subruns: tuple[int, ...],
    workshop: Workshop,
    say: Say,
) -> None:
    """Make the calibration of the night.

    Parameters
    ----------
    layout : Layout
        Of the night.
    drs4_run, calibration_run : int
        The runs to use.
    subruns : tuple of int
        Sub-runs of the calibration run.
    workshop : Workshop
        Makes the calls.
    say : callable
        Told of every step.

    Raises
    ------
    StepFailedError
        If a step that the calibration needs fails.
    AnotherInstanceError
        If another try is at work.
    """
    runs = {"drs4_run": drs4_run, "calibration_run": calibration_run}
    what = f"calibration run {calibration_run} of {layout.night}"
    with only_try(layout.task_lock, calibration_run * _MOST_SUBRUNS, what):
        runner = _runner(layout, calibration_run, None, workshop, say)
        steps = (
            drs4_pedestal(layout, drs4_run),
            time_calibration(layout, **runs, subruns=subruns),
            charge_calibration(layout, **runs, subruns=subruns),
        )
        task = _Task(runner, _done(layout, CALIBRATION_STEPS, steps, runner.history))
        task.ensure(steps[0])
        if steps[1].name not in task.done:
            _calibrate_times(layout, runner, steps[1], calibration_run)
        task.ensure(steps[2])
        _draw(layout, runner, calibration_plots(layout, **runs))


def _calibrate_times(layout: Layout, runner: StepRunner, step: Step, calibration_run: int) -> None:
    """Make the time calibration, or take the reference and say so."""
    how = layout.settings.lstchain
    why = "switched off"
    if how.time_calibration:
        try:
            runner.execute(step)
            return
        except StepFailedError as error:
            if how.time_calibration_reference is None:
                raise
            why = f"not possible ({error})"
            runner.say(str(error))
    assert how.time_calibration_reference is not None  # the configuration reader saw to it
    reference = how.time_calibration_reference
    runner.execute(reference_time_calibration(layout, calibration_run=calibration_run, reference=reference))
    note_incidence(
        layout,
        f"Time calibration of run {run_tag(calibration_run)} {why}: "
        f"the reference file {reference.name} serves instead.",
    )


def _draw(layout: Layout, runner: StepRunner, step: Step) -> None:
    """Draw the plots where they are missing; the night goes on without them."""
    if all(product.final.exists() for product in step.products):
        return
    try:
        runner.execute(step)
    except StepFailedError as error:
        runner.say(str(error))
        note_incidence(
            layout,
            f"No plots of the calibration: {error}.",
        )


def _link_closed_products(layout: Layout, run: int, subrun: int) -> None:
    """Have at hand what is in its final place already: its night was closed, and opened again."""
    for kind in PRODUCT_KINDS:
        working, final = layout.working(kind, run, subrun), layout.final(kind, run, subrun)
        if working.is_symlink() and not working.exists():
            working.unlink()
        if final.exists() and not working.exists():
            working.symlink_to(final)


def process_subrun(
    layout: Layout,
    *,
    run: int,
    subrun: int,
    drs4_run: int,
    calibration_run: int,
    workshop: Workshop,
    say: Say,
) -> None:
    """Bring one sub-run from R0 to DL2.

    A failed data check does not keep DL2 from being made.

    Raises
    ------
    OsaError
        If a step failed, after all that could be done was done.
    AnotherInstanceError
        If another try is at work on the sub-run.
    """
    what = f"sub-run {subrun_tag(run, subrun)} of {layout.night}"
    with only_try(layout.task_lock, run * _MOST_SUBRUNS + subrun, what):
        _link_closed_products(layout, run, subrun)
        runner = _runner(layout, run, subrun, workshop, say)
        calibrators = {"drs4_run": drs4_run, "calibration_run": calibration_run}
        steps = (
            r0_to_dl1(layout, run=run, subrun=subrun, **calibrators),
            datacheck(layout, run=run, subrun=subrun),
            dl1_to_dl2(layout, run=run, subrun=subrun),
        )
        task = _Task(runner, _done(layout, DATA_STEPS, steps, runner.history))
        task.ensure(steps[0])
        failures = []
        for step in steps[1:]:
            try:
                task.ensure(step)
            except StepFailedError as error:
                say(str(error))
                failures.append(str(error))
        if failures:
            raise OsaError("; ".join(failures))
