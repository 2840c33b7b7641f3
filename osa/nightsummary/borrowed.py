"""The note that says that the calibration of another night serves."""

from __future__ import annotations

import json
from pathlib import Path

from osa.errors import InputError
from osa.model.night import Night
from osa.model.sequence import BorrowedCalibration
from osa.system.files import write_text

__all__ = ["read_borrowed", "write_borrowed"]


def write_borrowed(path: Path, borrowed: BorrowedCalibration) -> None:
    """Write down which calibration serves."""
    values = {
        "night": borrowed.night.tag,
        "drs4_run": borrowed.drs4_run,
        "calibration_run": borrowed.calibration_run,
    }
    write_text(path, json.dumps(values) + "\n")


def read_borrowed(path: Path) -> BorrowedCalibration | None:
    """Read which calibration serves; None where it is the night's own.

    Raises
    ------
    InputError
        If the note is there and does not tell.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        night = Night.parse(str(values["night"]))
        return BorrowedCalibration(night, int(values["drs4_run"]), int(values["calibration_run"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} does not tell whose calibration serves: {error}") from None
