"""Makes the tables, and tells whether those that are there are ours."""

from __future__ import annotations

from sqlalchemy import Connection, insert, inspect, select, text, update

from osa.database.failures import REBUILD
from osa.database.schema import BEING_MADE, VERSION, metadata, schema_version
from osa.errors import MissingServiceError, OsaError

__all__ = ["check_tables", "forget", "has_tables", "make_tables"]


def has_tables(connection: Connection, where: str) -> bool:
    """Whether the index is there, whole and of this version.

    Raises
    ------
    OsaError
        If there is one of another version.
    """
    version = _version(connection)
    if version is None or version == BEING_MADE:
        return False
    if version != VERSION:
        raise OsaError(
            f"the provenance database {where} is of version {version} and this program needs {VERSION}: "
            f"make it anew from the records with {REBUILD}"
        )
    return True


def check_tables(connection: Connection, where: str) -> None:
    """Make sure that there is an index to read.

    Raises
    ------
    MissingServiceError
        If there is none.
    OsaError
        If it is of another version.
    """
    if not has_tables(connection, where):
        raise MissingServiceError(
            f"the provenance database {where} holds no index yet: {REBUILD} makes it from the records"
        )


def make_tables(connection: Connection, where: str) -> None:
    """Make the tables where they are missing; those that a killed command made are completed.

    Raises
    ------
    OsaError
        If tables of another version or of something else are there.
    """
    if has_tables(connection, where):
        return
    if _version(connection) is None:
        _refuse_others(connection, where)
        schema_version.create(connection, checkfirst=True)
        connection.execute(insert(schema_version).values(version=BEING_MADE))
    metadata.create_all(connection)
    connection.execute(update(schema_version).values(version=VERSION))


def forget(connection: Connection, where: str) -> None:
    """Drop all that the index holds, of whatever version, and make its tables anew, empty.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        In a transaction that writes.
    where : str
        The database, for messages.

    Raises
    ------
    OsaError
        If the database has tables of something else.
    """
    if _version(connection) is not None:
        # Tables of another version may refer to each other in another order.
        off, on = _foreign_keys(connection)
        connection.execute(text(off))
        for table in reversed(metadata.sorted_tables):
            if table is not schema_version:
                table.drop(connection, checkfirst=True)
        schema_version.drop(connection)  # the last: until then the others are known to be ours
        connection.execute(text(on))
    make_tables(connection, where)


def _foreign_keys(connection: Connection) -> tuple[str, str]:
    if connection.dialect.name == "sqlite":  # where they are checked at the end of the transaction
        return "PRAGMA defer_foreign_keys = ON", "PRAGMA defer_foreign_keys = OFF"
    return "SET FOREIGN_KEY_CHECKS = 0", "SET FOREIGN_KEY_CHECKS = 1"


def _version(connection: Connection) -> int | None:
    if not inspect(connection).has_table(schema_version.name):
        return None
    versions = connection.execute(select(schema_version.c.version)).scalars().all()
    return max(versions, default=BEING_MADE)


def _refuse_others(connection: Connection, where: str) -> None:
    """Keep away from a database in which names of ours stand for something else."""
    taken = sorted(set(metadata.tables) & set(inspect(connection).get_table_names()) - {schema_version.name})
    if taken:
        raise OsaError(
            f"the database {where} has tables of something else ({', '.join(taken)}): "
            "give the provenance a database of its own"
        )
