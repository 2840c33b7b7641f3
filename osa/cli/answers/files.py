"""Finding and showing files of the index, as all answers do."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from osa.cli.common import note
from osa.cli.listing import one_line, print_json, print_rows
from osa.config import find_configuration, load_settings
from osa.database.engine import open_database
from osa.database.find import find_entity
from osa.errors import InputError
from osa.layout import subrun_tag
from osa.model.dataset import DatasetKind
from osa.model.run import run_tag
from osa.provenance.lineage import Entity
from osa.records.model import TryRecord

__all__ = ["index", "kind_of", "print_files", "run_text", "the_file", "time_text", "without_empty"]

_LISTED = 5


@contextmanager
def index(arguments: argparse.Namespace) -> Iterator[Connection]:
    """Open the index that the configuration names, to read."""
    settings = load_settings(find_configuration(arguments.config, os.environ), arguments.telescope)
    database = open_database(settings.provenance, create=False)
    with database.reading() as connection:
        yield connection


def the_file(connection: Connection, text: str) -> Entity:
    """Find the one file that is meant: the current one, where others had its name before."""
    found = find_entity(connection, text, directory=Path.cwd())
    if not found:
        raise InputError(
            f"{text} is not in the index; provprocess -d NIGHT brings a night into it that is not closed"
        )
    current = [entity for entity in found if entity.replaced_at is None]
    if len(current) > 1:
        places = "\n  ".join(one_line(f"{entity.id}  {entity.location}") for entity in current[:_LISTED])
        raise InputError(
            f"{len(current)} files are called {text}; say which by path or identifier:\n  {places}"
        )
    if not current:
        note(f"{text} is no longer there: another file got its name on {time_text(found[0].replaced_at)}")
    return (current or found)[0]


def kind_of(arguments: argparse.Namespace) -> DatasetKind | None:
    """Tell of which kind files are asked for; None for all."""
    if arguments.kind is None:
        return None
    names = {str(each).lower(): each for each in DatasetKind}
    wanted = names.get(arguments.kind.lower().replace("_", " "))
    if wanted is None:
        raise InputError(f"--kind {arguments.kind}: there are {', '.join(map(str, DatasetKind))}")
    return wanted


def time_text(when: datetime | None) -> str | None:
    """Write a time."""
    return None if when is None else f"{when:%Y-%m-%d %H:%M}"


def run_text(run: int | None, subrun: int | None) -> str | None:
    """Write run and sub-run."""
    if run is None:
        return None
    return run_tag(run) if subrun is None else subrun_tag(run, subrun)


def file_row(entity: Entity, record: TryRecord | None = None, step: str | None = None) -> dict[str, Any]:
    return {
        "Kind": str(entity.kind),
        "File": entity.name,
        "Run": run_text(entity.run, entity.subrun),
        "Step": record.step if record else step,
        "Made (UTC)": time_text(entity.made_at),
        "Folder": entity.location.rpartition("/")[0] or "/",
    }


def without_empty(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out columns in which no row has anything."""
    filled = {key for row in rows for key, value in row.items() if value is not None}
    return [{key: value for key, value in row.items() if key in filled} for row in rows]


def file_json(entity: Entity) -> dict[str, Any]:
    """Write all that is known of a file, under the names of its fields."""
    return {key: value for key, value in vars(entity).items() if value is not None}


def print_files(
    files: Iterable[Entity],
    tries: Mapping[str, TryRecord],
    arguments: argparse.Namespace,
    steps: Mapping[str, str] | None = None,
) -> None:
    """Print files.

    Parameters
    ----------
    files : iterable of Entity
        The files.
    tries : mapping of str to TryRecord
        The tries that made them, as far as they are known.
    arguments : argparse.Namespace
        Of the command line; tells whether to print JSON.
    steps : mapping of str to str, optional
        The steps that made them, by the identifier of the file, where that is all that is known.
    """
    files = list(files)
    if arguments.json:
        print_json([file_json(entity) for entity in files])
        return
    rows = [
        file_row(entity, tries.get(entity.made_by or ""), (steps or {}).get(entity.id)) for entity in files
    ]
    print_rows(without_empty(rows), as_json=False)
    note(f"{len(files)} file(s)")
