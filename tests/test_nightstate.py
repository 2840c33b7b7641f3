"""What has become of a sequence: from histories, names of products, flags and task records."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import pytest
from night_states import (
    CALIBRATION_RUN,
    CLOCK,
    DATA_PROGRAMS,
    add_done_histories,
    add_name_only_products,
    add_try,
    calibration_names,
    calibration_sequence,
    data_sequence,
    night_plan,
    record,
    sequence_state,
)

from osa.flags import FreshStart, lift_veto
from osa.layout import DATACHECK, DL1, DL2, MUONS, PRODUCT_KINDS, Layout
from osa.model.job import JobState, TaskRecord
from osa.model.sequence import Sequence
from osa.nightstate import SequenceState, read_night_state

R0_TO_DL1, CHECK_DL1, DL1_TO_DL2 = DATA_PROGRAMS


def look(layout: Layout, sequence: Sequence, records: Iterable[TaskRecord] = ()) -> SequenceState:
    (state,) = read_night_state(layout, night_plan(sequence), records)
    return state


@pytest.fixture
def data(layout: Layout) -> Sequence:
    """A DATA sequence of which everything is done."""
    sequence = data_sequence()
    add_done_histories(layout, sequence)
    add_name_only_products(layout, sequence)
    return sequence


@pytest.fixture
def calibration(layout: Layout) -> Sequence:
    """A calibration sequence of which everything is done."""
    sequence = calibration_sequence()
    add_done_histories(layout, sequence)
    add_name_only_products(layout, sequence)
    return sequence


# ----------------------------------------------------------------------- reading a night


def test_nothing_is_done_in_an_empty_night_and_nothing_is_made(layout: Layout) -> None:
    states = read_night_state(layout, night_plan(), ())
    assert [(state.todo, state.exhausted, state.is_done) for state in states] == [
        ((0,), (), False),
        ((0, 1, 2), (), False),
    ]
    assert states[1].counts == dict.fromkeys(PRODUCT_KINDS, 0)
    assert not layout.analysis_dir.exists()


def test_all_done(layout: Layout, data: Sequence, calibration: Sequence) -> None:
    states = read_night_state(layout, night_plan(calibration, data), ())
    assert [state.todo for state in states] == [(), ()]
    assert all(state.is_done and not state.closed and not state.vetoed for state in states)
    assert states[1].counts == dict.fromkeys(PRODUCT_KINDS, 3)


@pytest.mark.parametrize("kind", PRODUCT_KINDS)
@pytest.mark.parametrize("how", ["gone", "empty", "a folder", "a dangling link"])
def test_history_is_believed_only_where_the_product_is(
    layout: Layout, data: Sequence, kind: object, how: str
) -> None:
    path = layout.working(kind, 1874, 1)  # type: ignore[arg-type]
    path.unlink()
    if how == "empty":
        path.touch()
    elif how == "a folder":
        path.mkdir()
    elif how == "a dangling link":
        path.symlink_to("nowhere")
    state = look(layout, data)
    assert state.todo == (1,)
    assert state.counts[kind] == 2  # type: ignore[index]


def test_product_is_believed_only_where_the_history_says_so(layout: Layout, data: Sequence) -> None:
    layout.history(1874, 2).unlink()
    state = look(layout, data)
    assert state.todo == (2,)
    assert set(state.counts.values()) == {2}


def test_counts_are_of_steps_that_are_done(layout: Layout) -> None:
    sequence = data_sequence(n_subruns=2)
    add_name_only_products(layout, sequence)
    add_try(layout, 1874, 0, R0_TO_DL1)
    add_try(layout, 1874, 0, DL1_TO_DL2)
    add_try(layout, 1874, 1, R0_TO_DL1)
    add_try(layout, 1874, 1, CHECK_DL1, 1)
    state = look(layout, sequence)
    assert state.counts == {DL1: 2, MUONS: 2, DATACHECK: 0, DL2: 1}
    assert state.todo == (0, 1)


def test_dl2_of_another_production_does_not_count(layout: Layout, data: Sequence) -> None:
    layout.history(1874, 0).unlink()
    add_try(layout, 1874, 0, R0_TO_DL1)
    add_try(layout, 1874, 0, CHECK_DL1)
    add_try(layout, 1874, 0, DL1_TO_DL2, prod_id="v9")
    assert look(layout, data).todo == (0,)


@pytest.mark.parametrize("kinds", [[DL1], [DL2], list(PRODUCT_KINDS)])
def test_products_in_their_final_place_count_too(layout: Layout, data: Sequence, kinds: list[object]) -> None:
    for kind in kinds:
        for subrun in data.subruns:
            final = layout.final(kind, 1874, subrun)  # type: ignore[arg-type]
            final.parent.mkdir(parents=True, exist_ok=True)
            layout.working(kind, 1874, subrun).rename(final)  # type: ignore[arg-type]
    state = look(layout, data)
    assert state.todo == ()
    assert set(state.counts.values()) == {3}


@pytest.mark.parametrize("kind", PRODUCT_KINDS)
def test_product_in_work_counts_also_where_its_final_place_has_an_empty_file(
    layout: Layout, data: Sequence, kind: object
) -> None:
    final = layout.final(kind, 1874, 1)  # type: ignore[arg-type]
    final.parent.mkdir(parents=True)
    final.touch()
    assert look(layout, data).todo == ()
    layout.working(kind, 1874, 1).unlink()  # type: ignore[arg-type]
    assert look(layout, data).todo == (1,)


@pytest.mark.parametrize("moved", [1, 2, 3])
def test_calibration_in_its_final_place_is_done_too(
    layout: Layout, calibration: Sequence, moved: int
) -> None:
    layout.final_calibration_dir.mkdir(parents=True)
    for name in calibration_names(layout)[:moved]:
        (layout.analysis_dir / name).rename(layout.final_calibration_dir / name)
    assert look(layout, calibration).is_done


@pytest.mark.parametrize("number", range(3))
def test_calibration_is_done_only_with_all_products(
    layout: Layout, calibration: Sequence, number: int
) -> None:
    (layout.analysis_dir / calibration_names(layout)[number]).unlink()
    assert look(layout, calibration).todo == (0,)


def test_calibration_without_drs4_run_is_not_done(layout: Layout) -> None:
    assert look(layout, calibration_sequence(drs4_run=None, blocked="no DRS4 run")).todo == (0,)


def test_only_subruns_with_raw_files_are_to_be_done(layout: Layout) -> None:
    state = look(layout, data_sequence(n_subruns=5, subruns=(1, 4)))
    assert state.todo == (1, 4)


def test_subruns_that_failed_too_often_are_exhausted(layout: Layout) -> None:
    sequence = data_sequence(n_subruns=4)
    for subrun, codes in {0: (1,), 1: (1, 1), 2: (1, 2), 3: (1, 1, 0)}.items():
        for code in codes:
            add_try(layout, 1874, subrun, R0_TO_DL1, code)
    state = look(layout, sequence)
    assert state.todo == (0, 1, 2, 3)
    assert state.exhausted == (1,)


def test_calibration_that_failed_too_often_is_exhausted(layout: Layout) -> None:
    for tries, exhausted in ((1, ()), (2, (0,))):
        add_try(layout, CALIBRATION_RUN, None, "lstchain_create_drs4_pedestal_file", -9)
        state = look(layout, calibration_sequence())
        assert (state.todo, state.exhausted) == ((0,), exhausted), tries


@pytest.mark.parametrize("content", ["", "by hand\n"])
def test_flags_are_seen_also_where_they_are_empty(layout: Layout, content: str) -> None:
    sequence = data_sequence()
    layout.analysis_dir.mkdir(parents=True)
    assert (look(layout, sequence).closed, look(layout, sequence).vetoed) == (False, False)
    layout.veto(sequence).write_text(content)
    assert (look(layout, sequence).closed, look(layout, sequence).vetoed) == (False, True)
    layout.closed(sequence).write_text(content)
    state = look(layout, sequence)
    assert (state.closed, state.vetoed) == (True, True)
    assert (state.todo, state.exhausted, state.is_done) == ((), (), True)


def test_flag_may_be_a_link_to_nowhere(layout: Layout) -> None:
    layout.analysis_dir.mkdir(parents=True)
    layout.veto(data_sequence()).symlink_to("nowhere")
    assert look(layout, data_sequence()).vetoed


def test_flags_of_other_sequences_do_not_count(layout: Layout) -> None:
    layout.analysis_dir.mkdir(parents=True)
    layout.closed(data_sequence(1875)).touch()
    assert not look(layout, data_sequence(1874)).closed


def test_records_go_to_their_sequences_in_order(layout: Layout) -> None:
    records = [
        record("LST1_01874", 0, job_id="1"),
        record("LST1_01873", None, job_id="2"),
        record("LST1_01874", 1, job_id="3"),
        record("LST1_09999", 1, job_id="4"),
    ]
    calibration, data = read_night_state(layout, night_plan(), iter(records))
    assert [r.job_id for r in calibration.records] == ["2"]
    assert [r.job_id for r in data.records] == ["1", "3"]


def test_looking_leaves_no_folder_open(layout: Layout, data: Sequence) -> None:
    def opened() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = opened()
    look(layout, data)
    layout.history(1874, 0).unlink()
    layout.history(1874, 0).mkdir()
    with pytest.raises(IsADirectoryError):
        look(layout, data)
    assert opened() == before


def test_looking_changes_nothing(layout: Layout, data: Sequence, calibration: Sequence) -> None:
    def listing() -> list[tuple[Path, int, int]]:
        paths = sorted(layout.settings.telescope.analysis_dir.parent.rglob("*"))
        return [(path, path.stat().st_size, path.stat().st_mtime_ns) for path in paths]

    before = listing()
    read_night_state(layout, night_plan(calibration, data), ())
    assert listing() == before


# ---------------------------------------------------------------- what the records say


def test_latest_try_counts() -> None:
    state = sequence_state(
        records=[
            record(task=0, state=JobState.FAILED, job_id="1", exit_code=1),
            record(task=1, state=JobState.COMPLETED, job_id="1", exit_code=0),
            record(task=0, state=JobState.COMPLETED, job_id="2", exit_code=0),
        ]
    )
    assert {task: r.job_id for task, r in state.latest.items()} == {0: "2", 1: "1"}
    assert (state.state, state.exit_code) == (JobState.COMPLETED, 0)
    assert (state.tries, state.job_id) == (2, "2")


@pytest.mark.parametrize("state", list(JobState))
def test_live_tasks(state: JobState) -> None:
    found = sequence_state(records=[record(task=0), record(task=3, state=state)]).live
    expected = {JobState.PENDING, JobState.RUNNING, JobState.UNKNOWN}
    assert found == ({3} if state in expected else set())


def test_task_of_a_calibration_is_number_0() -> None:
    state = sequence_state(calibration_sequence(), records=[record("LST1_01873", None, JobState.RUNNING)])
    assert state.live == {0}


def test_sequence_without_jobs_has_nothing_to_say() -> None:
    state = sequence_state()
    assert (state.state, state.tries, state.job_id, state.host) == (None, 0, None, None)
    assert (state.cpu_time, state.wall_time, state.exit_code) == (None, None, None)


def test_blocked_sequence_is_not_done_even_with_nothing_to_do() -> None:
    assert not sequence_state(data_sequence(blocked="no raw files", subruns=())).is_done
    assert sequence_state(data_sequence()).is_done


@pytest.mark.parametrize(
    ("hosts", "shown"), [([], None), ([None], None), (["a", "a", None], "a"), (["a", "b"], "2 hosts")]
)
def test_host(hosts: list[str | None], shown: str | None) -> None:
    records = [record(task=task, host=host) for task, host in enumerate(hosts)]
    assert sequence_state(records=records).host == shown


@pytest.mark.parametrize(
    ("records", "tries"),
    [
        ([record(task=0), record(task=1)], 1),
        ([record(task=0), record(task=1), record(task=1, job_id="2")], 2),
        # late sub-runs come with a job of their own
        ([record(task=0), record(task=1, job_id="2")], 2),
        # begun again by Slurm, the job keeps its number
        ([record(task=0, state=JobState.NODE_FAIL), record(task=0), record(task=1)], 2),
        ([record(task=0, state=JobState.NODE_FAIL), record(task=0), record(task=0, job_id="2")], 3),
    ],
)
def test_tries_are_jobs_and_what_slurm_began_again(records: list[TaskRecord], tries: int) -> None:
    assert sequence_state(records=records).tries == tries


def test_cpu_time_is_of_all_tries_and_wall_time_of_the_latest_job() -> None:
    state = sequence_state(
        records=[
            record(task=0, job_id="1", started=0, ended=1000, cpu=900),
            record(task=0, job_id="2", started=2010, ended=2100, cpu=80),
            record(task=1, job_id="2", started=2000, ended=2050, cpu=40),
        ]
    )
    assert state.cpu_time == timedelta(seconds=1020)
    assert state.wall_time == timedelta(seconds=100)


@pytest.mark.parametrize(
    "last",
    [
        record(task=1, state=JobState.RUNNING, started=5),
        record(task=1, state=JobState.PENDING),
    ],
)
def test_job_that_has_not_ended_has_no_wall_time(last: TaskRecord) -> None:
    assert sequence_state(records=[record(task=0, started=0, ended=9), last]).wall_time is None


def test_wall_time_is_never_negative() -> None:
    assert sequence_state(records=[record(started=10, ended=4)]).wall_time == timedelta(0)


@pytest.mark.parametrize(
    ("codes", "shown"), [((0, 0), 0), ((0, 3, 4), 3), ((0, None), None), ((None, -9), -9)]
)
def test_exit_code(codes: tuple[int | None, ...], shown: int | None) -> None:
    records = [record(task=task, exit_code=code) for task, code in enumerate(codes)]
    assert sequence_state(records=records).exit_code == shown


# ---------------------------------------------------------------------------- a fresh start


def failed_twice(layout: Layout) -> None:
    for _ in range(2):  # at 6:00 and at 6:01
        add_try(layout, 1874, 1, R0_TO_DL1, 1)


@pytest.mark.parametrize(
    ("minutes", "exhausted"), [(None, (1,)), (-1, (1,)), (0, ()), (0.5, ()), (1, ()), (99, ())]
)
def test_what_failed_before_the_fresh_start_does_not_count(
    layout: Layout, minutes: float | None, exhausted: tuple[int, ...]
) -> None:
    sequence = data_sequence()
    failed_twice(layout)
    if minutes is not None:
        lift_veto(layout, sequence, (), clock=CLOCK + timedelta(minutes=minutes))
    state = look(layout, sequence)
    assert (state.todo, state.exhausted) == ((0, 1, 2), exhausted)


def test_what_fails_after_the_fresh_start_counts_again(layout: Layout) -> None:
    failed_twice(layout)
    lift_veto(layout, data_sequence(), (), clock=CLOCK + timedelta(minutes=1, seconds=30))
    add_try(layout, 1874, 1, R0_TO_DL1, 1)
    assert look(layout, data_sequence()).exhausted == ()
    add_try(layout, 1874, 1, R0_TO_DL1, 1)
    assert look(layout, data_sequence()).exhausted == (1,)


def test_fresh_start_takes_nothing_away_that_was_done(layout: Layout, data: Sequence) -> None:
    lift_veto(layout, data, ["7"], clock=CLOCK + timedelta(days=1))
    state = look(layout, data)
    assert (state.todo, state.is_done) == ((), True)
    assert state.fresh_start == FreshStart(CLOCK + timedelta(days=1), frozenset({"7"}))


def test_fresh_start_of_one_run_is_not_that_of_another(layout: Layout) -> None:
    failed_twice(layout)
    lift_veto(layout, data_sequence(1875), (), clock=CLOCK + timedelta(days=1))
    assert look(layout, data_sequence()).exhausted == (1,)


def test_fresh_start_of_the_calibration(layout: Layout) -> None:
    for _ in range(2):
        add_try(layout, CALIBRATION_RUN, None, "lstchain_create_drs4_pedestal_file", 1)
    sequence = calibration_sequence()
    assert look(layout, sequence).exhausted == (0,)
    lift_veto(layout, sequence, (), clock=CLOCK + timedelta(minutes=5))
    assert look(layout, sequence).exhausted == ()


@pytest.mark.parametrize("content", [b"", b"soon", b"\xff"])
def test_fresh_start_that_cannot_be_read_is_none(layout: Layout, content: bytes) -> None:
    failed_twice(layout)
    layout.fresh_start(data_sequence()).write_bytes(content)
    state = look(layout, data_sequence())
    assert (state.fresh_start, state.exhausted) == (None, (1,))


def test_tasks_of_which_the_history_tells_of_a_failure(layout: Layout) -> None:
    add_try(layout, 1874, 1, R0_TO_DL1, 1)
    add_try(layout, 1874, 2, R0_TO_DL1, 0)
    state = look(layout, data_sequence())
    assert (state.failed, state.exhausted) == ((1,), ())
    lift_veto(layout, data_sequence(), (), clock=CLOCK + timedelta(minutes=1))
    assert look(layout, data_sequence()).failed == ()


def test_calibration_of_which_the_history_tells_of_a_failure(layout: Layout) -> None:
    assert look(layout, calibration_sequence()).failed == ()
    add_try(layout, CALIBRATION_RUN, None, "lstchain_create_drs4_pedestal_file", 1)
    assert look(layout, calibration_sequence()).failed == (0,)


def test_tries_of_subruns_that_are_left_out_do_not_colour_the_run() -> None:
    sequence = data_sequence(subruns=(0, 1), left_out=(2,))
    records = [record(task=0), record(task=2, state=JobState.FAILED, exit_code=1)]
    state = sequence_state(sequence, records=records)
    assert (set(state.latest), state.state, state.exit_code) == ({0}, JobState.COMPLETED, None)
    alive = sequence_state(sequence, records=[record(task=0), record(task=2, state=JobState.RUNNING)])
    assert set(alive.latest) == {0, 2} and alive.live == {2}
