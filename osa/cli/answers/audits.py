"""Is everything as it was recorded: files on disk, and documents."""

from __future__ import annotations

import argparse
from collections.abc import Iterable

from osa.cli.answers.files import index, the_file
from osa.cli.common import note, open_night
from osa.cli.listing import one_line, print_json
from osa.cli.progress import StageBar
from osa.database.listings import entities_to_verify
from osa.errors import ExitCode, InputError

__all__ = ["check", "verify"]


def verify(arguments: argparse.Namespace) -> ExitCode:
    """Compare files on disk with what was recorded."""
    from osa.provenance.checks import check_disk

    if arguments.files and (arguments.run is not None or arguments.night or arguments.inputs):
        raise InputError("--run, --night and --inputs choose files: they do not go with FILE")
    with index(arguments) as connection:
        if arguments.files:
            files = [the_file(connection, text) for text in arguments.files]
        else:
            files = list(
                entities_to_verify(
                    connection,
                    night=arguments.night,
                    run=arguments.run,
                    telescope=arguments.telescope,
                    inputs=arguments.inputs,
                )
            )
    faults = [f"{e.location}: another file has its name now" for e in files if e.replaced_at is not None]
    with StageBar() as bar:
        for count, entity in enumerate(files, start=1):
            faults += check_disk([entity], full=not arguments.quick)
            bar.update("comparing files", count, len(files))
    if arguments.json:
        print_json({"files": len(files), "faults": faults})
    else:
        _print_faults(faults)
    note(f"{len(files)} file(s) compared, {len(faults)} missing or changed")
    if not files:
        note("nothing of that is in the index")
    return ExitCode.NOT_COMPLETE if faults or not files else ExitCode.DONE


def _print_faults(faults: Iterable[str]) -> None:
    for fault in faults:
        print(one_line(fault))


def check(arguments: argparse.Namespace) -> ExitCode:
    """Check the documents of a night, and its files against the records."""
    from osa.provenance.audit import audit_documents, audit_files, documents_of_night, missing_documents

    layout = open_night(arguments)
    documents = documents_of_night(layout, arguments.runs)
    found = {str(path): ["is not there"] for path in missing_documents(layout, arguments.runs)}
    with StageBar() as bar:
        for count, (path, faults) in enumerate(audit_documents(documents), start=1):
            found[str(path)] = faults
            bar.update("checking documents", count, len(documents))
    files = list(audit_files(layout, arguments.runs, full=arguments.full))
    if arguments.json:
        print_json({"documents": found, "files": files})
    else:
        _print_faults(f"{name}: {fault}" for name, faults in found.items() for fault in faults)
        _print_faults(files)
    count = sum(map(len, found.values())) + len(files)
    note(f"{len(documents)} document(s) checked, {count} fault(s)")
    if not documents:
        note(f"there are no documents of {layout.title}: closer writes them, or provprocess")
    return ExitCode.NOT_COMPLETE if count or not documents else ExitCode.DONE
