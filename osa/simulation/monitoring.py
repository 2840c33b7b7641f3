"""Logs of the drive: where the telescope was, its bending corrections, and its targets."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from osa.simulation.files import atomic_path
from osa.simulation.plan import NightPlan, RunPlan
from osa.simulation.targets import horizontal_track, wobble_pointing

__all__ = ["DriveLog", "drive_track", "write_monitoring"]

FloatArray = npt.NDArray[np.float64]
# Parked, as the telescope stands while the camera is calibrated: degrees.
_PARK_ZENITH, _PARK_AZIMUTH = 95.0, 0.0
_MARGIN = 30.0  # seconds that the drive tracks before and after a run
_BENDING = (0.004, -0.003)  # azimuth and zenith corrections, degrees


class DriveLog:
    """Rows of the drive log.

    Parameters
    ----------
    unix_time, azimuth, zenith : ndarray, shape (n_rows,)
        UTC seconds and degrees; the real direction, all corrections made.
    """

    def __init__(self, unix_time: FloatArray, azimuth: FloatArray, zenith: FloatArray) -> None:
        self.unix_time = unix_time
        self.azimuth = azimuth
        self.zenith = zenith

    def __len__(self) -> int:
        return len(self.unix_time)


def drive_track(plan: NightPlan) -> DriveLog:
    """Follow the telescope through the night: one row a second during runs, parked before.

    Between two runs there are no rows, as the log is read by interpolation.
    """
    blocks = [_run_track(run) for run in plan.runs]
    return DriveLog(*(np.concatenate(parts) for parts in zip(*blocks, strict=True)))


def _run_track(run: RunPlan) -> tuple[FloatArray, FloatArray, FloatArray]:
    times = np.arange(np.floor(run.start.timestamp() - _MARGIN), np.ceil(run.end.timestamp() + _MARGIN) + 1.0)
    if run.pointing is None:
        return times, np.full(times.size, _PARK_AZIMUTH), np.full(times.size, _PARK_ZENITH)
    ra, dec = wobble_pointing(run.pointing)
    altitude, azimuth = horizontal_track(ra, dec, [datetime.fromtimestamp(t, UTC) for t in times])
    # lstchain interpolates the azimuth: no step at north.
    return times, np.rad2deg(np.unwrap(np.deg2rad(azimuth))), 90.0 - altitude


def write_monitoring(plan: NightPlan, directory: Path) -> list[Path]:
    """Write the three logs of the drive for a night.

    Parameters
    ----------
    plan : NightPlan
        The night.
    directory : pathlib.Path
        ``DrivePositioning``.

    Returns
    -------
    paths : list of pathlib.Path
        Drive log, bending corrections, target log.
    """
    log = drive_track(plan)
    azimuth, zenith = log.azimuth - _BENDING[0], log.zenith - _BENDING[1]
    contents = {
        "DrivePosition_log": _columns(log.unix_time, azimuth, zenith),
        "BendingModelCorrection_log": _columns(
            log.unix_time, np.full(len(log), _BENDING[0]), np.full(len(log), _BENDING[1])
        ),
        "Target_log": _target_lines(plan),
    }
    paths = []
    for name, text in contents.items():
        path = directory / f"{name}_{plan.tag}.txt"
        with atomic_path(path) as part:
            part.write_text(text, encoding="ascii")
        paths.append(path)
    return paths


def _columns(times: FloatArray, first: FloatArray, second: FloatArray) -> str:
    rows = zip(times, first, second, strict=True)
    return "".join(f"{int(t)} {a:.6f} {b:.6f}\n" for t, a, b in rows)


def _target_lines(plan: NightPlan) -> str:
    """Write one tracking a DATA run; right ascension and declination are the telescope's."""
    lines = []
    for run in plan.runs:
        if run.pointing is None:
            continue
        ra, dec = wobble_pointing(run.pointing)
        start = int(run.start.timestamp() - _MARGIN)
        end = int(run.end.timestamp() + _MARGIN)
        lines.append(f"{start} TrackStart {ra:.5f} {dec:.5f} {run.pointing.target.name}\n")
        lines.append(f"{end} TrackEnd\n")
    return "".join(lines)
