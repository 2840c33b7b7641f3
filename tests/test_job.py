"""Job scripts, and their chained submission."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest
from night_states import (
    calibration_sequence,
    data_sequence,
    record,
    sequence_state,
)

from osa.config import JobSettings
from osa.cures.diagnosis import Diagnosis
from osa.cures.known import KNOWN
from osa.decision import Action, Decision, decide
from osa.errors import (
    AnotherInstanceError,
    JobRefusedError,
    MissingServiceError,
    OsaError,
    ParentGoneError,
)
from osa.job import job_script, sbatch_directives, submit_night
from osa.layout import Layout
from osa.model.job import UNCONFIRMED, JobGroup, JobSpec, JobState, TaskRecord
from osa.model.sequence import CalibrationChoice
from osa.nightstate import SequenceState

GOLDEN = Path(__file__).parent / "data" / "sequence_LST1_01874.py"
CHOICE = CalibrationChoice(1872, 1873, ("run 01873 calibrates the night",))
RUNNING = JobState.RUNNING


def calibration_state(**values: object) -> SequenceState:
    return sequence_state(calibration_sequence(), **values)  # type: ignore[arg-type]


# ---------------------------------------------------------------------------- job script


def with_placeholders(layout: Layout, text: str) -> str:
    replaced = {
        str(layout.settings.path): "<CONFIG>",
        str(layout.analysis_dir): "<ANALYSIS_DIR>",
        sys.executable: "<PYTHON>",
    }
    for path, placeholder in replaced.items():
        assert path in text
        text = text.replace(path, placeholder)
    return text


def test_job_script_is_the_golden_one(layout: Layout) -> None:
    text = job_script(layout, data_sequence(n_subruns=12), (0, 1, 2, 7, 11))
    assert with_placeholders(layout, text) == GOLDEN.read_text(encoding="utf-8")


def test_job_script_of_a_calibration(layout: Layout) -> None:
    text = with_placeholders(layout, job_script(layout, calibration_sequence(), (0,)))
    assert "#SBATCH --output=<ANALYSIS_DIR>/log/LST1_01873_%j.log\n" in text
    assert "--array" not in text
    assert "SLURM_ARRAY_TASK_ID" not in text
    assert "'osa.cli.calibrationsequence'" in text


def test_account_and_partition_are_left_out_where_not_configured(make_settings, night) -> None:  # type: ignore[no-untyped-def]
    settings = make_settings({("DATA JOB", "account"): "", ("DATA JOB", "partition"): ""})
    text = job_script(Layout(settings, night), data_sequence(), (0,))
    assert "--account" not in text
    assert "--partition" not in text
    assert "--job-name=LST1_01874\n" in text


def test_job_script_runs_its_task_without_a_shell(layout: Layout, tmp_path: Path) -> None:
    """The script is run, with a program in Python's place that writes down its arguments."""
    text = job_script(layout, data_sequence(), (2,))
    assert isinstance(ast.parse(text), ast.Module)
    spy = tmp_path / "spy $(touch hurt)"
    spy.write_text(f"#!{sys.executable}\nimport sys\nprint(sys.argv[1:])\n")
    spy.chmod(0o755)
    script = tmp_path / "job.py"
    script.write_text(text.replace(repr(sys.executable), repr(str(spy))))
    environment = {**os.environ, "SLURM_ARRAY_TASK_ID": "2"}
    said = subprocess.run(
        [sys.executable, script], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    assert ast.literal_eval(said) == [
        "-m",
        "osa.cli.datasequence",
        f"--config={layout.settings.path}",
        "--date=2020_01_27",
        "--drs4-run=1872",
        "--calibration-run=1873",
        "01874.0002",
        "LST1",
    ]
    assert not (tmp_path / "hurt").exists()


# ---------------------------------------------------------------------------- submission


@dataclass
class RecordingScheduler:
    """Takes jobs, and writes down which."""

    name = "recording"
    refused: dict[str, Exception] = field(default_factory=dict)
    jobs: list[JobSpec] = field(default_factory=list)
    after: list[str | None] = field(default_factory=list)

    def submit(self, job: JobSpec, *, after: str | None = None) -> str:
        if job.name in self.refused:
            raise self.refused[job.name]
        assert job.script.is_file()
        self.jobs.append(job)
        self.after.append(after)
        return f"id-of-{job.name}"

    def records(self, group: JobGroup) -> tuple[TaskRecord, ...]:
        return ()

    def tidy(self, group: JobGroup, names: Iterable[str]) -> tuple[TaskRecord, ...]:
        return ()

    def cancel(self, group: JobGroup, names: Iterable[str]) -> int:
        raise AssertionError("nothing is to be cancelled")

    @property
    def names(self) -> list[str]:
        return [job.name for job in self.jobs]


def submit(
    layout: Layout,
    decisions: Iterable[Decision],
    scheduler: RecordingScheduler,
    *,
    is_calibrated: bool = False,
) -> int:
    return submit_night(layout, decisions, scheduler, CHOICE, calibration_is_done=lambda: is_calibrated)


def new_night(*runs: int) -> tuple[Decision, ...]:
    """Decide for a night of which nothing is done; the calibration stands last."""
    data = [sequence_state(data_sequence(run), todo=[0, 1, 2]) for run in runs or (1874, 1875)]
    return decide((*data, calibration_state(todo=[0])), simulate=False)


def test_calibration_is_submitted_first_and_data_after_it(layout: Layout) -> None:
    scheduler = RecordingScheduler()
    count = submit(layout, new_night(), scheduler)
    assert scheduler.names == ["LST1_01873", "LST1_01874", "LST1_01875"]
    assert scheduler.after == [None, "id-of-LST1_01873", "id-of-LST1_01873"]
    assert count == 1 + 3 + 3


def test_submitted_jobs(layout: Layout) -> None:
    scheduler = RecordingScheduler()
    decisions = decide((calibration_state(todo=[0]), sequence_state(todo=[0, 2])), simulate=False)
    submit(layout, decisions, scheduler)
    resources = layout.settings.data_job
    assert scheduler.jobs[0].tasks == ()
    assert scheduler.jobs[1] == JobSpec(
        "LST1_01874",
        layout.group,
        layout.analysis_dir / "sequence_LST1_01874.py",
        layout.analysis_dir / "log",
        resources,
        (0, 2),
    )


def test_what_was_submitted_is_left_for_people(layout: Layout) -> None:
    submit(layout, new_night(1874), RecordingScheduler())
    sequence = data_sequence(1874)
    assert layout.script(sequence).read_text() == job_script(layout, sequence, (0, 1, 2))
    assert os.access(layout.script(sequence), os.X_OK)
    text = layout.description(sequence).read_text(encoding="utf-8")
    lines = (line.partition(":") for line in text.split("\n"))
    facts = {key.strip(): value.strip() for key, _, value in lines}
    assert facts["sub-runs submitted"] == "0-2"
    assert facts["DRS4 run"] == "1872"
    assert facts["source"] == "Crab"
    assert "run 01873 calibrates the night" in facts
    assert layout.log_dir.is_dir()


def test_data_waits_for_a_calibration_that_is_alive(layout: Layout) -> None:
    live = calibration_state(todo=[0], records=[record("LST1_01873", None, RUNNING, job_id="42")])
    scheduler = RecordingScheduler()
    decisions = decide((live, sequence_state(todo=[0])), simulate=False)
    assert submit(layout, decisions, scheduler) == 1
    assert (scheduler.names, scheduler.after) == (["LST1_01874"], ["42"])


def test_data_waits_for_no_calibration_that_is_done(layout: Layout) -> None:
    done = calibration_state(records=[record("LST1_01873", None, job_id="42")])
    scheduler = RecordingScheduler()
    submit(layout, decide((done, sequence_state(todo=[0])), simulate=False), scheduler)
    assert scheduler.after == [None]


def test_nothing_is_submitted_where_nothing_is_missing(layout: Layout) -> None:
    decisions = decide((calibration_state(), sequence_state()), simulate=False)
    scheduler = RecordingScheduler()
    assert submit(layout, decisions, scheduler) == 0
    assert scheduler.jobs == []
    assert not layout.analysis_dir.exists()


def test_without_its_calibration_no_data_is_submitted(layout: Layout) -> None:
    scheduler = RecordingScheduler({"LST1_01873": OsaError("queue is shut")})
    with pytest.raises(OsaError, match="queue is shut"):
        submit(layout, new_night(), scheduler)
    assert scheduler.jobs == []


@pytest.mark.parametrize("error", [OsaError("too many"), AnotherInstanceError("alive"), OSError(28, "full")])
def test_submission_that_fails_is_named_and_the_others_go_on(layout: Layout, error: Exception) -> None:
    scheduler = RecordingScheduler({"LST1_01875": error})
    with pytest.raises(OsaError) as raised:
        submit(layout, new_night(1874, 1875, 1876), scheduler)
    assert scheduler.names == ["LST1_01873", "LST1_01874", "LST1_01876"]
    assert "not submitted" in str(raised.value)
    assert str(error) in str(raised.value)
    assert "LST1_01875" in str(raised.value)


def test_simulation_touches_nothing(layout: Layout) -> None:
    decisions = decide((calibration_state(todo=[0]), sequence_state(todo=[0])), simulate=True)
    scheduler = RecordingScheduler()
    assert submit(layout, decisions, scheduler) == 0
    assert scheduler.jobs == []
    assert not layout.analysis_dir.exists()


# --------------------------------------------------------- a calibration whose job is forgotten


class ForgetfulScheduler(RecordingScheduler):
    """Has forgotten every job that ended, as Slurm does after some minutes."""

    def submit(self, job: JobSpec, *, after: str | None = None) -> str:
        if after is not None:
            raise ParentGoneError("Job dependency problem")
        return super().submit(job)


def calibration_of_job(job_id: str, state: JobState = RUNNING) -> SequenceState:
    return calibration_state(todo=[0], records=[record("LST1_01873", None, state, job_id=job_id)])


def night_behind(calibration: SequenceState) -> tuple[Decision, ...]:
    data = (sequence_state(data_sequence(run), todo=[0, 1]) for run in (1874, 1875))
    return decide((calibration, *data), simulate=False)


def test_forgotten_calibration_is_judged_by_its_products(layout: Layout) -> None:
    scheduler = ForgetfulScheduler()
    assert submit(layout, night_behind(calibration_of_job("42")), scheduler, is_calibrated=True) == 4
    assert (scheduler.names, scheduler.after) == (["LST1_01874", "LST1_01875"], [None, None])


def test_unconfirmed_calibration_is_judged_by_its_products(layout: Layout) -> None:
    scheduler = RecordingScheduler()
    assert submit(layout, night_behind(calibration_of_job(UNCONFIRMED)), scheduler, is_calibrated=True) == 4
    assert scheduler.after == [None, None]


def test_calibration_that_is_done_is_not_waited_for(layout: Layout) -> None:
    done = calibration_state(records=[record("LST1_01873", None, JobState.UNKNOWN, job_id="42")])
    scheduler = RecordingScheduler()
    submit(layout, night_behind(done), scheduler)
    assert scheduler.after == [None, None]


@pytest.mark.parametrize(
    ("scheduler", "job_id"), [(ForgetfulScheduler(), "42"), (RecordingScheduler(), UNCONFIRMED)]
)
def test_data_is_not_submitted_behind_nothing(
    layout: Layout, scheduler: RecordingScheduler, job_id: str
) -> None:
    with pytest.raises(OsaError, match=r"LST1_01874: its calibration is not done yet.*run sequencer again"):
        submit(layout, night_behind(calibration_of_job(job_id)), scheduler)
    assert scheduler.jobs == []


def test_scheduler_that_is_away_is_not_asked_for_every_run(layout: Layout) -> None:
    scheduler = RecordingScheduler({"LST1_01874": MissingServiceError("Slurm is away")})
    with pytest.raises(MissingServiceError):
        submit(layout, new_night(1874, 1875), scheduler)
    assert scheduler.names == ["LST1_01873"]


def test_submissions_are_told_one_by_one(layout: Layout) -> None:
    told: list[int] = []
    submit_night(
        layout, new_night(), RecordingScheduler(), CHOICE,
        calibration_is_done=lambda: False, on_submitted=told.append,
    )  # fmt: skip
    assert told == [1, 3, 3]


# ------------------------------------------------------------------------------ directives


def test_limit_of_tasks_at_once(make_settings, night) -> None:  # type: ignore[no-untyped-def]
    settings = make_settings({("SLURM", "max_at_once"): "20"})
    assert "#SBATCH --array=0-1,5%20\n" in job_script(Layout(settings, night), data_sequence(), (0, 1, 5))


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("short", "#SBATCH --key=short"),
        ("/a b/c", '#SBATCH --key="/a b/c"'),
        ('/a"b', '#SBATCH --key="/a\\"b"'),
        ("/a#b", '#SBATCH --key="/a#b"'),
        (3, "#SBATCH --key=3"),
    ],
)
def test_directives_are_quoted_where_they_need_it(value: object, line: str) -> None:
    assert sbatch_directives({"key": value, "other": None}) == [line]


