"""Jobs of the local backend and their states, in an SQLite file.

The file is the only thing that the commands which submit, run and look at jobs share; each of
its transactions is whole or not at all, whatever kills them. That a task has at most one live
try is a constraint of the table, not a matter of locks.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from osa.errors import AnotherInstanceError, OsaError, ParentGoneError
from osa.model.job import NEVER, JobSpec, JobState, Resources, TaskRecord
from osa.scheduler.capacity import Capacity
from osa.system.processes import is_alive, start_time

__all__ = ["LocalStore", "PendingTask"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    night TEXT NOT NULL,
    script TEXT NOT NULL,
    log_dir TEXT NOT NULL,
    after INTEGER REFERENCES jobs (id),
    cpus INTEGER NOT NULL,
    memory INTEGER NOT NULL,
    walltime REAL NOT NULL,
    submitted REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS jobs_of_night ON jobs (night);
CREATE TABLE IF NOT EXISTS tasks (
    job INTEGER NOT NULL REFERENCES jobs (id),
    night TEXT NOT NULL,
    name TEXT NOT NULL,
    task INTEGER NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL DEFAULT '',
    pid INTEGER,
    pid_started REAL,
    host TEXT,
    started REAL,
    ended REAL,
    exit_code INTEGER,
    cpu_seconds REAL NOT NULL DEFAULT 0,
    PRIMARY KEY (job, task)
);
CREATE UNIQUE INDEX IF NOT EXISTS one_live_try ON tasks (night, name, task)
    WHERE state IN ('PENDING', 'RUNNING');
CREATE TABLE IF NOT EXISTS executors (
    night TEXT PRIMARY KEY,
    pid INTEGER NOT NULL,
    pid_started REAL NOT NULL
);
"""
_TO_BE_ENDED = "to be ended"
# A job that is no array has one task with this index.
_NO_ARRAY = -1
_BUSY_SECONDS = 30.0


@dataclass(frozen=True)
class PendingTask:
    """A task that was given to an executor to be started."""

    job_id: int
    task: int | None
    name: str
    script: Path
    log_dir: Path
    resources: Resources


def _now() -> float:
    return datetime.now(UTC).timestamp()


def _time(stamp: float | None) -> datetime | None:
    return None if stamp is None else datetime.fromtimestamp(stamp, UTC)


