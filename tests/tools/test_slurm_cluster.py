from __future__ import annotations

import os
from pathlib import Path

import pytest
from slurm_cluster import Cluster, program, slurm_cluster  # noqa: F401

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(600)]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="a Slurm cluster has to be started as root")


def processes_of(folder: Path) -> list[str]:
    """What runs with this folder in its command line or as its cluster."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        process = program.Process.find(int(path.name))
        if not process or process.pid == os.getpid():
            continue
        try:
            command = (path / "cmdline").read_text(errors="replace").replace("\0", " ")
        except OSError:
            continue
        if f"{folder}/" in command or f"SLURM_CONF={folder}/slurm.conf" in process.environment:
            found.append(f"{process.pid} {command}")
    return found


def runs_in(cluster: Cluster, command: str) -> bool:
    return any(process.endswith(f" {command} ") for process in processes_of(cluster.folder))


def test_job_runs_soon_and_dependant_soon_after(slurm_cluster: Cluster) -> None:  # noqa: F811
    job = slurm_cluster.submit("--wrap", "true")
    dependant = slurm_cluster.submit(f"--dependency=afterok:{job}", "--wrap", "true")
    slurm_cluster.wait_for_state(job, "COMPLETED", limit=10)
    slurm_cluster.wait_for_state(dependant, "COMPLETED", limit=10)


def test_accounting_knows_the_job(slurm_cluster: Cluster) -> None:  # noqa: F811
    job = slurm_cluster.submit("--account=dpps", "--wrap", "exit 5")

    def answer() -> str:
        columns = "--format=State,ExitCode,Account"
        return slurm_cluster.run("sacct", "-X", "-n", "-P", "-j", job, columns).stdout.strip()

    slurm_cluster.wait_for(lambda: answer() == "FAILED|5:0|dpps", "the record of the job")


def test_start_is_idempotent(slurm_cluster: Cluster) -> None:  # noqa: F811
    before = processes_of(slurm_cluster.folder)
    assert "is already running" in slurm_cluster.start()
    assert processes_of(slurm_cluster.folder) == before


def test_lost_node_comes_back_and_its_job_with_it(slurm_cluster: Cluster) -> None:  # noqa: F811
    job = slurm_cluster.submit("--nodelist=n2", "--wrap", "sleep 3600")
    slurm_cluster.wait_for_state(job, "RUNNING")
    slurm_cluster.lose_node("n2")
    assert slurm_cluster.node_state("n2").startswith("down")
    slurm_cluster.wait_for_state(job, "PENDING")
    assert not program.Cluster(slurm_cluster.folder).job_processes("n2")
    slurm_cluster.restore_node("n2")
    slurm_cluster.wait_for_state(job, "RUNNING")
    slurm_cluster.run("scancel", job)


def test_paused_controller_does_not_answer(slurm_cluster: Cluster) -> None:  # noqa: F811
    slurm_cluster.pause("slurmctld")
    try:
        assert slurm_cluster.run("sbatch", "--wrap", "true", check=False).returncode != 0
    finally:
        slurm_cluster.resume("slurmctld")
    slurm_cluster.wait_for(
        lambda: slurm_cluster.run("scontrol", "ping", check=False).returncode == 0, "slurmctld to answer"
    )


def test_killed_daemon_is_started_again(slurm_cluster: Cluster) -> None:  # noqa: F811
    slurm_cluster.kill("slurmctld")
    assert "runs now" in slurm_cluster.start()
    slurm_cluster.wait_for_state(slurm_cluster.submit("--wrap", "true"), "COMPLETED")


def test_second_cluster_stops_without_the_first(slurm_cluster: Cluster, tmp_path: Path) -> None:  # noqa: F811
    second = Cluster(tmp_path / "second", ("--max-array-size=2001",))
    second.start()
    try:
        first_job = slurm_cluster.submit("--wrap", "sleep 3600")
        second_job = second.submit("--array=2000", "--wrap", "sleep 3600")
        slurm_cluster.wait_for_state(first_job, "RUNNING")
        second.wait_for_state(second_job, "RUNNING")
        # Slurm says RUNNING before the script has been started.
        slurm_cluster.wait_for(lambda: runs_in(slurm_cluster, "sleep 3600"), "the script of the first job")
        first = processes_of(slurm_cluster.folder)
    finally:
        second.stop()
    assert processes_of(second.folder) == []
    assert list((second.folder / "run").glob("*.pid")) == []
    assert set(first) <= set(processes_of(slurm_cluster.folder))
    assert slurm_cluster.job_states(first_job) == ["RUNNING"]
    slurm_cluster.run("scancel", first_job)


@needs_root
def test_daemon_that_does_not_come_up_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "database" / "mysql").mkdir(parents=True)  # a database without its tables
    assert program.main(["start", str(tmp_path)]) == 1
    message = capsys.readouterr().err
    assert "mariadbd ended at once; the end of its log:" in message
    assert "mysql.db" in message
    assert processes_of(tmp_path) == []


def test_says_that_it_has_to_be_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program.os, "geteuid", lambda: 1000)
    assert program.main(["start", str(tmp_path)]) == 3
    assert "has to be run as root" in capsys.readouterr().err


@needs_root
def test_says_which_packages_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program.shutil, "which", lambda name, path: name != "slurmdbd" or None)
    assert program.main(["start", str(tmp_path)]) == 3
    assert "install the Debian packages slurmdbd" in capsys.readouterr().err