def test_array_index_beyond_what_the_cluster_takes(layout: Layout, tmp_path: Path) -> None:
    """The script adds what it is told to the index of its task."""
    text = job_script(layout, data_sequence(), (1003,))
    script = tmp_path / "job.py"
    script.write_text(text.replace("os.execv(command[0], command)", "print(command[-2])"))
    environment = {**os.environ, "SLURM_ARRAY_TASK_ID": "3"}
    run = [sys.executable, str(script)]
    said = [
        subprocess.run([*run, *more], env=environment, capture_output=True, text=True, check=True).stdout
        for more in ([], ["1000"])
    ]
    assert said == ["01874.0003\n", "01874.1003\n"]


# --------------------------------------------------------------- tasks that get more than others


def ailing(layout: Layout, resources: dict[int, JobSettings], tasks: tuple[int, ...] = (0, 1, 2)) -> Decision:
    (known,) = (rule for rule in KNOWN if rule.name == "out of memory")
    diagnoses = {task: Diagnosis(task, known, 1, False, more) for task, more in resources.items()}
    return Decision(sequence_state(todo=tasks), Action.SUBMIT, tasks, diagnoses=diagnoses)


def test_tasks_with_more_resources_are_a_job_of_their_own(layout: Layout) -> None:
    usual = layout.settings.data_job
    more, longer = replace(usual, memory=16384), replace(usual, walltime=2 * usual.walltime)
    scheduler = RecordingScheduler()
    decision = ailing(layout, {1: more, 3: more, 4: longer, 5: usual}, (0, 1, 2, 3, 4, 5))
    assert submit(layout, [decision], scheduler) == 6
    assert {job.tasks: job.resources for job in scheduler.jobs} == {
        (0, 2, 5): usual,
        (1, 3): more,
        (4,): longer,
    }


