"""Slurm's commands as they are written, and its answers as they are read."""

from __future__ import annotations

import string
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from job_bench import JobBench

from osa.model.job import NEVER, JobState, TaskRecord
from osa.scheduler import slurm_commands as commands
from osa.scheduler.slurm_commands import parse_sacct, parse_squeue

DATA = Path(__file__).parents[1] / "data" / "slurm"
FOLDER = Path("/data/analysis")
RECORDED = {
    "sacct": "JobID,JobIDRaw,JobName,State,ExitCode,Submit,Start,End,TotalCPU,ElapsedRaw,"
    "NodeList,Reason,WorkDir",
    "squeue": "%F,%K,%i,%j,%T,%r,%V,%S,%N,%Z",
}
SINCE = datetime(2026, 11, 24, 20, 0, tzinfo=UTC)
Task = tuple[str, str, int | None, JobState]


def asked_for(kind: str) -> list[str]:
    """Columns that the project asks for."""
    if kind == "sacct":
        *_, columns = commands.sacct_command(["x"], SINCE)
        return columns.removeprefix("--format=").split(",")
    *_, columns = commands.squeue_command(["x"])
    return columns.removeprefix("--format=").split("|")


def recorded(situation: str, kind: str) -> str:
    """A real answer, with the columns that the project asks for."""
    names = RECORDED[kind].split(",")
    file = f"{situation}.{'squeue-all' if kind == 'squeue' else kind}.txt"
    lines = []
    for line in (DATA / file).read_text(encoding="utf-8").splitlines():
        row = dict(zip(names, line.split("|", len(names) - 1), strict=True))
        lines.append("|".join(row[name] for name in asked_for(kind)))
    return "".join(f"{line}\n" for line in lines)


def sacct(situation: str, folder: Path = FOLDER) -> list[TaskRecord]:
    return list(parse_sacct(recorded(situation, "sacct"), folder))


def squeue(situation: str, folder: Path = FOLDER) -> list[TaskRecord]:
    return list(parse_squeue(recorded(situation, "squeue"), folder))


def tasks(records: list[TaskRecord]) -> set[Task]:
    return {(r.job_id, r.name, r.task, r.state) for r in records}


def one(records: list[TaskRecord], name: str) -> TaskRecord:
    (found,) = [record for record in records if record.name == name]
    return found


SITUATIONS = sorted({path.name.partition(".")[0] for path in DATA.glob("*.squeue-all.txt")})
GAPS = [*range(0, 41, 2), 50, 52, 54, 57, 60, 100, 200, 300, 400, 500]

# -------------------------------------------------------------------------- real answers


@pytest.mark.parametrize("situation", SITUATIONS)
def test_every_state_of_a_real_answer_is_understood(situation: str) -> None:
    for record in [*sacct(situation), *squeue(situation)]:
        assert record.state is not JobState.UNKNOWN
        assert record.submitted.tzinfo is UTC
        assert (record.host is None) == (record.started is None)
        assert record.started is None or record.started >= record.submitted
        assert record.ended is None or not record.state.is_live


@pytest.mark.parametrize("situation", SITUATIONS)
def test_steps_and_other_folders_are_passed_over(situation: str) -> None:
    assert sacct(situation, Path("/data")) == squeue(situation, Path("/data")) == []
    assert not any(record.name == "batch" for record in sacct(situation))


def test_pending_array_is_all_its_tasks() -> None:
    expected = {("7", "gaps", task, JobState.PENDING) for task in GAPS}
    expected.add(("8", "single", None, JobState.PENDING))
    assert tasks(sacct("pending_array")) == tasks(squeue("pending_array")) == expected
    assert {r.reason for r in squeue("pending_array")} == {"Resources", "Priority"}
    assert all(r.started is None for r in squeue("pending_array"))  # only when Slurm expects it


def test_array_of_which_some_run() -> None:
    states = Counter(record.state for record in squeue("partly_running_gaps"))
    assert states == {JobState.COMPLETED: 6, JobState.RUNNING: 3, JobState.PENDING: 22}
    assert {record.task for record in squeue("partly_running_gaps")} == set(GAPS)
    (running,) = [r for r in squeue("partly_running_gaps") if r.task == 14]
    assert (running.host, running.started) == ("n1", datetime.fromtimestamp(1795552070, UTC))


def test_list_that_was_cut_short_is_no_evidence() -> None:
    line = "7|0,2,4,6,8,10...%3|gaps|PENDING|Resources|1795552051|N/A||/data/analysis\n"
    assert list(parse_squeue(line, FOLDER)) == []


