"""Is everything as it was recorded: files on disk, and documents."""

from __future__ import annotations

import argparse

from osa.cli.answers.files import index, the_file
from osa.cli.common import note, open_night
from osa.cli.listing import print_json
from osa.cli.progress import StageBar
from osa.database.listings import entities_to_verify
from osa.errors import ExitCode

__all__ = ["check", "verify"]


def verify(arguments: argparse.Namespace) -> ExitCode:
    """Compare files on disk with what was recorded."""
    from osa.provenance.checks import check_disk

    with index(arguments) as connection:
        if arguments.files:
            files = [the_file(connection, text) for text in arguments.files]
        else:
            files = list(
                entities_to_verify(
                    connection, night=arguments.night, run=arguments.run, inputs=arguments.inputs
                )
            )
    faults: list[str] = []
    with StageBar() as bar:
        for count, entity in enumerate(files, start=1):
            faults += check_disk([entity], full=not arguments.quick)
            bar.update("comparing files", count, len(files))
    if arguments.json:
        print_json({"files": len(files), "faults": faults})
    for fault in [] if arguments.json else faults:
        print(fault)
    note(f"{len(files)} file(s) compared, {len(faults)} missing or changed")
    if not files:
        note("nothing of that is in the index")
    return ExitCode.NOT_COMPLETE if faults or not files else ExitCode.DONE


def check(arguments: argparse.Namespace) -> ExitCode:
    """Check the documents of a night, and its files against the records."""
    from osa.provenance.audit import audit_documents, audit_files, documents_of_night

    layout = open_night(arguments)
    documents = documents_of_night(layout, arguments.runs)
    found = {}
    with StageBar() as bar:
        for count, (path, faults) in enumerate(audit_documents(documents), start=1):
            found[str(path)] = faults
            bar.update("checking documents", count, len(documents))
    files = list(audit_files(layout, arguments.runs, full=arguments.full))
    if arguments.json:
        print_json({"documents": found, "files": files})
    else:
        for name, faults in found.items():
            for fault in faults:
                print(f"{name}: {fault}")
        for fault in files:
            print(fault)
    count = sum(map(len, found.values())) + len(files)
    note(f"{len(documents)} document(s) checked, {count} fault(s)")
    if not documents:
        note(f"there are no documents of {layout.title}: closer writes them, or provprocess")
    return ExitCode.NOT_COMPLETE if count or not documents else ExitCode.DONE
