"""Which scheduler runs the jobs; each is imported only where it is the one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING

from osa.config import Settings
from osa.errors import InputError, MissingServiceError
from osa.model.job import JobGroup
from osa.scheduler.base import Scheduler

if TYPE_CHECKING:
    from osa.scheduler.capacity import Capacity

__all__ = ["local_capacity", "refuse_other_backend", "select_scheduler"]


def select_scheduler(
    settings: Settings, wanted: str | None, *, warn: Callable[[str], None] = lambda _: None
) -> Scheduler:
    """Make the scheduler that is asked for, or configured.

    Parameters
    ----------
    settings : Settings
        The configuration.
    wanted : str or None
        ``auto``, ``local`` or ``slurm``, as on the command line.
    warn : callable
        Told what a person should know of the scheduler's answers.

    Raises
    ------
    MissingServiceError
        If it cannot be had.
    """
    backend = wanted or settings.scheduler.backend
    has_slurm = shutil.which("sbatch") is not None
    if backend == "slurm" and not has_slurm:
        raise MissingServiceError(
            "Slurm's commands are not on this machine, or not in PATH; to run the jobs on this machine "
            "say --backend local, or set backend = local in section [SCHEDULER]"
        )
    if backend == "slurm" or (backend == "auto" and has_slurm):
        from osa.scheduler.slurm import SlurmScheduler
        from osa.scheduler.slurm_calls import SlurmCalls

        return SlurmScheduler(SlurmCalls(), at_once=settings.slurm.max_at_once, warn=warn)
    from osa.scheduler.local import LocalScheduler
    from osa.scheduler.local_store import LocalStore

    return LocalScheduler(LocalStore(settings.local.state_dir), local_capacity(settings))


def refuse_other_backend(settings: Settings, group: JobGroup, scheduler: Scheduler) -> None:
    """Refuse to work on a night whose tasks are with the other backend: they would be done twice.

    Raises
    ------
    InputError
        If there are any that may be alive.
    """
    from osa.scheduler.local import LocalScheduler
    from osa.scheduler.local_store import LocalStore
    from osa.scheduler.submissions import Submissions

    if isinstance(scheduler, LocalScheduler):
        other, is_busy = "slurm", any(not note.is_settled for note in Submissions(group.submissions).read())
        hint = f" (if that Slurm is no more, move {group.submissions} away)"
    else:
        records = LocalStore(settings.local.state_dir).records(group.name)
        other, is_busy, hint = "local", any(record.state.is_live for record in records), ""
    if is_busy:
        raise InputError(
            f"tasks of this night are with the backend {other}: say --backend {other} until they have "
            f"ended{hint}"
        )


def local_capacity(settings: Settings) -> Capacity:
    """Tell what this machine gives to all tasks that run on it together."""
    from osa.scheduler.capacity import Capacity

    return Capacity.of_this_machine(settings.local.max_cores, settings.local.max_memory)
