"""What has become of every sequence of a night: histories, products and jobs put together."""

from __future__ import annotations

import os
import stat
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path

from osa.flags import FreshStart, read_fresh_start
from osa.layout import PRODUCT_KINDS, Layout, ProductKind, subrun_tag
from osa.model.job import JobState, TaskRecord, live_tries, overall_state
from osa.model.sequence import NightPlan, Sequence, SequenceKind
from osa.steps.history import HistoryRecord, failed_tries, read_history
from osa.steps.progress import CALIBRATION_STEPS, DATA_STEPS, StepOutline, steps_done

__all__ = ["CALIBRATION_TASK", "SequenceState", "read_night_state", "strangers", "task_of"]

CALIBRATION_TASK = 0
"""The one task of a calibration sequence, where tasks are counted by sub-run."""


@dataclass(frozen=True)
class SequenceState:
    """What has become of a sequence.

    Parameters
    ----------
    sequence : Sequence
        The sequence.
    todo : tuple of int
        Tasks (sub-runs) of which a step is still to be done.
    exhausted : tuple of int
        Those of them that have failed as often as they may.
    counts : mapping of ProductKind to int
        Sub-runs that have a complete product of each kind.
    records : tuple of TaskRecord
        All that the scheduler knows of its tasks, the oldest job first.
    closed, vetoed : bool
        Whether the flags are there.
    fresh_start : FreshStart or None
        The operator's word that what failed before does not count any more.
    failed : tuple of int
        Tasks that are not done and of which the history tells that a step failed.
    """

    sequence: Sequence
    todo: tuple[int, ...]
    exhausted: tuple[int, ...]
    counts: Mapping[ProductKind, int]
    records: tuple[TaskRecord, ...]
    closed: bool
    vetoed: bool
    fresh_start: FreshStart | None = None
    failed: tuple[int, ...] = ()

    @cached_property
    def latest(self) -> Mapping[int, TaskRecord]:
        """The latest try of each task, but of those that are left out and have come to their end."""
        latest = {task_of(record): record for record in self.records}
        gone = [task for task in self.sequence.left_out if task in latest and not latest[task].state.is_live]
        return {task: record for task, record in latest.items() if task not in gone}

    @cached_property
    def live(self) -> frozenset[int]:
        """Tasks of which a try may still do something, be it an older one."""
        return frozenset(task_of(record) for record in live_tries(self.records))

    @property
    def unknown(self) -> Mapping[str, tuple[int, ...]]:
        """Tasks of which nobody knows whether they are alive, by what is said of it."""
        tasks: dict[str, list[int]] = defaultdict(list)
        for task, record in self.latest.items():
            if record.state is JobState.UNKNOWN:
                tasks[record.reason].append(task)
        return {reason: tuple(sorted(found)) for reason, found in tasks.items()}

    @cached_property
    def state(self) -> JobState | None:
        """The state of all latest tries in one word."""
        return overall_state(record.state for record in self.latest.values())

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do with the raw files that are there."""
        return self.closed or (not self.todo and self.sequence.blocked is None)

    @property
    def tries(self) -> int:
        """Number of jobs that it has had; one that was begun again after a lost node counts again."""
        tries = Counter((record.job_id, record.task) for record in self.records)
        most: dict[str, int] = {}
        for (job_id, _), count in tries.items():
            most[job_id] = max(count, most.get(job_id, 0))
        return sum(most.values())

    @property
    def reason(self) -> str:
        """Why its tasks are in the state that they are in, where that is told."""
        state = self.state
        return ",".join(sorted({r.reason for r in self.latest.values() if r.state is state and r.reason}))

    @property
    def job_id(self) -> str | None:
        """The latest job."""
        return self.records[-1].job_id if self.records else None

    @property
    def host(self) -> str | None:
        """Where its tasks ran; None where they did not, or on several hosts."""
        hosts = {record.host for record in self.latest.values() if record.host}
        return hosts.pop() if len(hosts) == 1 else (f"{len(hosts)} hosts" if hosts else None)

    @property
    def cpu_time(self) -> timedelta | None:
        """CPU time of all tries."""
        times = [record.cpu_time for record in self.records]
        return sum(times, timedelta(0)) if times else None

    @property
    def wall_time(self) -> timedelta | None:
        """From the first start to the last end of its latest job, where that has ended."""
        records = [record for record in self.records if record.job_id == self.job_id]
        starts = [record.started for record in records if record.started]
        ends = [record.ended for record in records if record.ended]
        if not starts or not ends or any(record.state.is_live for record in records):
            return None
        return max(max(ends) - min(starts), timedelta(0))

    @property
    def exit_code(self) -> int | None:
        """The first exit code that is not zero; zero where all ended well; None if unknown."""
        codes = [record.exit_code for record in self.latest.values()]
        bad = [code for code in codes if code]
        return bad[0] if bad else (0 if codes and None not in codes else None)


def strangers(plan: NightPlan, records: Iterable[TaskRecord]) -> tuple[str, ...]:
    """Name the jobs that may be alive although the night has no such sequence any more."""
    return tuple(sorted({record.name for record in live_tries(records)} - set(plan.names)))


def task_of(record: TaskRecord) -> int:
    """Tell of which task a record is."""
    return CALIBRATION_TASK if record.task is None else record.task


@dataclass(frozen=True)
class _Folder:
    """A folder of which files are asked for by name.

    A large night has a hundred thousand of them: they are reached through the descriptor of their
    folder, which is much shorter than the way from the root.
    """

    descriptor: int | None

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[_Folder]:
        """Open a folder; one that is not there has no files."""
        descriptor = None
        with suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield cls(descriptor)
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def has(self, name: str) -> bool:
        """Whether the folder has an entry of that name."""
        if self.descriptor is None:
            return False
        try:
            os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def has_content(self, name: str) -> bool:
        """Whether there is a file of that name that is not empty."""
        if self.descriptor is None:
            return False
        try:
            status = os.stat(name, dir_fd=self.descriptor)
        except OSError:
            return False
        return stat.S_ISREG(status.st_mode) and status.st_size > 0

    def history(self, name: str) -> tuple[HistoryRecord, ...]:
        """Read a history; one that is not there is empty."""
        return () if self.descriptor is None else read_history(name, dir_fd=self.descriptor)


@dataclass(frozen=True)
class _Files:
    """Files of a night: in work, and in their final places."""

    working: _Folder
    final: Mapping[ProductKind, _Folder]
    calibration: _Folder

    @classmethod
    @contextmanager
    def of(cls, layout: Layout) -> Iterator[_Files]:
        with ExitStack() as stack:
            final = {
                kind: stack.enter_context(_Folder.open(layout.final_dir(kind))) for kind in PRODUCT_KINDS
            }
            working = stack.enter_context(_Folder.open(layout.analysis_dir))
            calibration = stack.enter_context(_Folder.open(layout.final_calibration_dir))
            yield cls(working, final, calibration)

    def has_product(self, kind: ProductKind, name: str) -> bool:
        # Final places first: before a night is closed there are none, and asking them costs nothing.
        return self.final[kind].has_content(name) or self.working.has_content(name)

    def has_calibration(self, name: str) -> bool:
        return self.calibration.has_content(name) or self.working.has_content(name)


def read_night_state(
    layout: Layout, plan: NightPlan, records: Iterable[TaskRecord]
) -> tuple[SequenceState, ...]:
    """Look at histories and products of all sequences of a night.

    Products are judged by name and by not being empty: they got their names complete. The steps
    open and check what they build on, the closer everything.

    Parameters
    ----------
    layout : Layout
        Of the night.
    plan : NightPlan
        The sequences.
    records : iterable of TaskRecord
        What the scheduler knows of the night.
    """
    by_name: dict[str, list[TaskRecord]] = defaultdict(list)
    for record in records:
        by_name[record.name].append(record)
    with _Files.of(layout) as files:
        return tuple(
            _sequence_state(layout, sequence, files, tuple(by_name[sequence.name]))
            for sequence in plan.sequences
        )


def _sequence_state(
    layout: Layout, sequence: Sequence, files: _Files, records: tuple[TaskRecord, ...]
) -> SequenceState:
    look = _look_at_calibration if sequence.kind is SequenceKind.CALIBRATION else _look_at_data
    path = layout.fresh_start(sequence)
    fresh_start = read_fresh_start(path) if files.working.has(path.name) else None
    todo, failed, exhausted, counts = look(layout, sequence, files, fresh_start)
    closed = files.working.has(layout.closed(sequence).name)
    return SequenceState(
        sequence=sequence,
        todo=() if closed else tuple(todo),
        exhausted=() if closed else tuple(exhausted),
        counts=counts,
        records=records,
        closed=closed,
        vetoed=files.working.has(layout.veto(sequence).name),
        fresh_start=fresh_start,
        failed=tuple(failed),
    )


_Look = tuple[list[int], list[int], list[int], dict[ProductKind, int]]  # todo, failed, exhausted, counts


def _failures(history: tuple[HistoryRecord, ...], fresh_start: FreshStart | None) -> int:
    """Count the equal failures at the end of a history, without those that do not count any more."""
    if fresh_start is not None:
        history = tuple(record for record in history if record.when > fresh_start.when)
    return failed_tries(history)


def _look_at_calibration(
    layout: Layout, sequence: Sequence, files: _Files, fresh_start: FreshStart | None
) -> _Look:
    if sequence.drs4_run is None:
        return [CALIBRATION_TASK], [], [], {}
    products = layout.calibration_products(sequence.drs4_run, sequence.run)
    promised = {o.name: path.name for o, path in zip(CALIBRATION_STEPS, products, strict=True)}
    history = files.working.history(layout.history_name(sequence.run))
    done = steps_done(
        CALIBRATION_STEPS,
        history,
        layout.settings.production,
        lambda outline: files.has_calibration(promised[outline.name]),
    )
    todo = [] if len(done) == len(CALIBRATION_STEPS) else [CALIBRATION_TASK]
    count = _failures(history, fresh_start)
    is_exhausted = count >= layout.settings.analysis.maxtryfailed
    return todo, todo if count else [], todo if is_exhausted else [], {}


def _look_at_data(layout: Layout, sequence: Sequence, files: _Files, fresh_start: FreshStart | None) -> _Look:
    todo, failed, exhausted = [], [], []
    n_done = {outline.name: 0 for outline in DATA_STEPS}
    for subrun in sequence.subruns:
        history = files.working.history(layout.history_name(sequence.run, subrun))
        done = _steps_of_subrun(layout, subrun_tag(sequence.run, subrun), history, files)
        for step in done:
            n_done[step] += 1
        if len(done) < len(DATA_STEPS):
            todo.append(subrun)
            count = _failures(history, fresh_start)
            failed += [subrun] * (count > 0)
            exhausted += [subrun] * (count >= layout.settings.analysis.maxtryfailed)
    counts = {kind: n_done[outline.name] for outline in DATA_STEPS for kind in outline.products}
    return todo, failed, exhausted, counts


def _steps_of_subrun(
    layout: Layout, tag: str, history: tuple[HistoryRecord, ...], files: _Files
) -> frozenset[str]:
    tel_id = layout.settings.telescope.tel_id

    def is_present(outline: StepOutline) -> bool:
        return all(files.has_product(kind, kind.tagged_name(tel_id, tag)) for kind in outline.products)

    return steps_done(DATA_STEPS, history, layout.settings.production, is_present)
