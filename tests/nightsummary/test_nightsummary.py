"""The night summary: what is read, what is refused, and how faults are told."""

from __future__ import annotations

import string
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osa.errors import InputError
from osa.model.run import RunEntry, RunType, TimeReference
from osa.nightsummary.nightsummary import (
    format_night_summary,
    parse_night_summary,
    read_night_summary,
)

NIGHT = """\
01872    5 DRS4  2020-01-27 19:51:44 0001 1580154753739954334 5739954100 0001 1580154753739954334 5739951300
01873    5 CALI  2020-01-27 20:23:43 0001 1580156670887160057 1887159800 0001 1580156670887160057 1887158800
01874  194 DATA  2020-01-27 20:44:13 0003 1580157904186709543 5186709300 0003 1580157904186709543 5186708700
01875  209 DATA  2020-01-27 21:05:44 0003 1580159197411578464 7411578200 nan nan nan
"""
ROWS = NIGHT.splitlines()
PATH = Path("/night/NightSummary_20200127.txt")


def fault_lines(text: str) -> list[str]:
    """The faults of a text, without the heading."""
    with pytest.raises(InputError) as caught:
        parse_night_summary(text, PATH)
    heading, *faults = str(caught.value).split("\n  ")
    assert heading == f"night summary {PATH} has {len(faults)} fault(s):"
    return faults


def test_reads_all_columns() -> None:
    runs = parse_night_summary(NIGHT, PATH)
    assert [entry.run for entry in runs] == [1872, 1873, 1874, 1875]
    assert [entry.type for entry in runs] == [
        RunType.DRS4,
        RunType.CALIBRATION,
        RunType.DATA,
        RunType.DATA,
    ]
    assert runs[3] == RunEntry(
        1875,
        209,
        "DATA",
        datetime(2020, 1, 27, 21, 5, 44, tzinfo=UTC),
        TimeReference(3, 1580159197411578464, 7411578200),
        TimeReference(),
    )


def test_writes_what_it_read() -> None:
    assert format_night_summary(parse_night_summary(NIGHT, PATH)) == NIGHT


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(NIGHT.replace("\n", "\r\n"), id="CRLF"),
        pytest.param("\ufeff" + NIGHT, id="byte order mark"),
        pytest.param(NIGHT.replace("\n", "  \t \n"), id="trailing blanks"),
        pytest.param(NIGHT.replace("  ", "\t"), id="tabs"),
        pytest.param("# a comment\n\n   \n" + NIGHT + "\n  # more\n", id="comments and empty lines"),
        pytest.param(NIGHT.replace("nan\n", "nan # TIB was off\n"), id="comment behind a row"),
        pytest.param(NIGHT.removesuffix("\n"), id="no last line end"),
        pytest.param(NIGHT.replace("nan", "NaN"), id="NaN"),
        pytest.param(NIGHT + ROWS[2] + "\n", id="a row twice"),
        pytest.param("  " + NIGHT, id="leading blanks"),
    ],
)
def test_tolerates(text: str) -> None:
    assert parse_night_summary(text, PATH) == parse_night_summary(NIGHT, PATH)


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing yet\n", "\ufeff", "\r\n"])
def test_a_night_without_runs(text: str) -> None:
    assert parse_night_summary(text, PATH) == ()


def test_unknown_type_is_listed_and_not_processed() -> None:
    (entry,) = parse_night_summary(ROWS[2].replace("DATA ", "EDATA"), PATH)
    assert (entry.label, entry.type) == ("EDATA", RunType.UNPROCESSED)


def test_references_of_r1v1_files_are_kept() -> None:
    (entry,) = parse_night_summary("00001 1 DATA 2024-01-01 00:00:00 -1 -1 -1 nan nan nan", PATH)
    assert entry.dragon == TimeReference(-1, -1, -1)


