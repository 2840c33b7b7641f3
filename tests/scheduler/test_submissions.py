"""Notes of what was submitted: made once, read back as written, faults named."""

from __future__ import annotations

import json
import multiprocessing
import string
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from osa.errors import AnotherInstanceError, ExitCode, InputError
from osa.model.job import JobState, TaskRecord
from osa.scheduler.submissions import Submission, Submissions, next_number

WHEN = datetime(2026, 11, 24, 20, 0, tzinfo=UTC)
RACES = 20


def submission(name: str = "LST1_01874", number: int = 1, **changes: object) -> Submission:
    return replace(Submission(name, number, (0, 1), 0, WHEN), **changes)  # type: ignore[arg-type]


def record(task: int | None, state: JobState, **changes: object) -> TaskRecord:
    return replace(TaskRecord("12", "LST1_01874", task, state, WHEN), **changes)  # type: ignore[arg-type]


@pytest.fixture
def notes(tmp_path: Path) -> Submissions:
    return Submissions(tmp_path / "night" / "submissions")


def test_nothing_was_submitted(notes: Submissions) -> None:
    assert notes.read() == ()
    assert not notes.folder.exists()


def test_life_of_a_note(notes: Submissions) -> None:
    intent = submission()
    notes.add(intent)
    assert notes.read() == (intent,)
    made = replace(intent, job_id="12")
    notes.update(made)
    assert notes.read() == (made,)
    notes.withdraw(made)
    assert notes.read() == ()
    notes.add(intent)  # its number is free again
    assert sorted(path.name for path in notes.folder.iterdir()) == ["LST1_01874.0001.json"]


def test_notes_are_in_the_order_of_their_making(notes: Submissions) -> None:
    later, sooner = submission(intended=WHEN + timedelta(seconds=1)), submission("LST1_01875")
    again = submission(number=2, intended=WHEN + timedelta(seconds=2))
    for each in (again, later, sooner):
        notes.add(each)
    assert notes.read() == (sooner, later, again)


def test_numbers_are_counted_for_each_name() -> None:
    made = [submission(number=1), submission(number=7), submission("LST1_01875", 3)]
    names = ("LST1_01874", "LST1_01875", "LST1_01876")
    assert [next_number(made, name) for name in names] == [8, 4, 1]


def test_number_beyond_four_digits(notes: Submissions) -> None:
    many = submission(number=12345)
    notes.add(many)
    assert notes.read() == (many,)


def test_note_that_is_withdrawn_while_it_is_read(notes: Submissions, monkeypatch: pytest.MonkeyPatch) -> None:
    notes.add(submission())
    notes.add(submission("LST1_01875"))
    read = Path.read_bytes

    def read_late(path: Path) -> bytes:
        if path.name.startswith("LST1_01874"):
            path.unlink(missing_ok=True)
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", read_late)
    assert notes.read() == (submission("LST1_01875"),)
    notes.withdraw(submission())  # so it is already


def test_note_can_be_read_by_all(notes: Submissions) -> None:
    notes.add(submission())
    (path,) = notes.folder.iterdir()
    assert path.stat().st_mode & 0o777 == 0o644


# -------------------------------------------------------------------------------- settled


@pytest.mark.parametrize(
    ("tasks", "known", "settled"),
    [
        ((0, 1), [], False),
        ((0, 1), [(0, JobState.COMPLETED)], False),
        ((0, 1), [(0, JobState.COMPLETED), (1, JobState.RUNNING)], False),
        ((0, 1), [(0, JobState.COMPLETED), (1, JobState.UNKNOWN)], False),
        ((0, 1), [(0, JobState.COMPLETED), (1, JobState.FAILED)], True),
        ((0, 1), [(0, JobState.NODE_FAIL), (0, JobState.PENDING), (1, JobState.FAILED)], False),
        ((0, 1), [(0, JobState.NODE_FAIL), (0, JobState.CANCELLED), (1, JobState.FAILED)], True),
        ((), [], False),
        ((), [(None, JobState.TIMEOUT)], True),
    ],
)
def test_submission_of_which_all_ends_are_known(
    tasks: tuple[int, ...], known: list[tuple[int | None, JobState]], settled: bool
) -> None:
    made = submission(tasks=tasks, known=tuple(record(task, state) for task, state in known))
    assert made.is_settled is settled


def test_indices_within_the_array() -> None:
    assert submission(tasks=(1000, 1004), offset=1000).indices == {0, 4}
    assert submission(tasks=()).indices == {None}


# ------------------------------------------------------------------------- only one makes


def test_note_is_made_once(notes: Submissions) -> None:
    notes.add(submission(job_id="12"))
    with pytest.raises(AnotherInstanceError, match="LST1_01874: another sequencer") as caught:
        notes.add(submission())
    assert caught.value.exit_code is ExitCode.ANOTHER_INSTANCE
    assert notes.read() == (submission(job_id="12"),)
    assert len(list(notes.folder.iterdir())) == 1  # nothing temporary is left


def _try_all(folder: Path, who: int, wait: Callable[[], object], won: Callable[[int], object]) -> None:
    for number in range(1, RACES + 1):
        wait()
        try:
            Submissions(folder).add(submission(number=number, job_id=str(who)))
        except AnotherInstanceError:
            continue
        won(number)


