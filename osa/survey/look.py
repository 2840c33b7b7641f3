"""Looking into the raw files of a night, several runs at a time."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event

from osa.survey.run import RunSurvey, from_json
from osa.survey.tagging import RunLabel, Tag
from osa.system.workers import EntryPoint, Workshop

__all__ = ["look_into_runs"]

_SURVEYOR = EntryPoint("osa.survey.surveyor", "main")
_PRELOAD = ("osa.survey.surveyor", "scipy.special", "protozfits")
_TRIES = 4

Files = Mapping[int, list[Path]]


def look_into_runs(
    runs: Mapping[int, Files],
    *,
    at_once: int,
    on_done: Callable[[int, int], None] = lambda *_: None,
) -> dict[int, RunSurvey]:
    """Look into the raw files of runs.

    Each run is looked into in a process of its own: a broken file can bring down what reads it.

    Parameters
    ----------
    runs : mapping of int to mapping of int to list of pathlib.Path
        Raw files by run and sub-run, one a stream, stream 1 first.
    at_once : int
        How many runs at the same time.
    on_done : callable
        Told how many runs are done, and of how many.

    Returns
    -------
    dict of int to RunSurvey
        By run.
    """
    found: dict[int, RunSurvey] = {}
    if not runs:
        return found
    on_done(0, len(runs))
    with TemporaryDirectory(prefix="nightsummary-") as folder, Workshop(_PRELOAD) as workshop:
        looker = _Looker(workshop, Path(folder), Event())
        with ThreadPoolExecutor(at_once) as pool:
            try:
                waiting = {pool.submit(looker.look, run, files): run for run, files in runs.items()}
                for future in as_completed(waiting):
                    found[waiting[future]] = future.result()
                    on_done(len(found), len(runs))
            except BaseException:
                looker.stopped.set()
                pool.shutdown(wait=False, cancel_futures=True)
                workshop.stop()
                raise
    return found


@dataclass(frozen=True)
class _Looker:
    workshop: Workshop
    folder: Path
    stopped: Event

    def look(self, run: int, files: Files) -> RunSurvey:
        """Look into a run; files that bring down who reads them are passed over."""
        subruns, left, fault = tuple(sorted(files)), dict(files), "it was not looked into"
        faults = [] if 0 in files else ["no raw file of its first sub-run"]
        for number in range(_TRIES):
            if self.stopped.is_set():
                break
            found, fault = self._try(run, left, f"{run}.{number}")
            if found is not None:
                return replace(found, subruns=subruns, faults=(*faults, *found.faults))
            subrun = self._last_opened(f"{run}.{number}")
            if subrun is None or subrun not in left:
                break
            faults.append(f"sub-run {subrun}: {fault}")
            del left[subrun]
        return RunSurvey(run, subruns, Tag(RunLabel.ERROR, reason=fault), faults=tuple(faults))

    def _try(self, run: int, files: Files, name: str) -> tuple[RunSurvey | None, str]:
        asked, answer = self.folder / f"{name}.asked", self.folder / f"{name}.answer"
        paths = {subrun: [str(path) for path in streams] for subrun, streams in files.items()}
        asked.write_text(json.dumps({"run": run, "subruns": paths}), "utf-8")
        words = ["surveyor", str(asked), str(answer), str(self._mark(name))]
        outcome = self.workshop.call(_SURVEYOR, words, folder=self.folder, log=self.folder / f"{name}.log")
        if outcome.return_code == 0:
            return from_json(json.loads(answer.read_text("utf-8"))), ""
        if outcome.return_code == -signal.SIGALRM:
            return None, "reading it takes for ever"
        log = (self.folder / f"{name}.log").read_text("utf-8", errors="replace").split("\n")
        said = next((line.strip() for line in reversed(log) if line.strip()), "nothing was said")
        how = (
            f"signal {-outcome.return_code}"
            if outcome.return_code < 0
            else f"exit code {outcome.return_code}"
        )
        return None, f"reading it ended with {how} ({said[:120]})"

    def _mark(self, name: str) -> Path:
        return self.folder / f"{name}.mark"

    def _last_opened(self, name: str) -> int | None:
        try:
            return int(self._mark(name).read_text("ascii"))
        except (OSError, ValueError):
            return None
