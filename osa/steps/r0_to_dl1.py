"""R0 to DL1: calibrated images and their parameters, muon rings, interleaved events."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from osa.layout import DL1, INTERLEAVED, MUONS, Layout
from osa.model.dataset import DatasetKind
from osa.steps.checks import check_dl1, check_interleaved, check_muons
from osa.steps.shipped import shipped_configuration
from osa.steps.step import Input, Product, Step
from osa.system.workers import EntryPoint

__all__ = ["r0_to_dl1"]

PROGRAM = "lstchain_data_r0_to_dl1"


def r0_to_dl1(layout: Layout, *, run: int, subrun: int, drs4_run: int, calibration_run: int) -> Step:
    """Describe the step for one sub-run.

    lstchain names its outputs by itself, from the name of the raw file.
    """
    how = layout.settings.lstchain
    raw = layout.raw_file(run, subrun)
    dl1, muons, interleaved = (layout.working(kind, run, subrun) for kind in (DL1, MUONS, INTERLEAVED))
    arguments = [
        f"--input-file={raw}",
        "--output-dir=.",
        f"--pedestal-file={layout.drs4_pedestal(drs4_run)}",
        f"--calibration-file={layout.charge_calibration(calibration_run)}",
        f"--time-calibration-file={layout.time_calibration(calibration_run)}",
        f"--run-summary-path={layout.run_summary}",
        f"--pointing-file={layout.drive_log}",
        "--flatfield-heuristic" if how.flatfield_heuristic else "--no-flatfield-heuristic",
    ]
    if how.dl1_config is not None:
        arguments.append(f"--config={how.dl1_config}")
    return Step(
        name="r0_to_dl1",
        program=PROGRAM,
        entry=EntryPoint("lstchain.scripts.lstchain_data_r0_to_dl1", "main"),
        arguments=tuple(arguments),
        # DL1 last: whoever sees it may count on the others.
        products=(
            Product(Path(muons.name), muons, partial(check_muons, run=run), kind=DatasetKind.MUONS),
            Product(
                Path("interleaved") / interleaved.name,
                interleaved,
                check_interleaved,
                optional=True,
                kind=DatasetKind.INTERLEAVED,
            ),
            Product(Path(dl1.name), dl1, partial(check_dl1, run=run, raw_file=raw), kind=DatasetKind.DL1),
        ),
        prod_id=layout.settings.production.dl1_prod_id,
        input=raw.name,
        card=how.dl1_config.name if how.dl1_config else "lstchain_standard_config",
        inputs=tuple(_inputs(layout, run, subrun, drs4_run, calibration_run)),
        configuration=(("R0 to DL1", how.dl1_config or shipped_configuration()),),
    )


def _inputs(layout: Layout, run: int, subrun: int, drs4_run: int, calibration_run: int) -> Iterator[Input]:
    for path in layout.raw_streams(run, subrun):
        yield Input("raw data", DatasetKind.R0, path)
    kinds = (DatasetKind.DRS4_PEDESTAL, DatasetKind.TIME_CALIBRATION, DatasetKind.CHARGE_CALIBRATION)
    for kind, path in zip(kinds, layout.calibration_products(drs4_run, calibration_run), strict=True):
        yield Input(str(kind), kind, path)
    yield Input("run summary", DatasetKind.RUN_SUMMARY, layout.run_summary)
    yield Input("pointing", DatasetKind.DRIVE_LOG, layout.drive_log)
    if layout.bending_model is not None:
        yield Input("bending model correction", DatasetKind.BENDING_MODEL, layout.bending_model)
