"""The drive log is read only where it is needed, in both its formats."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osa.nightsummary.drive import DriveRow, parse_row, read_drive_log

START = 1_580_150_000
OLD = "Mon Jan 27 20:44:13 2020 {time} 1 {azimuth} 100.1 100.3 0.1 2 {zenith} 30.1 30.3 0.1\n"


def write_log(path: Path, n_rows: int, template: str = "{time} {azimuth} {zenith}\n") -> Path:
    rows = (template.format(time=START + 2 * n, azimuth=n / 100, zenith=n / 200) for n in range(n_rows))
    path.write_text("".join(rows), encoding="ascii")
    return path


@pytest.mark.parametrize(
    ("line", "row"),
    [
        (b"1580150000 100.5 30.25\n", DriveRow(1580150000, 100.5, 30.25)),
        (b"  1580150000.5\t-0.004   95.003 \r\n", DriveRow(1580150000.5, -0.004, 95.003)),
        (OLD.format(time=5, azimuth=6, zenith=7).encode(), DriveRow(5, 6, 7)),
        (b"", None),
        (b"\n", None),
        (b"1580150000 100.5\n", None),
        (b"1580150000 100.5 30 40\n", None),
        (b"1580150000 nan 30\n", None),
        (b"inf 1 30\n", None),
        (b"\0\0\0 \0 \0\n", None),
        (b"$(touch x) 1 2\n", None),
        (b"\xff 1 2\n", None),
    ],
)
def test_parse_row(line: bytes, row: DriveRow | None) -> None:
    assert parse_row(line) == row


@pytest.mark.parametrize("template", ["{time} {azimuth} {zenith}\n", OLD])
@pytest.mark.parametrize("n_rows", [0, 1, 7, 1000, 5000])
def test_finds_the_rows_of_a_time(tmp_path: Path, template: str, n_rows: int) -> None:
    path = write_log(tmp_path / "log.txt", n_rows, template)
    stretches = [(START + t, START + t + 60) for t in (-100, -30, 0, 1, 50, 999, 1990, 2000, 9990, 20000)]
    reading = read_drive_log(path, stretches)
    times = [START + 2 * n for n in range(n_rows)]
    for (first, last), rows in zip(stretches, reading.rows, strict=True):
        assert [row.unix_time for row in rows] == [t for t in times if first <= t <= last]


def test_reads_little_of_a_long_log(tmp_path: Path) -> None:
    path = write_log(tmp_path / "log.txt", 100_000)
    stretches = [(START + 1000.0 * n, START + 1000.0 * n + 120) for n in range(200)]
    reading = read_drive_log(path, stretches)
    assert all(len(rows) == 61 for rows in reading.rows[:-1])
    assert reading.lines_read < 200 * 300 < 100_000


def test_skips_and_counts_damaged_lines(tmp_path: Path) -> None:
    path = write_log(tmp_path / "log.txt", 2000)
    lines = path.read_bytes().split(b"\n")
    lines[5] = b"\0" * 40
    lines[7] = b"cut 1"
    path.write_bytes(b"\n".join(lines))
    reading = read_drive_log(path, [(START, START + 30)])
    assert [row.unix_time for row in reading.rows[0]] == [START + 2 * n for n in range(16) if n not in {5, 7}]
    assert reading.lines_skipped == 2


@pytest.mark.parametrize("name", ["none.txt", "."])
def test_missing_log_gives_nothing(tmp_path: Path, name: str) -> None:
    assert read_drive_log(tmp_path / name, [(0, 1), (2, 3)]).rows == ((), ())


def test_rubbish_comes_to_an_end(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_bytes(b"\0" * 3_000_000)
    assert read_drive_log(path, [(0, 1)]).rows == ((),)
    path.write_bytes(b"x\n" * 1_000_000)
    assert read_drive_log(path, [(0, 1)]).rows == ((),)


@given(st.binary(max_size=300))
def test_any_line_can_be_looked_at(line: bytes) -> None:
    parse_row(line)
