"""Raw files of a simulated night, made again with other content."""

from __future__ import annotations

from pathlib import Path

from osa.simulation.camera import load_camera
from osa.simulation.plan import make_plan
from osa.simulation.writer import write_subrun


def write_short_subrun(raw_dir: Path, run: int, subrun: int, events: int, *, data_runs: int = 2) -> None:
    """Write a sub-run of a tiny night that the DAQ cut short: readable, and with few events."""
    plan = make_plan(size="tiny", data_runs=data_runs)
    entry = next(entry for entry in plan.runs if entry.run == run)
    object.__setattr__(entry, "events", events)  # fewer than a plan allows
    for path in raw_dir.glob(f"LST-1.?.Run{run:05d}.{subrun:04d}.fits.fz"):
        path.unlink()
    write_subrun(plan, entry, subrun, load_camera(plan.seed), raw_dir)


def end_drive_logs(drive_dir: Path, unix_time: float) -> None:
    """Take away what the drive logs say from a time on."""
    for path in drive_dir.glob("*_log_*.txt"):
        if "Target" not in path.name:
            lines = path.read_text("utf-8").splitlines()
            kept = [line for line in lines if float(line.split()[0]) < unix_time]
            assert 0 < len(kept) < len(lines)
            path.unlink()  # it may be a link to that of other tests
            path.write_text("\n".join(kept) + "\n", "utf-8")