@pytest.mark.parametrize(
    ("name", "state", "exit_code"),
    [
        ("completed", JobState.COMPLETED, 0),
        ("failed", JobState.FAILED, 5),
        ("killed", JobState.FAILED, -9),
        ("terminated", JobState.FAILED, -15),
        ("ignores_term", JobState.CANCELLED, None),
    ],
)
def test_ends_of_tasks(name: str, state: JobState, exit_code: int | None) -> None:
    records = [record for record in sacct("ended") if record.name == name]
    assert {(record.state, record.exit_code) for record in records} == {(state, exit_code)}
    assert all(record.ended is not None and record.host for record in records)


def test_processor_time_comes_with_the_steps() -> None:
    assert one(sacct("ended"), "burn").cpu_time == timedelta(seconds=2, milliseconds=728)


def test_time_limit() -> None:
    record = one(sacct("timeout"), "timeout")
    assert (record.state, record.exit_code, record.reason) == (JobState.TIMEOUT, None, "")
    assert one(squeue("timeout"), "timeout").state is JobState.TIMEOUT


def test_dependants_of_a_failed_job() -> None:
    accounted = [r for r in sacct("dependency_failed") if r.name == "dep_kill"]
    queued = [r for r in squeue("dependency_failed") if r.name == "dep_kill"]
    for records in (accounted, queued):
        assert {(r.task, r.state, r.reason) for r in records} == {
            (task, JobState.CANCELLED, NEVER) for task in range(3)
        }
        assert all(r.started is r.host is r.exit_code is None for r in records)
    waiting = one(squeue("dependency_failed"), "dep_waiting")
    assert (waiting.state, waiting.reason) == (JobState.PENDING, NEVER)


def test_dependants_that_never_began_may_be_told_to_have_begun() -> None:
    # Of an array whose parent had failed before it was submitted; taken from a cluster.
    line = "48_[0-1%1]|fs_dep|CANCELLED|0:0|1795552193|1795552193|1795552193|00:00:00|None assigned|None|/x\n"
    records = list(parse_sacct(line, Path("/x")))
    found = [(r.task, r.state, r.reason, r.started) for r in records]
    assert found == [(task, JobState.CANCELLED, NEVER, None) for task in (0, 1)]


def test_cancelled_by_somebody() -> None:
    for record in sacct("cancelled_pending"):
        assert (record.state, record.reason) == (JobState.CANCELLED, "by 0")
    running = [r for r in sacct("cancelled_partly_running") if r.state is JobState.CANCELLED]
    assert running and {r.reason for r in running} == {"by 0"}


def test_task_that_does_not_end_when_asked_is_alive() -> None:
    assert one(squeue("completing_ignores_term"), "ignores_term").state is JobState.RUNNING


@pytest.mark.parametrize("situation", ["blank_and_bar_in_folder", "blank_and_bar_in_folder_running"])
def test_folder_with_the_separator_in_its_name(situation: str) -> None:
    folder = Path("/data/analysis/a b|c")
    assert one(sacct(situation, folder), "blank").task is None
    assert one(squeue(situation, folder), "blank").task is None


def test_requeued_task_has_two_tries() -> None:
    tries = sacct("requeue_after_2_after")
    assert [r.state for r in tries] == [JobState.CANCELLED, JobState.COMPLETED]
    assert tries[0].submitted < tries[1].submitted
    assert tries[0].reason == "REQUEUED"


def test_task_that_lost_its_node_is_tried_again() -> None:
    tries = [r for r in sacct("node_lost_4_completed") if r.task == 0]
    assert [(r.job_id, r.state) for r in tries] == [("1", JobState.NODE_FAIL), ("1", JobState.COMPLETED)]
    now = [r for r in squeue("node_lost_2_requeued") if r.task == 0]
    assert [(r.state, r.reason) for r in now] == [(JobState.PENDING, "ReqNodeNotAvail, UnavailableNodes:n2")]


def test_largest_array_of_a_real_cluster() -> None:
    assert commands.parse_largest_array((DATA / "config.txt").read_text(encoding="utf-8")) == 1001


@pytest.mark.parametrize("text", ["", "MaxArraySize", "MaxArraySizes = 4", "MaxArraySize = many"])
def test_largest_array_that_is_not_told(text: str) -> None:
    assert commands.parse_largest_array(text) is None


# -------------------------------------------------------------------------------- columns

