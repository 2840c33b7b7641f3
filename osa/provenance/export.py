"""A lineage in the formats of others: PROV-JSON, PROV-N, VOTable, PDF."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from osa.model.text import printable
from osa.provenance.describe import describe_step
from osa.provenance.lineage import Lineage

if TYPE_CHECKING:
    from astropy.table import MaskedColumn

__all__ = ["FORMATS", "export_lineage"]

FORMATS: Mapping[str, str] = {"json": ".json", "provn": ".provn", "votable": ".xml", "pdf": ".pdf"}
"""Formats, each with the ending of its files."""


def export_lineage(lineage: Lineage, form: str, title: str, *, detail: bool = False) -> bytes:
    """Write a lineage.

    Parameters
    ----------
    lineage : Lineage
        Tries and files.
    form : str
        One of the formats.
    title : str
        What stands above a picture.
    detail : bool
        Whether a picture shows each sub-run.

    Raises
    ------
    OsaError
        If a picture cannot be drawn.
    """
    if form == "pdf":
        from osa.provenance.graph import draw_graph

        return draw_graph(lineage, title, detail=detail)
    if form == "votable":
        return _votable(lineage, title)
    from osa.provenance.document import make_document

    text = make_document(lineage).serialize(None, format=form)
    assert text is not None  # as nothing else takes it
    return text.encode() + b"\n"


def _votable(lineage: Lineage, title: str) -> bytes:
    """Write tables of activities, entities and the relations between them, as VOTable."""
    from astropy.io.votable.tree import Resource, TableElement, VOTableFile
    from astropy.table import Table

    votable = VOTableFile()
    resource = Resource(name="provenance")
    resource.description = title
    votable.resources.append(resource)
    for name, rows in _tables(lineage).items():
        if rows:
            columns = {key: _column(row[key] for row in rows) for key in rows[0]}
            element = TableElement.from_table(votable, Table(columns))
            element.name = name
            resource.tables.append(element)
    stream = io.BytesIO()
    votable.to_xml(stream)
    return stream.getvalue()


def _column(values: Iterable[Any]) -> MaskedColumn:
    """Make a column of one type, masked where something is not known."""
    from astropy.table import MaskedColumn

    column = list(values)
    mask = [value is None for value in column]
    if any(isinstance(value, int) for value in column):
        return MaskedColumn([0 if value is None else value for value in column], mask=mask)
    return MaskedColumn(["" if value is None else _text(value) for value in column], mask=mask)


def _text(value: Any) -> str:
    """Write what XML can hold."""
    return printable(str(value), "\N{REPLACEMENT CHARACTER}")


def _time(when: datetime | None) -> str | None:
    return None if when is None else when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _tables(lineage: Lineage) -> dict[str, list[dict[str, Any]]]:
    """Make the rows of the tables, named as the classes and relations of the IVOA's model."""
    return {
        "Activity": [
            {
                "id": record.id,
                "name": describe_step(record.step).title,
                "startTime": _time(record.started),
                "endTime": _time(record.ended),
                "status": str(record.status),
                "exit_code": record.exit_code,
                "night": record.night,
                "run": record.run,
                "subrun": record.subrun,
                "prod_id": record.prod_id,
                "software": f"{record.package} {record.version}",
                "host": record.host,
                "job": record.job.job,
                "task": record.job.task,
            }
            for record in lineage.tries.values()
        ],
        "Entity": [
            {
                "id": entity.id,
                "name": entity.name,
                "kind": str(entity.kind),
                "location": entity.location,
                "generatedAtTime": _time(entity.made_at),
                "invalidatedAtTime": _time(entity.replaced_at),
                "size": entity.size,
                "sha256": entity.sha256,
                "sample": entity.sample,
                "run": entity.run,
                "subrun": entity.subrun,
            }
            for entity in lineage.entities.values()
        ],
        "Used": [
            {"activity": use.try_id, "entity": use.entity_id, "role": use.role}
            for use in lineage.uses
            if not use.is_configuration
        ],
        "WasConfiguredBy": [
            {"activity": use.try_id, "entity": use.entity_id, "role": use.role}
            for use in lineage.uses
            if use.is_configuration
        ],
        "WasGeneratedBy": [
            {"entity": entity.id, "activity": entity.made_by, "role": str(entity.kind)}
            for entity in lineage.entities.values()
            if entity.made_by in lineage.tries
        ],
    }
