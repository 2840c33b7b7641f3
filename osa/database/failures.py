"""What a database says when it fails, in words for a user."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, NoSuchModuleError, SQLAlchemyError

from osa.errors import ConfigurationError, MissingServiceError, OsaError

__all__ = ["REBUILD", "locked", "translated"]

REBUILD = "provprocess --rebuild-index"
"""What makes the index anew."""

_REFUSED = frozenset({1044, 1045, 1142, 1698})  # account, password or rights
_NO_SUCH_DATABASE = 1049
_LOCKED = frozenset({1205, 1213})
_AWAY = frozenset({1040, 1130, 2000, 2002, 2003, 2005, 2006, 2013})
_NO_DATABASE = frozenset({"SQLITE_NOTADB", "SQLITE_CORRUPT"})
_PRIMARY = 2  # words of the name of an error without its details: SQLITE_READONLY_ROLLBACK


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Turn errors of the database into those of the project, each with one line.

    Parameters
    ----------
    where : str
        The database, without a password.

    Raises
    ------
    ConfigurationError
        If the server refuses the account, or has no such database.
    MissingServiceError
        If the database cannot be reached.
    OsaError
        If it is locked, damaged, full, or anything else is wrong with it.
    """
    try:
        yield
    except SQLAlchemyError as error:
        raise _explained(error, where) from error


def locked(where: str) -> OsaError:
    """Say that somebody else is writing."""
    return OsaError(
        f"the provenance database {where} is locked: another command is writing to it; "
        "call again when that has ended"
    )


def _explained(error: SQLAlchemyError, where: str) -> OsaError:
    if isinstance(error, NoSuchModuleError):
        return ConfigurationError(
            f"database_url: no driver is known for {where}: write it as mysql+pymysql://"
        )
    cause = error.orig if isinstance(error, DBAPIError) else None
    if isinstance(cause, sqlite3.Error):
        return _explained_file(cause, where)
    code = cause.args[0] if cause is not None and cause.args else None
    if isinstance(code, int):
        return _explained_server(code, _reason(cause.args[-1]), where) if cause else locked(where)
    return OsaError(f"the provenance database {where}: {_reason(cause or error)}")


def _explained_file(cause: sqlite3.Error, where: str) -> OsaError:
    name = "_".join(getattr(cause, "sqlite_errorname", "").split("_")[:_PRIMARY])
    reason = _reason(cause)
    if name in {"SQLITE_BUSY", "SQLITE_LOCKED"}:
        return locked(where)
    if name in _NO_DATABASE:
        return OsaError(
            f"the provenance database {where} is damaged, or no SQLite database at all ({reason}): "
            f"remove it where it holds nothing else, and make it anew with {REBUILD}"
        )
    if name == "SQLITE_CANTOPEN":
        return MissingServiceError(
            f"the provenance database {where} cannot be opened ({reason}): "
            "see whether you may read and write it and its folder"
        )
    if name == "SQLITE_READONLY":
        return OsaError(f"the provenance database {where} may not be written by you ({reason})")
    return OsaError(f"the provenance database {where}: {reason}")


def _explained_server(code: int, reason: str, where: str) -> OsaError:
    if code in _LOCKED:
        return locked(where)
    if code in _REFUSED:
        return ConfigurationError(
            f"the provenance database {where} refuses the account ({reason}): "
            "see to database_url, database_password_file and the rights of the account"
        )
    if code == _NO_SUCH_DATABASE:
        return ConfigurationError(
            f"the server has no provenance database {where} ({reason}): create it, or mend database_url"
        )
    if code in _AWAY:
        return MissingServiceError(
            f"the provenance database {where} cannot be reached ({reason}): "
            "see whether the server runs and whether database_url is right"
        )
    return OsaError(f"the provenance database {where}: {reason} (error {code})")


def _reason(error: object) -> str:
    """Take the first line of what an error says."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
