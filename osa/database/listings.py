"""Lists products, tries and nights: by run, night, version or configuration."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, func, select

from osa.database.find import with_hash
from osa.database.reading import as_entity, fetch_tries, in_order, of_run, select_entities
from osa.database.schema import entities, nights, software_versions, tries, uses
from osa.database.upsert import CHUNK, chunks
from osa.errors import InputError
from osa.model.dataset import DatasetKind
from osa.provenance.lineage import Entity
from osa.records.model import TryRecord

__all__ = [
    "LIMIT",
    "NightCounts",
    "PastTry",
    "Product",
    "entities_to_verify",
    "find_by_configuration",
    "find_by_night",
    "find_by_run",
    "find_by_version",
    "nights_in_index",
    "tries_of",
]

LIMIT = 1000
"""Products that are listed at most, where nothing else is said."""

_NIGHTS = 100


@dataclass(frozen=True)
class Product:
    """A file and the step that made it."""

    entity: Entity
    step: str


@dataclass(frozen=True)
class PastTry:
    """A try and what it made, which since may have been moved or replaced."""

    record: TryRecord
    made: tuple[Entity, ...]


@dataclass(frozen=True)
class NightCounts:
    """What the index has of a night.

    Parameters
    ----------
    telescope, night, prod_id : str
        Which night it is, and for which production it was worked on.
    runs, tries, products : int
        Runs that were worked on, tries of all steps, and files that are there now.
    """

    telescope: str
    night: str
    prod_id: str
    runs: int
    tries: int
    products: int


def find_by_version(
    connection: Connection,
    name: str,
    version: str,
    kind: DatasetKind | None = None,
    limit: int | None = LIMIT,
) -> list[Product]:
    """List products that were made with a version of a package.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        In a transaction.
    name, version : str
        Any package whose version is recorded.
    kind : DatasetKind or None
        What they hold; None for all.
    limit : int or None
        The most that are listed: the last that came into the index.
    """
    query = select(software_versions.c.software_id).where(
        software_versions.c.name == name, software_versions.c.version == version
    )
    found = []
    for software_id in connection.execute(query).scalars().all():
        query = _select_products(tries.c.software_id == software_id, kind)
        found += _latest(connection, query, tries.c.id, limit)
    return _newest(found, limit)


def find_by_configuration(
    connection: Connection, text: str, kind: DatasetKind | None = None, limit: int | None = LIMIT
) -> list[Product]:
    """List products of tries that were given a configuration file.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        In a transaction.
    text : str
        Hash of the file or its beginning, or its name.
    kind : DatasetKind or None
        What they hold; None for all.
    limit : int or None
        The most that are listed: the last that came into the index.

    Raises
    ------
    InputError
        If the beginning of a hash is that of several files.
    """
    found = []
    for entity_id in _configurations(connection, text):
        given = _select_products(and_(uses.c.entity_id == entity_id, uses.c.is_configuration), kind)
        given = given.join(uses, uses.c.try_id == tries.c.id)
        found += _latest(connection, given, uses.c.try_id, limit)
    return _newest(found, limit)


def _configurations(connection: Connection, text: str) -> list[int]:
    """Find configuration files by hash or name."""
    condition = with_hash(text)
    for meant in [] if condition is None else [condition]:
        found = _keys_of_configurations(connection, meant)
        if len(set(found.values())) > 1:
            raise InputError(f"{text} is the beginning of {len(found)} hashes: give more digits")
        if found:
            return list(found)
    return list(_keys_of_configurations(connection, entities.c.name == text))


def _keys_of_configurations(connection: Connection, condition: ColumnElement[bool]) -> dict[int, str]:
    query = select(entities.c.id, entities.c.sha256)
    rows = connection.execute(query.where(condition, entities.c.kind == DatasetKind.CONFIGURATION))
    return {row.id: row.sha256 for row in rows}


def find_by_night(
    connection: Connection,
    night: str,
    telescope: str,
    kind: DatasetKind | None = None,
    limit: int | None = LIMIT,
) -> list[Product]:
    """List the products of a night, which is given as ``2020-01-27``."""
    of_night = and_(nights.c.night == night, nights.c.telescope == telescope)
    return _products(connection, of_night, kind, limit)


def find_by_run(
    connection: Connection,
    run: int,
    subrun: int | None = None,
    night: str | None = None,
    kind: DatasetKind | None = None,
    limit: int | None = LIMIT,
    telescope: str | None = None,
) -> list[Product]:
    """List the products of a run, or of one of its sub-runs."""
    return _products(connection, and_(*of_run(run, subrun, night, telescope)), kind, limit)


def _products(
    connection: Connection, condition: ColumnElement[bool], kind: DatasetKind | None, limit: int | None
) -> list[Product]:
    query = _select_products(condition, kind).order_by(
        nights.c.night, tries.c.run, tries.c.subrun, entities.c.made_at, entities.c.id
    )
    return [Product(as_entity(row), row.step) for row in connection.execute(query.limit(limit))]


_Found = tuple[int, Product]  # with the key of the try


def _latest(
    connection: Connection, query: Select[Any], try_id: ColumnElement[int], limit: int | None
) -> list[_Found]:
    """Take the products of the last tries, in the order of an index, so that no more is read than told."""
    query = query.add_columns(tries.c.id.label("the_try")).order_by(try_id.desc()).limit(limit)
    return [(row.the_try, Product(as_entity(row), row.step)) for row in connection.execute(query)]


def _newest(found: list[_Found], limit: int | None) -> list[Product]:
    found.sort(key=lambda item: -item[0])
    return [product for _, product in found[:limit]]


def _select_products(condition: ColumnElement[bool], kind: DatasetKind | None = None) -> Select[Any]:
    query = (
        select_entities()
        .add_columns(tries.c.step)
        .join(tries, tries.c.id == entities.c.try_id)
        .join(nights, nights.c.id == tries.c.night_id)
        .where(condition, entities.c.replaced_at.is_(None))
    )
    return query if kind is None else query.where(entities.c.kind == kind)


def tries_of(
    connection: Connection,
    run: int,
    subrun: int | None = None,
    night: str | None = None,
    telescope: str | None = None,
) -> list[PastTry]:
    """List all tries of a run or sub-run by time, failed and unfinished ones too, and what each made.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        In a transaction.
    run : int
        The run.
    subrun : int or None
        One of its sub-runs; None for all, and for what was done with the whole run.
    night : str or None
        Night as ``2020-01-27``; None for all in which the run was worked on.
    telescope : str or None
        The telescope; None for all.
    """
    query = select(tries.c.id).where(*of_run(run, subrun, night, telescope))
    records = fetch_tries(connection, connection.execute(query).scalars().all())
    made: dict[int, list[Entity]] = defaultdict(list)
    for chunk in chunks(records):
        found = select_entities().add_columns(entities.c.try_id).where(entities.c.try_id.in_(chunk))
        for row in connection.execute(found):
            made[row.try_id].append(as_entity(row))
    return [PastTry(record, tuple(in_order(made[key]))) for key, record in records.items()]


def entities_to_verify(
    connection: Connection,
    *,
    night: str | None = None,
    run: int | None = None,
    subrun: int | None = None,
    telescope: str | None = None,
    inputs: bool = False,
) -> Iterator[Entity]:
    """Tell of the files that should be there now, some at a time.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        In a transaction, which other queries may use meanwhile.
    night, run, subrun, telescope
        What the tries that made them worked on; None for any.
    inputs : bool
        Whether what came from elsewhere and was read by such tries is told too.

    Yields
    ------
    Entity
        In the order in which they came into the index.
    """
    if night is None and run is None and subrun is None and telescope is None:
        yield from _all_current(connection, inputs=inputs)
        return
    of_try = and_(*of_run(run, subrun, night))
    if telescope is not None:
        of_try = and_(of_try, nights.c.telescope == telescope)
    made = select(entities.c.id).join_from(tries, entities, entities.c.try_id == tries.c.id).where(of_try)
    keys = set(connection.execute(made).scalars())
    if inputs:
        read = select(uses.c.entity_id).join_from(tries, uses, uses.c.try_id == tries.c.id).where(of_try)
        foreign = connection.execute(read.distinct()).scalars().all()
        for chunk in chunks(foreign):
            query = select(entities.c.id).where(entities.c.id.in_(chunk), entities.c.try_id.is_(None))
            keys.update(connection.execute(query).scalars())
    for chunk in chunks(sorted(keys)):
        query = _current().where(entities.c.id.in_(chunk))
        yield from map(as_entity, connection.execute(query).all())


def _current() -> Select[Any]:
    return select_entities().where(entities.c.replaced_at.is_(None)).order_by(entities.c.id)


def _all_current(connection: Connection, *, inputs: bool) -> Iterator[Entity]:
    query = _current() if inputs else _current().where(entities.c.try_id.is_not(None))
    last = 0
    while rows := connection.execute(query.where(entities.c.id > last).limit(CHUNK)).all():
        yield from map(as_entity, rows)
        last = rows[-1].id


def nights_in_index(connection: Connection, limit: int | None = _NIGHTS) -> list[NightCounts]:
    """Count what the index has of each night, the latest night first.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        In a transaction.
    limit : int or None
        Number of nights.
    """
    products = (
        select(func.count())
        .select_from(tries)
        .join(entities, entities.c.try_id == tries.c.id)
        .where(tries.c.night_id == nights.c.id, entities.c.replaced_at.is_(None))
        .scalar_subquery()
    )
    of_night = tries.c.night_id == nights.c.id
    query = (
        select(
            nights,
            select(func.count(tries.c.run.distinct())).where(of_night).scalar_subquery().label("runs"),
            select(func.count()).select_from(tries).where(of_night).scalar_subquery().label("tries"),
            products.label("products"),
        )
        .order_by(nights.c.night.desc(), nights.c.telescope, nights.c.prod_id)
        .limit(limit)
    )
    return [
        NightCounts(row.telescope, row.night, row.prod_id, row.runs, row.tries, row.products)
        for row in connection.execute(query)
    ]
