"""Flags of a sequence: vetoes and their lifting, and what was closed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from night_states import CLOCK, calibration_sequence, data_sequence

from osa import flags
from osa.flags import FreshStart, closed_text, late_raw_files, lift_veto, put_veto, read_fresh_start
from osa.layout import Layout
from osa.model.sequence import Sequence

JOBS = frozenset({"7", "12"})
SUBRUNS = st.frozensets(st.integers(0, 9999), max_size=20)


def test_veto_tells_why_and_how_it_is_lifted(layout: Layout) -> None:
    sequence = data_sequence()
    put_veto(layout, sequence, "the camera was on fire")
    first, second = layout.veto(sequence).read_text("utf-8").splitlines()
    assert first == "LST1_01874: the camera was on fire"
    assert second.endswith("sequencer -d 2020_01_27 --unveto 1874")


def test_lifting_a_veto(layout: Layout) -> None:
    sequence = calibration_sequence()
    put_veto(layout, sequence, "x")
    assert lift_veto(layout, sequence, JOBS, clock=CLOCK) is True
    assert not layout.veto(sequence).exists()
    assert read_fresh_start(layout.fresh_start(sequence)) == FreshStart(CLOCK, JOBS)


def test_without_a_veto_what_failed_does_not_count_either(layout: Layout) -> None:
    sequence = data_sequence()
    assert lift_veto(layout, sequence, JOBS, clock=CLOCK) is False
    assert lift_veto(layout, sequence, JOBS, clock=CLOCK + timedelta(hours=1)) is False
    assert read_fresh_start(layout.fresh_start(sequence)) == FreshStart(CLOCK + timedelta(hours=1), JOBS)
    assert not layout.fresh_start(data_sequence(1875)).exists()


def test_lifting_that_is_stopped_in_between_leaves_the_veto(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    sequence = data_sequence()
    put_veto(layout, sequence, "x")
    real = flags.write_text

    def stopped(path: Path, text: str) -> None:
        real(path, text)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(flags, "write_text", stopped)
        with pytest.raises(KeyboardInterrupt):
            lift_veto(layout, sequence, JOBS, clock=CLOCK)
    assert layout.veto(sequence).exists()
    assert lift_veto(layout, sequence, JOBS, clock=CLOCK) is True


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=2)), timezone(timedelta(hours=-11))])
def test_fresh_start_is_one_moment_whatever_the_clock(layout: Layout, zone: timezone) -> None:
    lift_veto(layout, data_sequence(), JOBS, clock=CLOCK.astimezone(zone))
    assert read_fresh_start(layout.fresh_start(data_sequence())) == FreshStart(CLOCK, JOBS)


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"\n",
        b"2020-01-28T06:00:00+00:00\n",  # as it was written before
        b"\xff\xfe",
        b"[]",
        b"null",
        b"{}",
        b'{"when": "2020-01-28T06:00:00+00:00"}',
        b'{"when": "2020-01-28T06:00:00+00:00", "jobs": 7}',
        b'{"when": "2020-13-45T00:00:00", "jobs": []}',
        b'{"when": "0001-01-01T00:00:00+23:00", "jobs": []}',
        b'{"when": 3, "jobs": []}',
        b'{"when": "2020-01-28T06:00:00+00:00", "jo',
    ],
)
def test_fresh_start_that_tells_nothing(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.fresh"
    if content is not None:
        path.write_bytes(content)
    assert read_fresh_start(path) is None
    assert read_fresh_start(tmp_path) is None


@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: f'{{"when": {text}'.encode()))
def test_damaged_flags_say_nothing(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("flags") / "a.fresh"
    path.write_bytes(content)
    assert read_fresh_start(path) is None


def test_fresh_start_to_the_microsecond(layout: Layout) -> None:
    clock = datetime(2020, 1, 28, 6, 0, 0, 123456, tzinfo=UTC)
    lift_veto(layout, data_sequence(), JOBS, clock=clock)
    assert read_fresh_start(layout.fresh_start(data_sequence())) == FreshStart(clock, JOBS)


# ------------------------------------------------------------------------- what was closed


def close(layout: Layout, sequence: Sequence) -> None:
    layout.analysis_dir.mkdir(parents=True, exist_ok=True)
    layout.closed(sequence).write_text(closed_text(layout, sequence), "utf-8")


def put_raw(layout: Layout, subrun: int, size: int) -> None:
    path = layout.raw_file(1874, subrun)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))


@given(SUBRUNS, SUBRUNS, SUBRUNS)
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_comes_after_the_closing_is_late(
    layout: Layout, there: frozenset[int], left_out: frozenset[int], new: frozenset[int]
) -> None:
    gone = tuple(sorted(left_out))
    close(layout, data_sequence(subruns=tuple(sorted(there - left_out)), left_out=gone))
    now = data_sequence(subruns=tuple(sorted((there | new) - left_out)), left_out=gone)
    assert late_raw_files(layout, now) == tuple(sorted(new - there - left_out))


def test_raw_file_that_was_left_out_and_grew_is_late(layout: Layout) -> None:
    put_raw(layout, 1, 100)
    put_raw(layout, 2, 100)
    sequence = data_sequence(subruns=(0,), left_out=(1, 2, 3))
    close(layout, sequence)
    assert late_raw_files(layout, sequence) == ()
    put_raw(layout, 2, 101)
    assert late_raw_files(layout, sequence) == (2,)
    put_raw(layout, 3, 5)  # there was none
    assert late_raw_files(layout, sequence) == (2, 3)
    layout.raw_file(1874, 1).unlink()
    assert late_raw_files(layout, sequence) == (1, 2, 3)


def test_left_out_subruns_that_are_taken_in_again_are_not_late(layout: Layout) -> None:
    put_raw(layout, 1, 100)
    close(layout, data_sequence(subruns=(0,), left_out=(1,)))
    assert late_raw_files(layout, data_sequence(subruns=(0, 1))) == ()


def test_subruns_that_are_left_out_after_the_closing_are_no_late_ones(layout: Layout) -> None:
    put_raw(layout, 2, 100)
    close(layout, data_sequence())
    assert late_raw_files(layout, data_sequence(subruns=(0, 1))) == ()


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",  # as closers before this wrote it
        b"closed by hand\n",
        b"sub-runs: 0-2, 5\n",
        b"\xff\xfe",
        b"[]",
        b"7",
        b'{"subruns": [0]}',
        b'{"subruns": ["a"], "left_out": {}}',
        b'{"subruns": [0], "left_out": [1]}',
        b'{"subruns": null, "left_out": {}}',
        b'{"subruns": [0], "left_out": {"1": null}}',
    ],
)
def test_flag_that_does_not_tell_what_was_closed(layout: Layout, content: bytes | None) -> None:
    layout.analysis_dir.mkdir(parents=True)
    if content is not None:
        layout.closed(data_sequence()).write_bytes(content)
    assert late_raw_files(layout, data_sequence()) == ()
