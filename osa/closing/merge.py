"""Doing the merges of a night, as many at once as there are cores."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path

from osa.closing.actions import Merge
from osa.errors import OsaError
from osa.layout import Layout
from osa.model.run import run_tag
from osa.provenance.sources import records_of_run
from osa.records.model import Status, TryRecord
from osa.records.recorder import Recorder
from osa.steps.environment import prepare_environment
from osa.steps.runner import StepRunner, products_are_whole
from osa.steps.step import Step
from osa.system.workers import Workshop

__all__ = ["MERGE_MODULES", "perform_merges"]

MERGE_MODULES = (
    "lstchain.datachecks",
    "lstchain.io.io",
)
"""Imported once for all merges."""

_POLL_SECONDS = 0.05


def perform_merges(
    layout: Layout, merges: Sequence[Merge], *, at_once: int, on_done: Callable[[], None]
) -> list[str]:
    """Do the merges that are not done yet.

    Parameters
    ----------
    layout : Layout
        Of the night.
    merges : sequence of Merge
        The merges; the files that they read are in their final places.
    at_once : int
        How many run at the same time.
    on_done : callable
        Called after each.

    Returns
    -------
    list of str
        What went wrong, one line each.
    """
    os.environ.update(prepare_environment(layout.environment_dir, 1))
    layout.log_dir.mkdir(parents=True, exist_ok=True)
    try:
        with Workshop(MERGE_MODULES) as workshop, ThreadPoolExecutor(max_workers=at_once) as threads:
            futures = [threads.submit(_perform, layout, merge, workshop, on_done) for merge in merges]
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                while not all(future.done() for future in futures):
                    workshop.stop()  # a thread may just have been about to make its call
                    time.sleep(_POLL_SECONDS)
                raise
            return [failure for future in futures if (failure := future.result())]
    finally:
        # Not by the threads: one would take the folder away in which another is to make its own.
        for folder in {merge.folder for merge in merges}:
            with suppress(OSError):
                _scratch_dir(folder).rmdir()


def _scratch_dir(folder: Path) -> Path:
    return folder / ".unfinished"


def _records(layout: Layout, run: int) -> tuple[TryRecord, ...]:
    """Read what is recorded of a run; what cannot be read is told where provenance is written."""
    try:
        return records_of_run(layout, run)
    except Exception:
        return ()


def _is_recorded(step: Step, records: Iterable[TryRecord]) -> bool:
    """Tell whether the products that are there were recorded, and made from what is to be merged now.

    A sub-run may have been made again since, with as many events.
    """
    done = [r for r in records if r.step == step.name and r.status is Status.DONE]
    if not done:
        return False
    paths = [*(item.path for item in step.inputs), *(product.final for product in step.products)]
    known = {item.path: (item.size, item.modified) for item in (*done[-1].inputs, *done[-1].outputs)}
    return len(done[-1].inputs) == len(step.inputs) and all(
        known.get(str(path)) == _stamp(path) for path in paths
    )


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _perform(layout: Layout, merge: Merge, workshop: Workshop, on_done: Callable[[], None]) -> str | None:
    log = layout.log_dir / f"{merge.step.name}_{run_tag(merge.run)}.log"
    recorder = Recorder(layout, merge.run, None)
    records = _records(layout, merge.run)
    for record in records:
        recorder.identifier.learn(record.outputs)  # what is merged need not be read once more
    runner = StepRunner(
        run=merge.run,
        subrun=None,
        history=layout.history(merge.run),
        # Beside the final places, which may be on another file system than the work.
        scratch_dir=_scratch_dir(merge.folder),
        workshop=workshop,
        separate_programs=frozenset(),
        say=lambda _: None,
        log=log,
        recorder=recorder,
    )
    try:
        # One that is there and not as recorded was killed in between: made again, it has its record.
        if not (_is_recorded(merge.step, records) and products_are_whole(merge.step)):
            runner.execute(merge.step)
    except OsaError as error:
        return f"{error} (see {log})"
    finally:
        on_done()
    return None