def test_job_is_submitted_with_its_own_script(layout: Layout) -> None:
    """A scheduler reads the script when the job is submitted; the next job has the same name."""
    scripts: dict[tuple[int, ...], str] = {}

    class ReadingScheduler(RecordingScheduler):
        def submit(self, job: JobSpec, *, after: str | None = None) -> str:
            scripts[job.tasks] = job.script.read_text(encoding="utf-8")
            return super().submit(job, after=after)

    more = replace(layout.settings.data_job, memory=16384, walltime=timedelta(hours=30))
    submit(layout, [ailing(layout, {1: more})], ReadingScheduler())
    assert "#SBATCH --array=0,2\n" in scripts[0, 2] and "#SBATCH --mem=8192M\n" in scripts[0, 2]
    assert "#SBATCH --array=1\n" in scripts[1,]
    assert "#SBATCH --mem=16384M\n#SBATCH --time=1-06:00:00\n" in scripts[1,]

    def body(text: str) -> list[str]:
        return [line for line in text.splitlines() if not line.startswith("#SBATCH")]

    # On this machine a task may begin after the script was written anew: only the heads differ.
    assert body(scripts[0, 2]) == body(scripts[1,])


def test_only_the_directives_of_a_larger_job_differ_from_the_golden_ones(layout: Layout) -> None:
    more = replace(layout.settings.data_job, memory=16384, walltime=timedelta(hours=12), cpus=2)
    text = with_placeholders(layout, job_script(layout, data_sequence(n_subruns=12), (7,), more))
    golden = GOLDEN.read_text(encoding="utf-8").splitlines()
    changed = [(old, new) for old, new in zip(golden, text.splitlines(), strict=True) if old != new]
    assert changed == [
        ("#SBATCH --array=0-2,7,11", "#SBATCH --array=7"),
        ("#SBATCH --cpus-per-task=1", "#SBATCH --cpus-per-task=2"),
        ("#SBATCH --mem=8192M", "#SBATCH --mem=16384M"),
        ("#SBATCH --time=06:00:00", "#SBATCH --time=12:00:00"),
    ]


