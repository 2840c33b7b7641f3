"""Runs, sequences and jobs of a night in the index."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from night_states import SUBMITTED, calibration_sequence, data_sequence, night_plan, record, sequence_state
from sqlalchemy import Connection, select

from osa.database.schema import jobs, nights, runs, sequences
from osa.database.state import ingest_state
from osa.database.upsert import Changes
from osa.layout import Layout
from osa.model.job import UNCONFIRMED, JobState
from osa.model.sequence import SkippedRun

PLAN = replace(
    night_plan(calibration_sequence(), data_sequence(1874), data_sequence(1875)),
    skipped=(SkippedRun(1880, "ERROR", "is of no use"),),
)


def rows(connection: Connection, *columns: Any) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in connection.execute(select(*columns).order_by(*columns))]


@pytest.fixture
def states() -> list[Any]:
    tries = [
        record(task=0, state=JobState.FAILED, started=1.5, ended=20.25, exit_code=1, host="cp01", cpu=9.5),
        record(task=0, state=JobState.RUNNING, started=30),
        record(task=1, state=JobState.PENDING),
    ]
    return [
        sequence_state(PLAN.sequences[0], records=[record("LST1_01873", None, exit_code=0)], closed=True),
        sequence_state(PLAN.sequences[1], records=tries, vetoed=True),
        sequence_state(PLAN.sequences[2]),
    ]


def test_a_night_is_told_with_its_jobs(connection: Connection, layout: Layout, states: list[Any]) -> None:
    changes = ingest_state(connection, layout, PLAN, states)

    assert changes == Changes(inserted=1 + 4 + 3 + 4)
    prod_id = layout.settings.production.prod_id
    assert rows(connection, nights.c.telescope, nights.c.night, nights.c.prod_id) == [
        ("LST1", "2020-01-27", prod_id)
    ]
    assert rows(connection, runs.c.number, runs.c.kind, runs.c.n_subruns, runs.c.source) == [
        (1873, "CALIBRATION", 1, None),
        (1874, "DATA", 3, "Crab"),
        (1875, "DATA", 3, "Crab"),
        (1880, "ERROR", None, None),
    ]
    names = ("name", "number", "parent", "drs4_run", "state", "is_closed", "is_vetoed")
    assert rows(connection, *(sequences.c[name] for name in names)) == [
        ("LST1_01873", 0, None, 1872, "COMPLETED", True, False),
        ("LST1_01874", 1, 0, 1872, "RUNNING", False, True),
        ("LST1_01875", 2, 0, 1872, None, False, False),
    ]
    told = rows(connection, jobs.c.id, jobs.c.task, jobs.c.ordinal, jobs.c.state)
    assert sorted(row[1:] for row in told if row[1] is not None) == [
        (0, 0, "FAILED"),
        (0, 1, "RUNNING"),
        (1, 0, "PENDING"),
    ]
    failed = connection.execute(select(jobs).where(jobs.c.state == "FAILED")).one()
    assert failed.started == SUBMITTED + timedelta(seconds=1.5)
    assert failed.ended == SUBMITTED + timedelta(seconds=20.25)
    assert (failed.exit_code, failed.host, failed.cpu_seconds) == (1, "cp01", 9.5)


def test_twice_the_same_changes_nothing(connection: Connection, layout: Layout, states: list[Any]) -> None:
    ingest_state(connection, layout, PLAN, states)
    assert not ingest_state(connection, layout, PLAN, states)


def test_what_has_changed_is_updated(connection: Connection, layout: Layout, states: list[Any]) -> None:
    ingest_state(connection, layout, PLAN, states)
    before = states[1].records
    now = (before[0], replace(before[1], state=JobState.COMPLETED, exit_code=0), before[2])
    states[1] = replace(states[1], records=now)

    changes = ingest_state(connection, layout, PLAN, states)

    assert changes == Changes(updated=2)  # the try of the job, and the state of the sequence
    # What the scheduler has forgotten is still known.
    states[1] = replace(states[1], records=now[1:])
    ingest_state(connection, layout, PLAN, states)
    assert len(rows(connection, jobs.c.id)) == 4


def test_what_is_not_planned_any_more_goes(connection: Connection, layout: Layout, states: list[Any]) -> None:
    ingest_state(connection, layout, PLAN, states)
    other = replace(layout, night=replace(layout.night, date=layout.night.date + timedelta(days=1)))
    ingest_state(connection, other, PLAN, states)

    plan = night_plan(PLAN.sequences[1])
    changes = ingest_state(connection, layout, plan, states)

    assert changes == Changes(removed=3)
    assert sorted(number for (number,) in rows(connection, runs.c.number)) == [
        1873, 1874, 1874, 1875, 1880,
    ]  # fmt: skip
    assert len(rows(connection, jobs.c.id)) == 3 + 4


def test_a_job_that_turns_out_to_have_a_number_is_there_once(connection: Connection, layout: Layout) -> None:
    for job_id in (UNCONFIRMED, "17"):
        state = sequence_state(PLAN.sequences[1], records=[record(job_id=job_id)])
        ingest_state(connection, layout, PLAN, [state])
    assert rows(connection, jobs.c.job_id) == [("17",)]
