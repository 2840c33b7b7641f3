"""What a failed try left behind: ends of logs, raw files, and of which sub-run it is."""

from __future__ import annotations

import gzip
import re
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
from failed_tries import NO_POINTING, Failures, cut_raw, write_raw
from hypothesis import given
from hypothesis import strategies as st
from night_states import calibration_sequence, data_sequence

from osa.cures import evidence as evidence_module
from osa.cures.evidence import Evidence, is_in, read_tail
from osa.layout import Layout
from osa.model.job import JobState
from osa.model.rule import Cure, Rule, Scope
from osa.steps import checks
from osa.steps.environment import TASK_BEGINS

TAIL = evidence_module._TAIL


def evidence(failures: Failures, raw_file: Path | None = None) -> Evidence:
    record = failures.records[-1]
    log = failures.layout.job_log(record.name, record.job_id, record.task)
    return Evidence(failures.sequence, record, log, raw_file)


def rule(**values: object) -> Rule:
    return Rule("a", Cure.RESUBMIT, **values)  # type: ignore[arg-type]


# -------------------------------------------------------------------------- ends of logs


def test_log_that_cannot_be_read_says_nothing(tmp_path: Path) -> None:
    assert read_tail(tmp_path / "none.log") == ""
    assert read_tail(tmp_path) == ""
    (tmp_path / "loop.log").symlink_to("loop.log")
    assert read_tail(tmp_path / "loop.log") == ""


@given(st.binary(max_size=200), st.integers(1, 100))
def test_end_of_a_log_is_its_end(tmp_path_factory: pytest.TempPathFactory, data: bytes, size: int) -> None:
    path = tmp_path_factory.mktemp("logs") / "a.log"
    path.write_bytes(data)
    assert read_tail(path, size) == data[-size:].decode("utf-8", errors="replace")


def test_only_the_end_of_a_huge_log_is_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.log"
    with path.open("wb") as stream:
        stream.write(b"MemoryError\n")
        stream.truncate(1 << 40)
        stream.seek(0, 2)
        stream.write(NO_POINTING.encode())
    tail = read_tail(path)
    assert tail.endswith(NO_POINTING)
    assert "MemoryError" not in tail
    assert len(tail) == TAIL


@given(st.binary(max_size=200), st.binary(max_size=200), st.integers(1, 300))
def test_end_of_a_compressed_log_comes_before_what_was_written_since(
    tmp_path_factory: pytest.TempPathFactory, first: bytes, since: bytes, size: int
) -> None:
    """As nightclean leaves it; the night was opened again since."""
    path = tmp_path_factory.mktemp("logs") / "a.log"
    path.with_name("a.log.gz").write_bytes(gzip.compress(first))
    assert read_tail(path, size) == first[-size:].decode("utf-8", errors="replace")
    path.write_bytes(since)
    assert read_tail(path, size) == (first + since)[-size:].decode("utf-8", errors="replace")


@pytest.mark.parametrize("block", [1, 7, 1 << 20])
def test_end_of_a_compressed_log_is_read_in_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(evidence_module, "_BLOCK", block)
    said = bytes(range(48, 58)) * 20
    (tmp_path / "a.log.gz").write_bytes(gzip.compress(said[:150]) + gzip.compress(said[150:]))
    assert read_tail(tmp_path / "a.log", 77) == said[-77:].decode()


@pytest.mark.parametrize("cut", ["garbage", "cut short", "bad sum", "bad body"])
def test_compressed_log_that_cannot_be_read_says_nothing(tmp_path: Path, cut: str) -> None:
    good = gzip.compress(NO_POINTING.encode() * 100)
    contents = {
        "garbage": b"no gzip",
        "cut short": good[:-20],
        "bad sum": good[:-8] + bytes(8),
        "bad body": good[:12] + b"\xff" * 10 + good[22:],
    }
    (tmp_path / "a.log.gz").write_bytes(contents[cut])
    assert read_tail(tmp_path / "a.log") == ""
    (tmp_path / "a.log").write_text("said since")
    assert read_tail(tmp_path / "a.log") == "said since"


def test_compressed_log_shows_the_same_signs(layout: Layout) -> None:
    failures = Failures(layout)
    failures.add(log=NO_POINTING)
    sign = rule(text=re.compile("x_new is above"))
    assert evidence(failures).shows(sign)
    log = evidence(failures).log
    log.with_name(f"{log.name}.gz").write_bytes(gzip.compress(log.read_bytes()))
    log.unlink()
    assert evidence(failures).shows(sign)
    failures = Failures(layout)
    failures.add(log="KeyError: 'a'")
    log.with_name(f"{log.name}.gz").unlink()
    assert not evidence(failures).shows(sign)


@pytest.mark.parametrize(("behind", "is_found"), [(0, True), (1000, True), (TAIL, False), (3 * TAIL, False)])
def test_sign_counts_where_it_stands_in_the_end(layout: Layout, behind: int, is_found: bool) -> None:
    """An analysis that went on long after an error did not fail by it."""
    failures = Failures(layout)
    failures.add(log=b"x" * TAIL + NO_POINTING.encode() + b"." * behind)
    assert evidence(failures).shows(rule(text=re.compile("x_new is above"))) is is_found


def test_only_what_the_latest_try_said_counts(layout: Layout) -> None:
    """Slurm begins a task again on another node, and appends to the same log."""
    failures = Failures(layout)
    begins = f"{TASK_BEGINS} 1874.0000"
    failures.add(log=f"{begins}\n{NO_POINTING}\n{begins}\nKeyError: 'a'")
    assert not evidence(failures).shows(rule(text=re.compile("x_new is above")))
    assert evidence(failures).shows(rule(text=re.compile("KeyError")))


