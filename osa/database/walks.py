"""What a file was made from, and what was made of it: walks through the links, one query each."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Integer,
    Select,
    literal,
    select,
)

from osa.database.reading import assemble, of_run
from osa.database.schema import entities, software_versions, tries, uses
from osa.database.upsert import chunks, keys_of
from osa.errors import InputError
from osa.provenance.lineage import Lineage

__all__ = ["MOST_FILES", "impact_of", "impact_of_version", "lineage_of", "lineage_of_run"]

MOST_FILES = 300_000
"""Files that a lineage has at most, which are then all in memory."""

_EVERYTHING = -1


def lineage_of(connection: Connection, entity_ids: Iterable[str], depth: int | None = None) -> Lineage:
    """Tell what some files were made from, back to what came from elsewhere.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        In a transaction.
    entity_ids : iterable of str
        Identifiers of the files; those that are not known are passed over.
    depth : int or None
        Number of steps back; None for all.

    Returns
    -------
    Lineage
        The files, the tries that made them, and what these read.
    """
    keys = keys_of(connection, entities, "uid", entity_ids).values()
    return assemble(connection, *_back(connection, keys, depth))


def impact_of(connection: Connection, entity_ids: Iterable[str], depth: int | None = None) -> Lineage:
    """Tell what was made of some files, and what of that, on and on.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        In a transaction.
    entity_ids : iterable of str
        Identifiers of the files; those that are not known are passed over.
    depth : int or None
        Number of steps; None for all.

    Returns
    -------
    Lineage
        The files, all tries that read them, those that failed too, and what they made. What else these
        read is not in it.

    Raises
    ------
    InputError
        If there are more than :data:`MOST_FILES`.
    """
    keys = keys_of(connection, entities, "uid", entity_ids).values()
    return _impact(connection, keys, depth)


def impact_of_version(connection: Connection, name: str, version: str) -> Lineage:
    """Tell what was made with a version of a package, and what of that, on and on.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        In a transaction.
    name, version : str
        Any package whose version is recorded.

    Returns
    -------
    Lineage
        The tries that had it and what they made, and all that was made of this.

    Raises
    ------
    InputError
        If there are more than :data:`MOST_FILES`.
    """
    query = (
        select(tries.c.id)
        .join_from(software_versions, tries, tries.c.software_id == software_versions.c.software_id)
        .where(software_versions.c.name == name, software_versions.c.version == version)
    )
    makers = list(connection.execute(query.limit(MOST_FILES + 1)).scalars())
    _refuse_more(makers)
    made = _keys_where(connection, entities.c.id, entities.c.try_id, makers)
    reached, users = _forth(connection, made, None)
    return assemble(connection, reached, users | set(makers))


def lineage_of_run(
    connection: Connection,
    run: int,
    night: str | None = None,
    prod_id: str | None = None,
    telescope: str | None = None,
) -> Lineage:
    """Tell all that is known of a run.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        In a transaction.
    run : int
        The run.
    night : str or None
        Night as ``2020-01-27``; None for all in which it was worked on.
    prod_id : str or None
        Production that the tries worked for; None for all.
    telescope : str or None
        The telescope; None for all.

    Returns
    -------
    Lineage
        All tries of the run, those that failed too, what they read and made, and how that came about:
        the calibration and its raw files.
    """
    query = select(tries.c.id).where(*of_run(run, None, night, telescope))
    if prod_id is not None:
        query = query.where(tries.c.prod_id == prod_id)
    own = set(connection.execute(query).scalars())
    files = _keys_where(connection, entities.c.id, entities.c.try_id, own)
    files |= _keys_where(connection, uses.c.entity_id, uses.c.try_id, own)
    reached, makers = _back(connection, files, None)
    return assemble(connection, reached, makers | own)


def _impact(connection: Connection, keys: Collection[int], depth: int | None) -> Lineage:
    return assemble(connection, *_forth(connection, keys, depth))


def _back(connection: Connection, keys: Iterable[int], depth: int | None) -> tuple[set[int], set[int]]:
    """Walk from files to what they were made from: files, and the tries that made them."""
    reached, level = _walk(connection, keys, depth, forward=False)
    inner = [key for key in reached if depth is None or level[key] < depth]
    return reached, _keys_where(connection, entities.c.try_id, entities.c.id, inner)


def _forth(connection: Connection, keys: Iterable[int], depth: int | None) -> tuple[set[int], set[int]]:
    """Walk from files to what was made of them: files, and the tries that read them."""
    reached, level = _walk(connection, keys, depth, forward=True)
    inner = [key for key in reached if depth is None or level[key] < depth]
    return reached, _keys_where(connection, uses.c.try_id, uses.c.entity_id, inner)


def _walk(
    connection: Connection, keys: Iterable[int], depth: int | None, *, forward: bool
) -> tuple[set[int], dict[int, int]]:
    """Follow the links from some files on; tell what is reached, and in how many steps at least."""
    levels: dict[int, int] = {}
    for chunk in chunks(keys):
        query = _walk_query(chunk, depth, forward=forward).limit(MOST_FILES + 1)
        for key, level in connection.execute(query):
            levels[key] = min(level, levels.get(key, level))
        _refuse_more(levels)
    return set(levels), levels


def _refuse_more(found: Collection[int]) -> None:
    """Keep from filling the memory with all nights that had the same random forests, say."""
    if len(found) > MOST_FILES:
        raise InputError(
            f"this leads to more than {MOST_FILES} files, which is too many to tell: "
            "ask for fewer steps, or of one night"
        )


def _walk_query(keys: Collection[int], depth: int | None, *, forward: bool) -> Select[Any]:
    # Without a bound no steps are counted, so that what is reached twice is followed once, and a circle,
    # which clocks that differ might make, comes to an end.
    start = literal(_EVERYTHING if depth is None else 0, Integer)
    reached = (
        select(entities.c.id, start.label("level"))
        .where(entities.c.id.in_(keys))
        .cte("reached", recursive=True)
    )
    nearer, further = entities.alias("nearer"), entities.alias("further")
    level: ColumnElement[int] = reached.c.level if depth is None else reached.c.level + 1
    steps: FromClause
    if forward:
        steps = reached.join(uses, uses.c.entity_id == reached.c.id).join(
            further, further.c.try_id == uses.c.try_id
        )
        step = select(further.c.id, level).select_from(steps)
    else:
        steps = reached.join(nearer, nearer.c.id == reached.c.id).join(uses, uses.c.try_id == nearer.c.try_id)
        step = select(uses.c.entity_id, level).select_from(steps)
    if depth is not None:
        step = step.where(reached.c.level < depth)
    reached = reached.union(step)
    return select(reached.c.id, reached.c.level)


def _keys_where(
    connection: Connection, column: ColumnElement[int], other: ColumnElement[int], keys: Iterable[int]
) -> set[int]:
    """Read what one column holds where another holds any of some keys."""
    found: set[int] = set()
    for chunk in chunks(keys):
        # Not distinct in the database: SQLite then goes through the whole table to have it sorted.
        query = select(column).where(other.in_(chunk), column.is_not(None))
        found.update(connection.execute(query).scalars())
    return found
