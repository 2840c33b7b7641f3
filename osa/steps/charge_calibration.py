"""Charge calibration: gains and pedestals of every pixel, from the night's calibration run."""

from __future__ import annotations

from pathlib import Path

from osa.layout import Layout
from osa.model.dataset import DatasetKind
from osa.steps.checks import check_charge_calibration
from osa.steps.shipped import ONSITE_CALIBRATION, configured, shipped_configuration
from osa.steps.step import Input, Product, Step
from osa.system.workers import EntryPoint

__all__ = ["charge_calibration"]

PROGRAM = "lstchain_create_calibration_file"


def charge_calibration(
    layout: Layout, *, drs4_run: int, calibration_run: int, subruns: tuple[int, ...]
) -> Step:
    """Describe the step; lstchain reads all sub-runs of the run, where its configuration says so."""
    how = layout.settings.lstchain
    raw = layout.raw_file(calibration_run, 0)
    final = layout.charge_calibration(calibration_run)
    card = how.charge_calibration_config or shipped_configuration(ONSITE_CALIBRATION)
    arguments = [
        f"--input_file={raw}",
        f"--output_file={final.name}",
        f"--pedestal_file={layout.drs4_pedestal(drs4_run)}",
        f"--time_calibration_file={layout.time_calibration(calibration_run)}",
        f"--run_summary_file={layout.run_summary}",
        f"--config={card}",
        "--LSTEventSource.default_trigger_type=tib",
        f"--LSTEventSource.use_flatfield_heuristic={how.flatfield_heuristic}",
    ]
    inputs = [
        *(
            Input("raw data", DatasetKind.R0, path)
            for subrun in (
                subruns if configured(card, "LSTEventSource", "MultiFiles", "all_subruns") else (0,)
            )
            for path in layout.raw_streams(calibration_run, subrun)
        ),
        Input("DRS4 pedestal", DatasetKind.DRS4_PEDESTAL, layout.drs4_pedestal(drs4_run)),
        Input("time calibration", DatasetKind.TIME_CALIBRATION, layout.time_calibration(calibration_run)),
        Input("run summary", DatasetKind.RUN_SUMMARY, layout.run_summary),
    ]
    if how.charge_calibration_systematics is not None:
        systematics = how.charge_calibration_systematics
        inputs.append(Input("systematic corrections", DatasetKind.SYSTEMATICS, systematics))
        arguments.append(f"--systematics_file={systematics}")
    return Step(
        name="charge_calibration",
        program=PROGRAM,
        entry=EntryPoint("lstchain.tools.lstchain_create_calibration_file", "main"),
        arguments=tuple(arguments),
        products=(
            Product(Path(final.name), final, check_charge_calibration, kind=DatasetKind.CHARGE_CALIBRATION),
        ),
        prod_id=layout.settings.production.calibration_prod_id,
        input=raw.name,
        card=card.name,
        inputs=tuple(inputs),
        configuration=(("charge calibration", card),),
    )
