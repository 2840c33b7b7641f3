"""Time zones, changes of the clock, and a clock that is set back: UTC inside, the night explicit."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from job_bench import GROUP, JobBench
from night_states import CLOCK

from osa.model.job import JobState
from osa.model.night import Night
from osa.nightstate import read_night_state
from osa.nightsummary.plan import plan_night
from osa.scheduler import local_store
from osa.steps.history import HistoryRecord, append_record, read_history
from tests.faults.fault_night import FaultNight

ZONES = ["UTC", "Atlantic/Canary", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Asia/Kathmandu", "XYZ+25:59"]
TASK = ("--drs4-run=1872", "--calibration-run=1873", "01875.0000")


@pytest.mark.fault(
    24,
    injected="sequencer in six time zones",
    holds="the same night, the same table, to the letter",
)
def test_table_in_every_zone(fault_night: FaultNight) -> None:
    """Seen to fail: with start times taken as local in nightsummary/nightsummary.py (an unexpected error
    in the most western of the zones).
    """
    fault_night.layout.target_log.write_text("1580157800 TrackStart 83.6 22.0 Crab\n")
    said = [fault_night.run("sequencer", "-s", "--json", environment={"TZ": zone}).stdout for zone in ZONES]
    assert len(set(said)) == 1
    shown = json.loads(said[0])
    assert shown["night"] == "2020-01-27"
    assert [row["Source"] for row in shown["sequences"]] == [None, "Crab", "Crab"]


@pytest.mark.fault(
    24,
    injected="tasks and closer fourteen hours east and eleven hours west of Greenwich",
    holds="times in histories and in NightFinished.txt are UTC; what one zone did counts in another",
)
def test_times_are_universal(fault_night: FaultNight) -> None:
    """Seen to fail: with clock.astimezone() for UTC in steps/history.py, and in closing/finish.py
    (fourteen hours ahead).
    """
    east, west = {"TZ": "Pacific/Kiritimati"}, {"TZ": "Pacific/Pago_Pago"}
    begun = datetime.now(UTC) - timedelta(seconds=1)
    assert fault_night.run("datasequence", *TASK, environment=east).returncode == 0
    assert fault_night.run("sequencer", environment=west).returncode == 0
    fault_night.assert_done_once()
    assert fault_night.run("closer", "-y", environment=east).returncode == 0
    ended = datetime.now(UTC)
    for which in ((1875, 0), (1874, 0)):
        for record in read_history(fault_night.layout.history(*which)):
            assert begun <= record.when <= ended
    for task in fault_night.store.records(GROUP):
        assert begun <= task.submitted <= ended
    finished = fault_night.layout.night_finished.read_text().splitlines()[0]
    stamp = datetime.strptime(finished.partition("=")[2], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    assert begun <= stamp <= ended


@pytest.mark.fault(
    24,
    injected="every hour of the days on which the clocks of the site change",
    holds="the night without -d changes once a day, at the configured hour UTC",
)
@pytest.mark.parametrize("zone", ["Atlantic/Canary", "America/New_York"])
def test_night_at_changes_of_the_clock(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    """Seen to fail: with now.astimezone() for UTC in Night.current of model/night.py (it changed at
    another hour).
    """
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    request.addfinalizer(time.tzset)
    for day in (datetime(2026, 3, 28, tzinfo=UTC), datetime(2026, 10, 24, tzinfo=UTC)):
        nights = [Night.current(day + timedelta(hours=hour), timedelta(hours=16)) for hour in range(16, 64)]
        assert nights == [Night(day.date())] * 24 + [Night((day + timedelta(days=1)).date())] * 24


@pytest.mark.fault(
    24,
    injected="midnight, and the end of a year, while a night is worked on",
    holds="jobs keep the night that they were made for",
)
def test_scripts_name_the_night(fault_night: FaultNight) -> None:
    """Seen to fail: without --date in job_script of job.py (code 1)."""
    assert fault_night.run("sequencer").returncode == 0
    for script in fault_night.layout.analysis_dir.glob("sequence_*.py"):
        assert "'--date=2020_01_27'" in script.read_text()


@pytest.mark.fault(
    24,
    injected="the clock set back by hours between tries, in histories",
    holds="the order of the lines counts, not their times",
)
@pytest.mark.parametrize("codes", [(1, 0), (0, 1)])
def test_history_with_the_clock_set_back(fault_night: FaultNight, codes: tuple[int, int]) -> None:
    """Seen to fail: with the lines sorted by their time in steps/progress.py (the try before the last one
    counted).
    """
    fault_night.finish()
    layout = fault_night.layout
    for hours, code in zip((20, 3), codes, strict=True):
        what = {"program": "lstchain_dl1_to_dl2", "prod_id": layout.settings.production.dl2_prod_id}
        clock = CLOCK + timedelta(hours=hours)
        record = HistoryRecord.now(1874, 0, **what, input="input", card="card", return_code=code, clock=clock)  # type: ignore[arg-type]
        append_record(layout.history(1874, 0), record)
    states = read_night_state(layout, plan_night(layout), ())
    todo = Counter({state.sequence.run: len(state.todo) for state in states})
    assert todo[1874] == codes[-1]
    assert (todo[1873], todo[1875]) == (0, 0)


@pytest.mark.fault(
    24,
    injected="the clock set back by a day between two jobs, and while a task runs",
    holds="G2 G3: the later job is the later try, no task is lost or begun twice, no negative room",
)
def test_jobs_with_the_clock_set_back(bench: JobBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen to fail: with records of scheduler/local_store.py in the order of submission times (the states
    of older tries were told).
    """
    now: Callable[[], float] = local_store._now
    bench.submit("LST1_01874", "sys.exit(1)", tasks=(0, 1))
    assert bench.run()
    monkeypatch.setattr(local_store, "_now", lambda: now() - 86400)
    bench.submit("LST1_01874", tasks=(0,))
    assert [r.state for r in bench.records() if r.state.is_live] == [JobState.PENDING]
    assert bench.run()
    assert bench.attempts == ["LST1_01874 0 ran"]
    assert bench.states() == {("LST1_01874", 0): JobState.COMPLETED, ("LST1_01874", 1): JobState.FAILED}
    monkeypatch.setattr(local_store, "_now", lambda: now() - 2 * 86400)
    assert [record.state for record in bench.scheduler.tidy(bench.group(), ["LST1_01874"])] == [
        JobState.FAILED,
        JobState.FAILED,
        JobState.COMPLETED,
    ]
