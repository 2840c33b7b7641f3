"""A task that Slurm itself ends for want of memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from slurm_cluster import Cluster

from osa.model.job import JobState
from tests.faults.slurm_bench import SlurmNight

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(300)]


@pytest.mark.fault(
    8,
    injected="a task that uses more memory than --mem, on a Slurm that ends such",
    holds="G1 G7: nothing published; a job of its own with twice the memory, once; its sibling is left alone",
)
def test_slurm_ends_a_task_for_its_memory(tmp_path: Path) -> None:
    """Slurm calls such a task FAILED by signal 9, and says why in the task's log.

    Seen to fail: with no factor in the rule "out of memory" (the second job had as little).
    """
    cluster = Cluster(tmp_path / "cluster", ("--kill-over-memory",))
    cluster.start()
    try:
        night = SlurmNight.make(tmp_path / "night", cluster, {1874: 2})
        night.configure("memory", "400 MB")
        night.need_memory("01874.0001", 500)
        assert "submitted 2 task(s)" in night.sequencer()[1]
        night.wait_for_states(1874, JobState.COMPLETED, JobState.FAILED)
        assert night.products("01874.0001") == []
        assert "submitted 1 task(s)" in night.sequencer()[1]
        night.wait_for_states(1874, JobState.COMPLETED, JobState.FAILED, JobState.COMPLETED)
        assert len(night.products("01874.0001")) == 4
        assert night.attempts["01874.0000 begins"] == 1
        assert night.attempts["01874.0001 begins"] == 2
        lines = cluster.run("sacct", "-X", "-n", "-P", "--format=JobID,ReqMem").stdout.split()
        assert sorted(line.partition("|")[2] for line in lines if "_1|" in line) == ["400M", "800M"]
    finally:
        cluster.stop()
