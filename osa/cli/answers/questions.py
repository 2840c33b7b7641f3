"""What was made from what: lineage, impact, products, differences, tries, nights."""

from __future__ import annotations

import argparse
from collections import deque

from sqlalchemy import Connection

from osa.cli.answers.files import (
    index,
    kind_of,
    print_files,
    run_text,
    the_file,
    time_text,
    without_empty,
)
from osa.cli.common import note
from osa.cli.listing import print_rows
from osa.database.listings import (
    Product,
    find_by_configuration,
    find_by_night,
    find_by_run,
    find_by_version,
    nights_in_index,
    tries_of,
)
from osa.database.walks import impact_of, impact_of_version, lineage_of, lineage_of_run
from osa.errors import ExitCode, InputError
from osa.model.run import run_tag
from osa.provenance.lineage import Entity, Lineage
from osa.records.model import Status, TryRecord

__all__ = ["diff", "find", "impact", "lineage", "nights", "tries"]


def lineage(arguments: argparse.Namespace) -> ExitCode:
    """Tell what a file was made from, the nearest first."""
    kind = kind_of(arguments)
    with index(arguments) as connection:
        entity = the_file(connection, arguments.file)
        lineage = lineage_of(connection, [entity.id], arguments.depth)
    files = _nearest_first(lineage, entity.id)
    print_files((e for e in files if kind in (None, e.kind)), lineage.tries, arguments)
    return ExitCode.DONE


def _nearest_first(lineage: Lineage, start: str) -> list[Entity]:
    """Put files in the order of the number of steps back to them."""
    found: dict[str, None] = {}
    todo = deque([start])
    while todo:
        entity_id = todo.popleft()
        if entity_id not in found and entity_id in lineage.entities:
            found[entity_id] = None
            maker = lineage.entities[entity_id].made_by or ""
            todo.extend(use.entity_id for use in lineage.uses_of.get(maker, ()))
    return [lineage.entities[entity_id] for entity_id in found]


def impact(arguments: argparse.Namespace) -> ExitCode:
    """Tell what was made of a file, of a run, or with a version."""
    kind = kind_of(arguments)
    if arguments.version is not None and arguments.depth is not None:
        raise InputError("--depth goes with FILE or --run: what was made with a version has no beginning")
    with index(arguments) as connection:
        start: list[str] = []
        if arguments.version is not None:
            lineage = impact_of_version(connection, *arguments.version)
        else:
            start = _start_of_impact(connection, arguments)
            lineage = impact_of(connection, start, arguments.depth)
    files = [e for e in lineage.entities.values() if e.id not in start and e.made_by is not None]
    if not arguments.all:
        files = [entity for entity in files if entity.replaced_at is None]
    print_files((e for e in files if kind in (None, e.kind)), lineage.tries, arguments)
    failed = sum(record.status is not Status.DONE for record in lineage.tries.values())
    if failed:
        note(f"and {failed} tries did not succeed")
    return ExitCode.DONE


def _start_of_impact(connection: Connection, arguments: argparse.Namespace) -> list[str]:
    if arguments.run is None:
        return [the_file(connection, arguments.file).id]
    products = find_by_run(connection, arguments.run, limit=None, telescope=arguments.telescope)
    if not products:
        raise InputError(f"run {arguments.run} is not in the index")
    return [product.entity.id for product in products]


def find(arguments: argparse.Namespace) -> ExitCode:
    """List products."""
    with index(arguments) as connection:
        products = _find(connection, arguments)
    steps = {product.entity.id: product.step for product in products}
    print_files((product.entity for product in products), {}, arguments, steps)
    if len(products) == arguments.limit:
        note(f"there may be more: --limit {arguments.limit} is reached")
    return ExitCode.DONE


def _find(connection: Connection, arguments: argparse.Namespace) -> list[Product]:
    kind, limit = kind_of(arguments), arguments.limit
    if arguments.version is not None:
        name, version = arguments.version
        return find_by_version(connection, name, version, kind, limit)
    if arguments.configuration is not None:
        return find_by_configuration(connection, arguments.configuration, kind, limit)
    if arguments.night is not None:
        return find_by_night(connection, arguments.night, arguments.telescope, kind, limit)
    return find_by_run(connection, arguments.run, kind=kind, limit=limit, telescope=arguments.telescope)


def diff(arguments: argparse.Namespace) -> ExitCode:
    """Tell how two runs were made differently."""
    from osa.provenance.compare import differences

    with index(arguments) as connection:
        lineages = [
            lineage_of_run(connection, run, telescope=arguments.telescope)
            for run in (arguments.first, arguments.second)
        ]
    for run, lineage in zip((arguments.first, arguments.second), lineages, strict=True):
        if not lineage.tries:
            raise InputError(f"run {run} is not in the index")
    found, same = differences(*lineages)
    heads = (f"Run {run_tag(arguments.first)}", f"Run {run_tag(arguments.second)}")
    rows = [{"Step": d.step, "What": d.what, heads[0]: d.first, heads[1]: d.second} for d in found]
    print_rows(rows, as_json=arguments.json)
    note(f"{len(found)} difference(s); {same} thing(s) are the same")
    return ExitCode.DONE


def tries(arguments: argparse.Namespace) -> ExitCode:
    """List all tries of a run or sub-run."""
    run, subrun = arguments.run
    with index(arguments) as connection:
        attempts = tries_of(connection, run, subrun, arguments.night, arguments.telescope)
    if not attempts:
        raise InputError(f"no tries of {run_text(run, subrun)} are in the index")
    rows = []
    for attempt in attempts:
        record = attempt.record
        took = None if record.ended is None else (record.ended - record.started).total_seconds()
        rows.append(
            {
                "Step": record.step,
                "Run": run_text(record.run, record.subrun),
                "Status": str(record.status),
                "Exit": record.exit_code,
                "Began (UTC)": time_text(record.started),
                "Seconds": took if took is None else round(took, 1),
                "Host": record.host,
                "Job": _job(record),
                "Made": ", ".join(_made(entity) for entity in attempt.made) or None,
                "Reason": record.reason or None,
            }
        )
    print_rows(rows if arguments.json else without_empty(rows), as_json=arguments.json)
    return ExitCode.DONE


def _made(entity: Entity) -> str:
    return entity.name + ("" if entity.replaced_at is None else " (replaced)")


def _job(record: TryRecord) -> str | None:
    if record.job.job is None:
        return None
    task = "" if record.job.task is None else f"_{record.job.task}"
    restart = f" (restart {record.job.restart})" if record.job.restart else ""
    return f"{record.job.job}{task}{restart}"


def nights(arguments: argparse.Namespace) -> ExitCode:
    """List the nights that are in the index."""
    with index(arguments) as connection:
        nights = nights_in_index(connection, arguments.limit)
    rows = [
        {
            "Night": night.night,
            "Tel": night.telescope,
            "Production": night.prod_id,
            "Runs": night.runs,
            "Tries": night.tries,
            "Products": night.products,
        }
        for night in nights
    ]
    print_rows(rows, as_json=arguments.json)
    return ExitCode.DONE
