"""The sequencer command on Slurm, with stand-ins for Slurm's commands."""

from __future__ import annotations

import builtins
import io
import json
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_slurm import FakeSlurm, Mishap

from osa.cli import closer, progress
from osa.cli.sequencer import main
from osa.errors import InterruptedNightError
from osa.layout import Layout
from osa.scheduler.slurm_calls import SlurmCalls

Capture = pytest.CaptureFixture[str]
AWAY = Mishap(error="squeue: error: slurm_load_jobs error: Unable to contact slurm controller\n", code=1)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    """Slurm's commands on PATH."""
    made = FakeSlurm.install(tmp_path / "slurm")
    monkeypatch.setenv("PATH", made.environment["PATH"])
    return made


def sequencer(layout: Layout, *more: str) -> int:
    night = ["-c", str(layout.settings.path), "-d", layout.night.underscored]
    return main([*night, "--backend", "slurm", *more])


def rows(layout: Layout, capsys: Capture) -> dict[str, dict[str, Any]]:
    capsys.readouterr()
    assert sequencer(layout, "-s", "--json") == 0
    return {row["Run"]: row for row in json.loads(capsys.readouterr().out)["sequences"]}


def listing(layout: Layout) -> dict[Path, int]:
    base = layout.settings.telescope.raw_dir.parent
    return {path: path.stat().st_mtime_ns for path in base.rglob("*")}


def test_submits_and_does_not_wait(planned: Layout, fake: FakeSlurm, capsys: Capture) -> None:
    assert sequencer(planned) == 0
    out, err = capsys.readouterr()
    assert "submitted 6 task(s)" in err
    assert {row.split()[11] for row in out.splitlines()[1:]} == {"PENDING"}
    submitted = fake.calls("sbatch")
    assert [words[-1].rpartition("/")[2] for words in submitted] == [
        "sequence_LST1_01873.py",
        "sequence_LST1_01874.py",
        "sequence_LST1_01875.py",
    ]
    assert not any("--dependency" in word for word in submitted[0])
    job = rows(planned, capsys)["01873"]["JobID"]
    assert all(f"--dependency=afterok:{job}" in words for words in submitted[1:])
    assert "--array=0-2" in submitted[1]


def test_second_call_submits_nothing(planned: Layout, fake: FakeSlurm, capsys: Capture) -> None:
    sequencer(planned)
    assert sequencer(planned) == 0
    assert "nothing to submit" in capsys.readouterr().err
    assert len(fake.calls("sbatch")) == 3


def test_looking_touches_nothing(planned: Layout, fake: FakeSlurm) -> None:
    sequencer(planned)
    before = listing(planned)
    assert sequencer(planned, "-s") == 0
    assert listing(planned) == before


def test_reason_of_what_is_pending(planned: Layout, fake: FakeSlurm, capsys: Capture) -> None:
    sequencer(planned)
    assert rows(planned, capsys)["01874"]["Reason"] == "Dependency"


def test_refused_calibration_submits_no_data(planned: Layout, fake: FakeSlurm, capsys: Capture) -> None:
    said = "sbatch: error: Batch job submission failed: Invalid partition name specified\n"
    fake.plan("sbatch", Mishap(error=said, code=1))
    assert sequencer(planned) == 1
    err = capsys.readouterr().err
    assert "Invalid partition name specified" in err
    assert "Traceback" not in err
    assert len(fake.calls("sbatch")) == 1


def test_slurm_that_is_away_leaves_the_table_as_it_was(
    planned: Layout, fake: FakeSlurm, capsys: Capture
) -> None:
    sequencer(planned)
    sequencer(planned)  # takes note of what it sees
    capsys.readouterr()
    fake.plan("squeue", AWAY)
    fake.plan("sacct", AWAY)
    assert sequencer(planned, "-s") == 0
    out, err = capsys.readouterr()
    assert {row.split()[11] for row in out.splitlines()[1:]} == {"PENDING"}
    assert "queue gave no answer" in err and "accounting gave no answer" in err


