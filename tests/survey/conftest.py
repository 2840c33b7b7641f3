"""Raw files of runs that are made up event by event: small, as nobody looks at their waveforms.

What writes them takes seconds to import: it is imported where it is needed.
"""

from __future__ import annotations

import random
import shutil
import struct
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from osa.survey.tagging import EventKind

__all__ = [
    "DRS4",
    "START",
    "copy_night",
    "cut_out_a_byte",
    "damage_tile",
    "event",
    "files_of",
    "looked",
    "made_night",
    "mixed",
    "write_night",
    "write_raw",
]

START = datetime(2020, 1, 27, 20, 44, 13, tzinfo=UTC)
PHYSICS, PEDESTAL, FLATFIELD = EventKind.PHYSICS, EventKind.PEDESTAL, EventKind.FLATFIELD
DRS4 = [PHYSICS] * 500
_STEP_NS = 100_000
_BYTES = (1,)
_WAVEFORM = (2, 1855, 40)

Spoil = Callable[[int, Any], None]


def mixed(**amounts: int) -> list[EventKind]:
    """Give so many events of each kind, in no order."""
    kinds = [EventKind[name.upper()] for name, count in amounts.items() for _ in range(count)]
    random.Random(1).shuffle(kinds)
    return kinds


def event(event_id: int, kind: EventKind, start: datetime = START, *, whole: bool = False) -> Any:
    """Make an event as the simulation has it.

    Parameters
    ----------
    event_id : int
        From 1 in the run.
    kind : EventKind
        What triggered.
    start : datetime.datetime
        Start of the run.
    whole : bool
        Whether it has waveforms of the right size, for those who look at them.
    """
    import numpy as np

    from osa.simulation.events import RawEvent, Trigger, tai_ns

    since_start = 1_000_000_000 + event_id * _STEP_NS
    return RawEvent(
        event_id=event_id,
        trigger=Trigger[kind.name],
        tai_ns=tai_ns(start) + since_start,
        since_start_ns=since_start,
        capacitors=np.zeros(2120, np.uint16),
        waveform=np.zeros(_WAVEFORM if whole else _BYTES, np.uint16),
    )


def write_raw(
    folder: Path,
    run: int,
    subrun: int,
    kinds: Sequence[EventKind],
    *,
    data_format: str = "EVBv5",
    streams: int = 1,
    first_id: int = 1,
    start: datetime = START,
    whole: bool = False,
    spoil: Spoil = lambda *_: None,
    spoil_table: Spoil = lambda *_: None,
) -> list[Path]:
    """Write the raw files of a sub-run.

    Parameters
    ----------
    spoil : callable
        Given the place of an event in the sub-run and its message, may change it.
    spoil_table : callable
        The same for the tables before the events.
    """
    from osa.simulation import evbv5, r1v1
    from osa.simulation.writer import SubrunWriter, raw_path

    form: Any = {"EVBv5": evbv5, "R1v1": r1v1}[data_format]
    plan: Any = SimpleNamespace(run=run, start=start)
    paths = [raw_path(folder, run, subrun, stream) for stream in range(1, streams + 1)]
    tables = form.tables_before_events(plan, _camera())
    for place, (_, message) in enumerate(tables):
        spoil_table(place, message)
    with SubrunWriter(paths, tables) as writer:
        for place, kind in enumerate(kinds):
            message = form.to_message(plan, event(first_id + place, kind, start, whole=whole))
            spoil(place, message)
            writer.write(message)
    return paths


@cache
def _camera() -> Any:
    from osa.simulation.camera import load_camera

    return load_camera(1)


# ---------------------------------------------------------------------------------- damage


def damage_tile(path: Path, tile: int) -> None:
    """Make a file of which the blocks before one can be read, and reading that one fails."""
    from astropy.io import fits

    with fits.open(path) as tables:
        events = tables["Events"]
        catalog, width = events.fileinfo()["datLoc"], events.header["NAXIS1"]
    content = bytearray(path.read_bytes())
    # The compressed size of its first column: more than there is memory for.
    content[catalog + tile * width : catalog + tile * width + 8] = struct.pack(">q", 2**62)
    path.write_bytes(content)


def cut_out_a_byte(path: Path) -> None:
    """Make a file whose reader looks for the next table for ever."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + content[len(content) // 2 + 1 :])


# ---------------------------------------------------------------------------------- a night

NIGHT: Mapping[int, Sequence[Sequence[EventKind]]] = {
    1872: [DRS4],
    1873: [mixed(pedestal=100, flatfield=100)],
    1874: [mixed(physics=170, pedestal=10, flatfield=20)] * 2,
    1875: [mixed(physics=80, pedestal=15, flatfield=5)],
}
"""Of the types DRS4, CALI, DATA, and one that is none."""


def start_of(run: int) -> datetime:
    return START + timedelta(minutes=10) * (run - 1872)


def write_night(folder: Path, runs: Mapping[int, Sequence[Sequence[EventKind]]] = NIGHT) -> None:
    """Write the raw files of runs, each of which starts ten minutes after the one before."""
    for run, subruns in runs.items():
        first_id = 1
        for subrun, kinds in enumerate(subruns):
            write_raw(folder, run, subrun, kinds, first_id=first_id, start=start_of(run))
            first_id += len(kinds)


@pytest.fixture(scope="session")
def made_night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The raw files of a night, to be copied."""
    folder = tmp_path_factory.mktemp("made") / "20200127"
    write_night(folder)
    return folder


def copy_night(made: Path, raw_dir: Path, *runs: int) -> None:
    """Copy the raw files of a night, or of some of its runs."""
    raw_dir.mkdir(parents=True, exist_ok=True)
    for path in sorted(made.iterdir()):
        if not runs or any(f".Run{run:05d}." in path.name for run in runs):
            shutil.copy2(path, raw_dir)


def files_of(folder: Path) -> dict[int, dict[int, list[Path]]]:
    """Find raw files by run and sub-run, one a stream."""
    found: dict[int, dict[int, list[Path]]] = {}
    for path in sorted(folder.iterdir()):
        _, _, run, subrun, *_ = path.name.split(".")
        found.setdefault(int(run.removeprefix("Run")), {}).setdefault(int(subrun), []).append(path)
    return found


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Runs that nightsummary looks into, each time; in this process, which has the imports behind it."""
    from osa.nightsummary import make
    from osa.survey.surveyor import survey_run

    times: list[list[int]] = []

    def look(runs: Mapping[int, Any], *, at_once: int, on_done: Callable[[int, int], None]) -> dict[int, Any]:
        times.append(sorted(runs))
        on_done(len(runs), len(runs))
        return {run: survey_run(run, files) for run, files in runs.items()}

    monkeypatch.setattr(make, "look_into_runs", look)
    return times


@pytest.fixture
def open_files() -> Callable[[], int]:
    """Count the raw files that this process has open."""

    def count() -> int:
        links = Path("/proc/self/fd").iterdir()
        return sum(1 for link in links if link.exists() and link.resolve().suffix == ".fz")

    return count
