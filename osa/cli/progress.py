"""The local backend in the foreground, with a bar that tells how far it is."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from osa.cli.common import note
from osa.layout import Layout
from osa.model.job import JobState, TaskRecord
from osa.scheduler.local import LocalExecutor, LocalScheduler

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["StageBar", "run_with_progress"]

Records = Callable[[], list[TaskRecord]]

_SECONDS_BETWEEN_LINES = 30.0


def run_with_progress(layout: Layout, scheduler: LocalScheduler) -> None:
    """Run the tasks of a night in this process.

    Tells on the terminal how many are done, running and failed, and the time that is left; where
    the output is no terminal, with a line every half minute.
    """
    executor = LocalExecutor(scheduler.store, layout.group, scheduler.capacity)
    known = {(r.job_id, r.task) for r in scheduler.records(layout.group) if not r.state.is_live}

    def current() -> list[TaskRecord]:
        records = scheduler.records(layout.group)
        return [record for record in records if (record.job_id, record.task) not in known]

    show = _Bar(current) if sys.stderr.isatty() else _Lines(current)
    try:
        if not executor.run(show.update):
            process = scheduler.store.executor(layout.group)
            note(f"process {process} runs the tasks of this night already; it takes these too")
    finally:
        show.close()


class _Lines:
    """Progress as lines of text."""

    def __init__(self, current: Records) -> None:
        self._current = current
        self._next = 0.0

    def update(self) -> None:
        """Print a line, now and then."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _SECONDS_BETWEEN_LINES
            note(_summary(self._current()))

    def close(self) -> None:
        """Print the last line."""
        note(_summary(self._current()))


class _Bar:
    """Progress as a bar."""

    def __init__(self, current: Records) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._current = current
        self._next = 0.0
        self._progress = Progress(
            BarColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
        )
        self._task = self._progress.add_task("starting", total=None)
        self._progress.start()

    def update(self) -> None:
        """Move the bar."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + 0.5
        records = self._current()
        ended = sum(not record.state.is_live for record in records)
        self._progress.update(self._task, total=len(records), completed=ended, description=_summary(records))

    def close(self) -> None:
        """Leave the bar as it is."""
        self._next = 0.0
        self.update()
        self._progress.stop()


def _summary(records: list[TaskRecord]) -> str:
    counts = Counter(record.state for record in records)
    failed = sum(
        count for state, count in counts.items() if not state.is_live and state != JobState.COMPLETED
    )
    left = _time_left(records)
    return (
        f"{counts[JobState.COMPLETED]}/{len(records)} tasks done, {counts[JobState.RUNNING]} running, "
        f"{failed} failed" + (f", {left} left" if left else "")
    )


def _time_left(records: list[TaskRecord]) -> str:
    """Estimate the time that is left from the tasks that have ended; empty while none has."""
    ended = [r for r in records if r.started and r.ended and r.state is JobState.COMPLETED]
    waiting = [r for r in records if r.state.is_live]
    if not ended or not waiting:
        return ""
    mean = sum((r.ended - r.started for r in ended if r.ended and r.started), timedelta(0)) / len(ended)
    at_once = max(1, sum(r.state is JobState.RUNNING for r in records))
    seconds = int(mean.total_seconds() * len(waiting) / at_once)
    return f"about {timedelta(seconds=seconds)}"


class StageBar:
    """A bar for work in named stages.

    Parameters
    ----------
    lines : bool
        Where nobody looks at a terminal: whether to print a line as each stage begins.
    """

    def __init__(self, *, lines: bool = False) -> None:
        self._lines = lines
        self._progress: Progress | None = None
        self._stages: dict[str, TaskID | None] = {}

    def __enter__(self) -> StageBar:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import Progress

            self._progress = Progress(console=Console(stderr=True))
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def update(self, stage: str, done: int, total: int) -> None:
        """Tell how much of a stage is done."""
        if stage not in self._stages:
            if self._progress is not None:
                self._stages[stage] = self._progress.add_task(stage, total=total)
            else:
                self._stages[stage] = None
                if self._lines:
                    note(f"{stage} …")
        bar = self._stages[stage]
        if self._progress is not None and bar is not None:
            self._progress.update(bar, completed=done, total=total)
