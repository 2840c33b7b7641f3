"""Night summaries that are broken, growing or doubled, and sub-runs that are missing."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from osa.errors import InputError
from osa.layout import DL1
from osa.nightsummary.nightsummary import parse_night_summary
from tests.faults.fault_night import DATA, SUMMARY, FaultNight, listing

ROWS = SUMMARY.splitlines(keepends=True)

READ: dict[str, bytes] = {
    "byte order mark": b"\xef\xbb\xbf" + SUMMARY.encode(),
    "CRLF": SUMMARY.replace("\n", "\r\n").encode(),
    "no last line end": SUMMARY.rstrip("\n").encode(),
    "blank lines and comments": f"# made by hand\n\n{SUMMARY}\n   \n".encode(),
}
REFUSED: dict[str, tuple[bytes, str]] = {
    "short row": (SUMMARY.replace(" 0003 1580157904186709543", "").encode(), ":3: column 10"),
    "long row": (SUMMARY.replace("DATA", "DATA more").encode(), ":3: column 12"),
    "half a row": ("".join(ROWS)[:-60].encode(), ":4: column"),
    "UTF-16": (SUMMARY.encode("utf-16"), ":1: column"),
    "NUL": (b"\0" * 300, ":1: column"),
    "other bytes": (SUMMARY.replace("DATA", "DÄTA").encode("latin-1"), ":3: column 3"),
    "no table": (b"<html>not found</html>\n", ":1: column"),
    "run doubled with other sub-runs": ((SUMMARY + ROWS[2].replace(" 2 DATA", " 3 DATA")).encode(), ":5: "),
    "run number too large": (SUMMARY.replace("01874", "9" * 30).encode(), ":3: column 1"),
    "letter for a digit": (SUMMARY.replace("01874 ", "O1874 ").encode(), ":3: column 1"),
    "one line of a megabyte": (SUMMARY.encode() + b"x" * (1 << 20), ":5: column 2"),
}


def shown(night: FaultNight) -> list[tuple[str, list[int]]]:
    """Run and tasks to do of each sequence, as the sequencer tells them."""
    done = night.run("sequencer", "-s", "--json")
    assert done.returncode == 0, done.stderr
    return [(row["Run"], row["Todo"]) for row in json.loads(done.stdout)["sequences"]]


@pytest.mark.fault(
    22,
    injected="night summary with BOM, CRLF, comments, without last line end",
    holds="G6: read as the same night",
)
def test_odd_summary_is_read(fault_night: FaultNight) -> None:
    """Seen to fail: without removeprefix in nightsummary/nightsummary.py (the byte order mark was a fault
    of the first row).
    """
    before = shown(fault_night)
    assert len(before) == 3
    for name, data in READ.items():
        fault_night.layout.night_summary.write_bytes(data)
        assert shown(fault_night) == before, name


@pytest.mark.fault(
    22,
    injected="night summary with short and long rows, other encodings, NUL, a run doubled, a megabyte line",
    holds="G6: code 2, file, line and column are named, nothing is submitted",
)
@pytest.mark.parametrize("name", REFUSED)
def test_broken_summary_is_refused(fault_night: FaultNight, name: str) -> None:
    """Seen to fail: with the faults not raised in nightsummary/nightsummary.py (the table of the other
    runs, not code 2).
    """
    data, words = REFUSED[name]
    path = fault_night.layout.night_summary
    path.write_bytes(data)
    before = listing(fault_night.base)
    done = fault_night.run("sequencer")
    assert done.returncode == 2, done.stdout + done.stderr
    assert f"{path}{words}" in done.stderr
    assert len(done.stderr) < 5000
    assert done.stderr.replace("\n", "").isprintable()
    assert listing(fault_night.base) == before


@pytest.mark.fault(
    22,
    injected="a night summary that is empty, cut at every byte of its last row, and then whole",
    holds="G3 G6: a fault, or the rows that are whole; never another run",
)
def test_growing_summary(fault_night: FaultNight) -> None:
    """Seen to fail: with no step ever taken as done in steps/progress.py (the second sequencer did the
    first runs again, code 1).
    """
    path = Path("NightSummary_20200127.txt")
    runs = parse_night_summary(SUMMARY, path)
    known = [(entry.run, entry.n_subruns, entry.label, entry.start) for entry in runs]
    for size in range(len("".join(ROWS[:3])), len(SUMMARY)):
        try:
            read = parse_night_summary(SUMMARY[:size], path)
        except InputError:
            continue
        found = [(entry.run, entry.n_subruns, entry.label, entry.start) for entry in read]
        assert found in (known[:3], known), size

    layout = fault_night.layout
    layout.night_summary.write_text("")
    empty = fault_night.run("sequencer")
    assert (empty.returncode, fault_night.attempts) == (0, Counter())
    layout.night_summary.write_text("".join(ROWS[:3]))
    assert fault_night.run("sequencer").returncode == 0
    assert fault_night.attempts == Counter(fault_night.steps((1874, 0), (1874, 1)))
    layout.night_summary.write_text(SUMMARY)
    assert fault_night.run("sequencer").returncode == 0
    fault_night.assert_done_once()


# ------------------------------------------------------------------------- doubled and missing


@pytest.mark.fault(
    26,
    injected="every row of the night summary twice",
    holds="G2: one sequence a run, each step begun once",
)
def test_doubled_rows(fault_night: FaultNight) -> None:
    """Seen to fail: with rows told apart by their line in nightsummary/nightsummary.py (each run had two
    sequences).
    """
    fault_night.layout.night_summary.write_text("".join(row * 2 for row in ROWS))
    assert [run for run, _ in shown(fault_night)] == ["01873", "01874", "01875"]
    assert fault_night.run("sequencer").returncode == 0
    fault_night.assert_done_once()


@pytest.mark.fault(
    26,
    injected="a run with a gap in its sub-runs, and one with none of them",
    holds="G8: the gap is named, the rest is done once, the closer refuses",
)
def test_missing_subruns(fault_night: FaultNight) -> None:
    """Seen to fail: with the promised sub-runs taken for those that are there in nightsummary/extract.py
    (four tasks, the gap was not named); without absent_subruns in closing/judge.py (the run was
    complete).
    """
    layout = fault_night.layout
    layout.night_summary.write_text("".join(ROWS).replace("01874    2 DATA", "01874    4 DATA"))
    layout.raw_file(1874, 1).rename(layout.raw_file(1874, 3))
    layout.raw_file(1875, 0).unlink()
    done = fault_night.run("sequencer")
    assert "LST1_01874: no raw files of sub-runs 1-2" in done.stderr
    assert "LST1_01875: no raw files" in done.stderr
    assert fault_night.attempts == Counter(fault_night.steps((1874, 0), (1874, 3)))
    assert not layout.working(DL1, 1874, 1).exists()

    closing = fault_night.run("closer", "-y")
    assert closing.returncode == 1
    assert "LST1_01874: NOT complete\n  no raw files of sub-runs 1-2" in closing.stdout
    assert "LST1_01875: NOT complete" in closing.stdout
    assert not layout.night_finished.exists()
    assert set(DATA) == {1874, 1875}
