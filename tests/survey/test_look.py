"""Many runs at a time, each in a process of its own: what one file does to its reader harms no other run."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from osa.survey import look
from osa.survey.look import look_into_runs
from osa.survey.run import RunSurvey
from osa.survey.surveyor import survey_run
from osa.survey.tagging import RunLabel, Tag
from osa.system.workers import EntryPoint
from tests.survey.conftest import DRS4, START, cut_out_a_byte, damage_tile, files_of, mixed, write_raw

DATA = mixed(physics=85, pedestal=7, flatfield=8)

# Waits less long for readers that hang.
IMPATIENT = """
from osa.survey import surveyor

def main():
    surveyor._SECONDS = {seconds}
    return surveyor.main()
"""

# Does with its process what the number of the run says.
STAND_IN = """
import json, os, sys, time
from pathlib import Path

def main():
    asked, answer, mark = map(Path, sys.argv[1:4])
    run = json.loads(asked.read_text())["run"]
    if run == 1:
        sys.exit("out of\\n  disk space \\n\\n")
    if run == 2:
        mark.write_text("0")
        os.kill(os.getpid(), 9)
    if run == 3:
        mark.write_text("99")
        os._exit(7)
"""


def truncate(path: Path, percent: int) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * percent // 100])


def write_data(folder: Path, run: int, subruns: int) -> list[Path]:
    """Write a DATA run; gives the file of each sub-run."""
    return [
        write_raw(folder, run, subrun, DATA, first_id=1 + subrun * len(DATA))[0] for subrun in range(subruns)
    ]


@pytest.fixture
def use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put another function in the place of the surveyor's."""

    def use(text: str) -> None:
        folder = tmp_path / "modules"
        folder.mkdir()
        (folder / "instead_of_surveyor.py").write_text(text, "utf-8")
        monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        monkeypatch.setattr(look, "_SURVEYOR", EntryPoint("instead_of_surveyor", "main"))

    return use


@pytest.fixture(autouse=True)
def nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No process and no file is left, however it ended."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    yield
    after = {process.pid for process in psutil.Process().children(recursive=True)}
    assert after <= before
    assert list(folder.iterdir()) == []


def test_no_runs_need_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look, "Workshop", None)
    assert look_into_runs({}, at_once=2) == {}


@dataclass(frozen=True)
class BadDisk:
    """A night of which many files are broken, and what was found in it."""

    runs: dict[int, dict[int, list[Path]]]
    found: dict[int, RunSurvey]
    told: list[tuple[int, int]]


DIED = "reading it ended with signal 11"


@pytest.fixture(scope="module")
def bad_disk(tmp_path_factory: pytest.TempPathFactory) -> BadDisk:
    """Files that their reader survives, and others that end it."""
    folder = tmp_path_factory.mktemp("bad") / "a 'raw' \"folder\"\nand more \u00e9"
    write_raw(folder, 1872, 0, DRS4)
    write_data(folder, 1874, 2)
    truncate(write_data(folder, 1875, 2)[0], 50)
    truncate(write_data(folder, 1876, 1)[0], 99)
    (in_part,) = write_raw(folder, 1877, 0, mixed(physics=425, pedestal=35, flatfield=40))
    damage_tile(in_part, 5)
    (nothing,) = write_data(folder, 1878, 1)
    nothing.write_bytes(bytes(range(256)) * 40)
    for path in write_data(folder, 1879, 6):
        truncate(path, 70)
    runs, told = files_of(folder), list[tuple[int, int]]()
    found = look_into_runs(runs, at_once=3, on_done=lambda done, total: told.append((done, total)))
    return BadDisk(runs, found, told)


def test_progress_is_told(bad_disk: BadDisk) -> None:
    assert bad_disk.told == [(done, 7) for done in range(8)]


def test_broken_files_harm_no_other_run(bad_disk: BadDisk) -> None:
    assert sorted(bad_disk.found) == sorted(bad_disk.runs)
    for run in (1872, 1874, 1877, 1878):  # the same as without a process of its own
        assert bad_disk.found[run] == survey_run(run, bad_disk.runs[run])


def test_file_that_ends_its_reader_is_passed_over(bad_disk: BadDisk) -> None:
    survey = bad_disk.found[1875]
    assert survey.faults[0].startswith(f"sub-run 0: {DIED}")
    assert (survey.subruns, survey.sampled) == ((0, 1), ((1, 100),))
    assert (survey.tag.label, survey.start) == (RunLabel.DATA, START)
    assert survey.reference is not None and survey.reference.event_id == 101


def test_file_that_ends_its_reader_is_not_said_to_be_missing(bad_disk: BadDisk) -> None:
    assert [fault for fault in bad_disk.found[1875].faults if "no raw file" in fault] == []


def test_nearly_whole_file_is_said_to_be_broken(bad_disk: BadDisk) -> None:
    """Whether its reader survives depends on what is beyond the end in memory."""
    survey = bad_disk.found[1876]
    assert survey.tag.label in {RunLabel.ERROR, RunLabel.DATA}
    assert survey.faults[0].startswith("sub-run 0: ")


def test_run_of_which_every_file_ends_its_reader_is_given_up(bad_disk: BadDisk) -> None:
    survey = bad_disk.found[1879]
    assert survey.tag.label is RunLabel.ERROR
    assert survey.tag.reason.startswith(DIED)
    assert [fault.partition(":")[0] for fault in survey.faults] == [f"sub-run {k}" for k in range(4)]
    assert (survey.subruns, survey.start, survey.reference) == (tuple(range(6)), None, None)


def test_reader_that_hangs_is_ended(tmp_path: Path, use: Callable[[str], None]) -> None:
    use(IMPATIENT.format(seconds=2))
    paths = write_data(tmp_path / "raw", 1874, 3)
    cut_out_a_byte(paths[1])
    survey = look_into_runs(files_of(tmp_path / "raw"), at_once=1)[1874]
    assert "sub-run 1: reading it takes for ever" in survey.faults
    assert (survey.tag.label, survey.sampled) == (RunLabel.DATA, ((0, 100), (2, 100)))
    assert survey.subruns == (0, 1, 2)


def test_how_a_process_ended_is_told(tmp_path: Path, use: Callable[[str], None]) -> None:
    use(STAND_IN)
    found = look_into_runs({run: {0: [tmp_path / "0"]} for run in (1, 2, 3)}, at_once=2)
    reason = "reading it ended with exit code 1 (disk space)"
    assert found[1] == RunSurvey(1, (0,), Tag(RunLabel.ERROR, reason=reason))
    killed = "reading it ended with signal 9 (nothing was said)"
    assert found[2].faults == (f"sub-run 0: {killed}",)
    assert found[3].tag.reason == "reading it ended with exit code 7 (nothing was said)"
    assert found[3].faults == ()


# ------------------------------------------------------------------------------- interrupted


def hanging(folder: Path, *runs: int) -> None:
    for run in runs:
        for path in write_data(folder, run, 3):
            cut_out_a_byte(path)


def test_interrupt_ends_all_readers_at_once(tmp_path: Path, use: Callable[[str], None]) -> None:
    use(IMPATIENT.format(seconds=10))
    write_data(tmp_path / "raw", 1, 1)
    hanging(tmp_path / "raw", 2, 3)
    interrupted = []

    def interrupt(done: int, _total: int) -> None:
        if done == 1:
            interrupted.append(time.monotonic())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        look_into_runs(files_of(tmp_path / "raw"), at_once=2, on_done=interrupt)
    assert time.monotonic() - interrupted[0] < 8  # a reader that hangs takes 10, and there are three a run
