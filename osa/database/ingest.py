"""Takes the tries and files of a night into the index; the same twice changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, RowMapping, and_, insert, select

from osa.database import twins
from osa.database.links import put_uses
from osa.database.rows import Row, clean_text, digest, entity_row, fit, fit_value, software_row, try_row
from osa.database.schema import (
    entities,
    nights,
    parameter_sets,
    software,
    software_versions,
    tries,
)
from osa.database.upsert import Changes, chunks, differing, keys_of, put_by
from osa.provenance.lineage import Entity, Lineage
from osa.records.model import Status, TryRecord

__all__ = ["ingest_lineage", "night_key"]


def ingest_lineage(connection: Connection, lineage: Lineage, prod_id: str) -> Changes:
    """Insert what is new of a night, and update what has changed.

    The lineage tells all that its tries read. Of files that other tries made, or nobody, only what is not
    known yet is taken.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        In a transaction that writes.
    lineage : Lineage
        Tries and files of one or several nights.
    prod_id : str
        The production whose nights they are.

    Returns
    -------
    Changes
        What has changed; nothing where all was known.
    """
    records = lineage.tries.values()
    night_ids, changes = _put_nights(connection, records, prod_id)
    software_ids, more = _put_software(connection, records)
    changes += more
    parameter_ids, more = _put_parameters(connection, records)
    changes += more
    rows = [
        try_row(
            record,
            night_id=night_ids[record.telescope, record.night],
            software_id=software_ids[software_row(record.software)["digest"]],
            parameter_set_id=parameter_ids[digest(_parameters(record))],
        )
        for record in records
    ]
    try_ids, more = put_by(connection, tries, "uid", rows, _changed_try)
    changes += more
    resolved = twins.resolve_foreign(connection, lineage)
    entity_ids, more = _put_entities(connection, lineage, try_ids, resolved.superseded)
    changes += more
    changes += put_uses(connection, lineage, try_ids, entity_ids, resolved.made)
    return changes + twins.adopt(connection, lineage)


def night_key(connection: Connection, telescope: str, night: str, prod_id: str) -> tuple[int, Changes]:
    """Find the row of a night, or make it."""
    row = fit(nights, {"telescope": telescope, "night": night, "prod_id": prod_id})
    query = select(nights.c.id).where(and_(*(nights.c[name] == value for name, value in row.items())))
    known = connection.execute(query).scalar()
    if known is not None:
        return known, Changes()
    connection.execute(insert(nights), row)
    return connection.execute(query).scalar_one(), Changes(inserted=1)


def _put_nights(
    connection: Connection, records: Iterable[TryRecord], prod_id: str
) -> tuple[Mapping[tuple[str, str], int], Changes]:
    keys: dict[tuple[str, str], int] = {}
    changes = Changes()
    for telescope, night in {(record.telescope, record.night): None for record in records}:
        keys[telescope, night], more = night_key(connection, telescope, night, prod_id)
        changes += more
    return keys, changes


def _put_software(connection: Connection, records: Iterable[TryRecord]) -> tuple[Mapping[str, int], Changes]:
    rows = {row["digest"]: row for row in (software_row(record.software) for record in records)}
    before = keys_of(connection, software, "digest", rows)
    keys, changes = put_by(connection, software, "digest", rows.values())
    versions = {
        (keys[row["digest"]], fit_value(software_versions.c.name, name)): version
        for row in rows.values()
        if row["digest"] not in before
        for name, version in row["versions"].items()
    }
    for chunk in chunks(versions.items()):
        values = [
            fit(software_versions, {"software_id": key, "name": name, "version": version})
            for (key, name), version in chunk
        ]
        connection.execute(insert(software_versions), values)
    return keys, changes


def _put_parameters(
    connection: Connection, records: Iterable[TryRecord]
) -> tuple[Mapping[str, int], Changes]:
    values = {digest(parameters): parameters for parameters in map(_parameters, records)}
    rows = [{"digest": key, "parameters": parameters} for key, parameters in values.items()]
    return put_by(connection, parameter_sets, "digest", rows)


def _parameters(record: TryRecord) -> dict[str, str]:
    return {clean_text(key): clean_text(value) for key, value in record.parameters.items()}


def _changed_try(known: RowMapping, new: Row) -> Row:
    """Tell what has changed of a try; one that has ended is never unfinished again.

    It stays with the night and production with which it came: others may be made of the same tries.
    """
    if new["status"] == Status.UNFINISHED and known["status"] != Status.UNFINISHED:
        return {}
    return {name: value for name, value in differing(known, new).items() if name != "night_id"}


def _put_entities(
    connection: Connection, lineage: Lineage, try_ids: Mapping[str, int], superseded: frozenset[str]
) -> tuple[Mapping[str, int], Changes]:
    rows = [
        entity_row(entity, _maker(entity, lineage, try_ids))
        for entity in lineage.entities.values()
        if entity.id not in superseded
    ]
    return put_by(connection, entities, "uid", rows, _changed_entity)


def _maker(entity: Entity, lineage: Lineage, try_ids: Mapping[str, int]) -> int | None:
    made_by = entity.made_by
    return (
        None if made_by is None or made_by not in lineage.tries else try_ids[fit_value(tries.c.uid, made_by)]
    )


def _changed_entity(known: RowMapping, new: Row) -> Row:
    """Tell what has changed of a file; who does not know its maker only fills in what is missing."""
    if new["try_id"] is not None:
        return differing(known, new)
    if known["try_id"] is not None:
        return {}
    return {name: value for name, value in new.items() if known[name] is None and value is not None}