OURS = {
    JobState.PENDING: "PENDING CONFIGURING REQUEUE_FED REQUEUE_HOLD RESV_DEL_HOLD",
    JobState.RUNNING: "RUNNING COMPLETING RESIZING SIGNALING STAGE_OUT STOPPED SUSPENDED",
    JobState.COMPLETED: "COMPLETED",
    JobState.FAILED: "FAILED SPECIAL_EXIT",
    JobState.CANCELLED: "CANCELLED PREEMPTED REQUEUED REVOKED",
    JobState.TIMEOUT: "TIMEOUT DEADLINE",
    JobState.OUT_OF_MEMORY: "OUT_OF_MEMORY",
    JobState.NODE_FAIL: "NODE_FAIL BOOT_FAIL",
    JobState.UNKNOWN: "INVENTED LAUNCH_FAILED_",
}


@pytest.mark.parametrize(
    ("word", "ours"), [(word, ours) for ours, text in OURS.items() for word in text.split()]
)
def test_every_state_of_slurm(word: str, ours: JobState) -> None:
    (accounted,) = parse_sacct(f"12|n|{word}|0:0|100|101|102|00:00:00|n1|None|/x", Path("/x"))
    (queued,) = parse_squeue(f"12|N/A|n|{word}|None|100|101|n1|/x", Path("/x"))
    assert accounted.state is queued.state is ours
    shown = "" if word == ours.value else word
    assert (accounted.reason, queued.reason) == (shown, shown)


def test_no_state_is_left_out() -> None:
    assert {
        word for ours, text in OURS.items() if ours is not JobState.UNKNOWN for word in text.split()
    } == set(commands.STATES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3", (3,)),
        ("[3]", (3,)),
        ("0-2", (0, 1, 2)),
        ("[0-2,7]", (0, 1, 2, 7)),
        ("[0-8:4%4]", (0, 4, 8)),
        ("0-99%5", tuple(range(100))),
        ("5-4", ()),
        ("0-4:0", (0, 1, 2, 3, 4)),
    ],
)
def test_lists_of_indices(text: str, expected: tuple[int, ...]) -> None:
    assert commands.expand_tasks(text) == expected


@pytest.mark.parametrize("text", ["", "N/A", "1,", "1-", "-1", "1-2-3", "0-99999999", "1...", "1;2", "a"])
def test_what_is_no_list_of_indices(text: str) -> None:
    with pytest.raises(ValueError, match="array indices"):
        commands.expand_tasks(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("00:00.250", 0.25), ("00:00:00", 0), ("01:02:03", 3723), ("2-01:00:00", 176400), ("", 0), ("?", 0)],
)
def test_processor_time(text: str, seconds: float) -> None:
    (record,) = parse_sacct(f"12|n|COMPLETED|0:0|100|101|102|{text}|n1|None|/x", Path("/x"))
    assert record.cpu_time == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "submitted",
    ["", "Unknown", "None", "0", "2026-11-24T20:27:31", "-5", "300000000000", "1" + 17 * "0", "9" * 5000],
)
def test_line_without_a_time_of_submission_is_passed_over(submitted: str) -> None:
    assert list(parse_sacct(f"12|n|RUNNING|0:0|{submitted}|1|Unknown|0|n1|None|/x", Path("/x"))) == []
    assert list(parse_squeue(f"12|N/A|n|RUNNING|None|{submitted}|1|n1|/x", Path("/x"))) == []


@given(st.text() | st.text(alphabet="|_[]%-,:0123456789\n/x"))
def test_no_text_breaks_the_parsers(text: str) -> None:
    for part in (text, *(f"{row}|/x" for row in text.split("\n"))):
        for record in [*parse_sacct(part, Path("/x")), *parse_squeue(part, Path("/x"))]:
            assert isinstance(record, TaskRecord)


@given(st.lists(st.text(alphabet=string.printable), min_size=10, max_size=10), st.sampled_from([8, 10]))
def test_no_columns_break_the_parsers(columns: list[str], count: int) -> None:
    line = "|".join([*columns[:count], "/x"])
    assert all(isinstance(record, TaskRecord) for record in parse_sacct(line, Path("/x")))
    assert all(isinstance(record, TaskRecord) for record in parse_squeue(line, Path("/x")))


names = st.text(alphabet=string.ascii_letters + string.digits + "_.-", min_size=1)
times = st.integers(min_value=1, max_value=4_000_000_000).map(lambda s: datetime.fromtimestamp(s, UTC))
ended = st.sampled_from([state for state in JobState if not state.is_live])


@st.composite
def ended_records(draw: st.DrawFn) -> TaskRecord:
    state = draw(ended)
    code = 0 if state is JobState.COMPLETED else draw(st.integers(-64, 255).filter(bool))
    return TaskRecord(
        job_id=str(draw(st.integers(1, 10**9))),
        name=draw(names),
        task=draw(st.none() | st.integers(0, 4_000_000)),
        state=state,
        submitted=draw(times),
        started=draw(times),
        ended=draw(times),
        exit_code=code,
        host=draw(st.from_regex(r"n[0-9]{1,3}", fullmatch=True)),
        cpu_time=timedelta(seconds=draw(st.integers(0, 10**6))),
    )