@pytest.mark.parametrize(
    ("column", "text", "name", "expected"),
    [
        (0, "abc", "run", "a run number such as 01874"),
        (0, "0", "run", "a run number"),
        (0, "-1874", "run", "a run number"),
        (0, "1874.0", "run", "a run number"),
        (0, "9" * 5000, "run", "a run number"),
        (0, "\u0661\u0662", "run", "a run number"),
        (0, "../1", "run", "a run number"),
        (1, "five", "subruns", "a number of sub-runs from 0 to 10000"),
        (1, "-3", "subruns", "a number of sub-runs"),
        (1, "nan", "subruns", "a number of sub-runs"),
        (1, "999999999", "subruns", "a number of sub-runs"),
        (2, "$(touch", "type", "a type such as DATA"),
        (2, "../DATA", "type", "a type such as DATA"),
        (2, "-o", "type", "a type such as DATA"),
        (2, "data", "type", "a type such as DATA"),
        (2, "DATA;ls", "type", "a type such as DATA"),
        (2, "DA\0TA", "type", "a type such as DATA"),
        (2, "DA\x1b[2J", "type", "a type such as DATA"),
        (2, "DÄTA", "type", "a type such as DATA"),
        (2, "D\u2028ATA", "type", "a type such as DATA"),
        (2, "D\x85ATA", "type", "a type such as DATA"),
        (2, "A" * 33, "type", "a type such as DATA"),
        (3, "2020-02-30", "start date", "a day of the calendar"),
        (3, "27/01/2020", "start date", "a day of the calendar"),
        (3, "2020-1-27", "start date", "a day of the calendar"),
        (3, "0000-00-00", "start date", "a day of the calendar"),
        (4, "24:00:00", "start time", "a time in UTC"),
        (4, "20:44", "start time", "a time in UTC"),
        (5, "x", "Dragon reference module", "a whole number, or nan"),
        (6, "1.5e18", "ucts_t0_dragon", "a whole number, or nan"),
        (7, "inf", "dragon_counter0", "a whole number, or nan"),
        (8, "0x03", "TIB reference module", "a whole number, or nan"),
        (9, "None", "ucts_t0_tib", "a whole number, or nan"),
        (10, "1" * 21, "tib_counter0", "a whole number, or nan"),
    ],
)
def test_names_file_line_and_column(column: int, text: str, name: str, expected: str) -> None:
    columns = ROWS[2].split()
    columns[column] = text
    (fault,) = fault_lines("\n".join([*ROWS[:2], " ".join(columns)]))
    assert fault.startswith(f"{PATH}:3: column {column + 1} ({name}): ")
    assert f"; expected {expected}" in fault
    assert fault.isprintable()
    assert len(fault) < 300


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("01874", "column 2 (subruns) is missing: the row has 1 columns; expected 11"),
        (ROWS[2].rsplit(None, 1)[0], "column 11 (tib_counter0) is missing: the row has 10 columns"),
        (ROWS[2] + " $(touch x) y", "column 12 ('$(touch') is one too many: the row has 14 columns"),
        ("\0" * 100, "column 2 (subruns) is missing"),
    ],
)
def test_wrong_number_of_columns(row: str, expected: str) -> None:
    (fault,) = fault_lines(row)
    assert fault.startswith(f"{PATH}:1: {expected}")


def test_all_faults_in_one_message() -> None:
    bad = ROWS[2].replace("194", "x").replace("DATA", "data").replace("20:44:13", "nan")
    faults = fault_lines("\n".join([ROWS[0], bad, "rubbish", ROWS[3].replace("01875", "-")]))
    assert [fault.split(" (")[0] for fault in faults] == [
        f"{PATH}:2: column 2",
        f"{PATH}:2: column 3",
        f"{PATH}:2: column 5",
        f"{PATH}:3: column 2",
        f"{PATH}:4: column 1",
    ]


def test_two_different_rows_of_one_run() -> None:
    (fault,) = fault_lines(NIGHT + ROWS[2].replace("194", "195"))
    assert fault.startswith(f"{PATH}:5: column 1 (run): run 01874 is in line 3 already and differs")


def test_missing_file_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "NightSummary_20200127.txt"
    with pytest.raises(InputError, match="there is no night summary") as caught:
        read_night_summary(path)
    assert str(path) in str(caught.value)
    assert "night_summary_dir" in str(caught.value)


def test_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read_night_summary(tmp_path)


def test_reads_bytes_as_they_come(tmp_path: Path) -> None:
    path = tmp_path / "night.txt"
    path.write_bytes(b"\xef\xbb\xbf" + NIGHT.encode().replace(b"\n", b"\r\n"))
    assert read_night_summary(path) == parse_night_summary(NIGHT, path)
    path.write_bytes(NIGHT.encode().replace(b"DRS4", b"DR\xff4"))
    with pytest.raises(InputError, match="column 3"):
        read_night_summary(path)


references = st.builds(
    TimeReference,
    *([st.none() | st.integers(-1, 9999)] + [st.none() | st.integers(-1, 2**63)] * 2),
)
entries = st.builds(
    RunEntry,
    run=st.integers(1, 999_999),
    n_subruns=st.integers(0, 10_000),
    label=st.text(string.ascii_uppercase + string.digits + "_", min_size=1, max_size=12),
    start=st.datetimes(timezones=st.just(UTC)).map(lambda moment: moment.replace(microsecond=0)),
    dragon=references,
    tib=references,
)


@given(st.lists(entries, unique_by=lambda entry: entry.run).map(tuple))
def test_round_trip(runs: tuple[RunEntry, ...]) -> None:
    assert parse_night_summary(format_night_summary(runs), PATH) == runs


@st.composite
def damaged_nights(draw: st.DrawFn) -> str:
    text = NIGHT
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(text)))
        removed = draw(st.integers(0, 60))
        text = text[:place] + draw(st.text(max_size=4)) + text[place + removed :]
    return text


@given(st.text() | damaged_nights())
def test_never_fails_but_with_input_error(text: str) -> None:
    try:
        runs = parse_night_summary(text, PATH)
    except InputError as error:
        assert all(line.isprintable() for line in str(error).split("\n"))
    else:
        assert len({entry.run for entry in runs}) == len(runs)