def test_of_two_threads_one_makes_it(notes: Submissions) -> None:
    barrier, won = threading.Barrier(2), []
    threads = [
        threading.Thread(target=_try_all, args=(notes.folder, who, lambda: barrier.wait(30), won.append))
        for who in (0, 1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(won) == list(range(1, RACES + 1))
    assert len(notes.read()) == RACES


def _try_all_in_process(folder: Path, who: int, barrier: threading.Barrier, target: Path) -> None:
    won: list[int] = []
    _try_all(folder, who, lambda: barrier.wait(30), won.append)
    target.write_text(json.dumps(won), encoding="utf-8")


def test_of_two_processes_one_makes_it(notes: Submissions, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(2)
    targets = [tmp_path / f"won{who}.json" for who in (0, 1)]
    processes = [
        context.Process(target=_try_all_in_process, args=(notes.folder, who, barrier, target))
        for who, target in enumerate(targets)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    won = [json.loads(target.read_text(encoding="utf-8")) for target in targets]
    assert sorted(won[0] + won[1]) == list(range(1, RACES + 1))
    assert {s.number for s in notes.read() if s.job_id == "0"} == set(won[0])


def test_failed_writing_leaves_nothing(notes: Submissions, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("osa.scheduler.submissions.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        notes.add(submission())
    assert list(notes.folder.iterdir()) == []


# --------------------------------------------------------------------------- broken files

WHOLE = {"tasks": [0, 1], "offset": 0, "intended": 1e9, "job_id": None, "known": []}
ROW = ["12", 0, "COMPLETED", 1e9, None, None, 0, "n1", 0.5, ""]
FAULTS = {
    "empty": b"",
    "torn": json.dumps(WHOLE).encode()[:-9],
    "binary": b"\xff\xfe\x00",
    "list": b"[]",
    "number": b"12",
    "null": b"null",
    "no tasks": json.dumps({**WHOLE, "tasks": None}).encode(),
    "tasks of words": json.dumps({**WHOLE, "tasks": ["a"]}).encode(),
    "no time": json.dumps({key: value for key, value in WHOLE.items() if key != "intended"}).encode(),
    "endless time": json.dumps({**WHOLE, "intended": 1e300}).encode(),
    "no number": b'{"tasks": [], "offset": 0, "intended": NaN, "job_id": null, "known": []}',
    "infinite": b'{"tasks": [], "offset": 0, "intended": Infinity, "job_id": null, "known": []}',
    "short row": json.dumps({**WHOLE, "known": [ROW[:-1]]}).encode(),
    "strange state": json.dumps({**WHOLE, "known": [[*ROW[:2], "FINE", *ROW[3:]]]}).encode(),
    "row is a number": json.dumps({**WHOLE, "known": [4]}).encode(),
    "nested too deep": b"[" * 100_000,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_file_that_is_broken_is_named(notes: Submissions, fault: str) -> None:
    notes.add(submission("LST1_01875"))
    path = notes.folder / "LST1_01874.0001.json"
    path.write_bytes(FAULTS[fault])
    with pytest.raises(InputError, match="does not tell what was submitted") as caught:
        notes.read()
    assert str(path) in str(caught.value)
    assert path.read_bytes() == FAULTS[fault]


@pytest.mark.parametrize(
    "name",
    [
        ".LST1_01874.0001.json.x7",
        ".tmpabc",
        "LST1_01874.0001.json~",
        "LST1_01874.1.json",
        "LST1_01874.0001.txt",
        "LST1_01874.json",
        "Ä.0001.json",
        "README",
    ],
)
def test_foreign_files_are_let_be(notes: Submissions, name: str) -> None:
    notes.add(submission())
    (notes.folder / name).write_bytes(b"something else")
    assert notes.read() == (submission(),)


def test_note_of_the_whole_form_is_read(notes: Submissions) -> None:
    notes.folder.mkdir(parents=True)
    (notes.folder / "LST1_01874.0001.json").write_text(json.dumps({**WHOLE, "known": [ROW]}))
    (found,) = notes.read()
    assert found.known == (
        TaskRecord(
            job_id="12",
            name="LST1_01874",
            task=0,
            state=JobState.COMPLETED,
            submitted=datetime.fromtimestamp(1e9, UTC),
            exit_code=0,
            host="n1",
            cpu_time=timedelta(seconds=0.5),
        ),
    )


# ------------------------------------------------------------------------------ read back

names = st.text(alphabet=string.ascii_letters + string.digits + "_.-", min_size=1, max_size=40)
ids = st.integers(1, 10**9).map(str)
times = st.integers(0, 4_000_000_000_000_000).map(
    lambda micros: datetime.fromtimestamp(0, UTC) + timedelta(microseconds=micros // 1000 * 1000)
)
records = st.builds(
    TaskRecord,
    job_id=ids,
    name=st.just("LST1_01874"),
    task=st.none() | st.integers(0, 10**6),
    state=st.sampled_from(JobState),
    submitted=times,
    started=st.none() | times,
    ended=st.none() | times,
    exit_code=st.none() | st.integers(-64, 255),
    host=st.none() | st.text(),
    cpu_time=st.integers(0, 10**9).map(lambda ms: timedelta(milliseconds=ms)),
    reason=st.text(alphabet=st.characters(exclude_categories=["Cs"])),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(
    name=names,
    number=st.integers(1, 99999),
    tasks=st.lists(st.integers(0, 10**6), unique=True).map(lambda found: tuple(sorted(found))),
    offset=st.integers(0, 10**6),
    intended=times,
    job_id=st.none() | ids,
    known=st.lists(records, max_size=5),
)
def test_notes_are_read_back_as_written(
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    number: int,
    tasks: tuple[int, ...],
    offset: int,
    intended: datetime,
    job_id: str | None,
    known: list[TaskRecord],
) -> None:
    notes = Submissions(tmp_path_factory.mktemp("notes"))
    own = tuple(replace(each, name=name) for each in known)
    made = Submission(name, number, tasks, offset, intended, job_id, own)
    notes.add(replace(made, known=()))
    notes.update(made)
    assert notes.read() == (made,)
