"""Provenance that cannot be written: the data is none the worse, and the closer says what is missing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from osa.layout import DL1, DL2, Layout
from osa.provenance.sources import records_of_run
from osa.records.model import Status
from osa.system.files import sha256
from tests.faults.fault_night import SUBRUNS, FaultNight, Order, wait_for_end

INDEX_IMPATIENT: Order = {"target": "osa.database.engine:BUSY_SECONDS", "action": "set", "value": 0.5}
GRAPHS_YES = {("PROVENANCE", "graphs"): "yes"}


def products(layout: Layout) -> dict[str, str]:
    """Hashes of the products in their final places."""
    paths = [layout.final(kind, *which) for kind in (DL1, DL2) for which in SUBRUNS]
    return {path.name: sha256(path) for path in paths}


@pytest.fixture
def ready(night_with) -> Iterator[tuple[FaultNight, dict[str, str]]]:
    """A night that only needs to be closed, with graphs, and what its products are."""
    night = night_with(GRAPHS_YES)
    night.finish()
    paths = [night.layout.working(kind, *which) for kind in (DL1, DL2) for which in SUBRUNS]
    yield night, {path.name: sha256(path) for path in paths}


@pytest.mark.fault(
    29,
    injected="dot killed, failing, or not there, while the closer draws the graphs",
    holds="G5 G8: all data is in its final place, the night is not closed, the next closer closes it",
)
@pytest.mark.parametrize(
    ("dot", "said"),
    [("kill -9 $$", "dot ended with signal 9"), ("echo bad >&2; exit 3", "exit code 3: bad"), (None, "dot")],
)
def test_graphs_cannot_be_drawn(
    ready: tuple[FaultNight, dict[str, str]], tmp_path: Path, dot: str | None, said: str
) -> None:
    """Seen to fail: with what write_documents of provenance/publish.py finds passed over (the night was
    closed without its graphs).
    """
    night, before = ready
    programs = tmp_path / "programs"
    programs.mkdir()
    if dot is not None:
        (programs / "dot").write_text(f"#!/bin/sh\n{dot}\n")
        (programs / "dot").chmod(0o755)
    done = night.run("closer", "-y", environment={"PATH": str(programs)})
    assert done.returncode == 1
    assert "the provenance is not complete" in done.stderr and said in done.stderr
    assert not night.layout.night_finished.exists()
    assert products(night.layout) == before
    again = night.run("closer", "-y")
    assert again.returncode == 0, again.stderr
    assert night.layout.night_finished.exists()
    assert products(night.layout) == before


@pytest.mark.fault(
    29,
    injected="the index of provenance locked or damaged while the closer writes to it",
    holds="G5 G8: all data is in its final place, the night is not closed, the next closer closes it",
)
@pytest.mark.parametrize("how", ["locked", "damaged"])
def test_index_cannot_be_written(ready: tuple[FaultNight, dict[str, str]], how: str) -> None:
    """Seen to fail: with index_provenance of closing/provenance.py giving nothing back (the night was closed,
    and not in the index).
    """
    night, before = ready
    index = night.layout.settings.provenance.database
    index.parent.mkdir(parents=True, exist_ok=True)
    if how == "damaged":
        index.write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
        code, said = night.run_tampered("closer", "-y", orders=[INDEX_IMPATIENT])
        index.unlink()
    else:
        with closing(sqlite3.connect(index, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            code, said = night.run_tampered("closer", "-y", orders=[INDEX_IMPATIENT])
    assert code == 1, said
    assert "the index was not brought up to date" in said and str(index) in said
    assert not night.layout.night_finished.exists()
    assert products(night.layout) == before
    assert night.run("closer", "-y").returncode == 0
    with closing(sqlite3.connect(index)) as reader:
        (count,) = reader.execute("SELECT count(*) FROM tries").fetchone()
    assert count >= 3 * len(SUBRUNS)


@pytest.mark.fault(
    29,
    injected="the folder of records cannot be written while tasks run",
    holds="the data is made all the same; the closer names what has no record, and -f closes",
)
def test_records_cannot_be_written(fault_night: FaultNight) -> None:
    """Seen to fail: with Recorder.guarded letting the error through (the tasks failed), and with _unrecorded
    of closing/provenance.py telling nothing (the night was closed).
    """
    layout = fault_night.layout
    kept = layout.records_dir.rename(layout.records_dir.with_name("kept"))
    layout.records_dir.write_text("no folder")
    assert fault_night.run("sequencer").returncode == 0
    assert all(fault_night.products().values())
    layout.records_dir.unlink()
    kept.rename(layout.records_dir)
    done = fault_night.run("closer", "-y")
    assert done.returncode == 1
    assert "nothing is recorded of how dl1_LST-1.Run01874.0000.h5" in done.stderr
    assert not layout.night_finished.exists()
    assert fault_night.run("closer", "-y", "-f").returncode == 0
    text = layout.night_finished.read_text("utf-8")
    assert "Closed although the provenance is not complete" in text
    assert "No provenance of r0_to_dl1" in text


@pytest.mark.fault(
    29,
    injected="EIO from the flush of the record of a move",
    holds="the night is closed, the record is there all the same",
)
def test_record_of_a_move_cannot_be_flushed(ready: tuple[FaultNight, dict[str, str]]) -> None:
    """Seen to fail: with Recorder.guarded letting the error through (nothing was moved), and with the
    beginning not written once more at the end (the moves had no record, and the closer said so).
    """
    night, before = ready
    order = {"target": "os:fsync", "action": "fail", "error": "EIO", "nth": 1}
    code, said = night.run_tampered("closer", "-y", orders=[order])
    assert code == 0, said
    assert "no provenance of move of LST1_01874: Input/output error" in said
    assert products(night.layout) == before
    moves = [record for record in records_of_run(night.layout, 1874) if record.step == "move"]
    assert [record.status for record in moves] == [Status.DONE]


@pytest.mark.fault(
    29,
    injected="a task killed with SIGKILL in the middle of a step",
    holds="G4: both tries are recorded, the first without an end",
)
def test_killed_try_is_recorded(fault_night: FaultNight) -> None:
    """Seen to fail: with nothing written before a step is run, in begin of records/recorder.py (there was no
    trace of the first try).
    """
    what = fault_night.hold("r0_to_dl1", 1874, 0, 0.5)
    sequencer = fault_night.start("sequencer")
    task = fault_night.wait_for_held(what)
    task.kill()
    wait_for_end(task)
    sequencer.communicate(timeout=60)
    assert fault_night.run("sequencer").returncode == 0
    tries = [r for r in records_of_run(fault_night.layout, 1874) if r.subrun == 0 and r.step == "r0_to_dl1"]
    assert [record.status for record in tries] == [Status.UNFINISHED, Status.DONE]
    assert tries[0].outputs == () and len(tries[0].inputs) == len(tries[1].inputs) > 5
    assert fault_night.run("closer", "-y").returncode == 0
    assert fault_night.layout.night_finished.exists()
