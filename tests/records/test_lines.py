"""Lines of records: what is written is read, and nothing else makes a record."""

from __future__ import annotations

import json
import multiprocessing
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from osa.model.dataset import DatasetKind
from osa.records.lines import append_begin, append_end, begin_line, end_line, parse_records, read_records
from osa.records.model import FileRecord, Status, TryRecord
from tests.records.made_up import START, begun, done, tries

FILE = FileRecord("DL1", DatasetKind.DL1, "/data/dl1.h5", 7, 10**18, "a" * 64)
QUICKLY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def lines_of(record: TryRecord) -> list[str]:
    return [begin_line(record), *([end_line(record)] if record.ended is not None else [])]


def changed(line: str, **values: Any) -> str:
    return json.dumps({**json.loads(line), **values})


def only(lines: list[str]) -> TryRecord:
    (found,) = parse_records(lines)
    return found


# ------------------------------------------------------------------------ what is written


@QUICKLY
@given(tries)
def test_what_is_written_is_read(record):
    found = only(lines_of(record))
    expected = replace(record, ended=max(record.ended, record.started))
    for each in fields(TryRecord):
        assert getattr(found, each.name) == getattr(expected, each.name), each.name
    assert found.started.tzinfo is UTC
    assert found.ended.tzinfo is UTC


@QUICKLY
@given(tries)
def test_a_begin_alone_is_a_try_of_whose_end_nothing_is_known(record):
    found = only([begin_line(record)])
    assert (found.status, found.ended, found.exit_code, found.reason) == (Status.UNFINISHED, None, None, "")
    assert found.outputs == ()
    assert (found.inputs, found.configuration) == (record.inputs, record.configuration)


@QUICKLY
@given(tries)
def test_a_line_is_one_line_of_plain_ascii(record):
    for line in lines_of(record):
        assert line.isascii() and line.isprintable()


def test_times_are_written_in_utc_with_milliseconds():
    local = timezone(timedelta(hours=9, minutes=30))
    started = datetime(2020, 1, 28, 5, 29, 59, 123999, tzinfo=local)
    values = json.loads(begin_line(begun(started=started)))
    assert values["started"] == "2020-01-27T19:59:59.123Z"


def test_what_is_not_known_takes_no_room():
    line = begin_line(begun(inputs=(FileRecord("raw data", DatasetKind.R0, "/raw"),)))
    assert json.loads(line)["inputs"] == [{"role": "raw data", "kind": "R0", "path": "/raw"}]


def test_the_end_of_a_try_that_has_not_ended_cannot_be_written():
    with pytest.raises(ValueError, match="has not ended"):
        end_line(begun())


def test_a_file_of_records(tmp_path):
    path = tmp_path / "provenance" / "LST1_01874.0003.jsonl"
    assert read_records(path) == ()
    one, two = done(1, outputs=(FILE,)), done(2, status=Status.FAILED, exit_code=-9, reason="killed\n“so”")
    append_begin(path, one)
    assert [record.status for record in read_records(path)] == [Status.UNFINISHED]
    append_end(path, one)
    append_begin(path, two)
    append_end(path, two)
    append_begin(path, begun(3))
    assert read_records(path) == (one, two, begun(3))
    assert len(path.read_text().splitlines()) == 5


def test_a_file_of_records_that_cannot_be_read_is_told(tmp_path):
    with pytest.raises(IsADirectoryError):
        read_records(tmp_path)


# ------------------------------------------------------------------------- clocks, order


def test_a_clock_that_was_set_back_ends_a_try_when_it_began():
    record = done(ended=START - timedelta(hours=1), started=START)
    found = only(lines_of(record))
    assert found.ended == found.started == START
    assert found.status is Status.DONE


def test_an_end_without_a_begin_tells_nothing():
    assert parse_records([end_line(done())]) == ()


def test_an_end_before_its_begin_tells_nothing():
    begin, end = lines_of(done())
    assert only([end, begin]).status is Status.UNFINISHED
    assert only([end, begin, end]) == done()