# ------------------------------------------------------------------------------- cancelling


def test_what_would_be_cancelled(planned: Layout, fake: FakeSlurm, capsys: Capture) -> None:
    sequencer(planned)
    assert sequencer(planned, "--cancel", "-s") == 0
    out, err = capsys.readouterr()
    assert "LST1_01874: 3 task(s) pending or running" in out
    assert "would cancel 6 task(s)" in err
    assert fake.calls("scancel") == []


def test_one_run_is_cancelled(planned: Layout, fake: FakeSlurm, capsys: Capture) -> None:
    sequencer(planned)
    assert sequencer(planned, "--cancel", "--seq", "1874") == 0
    assert "cancelled 3 task(s)" in capsys.readouterr().err
    states = {run: row["State"] for run, row in rows(planned, capsys).items()}
    assert states == {"01873": "PENDING", "01874": "CANCELLED", "01875": "PENDING"}
    assert sequencer(planned) == 0
    assert "submitted 3 task(s)" in capsys.readouterr().err


def test_nothing_to_cancel(planned: Layout, fake: FakeSlurm, capsys: Capture) -> None:
    assert sequencer(planned, "--cancel") == 0
    assert "nothing to cancel" in capsys.readouterr().err


@pytest.mark.parametrize(("answer", "code", "calls"), [("y", 0, 1), ("n", 1, 0), ("", 1, 0)])
def test_is_asked_before_cancelling(
    planned: Layout, fake: FakeSlurm, monkeypatch: pytest.MonkeyPatch, answer: str, code: int, calls: int
) -> None:
    sequencer(planned)
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", terminal)
    monkeypatch.setattr(builtins, "input", lambda _: answer)
    assert sequencer(planned, "--cancel") == code
    assert len(fake.calls("scancel")) == calls


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--seq", "1874"], "--seq goes with --cancel"),
        (["--cancel", "--seq", "4711"], "no sequence of this run"),
    ],
)
def test_wrong_calls(planned: Layout, fake: FakeSlurm, capsys: Capture, more: list[str], words: str) -> None:
    assert sequencer(planned, *more) == 2
    assert words in capsys.readouterr().err


# ---------------------------------------------------------------------------------- waiting


def clock_with(sleep: Callable[[float], object]) -> SimpleNamespace:
    """A clock for the command alone: others sleep too."""
    return SimpleNamespace(monotonic=time.monotonic, sleep=sleep)


