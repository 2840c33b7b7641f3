"""Jobs of a real Slurm that are stopped, lost, begun again, that fail, or are forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from slurm_cluster import Cluster

from osa.decision import Decision, decide
from osa.errors import OsaError
from osa.job import submit_night
from osa.model.job import JobState
from osa.nightstate import read_night_state
from osa.steps.history import read_history
from tests.faults.slurm_bench import SlurmNight

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(300)]

CANCELLED, COMPLETED, FAILED = JobState.CANCELLED, JobState.COMPLETED, JobState.FAILED
ALL_PRODUCTS = ["datacheck_dl1", "dl1", "dl2", "muons"]


@dataclass
class Begun:
    """What takes a minute, begun before the first test of this file; told by the last ones."""

    limited: SlurmNight
    forgotten: SlurmNight
    decisions: tuple[Decision, ...]


@pytest.fixture(scope="module", autouse=True)
def begun(slurm_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Begun]:
    limited = SlurmNight.make(tmp_path_factory.mktemp("limited"), slurm_cluster, {1874: 2})
    limited.configure("walltime", "00:01:00")
    limited.directives[1874] = ["--nodelist=n3"]  # others are lost
    limited.hold("01874.0000")
    assert limited.sequencer()[0] == 0
    cluster = Cluster(tmp_path_factory.mktemp("forgetful"), ("--min-job-age=2",))
    cluster.start()
    try:
        night = SlurmNight.make(tmp_path_factory.mktemp("forgotten"), cluster, {1874: 2}, calibrated=False)
        night.hold("01873")
        night.submit(1873)
        night.wait_for_writing("01873")
        records = night.scheduler().tidy(night.layout.group, night.plan.names)
        decisions = decide(read_night_state(night.layout, night.plan, records), simulate=False)
        night.fail("01873")
        night.release("01873")
        yield Begun(limited, night, decisions)
    finally:
        cluster.stop()


@pytest.mark.fault(
    10,
    injected="power of a node lost while tasks write, one of them with --no-requeue",
    holds="G1: no final name; the job begins again as one more try, or NODE_FAIL and a new job",
)
def test_node_is_lost_while_tasks_write(slurm_cluster: Cluster, tmp_path: Path) -> None:
    """The node goes with all of its processes; Slurm gives one job a second try, and the other none.

    Seen to fail: with sacct asked without ``--duplicates`` (the lost try is not told), and with
    tasks that write under the final names.
    """
    night = SlurmNight.make(tmp_path, slurm_cluster, {1874: 1, 1875: 1})
    night.directives = {1874: ["--nodelist=n1"], 1875: ["--nodelist=n1", "--no-requeue"]}
    tags = ("01874.0000", "01875.0000")
    night.hold(*tags)
    assert "submitted 2 task(s)" in night.sequencer()[1]
    night.wait_for_writing(*tags)
    slurm_cluster.lose_node("n1")
    assert night.products(tags[0]) == night.products(tags[1]) == []
    night.wait_for_states(1874, JobState.NODE_FAIL, JobState.PENDING)
    night.wait_for_states(1875, JobState.NODE_FAIL)
    night.directives.clear()
    night.release(*tags)
    assert "submitted 1 task(s)" in night.sequencer()[1]  # the other one is alive
    slurm_cluster.restore_node("n1")
    for run in (1874, 1875):
        night.wait_for_states(run, JobState.NODE_FAIL, COMPLETED)
    assert [len({r.job_id for r in night.records(run)}) for run in (1874, 1875)] == [1, 2]
    for tag in tags:
        assert night.products(tag) == ALL_PRODUCTS
        assert (night.attempts[f"{tag} begins"], night.attempts[f"{tag} ends"]) == (2, 1)
    assert list(night.layout.scratch_dir.iterdir()) == []


@pytest.mark.fault(
    11,
    injected="scontrol requeue of a task that has succeeded",
    holds="G4: nothing is done again, COMPLETED, one more try",
)
def test_task_begins_again_after_it_succeeded(slurm_cluster: Cluster, tmp_path: Path) -> None:
    """The second try finds its history and products, and leaves them as they are.

    Seen to fail: without ``--duplicates``, and with a task that takes nothing for done.
    """
    night = SlurmNight.make(tmp_path, slurm_cluster, {1874: 1})
    night.sequencer()
    night.wait_for_states(1874, COMPLETED)
    (record,) = night.records(1874)
    made = {path: path.stat().st_mtime_ns for path in night.layout.analysis_dir.glob("*_LST-1.Run01874.*")}
    assert len(made) == 4
    slurm_cluster.run("scontrol", "requeue", f"{record.job_id}_0")
    slurm_cluster.wait_for(lambda: len(night.records(1874)) == 2, "the second try")
    assert "nothing to submit" in night.sequencer()[1]
    night.wait_for_states(1874, CANCELLED, COMPLETED)  # the first is REQUEUED in Slurm's word
    assert {r.job_id for r in night.records(1874)} == {record.job_id}
    assert "nothing to submit" in night.sequencer()[1]
    assert {path: path.stat().st_mtime_ns for path in made} == made
    attempts = night.attempts
    assert (attempts.pop("01874.0000 begins"), attempts.pop("01874.0000 ends")) == (2, 2)
    assert set(attempts.values()) == {1}


@pytest.mark.fault(
    12,
    injected="one task of an array exits 1",
    holds="G4: siblings finish, dependants are cancelled; it alone is submitted again, they follow",
)
def test_one_task_of_an_array_fails(slurm_cluster: Cluster, tmp_path: Path) -> None:
    """Run 1875 waits for the whole array of run 1874, of which task 3 fails.

    Seen to fail: without ``--kill-on-invalid-dep``, and with a decision for all sub-runs of a run.
    """
    night = SlurmNight.make(tmp_path, slurm_cluster, {1874: 4, 1875: 1})
    night.fail("01874.0003")
    array = night.submit(1874)
    night.submit(1875, after=array)
    night.wait_for_states(1874, COMPLETED, COMPLETED, COMPLETED, FAILED)
    night.wait_for_states(1875, CANCELLED)
    assert night.records(1875)[0].reason == "DependencyNeverSatisfied"
    assert night.attempts["01875.0000 begins"] == 0
    assert night.products("01874.0003") == []
    night.cure("01874.0003")
    assert "submitted 2 task(s)" in night.sequencer()[1]
    night.wait_for_states(1874, COMPLETED, COMPLETED, COMPLETED, FAILED, COMPLETED)
    night.wait_for_states(1875, CANCELLED, COMPLETED)
    begun = [night.attempts[f"01874.{subrun:04d} begins"] for subrun in range(4)]
    assert begun == [1, 1, 1, 2]
    assert night.products("01874.0003") == night.products("01875.0000") == ALL_PRODUCTS


@pytest.mark.fault(
    13,
    injected="a calibration job that failed is forgotten (MinJobAge) between decision and submission",
    holds="G3: no data after it until its products are there, and then without a dependency",
)
def test_calibration_job_is_forgotten(begun: Begun) -> None:
    """The sequencer saw the calibration run, and submits the data a minute later.

    Seen to fail: with parents that are not checked: Slurm takes the dependency and starts the data.
    """
    night = begun.forgotten
    (record,) = night.records(1873)

    def submit() -> int:
        with night.ours():
            return submit_night(
                night.layout,
                begun.decisions,
                night.scheduler(),
                night.plan.choice,
                calibration_is_done=night.layout.charge_calibration(1873).exists,
            )

    night.wrap("sbatch", 'exec "$REAL" "$@"')
    night.wait_for_states(1873, FAILED)
    night.cluster.wait_for(lambda: not night.cluster.job_states(record.job_id), "it to be forgotten", 120)
    with pytest.raises(OsaError, match=f"calibration is not done yet.*job {record.job_id}"):
        submit()
    assert night.calls("sbatch") == []
    assert night.attempts["01874.0000 begins"] == 0
    night.cure("01873")
    night.calibrate()
    assert submit() == 2
    night.wait_for_states(1874, COMPLETED, COMPLETED)
    (arguments,) = night.calls("sbatch")
    assert "--array=0-1" in arguments and "--dependency" not in arguments


@pytest.mark.fault(
    9,
    injected="a task that takes longer than --time=1",
    holds="G1: TIMEOUT, no final name, no line in the history; its sibling is done",
)
def test_task_over_its_time_limit(begun: Begun) -> None:
    """A task hangs in mid-write until Slurm ends it.

    Seen to fail: with TIMEOUT read as FAILED, and with tasks that write under the final names.
    """
    night = begun.limited
    night.wait_for_states(1874, JobState.TIMEOUT, COMPLETED, limit=150)
    assert night.products("01874.0000") == []
    assert night.products("01874.0001") == ALL_PRODUCTS
    assert read_history(night.layout.history(1874, 0)) == ()
    assert night.attempts["01874.0000 begins"] == 1
