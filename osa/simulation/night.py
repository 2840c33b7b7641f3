"""All files of a simulated night."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from osa.simulation.camera import load_camera
from osa.simulation.configs import standard_config_name, write_configs
from osa.simulation.events import RawEvent
from osa.simulation.forests import MODELS, make_models
from osa.simulation.monitoring import write_monitoring
from osa.simulation.plan import END_FLAG, NightPlan, RunKind
from osa.simulation.summaries import write_night_summary, write_run_summary
from osa.simulation.writer import write_subrun

__all__ = ["NightFiles", "Progress", "existing_files", "make_night"]


class Progress(Protocol):
    """Told what is being made, and how far it is."""

    def __call__(self, stage: str, done: int, total: int, /) -> None:
        """Take note of ``done`` of ``total`` parts of a stage."""


@dataclass(frozen=True)
class NightFiles:
    """What was made.

    Parameters
    ----------
    root : pathlib.Path
        Root of the tree.
    r0 : tuple of pathlib.Path
        Raw files.
    drive_log, bending_log, target_log : pathlib.Path
        Logs of the drive.
    run_summary, night_summary : pathlib.Path
        lstchain's run summary (ECSV) and the night summary, where they were asked for.
    models : tuple of pathlib.Path
        Random forests.
    configs : tuple of pathlib.Path
        lstchain's configuration files.
    """

    root: Path
    r0: tuple[Path, ...]
    drive_log: Path
    bending_log: Path
    target_log: Path
    run_summary: Path
    night_summary: Path
    models: tuple[Path, ...]
    configs: tuple[Path, ...]


def _silent(_stage: str, _done: int, _total: int, /) -> None:
    """Tell nobody."""


def make_night(
    plan: NightPlan,
    root: Path,
    progress: Progress = _silent,
    *,
    summaries: bool = True,
    overwrite: bool = False,
) -> NightFiles:
    """Make a night: raw files, drive logs, summaries, lstchain's configuration, forests.

    Parameters
    ----------
    plan : NightPlan
        What to make.
    root : pathlib.Path
        Directory to make it in; made where it is not there.
    progress : Progress
        Called as the work goes on.
    summaries : bool
        Whether to write run summary and night summary.
    overwrite : bool
        Whether to replace a night of the same date.

    Returns
    -------
    files : NightFiles
        The paths.

    Raises
    ------
    FileExistsError
        If there are files of a night of this date, or configuration files for a night of
        another size, and ``overwrite`` is not set.

    Notes
    -----
    Nights of different dates can share a directory: the models are the same showers at other
    pointings, and those that are there are kept. Wherever this ends early, the flag that ends the
    night is missing, and it has to be run again with ``overwrite``.
    """
    there = existing_files(plan, root)
    if there and not overwrite:
        raise FileExistsError(
            f"there is a night of {plan.date} already: {there[0]} (and {len(there) - 1} more "
            "files); choose another directory, or ask to overwrite it"
        )
    configs = write_configs(plan, root / "lstchain", overwrite=overwrite)
    # With them go the unfinished files of a try that was killed.
    unfinished = (root / "R0" / plan.tag).glob(".LST-1.*.part") if overwrite else ()
    for path in (*there, *unfinished):
        path.unlink()
    logs = write_monitoring(plan, root / "monitoring" / "DrivePositioning")
    models = _make_models(plan, root, progress, overwrite=overwrite)
    r0, first_events = _write_runs(plan, root / "R0" / plan.tag, progress)
    # The summaries come after them: who reads one finds all that it names.
    run_summary = root / "monitoring" / "RunSummary" / f"RunSummary_{plan.tag}.ecsv"
    night_summary = root / "NightSummary" / f"NightSummary_{plan.tag}.txt"
    for path in (run_summary, night_summary):
        path.parent.mkdir(parents=True, exist_ok=True)
    if summaries:
        write_run_summary(plan, first_events, run_summary)
        write_night_summary(plan, first_events, night_summary)
    (root / "R0" / plan.tag / END_FLAG).touch()
    drive_log, bending_log, target_log = logs
    return NightFiles(
        root=root,
        r0=tuple(r0),
        drive_log=drive_log,
        bending_log=bending_log,
        target_log=target_log,
        run_summary=run_summary,
        night_summary=night_summary,
        models=tuple(models),
        configs=tuple(configs),
    )


def existing_files(plan: NightPlan, root: Path) -> list[Path]:
    """List the files of this date that :func:`make_night` would replace."""
    tag = plan.tag
    patterns = (
        f"R0/{tag}/LST-1.*.fits.fz",
        f"R0/{tag}/{END_FLAG}",
        f"monitoring/DrivePositioning/*_log_{tag}.txt",
        f"monitoring/RunSummary/RunSummary_{tag}.ecsv",
        f"NightSummary/NightSummary_{tag}.txt",
        f"NightSummary/NightSummary_{tag}.json",
    )
    return sorted(path for pattern in patterns for path in root.glob(pattern))


def _make_models(plan: NightPlan, root: Path, progress: Progress, *, overwrite: bool) -> list[Path]:
    there = [root / "models" / name for name in MODELS]
    if not overwrite and all(path.exists() for path in there):
        return there
    if not plan.of_kind(RunKind.DATA):
        return []

    config = json.loads((root / "lstchain" / standard_config_name).read_text(encoding="utf-8"))

    def report(done: int, total: int) -> None:
        progress("random forests", done, total)

    return make_models(plan, config, root / "models", report)


def _write_runs(
    plan: NightPlan, directory: Path, progress: Progress
) -> tuple[list[Path], dict[int, RawEvent]]:
    """Write all raw files; first events by run."""
    camera = load_camera(plan.seed)
    total = sum(run.subruns for run in plan.runs)
    paths: list[Path] = []
    first_events: dict[int, RawEvent] = {}
    for run in plan.runs:
        for subrun in range(run.subruns):
            progress("raw files", len(paths) // plan.streams, total)
            written, first = write_subrun(plan, run, subrun, camera, directory)
            paths += written
            first_events.setdefault(run.run, first)
    progress("raw files", total, total)
    return paths, first_events