@pytest.mark.parametrize("state", [state for state in JobState if state is not JobState.FAILED])
def test_exit_code_does_not_tell_why_a_task_was_ended(layout: Layout, state: JobState) -> None:
    failures = Failures(layout)
    failures.add(state, exit_code=-9)
    assert not evidence(failures).shows(rule(exit_codes=frozenset({-9})))


@pytest.mark.parametrize("noise", [b"\xff\xfe\x80", b"\0" * 10, "°".encode("latin-1"), b"\x1b[31m"])
def test_sign_is_found_between_bytes_that_are_no_text(layout: Layout, noise: bytes) -> None:
    failures = Failures(layout)
    failures.add(log=noise + NO_POINTING.encode() + noise)
    assert evidence(failures).shows(rule(text=re.compile("x_new is above")))


def test_reason_of_the_scheduler_is_searched_too(layout: Layout) -> None:
    failures = Failures(layout)
    failures.add(JobState.PENDING, reason="ReqNodeNotAvail")
    assert evidence(failures).shows(rule(text=re.compile("NodeNotAvail")))
    assert not evidence(failures).shows(rule(text=re.compile("Dependency")))


# ------------------------------------------------------------------------------ raw files


@pytest.mark.parametrize(("n_events", "limit", "shows"), [(49, 50, True), (50, 50, False), (0, 1, True)])
def test_few_events(layout: Layout, n_events: int, limit: int, shows: bool) -> None:
    failures = Failures(layout)
    failures.add()
    raw = write_raw(layout.raw_file(1874, 0), n_events)
    assert evidence(failures, raw).shows(rule(fewer_events=limit)) is shows


def test_raw_file_that_is_cut_short(layout: Layout) -> None:
    failures = Failures(layout)
    failures.add()
    raw = write_raw(layout.raw_file(1874, 0), 1000)
    assert not evidence(failures, raw).shows(rule(cut_short=True))
    assert evidence(failures, cut_raw(raw)).shows(rule(cut_short=True))


def test_events_of_a_raw_file_that_is_cut_short_are_counted_quietly(layout: Layout) -> None:
    failures = Failures(layout)
    failures.add()
    raw = cut_raw(write_raw(layout.raw_file(1874, 0), 1000))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert evidence(failures, raw).raw_events == 1000


@pytest.mark.parametrize("content", [None, b"", b"raw" * 1000, bytes(5760)])
def test_raw_file_that_tells_nothing_is_no_sign(layout: Layout, content: bytes | None) -> None:
    failures = Failures(layout)
    failures.add()
    raw = layout.raw_file(1874, 0)
    raw.parent.mkdir(parents=True)
    if content is not None:
        raw.write_bytes(content)
    for path in (raw, None):
        found = evidence(failures, path)
        assert not found.shows(rule(fewer_events=50))
        assert not found.shows(rule(cut_short=True))


@pytest.mark.parametrize("state", [state for state in JobState if state is not JobState.FAILED])
def test_raw_file_does_not_tell_why_a_task_was_ended(layout: Layout, state: JobState) -> None:
    failures = Failures(layout)
    failures.add(state)
    raw = cut_raw(write_raw(layout.raw_file(1874, 0), 10))
    assert not evidence(failures, raw).shows(rule(fewer_events=50, cut_short=True))


def test_raw_file_is_not_opened_where_something_cheaper_tells(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Path] = []
    monkeypatch.setattr(checks, "raw_event_count", lambda path: opened.append(path) or 5)
    failures = Failures(layout)
    failures.add(exit_code=7, log="known words")
    raw = layout.raw_file(1874, 0)
    found = evidence(failures, raw)
    assert found.shows(rule(exit_codes=frozenset({7}), fewer_events=9))
    assert found.shows(rule(text=re.compile("known words"), fewer_events=9))
    assert opened == []
    assert found.shows(rule(fewer_events=9)) and not found.shows(rule(fewer_events=3))
    assert opened == [raw]


# --------------------------------------------------------------------------------- scopes


@pytest.mark.parametrize(
    ("n_subruns", "subruns", "left_out", "last"),
    [
        (3, (0, 1, 2), (), 2),
        (1, (0,), (), 0),
        (3, (0, 1), (), 2),  # the last raw file is not there: nothing else is the last sub-run
        (3, (0, 1), (2,), 2),  # nor where it is left out already
        (2, (0, 1, 2, 3), (), 3),  # more files than the summary promises
        (0, (0, 1), (), 1),
        (0, (0, 1), (2,), 2),
    ],
)
def test_last_subrun_is_that_of_the_run_as_it_was_taken(
    n_subruns: int, subruns: tuple[int, ...], left_out: tuple[int, ...], last: int
) -> None:
    sequence = data_sequence(n_subruns=n_subruns, subruns=subruns, left_out=left_out)
    found = [task for task in range(5) if is_in(Scope.LAST_SUBRUN, sequence, task)]
    assert found == [last]


def test_scopes() -> None:
    data, calibration = data_sequence(), calibration_sequence()
    assert {scope for scope in Scope if is_in(scope, data, 1)} == {Scope.ANY, Scope.DATA}
    assert {scope for scope in Scope if is_in(scope, calibration, None)} == {Scope.ANY, Scope.CALIBRATION}
    assert {scope for scope in Scope if is_in(scope, calibration, 0)} == {Scope.ANY, Scope.CALIBRATION}
    assert not is_in(Scope.LAST_SUBRUN, data, None)


def test_out_of_scope_shows_nothing(layout: Layout) -> None:
    failures = Failures(layout)
    failures.add(exit_code=7)
    seven = rule(exit_codes=frozenset({7}))
    assert evidence(failures).shows(seven)
    assert not evidence(failures).shows(replace(seven, scope=Scope.CALIBRATION))
