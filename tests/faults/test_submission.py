"""Sequencers that die, that come at the same time, and locks that they leave behind."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from fake_slurm import FakeSlurm
from job_bench import GROUP, JobBench

from osa.model.job import JobState
from osa.system.processes import start_time
from tests.faults.fault_night import FaultNight, Order

NAMES = ("LST1_01874", "LST1_01875")
STORE = "osa.scheduler.local_store"
SLURM = {
    "record": "osa.scheduler.submissions:Submissions.add",
    "call": "osa.scheduler.slurm_calls:SlurmCalls.sbatch",
    "reply": "osa.scheduler.submissions:Submissions.update",
}
NO_LOCK: Order = {"target": "osa.system.locks:only_instance", "action": "no lock"}


def jobs(night: FaultNight) -> Counter[str]:
    """How many jobs of each name the local backend has ever had."""
    with closing(sqlite3.connect(night.store.path)) as connection:
        return Counter(name for (name,) in connection.execute("SELECT name FROM jobs"))


@pytest.mark.fault(
    2,
    injected="sequencer killed before, within and after the record of each local submission",
    holds="G2 G4: one job a sequence, each step begun once",
)
@pytest.mark.parametrize(
    ("target", "when", "nth"),
    [("LocalStore.add", "before", 2), ("_now", "before", 2), ("LocalStore.add", "after", 1)],
    ids=["before the record", "within it", "after it"],
)
def test_sequencer_dies_between_local_submissions(
    fault_night: FaultNight, target: str, when: str, nth: int
) -> None:
    """Seen to fail: with live tasks not left alone in decision.py (the next sequencer submitted them again
    and was refused, code 1).
    """
    order = {"target": f"{STORE}:{target}", "action": f"kill {when}", "nth": nth}
    code, _ = fault_night.run_tampered("sequencer", orders=[order])
    assert code == -9
    assert jobs(fault_night) == {NAMES[0]: 1}
    assert fault_night.attempts == Counter()

    again = fault_night.run("sequencer")
    assert again.returncode == 0, again.stderr
    assert jobs(fault_night) == dict.fromkeys(NAMES, 1)
    fault_night.assert_done_once()


@pytest.fixture
def fake(tmp_path: Path) -> FakeSlurm:
    return FakeSlurm.install(tmp_path / "slurm")


def let_intents_age(night: FaultNight) -> None:
    """Have the notes be of a quarter of an hour before."""
    for path in night.layout.group.submissions.glob("*.json"):
        document = json.loads(path.read_text())
        path.write_text(json.dumps({**document, "intended": document["intended"] - 900}))


@pytest.mark.fault(
    2,
    injected="sequencer killed before and after note, sbatch and reply of each submission to Slurm",
    holds="G2 G4: the intent is noted first, the job is found by its name, one job a sequence",
)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("point", SLURM)
def test_sequencer_dies_between_submissions_to_slurm(
    fault_night: FaultNight, fake: FakeSlurm, point: str, when: str
) -> None:
    """Seen to fail: with squeue and sacct of scheduler/slurm_calls.py answering nothing (the job of a lost
    reply was not found, a second one was made).
    """
    order = {"target": SLURM[point], "action": f"kill {when}", "nth": 2}
    slurm = {"PATH": fake.environment["PATH"]}
    code, _ = fault_night.run_tampered("sequencer", "--backend=slurm", orders=[order], environment=slurm)
    assert code == -9
    noted = len(list(fault_night.layout.group.submissions.glob("*.json")))
    assert noted >= sum(len(fake.jobs(name)) for name in NAMES)

    fault_night.run("sequencer", "--backend=slurm", environment=slurm)
    let_intents_age(fault_night)
    again = fault_night.run("sequencer", "--backend=slurm", environment=slurm)
    assert again.returncode == 0, again.stderr
    assert [len(fake.jobs(name)) for name in NAMES] == [1, 1]


# ------------------------------------------------------------------------------ at the same time


@pytest.mark.fault(
    3,
    injected="three sequencers that decide at the same moment, without the lock of the night",
    holds="G2: the unique key of the table lets one submit, each step begun once",
)
def test_sequencers_at_once_without_lock(fault_night: FaultNight, tmp_path: Path) -> None:
    """Seen to fail: with one_live_try of scheduler/local_store.py as an index that is not unique (three
    jobs of each run).
    """
    together = {"action": "meet", "folder": str(tmp_path / "meeting"), "count": 3}
    orders = [NO_LOCK, {"target": f"{STORE}:LocalStore.add", **together}]
    started = [fault_night.start("sequencer", tampered=orders) for _ in range(3)]
    said = [process.communicate(timeout=60)[0] for process in started]
    assert all("Traceback" not in text for text in said), said
    assert {process.returncode for process in started} <= {0, 1, 4}
    last = fault_night.run("sequencer")
    assert last.returncode == 0, last.stderr
    assert jobs(fault_night) == dict.fromkeys(NAMES, 1)
    fault_night.assert_done_once()


@pytest.mark.fault(
    3,
    injected="three sequencers at the lock of the night at the same moment",
    holds="G2: one works, the others end with code 4 and name it; each step begun once",
)
def test_sequencers_at_once(fault_night: FaultNight, tmp_path: Path) -> None:
    """Seen to fail: without lock.acquire in system/locks.py (codes 1 and not 4: all went in)."""
    together = {"action": "meet", "folder": str(tmp_path / "meeting"), "count": 3}
    orders = [{"target": "osa.nightsummary.plan:plan_night", **together}]
    slow = {"target": f"{STORE}:LocalStore.add", "action": "meet", "folder": str(tmp_path / "in lock")}
    started = [fault_night.start("sequencer", tampered=[*orders, {**slow, "count": 2}]) for _ in range(3)]
    losers = []
    while len(losers) < 2:
        losers = [process for process in started if process.poll() is not None]
    assert [process.returncode for process in losers] == [4, 4]
    (winner,) = set(started) - set(losers)
    (tmp_path / "in lock").mkdir(exist_ok=True)
    (tmp_path / "in lock" / "test").touch()
    for process in losers:
        assert "already at work" in process.communicate()[0]
    winner.communicate(timeout=60)
    assert winner.returncode == 0
    assert jobs(fault_night) == dict.fromkeys(NAMES, 1)
    fault_night.assert_done_once()


@pytest.mark.fault(
    3,
    injected="two sequencers for Slurm that decide at the same moment, without the lock of the night",
    holds="G2: the note can be made once, one job a sequence",
)
def test_sequencers_at_once_for_slurm(fault_night: FaultNight, fake: FakeSlurm, tmp_path: Path) -> None:
    """Seen to fail: with os.replace for os.link in create_text of system/files.py (two jobs of each run)."""
    slurm = {"PATH": fake.environment["PATH"]}
    together = {"action": "meet", "folder": str(tmp_path / "meeting"), "count": 2}
    orders = [NO_LOCK, {"target": SLURM["record"], **together}]
    started = [
        fault_night.start("sequencer", "--backend=slurm", tampered=orders, environment=slurm)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=60)[0] for process in started]
    assert all("Traceback" not in text for text in said), said
    fault_night.run("sequencer", "--backend=slurm", environment=slurm)
    assert [len(fake.jobs(name)) for name in NAMES] == [1, 1]


# ---------------------------------------------------------------------------------------- locks


@pytest.mark.fault(
    4,
    injected="sequencer killed while it holds the lock of the night",
    holds="G4: the kernel drops the lock, the next sequencer does all",
)
def test_lock_of_a_killed_sequencer(fault_night: FaultNight) -> None:
    """Seen to fail: with path.touch(exist_ok=False) for lock.acquire in system/locks.py (a lock by the
    mere file stayed for good, code 1).
    """
    order = {"target": f"{STORE}:LocalStore.add", "action": "kill before"}
    assert fault_night.run_tampered("sequencer", orders=[order])[0] == -9
    assert fault_night.layout.night_lock.exists()
    assert fault_night.run("sequencer").returncode == 0
    fault_night.assert_done_once()


HOLD = """
import sys
from pathlib import Path
from osa.system.locks import only_instance
with only_instance(Path(sys.argv[1]), "the night"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.fault(
    4,
    injected="files of a lock that name a dead process, a living one of that number, another host",
    holds="G2 G4: who is named does not matter, only who holds it does",
)
@pytest.mark.parametrize("named", ["dead", "reused", "other host"])
@pytest.mark.parametrize("is_held", [False, True])
def test_words_in_a_lock_are_no_lock(fault_night: FaultNight, named: str, is_held: bool) -> None:
    """Seen to fail: with filelock.SoftFileLock in system/locks.py (the file that lay there was taken for a
    lock).
    """
    pid = {"dead": 4_000_000, "reused": os.getpid(), "other host": 1}[named]
    host = "elsewhere" if named == "other host" else socket.gethostname()
    lock = fault_night.layout.night_lock
    lock.touch()
    command = [sys.executable, "-c", HOLD, str(lock)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=fault_night.environment
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        if not is_held:
            holder.communicate()
        lock.with_name(lock.name + ".holder").write_text(f"process {pid} on {host}\n")
        code = fault_night.run("sequencer").returncode
        if is_held:
            holder.communicate()
    assert code == (4 if is_held else 0)
    assert fault_night.attempts == Counter([] if is_held else fault_night.steps())


@pytest.mark.fault(
    4,
    injected="an executor and a running task whose process is gone, or whose number is another's",
    holds="G2 G3: given up only where number and start time do not fit a living process",
)
@pytest.mark.parametrize("who", ["dead", "reused", "alive"])
def test_process_numbers_in_the_table(bench: JobBench, who: str) -> None:
    """Seen to fail: without the start time in is_alive of system/processes.py (another's process of that
    number counted as the task).
    """
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        started = start_time(process.pid)
        assert started is not None
        if who == "dead":
            process.communicate(b"\n")
        noted = (process.pid, started - (100.0 if who == "reused" else 0.0))
        bench.submit("LST1_01874", tasks=(0,))
        with closing(sqlite3.connect(bench.store.path)) as connection:
            connection.execute("INSERT INTO executors VALUES (?, ?, ?)", (GROUP, *noted))
            connection.execute("UPDATE tasks SET state = 'RUNNING', pid = ?, pid_started = ?", noted)
            connection.commit()
        (record,) = bench.scheduler.tidy(bench.group(), ["LST1_01874"])
        if who == "alive":
            assert record.state is JobState.RUNNING
            assert not bench.run()
        else:
            assert record.state is JobState.NODE_FAIL
            bench.submit("LST1_01874", tasks=(0,))
            assert bench.run()
        assert bench.attempts == ([] if who == "alive" else ["LST1_01874 0 ran"])
        assert who == "dead" or process.poll() is None
        process.communicate(b"\n" if who != "dead" else None)
