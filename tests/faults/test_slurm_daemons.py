"""A real Slurm that loses replies, refuses, hangs, dies, forgets, and uses numbers again."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from slurm_cluster import Cluster, program

from osa.errors import ExitCode
from osa.model.job import UNCONFIRMED, JobState
from osa.scheduler.slurm_attempts import Patience
from osa.scheduler.submissions import Submissions
from tests.faults.slurm_bench import SlurmNight

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(300)]

COMPLETED, FAILED, RUNNING, UNKNOWN = (
    JobState.COMPLETED,
    JobState.FAILED,
    JobState.RUNNING,
    JobState.UNKNOWN,
)
PERSISTENT = Patience(attempts=3, first_wait=0.1, settling=0.5, confirmation=timedelta(0))
BOUND = 20.0  # seconds for a whole command whose calls are given up after three

SUBMITS_AND = 'taken=$("$REAL" "$@") || exit 9\n'
# What slurmctld tells of jobs that ended longer ago than MinJobAge: nothing.
FORGETFUL = 'for a; do [ "$a" = --states=all ] || set -- "$@" "$a"; shift; done; exec "$REAL" "$@"'


@pytest.fixture
def cluster(slurm_cluster: Cluster) -> Iterator[Cluster]:
    """The cluster; whatever is done to its daemons, they are back afterwards."""
    yield slurm_cluster
    slurm_cluster.start()
    for daemon in ("slurmctld", "slurmdbd"):
        slurm_cluster.resume(daemon)


# ------------------------------------------------------------------------- lost replies


@pytest.mark.fault(
    14,
    injected="sbatch submits, then says nothing, is killed, or hangs",
    holds="G2: the job is found by its name, one job",
)
@pytest.mark.parametrize(
    "then", ["exit 1", "kill -9 $$", "exec sleep 60"], ids=["says-nothing", "killed", "hangs"]
)
def test_reply_of_sbatch_is_lost(cluster: Cluster, tmp_path: Path, then: str) -> None:
    """A wrapper calls the real ``sbatch`` and loses its answer: there is exactly one job.

    Seen to fail: without the look for the job before a further attempt, sbatch is called again and again.
    """
    night = SlurmNight.make(tmp_path, cluster, {1874: 1})
    night.patience, night.timeout = PERSISTENT, 5.0
    night.wrap("sbatch", SUBMITS_AND + then)
    code, said = night.sequencer()
    assert (code, "submitted 1 task(s)" in said) == (0, True), said
    assert any("was taken although sbatch did not say so" in line for line in night.said)
    night.wait_for_states(1874, COMPLETED)
    assert "nothing to submit" in night.sequencer()[1]
    assert len(night.calls("sbatch")) == len(night.jobs(1874)) == 1
    assert night.attempts["01874.0000 begins"] == 1


@pytest.mark.fault(
    14,
    injected="sbatch submits and says nothing, then no command of Slurm works any more",
    holds="G2 G3: UNKNOWN; the next sequencer adopts the job",
)
def test_lost_job_is_adopted_by_the_next_sequencer(cluster: Cluster, tmp_path: Path) -> None:
    """The reply is lost and nobody can be asked: the note stays, and leads the next sequencer to the job.

    Seen to fail: with notes that never find their job. It is taken over as a stray all the same, so
    that only the message told.
    """
    night = SlurmNight.make(tmp_path, cluster, {1874: 1})
    night.hold("01874.0000")
    night.wrap("sbatch", SUBMITS_AND + f"touch {tmp_path}/away; exit 1")
    for command in ("squeue", "sacct"):
        night.wrap(command, f'[ -e {tmp_path}/away ] && exit 1; exec "$REAL" "$@"')
    code, said = night.sequencer()
    assert code == ExitCode.MISSING_SERVICE, said
    (record,) = night.records(1874)
    assert (record.state, record.job_id) == (UNKNOWN, UNCONFIRMED)
    assert night.sequencer()[0] == 0  # nothing can be asked: it counts as alive
    (tmp_path / "away").unlink()
    assert "nothing to submit" in night.sequencer()[1]
    assert any("was taken, although nobody told its number" in line for line in night.said)
    night.release("01874.0000")
    night.wait_for_states(1874, COMPLETED)
    assert night.jobs(1874) == {night.records(1874)[0].job_id}
    assert len(night.calls("sbatch")) == night.attempts["01874.0000 begins"] == 1


# ------------------------------------------------------------------------------ refused


@pytest.mark.fault(
    15,
    injected="unknown partition, unknown account",
    holds="G7: one call of sbatch, Slurm's own words, no note, nothing queued",
)
@pytest.mark.parametrize(
    ("key", "words"),
    [("partition", "invalid partition name specified"), ("account", "invalid account or account/partition")],
)
def test_submission_is_refused_for_good(cluster: Cluster, tmp_path: Path, key: str, words: str) -> None:
    """Slurm says no: it is told in its words at once, and nothing is left of the submission.

    Seen to fail: with every error taken for a passing one (further calls), and with the note left
    where it is.
    """
    night = SlurmNight.make(tmp_path, cluster, {1874: 1})
    night.patience = PERSISTENT
    right = "short" if key == "partition" else "dpps"
    night.configure(key, "nowhere")
    night.wrap("sbatch", 'exec "$REAL" "$@"')
    code, said = night.sequencer()
    assert code == ExitCode.NOT_COMPLETE
    assert "LST1_01874: sbatch: " in said and words in said.lower()
    assert len(night.calls("sbatch")) == 1
    assert Submissions(night.layout.group.submissions).read() == ()
    assert night.jobs(1874) == set() and night.records(1874) == []
    night.configure(key, right)
    assert "submitted 1 task(s)" in night.sequencer()[1]
    night.wait_for_states(1874, COMPLETED)


# ---------------------------------------------------------------------- daemons are away


@pytest.mark.fault(
    16,
    injected="slurmctld stopped (SIGSTOP), or killed, while a task runs and ends",
    holds="G3: waits are bounded, states stay, nothing is submitted; the next pass heals",
)
@pytest.mark.parametrize("how", ["pause", "kill"])
def test_slurmctld_is_away(cluster: Cluster, tmp_path: Path, how: str) -> None:
    """A run comes in and the running task ends while slurmctld does not answer, or is dead.

    Seen to fail: with a silent queue taken for one that has forgotten the task, with calls without
    a limit, and with submissions while the queue is silent.
    """
    night = SlurmNight.make(tmp_path, cluster, {1874: 1})
    night.hold("01874.0000")
    night.sequencer()
    night.wait_for_writing("01874.0000")
    night.wait_for_states(1874, RUNNING)
    assert "nothing to submit" in night.sequencer()[1]  # and it is noted that it runs
    if how == "kill":
        wait_until_saved(cluster)
    notes = {path: path.read_text() for path in night.layout.group.submissions.iterdir()}
    night.add_runs({1875: 1})
    getattr(cluster, how)("slurmctld")
    night.timeout = 3.0
    began = time.monotonic()
    code, said = night.sequencer()
    assert (code, "queue does not say what is alive" in said) == (ExitCode.MISSING_SERVICE, True), said
    assert night.states(1874) == [RUNNING]
    assert time.monotonic() - began < BOUND
    assert {path: path.read_text() for path in night.layout.group.submissions.iterdir()} == notes
    night.release("01874.0000")
    cluster.wait_for(lambda: night.attempts["01874.0000 ends"], "the task to end")
    cluster.start() if how == "kill" else cluster.resume("slurmctld")
    night.timeout = 60.0
    assert "submitted 1 task(s)" in night.sequencer()[1]
    for run in (1874, 1875):
        night.wait_for_states(run, COMPLETED)
        assert night.attempts[f"{run:05d}.0000 begins"] == 1


def wait_until_saved(cluster: Cluster) -> None:
    """Wait until slurmctld has written down what it knows; killed before, it forgets the latest jobs."""
    now, path = time.time(), cluster.folder / "state" / "job_state"
    cluster.wait_for(lambda: path.exists() and path.stat().st_mtime > now, "the state to be saved")


@pytest.mark.fault(
    17,
    injected="slurmdbd stopped or killed, sacct empty, while tasks end and leave the queue",
    holds="G3: UNKNOWN, neither done nor failed, and not submitted again until their end is told",
)
@pytest.mark.parametrize("how", ["pause", "kill", "empty"])
def test_accounting_is_away_empty_or_late(cluster: Cluster, tmp_path: Path, how: str) -> None:
    """One task succeeds and one fails; queue and accounting tell nothing of either.

    Seen to fail: with such a task called FAILED, and with it called COMPLETED.
    """
    night = SlurmNight.make(tmp_path, cluster, {1874: 2})
    tags = ("01874.0000", "01874.0001")
    night.hold(*tags)
    night.fail(tags[1])
    night.sequencer()
    night.wait_for_writing(*tags)
    night.wait_for_states(1874, RUNNING, RUNNING)
    night.sequencer()
    (job,) = night.jobs(1874)
    night.wrap("squeue", FORGETFUL)
    if how == "empty":
        (tmp_path / "mute").touch()
        night.wrap("sacct", f'[ -e {tmp_path}/mute ] && exit 0; exec "$REAL" "$@"')
    else:
        getattr(cluster, how)("slurmdbd")
        night.timeout = 2.0
    assert night.states(1874) == [RUNNING, RUNNING]
    night.release(*tags)
    cluster.wait_for(lambda: set(cluster.job_states(job)) == {"COMPLETED", "FAILED"}, "both to end")
    assert night.states(1874) == [UNKNOWN, UNKNOWN]
    assert "nothing to submit" in night.sequencer()[1]
    assert night.states(1874) == [UNKNOWN, UNKNOWN]
    if how == "empty":
        (tmp_path / "mute").unlink()
    elif how == "kill":
        cluster.start()
    else:
        cluster.resume("slurmdbd")
    night.timeout = 60.0
    night.wait_for_states(1874, COMPLETED, FAILED)
    night.cure(tags[1])
    assert "submitted 1 task(s)" in night.sequencer()[1]
    night.wait_for_states(1874, COMPLETED, FAILED, COMPLETED)
    assert [night.attempts[f"{tag} begins"] for tag in tags] == [1, 2]


# --------------------------------------------------------------- names and numbers again


@pytest.mark.fault(
    18,
    injected="a job of the same name at work in another folder, and a reply of sbatch lost",
    holds="G2 G3: the other job is neither shown nor adopted",
)
def test_job_of_the_same_name_elsewhere(cluster: Cluster, tmp_path: Path) -> None:
    """The first sbatch does nothing and says nothing: it is the other's job that is found by name.

    Seen to fail: with records that are not compared by folder.
    """
    other = SlurmNight.make(tmp_path / "other", cluster, {1874: 1})
    other.hold("01874.0000")
    other.sequencer()
    other.wait_for_writing("01874.0000")
    night = SlurmNight.make(tmp_path / "ours", cluster, {1874: 1})
    assert night.records(1874) == []
    night.patience = PERSISTENT
    night.wrap("sbatch", f'mkdir {tmp_path}/once 2>/dev/null && exit 1; exec "$REAL" "$@"')
    assert "submitted 1 task(s)" in night.sequencer()[1]
    night.wait_for_states(1874, COMPLETED)
    assert len(night.calls("sbatch")) == 2  # the first one did nothing
    assert other.states(1874) == [RUNNING]
    assert night.records(1874)[0].job_id != other.records(1874)[0].job_id
    other.release("01874.0000")
    other.wait_for_states(1874, COMPLETED)
    assert [n.attempts["01874.0000 begins"] for n in (night, other)] == [1, 1]


@pytest.fixture(scope="module")
def own_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of which the memory can be taken."""
    cluster = Cluster(tmp_path_factory.mktemp("own"))
    cluster.start()
    yield cluster
    cluster.stop()