def test_waits_until_all_has_ended(
    planned: Layout, fake: FakeSlurm, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The jobs fail at once, for want of real raw files."""
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LOOKS", 0.0)
    monkeypatch.setattr(progress, "time", clock_with(lambda _: fake.drain()))
    assert sequencer(planned, "--wait") == 1
    out, err = capsys.readouterr()
    assert "0/6 tasks done, 0 running, 1 failed, 5 cancelled" in err
    states = {row.split()[4]: row.split()[11:13] for row in out.splitlines()[1:]}
    assert states["01873"] == ["FAILED", "-"]
    assert states["01874"] == states["01875"] == ["CANCELLED", "DependencyNeverSatisfied"]


def test_ctrl_c_leaves_the_jobs_alone(
    planned: Layout, fake: FakeSlurm, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(progress, "time", clock_with(interrupt))
    assert sequencer(planned, "--wait") == 130
    assert "the jobs go on without this command" in capsys.readouterr().err
    assert rows(planned, capsys)["01873"]["State"] == "PENDING"
    assert fake.calls("scancel") == []


# ------------------------------------------------------------------ jobs that nobody noted


def lose_notes(layout: Layout) -> None:
    shutil.rmtree(layout.group.submissions)


def test_jobs_without_notes_are_seen_and_not_submitted_again(
    planned: Layout, fake: FakeSlurm, capsys: Capture
) -> None:
    sequencer(planned)
    lose_notes(planned)
    assert {row["State"] for row in rows(planned, capsys).values()} == {"PENDING"}
    assert not planned.group.submissions.exists()  # looking touches nothing
    sequencer(planned)
    assert "nothing to submit" in capsys.readouterr().err
    assert len(fake.calls("sbatch")) == 3


def test_jobs_without_notes_are_cancelled(planned: Layout, fake: FakeSlurm, capsys: Capture) -> None:
    sequencer(planned)
    lose_notes(planned)
    assert sequencer(planned, "--cancel") == 0
    assert "cancelled 6 task(s)" in capsys.readouterr().err


def test_closer_waits_for_jobs_without_notes(planned: Layout, fake: FakeSlurm, capsys: Capture) -> None:
    sequencer(planned)
    lose_notes(planned)
    night = ["-c", str(planned.settings.path), "-d", planned.night.underscored, "--backend", "slurm"]
    assert closer.main([*night, "-f"]) == 5
    assert "tasks are still at work" in capsys.readouterr().err
    assert not planned.night_finished.exists()


def test_closer_says_what_to_do_about_unknown_tasks(
    planned: Layout, fake: FakeSlurm, capsys: Capture
) -> None:
    sequencer(planned)
    for job in list(range(1, 4)):
        fake.lose(str(job))
    night = ["-c", str(planned.settings.path), "-d", planned.night.underscored, "--backend", "slurm"]
    assert closer.main([*night, "-f"]) == 5
    assert "sequencer --cancel gives them up" in capsys.readouterr().err
    assert sequencer(planned, "--cancel") == 0
    assert "submitted 6 task(s)" in (sequencer(planned), capsys.readouterr().err)[1]


def test_night_of_one_backend_is_refused_to_the_other(
    planned: Layout, fake: FakeSlurm, capsys: Capture
) -> None:
    sequencer(planned)
    for command in (main, closer.main):
        assert command(["-c", str(planned.settings.path), "-d", planned.night.underscored]) == 2
        assert "are with the backend slurm" in capsys.readouterr().err


def test_sigterm_ends_the_submitting(
    planned: Layout, fake: FakeSlurm, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = SlurmCalls.sbatch

    def interrupted(calls: SlurmCalls, command: Sequence[str]) -> str:
        if "LST1_01874" in command[2]:
            raise InterruptedNightError("stopped by SIGTERM")
        return real(calls, command)

    monkeypatch.setattr(SlurmCalls, "sbatch", interrupted)
    assert sequencer(planned) == 130
    assert len(fake.calls("sbatch")) == 1


def test_wait_does_not_go_on_for_ever(
    planned: Layout, fake: FakeSlurm, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LOOKS", 0.0)
    monkeypatch.setattr(progress, "_SECONDS_WITHOUT_NEWS", 0.0)

    def lose_all(_: float) -> None:
        for job in range(1, 4):
            fake.lose(str(job))

    monkeypatch.setattr(progress, "time", clock_with(lose_all))
    assert sequencer(planned, "--wait") == 1
    err = capsys.readouterr().err
    assert "6 unknown" in err
    assert "nobody knows what became of the tasks" in err


def test_jobs_of_a_run_that_has_left_the_night(planned: Layout, fake: FakeSlurm, capsys: Capture) -> None:
    sequencer(planned)
    lines = planned.night_summary.read_text("utf-8").splitlines(keepends=True)
    planned.night_summary.write_text("".join(line for line in lines if not line.startswith("01875")), "utf-8")
    assert sequencer(planned, "-s") == 0
    assert "LST1_01875 may be at work, although the night has no such sequence" in capsys.readouterr().err
    night = ["-c", str(planned.settings.path), "-d", planned.night.underscored, "--backend", "slurm"]
    assert closer.main([*night, "-f"]) == 5
    assert "LST1_01875 may be at work" in capsys.readouterr().err
    assert sequencer(planned, "--cancel") == 0
    assert "cancelled 6 task(s)" in capsys.readouterr().err
