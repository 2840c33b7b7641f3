"""Sequences to job scripts, and their chained submission."""

from __future__ import annotations

import os
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from osa.config import JobSettings
from osa.cures.diagnosis import job_settings
from osa.decision import Action, Decision
from osa.errors import (
    InterruptedNightError,
    JobRefusedError,
    MissingServiceError,
    NightNotCompleteError,
    OsaError,
    ParentGoneError,
)
from osa.flags import put_veto
from osa.layout import Layout
from osa.model.job import UNCONFIRMED, JobSpec, format_duration
from osa.model.run import list_subruns
from osa.model.sequence import CalibrationChoice, Sequence, SequenceKind
from osa.scheduler.base import Scheduler
from osa.system.files import write_text

__all__ = ["job_script", "sbatch_directives", "submit_night"]


# ------------------------------------------------------------------------- job scripts


def sbatch_directives(values: Mapping[str, object]) -> list[str]:
    """Write what ``sbatch`` reads from the head of a script.

    Parameters
    ----------
    values : mapping
        By the name of the long option; those that are None are left out.
    """
    return [f"#SBATCH --{key}={_quoted(str(value))}" for key, value in values.items() if value is not None]


def _quoted(text: str) -> str:
    return (
        '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' if re.search(r"[\s\"'\\#]", text) else text
    )


# An array whose indices would be too large for the cluster is told what to add to them.
_SUBRUN_OF_TASK = (
    "import sys",
    "",
    "first = int(sys.argv[1]) if len(sys.argv) > 1 else 0",
    "subrun = first + int(os.environ['SLURM_ARRAY_TASK_ID'])",
)


