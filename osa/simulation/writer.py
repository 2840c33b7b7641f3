"""Raw files: written under another name, then renamed, so that a final name is a whole file."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Self

from protozfits import FlatProtobufZOFits

from osa.simulation import evbv5, r1v1
from osa.simulation.camera import Camera
from osa.simulation.events import RawEvent, simulate_subrun
from osa.simulation.files import part_of
from osa.simulation.plan import DataFormat, NightPlan, RunPlan
from osa.system.files import publish

__all__ = ["SubrunWriter", "raw_path", "write_subrun"]

# Protobuf classes are made at run time and have no types.
Message = Any

_FORMATS = {DataFormat.EVBV5: evbv5, DataFormat.R1V1: r1v1}


def raw_path(directory: Path, run: int, subrun: int, stream: int = 1) -> Path:
    """Name a raw file."""
    return directory / f"LST-1.{stream}.Run{run:05d}.{subrun:04d}.fits.fz"


class SubrunWriter:
    """Writes the files of one sub-run, one for each stream, events in turn.

    Parameters
    ----------
    paths : list of pathlib.Path
        Final names, one a stream.
    tables : list of tuple
        Name and message of each table before the events.
    """

    def __init__(self, paths: list[Path], tables: list[tuple[str, Message]]) -> None:
        self._paths = paths
        self._parts = [part_of(path) for path in paths]
        self._tables = tables
        self._streams: list[Any] = []
        self._count = 0

    def __enter__(self) -> Self:
        for part in self._parts:
            part.parent.mkdir(parents=True, exist_ok=True)
            # Blocks of 32 MB: with the default size, one event does not fit.
            stream = FlatProtobufZOFits(
                n_tiles=1000,
                rows_per_tile=20,
                compression_block_size_kb=32 * 1024,
                default_compression="zstd1",
            )
            stream.open(str(part))
            for name, message in self._tables:
                stream.move_to_new_table(name)
                stream.write_message(message)
            stream.move_to_new_table("Events")
            self._streams.append(stream)
        return self

    def write(self, message: Message) -> None:
        """Add an event to the stream whose turn it is."""
        self._streams[self._count % len(self._streams)].write_message(message)
        self._count += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            for stream in self._streams:
                stream.close()
            if kind is None:
                for part, path in zip(self._parts, self._paths, strict=True):
                    publish(part, path)
        finally:
            for part in self._parts:
                part.unlink(missing_ok=True)


def write_subrun(
    plan: NightPlan, run: RunPlan, subrun: int, camera: Camera, directory: Path
) -> tuple[list[Path], RawEvent]:
    """Simulate and write one sub-run.

    Returns
    -------
    paths : list of pathlib.Path
        The files, one a stream.
    first : RawEvent
        The first event of the sub-run.
    """
    form = _FORMATS[plan.data_format]
    paths = [raw_path(directory, run.run, subrun, k + 1) for k in range(plan.streams)]
    first: RawEvent | None = None
    with SubrunWriter(paths, form.tables_before_events(run, camera)) as writer:
        for event in simulate_subrun(plan, run, subrun, camera):
            first = first or event
            writer.write(form.to_message(run, event))
    if first is None:  # a run plan with no events cannot be made
        raise AssertionError(f"sub-run {subrun} of run {run.run} has no events")
    return paths, first
