from __future__ import annotations

import multiprocessing
import os
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osa.steps.history import (
    HistoryRecord,
    append_record,
    failed_tries,
    parse_history,
    read_history,
)

CLOCK = datetime(2021, 3, 25, 12, 53, 40, tzinfo=UTC)
DATE = "Thu Mar 25 12:53:40 UTC 2021"


def record(code=0, *, program="lstchain_data_r0_to_dl1", prod_id="v1", input="raw", seconds=0, card="card"):
    return HistoryRecord.now(
        1874,
        3,
        program=program,
        prod_id=prod_id,
        input=input,
        card=card,
        return_code=code,
        clock=CLOCK + timedelta(seconds=seconds),
    )


def text_of(*records):
    return "".join(one.line + "\n" for one in records)


def test_the_line_is_as_it_always_was():
    assert record().line == f"01874.0003 lstchain_data_r0_to_dl1 v1 {DATE} raw card 0"


def test_a_calibration_has_no_subrun():
    line = f"01873 drs4_pedestal v1 {DATE} raw card 0"
    (found,) = parse_history(line + "\n")
    assert (found.run, found.subrun, found.return_code) == (1873, None, 0)
    assert found.line == line


@pytest.mark.parametrize(
    ("date", "when"),
    [
        (DATE, CLOCK),
        ("Thu Mar  4 02:03:04 UTC 2021", datetime(2021, 3, 4, 2, 3, 4, tzinfo=UTC)),
        ("Thu Mar 4 02:03:04 UTC 2021", datetime(2021, 3, 4, 2, 3, 4, tzinfo=UTC)),
        ("2021-12-19 22:11", datetime(2021, 12, 19, 22, 11, tzinfo=UTC)),
    ],
)
def test_both_forms_of_the_date(date, when):
    (found,) = parse_history(f"01874.0003 program v1 {date} raw card -9\n")
    assert found.when == when
    assert found.return_code == -9


def test_a_date_that_is_none_is_told():
    with pytest.raises(ValueError, match="no date"):
        _ = HistoryRecord(1, None, "p", "v", "Thu Feb 30 12:00:00 UTC 2021", "i", "c", 0).when


def test_the_time_is_written_in_utc():
    clock = CLOCK.astimezone(timezone(timedelta(hours=9)))
    record = HistoryRecord.now(
        1, None, program="p", prod_id="v", input="i", card="c", return_code=0, clock=clock
    )
    assert record.date == DATE


@pytest.mark.parametrize(
    ("name", "word"),
    [("with blanks.json", "with_blanks.json"), ("", "-"), ("a\nb 0", "a_b_0"), (" ", "-")],
)
def test_a_name_is_one_word(name, word):
    line = record(input=name, card=name).line
    (found,) = parse_history(line + "\n")
    assert (found.input, found.card) == (word, word)


@given(
    run=st.integers(1, 10**7),
    subrun=st.none() | st.integers(0, 9999),
    code=st.integers(-64, 255),
    name=st.text(st.characters(codec="ascii", exclude_categories=["Z", "C"]), min_size=1),
    when=st.datetimes(datetime(2000, 1, 1), timezones=st.just(UTC)),
)
def test_what_is_written_is_read(run, subrun, code, name, when):
    written = HistoryRecord.now(
        run, subrun, program=name, prod_id=name, input=name, card=name, return_code=code, clock=when
    )
    (found,) = parse_history(written.line + "\n")
    assert found == written
    assert found.when == when.replace(microsecond=0)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "01874.0003",
        f"01874.0003 program v1 {DATE} raw card",
        f"01874.0003 program v1 {DATE} raw card x",
        f"01874.0003 program v1 {DATE} raw card 0 0",
        f"01874.0003 program {DATE} raw card 0",
        f"01874.003 program v1 {DATE} raw card 0",
        f"1874 program v1 {DATE} raw card 0",
        "01874.0003 program v1 yesterday raw card 0",
        "01874.0003 program v1 Thu Feb 30 12:53:40 UTC 2021 raw card 0",
        "01874.0003 program v1 2021-13-19 22:11 raw card 0",
        "01874.0003 program v1 Xxx Yyy 25 12:53:40 UTC 2021 raw card 0",
        f"01874.0003 program v1 {DATE} raw card \u0660",
        f"01874.0003 prog\0ram v1 {DATE} raw card 0",
        f"01874.0003 program v1 {DATE} r\0w card 0",
        f"\0\0\0 program v1 {DATE} raw card 0",
        f"01874.0003 program v1 {DATE} raw card 0\0\0\0",
        f"01874.0003 program v1 {DATE} r\ufffdw card 0",
        f"01874.0003 program v1 {DATE} r\x1bw card 0",
        f"01874.0003 program v1 {DATE} r\tw card 0",
        f"01874.0003 program v1 {DATE} r\xa0w card 0",
    ],
)
def test_a_line_that_cannot_be_read_is_no_evidence(line):
    good = record(seconds=9)
    assert parse_history(line + "\n" + good.line + "\n") == (good,)


def test_line_ends_of_other_systems(tmp_path):
    assert parse_history(record().line + "\r\n") == (record(),)
    path = tmp_path / "history"
    for end in (b"\n", b"\r\n", b"\r"):
        path.write_bytes(record().line.encode() + end + record(1).line.encode() + end)
        assert read_history(path) == (record(), record(1))


