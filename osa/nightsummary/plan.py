"""Plan a night: read all its inputs and make its sequences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime

from osa.errors import InputError
from osa.layout import Layout
from osa.model.run import NightRuns, RunEntry, list_subruns, run_tag
from osa.model.sequence import CalibrationChoice, NightPlan
from osa.nightsummary.arrival import look_at_arrival
from osa.nightsummary.borrowed import read_borrowed
from osa.nightsummary.choice import SERVES, Request, choose_calibration, first_request
from osa.nightsummary.extract import extract
from osa.nightsummary.nightsummary import read_night_summary
from osa.nightsummary.override import Override, format_override, read_override
from osa.nightsummary.raw import RawFile, find_raw_files, is_forbidden, usable_subruns
from osa.nightsummary.surveyed import why_errors
from osa.nightsummary.targets import find_pointings
from osa.system.files import write_text

__all__ = ["keep_choice", "keep_first_choice", "plan_night", "preview_choice", "with_types"]


def plan_night(
    layout: Layout,
    *,
    drs4_run: int | None = None,
    calibration_run: int | None = None,
    clock: datetime | None = None,
) -> NightPlan:
    """Read the inputs of a night and make its sequences.

    Parameters
    ----------
    layout : Layout
        Of the night.
    drs4_run, calibration_run : int or None
        Runs that the command line asks for to calibrate the night.
    clock : datetime.datetime, optional
        The time; now by default.

    Raises
    ------
    InputError
        If the night summary or the override cannot be used, or a run that is asked for cannot
        serve.
    """
    override = read_override(layout.override)
    runs = with_types(read_night_summary(layout.night_summary), override)
    by_closer = read_override(layout.left_out)
    borrowed = read_borrowed(layout.borrowed_calibration)
    if borrowed is not None and (drs4_run, calibration_run) != (None, None):
        raise InputError(
            f"the calibration of the night {borrowed.night} serves: go back to the night's own with "
            "--own-calibration before choosing its runs"
        )
    pointings = find_pointings(runs, layout.target_log, layout.drive_log)

    files = find_raw_files(layout)

    def pointing(entry: RunEntry) -> tuple[str | None, str | None]:
        return pointings.get(entry.run, (None, None))

    plan = extract(
        runs,
        telescope=layout.settings.telescope_name,
        raw_dir=layout.raw_dir,
        raw_subruns=usable_subruns(files),
        drs4=_request(layout, override, "drs4_run", drs4_run),
        calibration=_request(layout, override, "calibration_run", calibration_run),
        left_out={**by_closer.left_out, **override.left_out},
        left_out_subruns={**by_closer.left_out_subruns, **override.left_out_subruns},
        borrowed=borrowed,
        arrival=look_at_arrival(layout, clock or datetime.now(UTC), files),
        pointing=pointing,
        has_drive_log=layout.drive_log.exists(),
        why_errors=why_errors(layout.night_survey),
    )
    known = {entry.run for entry in runs}
    strange = [run_tag(run) for run in override.types if run not in known]
    said = [f"{layout.override.name} has types of runs that the night does not have: {', '.join(strange)}"]
    return replace(plan, remarks=(*plan.remarks, *(said if strange else ()), *_forbidden(layout, plan)))


def preview_choice(layout: Layout, runs: NightRuns, files: Iterable[RawFile]) -> CalibrationChoice:
    """Tell which runs would calibrate a night that is not written down yet.

    Parameters
    ----------
    layout : Layout
        Of the night.
    runs : tuple of RunEntry
        What its night summary is going to say.
    files : iterable of RawFile
        Its raw files.

    Raises
    ------
    InputError
        If the override cannot be used, or a run that is asked for cannot serve.
    """
    override = read_override(layout.override)
    return choose_calibration(
        runs,
        raw_subruns=usable_subruns(files),
        drs4=_request(layout, override, "drs4_run", None),
        calibration=_request(layout, override, "calibration_run", None),
        left_out={**read_override(layout.left_out).left_out, **override.left_out},
    )


def with_types(runs: NightRuns, override: Override) -> NightRuns:
    """Give runs the types that the operator says."""
    return tuple(replace(entry, label=override.types.get(entry.run, entry.label)) for entry in runs)


def _forbidden(layout: Layout, plan: NightPlan) -> Iterator[str]:
    """Say which raw files we are not permitted to read: they count as absent."""
    for sequence in plan.sequences:
        found = [s for s in sequence.absent_subruns if is_forbidden(layout.raw_file(sequence.run, s))]
        if found:
            which = f"sub-runs {list_subruns(found)}"
            yield f"run {run_tag(sequence.run)}: no permission to read raw files of {which}"


def keep_choice(layout: Layout, *, drs4_run: int | None = None, calibration_run: int | None = None) -> None:
    """Keep runs that the command line asked for, so that later commands take the same.

    Parameters
    ----------
    layout : Layout
        Of the night.
    drs4_run, calibration_run : int or None
        The runs; what was kept before stays where one is None.
    """
    if drs4_run is None and calibration_run is None:
        return
    before = read_override(layout.kept_choice)
    choice = Override(
        drs4_run=drs4_run or before.drs4_run,
        calibration_run=calibration_run or before.calibration_run,
    )
    write_text(layout.kept_choice, format_override(choice))


def keep_first_choice(layout: Layout, plan: NightPlan) -> None:
    """Keep which runs calibrate the night, now that something is made with them.

    A run that comes later, and that the rule would have chosen, would leave data behind that is not
    calibrated as its neighbours are.
    """
    choice = plan.choice
    if plan.borrowed is None and None not in (choice.drs4_run, choice.calibration_run):
        text = format_override(Override(choice.drs4_run, choice.calibration_run))
        if not layout.first_choice.exists() or layout.first_choice.read_text("utf-8") != text:
            write_text(layout.first_choice, text)


def _request(layout: Layout, override: Override, key: str, given: int | None) -> Request | None:
    """Take a run from the command line, an override, an earlier command line, the configuration."""
    said: int | None = getattr(override, key)
    before: int | None = getattr(read_override(layout.kept_choice), key)
    configured: int | None = getattr(layout.settings.calibration, key)
    serving: int | None = getattr(read_override(layout.first_choice), key)
    option = f"given with --{key.replace('_', '-')}"
    return first_request(
        (
            (given, option),
            (said, f"{layout.override.name} says"),
            (before, f"{option} before (kept in {layout.kept_choice})"),
            (configured, f"[CALIBRATION] of {layout.settings.path} says"),
            (serving, SERVES),
        )
    )