def as_line(record: TaskRecord, folder: Path) -> str:
    def stamp(time: datetime | None) -> int:
        assert time is not None
        return int(time.timestamp())

    code = record.exit_code or 0
    minutes, seconds = divmod(int(record.cpu_time.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    columns = {
        "JobID": record.job_id + ("" if record.task is None else f"_{record.task}"),
        "JobName": record.name,
        "State": record.state.value,
        "ExitCode": f"0:{-code}" if code < 0 else f"{code}:0",
        "Submit": stamp(record.submitted),
        "Start": stamp(record.started),
        "End": stamp(record.ended),
        "TotalCPU": f"{hours // 24}-{hours % 24:02}:{minutes:02}:{seconds:02}",
        "NodeList": record.host,
        "Reason": "None",
        "WorkDir": folder,
    }
    return "|".join(str(columns[name]) for name in asked_for("sacct"))


@given(st.lists(ended_records()), st.text(alphabet=string.ascii_letters + " |_/", max_size=8))
def test_what_is_written_as_slurm_does_is_read_back(records: list[TaskRecord], folder: str) -> None:
    where = Path("/data") / folder.strip("/ ")
    text = "".join(f"{as_line(record, where)}\n{record.job_id}.batch|batch||||||||||\n" for record in records)
    assert list(parse_sacct(text, where)) == records


# ------------------------------------------------------------------------------- commands


@pytest.mark.parametrize(("text", "job"), [("12\n", "12"), ("12;lapalma\n", "12"), (" 12 ", "12")])
def test_identifier_of_a_job(text: str, job: str) -> None:
    assert commands.parse_job_id(text) == job


@pytest.mark.parametrize("text", ["", "\n", "Submitted batch job 12", "12\n13", "12;", "12 13", "-1"])
def test_what_is_no_identifier_of_a_job(text: str) -> None:
    assert commands.parse_job_id(text) is None


def test_submission_of_an_array(bench: JobBench) -> None:
    job = bench.job("LST1_01874", tasks=(0, 1, 2, 7))
    command = commands.sbatch_command(job, after="12:13", array=job.tasks, at_once=5, offset=0)
    assert command == [
        "sbatch",
        "--parsable",
        "--job-name=LST1_01874",
        f"--chdir={job.group.folder}",
        "--dependency=afterok:12:13",
        "--kill-on-invalid-dep=yes",
        "--array=0-2,7%5",
        str(job.script),
    ]


def test_submission_of_a_job_that_is_no_array(bench: JobBench) -> None:
    job = bench.job("LST1_01873")
    command = commands.sbatch_command(job, after=None, array=(), at_once=5, offset=0)
    assert command[2:] == ["--job-name=LST1_01873", f"--chdir={job.group.folder}", str(job.script)]


def test_submission_with_an_offset(bench: JobBench) -> None:
    job = bench.job("LST1_01874", tasks=(1000,))
    command = commands.sbatch_command(job, after=None, array=(0,), at_once=None, offset=1000)
    assert command[-3:] == ["--array=0", str(job.script), "1000"]


def test_accounting_is_asked_in_universal_time() -> None:
    zone = datetime.fromisoformat("2020-01-28T01:30:00+01:00")
    command = commands.sacct_command(["a", "b"], zone)
    assert "--starttime=2020-01-28T00:30:00" in command and "--name=a,b" in command


def test_callers_settings_do_not_reach_slurm() -> None:
    given = {
        "PATH": "/bin",
        "HOME": "/root",
        "SLURM_CONF": "/etc/slurm.conf",
        "SLURM_JOB_ID": "4",
        "SLURM_TIME_FORMAT": "%H",
        "SBATCH_PARTITION": "long",
        "SBATCH_EXPORT": "NONE",
        "SQUEUE_FORMAT": "%i",
        "SACCT_FORMAT": "jobid",
        "SCANCEL_STATE": "PENDING",
        "SCONTROL_ALL": "1",
        "TZ": "Europe/Madrid",
        "LC_ALL": "es_ES.UTF-8",
    }
    kept = {name: given[name] for name in ("PATH", "HOME", "SLURM_CONF", "TZ", "LC_ALL")}
    assert commands.environment_of_jobs(given) == kept
    own = {"TZ": "UTC", "LC_ALL": "C", "SLURM_TIME_FORMAT": "%s", "SLURM_BITSTR_LEN": "0"}
    assert commands.environment_of_queries(given) == kept | own
