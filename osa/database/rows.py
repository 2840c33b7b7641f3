"""Writes records as rows of the tables. Pure.

Records are files that anybody may have written: what a column cannot take is made to fit, so that one
odd line does not keep a whole night out of the index.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from sqlalchemy import BigInteger, Column, Double, Integer, String, Table, Text

from osa.database.schema import UtcTime, entities, in_milliseconds, jobs, tries
from osa.model.job import TaskRecord
from osa.provenance.lineage import Entity
from osa.records.model import Software, TryRecord

__all__ = [
    "Row",
    "clean_text",
    "digest",
    "entity_row",
    "fit",
    "fit_value",
    "job_row",
    "software_row",
    "try_row",
]

Row = dict[str, Any]
"""Values of a row by column."""

_LONGEST_TEXT = 4000
_LARGEST = {BigInteger: 2**63 - 1, Integer: 2**31 - 1}


def clean_text(value: object, length: int | None = None) -> str:
    """Write a text so that every database takes it: names of files need not be Unicode."""
    text = str(value).encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
    return text[: length or _LONGEST_TEXT]


def fit(table: Table, row: Mapping[str, Any]) -> Row:
    """Make values fit their columns."""
    return {name: _fit(value, table.c[name].type) for name, value in row.items()}


def fit_value(column: Column[Any], value: Any) -> Any:
    """Make a value fit a column."""
    return _fit(value, column.type)


def _fit(value: Any, kind: object) -> Any:
    if value is None:
        return None
    if isinstance(kind, UtcTime):
        return in_milliseconds(value)
    if isinstance(kind, Double):
        return float(value) if math.isfinite(value) else 0.0
    if isinstance(kind, Text):
        return clean_text(value)
    if isinstance(kind, String):
        return clean_text(value, kind.length)
    if isinstance(kind, Integer):  # of which the other is one
        largest = _LARGEST[BigInteger if isinstance(kind, BigInteger) else Integer]
        return max(-largest, min(int(value), largest))
    return value


def digest(*values: object) -> str:
    """Hash values by which a row is known."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def software_row(software: Software) -> Row:
    """Write what did the work."""
    versions = dict(software.versions)
    return {
        "digest": digest(software.environment, versions),
        "environment": clean_text(software.environment, 64),
        "versions": versions,
    }


def try_row(record: TryRecord, *, night_id: int, software_id: int, parameter_set_id: int) -> Row:
    """Write a try."""
    return fit(
        tries,
        {
            "uid": record.id,
            "night_id": night_id,
            "run": record.run,
            "subrun": record.subrun,
            "step": record.step,
            "program": record.program,
            "package": record.package,
            "version": record.version,
            "prod_id": record.prod_id,
            "started": record.started,
            "ended": record.ended,
            "status": record.status,
            "exit_code": record.exit_code,
            "reason": record.reason,
            "host": record.host,
            "user": record.user,
            "job": record.job.job,
            "task": record.job.task,
            "restart": record.job.restart,
            "wall_time": record.wall_time,
            "cpu_time": record.cpu_time,
            "peak_memory": record.peak_memory,
            "software_id": software_id,
            "parameter_set_id": parameter_set_id,
        },
    )


def entity_row(entity: Entity, try_id: int | None) -> Row:
    """Write a file; its maker is None where it came from elsewhere."""
    return fit(
        entities,
        {
            "uid": entity.id,
            "kind": entity.kind,
            "name": entity.name,
            "location": entity.location,
            "size": entity.size,
            "modified": entity.modified,
            "sha256": entity.sha256,
            "sample": entity.sample,
            "night": entity.night,
            "run": entity.run,
            "subrun": entity.subrun,
            "try_id": try_id,
            "made_at": entity.made_at,
            "replaced_at": entity.replaced_at,
            "archived": entity.archived,
        },
    )


def job_row(record: TaskRecord, *, sequence_id: int, ordinal: int) -> Row:
    """Write a try of a task of a job, as the scheduler knows it."""
    row = {
        "sequence_id": sequence_id,
        "job_id": record.job_id,
        "task": record.task,
        "ordinal": ordinal,
        "state": record.state,
        "submitted": record.submitted,
        "started": record.started,
        "ended": record.ended,
        "exit_code": record.exit_code,
        "host": record.host,
        "cpu_seconds": record.cpu_time.total_seconds(),
    }
    return fit(jobs, row)