def lose_memory(cluster: Cluster) -> None:
    """Have slurmctld come back without its jobs; it counts from 1 again."""
    cluster.kill("slurmctld")
    for path in (cluster.folder / "state").glob("job_state*"):
        path.unlink()
    cluster.start()


@pytest.mark.fault(
    18,
    injected="Slurm counts its jobs from 1 again, and has an old record under the number of tonight's job",
    holds="G3: the old record is not taken for tonight's",
)
def test_number_of_a_job_is_used_again(own_cluster: Cluster, tmp_path: Path) -> None:
    """The old job has the same name and folder, and was submitted 25 hours ago.

    Seen to fail: with records accepted from three days before.
    """
    night = SlurmNight.make(tmp_path, own_cluster, {1874: 1})
    night.fail("01874.0000")
    first = night.submit(1874)
    night.wait_for_states(1874, FAILED)
    own_cluster.wait_for(lambda: sacct_says(night, "FAILED"), "the accounting to know")
    lose_memory(own_cluster)
    age_submissions(own_cluster, timedelta(hours=25))
    (note,) = night.layout.group.submissions.iterdir()
    note.unlink()  # of the night before
    night.cure("01874.0000")
    night.hold("01874.0000")
    assert night.submit(1874) == first
    assert night.states(1874) in ([JobState.PENDING], [RUNNING])
    night.wait_for_states(1874, RUNNING)
    assert sacct_says(night, "FAILED")  # under the same number, name and folder
    night.release("01874.0000")
    night.wait_for_states(1874, COMPLETED)


