"""Files of records: one a task, a line of JSON when a try begins and one when it ends.

Lines are only appended, each with a single write. A try whose task is killed leaves the first line alone.
A line that was cut short or cannot be read tells nothing, and is passed over.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from osa.model.dataset import DatasetKind
from osa.records.model import ConfigFile, FileRecord, JobIds, Software, Status, TryRecord
from osa.system.files import append_line

__all__ = ["append_begin", "append_end", "begin_line", "end_line", "parse_records", "read_records"]

_FORMAT = 1

T = TypeVar("T")


def append_begin(path: Path, record: TryRecord) -> None:
    """Write down that a try begins, durably."""
    append_line(path, begin_line(record))


def append_end(path: Path, record: TryRecord) -> None:
    """Write down how a try ended, durably."""
    append_line(path, end_line(record))


def begin_line(record: TryRecord) -> str:
    """Write what is known of a try before it runs."""
    return _json(
        {
            "format": _FORMAT,
            "begin": record.id,
            "telescope": record.telescope,
            "night": record.night,
            "run": record.run,
            "subrun": record.subrun,
            "step": record.step,
            "program": record.program,
            "package": record.package,
            "prod_id": record.prod_id,
            "started": _time(record.started),
            "inputs": [_file(item) for item in record.inputs],
            "configuration": [asdict(item) for item in record.configuration],
            "parameters": dict(record.parameters),
            "versions": dict(record.software.versions),
            "environment": record.software.environment,
            "host": record.host,
            "user": record.user,
            "job": asdict(record.job),
        }
    )


def end_line(record: TryRecord) -> str:
    """Write what came of a try that has ended."""
    if record.ended is None:
        raise ValueError(f"try {record.id} has not ended")
    return _json(
        {
            "format": _FORMAT,
            "end": record.id,
            "ended": _time(record.ended),
            "status": record.status,
            "exit_code": record.exit_code,
            "reason": record.reason,
            "outputs": [_file(item) for item in record.outputs],
            "wall_time": round(record.wall_time, 3),
            "cpu_time": round(record.cpu_time, 3),
            "peak_memory": round(record.peak_memory, 1),
        }
    )


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, separators=(",", ":"))


def _time(when: datetime) -> str:
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _file(item: FileRecord) -> dict[str, Any]:
    return {key: value for key, value in asdict(item).items() if value is not None}


def read_records(path: Path) -> tuple[TryRecord, ...]:
    """Read a file of records; one that is not there has none.

    Returns
    -------
    tuple of TryRecord
        The tries in the order in which they began.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return ()
    return parse_records(data.decode("utf-8", errors="replace").split("\n"))


def parse_records(lines: Iterable[str]) -> tuple[TryRecord, ...]:
    """Put lines together to tries; of lines that stand there twice the first counts."""
    begun: dict[str, TryRecord] = {}
    for line in lines:
        values = _parse(line)
        if values is None:
            continue
        try:
            if "begin" in values:
                begun.setdefault(values["begin"], _begun(values))
            elif (record := begun.get(values["end"])) is not None and record.ended is None:
                begun[record.id] = _ended(record, values)
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
            continue
    return tuple(begun.values())


def _parse(line: str) -> dict[str, Any] | None:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict) or values.get("format") != _FORMAT:
        return None
    return values if isinstance(values.get("begin", values.get("end")), str) else None


def _begun(values: Mapping[str, Any]) -> TryRecord:
    if str(uuid.UUID(values["begin"])) != values["begin"]:
        raise ValueError(f"{values['begin']} is not how a UUID is written")
    return TryRecord(
        id=values["begin"],
        telescope=str(values["telescope"]),
        night=str(values["night"]),
        run=int(values["run"]),
        subrun=None if values["subrun"] is None else int(values["subrun"]),
        step=str(values["step"]),
        program=str(values["program"]),
        package=str(values["package"]),
        prod_id=str(values["prod_id"]),
        started=_read_time(values["started"]),
        inputs=_read_files(values["inputs"]),
        configuration=tuple(map(_read_config, values["configuration"])),
        parameters={str(key): str(value) for key, value in values["parameters"].items()},
        software=Software(
            {str(k): str(v) for k, v in values["versions"].items()}, str(values["environment"])
        ),
        host=str(values["host"]),
        user=str(values["user"]),
        job=_read_job(values["job"]),
    )


def _ended(record: TryRecord, values: Mapping[str, Any]) -> TryRecord:
    return replace(
        record,
        ended=max(_read_time(values["ended"]), record.started),  # a clock may be set back
        status=Status(values["status"]),
        exit_code=None if values["exit_code"] is None else int(values["exit_code"]),
        reason=str(values["reason"]),
        outputs=_read_files(values["outputs"]),
        wall_time=float(values["wall_time"]),
        cpu_time=float(values["cpu_time"]),
        peak_memory=float(values["peak_memory"]),
    )


def _read_files(items: Iterable[Mapping[str, Any]]) -> tuple[FileRecord, ...]:
    return tuple(map(_read_file, items))


def _read_file(values: Mapping[str, Any]) -> FileRecord:
    return FileRecord(
        role=_typed(values["role"], str),
        kind=DatasetKind(values["kind"]),
        path=_typed(values["path"], str),
        size=_optional(values.get("size"), int),
        modified=_optional(values.get("modified"), int),
        sha256=_optional(values.get("sha256"), str),
        sample=_optional(values.get("sample"), str),
        source=_optional(values.get("source"), str),
    )


def _read_config(values: Mapping[str, Any]) -> ConfigFile:
    return ConfigFile(
        name=_typed(values["name"], str),
        path=_typed(values["path"], str),
        sha256=_optional(values.get("sha256"), str),
        archived=_optional(values.get("archived"), str),
    )


def _read_job(values: Mapping[str, Any]) -> JobIds:
    return JobIds(
        job=_optional(values["job"], str),
        task=_optional(values["task"], int),
        restart=_optional(values["restart"], int),
    )


def _typed(value: Any, kind: type[T]) -> T:
    if type(value) is not kind:
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value


def _optional(value: Any, kind: type[T]) -> T | None:
    return None if value is None else _typed(value, kind)


def _read_time(text: str) -> datetime:
    when = datetime.fromisoformat(text)
    if when.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return when.astimezone(UTC)
