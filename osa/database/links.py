"""Who read what: brings the links between tries and files to what a lineage tells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, insert, update

from osa.database.rows import fit_value
from osa.database.schema import entities, roles, tries, uses
from osa.database.upsert import Changes, chunks, known_rows, put_by
from osa.provenance.lineage import Lineage

__all__ = ["Link", "forget_unused", "is_link", "put_uses"]

Link = tuple[int, int, int]
"""Keys of a try, of a file that it read, and of the role."""

_NAMES = ("try_id", "entity_id", "role_id")


def put_uses(
    connection: Connection,
    lineage: Lineage,
    try_ids: Mapping[str, int],
    entity_ids: Mapping[str, int],
    resolved: Mapping[tuple[str, str], int],
) -> Changes:
    """Make the links of all tries of a lineage those that it tells.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        In a transaction that writes.
    lineage : Lineage
        Tries and files, which are in the index.
    try_ids, entity_ids : mapping of str to int
        Their keys.
    resolved : mapping
        By try and file the key of the file that is meant instead.
    """
    names = {fit_value(roles.c.name, use.role) for use in lineage.uses}
    role_ids, changes = put_by(connection, roles, "name", [{"name": name} for name in sorted(names)])
    wanted: dict[Link, bool] = {}
    for use in lineage.uses:
        entity_id = resolved.get((use.try_id, use.entity_id))
        if entity_id is None:
            entity_id = entity_ids[fit_value(entities.c.uid, use.entity_id)]
        role_id = role_ids[fit_value(roles.c.name, use.role)]
        link = (try_ids[fit_value(tries.c.uid, use.try_id)], entity_id, role_id)
        wanted[link] = wanted.get(link, False) or use.is_configuration
    known = {
        (row["try_id"], row["entity_id"], row["role_id"]): row["is_configuration"]
        for row in known_rows(connection, uses.c.try_id, list(try_ids.values()))
    }
    return changes + _replace(connection, known, wanted)


def _replace(connection: Connection, known: Mapping[Link, bool], wanted: Mapping[Link, bool]) -> Changes:
    new = [link for link in wanted if link not in known]
    gone = [link for link in known if link not in wanted]
    changed = [link for link in wanted if link in known and known[link] != wanted[link]]
    for chunk in chunks(new):
        rows = [{**dict(zip(_NAMES, link, strict=True)), "is_configuration": wanted[link]} for link in chunk]
        connection.execute(insert(uses), rows)
    for link in gone:
        connection.execute(delete(uses).where(is_link(link)))
    for link in changed:
        connection.execute(update(uses).where(is_link(link)).values(is_configuration=wanted[link]))
    forget_unused(connection, {entity_id for _, entity_id, _ in gone})
    return Changes(inserted=len(new), updated=len(changed), removed=len(gone))


def is_link(link: Link) -> ColumnElement[bool]:
    """Name one link."""
    return and_(*(uses.c[name] == value for name, value in zip(_NAMES, link, strict=True)))


def forget_unused(connection: Connection, entity_ids: Iterable[int]) -> None:
    """Remove files that came from elsewhere and that nobody is known to have read any more."""
    for chunk in chunks(entity_ids):
        connection.execute(
            delete(entities).where(
                entities.c.id.in_(chunk),
                entities.c.try_id.is_(None),
                ~exists().where(uses.c.entity_id == entities.c.id),
            )
        )