class LocalStore:
    """The file of jobs; opened anew for each operation.

    Parameters
    ----------
    state_dir : pathlib.Path
        Folder of the file; made when the first job is submitted.
    """

    def __init__(self, state_dir: Path) -> None:
        self.path = state_dir / "jobs.sqlite"

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with closing(sqlite3.connect(self.path, timeout=_BUSY_SECONDS)) as connection:
                connection.isolation_level = None
                connection.execute("BEGIN IMMEDIATE")
                try:
                    for statement in _SCHEMA.split(";"):
                        connection.execute(statement)
                    yield connection
                except BaseException:
                    if connection.in_transaction:  # a full disk has ended it already
                        connection.execute("ROLLBACK")
                    raise
                connection.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.IntegrityError):
                raise
            raise OsaError(f"{self.path}: {error}") from error

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection | None]:
        """Open the file to read it; None where no job was ever submitted.

        Makes no file. It is not opened read-only: what a killed writer left half done would then
        not be undone, and the file not be readable.
        """
        if not self.path.exists():
            yield None
            return
        uri = f"{self.path.absolute().as_uri()}?mode=rw"
        try:
            with closing(sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS)) as connection:
                # One moment for all: nobody's changes are committed until this is closed.
                connection.execute("BEGIN")
                made = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'tasks'").fetchone()
                yield connection if made else None
        except sqlite3.DatabaseError as error:
            raise OsaError(f"{self.path}: {error}") from error

    # ------------------------------------------------------------------ for everybody

    def add(self, job: JobSpec, after: str | None) -> str:
        """Add a job with all its tasks pending, or nothing at all."""
        tasks = job.tasks or (_NO_ARRAY,)
        try:
            with self._transaction() as connection:
                known = connection.execute("SELECT 1 FROM jobs WHERE id = ?", (after,)).fetchone()
                if after is not None and not known:
                    raise ParentGoneError(f"{job.name}: it has to wait for job {after}, which nobody knows")
                cursor = connection.execute(
                    "INSERT INTO jobs (name, night, script, log_dir, after, cpus, memory, walltime,"
                    " submitted) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        job.name,
                        job.group.name,
                        str(job.script),
                        str(job.log_dir),
                        None if after is None else int(after),
                        job.resources.cpus,
                        job.resources.memory,
                        job.resources.walltime.total_seconds(),
                        _now(),
                    ),
                )
                connection.executemany(
                    "INSERT INTO tasks (job, night, name, task, state) VALUES (?, ?, ?, ?, 'PENDING')",
                    [(cursor.lastrowid, job.group.name, job.name, task) for task in tasks],
                )
                return str(cursor.lastrowid)
        except sqlite3.IntegrityError:
            raise AnotherInstanceError(f"{job.name}: a task of it is pending or running already") from None

    def records(self, night: str) -> tuple[TaskRecord, ...]:
        """Tell of all tasks of a night; writes nothing.

        A task whose process is gone, although nobody recorded its end, is NODE_FAIL.
        """
        with self._reading() as connection:
            if connection is None:
                return ()
            served = self._executor(connection, night) is not None
            connection.row_factory = sqlite3.Row
            rows = connection.execute(
                "SELECT tasks.*, jobs.submitted, EXISTS (SELECT 1 FROM tasks AS before"
                "   WHERE before.job = jobs.after AND before.state != 'COMPLETED') AS waits"
                " FROM tasks JOIN jobs ON jobs.id = tasks.job"
                " WHERE tasks.night = ? ORDER BY tasks.job, tasks.task",
                (night,),
            ).fetchall()
            return tuple(_record(row, served) for row in rows)

    def cancel(self, night: str, names: Iterable[str]) -> int:
        """Cancel pending tasks of some jobs, and mark the running ones for their executor.

        Returns
        -------
        int
            Number of tasks.
        """
        count = 0
        with self._transaction() as connection:
            served = self._executor(connection, night) is not None
            for name in names:
                count += connection.execute(
                    "UPDATE tasks SET state = 'CANCELLED', reason = 'by sequencer --cancel', ended = ?"
                    " WHERE night = ? AND name = ? AND state = 'PENDING'",
                    (_now(), night, name),
                ).rowcount
                if served:
                    count += connection.execute(
                        "UPDATE tasks SET reason = ? WHERE night = ? AND name = ? AND state = 'RUNNING'",
                        (_TO_BE_ENDED, night, name),
                    ).rowcount
        return count

    def to_be_ended(self, night: str) -> frozenset[tuple[int, int | None]]:
        """List running tasks that somebody wants to have ended: job and task."""
        with self._reading() as connection:
            rows = (
                []
                if connection is None
                else connection.execute(
                    "SELECT job, task FROM tasks WHERE night = ? AND state = 'RUNNING' AND reason = ?",
                    (night, _TO_BE_ENDED),
                ).fetchall()
            )
        return frozenset((job, None if task == _NO_ARRAY else task) for job, task in rows)

    def bury(self, night: str) -> None:
        """Record the end of tasks that nobody runs any more, so that they can be submitted again."""
        if not self.path.exists():
            return
        with self._transaction() as connection:
            if self._executor(connection, night) is not None:
                return
            rows = connection.execute(
                "SELECT job, task, pid, pid_started FROM tasks WHERE night = ? AND state = 'RUNNING'",
                (night,),
            ).fetchall()
            gone = [(_now(), job, task) for job, task, pid, started in rows if not is_alive(pid, started)]
            connection.executemany(
                "UPDATE tasks SET state = 'NODE_FAIL', reason = 'whoever ran it ended before it', ended = ?"
                " WHERE job = ? AND task = ?",
                gone,
            )

    def executor(self, night: str) -> int | None:
        """Tell the process that runs a night's tasks, where there is one."""
        with self._reading() as connection:
            return None if connection is None else self._executor(connection, night)

    @staticmethod
    def _executor(connection: sqlite3.Connection, night: str) -> int | None:
        row = connection.execute(
            "SELECT pid, pid_started FROM executors WHERE night = ?", (night,)
        ).fetchone()
        return row[0] if row and is_alive(row[0], row[1]) else None

    # ------------------------------------------------------------------ for executors

    def enter(self, night: str, pid: int) -> bool:
        """Become the one that runs a night's tasks; False where another is."""
        with self._transaction() as connection:
            present = self._executor(connection, night)
            if present is not None and present != pid:
                return False
            started = start_time(pid)
            connection.execute(
                "INSERT OR REPLACE INTO executors (night, pid, pid_started) VALUES (?, ?, ?)",
                (night, pid, started),
            )
            return True

    def leave(self, night: str, pid: int) -> bool:
        """Stop being it, unless there is work left.

        Returns
        -------
        bool
            False where tasks were added meanwhile, which then are still to be run.
        """
        with self._transaction() as connection:
            (left,) = connection.execute(
                "SELECT count(*) FROM tasks WHERE night = ? AND state IN ('PENDING', 'RUNNING')",
                (night,),
            ).fetchone()
            if left:
                return False
            connection.execute("DELETE FROM executors WHERE night = ? AND pid = ?", (night, pid))
            return True

    def abandon(self, night: str, pid: int, reason: str) -> None:
        """Cancel what is left of a night and stop being the one that runs it."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE tasks SET state = 'CANCELLED', reason = ?, ended = ?"
                " WHERE night = ? AND state IN ('PENDING', 'RUNNING')",
                (reason, _now(), night),
            )
            connection.execute("DELETE FROM executors WHERE night = ? AND pid = ?", (night, pid))

    def orphans(self, night: str) -> list[tuple[int, int, int, float]]:
        """List running tasks of an earlier executor: job, task, process and its start."""
        with self._transaction() as connection:
            return connection.execute(
                "SELECT job, task, pid, pid_started FROM tasks WHERE night = ? AND state = 'RUNNING'",
                (night,),
            ).fetchall()

    def cancel_impossible(self, night: str) -> None:
        """Cancel tasks whose job waits for one that can no longer succeed."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE tasks SET state = 'CANCELLED', reason = ?, ended = ?"
                " WHERE night = ? AND state = 'PENDING' AND job IN ("
                "   SELECT jobs.id FROM jobs JOIN tasks AS before ON before.job = jobs.after"
                "   WHERE before.state NOT IN ('PENDING', 'RUNNING', 'COMPLETED'))",
                (NEVER, _now(), night),
            )

    def cancel_too_large(self, night: str, capacity: Capacity) -> None:
        """Cancel tasks for which there never is room, or their executor would wait for ever."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE tasks SET state = 'CANCELLED', reason = 'needs more than this machine gives',"
                " ended = ? WHERE night = ? AND state = 'PENDING' AND job IN ("
                "   SELECT id FROM jobs WHERE cpus > ? OR memory > ?)",
                (_now(), night, capacity.cores, capacity.memory),
            )

    def claim(self, night: str, capacity: Capacity, host: str) -> PendingTask | None:
        """Take the next task that may start and for which there is room.

        Room is what the running tasks of all nights leave. The task is RUNNING from here on; its
        process is told with :meth:`started`.
        """
        with self._transaction() as connection:
            connection.row_factory = sqlite3.Row
            cores, memory = _used(connection)
            row = connection.execute(
                "SELECT tasks.task, jobs.* FROM tasks JOIN jobs ON jobs.id = tasks.job"
                " WHERE tasks.night = ? AND tasks.state = 'PENDING'"
                " AND jobs.cpus <= ? AND jobs.memory <= ?"
                " AND NOT EXISTS (SELECT 1 FROM tasks AS before WHERE before.job = jobs.after"
                "   AND before.state != 'COMPLETED')"
                " ORDER BY tasks.job, tasks.task LIMIT 1",
                (night, capacity.cores - cores, capacity.memory - memory),
            ).fetchone()
            if row is None:
                return None
            connection.execute(
                "UPDATE tasks SET state = 'RUNNING', started = ?, host = ? WHERE job = ? AND task = ?",
                (_now(), host, row["id"], row["task"]),
            )
        return PendingTask(
            job_id=row["id"],
            task=None if row["task"] == _NO_ARRAY else row["task"],
            name=row["name"],
            script=Path(row["script"]),
            log_dir=Path(row["log_dir"]),
            resources=Resources(row["cpus"], row["memory"], timedelta(seconds=row["walltime"])),
        )

    def started(self, task: PendingTask, pid: int) -> None:
        """Record the process of a task."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE tasks SET pid = ?, pid_started = ? WHERE job = ? AND task = ?",
                (pid, start_time(pid), task.job_id, _index(task.task)),
            )

    def finish(
        self,
        job_id: int,
        task: int | None,
        state: JobState,
        *,
        exit_code: int | None = None,
        cpu_seconds: float = 0.0,
        reason: str = "",
    ) -> None:
        """Record the end of a task."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE tasks SET state = ?, exit_code = ?, cpu_seconds = ?, reason = ?, ended = ?"
                " WHERE job = ? AND task = ?",
                (state.value, exit_code, cpu_seconds, reason, _now(), job_id, _index(task)),
            )


def _index(task: int | None) -> int:
    return _NO_ARRAY if task is None else task


def _used(connection: sqlite3.Connection) -> tuple[int, int]:
    """Sum cores and memory of the tasks that run, leaving out those whose process is gone."""
    rows = connection.execute(
        "SELECT jobs.cpus, jobs.memory, tasks.pid, tasks.pid_started, tasks.started"
        " FROM tasks JOIN jobs ON jobs.id = tasks.job WHERE tasks.state = 'RUNNING'"
    ).fetchall()
    just_claimed = _now() - _BUSY_SECONDS
    alive = [
        row
        for row in rows
        if is_alive(row["pid"], row["pid_started"]) or (row["pid"] is None and row["started"] > just_claimed)
    ]
    return sum(row["cpus"] for row in alive), sum(row["memory"] for row in alive)


def _record(row: sqlite3.Row, served: bool) -> TaskRecord:
    state, reason = JobState(row["state"]), row["reason"]
    if state is JobState.RUNNING and not served and not is_alive(row["pid"], row["pid_started"]):
        state, reason = JobState.NODE_FAIL, "the process is gone"
    elif state is JobState.PENDING and not served:
        reason = "nobody runs it: call sequencer"
    elif state is JobState.PENDING:
        reason = "Dependency" if row["waits"] else "Resources"
    return TaskRecord(
        job_id=str(row["job"]),
        name=row["name"],
        task=None if row["task"] == _NO_ARRAY else row["task"],
        state=state,
        submitted=datetime.fromtimestamp(row["submitted"], UTC),
        started=_time(row["started"]),
        ended=_time(row["ended"]),
        exit_code=row["exit_code"],
        host=row["host"],
        cpu_time=timedelta(seconds=row["cpu_seconds"]),
        reason=reason,
    )