@pytest.mark.fault(
    16,
    injected="slurmctld comes back without its memory, while a task runs",
    holds="G2 G3: UNKNOWN and not submitted again, until it is given up by hand",
)
def test_slurmctld_forgets_a_running_task(own_cluster: Cluster, tmp_path: Path) -> None:
    """Neither queue nor accounting will ever tell how it ended; its products do.

    Seen to fail: with a task that nobody tells of any more called FAILED.
    """
    night = SlurmNight.make(tmp_path, own_cluster, {1874: 1})
    night.hold("01874.0000")
    night.sequencer()
    night.wait_for_writing("01874.0000")
    night.wait_for_states(1874, RUNNING)
    night.sequencer()  # notes that it runs
    lose_memory(own_cluster)
    assert night.states(1874) == [UNKNOWN]
    assert "nothing to submit" in night.sequencer()[1]
    night.release("01874.0000")
    tasks = program.Cluster(own_cluster.folder)
    own_cluster.wait_for(lambda: not tasks.job_processes("n1", "n2", "n3"), "the task to end")
    assert night.states(1874) == [UNKNOWN]
    assert night.sequencer("--cancel", "-y")[0] == 0
    night.sequencer()  # submits it where Slurm has ended it
    own_cluster.wait_for(lambda: night.attempts["01874.0000 ends"], "the task to be done")
    assert night.attempts["01874.0000 writes dl2"] == 1
    assert "nothing to submit" in night.sequencer()[1]


def sacct_says(night: SlurmNight, state: str) -> bool:
    asked = ("sacct", "-X", "-D", "-n", "-P", "-S", "now-2days", "--name=LST1_01874", "--format=State")
    return state in night.cluster.run(*asked).stdout.split()


def age_submissions(cluster: Cluster, by: timedelta) -> None:
    """Have the accounting say that its jobs were submitted earlier."""
    query = f"UPDATE osa_job_table SET time_submit = time_submit - {by.total_seconds():.0f}"
    socket = f"--socket={cluster.folder}/run/mariadb.socket"
    command = ["mariadb", "--no-defaults", socket, "slurm_acct_db", "-e", query]
    subprocess.run(command, check=True, timeout=60)
