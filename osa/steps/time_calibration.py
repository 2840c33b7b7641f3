"""Time calibration: the sampling times of the capacitors, from flat-field events.

lstchain's own script for it hands a gain selection to the charge extractor, which then drops the
gain axis and crashes; its class does the work when the extractor is told that no gain is
selected. This module is both the description of the step and the program that does so.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from osa.layout import Layout
from osa.model.dataset import DatasetKind
from osa.records.model import REFERENCE_ROLE
from osa.steps.checks import check_time_calibration
from osa.steps.step import OSA, Input, Product, Step
from osa.system.workers import EntryPoint

__all__ = ["main", "reference_time_calibration", "time_calibration"]

PROGRAM = "osa_time_calibration"
REFERENCE_PROGRAM = "osa_reference_time_calibration"
_MODULE = "osa.steps.time_calibration"


def time_calibration(
    layout: Layout, *, drs4_run: int, calibration_run: int, subruns: tuple[int, ...]
) -> Step:
    """Describe the step for a calibration run."""
    how = layout.settings.lstchain
    final = layout.time_calibration(calibration_run)
    raws = [layout.raw_file(calibration_run, subrun) for subrun in subruns]
    arguments = [
        f"--pedestal-file={layout.drs4_pedestal(drs4_run)}",
        f"--run-summary={layout.run_summary}",
        f"--output-file={final.name}",
        f"--max-events={how.time_calibration_events}",
        f"--n-combine={how.time_calibration_n_combine}",
        f"--n-harmonics={how.time_calibration_n_harmonics}",
        f"--tel-id={layout.settings.telescope.tel_id}",
    ]
    if how.flatfield_heuristic:
        arguments.append("--flatfield-heuristic")
    return Step(
        name="time_calibration",
        program=PROGRAM,
        entry=EntryPoint(_MODULE, "main"),
        arguments=(*arguments, *map(str, raws)),
        products=(
            Product(Path(final.name), final, check_time_calibration, kind=DatasetKind.TIME_CALIBRATION),
        ),
        prod_id=layout.settings.production.calibration_prod_id,
        input=raws[0].name if raws else "-",
        inputs=(
            *(
                Input("raw data", DatasetKind.R0, path)
                for subrun in subruns
                for path in layout.raw_streams(calibration_run, subrun)
            ),
            Input("DRS4 pedestal", DatasetKind.DRS4_PEDESTAL, layout.drs4_pedestal(drs4_run)),
            Input("run summary", DatasetKind.RUN_SUMMARY, layout.run_summary),
        ),
    )


def reference_time_calibration(layout: Layout, *, calibration_run: int, reference: Path) -> Step:
    """Describe the step that takes the configured reference file instead."""
    final = layout.time_calibration(calibration_run)
    return Step(
        name="time_calibration",
        program=REFERENCE_PROGRAM,
        entry=EntryPoint(_MODULE, "copy_reference"),
        arguments=(str(reference), final.name),
        products=(
            Product(Path(final.name), final, check_time_calibration, kind=DatasetKind.TIME_CALIBRATION),
        ),
        prod_id=layout.settings.production.calibration_prod_id,
        input=reference.name,
        inputs=(Input(REFERENCE_ROLE, DatasetKind.TIME_CALIBRATION, reference),),
        package=OSA,
    )


def copy_reference() -> None:
    """Copy a time calibration file: the program behind the reference step."""
    import shutil

    parser = argparse.ArgumentParser(prog=REFERENCE_PROGRAM)
    parser.add_argument("reference", type=Path)
    parser.add_argument("output_file", type=Path)
    arguments = parser.parse_args()
    shutil.copyfile(arguments.reference, arguments.output_file)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=PROGRAM, description=__doc__)
    parser.add_argument("raw_files", nargs="+", type=Path, help="raw files of the calibration run")
    parser.add_argument("--pedestal-file", required=True, type=Path)
    parser.add_argument("--run-summary", required=True, type=Path)
    parser.add_argument("--output-file", required=True, type=Path)
    parser.add_argument("--max-events", type=int, default=20000, help="events read from each file")
    parser.add_argument("--n-combine", type=int, default=8, help="capacitors in one bin")
    parser.add_argument("--n-harmonics", type=int, default=16, help="of the Fourier series")
    parser.add_argument("--tel-id", type=int, default=1)
    parser.add_argument("--flatfield-heuristic", action="store_true")
    return parser.parse_args()


def main() -> None:
    """Make a time calibration file: the program behind the step."""
    from ctapipe.io import EventSource
    from lstchain.calib.camera.time_correction_calculate import TimeCorrectionCalculate
    from traitlets.config import Config

    arguments = _parse()
    config = Config(
        {
            "LSTEventSource": {
                "max_events": arguments.max_events,
                "pointing_information": False,
                "default_trigger_type": "tib",
                "use_flatfield_heuristic": arguments.flatfield_heuristic,
                "allowed_tels": [arguments.tel_id],
                "EventTimeCalculator": {"run_summary_path": str(arguments.run_summary)},
                "LSTR0Corrections": {"drs4_pedestal_path": str(arguments.pedestal_file)},
            },
            "TimeCorrectionCalculate": {
                "tel_id": arguments.tel_id,
                "n_combine": arguments.n_combine,
                "n_harmonics": arguments.n_harmonics,
            },
        }
    )
    calculator = None
    for raw_file in arguments.raw_files:
        with EventSource(input_url=raw_file, config=config) as source:
            if calculator is None:
                calculator = TimeCorrectionCalculate(
                    subarray=source.subarray, config=config, calib_file_path=str(arguments.output_file)
                )
                calculator.extractor = _both_gains(calculator.extractor)
            for event in source:
                calculator.calibrate_peak_time(event)
        print(f"{raw_file.name}: {calculator.sum_events} flat-field events so far", flush=True)
    assert calculator is not None  # argparse wants at least one raw file
    calculator.finalize()


def _both_gains(extractor: Any) -> Any:
    """Call an extractor of ctapipe so that it keeps both gains, whatever it is told."""

    def extract(waveform: Any, tel_id: int, _selected_gain: Any, *, broken_pixels: Any) -> Any:
        keep_gains = partial(extractor, selected_gain_channel=None)
        return keep_gains(waveform, tel_id, broken_pixels=broken_pixels)

    return extract