def test_of_lines_that_stand_twice_the_first_counts():
    record = done(outputs=(FILE,))
    begin, end = lines_of(record)
    other_end = changed(end, status="failed", outputs=[], exit_code=1)
    other_begin = changed(begin, run=1, parameters={"x": "y"})
    assert only([begin, begin, end, end]) == record
    assert only([begin, other_begin, end, other_end]) == record


def test_tries_come_in_the_order_in_which_they_began():
    late, early = done(9), done(1)
    assert parse_records([*lines_of(late), *lines_of(early)]) == (late, early)


# -------------------------------------------------------------------------------- damage


def test_a_cut_at_any_byte_of_the_last_line(tmp_path):
    path = tmp_path / "records"
    record = done(outputs=(FILE,))
    begin, end = (line.encode() + b"\n" for line in lines_of(record))
    before = b"".join(line.encode() + b"\n" for line in lines_of(done(0)))
    for cut in range(len(begin)):
        path.write_bytes(before + begin[:cut])
        whole = cut == len(begin) - 1  # only the line end is missing
        assert read_records(path) == ((done(0), only([begin.decode()])) if whole else (done(0),))
    unfinished = only([begin.decode()])
    for cut in range(len(end)):
        path.write_bytes(before + begin + end[:cut])
        whole = cut == len(end) - 1
        assert read_records(path) == (done(0), record if whole else unfinished)


def test_a_torn_line_does_not_swallow_the_next(tmp_path):
    path = tmp_path / "records"
    begin, end = lines_of(done())
    for cut in range(0, len(end), 7):
        path.write_text(f"{begin}\n{end[:cut]}")
        append_begin(path, done(2))
        append_end(path, done(2))
        assert read_records(path) == (only([begin]), done(2))


GARBAGE = [
    "",
    " ",
    "\0" * 100,
    "garbage",
    "null",
    "1",
    "[]",
    "{}",
    '"begin"',
    "{" * 10_000,
    "[" * 100_000,
    "NaN",
    '{"format": 1}',
    '{"format": 1, "begin": 1}',
    '{"format": 1, "begin": null, "end": null}',
    '{"format": 1, "begin": ["x"]}',
    '{"format": 1, "end": {}}',
    '{"format": 1, "begin": "0b0e8a52-7f0b-4f5c-8a3f-4d3c55c2ad11"}',
    '{"prefix": {"osa": "urn:lst-osa"}, "entity": {}}',
]