def test_calibration_with_more_memory(layout: Layout) -> None:
    (known,) = (rule for rule in KNOWN if rule.name == "out of memory")
    more = replace(layout.settings.calibration_job, memory=32768)
    state = calibration_state(todo=[0])
    decision = Decision(state, Action.SUBMIT, (0,), diagnoses={0: Diagnosis(0, known, 1, False, more)})
    scheduler = RecordingScheduler()
    data = Decision(sequence_state(todo=[0]), Action.SUBMIT, (0,))
    submit(layout, [data, decision], scheduler)
    assert [job.resources.memory for job in scheduler.jobs] == [32768, 8192]
    assert scheduler.after == [None, "id-of-LST1_01873"]
    assert "#SBATCH --mem=32768M\n" in layout.script(calibration_sequence()).read_text("utf-8")


def test_refused_larger_job_does_not_keep_the_usual_one_back(layout: Layout) -> None:
    class SmallScheduler(RecordingScheduler):
        def submit(self, job: JobSpec, *, after: str | None = None) -> str:
            if job.resources.memory > 8192:
                raise JobRefusedError("this machine gives 8192 MB")
            return super().submit(job, after=after)

    more, most = (replace(layout.settings.data_job, memory=memory) for memory in (16384, 32768))
    decision = ailing(layout, {0: more, 2: most})
    veto = layout.veto(decision.sequence)
    scheduler = SmallScheduler()
    submit(layout, [decision], scheduler)
    assert [job.tasks for job in scheduler.jobs] == [(1,)]
    assert veto.read_text("utf-8").count("can have no more: this machine gives 8192 MB") == 2


