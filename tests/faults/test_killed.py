"""Tasks and commands that are killed: nothing partial is left, and they go on when called again."""

from __future__ import annotations

import os
import signal

import pytest

from osa.layout import DL1, DL2
from osa.steps.history import read_history
from tests.faults.fault_night import FaultNight, wait_for_end

KINDS = {"r0_to_dl1": DL1, "dl1_to_dl2": DL2}


@pytest.mark.fault(
    1,
    injected="SIGKILL to the process group of a task with 1 %, 60 %, all of a product written",
    holds="G1 G4: no final name, the step is done again, the others once",
)
@pytest.mark.parametrize(("step", "share"), [("r0_to_dl1", 0.01), ("dl1_to_dl2", 0.6), ("r0_to_dl1", 1.0)])
def test_task_killed_in_mid_write(fault_night: FaultNight, step: str, share: float) -> None:
    """Seen to fail: with steps/runner.py running the step in the folder of the night instead of its
    scratch folder (a torn product had its final name); without the rmtree in _empty_scratch (the second
    try ended on what the first had left).
    """
    what = fault_night.hold(step, 1874, 0, share)
    layout = fault_night.layout
    sequencer = fault_night.start("sequencer")
    task = fault_night.wait_for_held(what)
    os.killpg(os.getpgid(task.pid), signal.SIGKILL)
    said, _ = sequencer.communicate(timeout=60)
    assert sequencer.returncode == 1, said
    assert not layout.working(KINDS[step], 1874, 0).exists()
    done = [r.program for r in read_history(layout.history(1874, 0)) if r.return_code == 0]
    assert done == ([] if step == "r0_to_dl1" else ["lstchain_data_r0_to_dl1", "lstchain_check_dl1"])
    assert (layout.scratch_dir / f"01874.0000.{step}").exists()

    again = fault_night.run("sequencer")
    assert again.returncode == 0, again.stderr
    fault_night.assert_done_once(twice=[what])


@pytest.mark.fault(
    1,
    injected="SIGKILL to the sequencer while its tasks are in mid-write",
    holds="G1 G2 G4: the tasks end with it, the next sequencer does what is left",
)
def test_sequencer_killed_with_tasks_at_work(fault_night: FaultNight) -> None:
    """Seen to fail: without end_with_parent in cli/task.py (the task went on without its sequencer)."""
    what = fault_night.hold("r0_to_dl1", 1874, 1, 0.5)
    sequencer = fault_night.start("sequencer")
    task = fault_night.wait_for_held(what)
    sequencer.kill()
    sequencer.communicate()
    wait_for_end(task)
    assert not fault_night.layout.working(DL1, 1874, 1).exists()
    before = fault_night.attempts

    again = fault_night.run("sequencer")
    assert again.returncode == 0, again.stderr
    assert all(fault_night.products().values())
    assert fault_night.leftovers() == []
    assert fault_night.attempts[what] == 2
    assert all(count <= 1 + before[name] for name, count in fault_night.attempts.items())
