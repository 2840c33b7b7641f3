"""What is decided for each sequence, the job scripts, and their chained submission."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from night_states import (
    calibration_sequence,
    data_sequence,
    record,
    sequence_state,
)

from osa.errors import AnotherInstanceError, OsaError
from osa.job import Action, Decision, decide, job_script, list_subruns, submit_night, write_veto
from osa.layout import Layout
from osa.model.job import JobSpec, JobState, Resources, TaskRecord
from osa.model.sequence import CalibrationChoice
from osa.nightstate import SequenceState

GOLDEN = Path(__file__).parent / "data" / "sequence_LST1_01874.py"
CHOICE = CalibrationChoice(1872, 1873, ("run 01873 calibrates the night",))
RUNNING = JobState.RUNNING


def decide_data(state: SequenceState, calibration: SequenceState | None = None) -> Decision:
    """Decide for a DATA sequence, with a calibration that is done where none is given."""
    states = (calibration or sequence_state(calibration_sequence()), state)
    return decide(states, simulate=False)[1]


def calibration_state(**values: object) -> SequenceState:
    return sequence_state(calibration_sequence(), **values)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------- decide


@pytest.mark.parametrize(
    ("state", "action", "tasks"),
    [
        # all of a new sequence; of others what is missing, and nothing twice
        ({"todo": [0, 1, 2]}, Action.SUBMIT, (0, 1, 2)),
        ({"todo": [1]}, Action.SUBMIT, (1,)),
        ({}, Action.CHECK, ()),
        ({"todo": [0, 1], "records": [record(task=0, state=JobState.PENDING)]}, Action.SUBMIT, (1,)),
        ({"todo": [0], "records": [record(task=0, state=RUNNING)]}, Action.CHECK, ()),
        ({"todo": [0], "records": [record(task=0, state=JobState.UNKNOWN)]}, Action.CHECK, ()),
        # whatever ended without its products is tried again
        *(
            ({"todo": [0], "records": [record(task=0, state=end)]}, Action.SUBMIT, (0,))
            for end in JobState
            if not end.is_live
        ),
        # of several tries the latest counts
        (
            {"todo": [0], "records": [record(state=JobState.FAILED), record(state=RUNNING, job_id="2")]},
            Action.CHECK,
            (),
        ),
        # what failed too often is left alone, the rest goes on
        ({"todo": [0, 1, 2], "exhausted": [1]}, Action.SUBMIT, (0, 2)),
        ({"todo": [1], "exhausted": [1]}, Action.VETO, ()),
        ({"todo": [1], "exhausted": [1], "records": [record(task=1, state=RUNNING)]}, Action.CHECK, ()),
        (
            {"todo": [1, 2], "exhausted": [1], "records": [record(task=2, state=RUNNING)]},
            Action.CHECK,
            (),
        ),
        # flags
        ({"todo": [0], "vetoed": True}, Action.VETO, ()),
        ({"closed": True}, Action.CLOSED, ()),
        ({"closed": True, "vetoed": True}, Action.CLOSED, ()),
    ],
)
def test_action_and_tasks(state: dict[str, Iterable[object]], action: Action, tasks: tuple[int, ...]) -> None:
    decision = decide_data(sequence_state(**state))  # type: ignore[arg-type]
    assert (decision.action, decision.tasks) == (action, tasks)


@pytest.mark.parametrize(
    ("calibration", "action"),
    [
        (None, Action.SUBMIT),
        ({}, Action.SUBMIT),  # done
        ({"closed": True, "vetoed": True}, Action.SUBMIT),
        ({"todo": [0]}, Action.SUBMIT),
        ({"todo": [0], "records": [record("LST1_01873", None, RUNNING)]}, Action.SUBMIT),
        ({"todo": [0], "exhausted": [0], "records": [record("LST1_01873", None, RUNNING)]}, Action.SUBMIT),
        ({"todo": [0], "exhausted": [0]}, Action.CHECK),
        ({"todo": [0], "vetoed": True}, Action.CHECK),
    ],
)
def test_data_is_submitted_only_where_its_calibration_may_come(
    calibration: dict[str, object] | None, action: Action
) -> None:
    states = [] if calibration is None else [calibration_state(**calibration)]
    decision = decide((*states, sequence_state(todo=[0, 1])), simulate=False)[-1]
    assert decision.action is action
    assert ("its calibration run 1873 is vetoed" in decision.note) == (action is Action.CHECK)


def test_data_without_a_usable_calibration_says_why() -> None:
    blocked = sequence_state(calibration_sequence(drs4_run=None, blocked="no DRS4 run"), todo=[0])
    decisions = decide((blocked, sequence_state(todo=[0])), simulate=False)
    assert [d.action for d in decisions] == [Action.CHECK, Action.CHECK]
    assert decisions[0].note == "no DRS4 run"
    assert decisions[1].note == "its calibration run 1873 cannot be processed: no DRS4 run"


def test_data_that_is_done_does_not_mind_its_calibration() -> None:
    decision = decide_data(sequence_state(), calibration_state(todo=[0], vetoed=True))
    assert (decision.action, decision.note) == (Action.CHECK, "")


def test_absent_raw_files_are_told_and_the_rest_submitted() -> None:
    sequence = data_sequence(n_subruns=6, subruns=(0, 4))
    decision = decide_data(sequence_state(sequence, todo=[0, 4]))
    assert (decision.tasks, decision.note) == ((0, 4), "no raw files of sub-runs 1-3, 5")
    assert decide_data(sequence_state(sequence)).note == "no raw files of sub-runs 1-3, 5"


def test_blocked_sequence_is_not_submitted() -> None:
    sequence = data_sequence(n_subruns=2, subruns=(), blocked="no raw files in R0")
    decision = decide_data(sequence_state(sequence))
    assert (decision.action, decision.tasks, decision.note) == (Action.CHECK, (), "no raw files in R0")


def test_veto_names_what_failed() -> None:
    decision = decide_data(sequence_state(todo=[0, 1, 2], exhausted=[0, 1, 2]))
    assert decision.note == "a step of sub-runs 0-2 has failed too often in the same way"
    (decision,) = decide([calibration_state(todo=[0], exhausted=[0])], simulate=False)
    assert (decision.action, decision.note) == (
        Action.VETO,
        "a step has failed too often in the same way",
    )


def test_simulation_differs_in_the_word_only() -> None:
    states = (calibration_state(todo=[0]), sequence_state(todo=[0, 2]), sequence_state(closed=True))
    real, simulated = decide(states, simulate=False), decide(iter(states), simulate=True)
    assert [d.action for d in real] == [Action.SUBMIT, Action.SUBMIT, Action.CLOSED]
    assert [d.action for d in simulated] == [Action.SIMULATE, Action.SIMULATE, Action.CLOSED]
    assert [d.tasks for d in real] == [d.tasks for d in simulated] == [(0,), (0, 2), ()]


@pytest.mark.parametrize(
    ("subruns", "text"),
    [
        ((), ""),
        ((7,), "7"),
        ((0, 1), "0-1"),
        ((3, 0, 1, 2, 7), "0-3, 7"),
        ((0, 2, 4), "0, 2, 4"),
        ((9, 10, 11, 200), "9-11, 200"),
    ],
)
def test_list_of_subruns(subruns: tuple[int, ...], text: str) -> None:
    assert list_subruns(subruns) == text


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
    settings = make_settings({("SLURM", "account"): "", ("SLURM", "partition"): ""})
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

    def records(self, group: str) -> tuple[TaskRecord, ...]:
        return ()

    @property
    def names(self) -> list[str]:
        return [job.name for job in self.jobs]


def new_night(*runs: int) -> tuple[Decision, ...]:
    """Decide for a night of which nothing is done; the calibration stands last."""
    data = [sequence_state(data_sequence(run), todo=[0, 1, 2]) for run in runs or (1874, 1875)]
    return decide((*data, calibration_state(todo=[0])), simulate=False)


def test_calibration_is_submitted_first_and_data_after_it(layout: Layout) -> None:
    scheduler = RecordingScheduler()
    count = submit_night(layout, new_night(), scheduler, CHOICE)
    assert scheduler.names == ["LST1_01873", "LST1_01874", "LST1_01875"]
    assert scheduler.after == [None, "id-of-LST1_01873", "id-of-LST1_01873"]
    assert count == 1 + 3 + 3


def test_submitted_jobs(layout: Layout) -> None:
    scheduler = RecordingScheduler()
    decisions = decide((calibration_state(todo=[0]), sequence_state(todo=[0, 2])), simulate=False)
    submit_night(layout, decisions, scheduler, CHOICE)
    resources = layout.settings.data_job
    assert scheduler.jobs[0].tasks == ()
    assert scheduler.jobs[1] == JobSpec(
        "LST1_01874",
        "LST1.20200127.v0.1.0",
        layout.analysis_dir / "sequence_LST1_01874.py",
        layout.analysis_dir / "log",
        Resources(resources.cpus, resources.memory, resources.walltime),
        (0, 2),
    )


def test_what_was_submitted_is_left_for_people(layout: Layout) -> None:
    submit_night(layout, new_night(1874), RecordingScheduler(), CHOICE)
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
    assert submit_night(layout, decisions, scheduler, CHOICE) == 1
    assert (scheduler.names, scheduler.after) == (["LST1_01874"], ["42"])


def test_data_waits_for_no_calibration_that_is_done(layout: Layout) -> None:
    done = calibration_state(records=[record("LST1_01873", None, job_id="42")])
    scheduler = RecordingScheduler()
    submit_night(layout, decide((done, sequence_state(todo=[0])), simulate=False), scheduler, CHOICE)
    assert scheduler.after == [None]


def test_nothing_is_submitted_where_nothing_is_missing(layout: Layout) -> None:
    decisions = decide((calibration_state(), sequence_state()), simulate=False)
    scheduler = RecordingScheduler()
    assert submit_night(layout, decisions, scheduler, CHOICE) == 0
    assert scheduler.jobs == []
    assert not layout.analysis_dir.exists()


def test_without_its_calibration_no_data_is_submitted(layout: Layout) -> None:
    scheduler = RecordingScheduler({"LST1_01873": OsaError("queue is shut")})
    with pytest.raises(OsaError, match="queue is shut"):
        submit_night(layout, new_night(), scheduler, CHOICE)
    assert scheduler.jobs == []


@pytest.mark.parametrize("error", [OsaError("too many"), AnotherInstanceError("alive"), OSError(28, "full")])
def test_submission_that_fails_is_named_and_the_others_go_on(layout: Layout, error: Exception) -> None:
    scheduler = RecordingScheduler({"LST1_01875": error})
    with pytest.raises(OsaError) as raised:
        submit_night(layout, new_night(1874, 1875, 1876), scheduler, CHOICE)
    assert scheduler.names == ["LST1_01873", "LST1_01874", "LST1_01876"]
    assert "not submitted" in str(raised.value)
    assert str(error) in str(raised.value)
    assert "LST1_01875" in str(raised.value)


def test_simulation_touches_nothing(layout: Layout) -> None:
    decisions = decide((calibration_state(todo=[0]), sequence_state(todo=[0])), simulate=True)
    scheduler = RecordingScheduler()
    assert submit_night(layout, decisions, scheduler, CHOICE) == 0
    assert scheduler.jobs == []
    assert not layout.analysis_dir.exists()


def test_veto_says_why_and_how_to_undo_it(layout: Layout) -> None:
    (_, decision) = decide((calibration_state(), sequence_state(todo=[1], exhausted=[1])), simulate=False)
    write_veto(layout, decision)
    text = layout.veto(decision.sequence).read_text(encoding="utf-8")
    assert text.startswith("LST1_01874: a step of sub-runs 1 has failed too often in the same way\n")
    assert "Remove this file" in text
