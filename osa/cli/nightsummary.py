"""The command ``nightsummary``: which runs a night has, and of which type, from its raw files."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osa.cli.common import Parser, add_night_options, note, open_night, run_command
from osa.errors import ExitCode, InputError, NightNotCompleteError

if TYPE_CHECKING:
    from osa.layout import Layout
    from osa.model.run import NightRuns
    from osa.nightsummary.make import Summaries
    from osa.nightsummary.raw import RawFile
    from osa.survey.run import RunSurvey

__all__ = ["main"]

EXAMPLES = """\
  nightsummary                       make, or bring up to date, the summaries of last night
  nightsummary -s -d 2020_01_27      only show what the raw files say
  nightsummary -d 2020_01_27 --output /tmp/NightSummary_20200127.txt
  nightsummary -d 2020_01_27 --overwrite    replace summaries that somebody has edited
  nightsummary -s --json | jq '.runs[] | select(.Type == "ERROR")'
"""


def _parser() -> Parser:
    parser = Parser(
        "nightsummary",
        "Look into the raw files of a night: which runs, how many sub-runs, when they started, how their\n"
        "clocks are referred to UCTS time, and of which type they are, by the shares of pedestal,\n"
        "flat-field and physics triggers in their first events. Writes NightSummary_YYYYMMDD.txt and the\n"
        "run summary of lstchain. A run whose type is not sure is ERROR, with the reason. It can be run at\n"
        "any time: only runs whose files have changed are read again.",
        EXAMPLES,
    )
    add_night_options(parser)
    parser.add_argument("-s", "--simulate", action="store_true", help="only show; write nothing")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write there; the run summary beside it")
    edited = parser.add_mutually_exclusive_group()
    edited.add_argument(
        "--overwrite",
        action="store_true",
        help="replace summaries that were edited or made elsewhere, or that promise raw files that have gone",
    )
    edited.add_argument("--keep", action="store_true", help="leave these as they are, without an error")
    parser.add_argument("--json", action="store_true", help="print what was found as JSON")
    return parser


def _command(arguments: argparse.Namespace) -> ExitCode:
    from osa.nightsummary.arrival import look_at_arrival
    from osa.nightsummary.make import Summaries
    from osa.nightsummary.override import read_override
    from osa.nightsummary.raw import find_raw_files
    from osa.system.locks import only_instance

    layout, clock = open_night(arguments), datetime.now(UTC)
    files = find_raw_files(layout)
    arrival = look_at_arrival(layout, clock, files)
    if not files:
        return _no_raw_files(layout, arrival.why)
    read_override(layout.override)  # before any work: it may have faults
    places = Summaries.of(layout, arguments.output)
    if arguments.simulate:
        _make(layout, files, places, arguments, clock)
    else:
        with only_instance(
            places.survey.with_name(f".{places.survey.name}.lock"), f"summaries of {layout.title}"
        ):
            _make(layout, files, places, arguments, clock)
    if not arrival.is_complete:
        note(f"raw files are still arriving: {arrival.why}")
        return ExitCode.NOT_YET
    return ExitCode.DONE


def _make(
    layout: Layout,
    files: tuple[RawFile, ...],
    places: Summaries,
    arguments: argparse.Namespace,
    clock: datetime,
) -> None:
    """Look into the raw files, show what they say, and write that where it is wanted."""
    from osa.nightsummary.make import entries_of, write_summaries
    from osa.nightsummary.override import read_override
    from osa.nightsummary.plan import with_types

    surveys = _look(layout, files, places.survey)
    found = [survey for _, survey in surveys.values()]
    runs = with_types(entries_of(found), read_override(layout.override))
    _show(layout, runs, found, as_json=arguments.json)
    _tell_choice(layout, runs, files)
    if not arguments.simulate:
        written = write_summaries(
            layout, surveys, places, overwrite=arguments.overwrite, keep=arguments.keep, clock=clock
        )
        for path in written.kept:
            note(f"what was there is kept: {path}")
        for path in written.files:
            note(f"written: {path}")
        if not written.files:
            note("the summaries are as they were")
        for path in written.foreign:
            note(f"{path} was edited, or made elsewhere: left as it is (--overwrite replaces it)")


def _no_raw_files(layout: Layout, why: str) -> ExitCode:
    """Say that there is nothing to look into; a person has to know when that stays so."""
    from osa.closing.due import is_late

    if layout.night_finished.exists():
        note(f"there are no raw files in {layout.raw_dir}, and the night is closed")
        return ExitCode.DONE
    hint = f"closer -d {layout.night.underscored} -r moon, weather or other closes a night without data"
    if is_late(layout, datetime.now(UTC)):
        what = f"there are no raw files in {layout.raw_dir}"
        raise NightNotCompleteError(f"{what}: see to their transfer; {hint}")
    note(f"there are no raw files in {layout.raw_dir}" + (f": {why}" if why else f" ({hint})"))
    return ExitCode.NOT_YET


def _look(layout: Layout, files: Iterable[RawFile], known: Path) -> dict[int, tuple[str, RunSurvey]]:
    from osa.cli.progress import StageBar
    from osa.nightsummary.make import survey_night
    from osa.nightsummary.surveyed import read_surveyed
    from osa.scheduler.select import local_capacity

    cores = local_capacity(layout.settings).cores
    with StageBar() as bar:
        return survey_night(
            files,
            read_surveyed(known),
            at_once=cores,
            on_done=lambda done, total: bar.update("looking into runs", done, total),
        )


def _show(layout: Layout, runs: NightRuns, surveys: Iterable[RunSurvey], *, as_json: bool) -> None:
    from osa.cli.listing import print_json, print_rows

    by_run = {survey.run: survey for survey in surveys}
    labels = {entry.run: entry.label for entry in runs}
    rows = [_row(by_run[entry.run], labels[entry.run]) for entry in runs]
    if as_json:
        print_json({"night": str(layout.night), "telescope": layout.settings.telescope_name, "runs": rows})
        return
    shown = [
        {head: _percent(value) if isinstance(value, float) else value for head, value in row.items()}
        for row in rows
    ]
    print_rows(shown, as_json=False)


def _row(survey: RunSurvey, label: str) -> dict[str, Any]:
    from osa.survey.tagging import EventKind

    said = [survey.tag.reason] if survey.tag.reason else []
    if label != survey.tag.label:
        said.insert(0, f"as the override says; {survey.tag.label} by its events")
    return {
        "Run": f"{survey.run:05d}",
        "Type": label,
        "Subruns": len(survey.subruns),
        "Start": None if survey.start is None else f"{survey.start:%Y-%m-%d %H:%M:%S}",
        **{kind.value.capitalize(): survey.counts.share(kind) for kind in EventKind},
        "Events": survey.counts.total,
        "Confidence": survey.tag.confidence,
        "Format": survey.data_format.partition(".")[0],
        "Remarks": "; ".join([*said, *survey.faults]) or None,
    }


def _percent(share: float) -> str:
    """Write a share; never more than it is: 99.99 % is not all."""
    return f"{int(share * 1000) / 10:.1f}%"


def _tell_choice(layout: Layout, runs: NightRuns, files: Iterable[RawFile]) -> None:
    """Say which runs calibrate the night, and where that is not plain how to choose others."""
    from osa.model.run import RunType
    from osa.nightsummary.plan import preview_choice

    try:
        choice = preview_choice(layout, runs, files)
    except InputError as error:
        note(str(error))
        return
    for line in choice.explanation:
        note(line)
    counts = [sum(entry.type is kind for entry in runs) for kind in (RunType.DRS4, RunType.CALIBRATION)]
    if counts != [1, 1] or None in (choice.drs4_run, choice.calibration_run):
        note(
            f"others are chosen by drs4_run, calibration_run, [types] and [leave out] in {layout.override}, "
            f"or by sequencer -d {layout.night.underscored} --drs4-run RUN --calibration-run RUN"
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    return run_command(_parser(), _command, argv)


if __name__ == "__main__":
    sys.exit(main())
