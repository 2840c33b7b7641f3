"""What has become of every sequence of a night: histories, products and jobs put together."""

from __future__ import annotations

import os
import stat
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from osa.layout import PRODUCT_KINDS, Layout, ProductKind
from osa.model.job import JobState, TaskRecord, overall_state
from osa.model.sequence import NightPlan, Sequence, SequenceKind
from osa.steps.history import failed_tries, read_history
from osa.steps.progress import CALIBRATION_STEPS, DATA_STEPS, StepOutline, steps_done

__all__ = ["CALIBRATION_TASK", "SequenceState", "read_night_state"]

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
    """

    sequence: Sequence
    todo: tuple[int, ...]
    exhausted: tuple[int, ...]
    counts: Mapping[ProductKind, int]
    records: tuple[TaskRecord, ...]
    closed: bool
    vetoed: bool

    @property
    def latest(self) -> Mapping[int, TaskRecord]:
        """The latest try of each task."""
        return {_task(record): record for record in self.records}

    @property
    def live(self) -> frozenset[int]:
        """Tasks that may still do something."""
        return frozenset(task for task, record in self.latest.items() if record.state.is_live)

    @property
    def state(self) -> JobState | None:
        """The state of all latest tries in one word."""
        return overall_state(record.state for record in self.latest.values())

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do with the raw files that are there."""
        return self.closed or (not self.todo and self.sequence.blocked is None)

    @property
    def tries(self) -> int:
        """How often a task was tried, the one that was tried most."""
        return max(Counter(record.task for record in self.records).values(), default=0)

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


def _task(record: TaskRecord) -> int:
    return CALIBRATION_TASK if record.task is None else record.task


def _listing(folder: Path) -> Mapping[str, bool]:
    """List the entries of a folder in one pass; true for files that are not empty."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name: _has_content(entry) for entry in entries}
    except FileNotFoundError:
        return {}


def _has_content(entry: os.DirEntry[str]) -> bool:
    try:
        status = entry.stat()
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size > 0


@dataclass(frozen=True)
class _Files:
    """Names of the files of a night: in work, and in their final places."""

    working: Mapping[str, bool]
    final: Mapping[ProductKind, Mapping[str, bool]]
    calibration: Mapping[str, bool]

    @classmethod
    def of(cls, layout: Layout) -> _Files:
        final = {kind: _listing(layout.final_dir(kind)) for kind in PRODUCT_KINDS}
        return cls(_listing(layout.analysis_dir), final, _listing(layout.final_calibration_dir))

    def has_product(self, kind: ProductKind, name: str) -> bool:
        return self.working.get(name, False) or self.final[kind].get(name, False)

    def has_calibration(self, name: str) -> bool:
        return self.working.get(name, False) or self.calibration.get(name, False)


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
    files = _Files.of(layout)
    by_name: dict[str, list[TaskRecord]] = defaultdict(list)
    for record in records:
        by_name[record.name].append(record)
    return tuple(
        _sequence_state(layout, sequence, files, tuple(by_name[sequence.name])) for sequence in plan.sequences
    )


def _sequence_state(
    layout: Layout, sequence: Sequence, files: _Files, records: tuple[TaskRecord, ...]
) -> SequenceState:
    look = _look_at_calibration if sequence.kind is SequenceKind.CALIBRATION else _look_at_data
    todo, exhausted, counts = look(layout, sequence, files)
    closed = layout.closed(sequence).name in files.working
    return SequenceState(
        sequence=sequence,
        todo=() if closed else tuple(todo),
        exhausted=() if closed else tuple(exhausted),
        counts=counts,
        records=records,
        closed=closed,
        vetoed=layout.veto(sequence).name in files.working,
    )


_Look = tuple[list[int], list[int], dict[ProductKind, int]]


def _look_at_calibration(layout: Layout, sequence: Sequence, files: _Files) -> _Look:
    if sequence.drs4_run is None:
        return [CALIBRATION_TASK], [], {}
    promised = {
        "drs4_pedestal": layout.drs4_pedestal(sequence.drs4_run).name,
        "time_calibration": layout.time_calibration(sequence.run).name,
        "charge_calibration": layout.charge_calibration(sequence.run).name,
    }
    history = read_history(layout.history(sequence.run))
    done = steps_done(
        CALIBRATION_STEPS,
        history,
        layout.settings.production,
        lambda outline: files.has_calibration(promised[outline.name]),
    )
    todo = [] if len(done) == len(CALIBRATION_STEPS) else [CALIBRATION_TASK]
    exhausted = todo if failed_tries(history) >= layout.settings.analysis.maxtryfailed else []
    return todo, exhausted, {}


def _look_at_data(layout: Layout, sequence: Sequence, files: _Files) -> _Look:
    todo, exhausted = [], []
    counts = dict.fromkeys(PRODUCT_KINDS, 0)
    tel_id = layout.settings.telescope.tel_id
    for subrun in sequence.subruns:
        history_path = layout.history(sequence.run, subrun)
        history = read_history(history_path) if history_path.name in files.working else ()

        def is_present(outline: StepOutline, subrun: int = subrun) -> bool:
            return all(
                files.has_product(kind, kind.file_name(tel_id, sequence.run, subrun))
                for kind in outline.products
            )

        done = steps_done(DATA_STEPS, history, layout.settings.production, is_present)
        for outline in DATA_STEPS:
            if outline.name in done:
                for kind in outline.products:
                    counts[kind] += 1
        if len(done) < len(DATA_STEPS):
            todo.append(subrun)
            if failed_tries(history) >= layout.settings.analysis.maxtryfailed:
                exhausted.append(subrun)
    return todo, exhausted, counts
