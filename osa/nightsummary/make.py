"""Making the summaries of a night from its raw files."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count, groupby
from pathlib import Path

from osa.errors import InputError
from osa.layout import Layout
from osa.model.run import NightRuns, RunEntry, TimeReference, list_subruns, run_tag
from osa.nightsummary.choice import by_time
from osa.nightsummary.nightsummary import format_night_summary
from osa.nightsummary.override import read_override
from osa.nightsummary.plan import with_types
from osa.nightsummary.raw import RawFile
from osa.nightsummary.runsummary import format_run_summary
from osa.nightsummary.surveyed import Surveyed, digest, read_surveyed, signature, write_surveyed
from osa.survey.look import look_into_runs
from osa.survey.run import RunSurvey
from osa.survey.tagging import RunLabel, Tag
from osa.system.files import write_text

__all__ = ["Summaries", "Written", "entries_of", "survey_night", "write_summaries"]


@dataclass(frozen=True)
class Summaries:
    """Where the summaries of a night go."""

    night_summary: Path
    run_summary: Path
    survey: Path

    @classmethod
    def of(cls, layout: Layout, output: Path | None = None) -> Summaries:
        """Take the usual places, or those beside a file that was asked for."""
        if output is None:
            return cls(layout.night_summary, layout.run_summary, layout.night_survey)
        places = cls(output, output.with_name(layout.run_summary.name), output.with_suffix(".json"))
        if output in {places.run_summary, places.survey}:
            raise InputError(
                f"--output {output}: that is where the {output.suffix} file beside it goes; name a .txt"
            )
        return places


@dataclass(frozen=True)
class Written:
    """What was written.

    Parameters
    ----------
    files : tuple of pathlib.Path
        Files that are new or other than before.
    kept : tuple of pathlib.Path
        Where edited ones were put that were replaced.
    foreign : tuple of pathlib.Path
        Edited ones that were left as they are.
    """

    files: tuple[Path, ...]
    kept: tuple[Path, ...] = ()
    foreign: tuple[Path, ...] = ()


def survey_night(
    files: Iterable[RawFile],
    known: Surveyed,
    *,
    at_once: int,
    on_done: Callable[[int, int], None] = lambda *_: None,
) -> dict[int, tuple[str, RunSurvey]]:
    """Look into the raw files of all runs of a night; those that are as they were are not read again.

    Parameters
    ----------
    files : iterable of RawFile
        The raw files.
    known : Surveyed
        What was found before.
    at_once : int
        How many runs at the same time.
    on_done : callable
        Told how many runs are done, and of how many.

    Returns
    -------
    dict of int to (str, RunSurvey)
        Signature of its files, and what they say, by run.
    """
    by_run = {run: tuple(group) for run, group in groupby(files, key=lambda file: file.run)}
    marks = {run: signature(group) for run, group in by_run.items()}
    recalled = {run: known.recall(run, mark) for run, mark in marks.items()}
    fresh = {run: _streams(by_run[run]) for run, survey in recalled.items() if survey is None}
    looked = look_into_runs(
        {run: subruns for run, subruns in fresh.items() if subruns}, at_once=at_once, on_done=on_done
    )
    found = {}
    for run, group in by_run.items():
        survey = recalled[run] or looked.get(run) or _without_content(run)
        found[run] = marks[run], _with_start(survey, group)
    return found


def _streams(files: Iterable[RawFile]) -> dict[int, list[Path]]:
    """Give the files of each sub-run that can be read, as lstchain does: up to the first stream missing."""
    subruns: dict[int, list[Path]] = defaultdict(list)
    for file in files:
        if file.is_usable and file.stream == len(subruns[file.subrun]) + 1:
            subruns[file.subrun].append(file.path)
    return {subrun: paths for subrun, paths in subruns.items() if paths}


def _without_content(run: int) -> RunSurvey:
    return RunSurvey(run, (), Tag(RunLabel.ERROR, reason="its raw files are empty or cannot be read by us"))


def _with_start(survey: RunSurvey, files: Iterable[RawFile]) -> RunSurvey:
    """Give a run of which nothing can be read the time of its first file."""
    if survey.start is not None:
        return survey
    first = min(file.written_ns for file in files)
    start = datetime.fromtimestamp(first // 1_000_000_000, UTC)
    return replace(survey, start=start, faults=(*survey.faults, "its start is the time of its file"))


def entries_of(surveys: Iterable[RunSurvey]) -> NightRuns:
    """Make the rows of a night summary, by start; pure."""
    return tuple(by_time(_entry(survey) for survey in surveys))


def _entry(survey: RunSurvey) -> RunEntry:
    assert survey.start is not None  # see above
    reference, dragon, tib = survey.reference, TimeReference(), TimeReference()
    if reference is not None and reference.is_usable:
        dragon = TimeReference(reference.module_id, reference.ucts_ns, reference.dragon_ns)
        if reference.tib_ns is not None:
            tib = TimeReference(reference.module_id, reference.ucts_ns, reference.tib_ns)
    return RunEntry(survey.run, len(survey.subruns), str(survey.tag.label), survey.start, dragon, tib)


def write_summaries(
    layout: Layout,
    surveys: Mapping[int, tuple[str, RunSurvey]],
    places: Summaries,
    *,
    overwrite: bool = False,
    keep: bool = False,
    clock: datetime,
) -> Written:
    """Write night summary and run summary; neither is written over that is not as we wrote it.

    Parameters
    ----------
    layout : Layout
        Of the night.
    surveys : mapping of int to (str, RunSurvey)
        As :func:`survey_night` gives it.
    places : Summaries
        Where to.
    overwrite : bool
        Whether to replace summaries that were edited or made elsewhere; they are kept under another name.
    keep : bool
        Whether to leave these as they are and write the rest.
    clock : datetime.datetime
        The time.

    Raises
    ------
    InputError
        If there is one that was edited or made elsewhere, and neither is wanted; or if raw files that
        were there have gone, and it is not wanted to go on without them.
    """
    found = {run: survey for run, (_, survey) in surveys.items()}
    runs = with_types(entries_of(found.values()), read_override(layout.override))
    texts = {
        places.run_summary: format_run_summary(runs, found, layout.night.date),
        places.night_summary: format_night_summary(runs),
    }
    before = read_surveyed(places.survey)
    _refuse_to_shrink(before, found, overwrite=overwrite)
    # Rows that say the same may have been made by anybody.
    changed = {path: text for path, text in texts.items() if _content(path) != text.encode()}
    foreign = [path for path in changed if path.exists() and not before.wrote(path)]
    if foreign and not (overwrite or keep):
        names = " and ".join(map(str, foreign))
        raise InputError(
            f"{names}: edited since, or not made by nightsummary; nothing was written (--overwrite replaces "
            "it and keeps the old one under another name, --keep leaves it as it is)"
        )
    kept = [_put_aside(path, clock) for path in foreign] if overwrite else []
    todo = {path: text for path, text in changed.items() if overwrite or path not in foreign}
    # Before the files: killed in between, what is there is still known as ours.
    for path, text in texts.items():
        if path in todo or path not in changed:
            before = _noted(before, path, text)
    write_surveyed(places.survey, replace(before, runs=surveys), night=str(layout.night), clock=clock)
    for path, text in todo.items():
        write_text(path, text)
    return Written(tuple(todo), tuple(kept), () if overwrite else tuple(foreign))


def _refuse_to_shrink(before: Surveyed, found: Mapping[int, RunSurvey], *, overwrite: bool) -> None:
    """Do not promise less than before: raw data does not go, so what holds it is away."""
    gone = []
    for run, (_, known) in before.runs.items():
        there = found[run].subruns if run in found else ()
        lost = sorted(set(known.subruns) - set(there))
        if lost:
            gone.append(f"sub-runs {list_subruns(lost)} of run {run_tag(run)}")
    if gone and not overwrite:
        more = f" and of {len(gone) - 1} more run(s)" if len(gone) > 1 else ""
        raise InputError(
            f"raw files that were there have gone: {gone[0]}{more}; nothing was written (see to them, or "
            "--overwrite goes on without)"
        )


def _noted(surveyed: Surveyed, path: Path, text: str) -> Surveyed:
    """Note what is about to be written; what is there now stays known until the next time."""
    new, content = digest(text.encode()), _content(path)
    there = () if content is None else (digest(content),)
    known = [mark for mark in surveyed.written.get(path.name, ()) if mark in there]
    return replace(surveyed, written={**surveyed.written, path.name: tuple(dict.fromkeys([*known, new]))})


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _put_aside(path: Path, clock: datetime) -> Path:
    name = f"{path.name}.until.{clock:%Y%m%dT%H%M%S}"
    for number in count(1):
        aside = path.with_name(name if number == 1 else f"{name}.{number}")
        if not aside.exists():
            break
    os.replace(path, aside)
    return aside
