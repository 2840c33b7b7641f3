"""A night on a real Slurm cluster: real commands and job scripts, and tasks that do all but the physics.

Run as a program, this is such a task. It runs the steps that are not done with the real runner, waits
in mid-write while there is a file ``hold.01874.0000``, and fails while there is ``fail.01874.0000``.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import shlex
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from osa.config import load_settings
from osa.errors import OsaError, ProductError
from osa.layout import Layout, subrun_tag
from osa.model.job import JobSpec, JobState, TaskRecord
from osa.model.night import Night
from osa.model.run import run_tag
from osa.steps.history import read_history
from osa.steps.progress import CALIBRATION_STEPS, DATA_STEPS, production_of, steps_done
from osa.steps.runner import StepRunner, products_are_whole
from osa.steps.step import Product, Step
from osa.system.locks import only_try
from osa.system.workers import EntryPoint, Outcome

if TYPE_CHECKING:
    from slurm_cluster import Cluster

    from osa.model.sequence import NightPlan
    from osa.scheduler.slurm import SlurmScheduler
    from osa.scheduler.slurm_attempts import Patience

ROOT = Path(__file__).parents[2]
NIGHT = Night.parse("2020_01_27")
DRS4_RUN, CALIBRATION_RUN = 1872, 1873
FIRST_HALF, SECOND_HALF = "first half\n", "second half\n"
LONGEST_HOLD = 240.0


# ------------------------------------------------------------------------------- the task


def note(folder: Path, *words: str) -> None:
    """Append a line to the log of attempts, with one write."""
    descriptor = os.open(folder / "attempts.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(descriptor, (" ".join(words) + "\n").encode())
    os.close(descriptor)


def check(path: Path) -> None:
    if not path.exists() or path.read_text() != FIRST_HALF + SECOND_HALF:
        raise ProductError(f"{path} is not whole")


def steps_of(layout: Layout, run: int, subrun: int | None) -> list[Step]:
    if subrun is None:
        files = [
            [layout.drs4_pedestal(DRS4_RUN)],
            [layout.time_calibration(run)],
            [layout.charge_calibration(run)],
        ]
        outlines = CALIBRATION_STEPS
    else:
        outlines = DATA_STEPS
        files = [[layout.working(kind, run, subrun) for kind in outline.products] for outline in outlines]
    return [
        Step(
            name=outline.name,
            program=outline.programs[0],
            entry=EntryPoint("none", "none"),
            arguments=tuple(path.name for path in finals),
            products=tuple(Product(Path(path.name), path, check) for path in finals),
            prod_id=production_of(outline.name, layout.settings.production),
            input="raw",
        )
        for outline, finals in zip(outlines, files, strict=True)
    ]


@dataclass
class Halves:
    """Stands for lstchain: writes each product in two halves, and does as it is told in between."""

    folder: Path
    tag: str

    def call(
        self, entry: EntryPoint, argv: Sequence[str], *, folder: Path, log: Path | None = None
    ) -> Outcome:
        for name in argv[1:]:
            with (folder / name).open("w") as stream:
                stream.write(FIRST_HALF)
                stream.flush()
                note(self.folder, self.tag, "writes", name.partition("_")[0])
                self._use_memory()
                limit = time.monotonic() + LONGEST_HOLD
                while (self.folder / f"hold.{self.tag}").exists() and time.monotonic() < limit:
                    time.sleep(0.05)
                if (self.folder / f"fail.{self.tag}").exists():
                    return Outcome(1, 0.1)
                stream.write(SECOND_HALF)
        return Outcome(0, 0.1)

    def _use_memory(self) -> None:
        """Use so many MB, for as long as it takes Slurm to see it."""
        order = self.folder / f"memory.{self.tag}"
        if order.exists():
            block = b"x" * (int(order.read_text()) << 20)
            time.sleep(5)
            assert block


def run_task(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser()
    for option in ("--config", "--date", "--drs4-run", "--calibration-run"):
        parser.add_argument(option, required=True)
    parser.add_argument("names", nargs="+")
    given = parser.parse_args(arguments)
    layout = Layout(load_settings(Path(given.config), "LST1"), Night.parse(given.date))
    is_data = len(given.names) == 2
    numbers = [int(part) for part in given.names[0].split(".")] if is_data else [int(given.calibration_run)]
    run, subrun = numbers[0], numbers[1] if is_data else None
    tag = run_tag(run) if subrun is None else subrun_tag(run, subrun)
    folder = layout.settings.path.parent
    note(folder, tag, "begins")
    steps = steps_of(layout, run, subrun)
    history = layout.history(run, subrun)
    runner = StepRunner(run, subrun, history, layout.scratch_dir, Halves(folder, tag), frozenset())  # type: ignore[arg-type]
    by_name = {step.name: step for step in steps}
    with only_try(layout.task_lock, run * 10_000 + (subrun or 0), tag):
        done = steps_done(
            DATA_STEPS if is_data else CALIBRATION_STEPS,
            read_history(history),
            layout.settings.production,
            lambda outline: products_are_whole(by_name[outline.name]),
        )
        for step in steps:
            if step.name not in done:
                runner.execute(step)
    note(folder, tag, "ends")
    return 0


# ------------------------------------------------------------------------------ the night

_LINE = "{run:05d} {count:4d} {kind:4} 2020-01-27 {hour}:{minute:02d}:00 0003 {ns} {ns} nan nan nan\n"
_COMMAND = re.compile(r"'-m',\s+'osa\.cli\.(?:data|calibration)sequence',")


@dataclass
class SlurmNight:
    """A night of which the jobs go to a cluster.

    Parameters
    ----------
    folder : pathlib.Path
        Where all of it is.
    cluster : Cluster
        Takes the jobs.
    timeout : float
        Seconds that a command of Slurm is waited for.
    directives : mapping of int to list of str
        Further options of ``sbatch`` for the jobs of a run.
    """

    folder: Path
    cluster: Cluster
    timeout: float = 60.0
    patience: Patience | None = None
    directives: dict[int, list[str]] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    @classmethod
    def make(
        cls, folder: Path, cluster: Cluster, runs: dict[int, int], *, calibrated: bool = True
    ) -> SlurmNight:
        """Make a night with DATA runs of so many sub-runs."""
        folder.mkdir(parents=True, exist_ok=True)
        base = folder / "lst"
        for name in ("R0", "NightSummary", "monitoring/RunSummary", "monitoring/DrivePositioning", "models"):
            (base / name).mkdir(parents=True)
        text = (ROOT / "cfg" / "sequencer.cfg").read_text("utf-8").replace("base = ~/lst", f"base = {base}")
        # What is written here is complete.
        text = text.replace("quiet_minutes = 15", "quiet_minutes = 0").replace(
            "\nstreams = 4", "\nstreams = 1"
        )
        (folder / "sequencer.cfg").write_text(text, "utf-8")
        night = cls(folder, cluster)
        night.add_runs(runs)
        if calibrated:
            night.calibrate()
        return night

    @property
    def layout(self) -> Layout:
        return Layout(load_settings(self.folder / "sequencer.cfg", "LST1"), NIGHT)

    @property
    def plan(self) -> NightPlan:
        from osa.nightsummary.plan import plan_night

        return plan_night(self.layout)

    def configure(self, key: str, value: str) -> None:
        """Give a key another value, in every section that has it."""
        path = self.folder / "sequencer.cfg"
        changed, count = re.subn(
            rf"^{key} =.*$", f"{key} = {value}", path.read_text("utf-8"), flags=re.MULTILINE
        )
        assert count, f"no key {key}"
        path.write_text(changed, "utf-8")

    def add_runs(self, runs: dict[int, int]) -> None:
        """Have the telescope take some more runs."""
        layout = self.layout
        path = layout.night_summary
        kinds = {DRS4_RUN: "DRS4", CALIBRATION_RUN: "CALI"}
        taken = runs if path.exists() else {DRS4_RUN: 1, CALIBRATION_RUN: 1, **runs}
        with path.open("a", encoding="utf-8") as stream:
            for run, count in taken.items():
                minutes = 10 * (run - DRS4_RUN)
                hour, minute = 20 + minutes // 60, minutes % 60
                ns = 1580155200_000000000 + minutes * 60 * 10**9
                kind = kinds.get(run, "DATA")
                stream.write(_LINE.format(run=run, count=count, kind=kind, hour=hour, minute=minute, ns=ns))
                layout.raw_dir.mkdir(parents=True, exist_ok=True)
                for subrun in range(count):
                    layout.raw_file(run, subrun).write_bytes(b"raw")

    def calibrate(self) -> None:
        """Make the calibration by hand."""
        layout = self.layout
        arguments = [f"--drs4-run={DRS4_RUN}", f"--calibration-run={CALIBRATION_RUN}", "LST1"]
        with contextlib.redirect_stdout(io.StringIO()):
            run_task([f"--config={layout.settings.path}", f"--date={NIGHT.underscored}", *arguments])
        (self.folder / "attempts.log").unlink()

    # ---------------------------------------------------------------------- tasks and what they did

    def hold(self, *tags: str) -> None:
        """Have tasks wait in mid-write."""
        for tag in tags:
            (self.folder / f"hold.{tag}").touch()

    def release(self, *tags: str) -> None:
        for tag in tags:
            (self.folder / f"hold.{tag}").unlink()

    def fail(self, tag: str) -> None:
        """Have a task fail in mid-write."""
        (self.folder / f"fail.{tag}").touch()

    def need_memory(self, tag: str, megabytes: int) -> None:
        """Have each product of a task take so much memory."""
        (self.folder / f"memory.{tag}").write_text(str(megabytes))

    def cure(self, tag: str) -> None:
        (self.folder / f"fail.{tag}").unlink()

    @property
    def attempts(self) -> Counter[str]:
        """What tasks did: ``01874.0000 begins``, ``01874.0000 writes dl2``, ``01874.0000 ends``."""
        try:
            return Counter((self.folder / "attempts.log").read_text("utf-8").splitlines())
        except FileNotFoundError:
            return Counter()

    def wait_for_writing(self, *tags: str) -> None:
        """Wait until tasks are in mid-write."""
        lines = {f"{tag} writes {'dl1' if '.' in tag else 'drs4'}" for tag in tags}
        self.cluster.wait_for(lambda: lines <= set(self.attempts), f"{tags} to write: {self.attempts}")

    def products(self, tag: str) -> list[str]:
        """Final names of a sub-run that are there; each is looked into."""
        found = sorted(
            path for path in self.layout.analysis_dir.glob("*_LST-1.*") if f"Run{tag}." in path.name
        )
        for path in found:
            check(path)
        return [path.name.partition("_LST-1")[0] for path in found]

    # ----------------------------------------------------------------------------- Slurm's commands

    def wrap(self, program: str, script: str) -> None:
        """Put a script in the place of a command; ``$REAL`` is the command, calls are written down."""
        real = shutil.which(program)
        assert real
        path = self.folder / "bin" / program
        path.parent.mkdir(exist_ok=True)
        count = shlex.quote(str(self.folder / f"{program}.calls"))
        path.write_text(f'#!/bin/sh\nREAL={real}\necho "$*" >> {count}\n{script}\n', "utf-8")
        path.chmod(0o755)

    def unwrap(self, program: str) -> None:
        (self.folder / "bin" / program).unlink()

    def calls(self, program: str) -> list[str]:
        """Arguments of all calls of a command since it was wrapped first."""
        try:
            return (self.folder / f"{program}.calls").read_text("utf-8").splitlines()
        except FileNotFoundError:
            return []

    def jobs(self, run: int) -> set[str]:
        """All jobs that Slurm's own memory has for a run of this night."""
        asked = self.cluster.run(
            "squeue", "-h", "--states=all", f"--name=LST1_{run:05d}", "-o", "%F|%Z"
        ).stdout.splitlines()
        rows = [line.split("|") for line in asked]
        return {job for job, folder in rows if folder == str(self.layout.analysis_dir)}

    # ------------------------------------------------------------------------------- our commands

    def scheduler(self) -> SlurmScheduler:
        """A new one, as each command has."""
        from osa.scheduler.slurm import SlurmScheduler
        from osa.scheduler.slurm_attempts import Patience
        from osa.scheduler.slurm_calls import SlurmCalls

        path = os.pathsep.join([str(self.folder / "bin"), self.cluster.environment["PATH"]])
        environment = self.cluster.environment | {"PATH": path, "PYTHONPATH": str(ROOT)}
        calls = SlurmCalls(environment, self.timeout)
        patience = self.patience or Patience(attempts=1, settling=0.1, confirmation=timedelta(0))
        return SlurmScheduler(calls, patience=patience, warn=self.said.append)

    def records(self, run: int) -> list[TaskRecord]:
        found = self.scheduler().records(self.layout.group, self.plan.names)
        return [record for record in found if record.name == f"LST1_{run:05d}"]

    def states(self, run: int) -> list[JobState]:
        """States of all tries of a run, by task and time."""
        return [record.state for record in self.records(run)]

    def wait_for_states(self, run: int, *states: JobState, limit: float = 90.0) -> None:
        with contextlib.suppress(AssertionError):
            self.cluster.wait_for(lambda: self.states(run) == list(states), limit=limit)
        assert self.states(run) == list(states), self.records(run)

    def with_our_task(self, text: str) -> str:
        """Change a job script: another program, and what is asked of Slurm besides."""
        name = re.search(r"--job-name=LST1_(\d+)", text)
        changed, count = _COMMAND.subn(f"{str(Path(__file__).absolute())!r},", text)
        assert name and count == 1, text
        more = "".join(f"#SBATCH {directive}\n" for directive in self.directives.get(int(name[1]), ()))
        first, _, rest = changed.partition("\n")
        return f"{first}\n{more}{rest}"

    def submit(self, run: int, *, after: str | None = None) -> str:
        """Submit all of a run, without asking what is missing."""
        from osa.job import job_script
        from osa.model.sequence import SequenceKind

        layout = self.layout
        (sequence,) = [sequence for sequence in self.plan.sequences if sequence.run == run]
        tasks = sequence.subruns if sequence.kind is SequenceKind.DATA else ()
        layout.log_dir.mkdir(parents=True, exist_ok=True)
        script = layout.script(sequence)
        script.write_text(self.with_our_task(job_script(layout, sequence, tasks)), "utf-8")
        job = JobSpec(sequence.name, layout.group, script, layout.log_dir, layout.settings.data_job, tasks)
        return self.scheduler().submit(job, after=after)

    @contextlib.contextmanager
    def ours(self) -> Iterator[None]:
        """Have the commands take our scheduler and our task."""
        import pytest

        import osa.job
        from osa.scheduler import select

        real = osa.job.job_script
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(select, "select_scheduler", lambda *_, **__: self.scheduler())
            patch.setattr(
                osa.job, "job_script", lambda *given, **named: self.with_our_task(real(*given, **named))
            )
            yield

    def sequencer(self, *options: str) -> tuple[int, str]:
        """Run the command; gives its exit code and what it says to people."""
        from osa.cli.sequencer import main

        said = io.StringIO()
        arguments = ["-c", str(self.folder / "sequencer.cfg"), "-d", NIGHT.underscored, "--backend", "slurm"]
        with self.ours(), contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            code = main([*arguments, *options])
        assert "Traceback" not in said.getvalue(), said.getvalue()
        return code, said.getvalue()


if __name__ == "__main__":
    try:
        sys.exit(run_task(sys.argv[1:]))
    except OsaError as error:
        print(error)
        sys.exit(1)
