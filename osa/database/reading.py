"""Makes tries, files and lineages of what is in the tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, select

from osa.database.schema import entities, nights, parameter_sets, roles, software, tries, uses
from osa.database.upsert import chunks, known_rows
from osa.model.dataset import DatasetKind
from osa.provenance.lineage import Entity, Lineage, Use
from osa.records.model import ConfigFile, JobIds, Software, Status, TryRecord

__all__ = ["as_entity", "assemble", "fetch_tries", "in_order", "of_run", "select_entities"]

_MAKERS = tries.alias("makers")


def select_entities() -> Select[Any]:
    """Select files with all that :func:`as_entity` needs, by ``entities`` and its makers."""
    columns = [column for column in entities.c if column.name != "try_id"]
    return select(*columns, _MAKERS.c.uid.label("made_by")).join_from(
        entities, _MAKERS, _MAKERS.c.id == entities.c.try_id, isouter=True
    )


def as_entity(row: Any) -> Entity:
    """Make a file of a row."""
    return Entity(
        id=row.uid,
        kind=_kind(row.kind),
        name=row.name,
        location=row.location,
        size=row.size,
        modified=row.modified,
        sha256=row.sha256,
        sample=row.sample,
        night=row.night,
        run=row.run,
        subrun=row.subrun,
        made_by=row.made_by,
        made_at=row.made_at,
        replaced_at=row.replaced_at,
        archived=row.archived,
    )


def _kind(text: str) -> DatasetKind:
    try:
        return DatasetKind(text)
    except ValueError:  # written by a later version of this program
        return DatasetKind.OTHER


def in_order(found: Iterable[Entity]) -> list[Entity]:
    """Sort files: those from elsewhere first, then what was made, by time."""
    return sorted(found, key=lambda entity: (entity.made_at is not None, entity.made_at, entity.id))


def fetch_tries(connection: Connection, keys: Collection[int]) -> dict[int, TryRecord]:
    """Read tries with their configuration, in the order in which they began.

    What they read and made is left to the lineage.
    """
    # What many tries share is read for itself: once, and no planner begins with it.
    rows = [row for chunk in chunks(keys) for row in connection.execute(_TRIES.where(tries.c.id.in_(chunk)))]
    shared = _Shared.of(connection, rows)
    configured = _configuration(connection, keys)
    found = {row.id: _as_try(row, shared, configured.get(row.id, ())) for row in rows}
    return dict(sorted(found.items(), key=lambda item: (item[1].started, item[1].id)))


_TRIES = select(tries)


@dataclass(frozen=True)
class _Shared:
    """Rows that many tries refer to, by their keys."""

    nights: Mapping[int, Any]
    software: Mapping[int, Software]
    parameters: Mapping[int, Mapping[str, str]]

    @classmethod
    def of(cls, connection: Connection, rows: Iterable[Any]) -> _Shared:
        keys = [(row.night_id, row.software_id, row.parameter_set_id) for row in rows]
        night_ids, software_ids, parameter_ids = (
            map(set, zip(*keys, strict=True)) if keys else (set[int](),) * 3
        )
        return cls(
            {row["id"]: row for row in known_rows(connection, nights.c.id, night_ids)},
            {
                row["id"]: Software(row["versions"], row["environment"])
                for row in known_rows(connection, software.c.id, software_ids)
            },
            {
                row["id"]: row["parameters"]
                for row in known_rows(connection, parameter_sets.c.id, parameter_ids)
            },
        )


def _as_try(row: Any, shared: _Shared, configuration: Iterable[ConfigFile]) -> TryRecord:
    night = shared.nights[row.night_id]
    return TryRecord(
        id=row.uid,
        telescope=night["telescope"],
        night=night["night"],
        run=row.run,
        subrun=row.subrun,
        step=row.step,
        program=row.program,
        package=row.package,
        prod_id=row.prod_id,
        started=row.started,
        ended=row.ended,
        status=Status(row.status),
        exit_code=row.exit_code,
        reason=row.reason,
        configuration=tuple(configuration),
        parameters=shared.parameters[row.parameter_set_id],
        software=shared.software[row.software_id],
        host=row.host,
        user=row.user,
        job=JobIds(row.job, row.task, row.restart),
        wall_time=row.wall_time,
        cpu_time=row.cpu_time,
        peak_memory=row.peak_memory,
    )


def _configuration(connection: Connection, keys: Iterable[int]) -> Mapping[int, list[ConfigFile]]:
    """Read which configuration files tries were given; there are few, which many tries share."""
    query = select(uses.c.try_id, uses.c.entity_id, uses.c.role_id).where(uses.c.is_configuration)
    given = [
        link for chunk in chunks(keys) for link in connection.execute(query.where(uses.c.try_id.in_(chunk)))
    ]
    files = {
        row["id"]: row for row in known_rows(connection, entities.c.id, {link.entity_id for link in given})
    }
    names = _role_names(connection, {link.role_id for link in given})
    found: dict[int, list[ConfigFile]] = defaultdict(list)
    for link in given:
        file = files[link.entity_id]
        config = ConfigFile(names[link.role_id], file["location"], file["sha256"], file["archived"])
        found[link.try_id].append(config)
    for configured in found.values():
        configured.sort(key=lambda config: (config.name, config.path))
    return found


def _role_names(connection: Connection, keys: Collection[int]) -> dict[int, str]:
    return {row["id"]: row["name"] for row in known_rows(connection, roles.c.id, keys)}


def assemble(connection: Connection, entity_keys: Collection[int], try_keys: Collection[int]) -> Lineage:
    """Make a lineage of some tries and files, with the links between them.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        In a transaction.
    entity_keys, try_keys : collection of int
        The files and the tries.
    """
    files = dict(_fetch_entities(connection, entity_keys))
    records = fetch_tries(connection, try_keys)
    query = select(uses.c.try_id, uses.c.entity_id, uses.c.role_id, uses.c.is_configuration)
    links = [
        link
        for chunk in chunks(try_keys)
        for link in connection.execute(query.where(uses.c.try_id.in_(chunk)))
        if link.entity_id in files
    ]
    names = _role_names(connection, {link.role_id for link in links})
    read: dict[int, list[Use]] = defaultdict(list)
    for link in links:
        use = Use(
            records[link.try_id].id, files[link.entity_id].id, names[link.role_id], link.is_configuration
        )
        read[link.try_id].append(use)
    return Lineage(
        tries={record.id: record for record in records.values()},
        entities={entity.id: entity for entity in in_order(files.values())},
        uses=tuple(use for key in records for use in _sorted_uses(read[key])),
    )


def _sorted_uses(found: Iterable[Use]) -> list[Use]:
    return sorted(found, key=lambda use: (use.is_configuration, use.role, use.entity_id))


def _fetch_entities(connection: Connection, keys: Iterable[int]) -> Iterable[tuple[int, Entity]]:
    for chunk in chunks(keys):
        for row in connection.execute(select_entities().where(entities.c.id.in_(chunk))):
            yield row.id, as_entity(row)


def of_run(
    run: int | None, subrun: int | None = None, night: str | None = None, telescope: str | None = None
) -> list[ColumnElement[bool]]:
    """Make the conditions that a try, joined with its night, is of a run; None stands for any."""
    asked = (
        (tries.c.run, run),
        (tries.c.subrun, subrun),
        (nights.c.night, night),
        (nights.c.telescope, telescope),
    )
    wanted = (column == value for column, value in asked if value is not None)
    return [nights.c.id == tries.c.night_id, *wanted]
