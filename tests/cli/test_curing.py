"""The closer command on a night that is not complete: it cures, waits, closes, and says so."""

from __future__ import annotations

import io
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from failed_tries import NO_MEMORY, NO_PEDESTALS, NO_POINTING
from fake_slurm import FakeSlurm
from night_states import CALIBRATION_RUN, DRS4_RUN
from product_builders import write_datacheck
from record_builders import add_records
from stand_ins import StandIns

from osa.cli import sequencer as sequencer_module
from osa.cli.closer import main
from osa.closing import night as night_module
from osa.closing.undo import _link_calibration
from osa.incidences import read_incidences
from osa.layout import DATACHECK, DL2, Layout
from osa.model.night import Night
from osa.nightsummary.plan import plan_night
from osa.scheduler import local
from osa.scheduler.select import select_scheduler

Capture = pytest.CaptureFixture[str]
UNKNOWN = (1, "KeyError: 'a'")
MACHINE: dict[tuple[str, str], str | None] = {
    ("LOCAL", "max_cores"): "4",
    ("LOCAL", "max_memory"): "64 GB",
}


@pytest.fixture
def work(
    planned: Layout, make_config: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> StandIns:
    """A night of which all is done; nobody is at a terminal; lstchain's merges are left out."""
    make_config(MACHINE)
    monkeypatch.setattr(night_module, "perform_merges", lambda *_, **__: [])
    monkeypatch.setattr(local, "_POLL_SECONDS", 0.02)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    return StandIns.install(planned, tmp_path / "stand-ins", monkeypatch)


def closer(work: StandIns, *more: str) -> int:
    return main(["-c", str(work.layout.settings.path), "-d", "2020_01_27", *more])


def sequencer(work: StandIns, *more: str) -> int:
    return sequencer_module.main(["-c", str(work.layout.settings.path), "-d", "2020_01_27", *more])


def listing(layout: Layout) -> dict[Path, tuple[int, int]]:
    base = layout.settings.telescope.raw_dir.parent
    return {path: (path.lstat().st_mtime_ns, path.lstat().st_size) for path in base.rglob("*")}


def incidences(work: StandIns) -> str:
    return "\n".join(read_incidences(work.layout.incidences))


def lend(layout: Layout, days: int = 2) -> None:
    other = Layout(layout.settings, Night(layout.night.date - timedelta(days=days)))
    other.final_calibration_dir.mkdir(parents=True)
    for path in (
        layout.drs4_pedestal(DRS4_RUN),
        layout.time_calibration(CALIBRATION_RUN),
        layout.charge_calibration(CALIBRATION_RUN),
    ):
        shutil.copy(path, other.final_calibration_dir)


def unmake_all(work: StandIns) -> None:
    work.unmake(1873)
    work.unmake(1874, *(task for task in (0, 1, 2) if work.layout.history(1874, task).exists()))
    work.unmake(1875, 0, 1)


# --------------------------------------------------------------------- one call on this machine


def test_what_is_missing_is_made_and_the_night_closed(work: StandIns, capsys: Capture) -> None:
    work.unmake(1874, 0, 2)
    work.unmake(1875, 1)
    assert closer(work, "-y") == 0
    assert sorted(work.attempts) == ["LST1_01874.0 8192", "LST1_01874.2 8192", "LST1_01875.1 8192"]
    out, err = capsys.readouterr()
    assert "cured: submit sub-runs 0, 2 of run 01874: it is missing" in err
    assert "LST1_01874: NOT complete" in out and out.endswith(f"see {work.layout.night_finished}\n")
    assert work.layout.final(DL2, 1874, 2).exists()


@pytest.mark.parametrize("way", [(137, ""), (-9, ""), (1, NO_MEMORY)])
def test_out_of_memory(work: StandIns, way: tuple[int, str]) -> None:
    work.unmake(1874, 1)
    work.fail("LST1_01874.1", way)
    assert closer(work, "-y") == 0
    assert work.attempts == ["LST1_01874.1 8192", "LST1_01874.1 16384"]
    said = "Sub-run 1 of run 01874: out of memory; tried again with more memory."
    assert said in work.layout.night_finished.read_text("utf-8")


def test_several_failures_in_turn(work: StandIns) -> None:
    work.unmake(1874, 1)
    work.fail("LST1_01874.1", UNKNOWN, (137, ""), UNKNOWN)
    assert closer(work, "-y") == 0
    assert work.attempts == [f"LST1_01874.1 {memory}" for memory in (8192, 8192, 16384, 16384)]
    assert "unknown failure" in incidences(work) and "out of memory" in incidences(work)


@pytest.mark.parametrize(
    ("task", "log", "words"),
    [
        (0, NO_POINTING, "no pointing"),
        (2, NO_PEDESTALS, "last sub-run cut short"),
    ],
)
def test_left_out(work: StandIns, task: int, log: str, words: str, capsys: Capture) -> None:
    work.unmake(1874, task)
    work.fail(f"LST1_01874.{task}", (1, log))
    assert closer(work, "-y") == 0
    assert len(work.attempts) == 1
    assert f"cured: leave out sub-run {task} of run 01874: {words}" in capsys.readouterr().err
    assert f"Sub-run {task} of run 01874: {words}; left out" in work.layout.night_finished.read_text("utf-8")
    assert sequencer(work, "-s") == 0
    assert f"run 01874: sub-runs {task} left out: {words}" in capsys.readouterr().err


def test_what_was_left_out_is_taken_in_again(work: StandIns) -> None:
    work.unmake(1874, 0)
    work.fail("LST1_01874.0", (1, NO_POINTING))
    assert closer(work, "-y", "--seq", "1875") == 0
    assert sequencer(work) == 1
    assert closer(work, "-y", "--seq", "1874") == 0
    assert closer(work, "--reopen", "--seq", "1874") == 0
    assert sequencer(work, "--take-in", "1874.0") == 0
    assert closer(work, "-y") == 0
    assert work.attempts == ["LST1_01874.0 8192"] * 2
    assert work.layout.final(DL2, 1874, 0).exists()
    assert "Taken in again by an operator: 01874.0000." in incidences(work)


def test_whole_run_without_pointing(work: StandIns) -> None:
    work.unmake(1875, 0, 1)
    for task in (0, 1):
        work.fail(f"LST1_01875.{task}", (1, NO_POINTING))
    assert closer(work, "-y") == 0
    assert "Run 01875: no pointing; left out" in incidences(work)
    assert work.layout.final(DL2, 1874, 0).exists() and not work.layout.final(DL2, 1875, 0).exists()


def test_run_of_which_one_subrun_after_the_other_is_left_out(work: StandIns) -> None:
    work.unmake(1875, 0, 1)
    work.fail("LST1_01875.0", (137, ""), (1, NO_POINTING))
    work.fail("LST1_01875.1", (1, NO_PEDESTALS))
    assert closer(work, "-y") == 0


def test_failures_that_nobody_knows_are_vetoed_and_unveto_begins_afresh(
    work: StandIns, capsys: Capture
) -> None:
    work.unmake(1874, 1)
    work.fail("LST1_01874.1", UNKNOWN, UNKNOWN)
    assert closer(work, "-y") == 1
    assert len(work.attempts) == 2
    assert "cured: veto run 01874" in capsys.readouterr().err
    for _ in range(2):
        assert closer(work, "-y") == 1
        assert "it is vetoed" in capsys.readouterr().out
    assert len(work.attempts) == 2
    work.fail("LST1_01874.1", UNKNOWN)
    assert sequencer(work, "--unveto", "1874") == 0
    assert closer(work, "-y") == 0
    assert len(work.attempts) == 4


def test_torn_product_is_made_again(work: StandIns, capsys: Capture) -> None:
    path = work.layout.working(DL2, 1875, 0)
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    assert closer(work, "-y") == 0
    assert work.attempts == ["LST1_01875.0 8192"]
    assert work.layout.final(DL2, 1875, 0).read_bytes() == whole
    (kept,) = work.layout.analysis_dir.glob("*.damaged.*")
    assert kept.read_bytes() == whole[:-100]
    assert f"{path.name} was damaged and is made again" in incidences(work)


def test_product_that_is_torn_each_time_is_not_made_for_ever(
    work: StandIns, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock goes on from one setting aside to the next, as it does where lstchain works."""
    path = work.layout.working(DL2, 1875, 0)
    (work.folder / "products" / path.name).write_bytes(b"torn")
    path.write_bytes(b"torn")
    stamps = iter(range(100))
    monkeypatch.setattr("osa.closing.remedies.stamp", lambda _: f"20200128T0600{next(stamps):02d}")
    assert closer(work, "-y") == 1
    assert len(work.attempts) == 2
    assert "made again too often: look at the disk" in capsys.readouterr().err
    assert not work.layout.night_finished.exists()


def test_calibration_that_cannot_be_had_is_borrowed(work: StandIns, capsys: Capture) -> None:
    lend(work.layout)
    unmake_all(work)
    work.fail("LST1_01873", *[UNKNOWN] * 9)
    assert closer(work, "-y") == 0
    tries = [line for line in work.attempts if line.startswith("LST1_01873")]
    assert len(tries) == 2
    assert "cured: use the calibration of the night 2020-01-25" in capsys.readouterr().err
    links = sorted(path.name for path in work.layout.final_calibration_dir.iterdir() if path.is_symlink())
    assert len(links) == 3
    assert "calibration of the night 2020-01-25 serves" in work.layout.night_finished.read_text("utf-8")


def test_without_another_calibration_it_is_said_what_lacks(work: StandIns, capsys: Capture) -> None:
    unmake_all(work)
    work.fail("LST1_01873", *[UNKNOWN] * 9)
    assert closer(work, "-y") == 1
    assert "none of the 7 night(s) before has one" in capsys.readouterr().err
    assert not any(line.startswith("LST1_01874") for line in work.attempts)


def test_only_one_run_is_cured_and_closed(work: StandIns, capsys: Capture) -> None:
    work.unmake(1874, 1)
    work.unmake(1875, 0)
    assert closer(work, "-y", "--seq", "1875") == 0
    assert work.attempts == ["LST1_01875.0 8192"]
    assert capsys.readouterr().out.endswith("Run 1875 is closed\n")
    assert closer(work, "-y") == 0
    assert work.attempts[1:] == ["LST1_01874.1 8192"]


def test_force_cures_nothing(work: StandIns) -> None:
    work.unmake(1874, 1)
    assert closer(work, "-f") == 0
    assert work.attempts == []
    assert "closed although" in work.layout.night_finished.read_text("utf-8")


# ---------------------------------------------------------------------------- looking, asking


@pytest.mark.parametrize(
    ("trouble", "would"),
    [
        ("missing", "would submit sub-run 1 of run 01874: it is missing\n"),
        ("memory", "would submit sub-run 1 of run 01874 with 16 GB: out of memory\n"),
        ("pointing", "would leave out sub-run 1 of run 01874: no pointing\n"),
        ("torn", "would set aside dl2_LST-1.Run01874.0001.h5, to have it made again: "),
        ("calibration", "would use the calibration of the night 2020-01-25: the night's own cannot be had"),
    ],
)
def test_looking_tells_what_would_be_done_and_touches_nothing(
    work: StandIns, capsys: Capture, trouble: str, would: str
) -> None:
    lend(work.layout)
    if trouble == "torn":
        work.layout.working(DL2, 1874, 1).write_bytes(b"torn")
    else:
        work.unmake(1874, 1)
    if trouble in {"memory", "pointing"}:
        work.fail("LST1_01874.1", (1, NO_MEMORY if trouble == "memory" else NO_POINTING))
        sequencer(work)
    if trouble == "calibration":
        unmake_all(work)
        sequencer(work, "--veto", "1873")
    before, attempts = listing(work.layout), work.attempts
    capsys.readouterr()
    assert closer(work, "-s") == 1
    out = capsys.readouterr().out
    assert would in out
    assert out.endswith("would not close the night yet\n")
    assert listing(work.layout) == before
    assert work.attempts == attempts


class Terminal:
    """Somebody answers."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("answers", "code", "tries"), [("n", 1, 0), ("yy", 0, 2), ("yn", 1, 2)])
def test_somebody_is_asked_once_before_anything_is_cured(
    work: StandIns, monkeypatch: pytest.MonkeyPatch, answers: str, code: int, tries: int
) -> None:
    work.unmake(1874, 1)
    work.fail("LST1_01874.1", (137, ""))
    asked: list[str] = []
    waiting = list(answers)

    def answer(question: str) -> str:
        asked.append(question)
        return waiting.pop(0) if waiting else "n"

    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("builtins.input", answer)
    assert closer(work) == code
    assert len(work.attempts) == tries
    assert "submit sub-run 1 of run 01874: it is missing" in asked[0]
    assert sum("Cure this?" in question for question in asked) == 1


# -------------------------------------------------------------------------------- not yet


def test_not_yet_while_tasks_go_on_in_the_background(work: StandIns, capsys: Capture) -> None:
    work.unmake(1874, 1)
    assert closer(work, "-y", "--detach") == 5
    assert "not closed yet" in capsys.readouterr().err
    scheduler = select_scheduler(work.layout.settings, "local")
    limit = time.monotonic() + 20
    while any(record.state.is_live for record in scheduler.records(work.layout.group)):
        assert time.monotonic() < limit
        time.sleep(0.05)
    assert closer(work, "-y") == 0
    assert work.attempts == ["LST1_01874.1 8192"]


def test_tasks_that_nobody_runs_any_more_are_run(work: StandIns, monkeypatch: pytest.MonkeyPatch) -> None:
    work.unmake(1874, 1)
    with monkeypatch.context() as patch:
        patch.setattr("osa.cli.progress.run_tasks", lambda *_, **__: None)  # killed before it ran them
        sequencer(work)
    assert work.attempts == []
    assert closer(work, "-y") == 0
    assert work.attempts == ["LST1_01874.1 8192"]


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    made = FakeSlurm.install(tmp_path / "slurm")
    monkeypatch.setenv("PATH", f"{made.environment['PATH']}:{os.environ['PATH']}")
    return made


def as_cron(work: StandIns) -> int:
    return closer(work, "--backend", "slurm")


def test_on_slurm_one_call_after_another_closes_the_night(work: StandIns, slurm: FakeSlurm) -> None:
    work.unmake(1874, 1, 2)
    assert as_cron(work) == 5
    assert as_cron(work) == 5
    (job,) = slurm.jobs("LST1_01874")
    slurm.begin(job, 1)
    slurm.end(job, 1, state="OUT_OF_MEMORY", code="0:125")
    slurm.drain()
    assert as_cron(work) == 5
    script = work.layout.analysis_dir / "sequence_LST1_01874.py"
    assert "#SBATCH --mem=16384M\n" in script.read_text("utf-8")
    slurm.drain()
    assert as_cron(work) == 0
    assert [line.split()[0] for line in work.attempts] == ["LST1_01874.2", "LST1_01874.1"]
    assert "out of memory; tried again with more memory" in incidences(work)


def test_on_slurm_two_kinds_of_task_of_a_run_are_two_jobs(work: StandIns, slurm: FakeSlurm) -> None:
    work.unmake(1874, 0, 1, 2)
    assert as_cron(work) == 5
    (job,) = slurm.jobs("LST1_01874")
    for task, state in enumerate(("NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT")):
        slurm.begin(job, task)
        slurm.end(job, task, state=state)
    assert as_cron(work) == 5
    arrays = [word for words in slurm.calls("sbatch") for word in words if word.startswith("--array")]
    assert sorted(arrays[1:]) == ["--array=0", "--array=1", "--array=2"]
    slurm.drain()
    assert as_cron(work) == 0


def test_calibration_that_failed_on_slurm_frees_what_waits_for_it(work: StandIns, slurm: FakeSlurm) -> None:
    work.unmake(1873)
    work.unmake(1874, 1)
    work.fail("LST1_01873", (137, ""))
    assert as_cron(work) == 5
    slurm.drain()
    assert as_cron(work) == 5
    slurm.drain()
    assert as_cron(work) == 0
    assert [line.split()[0] for line in work.attempts] == ["LST1_01873", "LST1_01873", "LST1_01874.1"]


def test_looking_on_slurm_while_tasks_are_at_work(work: StandIns, slurm: FakeSlurm) -> None:
    work.unmake(1874, 1)
    assert as_cron(work) == 5
    before = listing(work.layout)
    assert closer(work, "--backend", "slurm", "-s") == 5
    assert listing(work.layout) == before


# ------------------------------------------------------------------- a machine that is too small


@pytest.fixture
def small(work: StandIns, make_config: Callable[..., Path]) -> StandIns:
    """A machine with no more memory than a task usually gets; a task of the night needs more."""
    make_config(MACHINE | {("LOCAL", "max_memory"): "9 GB", ("ALARM", "hour"): "18"})
    work.unmake(1874, 1)
    work.fail("LST1_01874.1", *[(137, "")] * 20)
    return work


def test_run_that_needs_more_than_the_machine_has_is_vetoed(small: StandIns) -> None:
    closer(small, "-y")
    (veto,) = small.layout.analysis_dir.glob("*.veto")
    assert "01874" in veto.name and "can have no more" in veto.read_text("utf-8")
    assert small.attempts == ["LST1_01874.1 8192"]
    assert closer(small, "-y") == 1
    assert small.attempts == ["LST1_01874.1 8192"]


def test_machine_that_is_too_small_is_told(small: StandIns, capsys: Capture) -> None:
    assert closer(small, "-y") == 1
    assert "16384 MB" in capsys.readouterr().err


@pytest.mark.parametrize("command", [closer, sequencer])
def test_other_runs_are_made_all_the_same(small: StandIns, command: Callable[[StandIns], int]) -> None:
    closer(small, "-y")
    small.unmake(1875, 0)
    for _ in range(2):
        command(small)
    assert "LST1_01875.0 8192" in small.attempts


def test_alarm_is_raised_where_a_submission_is_refused(small: StandIns) -> None:
    for _ in range(3):
        closer(small, "-y")
    assert small.layout.alarm.exists()


# --------------------------------------------------------------------------------- the alarm


def test_alarm_where_a_person_has_to_look(work: StandIns, make_config: Callable[..., Path]) -> None:
    make_config(MACHINE | {("ALARM", "hour"): "18"})
    work.unmake(1874, 1)
    work.fail("LST1_01874.1", UNKNOWN, UNKNOWN)
    assert closer(work, "-s") == 1
    assert not work.layout.alarm.exists()
    assert closer(work, "-y") == 1
    text = work.layout.alarm.read_text("utf-8")
    assert "LST1_01874: it is vetoed" in text and "KeyError: 'a'" in text
    assert "sequencer -d 2020_01_27 --unveto 1874" in text


def test_alarm_where_provenance_keeps_the_night_open(
    work: StandIns, make_config: Callable[..., Path], capsys: Capture
) -> None:
    make_config(MACHINE | {("ALARM", "hour"): "18"})
    work.layout.records(1874, 0).unlink()
    assert closer(work, "-y") == 1
    assert f"{work.layout.alarm} says why" in capsys.readouterr().err
    text = work.layout.alarm.read_text("utf-8")
    assert "nothing is recorded of how dl1_LST-1.Run01874.0000.h5" in text and "closer -f" in text
    assert closer(work, "-y", "-f") == 0
    assert not work.layout.alarm.exists()


def test_alarm_is_over_when_the_night_is_closed(work: StandIns, make_config: Callable[..., Path]) -> None:
    make_config(MACHINE | {("ALARM", "hour"): "18"})
    work.unmake(1874, 1)
    work.fail("LST1_01874.1", UNKNOWN, UNKNOWN)
    assert closer(work, "-y") == 1
    assert sequencer(work, "--unveto", "1874") == 0
    assert closer(work, "-y") == 0
    assert not work.layout.alarm.exists()


# ------------------------------------------------------------------------------- late data


def add_late(work: StandIns, run: int, subrun: int) -> None:
    """Have a raw file arrive, and what lstchain makes of it."""
    work.layout.raw_file(run, subrun).write_bytes(b"raw")
    products = work.folder / "products"
    for path in list(products.glob(f"*{run:05d}.0000.*")):
        if "datacheck" not in path.name:
            text = path.name.replace(f"{run:05d}.0000.", f"{run:05d}.{subrun:04d}.")
            shutil.copy(path, products / text)
    write_datacheck(products / work.layout.working(DATACHECK, run, subrun).name, subrun)
    history = products / work.layout.history_name(run, subrun)
    lines = history.read_text("utf-8").replace(f"{run:05d}.0000", f"{run:05d}.{subrun:04d}")
    history.write_text(lines, "utf-8")
    add_late_records(work, run, subrun)


def add_late_records(work: StandIns, run: int, subrun: int) -> None:
    """Have at hand what the task would record: its products are there for as long as they are recorded."""
    layout, products = work.layout, work.folder / "products"
    plan = plan_night(layout)
    sequence = plan.by_run(run)
    assert sequence is not None
    _link_calibration(layout, plan)  # as it is when the night is opened again
    there = [
        Path(shutil.copy2(path, layout.analysis_dir))
        for path in products.glob(f"*Run{run:05d}.{subrun:04d}.*")
    ]
    add_records(layout, replace(sequence, subruns=(subrun,)))
    record = layout.records(run, subrun)
    record.rename(products / "provenance" / record.name)
    for path in (*there, *filter(Path.is_symlink, layout.analysis_dir.iterdir())):
        path.unlink()


def test_late_data_is_told_and_taken_in_when_the_night_is_opened(work: StandIns, capsys: Capture) -> None:
    assert closer(work, "-y") == 0
    add_late(work, 1874, 3)
    before = listing(work.layout)
    for more in ([], ["-y"], ["-s"]):
        capsys.readouterr()
        assert closer(work, *more) == 1
        err = capsys.readouterr().err
        assert "raw files came after it was closed: sub-runs 3 of run 01874" in err
        assert "closer --reopen" in err
    assert listing(work.layout) == before
    assert closer(work, "--reopen", "-y") == 0
    assert closer(work, "-y") == 0
    assert work.attempts == ["LST1_01874.3 8192"]
    assert work.layout.final(DL2, 1874, 3).exists()
    text = work.layout.night_finished.read_text("utf-8")
    assert "data.files.dl2=6\n" in text and "sub-runs 3 of run 01874 came late" in text
    assert closer(work) == 0


def test_left_out_subrun_of_which_the_raw_file_grew_is_told(work: StandIns, capsys: Capture) -> None:
    work.unmake(1874, 2)
    work.fail("LST1_01874.2", (1, NO_PEDESTALS))
    assert closer(work, "-y") == 0
    assert closer(work) == 0
    work.layout.raw_file(1874, 2).write_bytes(b"all of it")
    capsys.readouterr()
    assert closer(work) == 1
    assert "raw files came after it was closed: sub-runs 2 of run 01874" in capsys.readouterr().err
    assert closer(work, "--reopen", "-y") == 0
    assert sequencer(work, "--take-in", "1874.2") == 0
    assert closer(work, "-y") == 0
    assert work.layout.final(DL2, 1874, 2).exists()


def test_late_data_of_a_run_that_was_closed_alone(work: StandIns, capsys: Capture) -> None:
    assert closer(work, "-y", "--seq", "1874") == 0
    add_late(work, 1874, 3)
    capsys.readouterr()
    assert closer(work, "-y") == 1
    out = capsys.readouterr().out
    assert "sub-runs 3 came after it was closed (closer --reopen --seq 1874 takes them in)" in out
    assert closer(work, "--reopen", "--seq", "1874") == 0
    assert closer(work, "-y") == 0
    assert work.attempts == ["LST1_01874.3 8192"]


def test_late_data_of_a_night_that_is_open_is_simply_made(work: StandIns) -> None:
    add_late(work, 1875, 2)
    assert closer(work, "-y") == 0
    assert work.attempts == ["LST1_01875.2 8192"]
