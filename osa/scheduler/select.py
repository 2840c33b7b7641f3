"""Which scheduler runs the jobs."""

from __future__ import annotations

import shutil

from osa.config import Settings
from osa.errors import MissingServiceError
from osa.scheduler.capacity import Capacity
from osa.scheduler.local import LocalScheduler
from osa.scheduler.local_store import LocalStore

__all__ = ["select_scheduler"]


def select_scheduler(settings: Settings, wanted: str | None) -> LocalScheduler:
    """Make the scheduler that is asked for, or configured.

    Parameters
    ----------
    settings : Settings
        The configuration.
    wanted : str or None
        ``auto``, ``local`` or ``slurm``, as on the command line.

    Raises
    ------
    MissingServiceError
        If it cannot be had.
    """
    backend = wanted or settings.scheduler.backend
    if backend == "auto":
        backend = "slurm" if shutil.which("sbatch") else "local"
    if backend == "slurm":
        raise MissingServiceError(
            "this version runs jobs on the local machine only: say --backend local, "
            "or set backend = local in section [SCHEDULER]"
        )
    local = settings.local
    return LocalScheduler(
        LocalStore(local.state_dir), Capacity.of_this_machine(local.max_cores, local.max_memory)
    )
