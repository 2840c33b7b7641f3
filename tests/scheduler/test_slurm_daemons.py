"""A real Slurm whose daemons hang, die and forget: nothing doubled, nothing made up."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from job_bench import JobBench, wait_until
from slurm_cluster import Cluster

from osa.errors import ExitCode, ParentGoneError
from osa.model.job import UNCONFIRMED, JobState, TaskRecord
from osa.scheduler.slurm import SlurmScheduler
from osa.scheduler.slurm_attempts import Patience
from osa.scheduler.slurm_calls import SlurmAwayError, SlurmCalls
from osa.scheduler.submissions import Submissions

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(600)]

ONCE = Patience(attempts=1, settling=0.1, confirmation=timedelta(0))
HELD = """
note('start')
for _ in range(2000):  # longer than the daemons are away
    if (FOLDER / 'go').exists():
        break
    time.sleep(0.1)
"""


@dataclasses.dataclass
class SlurmBench:
    """A bench whose jobs go to a cluster."""

    jobs: JobBench
    cluster: Cluster
    said: list[str] = dataclasses.field(default_factory=list)

    def scheduler(self, timeout: float = 60.0) -> SlurmScheduler:
        """A new one, as each command has."""
        calls = SlurmCalls(self.cluster.environment, timeout)
        return SlurmScheduler(calls, patience=ONCE, warn=self.said.append)

    def records(self, timeout: float = 60.0) -> tuple[TaskRecord, ...]:
        return self.scheduler(timeout).records(self.jobs.group())

    def states(self) -> list[JobState]:
        return [record.state for record in self.records()]

    def tidy(self) -> tuple[TaskRecord, ...]:
        return self.scheduler().tidy(self.jobs.group(), ["LST1_01874"])

    def wait_for(self, *states: JobState) -> None:
        self.cluster.wait_for(lambda: self.states() == list(states), f"{states}, not {self.states()}")


@pytest.fixture
def on_cluster(tmp_path: Path, slurm_cluster: Cluster) -> Iterator[SlurmBench]:
    yield SlurmBench(JobBench(tmp_path), slurm_cluster)
    slurm_cluster.start()
    for daemon in ("slurmctld", "slurmdbd"):
        slurm_cluster.resume(daemon)


def test_job_that_a_hung_slurmctld_takes_late_is_adopted(on_cluster: SlurmBench) -> None:
    job = on_cluster.jobs.job("LST1_01874", "note('ran')")
    on_cluster.cluster.pause("slurmctld")
    with pytest.raises(SlurmAwayError, match="timed out") as raised:
        on_cluster.scheduler().submit(job)
    assert raised.value.exit_code is ExitCode.MISSING_SERVICE
    (record,) = on_cluster.records(timeout=5)
    assert (record.job_id, record.state) == (UNCONFIRMED, JobState.UNKNOWN)  # nobody guesses
    on_cluster.cluster.resume("slurmctld")
    on_cluster.cluster.wait_for(lambda: on_cluster.jobs.attempts, "the job to run")
    (record,) = on_cluster.tidy()
    assert record.job_id != UNCONFIRMED
    assert any("was taken, although" in line for line in on_cluster.said)
    on_cluster.wait_for(JobState.COMPLETED)
    assert on_cluster.jobs.attempts == ["LST1_01874 - ran"]


def test_job_that_never_was_is_withdrawn(on_cluster: SlurmBench) -> None:
    on_cluster.cluster.kill("slurmctld")
    with pytest.raises(SlurmAwayError, match="connect"):
        on_cluster.scheduler().submit(on_cluster.jobs.job("LST1_01874"))
    on_cluster.cluster.start()
    assert on_cluster.states() == [JobState.UNKNOWN]
    on_cluster.cluster.wait_for(lambda: on_cluster.tidy() == (), "the note to be withdrawn")
    on_cluster.scheduler().submit(on_cluster.jobs.job("LST1_01874"))
    on_cluster.wait_for(JobState.COMPLETED)
    assert on_cluster.jobs.attempts == ["LST1_01874 - ran"]


def test_nothing_is_noted_where_slurm_cannot_be_asked_how_large_arrays_are(on_cluster: SlurmBench) -> None:
    on_cluster.cluster.pause("slurmctld")
    with pytest.raises(SlurmAwayError):
        on_cluster.scheduler(timeout=3).submit(on_cluster.jobs.job("LST1_01874", tasks=(0,)))
    on_cluster.cluster.resume("slurmctld")
    assert on_cluster.records() == ()


def test_states_stay_while_daemons_are_away(on_cluster: SlurmBench) -> None:
    on_cluster.scheduler().submit(on_cluster.jobs.job("LST1_01874", HELD, tasks=(0,)))
    wait_until(lambda: on_cluster.jobs.attempts)
    on_cluster.cluster.wait_for(lambda: on_cluster.tidy()[0].state is JobState.RUNNING, "to be noted")
    for daemons in (["slurmdbd"], ["slurmctld"], ["slurmctld", "slurmdbd"]):
        for daemon in daemons:
            on_cluster.cluster.pause(daemon)
        (record,) = on_cluster.records(timeout=5)
        assert record.state is JobState.RUNNING, daemons
        for daemon in daemons:
            on_cluster.cluster.resume(daemon)
    assert len(on_cluster.said) == 4
    assert all("states are as they were last known" in line for line in on_cluster.said)
    on_cluster.jobs.allow()
    on_cluster.wait_for(JobState.COMPLETED)


def test_ended_task_stays_ended_while_the_accounting_is_away(on_cluster: SlurmBench) -> None:
    body = "note('ran'); sys.exit(TASK == '0'); "
    on_cluster.scheduler().submit(on_cluster.jobs.job("LST1_01874", body, tasks=(0, 1)))
    on_cluster.wait_for(JobState.FAILED, JobState.COMPLETED)
    on_cluster.tidy()
    (note,) = Submissions(on_cluster.jobs.group().submissions).read()
    assert note.is_settled
    on_cluster.cluster.pause("slurmdbd")
    assert on_cluster.states() == [JobState.FAILED, JobState.COMPLETED]  # and it is not even asked
    assert on_cluster.said == []


def test_task_requeued_after_success_is_one_more_try(on_cluster: SlurmBench) -> None:
    job_id = on_cluster.scheduler().submit(on_cluster.jobs.job("LST1_01874", tasks=(3,)))
    on_cluster.wait_for(JobState.COMPLETED)
    on_cluster.tidy()
    on_cluster.cluster.run("scontrol", "requeue", f"{job_id}_3")
    on_cluster.cluster.wait_for(lambda: len(on_cluster.records()) == 2, "the second try")
    on_cluster.cluster.wait_for(lambda: not on_cluster.records()[-1].state.is_live, "its end")
    first, second = on_cluster.records()
    assert {first.job_id, second.job_id} == {job_id}
    assert (first.task, second.task) == (3, 3)
    assert first.submitted < second.submitted
    assert second.state is JobState.COMPLETED


@pytest.fixture(scope="module")
def forgetful(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster that forgets jobs two seconds after their end."""
    cluster = Cluster(tmp_path_factory.mktemp("forgetful"), ("--min-job-age=2",))
    cluster.start()
    yield cluster
    cluster.stop()


def test_nothing_waits_for_a_failed_job_that_is_forgotten(forgetful: Cluster, tmp_path: Path) -> None:
    """Slurm would take the dependency, and run the dependant at once."""
    bench = SlurmBench(JobBench(tmp_path), forgetful)
    parent = bench.scheduler().submit(bench.jobs.job("LST1_01873", "sys.exit(1)"))
    bench.wait_for(JobState.FAILED)
    forgetful.wait_for(lambda: not forgetful.job_states(parent), "the parent to be forgotten", 120)
    child = bench.jobs.job("LST1_01874", tasks=(0,))
    with pytest.raises(ParentGoneError, match=parent):
        bench.scheduler().submit(child, after=parent)
    assert bench.states() == [JobState.FAILED]
    sbatch = ("sbatch", "--parsable", f"--dependency=afterok:{parent}", "--kill-on-invalid-dep=yes")
    forgetful.run(*sbatch, "--array=0", f"--chdir={tmp_path}", str(child.script))
    forgetful.wait_for(lambda: bench.jobs.attempts == ["LST1_01874 0 ran"], "what we keep from happening")