@given(
    weekday=st.sampled_from(["Mon", "Sun", "Xyz", "Mar"]),
    month=st.sampled_from(["Jan", "Feb", "Dec", "Abc", "Sun"]),
    year=st.sampled_from(["0000", "1900", "2020", "2021"]),
    numbers=st.lists(st.integers(0, 65), min_size=5, max_size=5),
)
def test_a_line_counts_only_where_its_date_is_one(weekday, month, year, numbers):
    of_month, day, hour, minute, second = numbers
    dates = [
        f"{weekday} {month} {day:2d} {hour:02d}:{minute:02d}:{second:02d} UTC {year}",
        f"{year}-{of_month:02d}-{day:02d} {hour:02d}:{minute:02d}",
    ]
    for date in dates:
        expected = HistoryRecord(1874, None, "program", "v1", date, "raw", "card", 0)
        found = parse_history(f"01874 program v1 {date} raw card 0\n")
        try:
            _ = expected.when
        except ValueError:
            assert found == ()
        else:
            assert found == (expected,)


@pytest.mark.parametrize("code", [0, 1, 10, 100, -9])
def test_a_cut_at_any_byte_of_the_last_line_makes_no_success(tmp_path, code):
    before, last = record(1), record(code, program="lstchain_dl1_to_dl2", seconds=60)
    whole = text_of(before, last).encode()
    start = len(text_of(before).encode())
    path = tmp_path / "history"
    for end in range(start, len(whole)):
        path.write_bytes(whole[:end])
        assert read_history(path) == (before,), whole[:end]


@pytest.mark.parametrize("code", [0, 1, 10, 100, -9])
@pytest.mark.parametrize("card", ["card", "0", "2021-12-19"])
def test_nor_does_it_when_the_next_line_is_added(tmp_path, code, card):
    """The torn line is then ended by a line end: it may count only where it was whole."""
    last = record(code, card=card, input="0")
    following = record(2, program="lstchain_dl1_to_dl2", seconds=60)
    whole = text_of(last).encode()
    path = tmp_path / "history"
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        append_record(path, following)
        *torn, added = read_history(path)
        assert added == following
        successes = [found for found in torn if found.return_code == 0]
        assert not successes or (successes == [last] and end == len(whole) - 1)


@given(st.data())
def test_one_damaged_bit_spoils_one_record_at_most(data):
    originals = (record(1), record(7, seconds=5), record(3, seconds=9))
    good = text_of(*originals).encode()
    position = data.draw(st.integers(0, len(good) - 1))
    damaged = bytearray(good)
    damaged[position] ^= 1 << data.draw(st.integers(0, 7))
    found = parse_history(damaged.decode("utf-8", errors="replace"))
    assert sum(one in originals for one in found) >= 1
    assert sum(one not in originals for one in found) <= 1
    assert all(one.line.isprintable() for one in found)


@given(st.binary(max_size=300))
def test_any_bytes_can_be_read(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("history") / "history"
    path.write_bytes(content)
    assert isinstance(read_history(path), tuple)
    append_record(path, record())
    assert read_history(path)[-1] == record()


def test_a_history_that_is_not_there_is_empty(tmp_path):
    assert read_history(tmp_path / "missing") == ()


def test_a_history_may_be_long(tmp_path):
    records = tuple(record(seconds=number) for number in range(1000))
    path = tmp_path / "history"
    path.write_text(text_of(*records))
    for size in range(8192 * 2 - 2, 8192 * 2 + 3):
        path.write_bytes(text_of(*records).encode()[:size])
        assert read_history(path) == records[: size // len(text_of(records[0]))]
    path.write_text(text_of(*records))
    assert read_history(path) == records


def test_a_history_is_found_from_a_folder(tmp_path):
    (tmp_path / "history").write_text(text_of(record()))
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        assert read_history("history", dir_fd=folder) == (record(),)
        assert read_history("missing", dir_fd=folder) == ()
    finally:
        os.close(folder)


def _append(path: Path, subrun: int) -> None:
    for number in range(25):
        append_record(path, record(input=f"writer{subrun}", seconds=number))


def test_concurrent_tries_are_all_recorded(tmp_path):
    path = tmp_path / "history"
    path.write_text("01874.0003 torn lin")
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_append, args=(path, number)) for number in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    found = read_history(path)
    expected = {record(input=f"writer{w}", seconds=n) for w in range(4) for n in range(25)}
    assert len(found) == 100
    assert set(found) == expected


# ------------------------------------------------------------------------ failed_tries


def tries(*codes, **kwargs):
    return [record(code, seconds=number, **kwargs) for number, code in enumerate(codes)]


@pytest.mark.parametrize(
    ("codes", "count"),
    [
        ((), 0),
        ((0,), 0),
        ((1,), 1),
        ((1, 1), 2),
        ((1, 1, 1), 3),
        ((1, 1, 0), 0),
        ((1, 2), 1),
        ((1, 1, 2), 1),
        ((2, 1, 1), 2),
        ((1, 0, 1), 1),
        ((0, 0), 0),
        ((-9, -9), 2),
    ],
)
def test_equal_failures_in_a_row_count(codes, count):
    assert failed_tries(tries(*codes)) == count


def test_another_input_starts_anew():
    assert failed_tries([*tries(1, 1), *tries(1, input="other")]) == 1


def test_each_program_and_production_is_counted_by_itself():
    records = [
        record(1, program="datacheck", seconds=0),
        record(0, seconds=1),
        record(1, program="datacheck", seconds=2),
        record(1, prod_id="v2", seconds=3),
    ]
    assert failed_tries(records) == 2


def test_success_of_one_program_does_not_hide_failures_of_another():
    assert failed_tries([*tries(1, 1, program="datacheck"), *tries(0, program="dl2")]) == 2


def test_a_line_that_stands_there_twice_is_one_try():
    once, again = record(1), record(1, seconds=60)
    assert failed_tries([once, once]) == 1
    assert failed_tries([once, once, again, again]) == 2
