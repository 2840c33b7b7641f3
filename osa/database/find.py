"""Finds files by what a person says of them: identifier, path, hash or name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, and_, or_

from osa.database.reading import as_entity, select_entities
from osa.database.rows import fit_value
from osa.database.schema import entities
from osa.errors import InputError
from osa.provenance.lineage import Entity

__all__ = ["SHORTEST_PREFIX", "find_entity", "with_hash"]

SHORTEST_PREFIX = 8
"""Hexadecimal digits of a hash that are taken for one."""

_HASH = re.compile(rf"(?:(?:sha256|sample)[-:])?(?P<digits>[0-9a-fA-F]{{{SHORTEST_PREFIX},64}})")
_AFTER_DIGITS = "g"
_LENGTH = 64
_SHOWN = 4
_MOST = 10_000


def find_entity(connection: Connection, text: str, *, directory: Path | None = None) -> list[Entity]:
    """Find files by an identifier, a path, the hash of their content or its beginning, or their name.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        In a transaction.
    text : str
        What is known of the file.
    directory : pathlib.Path or None
        Where paths that are not absolute begin; a name is looked for there first.

    Returns
    -------
    list of Entity
        Those that fit: what is there now before what was replaced, and the newest first.

    Raises
    ------
    InputError
        If the beginning of a hash is that of several.
    """
    for condition in _meanings(text, directory):
        found = _select(connection, condition)
        if found:
            return found
    return _by_beginning(connection, text)


def _meanings(text: str, directory: Path | None) -> Iterator[ColumnElement[bool]]:
    """Tell what a text may mean, the narrowest first."""
    yield entities.c.uid == fit_value(entities.c.uid, text)
    if directory is not None or os.path.isabs(text):  # noqa: PTH117 - a text that need be no path
        path = os.path.normpath(os.path.join(directory or "/", text))  # noqa: PTH118
        yield entities.c.location == fit_value(entities.c.location, path)
    digits = _digits(text)
    if digits is not None and len(digits) == _LENGTH:
        yield _begins(digits)
    if "/" not in text:
        yield entities.c.name == fit_value(entities.c.name, text)


def with_hash(text: str) -> ColumnElement[bool] | None:
    """Make the condition that a hash begins with a text; None where the text can be none."""
    digits = _digits(text)
    return None if digits is None else _begins(digits)


def _begins(digits: str) -> ColumnElement[bool]:
    sample = f"sample-{digits}"  # raw files have their identifier of that
    return or_(
        and_(entities.c.sha256 >= digits, entities.c.sha256 < digits + _AFTER_DIGITS),
        and_(entities.c.uid >= sample, entities.c.uid < sample + _AFTER_DIGITS),
    )


def _digits(text: str) -> str | None:
    match = _HASH.fullmatch(text)
    return None if match is None else match["digits"].lower()


def _by_beginning(connection: Connection, text: str) -> list[Entity]:
    condition = with_hash(text)
    found = [] if condition is None else _select(connection, condition)
    hashes = {entity.sha256 or entity.sample for entity in found}
    if len(hashes) > 1:
        names = ", ".join(f"{entity.name} ({entity.sha256 or entity.sample})" for entity in found[:_SHOWN])
        raise InputError(
            f"{text} is the beginning of {len(hashes)} hashes: {names}"
            f"{', ...' if len(found) > _SHOWN else ''}: give more digits"
        )
    return found


def _select(connection: Connection, condition: ColumnElement[bool]) -> list[Entity]:
    rows = connection.execute(select_entities().where(condition).limit(_MOST))
    return sorted(map(as_entity, rows), key=_newest_first)


def _newest_first(entity: Entity) -> tuple[bool, float, str]:
    made_at = 0.0 if entity.made_at is None else entity.made_at.timestamp()
    return entity.replaced_at is not None, -made_at, entity.id
