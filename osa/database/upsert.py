"""Brings rows of a table to what they should be, with few statements."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import Column, ColumnElement, Connection, RowMapping, Table, bindparam, insert, select, update

from osa.database.rows import Row

__all__ = ["CHUNK", "Changes", "chunks", "differing", "keys_of", "known_rows", "put_by", "put_rows"]

CHUNK = 500
"""Values that one statement is given at most."""

T = TypeVar("T")
Change = Callable[[RowMapping, Row], Row]
"""Tells from what is known and what is new which values are to be changed."""


@dataclass(frozen=True)
class Changes:
    """How many rows were changed.

    Parameters
    ----------
    inserted, updated, removed : int
        Numbers of rows.
    """

    inserted: int = 0
    updated: int = 0
    removed: int = 0

    def __add__(self, other: Changes) -> Changes:
        """Add those of another step."""
        return Changes(
            self.inserted + other.inserted, self.updated + other.updated, self.removed + other.removed
        )

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.inserted or self.updated or self.removed)


def chunks(values: Iterable[T]) -> Iterator[list[T]]:
    """Cut values into lists that one statement takes."""
    iterator = iter(values)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk


def known_rows(
    connection: Connection, column: Column[Any], values: Collection[Any], *scope: ColumnElement[bool]
) -> list[RowMapping]:
    """Read the rows that have one of some values in a column.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        In a transaction.
    column : sqlalchemy.Column
        The column.
    values : collection
        The values.
    *scope : sqlalchemy.ColumnElement
        What else they have to fulfil.
    """
    query = select(column.table)
    found: list[RowMapping] = []
    for chunk in chunks(values):
        found += connection.execute(query.where(column.in_(chunk), *scope)).mappings().all()
    return found


def put_rows(
    connection: Connection,
    table: Table,
    rows: Iterable[Row],
    known: Iterable[RowMapping],
    key: Sequence[str],
    change: Change | None = None,
) -> Changes:
    """Insert rows that are not known, and update those of which something is to be changed.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        In a transaction that writes.
    table : sqlalchemy.Table
        A table with ``id`` as its key.
    rows : iterable of Row
        What should be there; of those with the same key the last.
    known : iterable of mapping
        What is there of them.
    key : sequence of str
        The columns by which they are told apart.
    change : callable or None
        Tells which values are to be changed; None for all that differ.
    """
    before = {tuple(row[name] for name in key): row for row in known}
    wanted = {tuple(row[name] for name in key): row for row in rows}
    new = [row for name, row in wanted.items() if name not in before]
    for chunk in chunks(new):
        connection.execute(insert(table), chunk)
    updated = 0
    for name, row in wanted.items():
        if name in before and (values := (change or differing)(before[name], row)):
            statement = update(table).where(table.c.id == bindparam("the_id")).values(values)
            connection.execute(statement, {"the_id": before[name]["id"]})
            updated += 1
    return Changes(inserted=len(new), updated=updated)


def differing(known: RowMapping, new: Row) -> Row:
    """Take the values that differ."""
    return {name: value for name, value in new.items() if known[name] != value}


def put_by(
    connection: Connection, table: Table, name: str, rows: Iterable[Row], change: Change | None = None
) -> tuple[Mapping[str, int], Changes]:
    """Put rows that are told apart by one column; return their keys by what that holds, and the changes."""
    wanted = {row[name]: row for row in rows}
    known = known_rows(connection, table.c[name], wanted.keys())
    changes = put_rows(connection, table, wanted.values(), known, (name,), change)
    keys = {row[name]: row["id"] for row in known}
    return keys | keys_of(connection, table, name, [value for value in wanted if value not in keys]), changes


def keys_of(connection: Connection, table: Table, name: str, values: Iterable[str]) -> dict[str, int]:
    """Tell the keys of rows by what one column holds; what is not there is left out."""
    column = table.c[name]
    found: dict[str, int] = {}
    for chunk in chunks(values):
        query = select(column, table.c.id).where(column.in_(chunk))
        found.update((value, key) for value, key in connection.execute(query))
    return found