def job_script(
    layout: Layout, sequence: Sequence, tasks: tuple[int, ...], resources: JobSettings | None = None
) -> str:
    """Write the job script of a sequence.

    Parameters
    ----------
    layout : Layout
        Of the night.
    sequence : Sequence
        The sequence.
    tasks : tuple of int
        Sub-runs that are submitted; of no meaning for a calibration sequence.
    resources : JobSettings, optional
        What each of them gets; without it what the configuration says.

    Returns
    -------
    str
        A Python script with the resource manager's directives at its head; without arguments it
        runs the task that its environment names.
    """
    settings = layout.settings
    job = resources or job_settings(layout, sequence.kind)
    is_array = sequence.kind is SequenceKind.DATA
    # In the name of a log a per cent sign begins a field of Slurm's.
    log_dir = str(layout.log_dir).replace("%", "%%")
    log = f"{log_dir}/{sequence.name}_{'%A_%a' if is_array else '%j'}.log"
    at_once = "" if settings.slurm.max_at_once is None else f"%{settings.slurm.max_at_once}"
    head = sbatch_directives(
        {
            "job-name": sequence.name,
            "account": job.account,
            "partition": job.partition,
            "array": list_subruns(tasks, ",") + at_once if is_array else None,
            "cpus-per-task": job.cpus,
            "mem": f"{job.memory}M",
            "time": format_duration(job.walltime),
            "chdir": layout.analysis_dir,
            "output": log,
            "error": log,
            # What a task said on a node that was lost stays when it begins again on another.
            "open-mode": "append",
        }
    )
    program = "datasequence" if is_array else "calibrationsequence"
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
        lines.append(f"    f'{sequence.run:05d}.{{subrun:04d}}',")
    lines.append(f"    {settings.telescope_name!r},")
    return "\n".join(
        [
            "#!/usr/bin/env python3",
            *head,
            f'"""Job of sequence {sequence.name}, made by sequencer."""',
            "",
            "import os",
            *(_SUBRUN_OF_TASK if is_array else ()),
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
    """Write the job scripts of a sequence and submit them.

    Tasks that get more than the others, after a failure that this may cure, are a job of their own.

    Returns
    -------
    str
        Identifier of the job; of several, joined by colons as ``--dependency`` wants them.

    Raises
    ------
    JobRefusedError
        If nothing was taken. Where only those that get more are refused, the sequence is vetoed.
    """
    sequence = decision.sequence
    write_text(layout.description(sequence), _description(layout, decision, choice))
    layout.log_dir.mkdir(parents=True, exist_ok=True)
    if not os.access(layout.log_dir, os.W_OK | os.X_OK):
        raise OsaError(f"no permission to write logs into {layout.log_dir}")
    is_array = sequence.kind is SequenceKind.DATA
    identifiers, refused = [], []
    usual = job_settings(layout, sequence.kind)
    for resources, tasks in _by_resources(layout, decision):
        script = layout.script(sequence)
        write_text(script, job_script(layout, sequence, tasks, resources), mode=0o755)
        job = JobSpec(
            name=sequence.name,
            group=layout.group,
            script=script,
            log_dir=layout.log_dir,
            resources=resources,
            tasks=tasks if is_array else (),
        )
        try:
            identifiers.append(scheduler.submit(job, after=after))
        except JobRefusedError as error:
            if resources == usual:
                raise
            refused.append(f"what failed for want of memory or time can have no more: {error}")
    if refused:
        put_veto(layout, sequence, "; ".join(refused))
    if not identifiers:
        raise JobRefusedError(f"{sequence.name} is vetoed: {'; '.join(refused)}")
    return ":".join(identifiers)


def _by_resources(layout: Layout, decision: Decision) -> list[tuple[JobSettings, tuple[int, ...]]]:
    """Sort the tasks by what they get; each kind of job has tasks that get the usual or more."""
    usual = job_settings(layout, decision.sequence.kind)
    tasks: dict[JobSettings, list[int]] = defaultdict(list)
    for task in decision.tasks:
        diagnosis = decision.diagnoses.get(task)
        tasks[usual if diagnosis is None else diagnosis.resources].append(task)
    return [(resources, tuple(found)) for resources, found in tasks.items()]


def submit_night(
    layout: Layout,
    decisions: Iterable[Decision],
    scheduler: Scheduler,
    choice: CalibrationChoice,
    *,
    calibration_is_done: Callable[[], bool],
    on_submitted: Callable[[int], None] = lambda _: None,
) -> int:
    """Submit what is decided: the calibration first, the data after it.

    Parameters
    ----------
    layout : Layout
        Of the night.
    decisions : iterable of Decision
        For all its sequences.
    scheduler : Scheduler
        Takes the jobs.
    choice : CalibrationChoice
        How the calibration was chosen, for people.
    calibration_is_done : callable
        Looks at the products of the calibration, where the scheduler has forgotten its job.
    on_submitted : callable
        Told of the number of tasks of each job.

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
            on_submitted(1)
        elif calibration.state.live and not calibration.state.is_done:
            after = calibration.state.job_id
    data = [d for d in decisions if d.sequence.kind is SequenceKind.DATA and d.action is Action.SUBMIT]
    failures = []
    for decision in data:
        try:
            after = _submit_data(layout, decision, scheduler, choice, after, calibration_is_done)
            count += len(decision.tasks)
            on_submitted(len(decision.tasks))
        except (MissingServiceError, InterruptedNightError):
            raise  # so it would be with all the others
        except (OsaError, OSError) as error:
            failures.append(f"{decision.sequence.name}: {error}")
    if failures:
        raise OsaError("\n  ".join(["some sequences were not submitted:", *failures]))
    return count


def _submit_data(
    layout: Layout,
    decision: Decision,
    scheduler: Scheduler,
    choice: CalibrationChoice,
    after: str | None,
    calibration_is_done: Callable[[], bool],
) -> str | None:
    """Submit a DATA sequence; tell what the next one has to wait for.

    A calibration that the scheduler has forgotten, or never confirmed, is judged by its products.
    """
    waiting = "its calibration is not done yet, and nothing is known of the job: run sequencer again later"
    if after != UNCONFIRMED:
        try:
            submit(layout, decision, scheduler, choice, after)
            return after
        except ParentGoneError as error:
            waiting = f"{waiting} ({error})"
    if not calibration_is_done():
        raise NightNotCompleteError(waiting)
    submit(layout, decision, scheduler, choice, None)
    return None
