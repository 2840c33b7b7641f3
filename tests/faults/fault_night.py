"""A night of made-up inputs, carried by the real commands over a stand-in for lstchain."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import real_night
from astropy.io import fits
from job_bench import wait_until
from night_states import add_done_histories
from product_builders import N_EVENTS, write_calibration, write_data
from record_builders import add_records, provide_inputs

from osa.config import load_settings
from osa.layout import PRODUCT_KINDS, Layout, subrun_tag
from osa.model.night import Night
from osa.nightsummary.plan import plan_night
from osa.scheduler.local_store import LocalStore

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
STEPS = ("r0_to_dl1", "datacheck", "dl1_to_dl2")
DATA = {1874: (0, 1), 1875: (0,)}
SUBRUNS = [(run, subrun) for run, subruns in DATA.items() for subrun in subruns]
SUMMARY = """\
01872    1 DRS4  2020-01-27 19:51:44 0001 1580154753739954334 5739954100 nan nan nan
01873    1 CALI  2020-01-27 20:23:43 0001 1580156670887160057 1887159800 nan nan nan
01874    2 DATA  2020-01-27 20:44:13 0003 1580157904186709543 5186709300 nan nan nan
01875    1 DATA  2020-01-27 21:05:44 0003 1580159197411578464 7411578200 nan nan nan
"""
CHANGES = {
    ("SCHEDULER", "backend"): "local",
    ("LOCAL", "max_cores"): "2",
    ("LOCAL", "max_memory"): "4 GB",
    ("CALIBRATION JOB", "memory"): "500 MB",
    ("DATA JOB", "memory"): "500 MB",
}

Order = dict[str, Any]
"""What is tampered with in a command; see tamper.py."""


def write_raw(path: Path, n_events: int = N_EVENTS) -> None:
    """Write what is counted as a raw file of a few events."""
    path.parent.mkdir(parents=True, exist_ok=True)
    column = fits.Column("event_id", "K", array=np.arange(1, n_events + 1))
    events = fits.BinTableHDU.from_columns([column], name="Events")
    fits.HDUList([fits.PrimaryHDU(), events]).writeto(path, overwrite=True)


@dataclass
class FaultNight:
    """The night, the commands on it, and what they did."""

    layout: Layout
    folder: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def base(self) -> Path:
        return self.layout.settings.telescope.raw_dir.parent

    @property
    def store(self) -> LocalStore:
        return LocalStore(self.layout.settings.local.state_dir)

    @property
    def environment(self) -> dict[str, str]:
        own = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_")}
        path = os.pathsep.join([str(HERE / "stand_in"), str(ROOT / "tests" / "helpers"), str(ROOT)])
        return own | {"PYTHONPATH": path, "STAND_IN": str(self.folder)}

    def arguments(self, *options: object) -> list[str]:
        return ["-c", str(self.layout.settings.path), "-d", self.layout.night.underscored, *map(str, options)]

    def run(
        self, command: str, *options: object, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; whatever happens, it explains itself."""
        done = real_night.run(
            command,
            *self.arguments(*options),
            timeout=120,
            environment={**self.environment, **(environment or {})},
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert "unexpected" not in done.stderr, done.stderr
        return done

    def start(
        self,
        command: str,
        *options: object,
        tampered: Iterable[Order] = (),
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[str]:
        """Start a command, tampered with where that is asked for, and leave it to itself."""
        orders = list(tampered)
        how = (
            [str(HERE / "tamper.py"), json.dumps(orders), command] if orders else ["-m", f"osa.cli.{command}"]
        )
        process = subprocess.Popen(
            [sys.executable, *how, *self.arguments(*options)],
            env={**self.environment, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def run_tampered(
        self,
        command: str,
        *options: object,
        orders: Iterable[Order],
        environment: Mapping[str, str] | None = None,
    ) -> tuple[int, str]:
        """Run a command that is tampered with; gives exit code and all that it says."""
        process = self.start(command, *options, tampered=orders, environment=environment)
        said, _ = process.communicate(timeout=120)
        assert "Traceback" not in said, said
        assert "unexpected" not in said, said
        return process.returncode, said

    # ----------------------------------------------------------------------- stand-ins

    def hold(self, step: str, run: int, subrun: int, share: float) -> str:
        """Have a step write a share of its product and wait then."""
        what = f"{step} {subrun_tag(run, subrun)}"
        (self.folder / f"hold {what}").write_text(str(share))
        return what

    def suffer(self, step: str, run: int, subrun: int, end: int | str, **more: object) -> str:
        """Have a step end badly: with an exit code, by ``kill``, or only after it did ``sleep``.

        It does so ``times`` times, or until its job is granted ``until_memory`` MB.
        """
        what = f"{step} {subrun_tag(run, subrun)}"
        order = {"end": end, "times": 1, **more}
        (self.folder / f"suffer {what}").write_text(json.dumps(order))
        return what

    def rows(self) -> dict[str, dict[str, Any]]:
        """What the table says, by run."""
        done = self.run("sequencer", "-s", "--json")
        return {row["Run"]: row for row in json.loads(done.stdout)["sequences"]}

    def wait_for_held(self, what: str) -> psutil.Process:
        """Wait until the step waits; gives the task that it belongs to."""
        wait_until(lambda: (self.folder / f"held {what}").exists(), f"{what} is in mid-write")
        _step, tag = what.split()
        for process in psutil.process_iter(["cmdline"]):
            words = process.info["cmdline"] or ()
            if tag in words and f"--config={self.layout.settings.path}" in words:
                return process
        raise AssertionError(f"no task works on {tag}")

    @property
    def attempts(self) -> Counter[str]:
        """How often each step was begun."""
        try:
            return Counter((self.folder / "attempts.log").read_text().splitlines())
        except FileNotFoundError:
            return Counter()

    # ------------------------------------------------------------------------ evidence

    def steps(self, *subruns: tuple[int, int]) -> list[str]:
        """Name all steps of some sub-runs, or of all, as the attempts do."""
        return [f"{step} {subrun_tag(*which)}" for which in subruns or SUBRUNS for step in STEPS]

    def products(self) -> dict[Path, bool]:
        """All products of sub-runs, and whether they are there."""
        paths = [self.layout.working(kind, *which) for kind in PRODUCT_KINDS for which in SUBRUNS]
        return {path: path.exists() for path in paths}

    def leftovers(self) -> list[Path]:
        """Unfinished files anywhere."""
        found = [*self.base.rglob("*.partial"), *self.base.rglob(".NightSummary*")]
        scratch = self.layout.scratch_dir
        return found + (list(scratch.iterdir()) if scratch.exists() else [])

    def assert_done_once(self, *, twice: Iterable[str] = ()) -> None:
        """Expect every step done, and begun once, but for some that were begun twice."""
        assert all(self.products().values())
        assert self.leftovers() == []
        assert self.attempts == Counter(self.steps()) + Counter(twice)

    def clean(self) -> None:
        for process in self.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if process.stdout:
                process.stdout.close()

    def finish(self) -> None:
        """Put all products and histories of the data there, as if all had been done."""
        for sequence in plan_night(self.layout).data:
            write_data(self.layout, sequence)
            add_done_histories(self.layout, sequence)
            add_records(self.layout, sequence)


def make_night(config: Path, folder: Path) -> FaultNight:
    """Write inputs and a finished calibration."""
    layout = Layout(load_settings(config, "LST1"), Night.parse("2020_01_27"))
    layout.night_summary.write_text(SUMMARY, encoding="utf-8")
    first = layout.raw_file(1872, 0)
    write_raw(first)
    for run, subruns in {1873: (0,), **DATA}.items():
        for subrun in subruns:
            shutil.copy(first, layout.raw_file(run, subrun))
    layout.analysis_dir.mkdir(parents=True)
    write_calibration(layout)
    plan = plan_night(layout)
    assert plan.calibration is not None
    add_done_histories(layout, plan.calibration)
    provide_inputs(layout)
    add_records(layout, plan.calibration)
    folder.mkdir()
    return FaultNight(layout, folder)


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of everything below a folder."""
    found = {path: path.lstat() for path in folder.rglob("*")}
    return {str(path): (status.st_size, status.st_mtime_ns) for path, status in found.items()}


def wait_for_end(process: psutil.Process, seconds: float = 20.0) -> None:
    """Wait for a process that is not ours."""
    psutil.wait_procs([process], timeout=seconds)
    limit = time.monotonic() + seconds
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < limit, f"process {process.pid} is still there"
        time.sleep(0.02)
