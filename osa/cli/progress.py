"""What a terminal shows of long work."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from osa.cli.common import note
from osa.errors import InterruptedNightError
from osa.model.job import JobGroup, JobState, TaskRecord
from osa.scheduler.base import Scheduler
from osa.scheduler.local import LocalExecutor, LocalScheduler, start_detached
from osa.scheduler.local_store import LocalStore

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["StageBar", "run_tasks", "run_with_progress", "wait_with_progress"]

Records = Callable[[], list[TaskRecord]]

_SECONDS_BETWEEN_LINES = 30.0
_SECONDS_BETWEEN_LOOKS = 5.0
_SECONDS_WITHOUT_NEWS = 300.0
_SECONDS_TO_BEGIN = 10.0


def run_tasks(group: JobGroup, scheduler: Scheduler, *, wait: bool, detach: bool) -> None:
    """See to it that the tasks of a night are run, and stay with them where that is wanted.

    Parameters
    ----------
    group : JobGroup
        The jobs of the night.
    scheduler : Scheduler
        Who has them.
    wait : bool
        Whether to wait for tasks that others run.
    detach : bool
        Whether to leave those that this machine runs to a process in the background.
    """
    if not isinstance(scheduler, LocalScheduler):
        if wait:
            wait_with_progress(group, scheduler)
        return
    if not any(record.state.is_live for record in scheduler.records(group)):
        return
    if detach:
        process = start_detached(scheduler.store, group.name, scheduler.capacity)
        _wait_for_executor(scheduler.store, group.name)
        note(f"process {process} runs the tasks in the background; sequencer -s shows how far it is")
    else:
        run_with_progress(group, scheduler)


def _wait_for_executor(store: LocalStore, night: str) -> None:
    """Wait until a process in the background has begun: until then nobody seems to run the tasks."""
    give_up = time.monotonic() + _SECONDS_TO_BEGIN
    while store.executor(night) is None and time.monotonic() < give_up:
        time.sleep(0.05)


def run_with_progress(group: JobGroup, scheduler: LocalScheduler) -> None:
    """Run the tasks of a night in this process.

    Tells on the terminal how many are done, running and failed, and the time that is left; where
    the output is no terminal, with a line every half minute.
    """
    executor = LocalExecutor(scheduler.store, group.name, scheduler.capacity)
    show = _display(_News(group, scheduler))
    try:
        if not executor.run(show.update):
            process = scheduler.store.executor(group.name)
            note(f"process {process} runs the tasks of this night already; it takes these too")
    finally:
        show.close()


def wait_with_progress(group: JobGroup, scheduler: Scheduler) -> None:
    """Wait for tasks that others run, telling the same; can be left at any time.

    Of tasks of which nothing is known any more the end is not waited for, but for some minutes.

    Raises
    ------
    InterruptedNightError
        On Ctrl-C; the tasks go on.
    """
    news = _News(group, scheduler, at_least=_SECONDS_BETWEEN_LOOKS)
    show = _display(news)
    heard = time.monotonic()
    try:
        while states := {record.state for record in news() if record.state.is_live}:
            if states != {JobState.UNKNOWN}:
                heard = time.monotonic()
            elif time.monotonic() > heard + _SECONDS_WITHOUT_NEWS:
                note("nobody knows what became of the tasks that are left: not waiting for them any more")
                break
            show.update()
            time.sleep(0.5)
    except KeyboardInterrupt:
        raise InterruptedNightError(
            "the jobs go on without this command; sequencer -s shows how far they are"
        ) from None
    finally:
        show.close()


class _News:
    """Records of the tasks that were not over when this began.

    Parameters
    ----------
    at_least : float
        Seconds between two times that the scheduler is asked.
    """

    def __init__(self, group: JobGroup, scheduler: Scheduler, at_least: float = 0.0) -> None:
        self._group = group
        self._scheduler = scheduler
        self._at_least = at_least
        self._asked = time.monotonic()
        self._records = scheduler.records(group)
        self._old = {_try(record) for record in self._records if not record.state.is_live}

    def __call__(self) -> list[TaskRecord]:
        if time.monotonic() >= self._asked + self._at_least:
            self._records = self._scheduler.records(self._group)
            self._asked = time.monotonic()
        latest = {(r.name, r.task): r for r in self._records if _try(r) not in self._old}
        return list(latest.values())


def _try(record: TaskRecord) -> tuple[object, ...]:
    return record.job_id, record.task, record.submitted


def _display(news: Records) -> _Bar | _Lines:
    return _Bar(news) if sys.stderr.isatty() else _Lines(news)


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
    ended = sum(count for state, count in counts.items() if not state.is_live)
    cancelled, unknown = counts[JobState.CANCELLED], counts[JobState.UNKNOWN]
    left = _time_left(records)
    return (
        f"{counts[JobState.COMPLETED]}/{len(records)} tasks done, {counts[JobState.RUNNING]} running, "
        f"{ended - counts[JobState.COMPLETED] - cancelled} failed"
        + (f", {cancelled} cancelled" if cancelled else "")
        + (f", {unknown} unknown" if unknown else "")
        + (f", {left} left" if left else "")
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
