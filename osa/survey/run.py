"""What the raw files of a run say of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from osa.survey.tagging import RunLabel, Tag, TriggerCounts

__all__ = ["ClockReference", "RunSurvey", "from_json", "to_json"]


@dataclass(frozen=True)
class ClockReference:
    """An event at which the counters of the camera and UCTS time were read together.

    Parameters
    ----------
    subrun, event_id : int
        Which event.
    ucts_ns : int or None
        UCTS time, ns TAI since 1970; None where UCTS was away.
    run_start_ns : int
        Start of the run in whole seconds, in the same unit.
    module_id, module_index : int
        The first module that was read out: its identity, and its place in the data.
    dragon_ns, tib_ns : int or None
        Counters of that module and of the TIB, ns; None where the TIB was away.
    """

    subrun: int
    event_id: int
    ucts_ns: int | None
    run_start_ns: int
    module_id: int
    module_index: int
    dragon_ns: int
    tib_ns: int | None

    @property
    def is_first(self) -> bool:
        """Whether it is the first event of the run, which its start can stand for."""
        return self.event_id == 1

    @property
    def is_usable(self) -> bool:
        """Whether event times can be told from it."""
        return self.ucts_ns is not None or self.is_first


@dataclass(frozen=True)
class RunSurvey:
    """What the raw files of a run say.

    Parameters
    ----------
    run : int
        The run.
    subruns : tuple of int
        Sub-runs that have raw files of stream 1 with something in them, ascending.
    tag : Tag
        Its type.
    start : datetime.datetime or None
        Its start, UTC; None where no file could be read.
    counts : TriggerCounts
        The events that were looked at.
    sampled : tuple of (int, int)
        Sub-runs that were looked into, and how many events of each.
    data_format : str
        Name of the events' protobuf message; ``-`` where no file could be read.
    evb_preprocessing : int
        What the event builder did to physics events, as lstchain writes it.
    reference : ClockReference or None
        Reference of the clocks; None in the format R1v1, which needs none.
    faults : tuple of str
        Files that cannot be read, and what else a person should know.
    """

    run: int
    subruns: tuple[int, ...]
    tag: Tag
    start: datetime | None = None
    counts: TriggerCounts = field(default_factory=TriggerCounts)
    sampled: tuple[tuple[int, int], ...] = ()
    data_format: str = "-"
    evb_preprocessing: int = 0
    reference: ClockReference | None = None
    faults: tuple[str, ...] = ()


def to_json(survey: RunSurvey) -> dict[str, Any]:
    """Write a survey as JSON can hold it."""
    written = dataclasses.asdict(survey)
    written["start"] = None if survey.start is None else survey.start.isoformat()
    return written


def from_json(written: Mapping[str, Any]) -> RunSurvey:
    """Read a survey.

    Raises
    ------
    KeyError, TypeError, ValueError
        If it is none.
    """
    tag, reference, start = written["tag"], written["reference"], written["start"]
    return RunSurvey(
        run=int(written["run"]),
        subruns=tuple(map(int, written["subruns"])),
        tag=Tag(RunLabel(tag["label"]), float(tag["confidence"]), str(tag["reason"])),
        start=None if start is None else datetime.fromisoformat(start).astimezone(UTC),
        counts=TriggerCounts(**{name: int(count) for name, count in written["counts"].items()}),
        sampled=tuple((int(subrun), int(events)) for subrun, events in written["sampled"]),
        data_format=str(written["data_format"]),
        evb_preprocessing=int(written["evb_preprocessing"]),
        reference=None if reference is None else _reference(reference),
        faults=tuple(map(str, written["faults"])),
    )


def _reference(written: Mapping[str, Any]) -> ClockReference:
    may_be_none = {"ucts_ns", "tib_ns"}
    values = {
        name: None if value is None and name in may_be_none else int(value) for name, value in written.items()
    }
    return ClockReference(**values)  # type: ignore[arg-type] # a name that is not one of ours is a TypeError
