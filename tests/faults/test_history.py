"""Histories that were cut short, corrupted, doubled, and written by many at once."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from night_states import add_try

from osa.layout import subrun_tag
from osa.nightstate import read_night_state
from osa.nightsummary.plan import plan_night
from osa.steps.history import HistoryRecord, append_record, failed_tries, read_history
from tests.faults.fault_night import FaultNight

LAST = "dl1_to_dl2"


@pytest.fixture
def done(fault_night: FaultNight) -> FaultNight:
    """The night with everything done."""
    fault_night.finish()
    return fault_night


def todo(night: FaultNight) -> set[tuple[int, int]]:
    states = read_night_state(night.layout, plan_night(night.layout), ())
    return {(state.sequence.run, task) for state in states for task in state.todo}


@pytest.mark.fault(
    5,
    injected="last line of a history cut at every byte",
    holds="G1 G4: its step is not taken as done, that of no other sub-run is touched",
)
def test_last_line_cut_at_every_byte(done: FaultNight) -> None:
    """Seen to fail: with parse_history of steps/history.py reading a last line without its end (it counted
    as done).
    """
    history = done.layout.history(1874, 0)
    whole = history.read_bytes()
    start = whole.rstrip(b"\n").rindex(b"\n") + 1
    assert todo(done) == set()
    for size in range(start, len(whole)):
        history.write_bytes(whole[:size])
        assert len(read_history(history)) == 2, size
        assert todo(done) == {(1874, 0)}, size


@pytest.mark.fault(
    5,
    injected="last line cut before the return code, within a word, before the line end",
    holds="G4: just this step is done again, and its new line is read",
)
@pytest.mark.parametrize("lost", [1, 2, 3, 60])
def test_step_of_a_cut_line_is_done_again(done: FaultNight, lost: int) -> None:
    """Seen to fail: without the line end before a new line in append_line of system/files.py (the torn
    line swallowed the new one, code 1).
    """
    history = done.layout.history(1874, 0)
    history.write_bytes(history.read_bytes()[:-lost])
    again = done.run("sequencer")
    assert again.returncode == 0, again.stderr
    assert done.attempts == Counter([f"{LAST} {subrun_tag(1874, 0)}"])
    assert read_history(history)[-1].program == "lstchain_dl1_to_dl2"
    assert todo(done) == set()


# ---------------------------------------------------------------------------------- corrupt lines


def zeros(line: bytes) -> bytes:
    return b"\0" * len(line)


def hole(line: bytes) -> bytes:
    return line[:30] + b"\0" * 20 + line[50:]


def not_text(line: bytes) -> bytes:
    return line[:20] + b"\xff\xfe\x80" + line[23:]


def two_in_one(line: bytes) -> bytes:
    return line[:40] + line


def no_such_day(line: bytes) -> bytes:
    return line.replace(b"Jan 28", b"Jan 32")


@pytest.mark.fault(
    6,
    injected="the last line of a history full of NUL, with a hole, with other bytes, mixed with another",
    holds="G3: no evidence of anything, its step is done again and no other",
)
@pytest.mark.parametrize("damage", [zeros, hole, not_text, two_in_one, no_such_day])
def test_damaged_line_is_no_evidence(done: FaultNight, damage: Callable[[bytes], bytes]) -> None:
    """Seen to fail: without _is_damaged in steps/history.py (the line with other bytes counted as done)."""
    history = done.layout.history(1874, 1)
    *lines, last = history.read_bytes().splitlines()
    history.write_bytes(b"\n".join([*lines, damage(last), b""]))
    assert len(read_history(history)) == 2
    assert todo(done) == {(1874, 1)}


@pytest.mark.fault(
    6,
    injected="every bit of the line of a failed try flipped, one at a time",
    holds="G3: never done without its product, never an error",
)
def test_every_flipped_bit_of_a_failure(done: FaultNight) -> None:
    """Seen to fail: without is_present in steps_done of steps/progress.py (a 1 that became a 0 counted as
    done without a product).
    """
    layout, history = done.layout, done.layout.history(1874, 1)
    *lines, _last = history.read_bytes().splitlines(keepends=True)
    history.write_bytes(b"".join(lines))
    add_try(layout, 1874, 1, "lstchain_dl1_to_dl2", 1)
    for path in layout.analysis_dir.glob("dl2_*Run01874.0001.h5"):
        path.unlink()
    whole = history.read_bytes()
    for place in range(len(b"".join(lines)), len(whole)):
        for bit in range(8):
            flipped = bytearray(whole)
            flipped[place] ^= 1 << bit
            history.write_bytes(flipped)
            assert len(read_history(history)) in (2, 3)
            assert todo(done) == {(1874, 1)}, (place, bit)


@pytest.mark.fault(
    6,
    injected="each line of the histories doubled",
    holds="G3 G7: what is done stays done, a failure counts once",
)
def test_doubled_lines(done: FaultNight) -> None:
    """Seen to fail: without the comparison with the line before in failed_tries of steps/history.py (one
    failure counted as two).
    """
    layout = done.layout
    add_try(layout, 1875, 0, "lstchain_dl1_to_dl2", 1)
    for history in layout.analysis_dir.glob("*.history"):
        lines = history.read_text("utf-8").splitlines(keepends=True)
        history.write_text("".join(line * 2 for line in lines), "utf-8")
    assert failed_tries(read_history(layout.history(1875, 0))) == 1
    assert todo(done) == {(1875, 0)}
    again = done.run("sequencer")
    assert again.returncode == 0, again.stderr
    assert done.attempts == Counter([f"{LAST} {subrun_tag(1875, 0)}"])


def append(path: Path, record: HistoryRecord, count: int) -> None:
    for _ in range(count):
        append_record(path, record)


@pytest.mark.fault(
    6,
    injected="four processes that append to one history after a torn line",
    holds="G3: every line is there and whole",
)
def test_many_append_at_once(done: FaultNight) -> None:
    """Seen to fail: without O_APPEND in append_line of system/files.py (one line of 203 was left)."""
    history = done.layout.history(1874, 0)
    record = read_history(history)[-1]
    with history.open("ab") as stream:
        stream.write(record.line.encode()[:40])
    fork = multiprocessing.get_context("fork")
    writers = [fork.Process(target=append, args=(history, record, 50)) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(read_history(history)) == 3 + 4 * 50
