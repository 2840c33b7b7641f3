"""Opens the database that the configuration names, an SQLite file or one of a server."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event, make_url, text

from osa.config import ProvenanceSettings
from osa.database import tables
from osa.database.failures import REBUILD, locked, translated
from osa.errors import ConfigurationError, MissingServiceError

__all__ = ["BUSY_SECONDS", "Database", "connect", "open_database", "open_empty"]

BUSY_SECONDS = 20.0
"""How long somebody else's writing is waited for."""

_CONNECT_SECONDS = 10
_ANSWER_SECONDS = 600  # of one statement
_BEGIN = "osa_begin"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_DRIVER = "pymysql"
_LONGEST_LOCK = 64


@dataclass(frozen=True)
class Database:
    """A database, opened anew for each transaction.

    Parameters
    ----------
    where : str
        What it is called in messages; never with a password.
    engine : sqlalchemy.Engine
        How it is reached.
    """

    where: str
    engine: Engine = field(repr=False)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Write: all of it or, where an error comes out, nothing; there is one writer at a time.

        Raises
        ------
        OsaError
            If the database fails, see :func:`osa.database.failures.translated`.
        """
        with (
            translated(self.where),
            self._reach().execution_options(**{_BEGIN: "IMMEDIATE"}) as connection,
            connection.begin(),
        ):
            self._await_others(connection)
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Read: all queries see the same moment.

        Raises
        ------
        OsaError
            If the database fails, see :func:`osa.database.failures.translated`.
        """
        with translated(self.where), self._reach() as connection, connection.begin():
            yield connection

    def _reach(self) -> Connection:
        try:
            return self.engine.connect()
        except RuntimeError as error:  # a driver without what a way to log in needs
            raise MissingServiceError(
                f"the provenance database {self.where} cannot be reached ({error})"
            ) from error

    def _await_others(self, connection: Connection) -> None:
        """Have servers take one writer at a time too, so that none fails halfway because of another.

        The lock goes with the connection, which is closed after the transaction.
        """
        if connection.dialect.name == "sqlite":
            return
        name = f"osa.{self.engine.url.database}"[:_LONGEST_LOCK]
        seconds = max(round(BUSY_SECONDS), 0)
        got = connection.execute(text("SELECT GET_LOCK(:name, :seconds)"), {"name": name, "seconds": seconds})
        if got.scalar() != 1:
            raise locked(self.where)


def open_database(settings: ProvenanceSettings, *, create: bool) -> Database:
    """Open the index.

    Parameters
    ----------
    settings : ProvenanceSettings
        Where it is.
    create : bool
        Whether it is made where it is missing.

    Raises
    ------
    ConfigurationError
        If the file of the password, or the account, cannot be used.
    MissingServiceError
        If there is no index and none is to be made, or the server or its driver is away.
    OsaError
        If it is of another version, damaged or locked.
    """
    database = connect(settings, create=create)
    if not create:
        with database.reading() as connection:
            tables.check_tables(connection, database.where)
        return database
    with database.reading() as connection:
        is_there = tables.has_tables(connection, database.where)
    if not is_there:
        with database.transaction() as connection:
            tables.make_tables(connection, database.where)
    return database


def open_empty(settings: ProvenanceSettings) -> Database:
    """Open the index with nothing in it: what it held, of whatever version, is dropped.

    Raises
    ------
    OsaError
        As :func:`open_database` does, but not because of another version.
    """
    database = connect(settings, create=True)
    with database.transaction() as connection:
        tables.forget(connection, database.where)
    return database


def connect(settings: ProvenanceSettings, *, create: bool) -> Database:
    """Tell how the database is reached, without looking at what is in it.

    Raises
    ------
    ConfigurationError
        If the file of the password cannot be used.
    MissingServiceError
        If there is no such file, or no driver for such a server.
    """
    if settings.database_url is None:
        return _of_file(settings.database, create=create)
    return _of_server(settings.database_url, settings.database_password_file)


def _of_file(path: Path, *, create: bool) -> Database:
    if create:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"the folder of the provenance database {path} cannot be made: {error.strerror}"
            ) from error
    elif _is_missing(path):
        raise MissingServiceError(
            f"there is no provenance database {path}: {REBUILD} makes it from the records"
        )
    # Not read-only: what a killed writer left half done could then not be undone.
    uri = f"{path.absolute().as_uri()}?mode={'rwc' if create else 'rw'}"

    def reach() -> sqlite3.Connection:
        connection = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
        with closing(connection.cursor()) as cursor:
            cursor.execute("PRAGMA foreign_keys = ON")
        return connection

    engine = create_engine("sqlite://", creator=reach, poolclass=NullPool, hide_parameters=True)
    event.listen(engine, "begin", _begin)
    return Database(str(path), engine)


def _is_missing(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:  # SQLite will say it
        return False
    return False


def _begin(connection: Connection) -> None:
    """Begin where SQLAlchemy says that it begins: the driver would do so at the first change only."""
    connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get(_BEGIN, '')}")


def _of_server(url_text: str, password_file: Path | None) -> Database:
    url = make_url(url_text)
    if "+" not in url.drivername:
        url = url.set(drivername=f"{url.drivername}+{_DRIVER}")
    where = _without_secrets(url)
    options: dict[str, object] = {"connect_timeout": _CONNECT_SECONDS}
    password = None if password_file is None else _read_password(password_file)
    if url.get_driver_name() == _DRIVER:
        options |= {"read_timeout": _ANSWER_SECONDS, "write_timeout": _ANSWER_SECONDS}
        # As bytes: it would write a text in Latin 1. And not in the URL, which might be shown.
        options |= {} if password is None else {"password": password.encode()}
    else:
        url = url if password is None else url.set(password=password)
    try:
        with translated(where):
            engine = create_engine(url, connect_args=options, poolclass=NullPool, hide_parameters=True)
    except ModuleNotFoundError as error:
        raise MissingServiceError(
            f"the provenance database {where} needs the Python package {error.name}, which is not installed"
            ": pip install 'lst-osa[mariadb]' installs what mysql+pymysql:// needs"
        ) from error
    return Database(where, engine)


def _without_secrets(url: URL) -> str:
    """Write a URL without password, and without its options, which may have one."""
    return URL.create(
        url.drivername, username=url.username, host=url.host, port=url.port, database=url.database
    ).render_as_string(hide_password=True)


def _read_password(path: Path) -> str:
    """Read the password that stands alone in a file that only its owner may read."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read()
    except OSError as error:
        raise ConfigurationError(
            f"database_password_file: {path} cannot be read: {error.strerror}"
        ) from error
    if mode & _OTHERS:
        raise ConfigurationError(
            f"database_password_file: {path} may be used by others than its owner "
            f"(mode {stat.S_IMODE(mode):04o}): chmod 600 {path}"
        )
    try:
        password = data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        password = ""
    if not password or any(character in password for character in "\n\r\0"):
        raise ConfigurationError(f"database_password_file: {path} has to hold one line: the password")
    return password
