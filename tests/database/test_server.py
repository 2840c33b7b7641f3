"""A server that refuses, is away, or is used by several at once; and its password, which nobody sees."""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pymysql
import pytest
from sqlalchemy import text

from osa.config import ProvenanceSettings
from osa.database import engine
from osa.database.engine import open_database, open_empty
from osa.database.ingest import ingest_lineage
from osa.database.listings import nights_in_index
from osa.database.schema import VERSION, metadata
from osa.database.walks import lineage_of_run
from osa.errors import ConfigurationError, MissingServiceError, OsaError
from tests.database.conftest import make_settings
from tests.database.made_up import LATER, PROD, Story, calibrate, observe
from tests.database.mariadb import PASSWORD, Server, free_port

NOWHERE = Path("/nowhere")


@pytest.fixture
def server_settings(server: Server) -> Iterator[ProvenanceSettings]:
    settings = make_settings(NOWHERE, server.url(), server.password_file)
    open_empty(settings)
    yield settings
    open_empty(settings)


@pytest.fixture
def refused(caplog: pytest.LogCaptureFixture) -> Callable[..., str]:
    """Open what cannot be opened, and see that the password is nowhere in what is said."""

    def refused(settings: ProvenanceSettings, kind: type[OsaError], *, create: bool = True) -> str:
        with pytest.raises(kind) as error:
            open_database(settings, create=create)
        said = str(error.value)
        assert "\n" not in said
        everything = said + "".join(traceback.format_exception(error.value)) + caplog.text
        for secret in (PASSWORD, "Geheim", "not the password"):
            assert secret not in everything
        return said

    return refused


def test_a_wrong_password_is_told(
    server: Server, tmp_path: Path, refused: Callable[..., str], server_settings: ProvenanceSettings
) -> None:
    wrong = tmp_path / "wrong"
    wrong.touch(0o600)
    wrong.write_text("not the password\n", encoding="utf-8")
    said = refused(make_settings(NOWHERE, server.url(), wrong), ConfigurationError)
    assert f"mysql+pymysql://osa@127.0.0.1:{server.port}/osa refuses the account" in said
    said = refused(make_settings(NOWHERE, server.url()), ConfigurationError)
    assert "refuses the account" in said


def test_a_server_that_is_away_is_told(server: Server, refused: Callable[..., str]) -> None:
    url = f"mysql://osa@127.0.0.1:{free_port()}/osa"
    said = refused(make_settings(NOWHERE, url, server.password_file), MissingServiceError)
    assert said.startswith(
        f"the provenance database {url.replace('mysql', 'mysql+pymysql', 1)} cannot be reached"
    )
    url = "mariadb://osa@no-such-host.invalid/osa"
    said = refused(make_settings(NOWHERE, url, server.password_file), MissingServiceError)
    assert "cannot be reached" in said


def test_a_database_that_is_not_there_is_told(server: Server, refused: Callable[..., str]) -> None:
    settings = make_settings(NOWHERE, server.url(database="other"), server.password_file)
    assert "other" in refused(settings, ConfigurationError)


def test_who_may_only_read_can_read(
    server: Server, server_settings: ProvenanceSettings, refused: Callable[..., str]
) -> None:
    reader = make_settings(NOWHERE, server.url("reader"), server.password_file)
    database = open_database(reader, create=False)
    with pytest.raises(ConfigurationError, match="refuses the account"), database.transaction() as connection:
        ingest_lineage(connection, story().lineage, PROD)
    with database.reading() as connection:
        assert nights_in_index(connection) == []


@pytest.mark.parametrize("driver", ["mysql", "mariadb", "mysql+pymysql", "mariadb+pymysql"])
def test_urls_without_a_driver_have_one(
    server: Server, server_settings: ProvenanceSettings, driver: str
) -> None:
    settings = make_settings(NOWHERE, server.url(driver=driver), server.password_file)
    database = open_database(settings, create=False)
    assert PASSWORD not in repr(database) + repr(database.engine) + repr(vars(database))


def test_an_unknown_driver_is_told(server: Server, refused: Callable[..., str]) -> None:
    settings = make_settings(NOWHERE, server.url(driver="mysql+nonsense"), server.password_file)
    assert "no driver is known" in refused(settings, ConfigurationError)
    settings = make_settings(NOWHERE, server.url(driver="mysql+mysqldb"), server.password_file)
    assert "needs the Python package MySQLdb" in refused(settings, MissingServiceError)


