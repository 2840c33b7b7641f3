"""The simulated night on a real Slurm cluster: whole, and with all that befalls its jobs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from real_night import CALIBRATION_RUN, DATA, DRS4_RUN, Stage, copy_inputs, run, set_key
from slurm_cluster import Cluster

from osa.layout import DL1, PRODUCT_KINDS
from osa.steps.history import read_history

pytestmark = [pytest.mark.slow, pytest.mark.slurm, pytest.mark.timeout(1800)]

NIGHT = "2020_01_27"
TASKS = [(run_number, subrun) for run_number, subruns in DATA.items() for subrun in subruns]


@dataclass(frozen=True)
class SlurmNight:
    """A simulated night whose jobs go to a cluster."""

    stage: Stage
    cluster: Cluster

    def command(self, name: str, *options: object) -> subprocess.CompletedProcess[str]:
        night = ("-c", self.stage.config, "-d", NIGHT)
        return run(name, *night, *options, environment=self.cluster.environment)

    def rows(self) -> dict[str, dict[str, Any]]:
        """What the table says, by run."""
        shown = self.command("sequencer", "-s", "--json")
        assert shown.returncode == 0, shown.stderr
        return {row["Run"]: row for row in json.loads(shown.stdout)["sequences"]}

    def sacct(self, run_number: int, *columns: str) -> list[list[str]]:
        """What Slurm's accounting says of a run's job, all tries."""
        asked = self.cluster.run(
            "sacct", "-X", "-D", "-n", "-P", "-S", "now-1hour", "-E", "now", "--state=CD,F,CA,TO,NF,RQ,R,PD",
            f"--name=LST1_{run_number:05d}", f"--format=WorkDir,{','.join(columns)}",
        )  # fmt: skip
        folder = str(self.stage.layout.analysis_dir)
        lines = [line.split("|") for line in asked.stdout.splitlines()]
        return [line[1:] for line in lines if line[0] == folder]

    def wait_for(self, condition: Callable[[], object], what: str, limit: float = 300.0) -> None:
        self.cluster.wait_for(condition, what, limit)


def published(night: SlurmNight, run_number: int, subrun: int) -> bool:
    layout = night.stage.layout
    return all(layout.working(kind, run_number, subrun).exists() for kind in PRODUCT_KINDS)


# ----------------------------------------------------------------------- the whole night


@pytest.fixture(scope="module")
def whole(simulated: Stage, slurm_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> SlurmNight:
    """The night after ``sequencer --wait``."""
    stage = copy_inputs(simulated, tmp_path_factory.mktemp("slurm-night") / "night")
    set_key(stage.config, "backend", "slurm")
    night = SlurmNight(stage, slurm_cluster)
    result = night.command("sequencer", "--wait")
    assert result.returncode == 0, result.stderr
    assert "submitted 5 task(s)" in result.stderr
    assert "5/5 tasks done" in result.stderr
    return night


class TestWholeNight:
    def test_table_says_all_is_done(self, whole: SlurmNight) -> None:
        rows = whole.rows()
        assert {row["State"] for row in rows.values()} == {"COMPLETED"}
        assert {row["Tries"] for row in rows.values()} == {1}
        for run_number in DATA:
            row = rows[f"{run_number:05d}"]
            assert [row[f"{kind.name}%"] for kind in PRODUCT_KINDS] == [100] * 4

    @pytest.mark.parametrize("run_number", [CALIBRATION_RUN, *DATA])
    def test_accounting_and_table_agree(self, whole: SlurmNight, run_number: int) -> None:
        row = whole.rows()[f"{run_number:05d}"]
        lines = whole.sacct(run_number, "JobID", "State", "ExitCode", "NodeList")
        assert {job.partition("_")[0] for job, *_ in lines} == {row["JobID"]}
        assert {(state, code) for _, state, code, _ in lines} == {(row["State"], f"{row['Exit']}:0")}
        nodes = {node for *_, node in lines}
        assert row["Host"] == (nodes.pop() if len(nodes) == 1 else f"{len(nodes)} hosts")
        assert row["CPU_time"] > "00:00:10"
        assert row["Walltime"] > "00:00:10"

    def test_data_began_after_the_calibration_had_ended(self, whole: SlurmNight) -> None:
        (((ended,),)) = whole.sacct(CALIBRATION_RUN, "End")
        begins = [start for number in DATA for (start,) in whole.sacct(number, "Start")]
        assert len(begins) == len(TASKS)
        assert all(start >= ended for start in begins)

    def test_data_was_chained_to_the_calibration(self, whole: SlurmNight) -> None:
        job = whole.rows()["01873"]["JobID"]
        for number in DATA:
            lines = {line for (line,) in whole.sacct(number, "SubmitLine")}
            assert len(lines) == 1
            assert f" --dependency=afterok:{job} --kill-on-invalid-dep=yes " in lines.pop()

    def test_logs_are_where_the_table_points(self, whole: SlurmNight) -> None:
        job = whole.rows()["01874"]["JobID"]
        log = whole.stage.layout.log_dir / f"LST1_01874_{job}_1.log"
        assert "dl1_to_dl2: done" in log.read_text("utf-8")

    def test_nothing_is_submitted_again(self, whole: SlurmNight) -> None:
        again = whole.command("sequencer")
        assert again.returncode == 0
        assert "nothing to submit" in again.stderr
        assert {row["Tries"] for row in whole.rows().values()} == {1}

    def test_only_what_is_lost_is_submitted(self, whole: SlurmNight) -> None:
        whole.stage.layout.working(DL1, 1875, 1).unlink()
        again = whole.command("sequencer", "--wait")
        assert again.returncode == 0, again.stderr
        assert "submitted 1 task(s)" in again.stderr
        assert published(whole, 1875, 1)
        tried = {job.partition("_")[2] for (job,) in whole.sacct(1875, "JobID")[2:]}
        assert tried == {"1"}

    def test_is_closed(self, whole: SlurmNight) -> None:
        closed = whole.command("closer", "-y")
        assert closed.returncode == 0, closed.stdout + closed.stderr
        assert whole.stage.layout.night_finished.exists()


# ------------------------------------------------------------------------------- mishaps


@pytest.fixture(scope="module")
def unlucky(
    whole: SlurmNight, simulated: Stage, slurm_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> SlurmNight:
    """A night of which nothing is done, with little time for its tasks."""
    stage = copy_inputs(simulated, tmp_path_factory.mktemp("unlucky-night") / "night")
    set_key(stage.config, "backend", "slurm")
    set_key(stage.config, "walltime", "00:02:00")
    return SlurmNight(stage, slurm_cluster)


class TestMishaps:
    """One story: each test goes on where the one before has left the night."""

    def test_failed_calibration_takes_its_data_with_it(self, unlucky: SlurmNight) -> None:
        raw = unlucky.stage.layout.raw_file(DRS4_RUN, 0)
        whole_file = raw.read_bytes()
        raw.unlink()  # a link to the file of other tests
        raw.write_bytes(whole_file[: len(whole_file) // 2])
        result = unlucky.command("sequencer", "--wait")
        assert result.returncode == 1, result.stderr
        rows = unlucky.rows()
        assert (rows["01873"]["State"], rows["01873"]["Exit"]) == ("FAILED", 1)
        for number in DATA:
            row = rows[f"{number:05d}"]
            assert (row["State"], row["Reason"]) == ("CANCELLED", "DependencyNeverSatisfied")
            assert row["Todo"] == list(DATA[number])
        assert list(unlucky.stage.layout.analysis_dir.glob("*.h5")) == []
        raw.write_bytes(whole_file)

    def test_node_is_lost_task_cancelled_and_another_hangs(self, unlucky: SlurmNight) -> None:
        submitted = unlucky.command("sequencer")
        assert "submitted 5 task(s)" in submitted.stderr
        layout, cluster = unlucky.stage.layout, unlucky.cluster
        jobs = {number: unlucky.rows()[f"{number:05d}"]["JobID"] for number in DATA}
        cancelled, hanging, lost = (1874, 0), (1874, 1), (1875, 0)

        def is_writing(task: tuple[int, int]) -> bool:
            number, subrun = task
            folder = layout.scratch_dir / f"{number:05d}.{subrun:04d}.r0_to_dl1"
            return bool(list(folder.glob("*.h5")))

        for task in (cancelled, hanging, lost):
            unlucky.wait_for(lambda task=task: is_writing(task), f"{task} to write")
        freeze(jobs[hanging[0]], hanging[1])
        cluster.run("scancel", f"{jobs[cancelled[0]]}_{cancelled[1]}")
        node = unlucky.cluster.run(
            "squeue", "-h", "-j", f"{jobs[lost[0]]}_{lost[1]}", "-o", "%N"
        ).stdout.strip()
        cluster.lose_node(node)
        assert not any(published(unlucky, *task) for task in (cancelled, hanging, lost))

        def has_ended() -> bool:
            return all(not row["Live"] for row in unlucky.rows().values())

        unlucky.wait_for(has_ended, "all tasks to end", limit=420)
        cluster.restore_node(node)
        rows = unlucky.rows()
        assert rows["01873"]["State"] == "COMPLETED"
        assert not published(unlucky, *cancelled)
        assert not published(unlucky, *hanging)
        states = dict(unlucky.sacct(1874, "JobID", "State")[-2:])
        assert states[f"{jobs[1874]}_0"].startswith("CANCELLED")
        assert states[f"{jobs[1874]}_1"] == "TIMEOUT"
        assert rows["01874"]["State"] == "TIMEOUT"
        assert rows["01874"]["Todo"] == [0, 1]
        # The lost one was given to another node by Slurm: the same job, a second try.
        tries = [state for job, state in unlucky.sacct(1875, "JobID", "State") if job == f"{jobs[1875]}_0"]
        assert tries[0] in {"NODE_FAIL", "REQUEUED"}
        assert len(tries) == 2
        assert rows["01875"]["Tries"] >= 2

    def test_next_sequencer_finishes_the_night(self, unlucky: SlurmNight) -> None:
        todo = sum(len(row["Todo"]) for row in unlucky.rows().values())
        assert todo >= 2
        result = unlucky.command("sequencer", "--wait")
        assert f"submitted {todo} task(s)" in result.stderr
        assert result.returncode == 0, result.stderr
        assert all(published(unlucky, *task) for task in TASKS)
        layout = unlucky.stage.layout
        assert list(layout.scratch_dir.iterdir()) == []
        for number, subrun in TASKS:
            codes = [record.return_code for record in read_history(layout.history(number, subrun))]
            assert codes.count(0) == 3
        closed = unlucky.command("closer", "-y")
        assert closed.returncode == 0, closed.stdout + closed.stderr


def freeze(job_id: str, subrun: int) -> None:
    """Stop all processes of a task, as one that waits for a dead file system would."""
    wanted = {"SLURM_ARRAY_JOB_ID": job_id, "SLURM_ARRAY_TASK_ID": str(subrun)}
    deadline = time.monotonic() + 60
    frozen = 0
    while not frozen and time.monotonic() < deadline:
        for process in psutil.process_iter():
            try:
                variables = process.environ()
            except psutil.Error:
                continue
            if all(variables.get(key) == value for key, value in wanted.items()):
                os.kill(process.pid, signal.SIGSTOP)
                frozen += 1
    assert frozen


# ------------------------------------------------------------------------------ cancelling


def test_cancel_ends_the_tasks_of_one_run(
    unlucky: SlurmNight, simulated: Stage, slurm_cluster: Cluster, tmp_path: Path
) -> None:
    stage = copy_inputs(simulated, tmp_path / "night")
    set_key(stage.config, "backend", "slurm")
    night = SlurmNight(stage, slurm_cluster)
    assert "submitted 5 task(s)" in night.command("sequencer").stderr
    looked = night.command("sequencer", "--cancel", "-s")
    assert "would cancel 5 task(s)" in looked.stderr
    one = night.command("sequencer", "--cancel", "--seq", 1874)
    assert one.returncode == 0
    assert "cancelled 2 task(s)" in one.stderr
    night.wait_for(lambda: night.rows()["01874"]["State"] == "CANCELLED", "the run to be cancelled")
    assert night.rows()["01875"]["State"] == "PENDING"
    night.command("sequencer", "--cancel", "-y")
    night.wait_for(lambda: not any(r["Live"] for r in night.rows().values()), "all to be cancelled")
    assert {row["State"] for row in night.rows().values()} == {"CANCELLED"}
    assert "submitted 5 task(s)" in night.command("sequencer").stderr
    night.command("sequencer", "--cancel", "-y")
