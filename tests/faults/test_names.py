"""Job names and numbers that were used before: what counts is the night and the production."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from job_bench import GROUP, JobBench
from slurm_site import NAME, Site

from osa.model.job import JobGroup, JobSpec, JobState, Resources
from tests.faults.fault_night import FaultNight

YESTERDAY, OTHER_PRODUCTION = "LST1.20200126.v0.1.0", "LST1.20200127.v0.0.9"


@pytest.mark.fault(
    18,
    injected="jobs of yesterday and of another production under the names of tonight's",
    holds="G2 G3: neither waited for, nor taken as done, nor touched; all of tonight's are submitted",
)
@pytest.mark.parametrize("state", ["COMPLETED", "PENDING"])
def test_names_of_other_nights(fault_night: FaultNight, state: str) -> None:
    """Seen to fail: with records of scheduler/local_store.py telling of all nights (with yesterday's jobs
    pending nothing was submitted).
    """
    store, base = fault_night.store, fault_night.base
    for group in (YESTERDAY, OTHER_PRODUCTION):
        for name in ("LST1_01873", "LST1_01874", "LST1_01875"):
            what = Resources(1, 100, timedelta(hours=1))
            store.add(JobSpec(name, JobGroup(group, base), base / "nothing", base, what, (0, 1)), None)
    with closing(sqlite3.connect(store.path)) as connection:
        connection.execute("UPDATE tasks SET state = ?", (state,))
        connection.commit()
    before = [store.records(group) for group in (YESTERDAY, OTHER_PRODUCTION)]

    done = fault_night.run("sequencer")
    assert done.returncode == 0, done.stderr
    assert "submitted 3 task(s)" in done.stderr
    fault_night.assert_done_once()
    assert [store.records(group) for group in (YESTERDAY, OTHER_PRODUCTION)] == before


@pytest.mark.fault(
    18,
    injected="the newest job deleted from the database, with a job waiting for its number",
    holds="G3: no number is given twice",
)
def test_number_of_a_deleted_job(bench: JobBench) -> None:
    """Seen to fail: without AUTOINCREMENT in scheduler/local_store.py (the number was given again)."""
    first = bench.submit("LST1_01873")
    with closing(sqlite3.connect(bench.store.path)) as connection:
        connection.execute("DELETE FROM tasks")
        connection.execute("DELETE FROM jobs")
        connection.commit()
    assert int(bench.submit("LST1_01874")) > int(first)
    assert [record.name for record in bench.records()] == ["LST1_01874"]


@pytest.mark.fault(
    18,
    injected="a job of last month in Slurm's accounting with the number of tonight's, one of its name",
    holds="G3: told apart by name, folder and time of submission",
)
def test_number_and_name_used_before_in_slurm(site: Site, tmp_path: Path) -> None:
    """Seen to fail: with SAME_JOB of scheduler/slurm_states.py at 100 days (last month's try counted as
    tonight's).
    """
    ran = site.submit()
    with site.fake.state() as known:
        old = [task for task in known["tasks"] if task["job"] == ran]
        month = int((datetime.now(UTC) - timedelta(days=30)).timestamp())
        times = {"submitted": month, "started": month, "ended": month + 9, "in_queue": False}
        for task in old:
            same = {**task, **times, "state": "COMPLETED", "code": "0:0"}
            known["tasks"].append({**same, "name": NAME})
            known["tasks"].append({**same, "name": "someone_else"})
    assert {record.state for record in site.records()} == {JobState.PENDING}
    site.fake.drain()
    site.tidy()
    assert Counter(site.bench.attempts) == Counter([f"{NAME} 0 ran", f"{NAME} 1 ran"])
    assert all(replace(record).submitted.year >= 2026 for record in site.records())
    assert site.group.name == GROUP
