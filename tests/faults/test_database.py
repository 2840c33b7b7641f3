"""The local backend's file of jobs, locked by somebody else for longer than a command waits."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from contextlib import closing

import pytest
from job_bench import wait_until

from tests.faults.fault_night import FaultNight, Order

IMPATIENT: Order = {"target": "osa.scheduler.local_store:_BUSY_SECONDS", "action": "set", "value": 0.5}


@pytest.mark.fault(
    29,
    injected="the database of jobs locked while a command submits, looks, closes",
    holds="G3 G4: a clear message and code 1, nothing lost, the next run does all",
)
@pytest.mark.parametrize("command", ["sequencer", "closer"])
def test_database_locked(fault_night: FaultNight, command: str) -> None:
    """Seen to fail: with _transaction of scheduler/local_store.py raising SQLite's own error (an
    unexpected one, without the path).
    """
    store = fault_night.store
    store.bury("any")
    with store._transaction():
        pass
    with closing(sqlite3.connect(store.path, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        begun = time.monotonic()
        code, said = fault_night.run_tampered(command, orders=[IMPATIENT])
        assert time.monotonic() - begun < 15
        assert (code, "database is locked" in said) == (1, True), said
        assert str(store.path) in said
    assert fault_night.attempts == Counter()
    assert fault_night.run("sequencer").returncode == 0
    fault_night.assert_done_once()


@pytest.mark.fault(
    29,
    injected="the database of jobs locked while tasks run",
    holds="G2 G4: the tasks end with whoever runs them, the next sequencer does what is left",
)
def test_database_locked_while_tasks_run(fault_night: FaultNight) -> None:
    """Seen to fail: with _transaction of scheduler/local_store.py raising SQLite's own error (the command
    called it unexpected).
    """
    what = fault_night.hold("r0_to_dl1", 1874, 0, 0.5)
    sequencer = fault_night.start("sequencer", tampered=[IMPATIENT])
    task = fault_night.wait_for_held(what)
    with closing(sqlite3.connect(fault_night.store.path, isolation_level=None, timeout=20)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        said, _ = sequencer.communicate(timeout=30)
        assert sequencer.returncode == 1
        assert "database is locked" in said
        assert "Traceback" not in said
        assert "unexpected" not in said
        wait_until(lambda: not task.is_running() or task.status() == "zombie", "the task ends")
    before = fault_night.attempts
    assert fault_night.run("sequencer").returncode == 0
    assert all(fault_night.products().values())
    assert fault_night.leftovers() == []
    assert fault_night.attempts[what] == 2
    assert all(count <= 1 + before[name] for name, count in fault_night.attempts.items())
