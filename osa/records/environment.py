"""What a try ran with: versions of software, host, account, job."""

from __future__ import annotations

import getpass
import os
import platform
import re
from collections.abc import Mapping
from functools import lru_cache
from importlib import metadata

from osa.records.model import JobIds

__all__ = ["account", "installed_software", "job_ids", "main_versions"]

_MOST_DIGITS = 12
_MAIN = ("lst-osa", "lstchain", "ctapipe", "ctapipe_io_lst", "protozfits", "numpy")


@lru_cache
def main_versions() -> Mapping[str, str]:
    """Tell the versions of Python and of what the analysis stands on."""
    versions = {"python": platform.python_version()}
    for name in _MAIN:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


@lru_cache
def installed_software() -> str:
    """List all that is installed, one ``name==version`` a line, below Python and the system."""
    packages = {line for found in metadata.distributions() if (line := _name_and_version(found))}
    head = [f"python=={platform.python_version()}", f"# {platform.platform()}"]
    return "\n".join([*head, *sorted(packages), ""])


def _name_and_version(found: metadata.Distribution) -> str:
    try:
        name = found.metadata["Name"]
        return f"{re.sub('[-_.]+', '-', name).lower()}=={found.version}" if name else ""
    except (OSError, ValueError):  # what it says of itself cannot be read
        return ""


def job_ids(environment: Mapping[str, str]) -> JobIds:
    """Read from a task's environment which job it is of."""
    job = environment.get("SLURM_ARRAY_JOB_ID") or environment.get("SLURM_JOB_ID")
    if not job:
        return JobIds()
    task = _number(environment.get("SLURM_ARRAY_TASK_ID"))
    return JobIds(job, task, _number(environment.get("SLURM_RESTART_COUNT")) or 0)


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() and len(text) < _MOST_DIGITS else None


def account() -> str:
    """Name the account that we run under; on a node without a list of accounts its number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
