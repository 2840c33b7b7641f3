"""lstchain's run summary: columns, types and values as its readers want them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.table import Table

from osa.model.run import RunEntry
from osa.nightsummary.make import entries_of
from osa.nightsummary.nightsummary import format_night_summary
from osa.nightsummary.runsummary import format_run_summary
from osa.survey.run import ClockReference, RunSurvey
from osa.survey.tagging import RunLabel, Tag
from tests.survey.conftest import DRS4, START, event, mixed, write_raw

NIGHT = date(2020, 1, 27)
REFERENCE = ClockReference(
    subrun=0,
    event_id=1,
    ucts_ns=1580157904186709543,
    run_start_ns=1580157890000000000,
    module_id=262,
    module_index=2,
    dragon_ns=5186709300,
    tib_ns=5186708700,
)
SURVEY = RunSurvey(
    run=1874,
    subruns=(0, 1),
    tag=Tag(RunLabel.DATA, 1.0),
    start=START,
    data_format="ProtoR1.CameraEvent",
    reference=REFERENCE,
)


def summary(tmp_path: Path, *surveys: RunSurvey, runs: tuple[RunEntry, ...] | None = None) -> Table:
    """Write a run summary, and read it as lstchain does."""
    text = format_run_summary(
        entries_of(surveys) if runs is None else runs, {each.run: each for each in surveys}, NIGHT
    )
    path = tmp_path / "RunSummary.ecsv"
    path.write_text(text, "utf-8")
    return Table.read(path, format="ascii.ecsv")


def row(tmp_path: Path, survey: RunSurvey) -> dict[str, Any]:
    (only,) = summary(tmp_path, survey)
    return dict(only)


def test_columns_and_types(tmp_path: Path) -> None:
    """Those of the reader of ctapipe_io_lst, which takes the clock reference from here."""
    table = summary(tmp_path, SURVEY)
    assert {name: table[name].dtype.str for name in table.colnames if table[name].dtype.kind != "U"} == {
        "run_id": "<i8",
        "n_subruns": "<i8",
        "evb_preprocessing": "<i8",
        "ucts_timestamp": "<i8",
        "run_start": "<i8",
        "dragon_reference_time": "<i8",
        "dragon_reference_module_id": "<i2",
        "dragon_reference_module_index": "<i2",
        "dragon_reference_counter": "<u8",
    }
    assert table.meta["date"] == "2020-01-27"
    assert table.meta["lstchain_version"].startswith("0.12")


def test_values(tmp_path: Path) -> None:
    assert row(tmp_path, SURVEY) == {
        "run_id": 1874,
        "n_subruns": 2,
        "run_type": "DATA",
        "data_format": "ProtoR1.CameraEvent",
        "evb_preprocessing": 0,
        "ucts_timestamp": 1580157904186709543,
        "run_start": 1580157890000000000,
        "dragon_reference_time": 1580157904186709543,
        "dragon_reference_module_id": 262,
        "dragon_reference_module_index": 2,
        "dragon_reference_counter": 5186709300,
        "dragon_reference_source": "ucts",
    }


def test_ctapipe_io_lst_takes_its_reference_from_it(tmp_path: Path) -> None:
    from ctapipe_io_lst.event_time import read_run_summary

    summary(tmp_path, SURVEY)
    found = read_run_summary(tmp_path / "RunSummary.ecsv").loc[1874]
    assert found["dragon_reference_counter"] == 5186709300
    assert found["dragon_reference_time"] == 1580157904186709543


NONE = {
    "ucts_timestamp": -1,
    "run_start": -1,
    "dragon_reference_time": -1,
    "dragon_reference_module_id": -1,
    "dragon_reference_module_index": -1,
    "dragon_reference_counter": np.uint64(2**64 - 1),
    "dragon_reference_source": "None",
}


@pytest.mark.parametrize(
    "reference",
    [None, replace(REFERENCE, ucts_ns=None, event_id=2)],
)
def test_no_reference(tmp_path: Path, reference: ClockReference | None) -> None:
    found = row(tmp_path, replace(SURVEY, reference=reference, data_format="R1v1.Event"))
    assert {name: found[name] for name in NONE} == NONE


def test_start_of_the_run_stands_for_the_first_event(tmp_path: Path) -> None:
    found = row(tmp_path, replace(SURVEY, reference=replace(REFERENCE, ucts_ns=None)))
    assert (found["ucts_timestamp"], found["dragon_reference_source"]) == (-1, "run_start")
    assert found["dragon_reference_time"] == found["run_start"] == 1580157890000000000
    assert found["dragon_reference_counter"] == 5186709300


@pytest.mark.parametrize(
    ("label", "written"),
    [
        ("DRS4", "DRS4"),
        ("CALI", "PEDCALIB"),
        ("PEDCALIB", "PEDCALIB"),
        ("DATA", "DATA"),
        ("ERROR", "ERROR"),
        ("TEST", "ERROR"),
    ],
)
def test_types_are_named_as_lstchain_does(tmp_path: Path, label: str, written: str) -> None:
    (entry,) = entries_of([SURVEY])
    (found,) = summary(tmp_path, SURVEY, runs=(replace(entry, label=label),))
    assert found["run_type"] == written


def test_runs_are_in_order_of_their_numbers(tmp_path: Path) -> None:
    """The night summary has them by time."""
    later = replace(SURVEY, run=1870, start=START + timedelta(hours=1))
    assert [entry.run for entry in entries_of([later, SURVEY])] == [1874, 1870]
    assert list(summary(tmp_path, SURVEY, later)["run_id"]) == [1870, 1874]


@pytest.mark.parametrize("run", [1, 99_999, 123_456, 999_999_999])
def test_numbers_of_runs(tmp_path: Path, run: int) -> None:
    assert row(tmp_path, replace(SURVEY, run=run))["run_id"] == run


@pytest.mark.parametrize("ns", [1, 2**62, 2**63 - 1])
def test_times_are_whole_numbers(tmp_path: Path, ns: int) -> None:
    """A double would lose the nanoseconds."""
    found = row(tmp_path, replace(SURVEY, reference=replace(REFERENCE, ucts_ns=ns, dragon_ns=ns)))
    assert (found["ucts_timestamp"], found["dragon_reference_counter"]) == (ns, ns)


@pytest.mark.parametrize("data_format", ["EVBv5", "R1v1"])
def test_summaries_are_those_of_the_simulation(tmp_path: Path, data_format: str) -> None:
    """What it writes without looking at the files; and what is in them gives the same."""
    from osa.simulation.events import RawEvent
    from osa.simulation.plan import DataFormat, NightPlan, RunKind, RunPlan, make_plan
    from osa.simulation.summaries import write_night_summary, write_run_summary
    from osa.survey.surveyor import survey_run

    evening = datetime(2020, 1, 27, 19, tzinfo=UTC)
    pointing = make_plan().runs[-1].pointing
    kinds = {
        RunKind.DRS4: DRS4,
        RunKind.CALIBRATION: mixed(pedestal=80, flatfield=80),
        RunKind.DATA: mixed(physics=85, pedestal=7, flatfield=8),
    }
    plans = [
        RunPlan(1872, RunKind.DRS4, evening, 1, 500),
        RunPlan(1873, RunKind.CALIBRATION, evening + timedelta(minutes=10), 1, 160),
        RunPlan(1874, RunKind.DATA, evening + timedelta(minutes=20), 2, 100, pointing=pointing),
    ]
    firsts: dict[int, RawEvent] = {}
    surveys = []
    for plan in plans:
        paths = {}
        for subrun in range(plan.subruns):
            first_id = 1 + subrun * plan.events
            paths[subrun] = write_raw(
                tmp_path,
                plan.run,
                subrun,
                kinds[plan.kind],
                data_format=data_format,
                first_id=first_id,
                start=plan.start,
            )
        firsts[plan.run] = event(1, kinds[plan.kind][0], plan.start)
        surveys.append(survey_run(plan.run, paths))
    night = NightPlan(NIGHT, tuple(plans), data_format=DataFormat(data_format))
    write_night_summary(night, firsts, tmp_path / "night.txt")
    write_run_summary(night, firsts, tmp_path / "run.ecsv")
    runs = entries_of(surveys)
    assert format_night_summary(runs) == (tmp_path / "night.txt").read_text("ascii")
    by_run = {each.run: each for each in surveys}
    assert format_run_summary(runs, by_run, NIGHT) == (tmp_path / "run.ecsv").read_text("utf-8")
