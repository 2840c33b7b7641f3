"""Night summary and lstchain's run summary of a simulated night."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lstchain
from astropy.table import Table

from osa.simulation.events import RawEvent
from osa.simulation.files import atomic_path
from osa.simulation.hardware import dragon_ns, tib_ns
from osa.simulation.plan import DataFormat, NightPlan, RunKind, RunPlan

__all__ = ["night_summary_line", "write_night_summary", "write_run_summary"]

_RUN_TYPES = {
    RunKind.DRS4: "DRS4",
    RunKind.CALIBRATION: "PEDCALIB",
    RunKind.DATA: "DATA",
}
_PROTOBUF = {DataFormat.EVBV5: "ProtoR1.CameraEvent", DataFormat.R1V1: "R1v1.Event"}


def night_summary_line(run: RunPlan, first: RawEvent, data_format: DataFormat) -> str:
    """Write the eleven columns of one run; R1v1 files need no reference of the clocks.

    Parameters
    ----------
    run : RunPlan
        The run.
    first : RawEvent
        Its first event, the reference.
    data_format : DataFormat
        Format of the raw files.
    """
    if data_format is DataFormat.R1V1:
        references = "nan nan nan nan nan nan"
    else:
        stamp = first.tai_ns
        references = f"0000 {stamp} {dragon_ns(first)} 0000 {stamp} {tib_ns(first)}"
    return f"{run.run:05d} {run.subruns:4d} {run.kind.value:<5} {run.start:%Y-%m-%d %H:%M:%S} {references}"


def write_night_summary(plan: NightPlan, first_events: Mapping[int, RawEvent], path: Path) -> None:
    """Write the night summary.

    Parameters
    ----------
    plan : NightPlan
        The night.
    first_events : mapping of int to RawEvent
        First event of each run.
    path : pathlib.Path
        The file.
    """
    lines = [night_summary_line(run, first_events[run.run], plan.data_format) + "\n" for run in plan.runs]
    with atomic_path(path) as part:
        part.write_text("".join(lines), encoding="ascii")


def write_run_summary(plan: NightPlan, first_events: Mapping[int, RawEvent], path: Path) -> None:
    """Write the run summary with the columns of lstchain 0.12; parameters as above."""
    rows = [_run_summary_row(run, first_events[run.run], plan.data_format) for run in plan.runs]
    table = Table(rows=rows)
    for name, kind in _DTYPES.items():
        table[name] = table[name].astype(kind)
    table.meta["date"] = plan.date.isoformat()
    table.meta["lstchain_version"] = lstchain.__version__
    with atomic_path(path) as part:
        table.write(part, format="ascii.ecsv", delimiter=",")


_DTYPES = {
    "run_id": "int64",
    "n_subruns": "int64",
    "evb_preprocessing": "int64",
    "ucts_timestamp": "int64",
    "run_start": "int64",
    "dragon_reference_time": "int64",
    "dragon_reference_module_id": "int16",
    "dragon_reference_module_index": "int16",
    "dragon_reference_counter": "uint64",
}


def _run_summary_row(run: RunPlan, first: RawEvent, data_format: DataFormat) -> dict[str, Any]:
    known: dict[str, Any] = {
        "run_id": run.run,
        "n_subruns": run.subruns,
        "run_type": _RUN_TYPES[run.kind],
        "data_format": _PROTOBUF[data_format],
        "evb_preprocessing": 0,
    }
    if data_format is DataFormat.R1V1:
        # lstchain writes -1 into an unsigned column, and None as a string.
        return known | {
            "ucts_timestamp": -1,
            "run_start": -1,
            "dragon_reference_time": -1,
            "dragon_reference_module_id": -1,
            "dragon_reference_module_index": -1,
            "dragon_reference_counter": 2**64 - 1,
            "dragon_reference_source": "None",
        }
    start_tai = (first.tai_ns - first.since_start_ns) // 1_000_000_000
    return known | {
        "ucts_timestamp": first.tai_ns,
        "run_start": start_tai * 1_000_000_000,
        "dragon_reference_time": first.tai_ns,
        "dragon_reference_module_id": 0,
        "dragon_reference_module_index": 0,
        "dragon_reference_counter": dragon_ns(first),
        "dragon_reference_source": "ucts",
    }