def test_a_missing_driver_is_named(refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymysql", None)  # type: ignore[arg-type]
    said = refused(make_settings(NOWHERE, "mysql://osa@localhost/osa"), MissingServiceError)
    assert "needs the Python package pymysql" in said and "pip install 'lst-osa[mariadb]'" in said


def test_a_way_to_log_in_that_the_driver_does_not_know_is_told(
    server: Server, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(*_: object, **__: object) -> None:
        raise RuntimeError("'cryptography' package is required for sha256_password")

    monkeypatch.setattr(pymysql, "connect", connect)
    said = refused(make_settings(NOWHERE, server.url(), server.password_file), MissingServiceError)
    assert "cannot be reached ('cryptography' package is required" in said


def test_a_server_without_an_index_is_told(server: Server, server_settings: ProvenanceSettings) -> None:
    with open_database(server_settings, create=False).transaction() as connection:
        metadata.drop_all(connection)
    with pytest.raises(MissingServiceError, match="holds no index yet"):
        open_database(server_settings, create=False)
    open_database(server_settings, create=True)
    with open_database(server_settings, create=False).transaction() as connection:
        connection.execute(text(f"UPDATE osa_schema SET version = {VERSION + 1}"))
    with pytest.raises(OsaError, match="make it anew"):
        open_database(server_settings, create=True)


def test_names_differ_by_case_in_every_table(server: Server, server_settings: ProvenanceSettings) -> None:
    with open_database(server_settings, create=False).reading() as connection:
        rows = connection.execute(
            text(
                "SELECT TABLE_NAME, ENGINE, TABLE_COLLATION FROM information_schema.TABLES"
                " WHERE TABLE_SCHEMA = 'osa'"
            )
        ).all()
    assert {row[0] for row in rows} == set(metadata.tables)
    assert {row[1:] for row in rows} == {("InnoDB", "utf8mb4_bin")}


def story(night: str = LATER) -> Story:
    made = Story(night)
    charge = calibrate(made)
    for subrun in range(20):
        observe(made, charge, subrun)
    return made


def test_several_may_write_at_once(server_settings: ProvenanceSettings) -> None:
    """Files that all share are there once, and nobody fails because of another."""
    nights = [f"2020-02-{day:02d}" for day in range(1, 7)]
    lineages = [story(night).lineage for night in nights] * 2
    failures: list[BaseException] = []

    def write(number: int) -> None:
        try:
            with open_database(server_settings, create=True).transaction() as connection:
                ingest_lineage(connection, lineages[number], PROD)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(len(lineages))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with open_database(server_settings, create=False).reading() as connection:
        assert [night.tries for night in nights_in_index(connection)] == [42] * 6
        assert len(lineage_of_run(connection, 1874, nights[0]).tries) == 42


def test_who_waits_too_long_is_told(
    server_settings: ProvenanceSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_SECONDS", 0.1)
    database = open_database(server_settings, create=False)
    locked = pytest.raises(OsaError, match="is locked: another command")
    with database.transaction(), locked, database.transaction():
        pass
    with database.transaction():
        pass


# ------------------------------------------------------------------ the file of the password


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o610])
def test_a_password_that_others_may_read_is_refused(
    tmp_path: Path, refused: Callable[..., str], mode: int
) -> None:
    path = tmp_path / "password"
    path.write_text("not the password\n", encoding="utf-8")
    path.chmod(mode)
    said = refused(make_settings(NOWHERE, "mysql://osa@localhost/osa", path), ConfigurationError)
    assert f"chmod 600 {path}" in said and f"{mode:04o}" in said


@pytest.mark.parametrize("content", [b"", b"\n", b"two\nlines\n", b"not utf-8 \xff\n", b"with\0zero"])
def test_a_file_without_one_password_is_refused(
    tmp_path: Path, refused: Callable[..., str], content: bytes
) -> None:
    path = tmp_path / "password"
    path.touch(0o600)
    path.write_bytes(content)
    said = refused(make_settings(NOWHERE, "mysql://osa@localhost/osa", path), ConfigurationError)
    assert "has to hold one line" in said


def test_an_unreadable_password_is_told(tmp_path: Path, refused: Callable[..., str]) -> None:
    settings = make_settings(NOWHERE, "mysql://osa@localhost/osa", tmp_path)
    assert "cannot be read" in refused(settings, ConfigurationError)
    settings = make_settings(NOWHERE, "mysql://osa@localhost/osa", tmp_path / "missing")
    assert "cannot be read" in refused(settings, ConfigurationError)


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_the_end_of_the_line_is_no_part_of_the_password(
    server: Server, server_settings: ProvenanceSettings, tmp_path: Path, end: str
) -> None:
    path = tmp_path / "password"
    path.touch(0o600)
    path.write_bytes(f"{PASSWORD}{end}".encode())
    open_database(make_settings(NOWHERE, server.url(), path), create=False)