@pytest.mark.parametrize("line", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_is_passed_over(line):
    begin, end = lines_of(done())
    assert parse_records([line, begin, line, end, line]) == (done(),)


@pytest.mark.parametrize("version", [0, 2, "1", None, [1]])
def test_lines_of_another_format_are_passed_over(version):
    begin, end = lines_of(done())
    assert parse_records([changed(begin, format=version), changed(end, format=version)]) == ()
    assert only([begin, changed(end, format=version)]).status is Status.UNFINISHED


INFINITE = float("inf")
FOREIGN_BEGIN = [
    {"run": "x"},
    {"run": None},
    {"run": INFINITE},
    {"run": []},
    {"subrun": "x"},
    {"subrun": INFINITE},
    {"started": None},
    {"started": 5},
    {"started": "yesterday"},
    {"started": "2020-01-27T20:00:00"},
    {"started": "0001-01-01T00:00:00+23:00"},
    {"started": "9999-12-31T23:59:59-23:00"},
    {"inputs": None},
    {"inputs": 5},
    {"inputs": ["x"]},
    {"inputs": [{"role": "raw", "kind": "nothing", "path": "/x"}]},
    {"inputs": [{"role": "raw", "kind": "R0"}]},
    {"configuration": 5},
    {"configuration": ["x"]},
    {"configuration": [{"name": "x"}]},
    {"parameters": None},
    {"parameters": []},
    {"parameters": "x"},
    {"versions": None},
    {"versions": []},
    {"job": None},
    {"job": "17"},
    {"job": {"number": 17}},
]


@pytest.mark.parametrize("values", FOREIGN_BEGIN, ids=lambda values: json.dumps(values)[:50])
def test_a_begin_of_other_values_is_passed_over(values):
    begin, end = lines_of(done())
    assert parse_records([changed(begin, **values), end, *lines_of(done(2))]) == (done(2),)


FOREIGN_END = [
    {"ended": None},
    {"ended": "2020-01-27T20:00:00"},
    {"ended": "0001-01-01T00:00:00+23:00"},
    {"status": "perhaps"},
    {"status": None},
    {"exit_code": "x"},
    {"exit_code": INFINITE},
    {"outputs": 5},
    {"outputs": [{"kind": "R0"}]},
    {"wall_time": "long"},
    {"cpu_time": None},
    {"peak_memory": []},
]


@pytest.mark.parametrize("values", FOREIGN_END, ids=lambda values: json.dumps(values)[:50])
def test_an_end_of_other_values_is_passed_over(values):
    begin, end = lines_of(done())
    assert only([begin, changed(end, **values)]).status is Status.UNFINISHED
    assert only([begin, changed(end, **values), end]) == done()


@pytest.mark.parametrize("identifier", ["", "x", "../x", "11116e73-1c03-5de6-9130-5f9925ae8ab", "\ud800"])
def test_a_try_whose_identifier_is_no_uuid_is_passed_over(identifier):
    """The identifiers of what it made follow from it."""
    begin, end = lines_of(done())
    assert parse_records([changed(begin, begin=identifier), changed(end, end=identifier)]) == ()


@pytest.mark.parametrize("key", [key for key in json.loads(begin_line(begun())) if key != "format"])
def test_a_begin_that_lacks_a_key_is_passed_over(key):
    values = json.loads(begin_line(begun()))
    del values[key]
    assert parse_records([json.dumps(values)]) == ()


@pytest.mark.parametrize(
    "values",
    [
        {"inputs": [{"role": "raw", "kind": "R0", "path": 5}]},
        {"inputs": [{"role": "raw", "kind": "R0", "path": "/x", "size": "large"}]},
        {"inputs": [{"role": "raw", "kind": "R0", "path": "/x", "sha256": 5}]},
        {"configuration": [{"name": "x", "path": 5}]},
        {"configuration": [{"name": "x", "path": "/x", "sha256": 5}]},
        {"job": {"task": "x"}},
    ],
    ids=json.dumps,
)
def test_values_of_another_type_make_no_record(values):
    """They would be found later by whoever reads them, and nobody expects them there."""
    assert parse_records([changed(begin_line(begun()), **values)]) == ()


@given(st.data())
@QUICKLY
def test_one_damaged_bit_spoils_one_record_at_most(data):
    originals = (done(1, outputs=(FILE,)), done(2), done(3, inputs=(FILE,)))
    good = "".join(line + "\n" for record in originals for line in lines_of(record)).encode()
    damaged = bytearray(good)
    damaged[data.draw(st.integers(0, len(good) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    found = parse_records(damaged.decode("utf-8", errors="replace").split("\n"))
    assert sum(record in originals for record in found) >= 2


@given(st.binary(max_size=300))
@QUICKLY
def test_any_bytes_can_be_read(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("records") / "records"
    path.write_bytes(content)
    assert read_records(path) == ()
    append_begin(path, begun())
    assert read_records(path) == (begun(),)


# -------------------------------------------------------------------------- several tasks


def _record_many(path: Path, writer: int) -> None:
    for number in range(20):
        record = done(1000 * writer + number, reason="x" * 500)
        append_begin(path, record)
        append_end(path, record)


@pytest.mark.parametrize("is_shared", [False, True])
def test_several_tasks_at_once_keep_whole_lines(tmp_path, is_shared):
    """Each has a file of its own; but should two tries of one task ever overlap, neither is lost."""
    paths = [tmp_path / ("records" if is_shared else f"records{writer}") for writer in range(4)]
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=_record_many, args=(path, writer)) for writer, path in enumerate(paths)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    found = {record.id: record for path in set(paths) for record in read_records(path)}
    expected = [done(1000 * writer + number, reason="x" * 500) for writer in range(4) for number in range(20)]
    assert found == {record.id: record for record in expected}
