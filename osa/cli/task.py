"""What the commands that are run as tasks of a job share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib import import_module

from osa.layout import Layout
from osa.records.environment import installed_software
from osa.steps.checks import LIBRARIES
from osa.steps.environment import TASK_BEGINS, prepare_environment
from osa.system.processes import END_WITH_PARENT
from osa.system.workers import Workshop, end_with_parent

__all__ = ["run_task"]


def _say(message: str) -> None:
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC  {message}", flush=True)


@contextmanager
def run_task(
    layout: Layout, cpus: int, modules: Sequence[str]
) -> Iterator[tuple[Workshop, Callable[[str], None]]]:
    """Set the environment of a task and give it a workshop with lstchain behind it.

    Parameters
    ----------
    layout : Layout
        Of the night.
    cpus : int
        Cores of the task, where the resource manager does not say.
    modules : sequence of str
        What is imported once for all steps.
    """
    _say(TASK_BEGINS)
    runner = os.environ.get(END_WITH_PARENT)
    if runner:
        end_with_parent(int(runner))
    layout.log_dir.mkdir(parents=True, exist_ok=True)
    granted = int(os.environ.get("SLURM_CPUS_PER_TASK") or cpus)
    os.environ.update(prepare_environment(layout.environment_dir, granted))
    with Workshop(modules) as workshop:
        for module in LIBRARIES:  # while the workshop has its own imports to do
            import_module(module)
        with suppress(Exception):  # the records say so
            installed_software()  # for them: it is listed once
        _say(f"lstchain imported in {workshop.prepare():.1f} s")
        yield workshop, _say
