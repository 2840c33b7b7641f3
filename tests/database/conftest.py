"""The index in each kind of database."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, delete

from osa.config import ProvenanceSettings
from osa.database.engine import Database, open_database
from osa.database.schema import metadata, schema_version
from tests.database.mariadb import Server, run_server


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A MariaDB server that all tests of the session share."""
    # the path of a socket has 108 bytes at most
    with tempfile.TemporaryDirectory(prefix="osa-db-", dir="/tmp") as folder, run_server(Path(folder)) as it:
        yield it


def make_settings(
    database: Path, url: str | None = None, password_file: Path | None = None
) -> ProvenanceSettings:
    return ProvenanceSettings(
        raw_hash="sampled",
        graphs="no",
        database=database,
        database_url=url,
        database_password_file=password_file,
    )


@pytest.fixture
def file_settings(tmp_path: Path) -> ProvenanceSettings:
    return make_settings(tmp_path / "index" / "provenance.sqlite")


@pytest.fixture(params=["sqlite", "mariadb"])
def index_settings(request: pytest.FixtureRequest, file_settings: ProvenanceSettings) -> ProvenanceSettings:
    """Settings for each kind of database."""
    if request.param == "sqlite":
        return file_settings
    server: Server = request.getfixturevalue("server")
    return make_settings(Path("/nowhere"), server.url(), server.password_file)


@pytest.fixture
def database(index_settings: ProvenanceSettings) -> Database:
    """An empty index."""
    database = open_database(index_settings, create=True)
    if index_settings.database_url is not None:  # of the server, which all tests share
        with database.transaction() as connection:
            for table in reversed(metadata.sorted_tables):
                if table is not schema_version:
                    connection.execute(delete(table))
    return database


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    """A transaction that writes into an empty index."""
    with database.transaction() as connection:
        yield connection
