"""Stand-ins for Slurm's commands that give recorded answers on a night of any size.

    python -m benchmarks.slurm_answers FOLDER --runs N --subruns M [--half]

The lines of sacct are those that a real Slurm 22.05 gave for one task of an array and its batch
step, repeated for every sub-run with its own numbers. The notes of the submissions are written as
the sequencer does; no end of a task is remembered in them, so that all of it has to be read.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.common import CALIBRATION_RUN, DATA_RUN, NIGHT
from osa.config import load_settings
from osa.layout import Layout
from osa.model.run import run_tag
from osa.scheduler.submissions import Submission, Submissions

_SUBMITTED = datetime(2020, 1, 28, 7, tzinfo=UTC)
_FIRST_JOB = 1_204_000
_TASK = (
    "{job}|{name}|{state}|{code}|{submitted}|{started}|{ended}|30:41.726|cp{node:02d}|Dependency|{folder}\n"
    "{job}.batch|batch|{state}|{code}|{started}|{started}|{ended}|30:41.726|cp{node:02d}||\n"
)
_PROGRAMS = ("sbatch", "sacct", "squeue")


def main() -> None:
    """Write answers and notes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, required=True)
    parser.add_argument("--subruns", type=int, required=True)
    parser.add_argument("--half", action="store_true", help="every second sub-run failed")
    given = parser.parse_args()
    root = given.folder.absolute()
    layout = Layout(load_settings(root / "sequencer.cfg", "LST1"), NIGHT)
    notes = Submissions(layout.group.submissions)
    programs = root / "slurm"
    programs.mkdir(exist_ok=True)
    with (programs / "sacct.txt").open("w", encoding="utf-8") as answer:
        for number, (run, tasks) in enumerate(_sequences(given.runs, given.subruns)):
            name, job = f"LST1_{run_tag(run)}", _FIRST_JOB + 100 * number
            intended = _SUBMITTED + timedelta(seconds=number)
            notes.add(Submission(name, 1, tasks, 0, intended, str(job)))
            answer.writelines(_lines(layout, name, job, tasks, intended, half=given.half))
    (programs / "squeue.txt").touch()
    for program in _PROGRAMS:
        script = programs / program
        script.write_text(f"#!/bin/sh\nexec cat '{programs}/{program}.txt'\n", encoding="utf-8")
        script.chmod(0o755)


def _sequences(runs: int, subruns: int) -> Iterator[tuple[int, tuple[int, ...]]]:
    yield CALIBRATION_RUN, ()
    for number in range(runs):
        yield DATA_RUN + number, tuple(range(subruns))


def _lines(
    layout: Layout, name: str, job: int, tasks: tuple[int, ...], submitted: datetime, *, half: bool
) -> Iterator[str]:
    for task in tasks or (None,):
        failed = half and task is not None and task % 2 == 1
        started = int(submitted.timestamp()) + 4000 + (task or 0)
        yield _TASK.format(
            job=job if task is None else f"{job}_{task}",
            name=name,
            state="FAILED" if failed else "COMPLETED",
            code="1:0" if failed else "0:0",
            submitted=int(submitted.timestamp()),
            started=started,
            ended=started + 1860,
            node=(job + (task or 0)) % 40,
            folder=layout.analysis_dir,
        )


if __name__ == "__main__":
    main()
