"""DRS4 pedestal: the baseline of every capacitor of the readout, from the night's DRS4 run."""

from __future__ import annotations

from pathlib import Path

from osa.layout import Layout
from osa.model.dataset import DatasetKind
from osa.steps.checks import check_drs4_pedestal
from osa.steps.step import Input, Product, Step
from osa.system.workers import EntryPoint

__all__ = ["drs4_pedestal"]

PROGRAM = "lstchain_create_drs4_pedestal_file"


def drs4_pedestal(layout: Layout, drs4_run: int) -> Step:
    """Describe the step for a DRS4 run (its first sub-run, as lstchain does)."""
    raw = layout.raw_file(drs4_run, 0)
    final = layout.drs4_pedestal(drs4_run)
    return Step(
        name="drs4_pedestal",
        program=PROGRAM,
        entry=EntryPoint("lstchain.tools.lstchain_create_drs4_pedestal_file", "main"),
        arguments=(
            f"--input={raw}",
            f"--output={final.name}",
            f"--max-events={layout.settings.lstchain.drs4_events}",
            "--no-progress",
            "--overwrite",
        ),
        products=(Product(Path(final.name), final, check_drs4_pedestal, kind=DatasetKind.DRS4_PEDESTAL),),
        prod_id=layout.settings.production.calibration_prod_id,
        input=raw.name,
        inputs=tuple(Input("raw data", DatasetKind.R0, path) for path in layout.raw_streams(drs4_run, 0)),
    )
