"""The note that says whose calibration serves."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osa.errors import InputError
from osa.model.night import Night
from osa.model.sequence import BorrowedCalibration
from osa.nightsummary.borrowed import read_borrowed, write_borrowed

RUNS = st.integers(1, 999_999)


@given(st.dates(date(2018, 1, 1), date(2050, 1, 1)), RUNS, RUNS)
def test_what_is_written_can_be_read(
    tmp_path_factory: pytest.TempPathFactory, day: date, drs4_run: int, run: int
) -> None:
    path = tmp_path_factory.mktemp("notes") / "deep" / "calibration.borrowed"
    borrowed = BorrowedCalibration(Night(day), drs4_run, run)
    write_borrowed(path, borrowed)
    assert read_borrowed(path) == borrowed


def test_without_a_note_it_is_the_nights_own(tmp_path: Path) -> None:
    assert read_borrowed(tmp_path / "calibration.borrowed") is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"7",
        b"\xff",
        b'{"night": "20200125", "drs4_run": 1}',
        b'{"night": "20200230", "drs4_run": 1, "calibration_run": 2}',
        b'{"night": "../../x", "drs4_run": 1, "calibration_run": 2}',
        b'{"night": "20200125", "drs4_run": "x", "calibration_run": 2}',
        b'{"night": "20200125", "drs4_run": null, "calibration_run": 2}',
    ],
)
def test_note_that_does_not_tell_is_a_fault_with_its_path(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "calibration.borrowed"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"{path} does not tell whose calibration serves"):
        read_borrowed(path)


def test_note_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not tell"):
        read_borrowed(tmp_path)
