"""Opening an SQLite file, and what is said where that fails."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import insert, select, update

from osa.config import ProvenanceSettings
from osa.database import engine
from osa.database.engine import open_database, open_empty
from osa.database.ingest import ingest_lineage
from osa.database.listings import nights_in_index
from osa.database.schema import BEING_MADE, VERSION, jobs, nights, runs, schema_version, sequences
from osa.errors import ConfigurationError, MissingServiceError, OsaError
from tests.database.made_up import PROD, Story, calibrate


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "BUSY_SECONDS", 0.1)


@pytest.fixture
def path(file_settings: ProvenanceSettings) -> Path:
    return file_settings.database


@pytest.fixture
def made(file_settings: ProvenanceSettings) -> Iterator[sqlite3.Connection]:
    """The file of an index, as somebody else sees it."""
    open_database(file_settings, create=True)
    with closing(sqlite3.connect(file_settings.database, timeout=0.1, isolation_level=None)) as connection:
        yield connection


def message_of(error: pytest.ExceptionInfo[OsaError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def test_what_is_missing_is_made_only_where_that_is_asked_for(
    file_settings: ProvenanceSettings, path: Path
) -> None:
    with pytest.raises(MissingServiceError, match=r"no provenance database .*provprocess --rebuild-index"):
        open_database(file_settings, create=False)
    assert not path.parent.exists()
    for _ in range(2):
        open_database(file_settings, create=True)
    with open_database(file_settings, create=False).reading() as connection:
        assert nights_in_index(connection) == []
    with closing(sqlite3.connect(path)) as plain:
        assert plain.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_an_odd_path_is_only_a_path(file_settings: ProvenanceSettings, tmp_path: Path) -> None:
    odd = replace(file_settings, database=tmp_path / "a?mode=memory&b#c %20 'ü.sqlite")
    open_database(odd, create=True)
    assert odd.database.exists()
    open_database(odd, create=False)


def test_an_empty_file_is_no_index_yet(file_settings: ProvenanceSettings, path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    with pytest.raises(MissingServiceError, match="holds no index yet: provprocess --rebuild-index"):
        open_database(file_settings, create=False)
    open_database(file_settings, create=True)


def test_a_locked_database_is_told(file_settings: ProvenanceSettings, made: sqlite3.Connection) -> None:
    database = open_database(file_settings, create=False)
    made.execute("BEGIN EXCLUSIVE")
    with pytest.raises(OsaError) as error, database.transaction():
        pass
    assert message_of(error).startswith(f"the provenance database {file_settings.database} is locked:")
    with pytest.raises(OsaError, match="is locked"):
        open_database(file_settings, create=False)
    with pytest.raises(OsaError, match="is locked"):
        open_empty(file_settings)
    made.execute("COMMIT")
    open_database(file_settings, create=False)


def test_one_writer_at_a_time_and_readers_beside_it(
    file_settings: ProvenanceSettings, made: sqlite3.Connection
) -> None:
    database = open_database(file_settings, create=True)
    with database.transaction() as connection:
        connection.execute(insert(nights).values(telescope="LST1", night="2020-01-27", prod_id="v"))
        with pytest.raises(OsaError, match="is locked"), database.transaction():
            pass
        with database.reading() as reader:
            assert nights_in_index(reader) == []
    with database.reading() as reader:
        assert len(nights_in_index(reader)) == 1


@pytest.mark.parametrize("content", [b"no database at all" * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_file_that_is_no_database_is_told_and_left_alone(
    file_settings: ProvenanceSettings, path: Path, content: bytes
) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    for call in (
        lambda: open_database(file_settings, create=False),
        lambda: open_database(file_settings, create=True),
        lambda: open_empty(file_settings),
    ):
        with pytest.raises(OsaError) as error:
            call()
        assert f"the provenance database {path} is damaged, or no SQLite database" in message_of(error)
    assert path.read_bytes() == content


def test_a_damaged_database_is_told(file_settings: ProvenanceSettings, path: Path) -> None:
    database = open_database(file_settings, create=True)
    story = Story()
    for _ in range(100):
        calibrate(story)
    with database.transaction() as connection:
        ingest_lineage(connection, story.lineage, PROD)
    data = bytearray(path.read_bytes())
    data[4096 * 3 :] = os.urandom(len(data) - 4096 * 3)
    path.write_bytes(data)
    with pytest.raises(OsaError) as error, database.transaction() as connection:
        ingest_lineage(connection, story.lineage, PROD)
    assert "is damaged" in message_of(error)


def test_a_folder_is_no_database(file_settings: ProvenanceSettings, path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(MissingServiceError, match="cannot be opened"):
        open_database(file_settings, create=True)


def test_a_folder_that_cannot_be_made_is_told(file_settings: ProvenanceSettings, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    below = replace(file_settings, database=tmp_path / "file" / "index" / "p.sqlite")
    with pytest.raises(ConfigurationError, match=r"the folder of the provenance database .* cannot be made"):
        open_database(below, create=True)
    with pytest.raises(MissingServiceError, match="there is no provenance database"):
        open_database(below, create=False)


def test_another_version_is_refused_and_can_be_made_anew(
    file_settings: ProvenanceSettings, made: sqlite3.Connection
) -> None:
    made.execute(f"UPDATE osa_schema SET version = {VERSION + 1}")
    for create in (True, False):
        with pytest.raises(OsaError) as error:
            open_database(file_settings, create=create)
        text = message_of(error)
        assert f"is of version {VERSION + 1} and this program needs {VERSION}" in text
        assert "provprocess --rebuild-index" in text
    open_empty(file_settings)
    open_database(file_settings, create=False)


def test_all_that_was_known_can_be_forgotten(file_settings: ProvenanceSettings) -> None:
    database = open_database(file_settings, create=True)
    story = Story()
    calibrate(story)
    with database.transaction() as connection:
        ingest_lineage(connection, story.lineage, PROD)
    with open_empty(file_settings).transaction() as connection:
        assert nights_in_index(connection) == []
        assert ingest_lineage(connection, story.lineage, PROD).inserted


def test_tables_that_a_killed_command_began_are_completed(
    file_settings: ProvenanceSettings, made: sqlite3.Connection
) -> None:
    made.execute("DROP TABLE uses")
    made.execute(f"UPDATE osa_schema SET version = {BEING_MADE}")
    with pytest.raises(MissingServiceError, match="holds no index yet"):
        open_database(file_settings, create=False)
    with open_database(file_settings, create=True).reading() as connection:
        assert connection.execute(select(schema_version.c.version)).scalar_one() == VERSION
    assert made.execute("SELECT count(*) FROM uses").fetchone() == (0,)


def test_tables_of_something_else_are_never_dropped(file_settings: ProvenanceSettings, path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE jobs (important TEXT)")
    for call in (open_empty, lambda settings: open_database(settings, create=True)):
        with pytest.raises(OsaError, match=r"has tables of something else \(jobs\)"):
            call(file_settings)
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("jobs",)]


def test_foreign_keys_are_kept(file_settings: ProvenanceSettings) -> None:
    database = open_database(file_settings, create=True)
    with pytest.raises(OsaError, match="FOREIGN KEY"), database.transaction() as connection:
        connection.execute(insert(runs).values(night_id=17, number=1, kind="DATA"))


def test_times_come_back_in_utc_with_milliseconds(file_settings: ProvenanceSettings) -> None:
    when = datetime(2020, 1, 28, 1, 2, 3, 456_789, timezone(timedelta(hours=2)))
    database = open_database(file_settings, create=True)
    with database.transaction() as connection:
        connection.execute(insert(nights).values(id=1, telescope="LST1", night="2020-01-27", prod_id="v"))
        connection.execute(insert(runs).values(id=1, night_id=1, number=1, kind="DATA"))
        row = {"id": 1, "run_id": 1, "name": "x", "number": 0, "is_closed": False, "is_vetoed": False}
        connection.execute(insert(sequences).values(row))
        job = {"sequence_id": 1, "job_id": "1", "ordinal": 0, "state": "RUNNING", "cpu_seconds": 0.1}
        connection.execute(insert(jobs).values(submitted=when, **job))
        (found,) = connection.execute(select(jobs.c.submitted)).scalars()
        assert found == datetime(2020, 1, 27, 23, 2, 3, 456_000, UTC) and found.tzinfo is UTC
        assert connection.execute(select(jobs.c.ended)).scalar_one() is None
    with pytest.raises(OsaError, match="no time zone"), database.transaction() as connection:
        connection.execute(update(jobs).values(ended=datetime(2020, 1, 1)))


def test_a_full_disk_is_told(file_settings: ProvenanceSettings) -> None:
    database = open_database(file_settings, create=True)
    story = Story()
    for _ in range(50):
        calibrate(story)
    with pytest.raises(OsaError) as error, database.transaction() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 2}")
        ingest_lineage(connection, story.lineage, PROD)
    assert "full" in message_of(error)
    with database.reading() as connection:
        assert nights_in_index(connection) == []
