"""Sequences to job scripts, and their chained submission."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from osa.errors import OsaError
from osa.layout import Layout
from osa.model.job import JobSpec, Resources, format_duration
from osa.model.sequence import CalibrationChoice, Sequence, SequenceKind
from osa.nightstate import SequenceState
from osa.scheduler.base import Scheduler
from osa.system.files import write_text

__all__ = ["Action", "Decision", "decide", "job_script", "list_subruns", "submit_night", "write_veto"]


class Action(StrEnum):
    """What the sequencer does with a sequence, as the table shows it."""

    SUBMIT = "Submit"
    SIMULATE = "Simulate"
    CHECK = "Check"
    VETO = "Veto"
    CLOSED = "Closed"


@dataclass(frozen=True)
class Decision:
    """What is to be done with a sequence.

    Parameters
    ----------
    state : SequenceState
        What has become of it.
    action : Action
        What is done.
    tasks : tuple of int
        Sub-runs to submit.
    note : str
        What a person should know, where there is something.
    """

    state: SequenceState
    action: Action
    tasks: tuple[int, ...] = ()
    note: str = ""

    @property
    def sequence(self) -> Sequence:
        """The sequence that it is about."""
        return self.state.sequence


def decide(states: Iterable[SequenceState], *, simulate: bool) -> tuple[Decision, ...]:
    """Decide for every sequence of a night; pure.

    Only what is missing is submitted: sub-runs that are not done, have no live try and have not
    failed as often as they may. DATA sequences whose calibration can no longer come are left
    alone, with a note.
    """
    states = tuple(states)
    calibration = next((s for s in states if s.sequence.kind is SequenceKind.CALIBRATION), None)
    hopeless = _why_hopeless(calibration)
    return tuple(_decide_one(state, hopeless, simulate) for state in states)


def _why_hopeless(calibration: SequenceState | None) -> str:
    if calibration is None or calibration.is_done:
        return ""
    run = calibration.sequence.run
    if calibration.sequence.blocked:
        return f"its calibration run {run} cannot be processed: {calibration.sequence.blocked}"
    if calibration.vetoed or (calibration.exhausted and not calibration.live):
        return f"its calibration run {run} is vetoed"
    return ""


def _decide_one(state: SequenceState, hopeless: str, simulate: bool) -> Decision:
    sequence = state.sequence
    if state.closed:
        return Decision(state, Action.CLOSED)
    if state.vetoed:
        return Decision(state, Action.VETO, note="vetoed; remove its .veto file to try again")
    if sequence.blocked:
        return Decision(state, Action.CHECK, note=sequence.blocked)
    if hopeless and sequence.kind is SequenceKind.DATA and state.todo:
        return Decision(state, Action.CHECK, note=hopeless)
    tasks = tuple(task for task in state.todo if task not in state.live | set(state.exhausted))
    if tasks:
        action = Action.SIMULATE if simulate else Action.SUBMIT
        return Decision(state, action, tasks, _absent(sequence))
    if state.exhausted and not state.live:
        what = (
            ""
            if sequence.kind is SequenceKind.CALIBRATION
            else f" of sub-runs {list_subruns(state.exhausted)}"
        )
        return Decision(state, Action.VETO, note=f"a step{what} has failed too often in the same way")
    return Decision(state, Action.CHECK, note=_absent(sequence))


def _absent(sequence: Sequence) -> str:
    absent = sequence.absent_subruns
    return f"no raw files of sub-runs {list_subruns(absent)}" if absent else ""


def list_subruns(subruns: Iterable[int]) -> str:
    """Write indices shortly, runs of them as ranges: ``0-3, 7``."""
    ranges: list[list[int]] = []
    for subrun in sorted(subruns):
        if ranges and subrun == ranges[-1][-1] + 1:
            ranges[-1][1:] = [subrun]
        else:
            ranges.append([subrun])
    return ", ".join("-".join(map(str, pair)) for pair in ranges)


# ------------------------------------------------------------------------- job scripts


def _array(tasks: Iterable[int]) -> str:
    return list_subruns(tasks).replace(" ", "")


def _resources(layout: Layout, sequence: Sequence) -> Resources:
    if sequence.kind is SequenceKind.CALIBRATION:
        return layout.settings.calibration_job
    return layout.settings.data_job


def job_script(layout: Layout, sequence: Sequence, tasks: tuple[int, ...]) -> str:
    """Write the job script of a sequence.

    Parameters
    ----------
    layout : Layout
        Of the night.
    sequence : Sequence
        The sequence.
    tasks : tuple of int
        Sub-runs that are submitted; of no meaning for a calibration sequence.

    Returns
    -------
    str
        A Python script with the resource manager's directives at its head; without arguments it
        runs the task that its environment names.
    """
    slurm, resources = layout.settings.slurm, _resources(layout, sequence)
    is_array = sequence.kind is SequenceKind.DATA
    log = layout.log_dir / f"{sequence.name}_{'%A_%a' if is_array else '%j'}.log"
    directives = {
        "job-name": sequence.name,
        "account": slurm.account,
        "partition": slurm.partition,
        "array": _array(tasks) if is_array else None,
        "cpus-per-task": resources.cpus,
        "mem": f"{resources.memory}M",
        "time": format_duration(resources.walltime),
        "chdir": layout.analysis_dir,
        "output": log,
        "error": log,
    }
    head = [f"#SBATCH --{key}={value}" for key, value in directives.items() if value is not None]
    program = "datasequence" if is_array else "calibrationsequence"
    settings = layout.settings
    arguments = [
        "-m",
        f"osa.cli.{program}",
        f"--config={settings.path}",
        f"--date={layout.night.underscored}",
        f"--drs4-run={sequence.drs4_run}",
        f"--calibration-run={sequence.calibration_run}",
    ]
    lines = [f"    {argument!r}," for argument in [sys.executable, *arguments]]
    if is_array:
        lines.append(f"    '{sequence.run:05d}.' + os.environ['SLURM_ARRAY_TASK_ID'].zfill(4),")
    lines.append(f"    {settings.telescope_name!r},")
    return "\n".join(
        [
            "#!/usr/bin/env python3",
            *head,
            f'"""Job of sequence {sequence.name}, made by sequencer."""',
            "",
            "import os",
            "",
            "command = [",
            *lines,
            "]",
            "os.execv(command[0], command)",
            "",
        ]
    )


def _description(layout: Layout, decision: Decision, choice: CalibrationChoice) -> str:
    sequence = decision.sequence
    facts = {
        "sequence": sequence.name,
        "night": layout.night,
        "kind": sequence.kind,
        "run": sequence.run,
        "sub-runs submitted": list_subruns(decision.tasks),
        "DRS4 run": sequence.drs4_run,
        "calibration run": sequence.calibration_run,
        "source": sequence.source or "unknown",
        "wobble": sequence.wobble or "unknown",
        "configuration": layout.settings.path,
    }
    lines = [f"{key + ':':20} {value}" for key, value in facts.items()]
    return "\n".join([*lines, *choice.explanation, ""])


# -------------------------------------------------------------------------- submission


def submit(
    layout: Layout, decision: Decision, scheduler: Scheduler, choice: CalibrationChoice, after: str | None
) -> str:
    """Write the job script of a sequence and submit it.

    Returns
    -------
    str
        Identifier of the job.
    """
    sequence = decision.sequence
    script = layout.script(sequence)
    write_text(script, job_script(layout, sequence, decision.tasks), mode=0o755)
    write_text(layout.description(sequence), _description(layout, decision, choice))
    layout.log_dir.mkdir(parents=True, exist_ok=True)
    job = JobSpec(
        name=sequence.name,
        group=layout.group,
        script=script,
        log_dir=layout.log_dir,
        resources=_resources(layout, sequence),
        tasks=decision.tasks if sequence.kind is SequenceKind.DATA else (),
    )
    return scheduler.submit(job, after=after)


def submit_night(
    layout: Layout, decisions: Iterable[Decision], scheduler: Scheduler, choice: CalibrationChoice
) -> int:
    """Submit what is decided: the calibration first, the data after it.

    Returns
    -------
    int
        Number of tasks submitted.

    Raises
    ------
    OsaError
        If a submission fails; when it is that of the calibration, no data is submitted.
    """
    decisions = tuple(decisions)
    calibration = next((d for d in decisions if d.sequence.kind is SequenceKind.CALIBRATION), None)
    count, after = 0, None
    if calibration is not None:
        if calibration.action is Action.SUBMIT:
            after = submit(layout, calibration, scheduler, choice, None)
            count += 1
        elif calibration.state.live:
            after = calibration.state.job_id
    failures = []
    for decision in decisions:
        if decision.sequence.kind is SequenceKind.CALIBRATION or decision.action is not Action.SUBMIT:
            continue
        try:
            submit(layout, decision, scheduler, choice, after)
            count += len(decision.tasks)
        except (OsaError, OSError) as error:
            failures.append(f"{decision.sequence.name}: {error}")
    if failures:
        raise OsaError("\n  ".join(["some sequences were not submitted:", *failures]))
    return count


def write_veto(layout: Layout, decision: Decision) -> None:
    """Put the flag of a sequence that has failed too often, with the reason in it."""
    text = f"{decision.sequence.name}: {decision.note}\nRemove this file to have it tried again.\n"
    write_text(layout.veto(decision.sequence), text)
