"""Calls of Slurm's commands: errors told apart, and what reaches the commands."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fake_slurm import FakeSlurm, Mishap
from job_bench import JobBench

from osa.errors import ExitCode, MissingServiceError, OsaError, ParentGoneError
from osa.scheduler.slurm_calls import SlurmAwayError, SlurmCalls, SlurmRefusedError
from osa.scheduler.slurm_commands import sbatch_command

FAILURES: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "data" / "slurm" / "failures.json").read_text(encoding="utf-8")
)
OURS = ("sbatch", "squeue", "sacct", "scancel", "scontrol")
AWAY = [
    case
    for case, call in FAILURES.items()
    if case.startswith(("ctld_", "dbd_", "db_", "munge_"))
    and call["exit_code"]
    and call["command"][0] in OURS
    and not case.endswith(".ping")  # exits with an error, and says nothing of one
]
REFUSED = [
    "unknown_partition",
    "unknown_account",
    "array_too_large",
    "array_negative",
    "bad_option",
    "bad_time",
    "too_much_memory",
    "no_such_script",
    "no_shebang",
    "empty_script",
]
SINCE = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def calls(fake: FakeSlurm) -> SlurmCalls:
    return SlurmCalls(fake.environment)


@pytest.fixture
def command(bench: JobBench) -> list[str]:
    job = bench.job("LST1_01874", tasks=(0, 1))
    return sbatch_command(job, after=None, array=job.tasks, at_once=None, offset=0)


def call(calls: SlurmCalls, name: str, command: list[str], folder: Path) -> object:
    work = {
        "sbatch": lambda: calls.sbatch(command),
        "squeue": lambda: calls.squeue(["n"], folder),
        "sacct": lambda: calls.sacct(["n"], SINCE, folder),
        "scancel": lambda: calls.scancel(["12"]),
        "scontrol": calls.largest_array,
    }
    return work[name]()


def mishap(case: str) -> Mishap:
    recorded = FAILURES[case]
    return Mishap(says=recorded["stdout"], error=recorded["stderr"], code=recorded["exit_code"])


@pytest.mark.parametrize("case", AWAY)
def test_slurm_that_is_away(
    case: str, fake: FakeSlurm, calls: SlurmCalls, command: list[str], tmp_path: Path
) -> None:
    name = FAILURES[case]["command"][0]
    fake.plan(name, mishap(case))
    with pytest.raises(SlurmAwayError) as caught:
        call(calls, name, command, tmp_path)
    assert caught.value.exit_code is ExitCode.MISSING_SERVICE
    assert str(caught.value).startswith(f"{name}: ")


@pytest.mark.parametrize("case", REFUSED)
def test_slurm_that_says_no(case: str, fake: FakeSlurm, calls: SlurmCalls, command: list[str]) -> None:
    fake.plan("sbatch", mishap(case))
    with pytest.raises(SlurmRefusedError) as caught:
        calls.sbatch(command)
    assert caught.value.exit_code is ExitCode.NOT_COMPLETE
    last = FAILURES[case]["stderr"].splitlines()[-1].rpartition("error: ")[2]
    assert last in str(caught.value)


def test_parent_that_slurm_refuses(fake: FakeSlurm, calls: SlurmCalls, command: list[str]) -> None:
    fake.plan("sbatch", mishap("afterok_bad"))
    with pytest.raises(ParentGoneError, match=r"sbatch: .*Job dependency problem"):
        calls.sbatch(command)


@pytest.mark.parametrize("said", ["", "\n", "Submitted batch job 12\n", "12\n13\n"])
def test_submission_without_a_number_may_have_been_one(
    said: str, fake: FakeSlurm, calls: SlurmCalls, command: list[str]
) -> None:
    fake.plan("sbatch", Mishap(says=said))
    with pytest.raises(SlurmAwayError, match="did not tell the number of a job"):
        calls.sbatch(command)


def test_command_that_fails_without_a_word(fake: FakeSlurm, calls: SlurmCalls, command: list[str]) -> None:
    fake.plan("sbatch", Mishap(code=1))
    with pytest.raises(SlurmAwayError, match="exit code 1, without a word"):
        calls.sbatch(command)


def test_error_on_the_wrong_stream_is_understood(fake: FakeSlurm, calls: SlurmCalls, tmp_path: Path) -> None:
    fake.plan("squeue", Mishap(says="slurm_load_jobs error: Unable to contact slurm controller\n", code=1))
    with pytest.raises(SlurmAwayError, match="Unable to contact"):
        calls.squeue(["n"], tmp_path)


@pytest.mark.parametrize("name", OURS)
def test_command_that_hangs_is_given_up(
    name: str, fake: FakeSlurm, command: list[str], tmp_path: Path
) -> None:
    fake.plan(name, Mishap(hangs=60))
    before = time.monotonic()
    with pytest.raises(SlurmAwayError, match=f"{name} did not answer"):
        call(SlurmCalls(fake.environment, timeout=0.5), name, command, tmp_path)
    assert time.monotonic() - before < 10


@pytest.mark.parametrize("name", OURS)
def test_command_that_is_not_installed(name: str, command: list[str], tmp_path: Path) -> None:
    with pytest.raises(MissingServiceError, match=f"{name} cannot be run .*--backend local") as caught:
        call(SlurmCalls({"PATH": str(tmp_path)}), name, command, tmp_path)
    assert not isinstance(caught.value, SlurmAwayError)  # waiting does not help


def test_text_that_is_none_is_read_all_the_same(fake: FakeSlurm, tmp_path: Path) -> None:
    script = fake.folder / "bin" / "squeue"
    script.write_text("#!/bin/sh\nprintf '12|N/A|n|RUNNING|None|100|101|n1|%s\\n\\377\\376|\\n' \"$PWD\"\n")
    (record,) = SlurmCalls(fake.environment).squeue(["n"], Path.cwd())
    assert record.job_id == "12"


@pytest.mark.parametrize("name", OURS)
def test_callers_settings_do_not_reach_slurm(
    name: str, fake: FakeSlurm, command: list[str], tmp_path: Path
) -> None:
    environment = {
        **fake.environment,
        "SLURM_CONF": "/data/slurm/slurm.conf",
        "SLURM_JOB_ID": "4",
        "SBATCH_PARTITION": "long",
        "SQUEUE_FORMAT": "%i",
        "SACCT_FORMAT": "jobid",
    }
    call(SlurmCalls(environment), name, command, tmp_path)
    seen = fake.seen_by(name)
    assert seen.pop("SLURM_CONF") == "/data/slurm/slurm.conf"
    own = {"TZ": "UTC", "SLURM_TIME_FORMAT": "%s", "SLURM_BITSTR_LEN": "0"}
    assert seen == ({key: value for key, value in seen.items() if key == "TZ"} if name == "sbatch" else own)


def test_answers_of_all_commands(fake: FakeSlurm, calls: SlurmCalls, bench: JobBench) -> None:
    job = bench.job("LST1_01874", tasks=(0, 1))
    command = sbatch_command(job, after=None, array=job.tasks, at_once=1, offset=0)
    job_id = calls.sbatch(command)
    queued = calls.squeue([job.name], job.group.folder)
    accounted = calls.sacct([job.name], SINCE, job.group.folder)
    assert [(r.job_id, r.task) for r in queued] == [(r.job_id, r.task) for r in accounted]
    assert [(r.job_id, r.task) for r in queued] == [(job_id, 0), (job_id, 1)]
    assert calls.squeue([job.name], job.group.folder / "other") == ()
    calls.scancel([f"{job_id}_0"])
    assert [r.task for r in calls.squeue([job.name], job.group.folder)] == [1]
    assert calls.largest_array() == 1001


def test_error_is_one_of_the_projects() -> None:
    assert issubclass(SlurmAwayError, OsaError) and issubclass(SlurmRefusedError, OsaError)
