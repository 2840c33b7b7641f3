"""lstchain's plots of the night's calibration, as PDF.

They show the calibration and are not part of it: a night goes on without them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from osa.layout import Layout
from osa.model.dataset import DatasetKind
from osa.steps.checks import check_pdf, raw_event_count
from osa.steps.step import Input, Product, Step
from osa.system.workers import EntryPoint

__all__ = ["calibration_plots", "main"]

PROGRAM = "osa_calibration_plots"
_MOST_PEDESTAL_EVENTS = 1000


def calibration_plots(layout: Layout, *, drs4_run: int, calibration_run: int) -> Step:
    """Describe the step."""
    pedestal, charge = layout.drs4_pedestal(drs4_run), layout.charge_calibration(calibration_run)
    plots = [layout.plot(pedestal), layout.plot(charge)]
    return Step(
        name="calibration_plots",
        program=PROGRAM,
        entry=EntryPoint("osa.steps.calibration_plots", "main"),
        arguments=(
            f"--drs4-raw-file={layout.raw_file(drs4_run, 0)}",
            f"--drs4-pedestal={pedestal}",
            f"--drs4-run={drs4_run}",
            f"--drs4-plot={plots[0].name}",
            f"--charge-calibration={charge}",
            f"--calibration-run={calibration_run}",
            f"--charge-plot={plots[1].name}",
            f"--tel-id={layout.settings.telescope.tel_id}",
        ),
        products=tuple(
            Product(Path(plot.name), plot, check_pdf, kind=DatasetKind.CALIBRATION_PLOTS) for plot in plots
        ),
        prod_id=layout.settings.production.calibration_prod_id,
        input=charge.name,
        inputs=(
            *(Input("raw data", DatasetKind.R0, path) for path in layout.raw_streams(drs4_run, 0)),
            Input("DRS4 pedestal", DatasetKind.DRS4_PEDESTAL, pedestal),
            Input("charge calibration", DatasetKind.CHARGE_CALIBRATION, charge),
        ),
    )


def main() -> None:
    """Draw the plots: the program behind the step."""
    from lstchain.io.calibration import read_calibration_file
    from lstchain.visualization import plot_calib, plot_drs4

    parser = argparse.ArgumentParser(prog=PROGRAM, description=__doc__)
    for name in ("drs4-raw-file", "drs4-pedestal", "drs4-plot", "charge-calibration", "charge-plot"):
        parser.add_argument(f"--{name}", required=True, type=Path)
    for name in ("drs4-run", "calibration-run", "tel-id"):
        parser.add_argument(f"--{name}", required=True, type=int)
    given = parser.parse_args()
    plot_drs4.plot_pedestals(
        str(given.drs4_raw_file),
        str(given.drs4_pedestal),
        given.drs4_run,
        str(given.drs4_plot),
        tel_id=given.tel_id,
        # lstchain's plot wants this many events, and fails where the run has fewer.
        sample_size=min(_MOST_PEDESTAL_EVENTS, raw_event_count(given.drs4_raw_file) - 1),
    )
    monitoring = read_calibration_file(given.charge_calibration, given.tel_id)
    plot_calib.plot_calibration_results(
        monitoring.pedestal,
        monitoring.flatfield,
        monitoring.calibration,
        given.calibration_run,
        str(given.charge_plot),
        "Cat-A",
    )
