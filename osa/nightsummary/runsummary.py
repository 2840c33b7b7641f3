"""``RunSummary_YYYYMMDD.ecsv``: lstchain's run summary, which its steps read the clock reference from.

Columns and values are those of ``lstchain_create_run_summary`` 0.12. Where it finds no reference, and in
the format R1v1, which needs none, it writes -1, into an unsigned column too, and None as text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from importlib.metadata import version
from io import StringIO
from typing import Any

from osa.model.run import RunEntry, RunType
from osa.survey.run import ClockReference, RunSurvey

__all__ = ["format_run_summary"]

_COLUMNS = {
    "run_id": "int64",
    "n_subruns": "int64",
    "run_type": "str",
    "data_format": "str",
    "evb_preprocessing": "int64",
    "ucts_timestamp": "int64",
    "run_start": "int64",
    "dragon_reference_time": "int64",
    "dragon_reference_module_id": "int16",
    "dragon_reference_module_index": "int16",
    "dragon_reference_counter": "uint64",
    "dragon_reference_source": "str",
}
_TYPES = {RunType.DRS4: "DRS4", RunType.CALIBRATION: "PEDCALIB", RunType.DATA: "DATA"}
_NONE = -1
_NO_REFERENCE = {
    "ucts_timestamp": _NONE,
    "run_start": _NONE,
    "dragon_reference_time": _NONE,
    "dragon_reference_module_id": _NONE,
    "dragon_reference_module_index": _NONE,
    "dragon_reference_counter": 2**64 + _NONE,
    "dragon_reference_source": "None",
}


def format_run_summary(runs: Iterable[RunEntry], surveys: Mapping[int, RunSurvey], night: date) -> str:
    """Write a run summary.

    Parameters
    ----------
    runs : iterable of RunEntry
        The runs of the night.
    surveys : mapping of int to RunSurvey
        What their raw files say, by run.
    night : datetime.date
        The night.
    """
    from astropy.table import Table

    rows = [_row(entry, surveys[entry.run]) for entry in sorted(runs, key=lambda entry: entry.run)]
    columns = {name: [row[name] for row in rows] for name in _COLUMNS}
    table = Table(columns, names=list(_COLUMNS), dtype=list(_COLUMNS.values()))
    table.meta["date"] = night.isoformat()
    table.meta["lstchain_version"] = version("lstchain")
    text = StringIO()
    table.write(text, format="ascii.ecsv", delimiter=",")
    return text.getvalue()


def _row(entry: RunEntry, survey: RunSurvey) -> dict[str, Any]:
    return {
        "run_id": entry.run,
        "n_subruns": entry.n_subruns,
        "run_type": _TYPES.get(entry.type, "ERROR"),
        "data_format": survey.data_format,
        "evb_preprocessing": survey.evb_preprocessing,
        **_reference(survey.reference),
    }


def _reference(reference: ClockReference | None) -> Mapping[str, Any]:
    if reference is None or not reference.is_usable:
        return _NO_REFERENCE
    ucts = reference.ucts_ns
    return {
        "ucts_timestamp": _NONE if ucts is None else ucts,
        "run_start": reference.run_start_ns,
        "dragon_reference_time": reference.run_start_ns if ucts is None else ucts,
        "dragon_reference_module_id": reference.module_id,
        "dragon_reference_module_index": reference.module_index,
        "dragon_reference_counter": reference.dragon_ns,
        "dragon_reference_source": "run_start" if ucts is None else "ucts",
    }
