"""The configuration file of a simulated night: the shipped one with its paths filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from osa.simulation.configs import (
    onsite_config_name,
    standard_config_name,
    time_calibration_binning,
)
from osa.simulation.plan import END_FLAG, NightPlan, RunKind
from osa.system.files import write_text

__all__ = ["fill_in", "write_configuration"]


def fill_in(text: str, values: Mapping[tuple[str, str], str]) -> str:
    """Set keys of a configuration file, leaving its comments where they are.

    Parameters
    ----------
    text : str
        The file.
    values : mapping
        New value of each (section, key).

    Raises
    ------
    KeyError
        If the file has no such key.
    """
    section, left, lines = "", dict(values), []
    for line in text.splitlines():
        header = re.match(r"\[([^\]]+)\]", line)
        key = re.match(r"(\w+)\s*=", line)
        if header:
            section = header[1]
        elif key and (section, key[1]) in left:
            line = f"{key[1]} = {left.pop((section, key[1]))}".rstrip()
        lines.append(line)
    if left:
        raise KeyError(f"the configuration has no {left}")
    return "\n".join(lines) + "\n"


def write_configuration(plan: NightPlan, root: Path) -> Path:
    """Write ``sequencer.cfg`` for the simulated night below ``root``.

    The bins and harmonics of its time calibration suit the number of events, and its tasks are
    small enough to run one on each core.

    Returns
    -------
    pathlib.Path
        The file.
    """
    shipped = Path(__file__).parent.parent / "data" / "sequencer.cfg"
    # One calibration run serves a night, whichever it is.
    flashes = min((run.subruns * run.events for run in plan.of_kind(RunKind.CALIBRATION)), default=0) // 2
    n_combine, n_harmonics = time_calibration_binning(flashes)
    values = {
        ("DEFAULT", "base"): str(root.absolute()).replace("%", "%%"),
        ("LSTCHAIN", "dl1_config"): f"%(base)s/lstchain/{standard_config_name}",
        ("LSTCHAIN", "dl2_config"): f"%(base)s/lstchain/{standard_config_name}",
        (
            "LSTCHAIN",
            "charge_calibration_config",
        ): f"%(base)s/lstchain/{onsite_config_name}",
        ("LSTCHAIN", "time_calibration_n_combine"): str(n_combine),
        ("LSTCHAIN", "time_calibration_n_harmonics"): str(n_harmonics),
        ("CALIBRATION JOB", "memory"): "3 GB",
        ("DATA JOB", "memory"): "3 GB",
        ("SCHEDULER", "backend"): "local",
        ("ARRIVAL", "end_flag"): END_FLAG,
        ("ARRIVAL", "streams"): str(plan.streams),
    }
    path = root / "sequencer.cfg"
    write_text(path, fill_in(shipped.read_text(encoding="utf-8"), values))
    return path