def test_sequence_of_which_nothing_is_taken_does_not_hold_up_the_others(layout: Layout) -> None:
    class SmallScheduler(RecordingScheduler):
        def submit(self, job: JobSpec, *, after: str | None = None) -> str:
            if job.resources.memory > 8192:
                raise JobRefusedError("this machine gives 8192 MB")
            return super().submit(job, after=after)

    more = replace(layout.settings.data_job, memory=16384)
    decision = ailing(layout, dict.fromkeys((0, 1, 2), more))
    other = Decision(sequence_state(data_sequence(1875), todo=(0,)), Action.SUBMIT, (0,))
    scheduler = SmallScheduler()
    with pytest.raises(OsaError, match=r"LST1_01874 is vetoed: .*8192 MB"):
        submit(layout, [decision, other], scheduler)
    assert [job.name for job in scheduler.jobs] == ["LST1_01875"]
    assert layout.veto(decision.sequence).exists()
    assert not layout.veto(other.sequence).exists()


def test_usual_job_that_is_refused_vetoes_nothing(layout: Layout) -> None:
    """No run is to blame for it: it would be so with every one."""

    class Refusing(RecordingScheduler):
        def submit(self, job: JobSpec, *, after: str | None = None) -> str:
            raise JobRefusedError("no such partition")

    decision = ailing(layout, {})
    with pytest.raises(OsaError, match="no such partition"):
        submit(layout, [decision], Refusing())
    assert not layout.veto(decision.sequence).exists()
