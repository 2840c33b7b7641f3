"""Files that one night knows by their content alone, and another night made.

A night that is calibrated by another one reads files of which its own records do not tell who made them.
Whichever night comes first into the index, what was read is in the end the file that the other made.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, select, update

from osa.database.links import forget_unused, is_link
from osa.database.schema import entities, tries, uses
from osa.database.upsert import Changes, chunks
from osa.model.dataset import DatasetKind
from osa.provenance.lineage import Entity, Lineage

__all__ = ["Resolved", "adopt", "resolve_foreign"]


@dataclass(frozen=True)
class Resolved:
    """What is meant by files that a lineage knows by their content alone.

    Parameters
    ----------
    made : mapping of tuple of str to int
        By try and file the key of the file that another try made.
    superseded : frozenset of str
        Files that nobody read, as for all of their uses another is meant.
    """

    made: Mapping[tuple[str, str], int] = field(default_factory=dict)
    superseded: frozenset[str] = frozenset()


@dataclass(frozen=True)
class _Made:
    """A file that a try made."""

    id: int
    name: str
    maker: str
    made_at: datetime | None


def resolve_foreign(connection: Connection, lineage: Lineage) -> Resolved:
    """Find what is in the index already of what a lineage knows by its content alone."""
    foreign = {
        entity.id: entity
        for entity in lineage.entities.values()
        if entity.made_by is None and entity.sha256 and entity.kind is not DatasetKind.CONFIGURATION
    }
    candidates = _made_with(connection, {entity.sha256 for entity in foreign.values() if entity.sha256})
    if not candidates:
        return Resolved()
    made: dict[tuple[str, str], int] = {}
    kept: set[str] = set()
    for use in lineage.uses:
        entity = foreign.get(use.entity_id)
        if entity is None:
            continue
        started = lineage.tries[use.try_id].started
        meant = None if use.is_configuration else _meant(candidates, entity, use.try_id, started)
        if meant is None:
            kept.add(use.entity_id)
        else:
            made[use.try_id, use.entity_id] = meant
    return Resolved(made, frozenset({entity_id for _, entity_id in made} - kept))


def adopt(connection: Connection, lineage: Lineage) -> Changes:
    """Point tries that are in the index already at files that a lineage turns out to have made."""
    hashes = {entity.sha256 for entity in lineage.entities.values() if entity.made_by and entity.sha256}
    changes = Changes()
    for chunk in chunks(hashes):
        query = select(entities.c.id, entities.c.name, entities.c.sha256).where(
            entities.c.sha256.in_(chunk),
            entities.c.try_id.is_(None),
            entities.c.made_at.is_(None),  # else its maker is known, though not in the index yet
            entities.c.kind != DatasetKind.CONFIGURATION,
        )
        for row in connection.execute(query).all():
            changes += _adopt(connection, row.id, row.name, row.sha256)
    return changes


def _adopt(connection: Connection, entity_id: int, name: str, sha256: str) -> Changes:
    candidates = _made_with(connection, [sha256])
    query = (
        select(uses.c.try_id, uses.c.role_id, tries.c.uid, tries.c.started)
        .join_from(uses, tries, tries.c.id == uses.c.try_id)
        .where(uses.c.entity_id == entity_id, ~uses.c.is_configuration)
    )
    count = 0
    for row in connection.execute(query).all():
        meant = _choose(candidates.get(sha256, ()), name, row.uid, row.started)
        if meant is not None:
            link = (row.try_id, entity_id, row.role_id)
            connection.execute(update(uses).where(is_link(link)).values(entity_id=meant))
            count += 1
    if count:
        forget_unused(connection, [entity_id])
    return Changes(updated=count)


def _made_with(connection: Connection, hashes: Collection[str]) -> Mapping[str, list[_Made]]:
    """Find the files of some contents that tries made, by content and in the order of their making."""
    found: dict[str, list[_Made]] = defaultdict(list)
    for chunk in chunks(hashes):
        query = (
            select(entities.c.id, entities.c.name, entities.c.sha256, entities.c.made_at, tries.c.uid)
            .join_from(entities, tries, tries.c.id == entities.c.try_id)
            .where(entities.c.sha256.in_(chunk))
            .order_by(entities.c.made_at, entities.c.id)
        )
        for row in connection.execute(query):
            found[row.sha256].append(_Made(row.id, row.name, row.uid, row.made_at))
    return found


def _meant(
    candidates: Mapping[str, list[_Made]], entity: Entity, try_id: str, started: datetime
) -> int | None:
    return _choose(candidates.get(entity.sha256 or "", ()), entity.name, try_id, started)


def _choose(candidates: Iterable[_Made], name: str, try_id: str, started: datetime) -> int | None:
    """Choose as within one night: of that name, the latest that was made before the try began."""
    named = [made for made in candidates if made.name == name and made.maker != try_id]
    before = [made for made in named if made.made_at is not None and made.made_at <= started]
    if before:
        return before[-1].id
    return named[0].id if named else None
