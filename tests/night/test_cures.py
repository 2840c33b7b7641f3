"""A night on which everything that is known goes wrong: it closes by itself, and says what happened."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
from raw_files import end_drive_logs, write_short_subrun
from real_night import NIGHT, Stage, run
from slurm_cluster import Cluster

from osa.incidences import read_incidences
from osa.layout import DL2, PRODUCT_KINDS
from osa.nightsummary.nightsummary import read_night_summary
from osa.steps.checks import DL2_PARAMETERS, event_count

pytestmark = [pytest.mark.slow, pytest.mark.slurm, pytest.mark.timeout(1800)]

OUT_OF_MEMORY, CUT_SHORT, LOST_NODE, NO_POINTING = (1874, 0), (1874, 1), (1875, 0), 1876
GOOD = [OUT_OF_MEMORY, LOST_NODE, (1875, 1)]
LIMITED_MEMORY = Path(__file__).parents[1] / "helpers" / "limited_memory"


@pytest.fixture
def troubled(tmp_path: Path) -> Stage:
    """Three DATA runs, of which the last has no pointing, and one a last sub-run of six events."""
    stage = Stage(tmp_path / "night", run("simulatenight", tmp_path / "night", "--runs", "3"))
    assert stage.result.returncode == 0, stage.result.stderr
    layout = stage.layout
    write_short_subrun(layout.raw_dir, *CUT_SHORT, events=6, data_runs=3)
    starts = {entry.run: entry.start.timestamp() for entry in read_night_summary(layout.night_summary)}
    end_drive_logs(layout.settings.telescope.drive_dir, starts[NO_POINTING] - 100)
    return stage


def test_closes_by_itself(troubled: Stage, slurm_cluster: Cluster) -> None:
    layout, cluster = troubled.layout, slurm_cluster
    environment = {
        **cluster.environment,
        "PYTHONPATH": str(LIMITED_MEMORY),
        # What lstchain needs for DL1 lies between this share of the memory granted, and twice that.
        "OSA_TEST_LIMITED_SUBRUN": "01874.0000 0.28",
    }

    def as_cron(command: str) -> subprocess.CompletedProcess[str]:
        night = ("-c", troubled.config, "-d", NIGHT.underscored, "--backend", "slurm")
        return run(command, *night, environment=environment)

    assert as_cron("sequencer").returncode == 0
    folder = layout.scratch_dir / "{:05d}.{:04d}.r0_to_dl1".format(*LOST_NODE)
    cluster.wait_for(lambda: list(folder.glob("*.h5")), "the sub-run to write", 300)
    node = node_of(cluster, "LST1_01875", LOST_NODE[1])
    cluster.lose_node(node)

    codes = []
    limit = time.monotonic() + 900
    while not codes or (codes[-1] == 5 and time.monotonic() < limit):
        time.sleep(5 if codes else 0)
        closed = as_cron("closer")
        codes.append(closed.returncode)
    cluster.restore_node(node)
    assert codes[-1] == 0, closed.stdout + closed.stderr
    assert set(codes[:-1]) == {5}

    said = read_incidences(layout.closer_dir / layout.incidences.name)
    assert sum("Sub-run 0 of run 01874: out of memory" in line for line in said) == 1
    assert sum("Sub-run 1 of run 01874: last sub-run cut short; left out" in line for line in said) == 1
    assert sum("run 01875: lost node" in line for line in said) == 1
    assert sum("Run 01876: no pointing; left out" in line for line in said) == 1
    finished = layout.night_finished.read_text("utf-8")
    assert all(line in finished for line in said)
    for kind in PRODUCT_KINDS:
        assert all(layout.final(kind, *task).exists() for task in GOOD)
        assert f"data.files.{kind.name.lower()}={len(GOOD)}\n" in finished
    merged = {number: event_count(layout.final(DL2, number), DL2_PARAMETERS) for number in (1874, 1875)}
    for number, found in merged.items():
        subruns = [layout.final(DL2, *task) for task in GOOD if task[0] == number]
        assert found == sum(event_count(path, DL2_PARAMETERS) for path in subruns)
    assert granted(cluster, layout.analysis_dir, "LST1_01874", 0) == ["3G", "6G"]


def node_of(cluster: Cluster, name: str, task: int) -> str:
    asked = cluster.run("squeue", "-h", "-r", f"--name={name}", "--states=R", "-o", "%K %N").stdout
    return next(line.split()[1] for line in asked.splitlines() if line.split()[0] == str(task))


def granted(cluster: Cluster, folder: Path, name: str, task: int) -> list[str]:
    """The memory that each job gave to a task, the oldest first."""
    asked = cluster.run(
        "sacct", "-X", "-n", "-P", "-S", "now-1hour", "-E", "now", f"--name={name}",
        "--format=WorkDir,JobID,ReqMem",
    )  # fmt: skip
    lines = [line.split("|") for line in asked.stdout.splitlines()]
    found = [(job, memory) for where, job, memory in lines if where == str(folder)]
    return [memory for job, memory in found if job.endswith(f"_{task}")]
