"""Failures of the real lstchain: what is done goes on, what is not is said."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from real_night import CALIBRATION_RUN, DRS4_RUN, NIGHT, Stage, on_night, run, set_key

from osa.incidences import read_incidences
from osa.layout import DATACHECK, DL1, DL2, MUONS
from osa.steps.history import read_history
from osa.steps.r0_to_dl1 import PROGRAM as R0_TO_DL1

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

CALIBRATORS = ("--drs4-run", DRS4_RUN, "--calibration-run", CALIBRATION_RUN)


def forget(stage: Stage, *steps: str) -> None:
    """Take steps out of the history of the calibration, and their products away."""
    layout = stage.layout
    history = layout.history(CALIBRATION_RUN)
    lines = [line for line in history.read_text("utf-8").splitlines() if line.split()[1] not in steps]
    history.write_text("".join(f"{line}\n" for line in lines), "utf-8")


def test_reference_serves_where_the_time_calibration_fails(calibrated: Stage, tmp_path: Path) -> None:
    layout = calibrated.layout
    made = layout.time_calibration(CALIBRATION_RUN)
    reference = tmp_path / "reference.h5"
    made.rename(reference)
    forget(calibrated, "osa_time_calibration", "lstchain_create_calibration_file")
    # More bins than the few events can fill: lstchain refuses.
    set_key(calibrated.config, "time_calibration_n_combine", "1")
    set_key(calibrated.config, "time_calibration_reference", str(reference))
    result = on_night(calibrated, "calibrationsequence", *CALIBRATORS)
    assert result.returncode == 0, result.stdout + result.stderr
    tries = [(r.program, r.return_code) for r in read_history(layout.history(CALIBRATION_RUN))]
    assert ("osa_time_calibration", 1) in tries
    assert ("osa_reference_time_calibration", 0) in tries
    assert tries.count(("lstchain_create_drs4_pedestal_file", 0)) == 1
    assert made.read_bytes() == reference.read_bytes()
    (comment,) = [text for text in read_incidences(layout.incidences) if "Time calibration" in text]
    assert "reference.h5" in comment


def test_without_reference_the_calibration_fails_and_says_so(calibrated: Stage) -> None:
    layout = calibrated.layout
    layout.time_calibration(CALIBRATION_RUN).unlink()
    forget(calibrated, "osa_time_calibration", "lstchain_create_calibration_file")
    set_key(calibrated.config, "time_calibration_n_combine", "1")
    result = on_night(calibrated, "calibrationsequence", *CALIBRATORS)
    assert result.returncode == 1
    assert "time_calibration of run 1873" in result.stderr
    assert "Traceback" not in result.stderr.split("calibrationsequence:")[-1]
    assert not layout.time_calibration(CALIBRATION_RUN).exists()


def test_killed_step_leaves_nothing_and_is_done_again(calibrated: Stage) -> None:
    layout = calibrated.layout
    arguments = ["-c", calibrated.config, "-d", NIGHT.underscored, *CALIBRATORS, "01874.0000"]
    command = [sys.executable, "-m", "osa.cli.datasequence", *map(str, arguments)]
    task = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    scratch = layout.scratch_dir / "01874.0000.r0_to_dl1"
    victim = _wait_for_writer(task.pid, scratch)
    os.kill(victim, signal.SIGKILL)
    output, _ = task.communicate(timeout=120)
    assert task.returncode == 1
    assert "signal 9" in output
    (record,) = read_history(layout.history(1874, 0))
    assert (record.program, record.return_code) == (R0_TO_DL1, -signal.SIGKILL)
    assert not scratch.exists()
    assert not layout.working(DL1, 1874, 0).exists()

    again = on_night(calibrated, "datasequence", *CALIBRATORS, "01874.0000")
    assert again.returncode == 0, again.stdout + again.stderr
    for kind in (DL1, MUONS, DATACHECK, DL2):
        assert layout.working(kind, 1874, 0).is_file()


def _wait_for_writer(task: int, scratch: Path) -> int:
    """Wait until lstchain has begun to write; gives its process."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if list(scratch.glob("dl1*.h5")):
            children = psutil.Process(task).children(recursive=True)
            return next(child.pid for child in children if _works_in(child, scratch))
        time.sleep(0.02)
    raise AssertionError("lstchain did not begin to write")


def _works_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.cwd() == str(folder)
    except psutil.Error:
        return False


def test_step_as_a_program_of_its_own(calibrated: Stage) -> None:
    set_key(calibrated.config, "separate_programs", "r0_to_dl1, dl1_to_dl2")
    result = on_night(calibrated, "datasequence", *CALIBRATORS, "01875.0001")
    assert result.returncode == 0, result.stdout + result.stderr
    codes = [record.return_code for record in read_history(calibrated.layout.history(1875, 1))]
    assert codes == [0, 0, 0]


def cut_in_half(raw: Path) -> None:
    content = raw.read_bytes()
    raw.unlink()  # a link to the file that other tests use
    raw.write_bytes(content[: len(content) // 2])


def test_truncated_raw_files_fail_alone(calibrated: Stage) -> None:
    """A sub-run that is cut in the middle of a run is looked into by a person, the last one left out."""
    layout = calibrated.layout
    cut_in_half(layout.raw_file(1874, 0))
    cut_in_half(layout.raw_file(1875, 1))
    first = on_night(calibrated, "sequencer")
    assert first.returncode == 1
    _head, *rows = first.stdout.splitlines()
    shares = {row.split()[4]: row.split()[-4:] for row in rows}
    assert shares["01874"] == shares["01875"] == ["50"] * 4
    assert "last sub-run cut short of sub-runs 1: closer sees to it" in first.stderr

    second = on_night(calibrated, "sequencer")
    assert second.returncode == 1
    assert "submitted 1 task(s)" in second.stderr
    third = on_night(calibrated, "sequencer")
    assert "nothing to submit" in third.stderr
    assert "Veto" in third.stdout
    assert [p.name for p in layout.analysis_dir.glob("*.veto")] == ["sequence_LST1_01874.veto"]

    closing = on_night(calibrated, "closer", "-y")
    assert closing.returncode == 1
    assert "no DL1 of sub-runs 0" in closing.stdout
    assert "cured: leave out sub-run 1 of run 01875: last sub-run cut short" in closing.stderr
    assert "LST1_01875: complete" in closing.stdout
    assert not layout.night_finished.exists()


def test_r1v1_in_four_streams(tmp_path: Path) -> None:
    root = tmp_path / "night"
    what = ("--format", "R1v1", "--streams", 4, "--runs", 1, "--subruns", 1, "--events", 40)
    made = run("simulatenight", root, "-d", "2024_11_30", *what)
    assert made.returncode == 0, made.stderr
    night = ("-c", root / "sequencer.cfg", "-d", "2024_11_30")
    assert len(list((root / "R0/20241130").glob("LST-1.4.*.fits.fz"))) == 3
    sequenced = run("sequencer", *night)
    assert sequenced.returncode == 0, sequenced.stderr
    closed = run("closer", *night, "-y")
    assert closed.returncode == 0, closed.stderr
    assert len(list((root / "DL2/20241130").rglob("dl2_*.h5"))) == 2
