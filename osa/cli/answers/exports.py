"""Lineages in other formats."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from osa.cli.answers.files import index, the_file
from osa.cli.common import note
from osa.database.listings import find_by_run
from osa.database.walks import impact_of, lineage_of, lineage_of_run
from osa.errors import ExitCode, InputError
from osa.model.run import run_tag
from osa.provenance.lineage import Lineage
from osa.system.files import write_bytes

__all__ = ["export"]


def export(arguments: argparse.Namespace) -> ExitCode:
    """Write a lineage in another format."""
    from osa.provenance.export import FORMATS, export_lineage

    output: Path | None = arguments.output
    by_ending = {ending: form for form, ending in FORMATS.items()}
    form = arguments.format or (by_ending.get(output.suffix) if output else "json")
    if form is None:
        endings = ", ".join(by_ending)
        raise InputError(f"-o {output}: say --format, or let the name end with one of {endings}")
    if output is not None and output.exists() and not arguments.overwrite:
        raise InputError(f"{output} is there already (--overwrite replaces it)")
    if output is None and form == "pdf" and sys.stdout.isatty():
        raise InputError("a PDF on the terminal helps nobody: say -o OUT.pdf")
    lineage, title = _to_export(arguments)
    data = export_lineage(lineage, form, title, detail=arguments.detail)
    if output is None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    else:
        write_bytes(output.absolute(), data)
        note(f"{output}: {len(lineage.tries)} tries, {len(lineage.entities)} files")
    return ExitCode.DONE


def _to_export(arguments: argparse.Namespace) -> tuple[Lineage, str]:
    with index(arguments) as connection:
        if arguments.target.isdecimal() and len(arguments.target) <= 8:
            run = int(arguments.target)
            if arguments.impact:
                files = [
                    product.entity.id
                    for product in find_by_run(connection, run, limit=None, telescope=arguments.telescope)
                ]
                if not files:
                    raise InputError(f"run {run} is not in the index")
                return impact_of(connection, files, arguments.depth), f"what was made of run {run_tag(run)}"
            if arguments.depth is not None:
                raise InputError("--depth goes with a FILE, or with --impact: of a run all is told")
            lineage = lineage_of_run(connection, run, telescope=arguments.telescope)
            if not lineage.tries:
                raise InputError(f"run {run} is not in the index")
            return lineage, f"provenance of run {run_tag(run)}"
        entity = the_file(connection, arguments.target)
        walk = impact_of if arguments.impact else lineage_of
        title = "what was made of" if arguments.impact else "provenance of"
        return walk(connection, [entity.id], arguments.depth), f"{title} {entity.name}"
