"""The command ``provprocess``: documents of provenance, and the index, made from the records."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from osa.cli.common import (
    Parser,
    add_config_option,
    add_date_option,
    add_telescope_option,
    note,
    open_night,
    run_command,
)
from osa.errors import ExitCode, InputError

if TYPE_CHECKING:
    from osa.config import Settings
    from osa.layout import Layout
    from osa.model.sequence import NightPlan
    from osa.model.sequence import Sequence as RunSequence

__all__ = ["main"]

EXAMPLES = """\
  provprocess -d 2020_01_27              documents and graphs of all runs of that night, and the index
  provprocess -d 2020_01_27 1874         of one run
  provprocess -d 2020_01_27 1874 --detail -o /tmp    with each sub-run in the graph, somewhere else
  provprocess -d 2020_01_27 --index-only bring the night into the index that provquery asks
  provprocess --rebuild-index            make the index anew from all records that there are
"""


def _parser() -> Parser:
    parser = Parser(
        "provprocess",
        "Make the provenance documents of runs anew from the records that their tasks and the\n"
        "closer wrote: PROV-JSON with the classes of the IVOA, and graphs (PDF). The closer does so\n"
        "by itself; this is for nights that are not closed, for graphs in detail, and for the index.",
        EXAMPLES,
    )
    parser.add_argument("runs", nargs="*", type=int, metavar="RUN", help="only these runs (default: all)")
    add_config_option(parser)
    add_date_option(parser)
    add_telescope_option(parser)
    parser.add_argument("--detail", action="store_true", help="graphs with each sub-run")
    parser.add_argument("--no-graphs", action="store_true", help="only the documents")
    parser.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="default: beside the products")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--index-only", action="store_true", help="write no documents")
    what.add_argument(
        "--rebuild-index", action="store_true", help="drop the index and make it anew from all nights"
    )
    return parser


def _command(arguments: argparse.Namespace) -> ExitCode:
    if arguments.output is not None and (arguments.index_only or arguments.rebuild_index):
        raise InputError("-o says where documents go: it does not go with what writes none")
    if arguments.rebuild_index and arguments.runs:
        raise InputError("--rebuild-index takes in all nights: it does not go with RUN")
    layout = open_night(arguments)
    if arguments.rebuild_index:
        return _rebuild(layout.settings)
    from osa.nightsummary.plan import plan_night

    plan = plan_night(layout)
    chosen = [s for s in plan.sequences if not arguments.runs or s.run in arguments.runs]
    unknown = sorted(set(arguments.runs) - {sequence.run for sequence in chosen})
    if unknown:
        raise InputError(f"{layout.title} has no sequence of run(s) {', '.join(map(str, unknown))}")
    faults = [] if arguments.index_only else _write(layout, plan, chosen, arguments)
    for fault in faults:
        note(fault)
    if arguments.output is None:
        _index(layout, plan)
    return ExitCode.NOT_COMPLETE if faults else ExitCode.DONE


def _write(
    layout: Layout, plan: NightPlan, chosen: Sequence[RunSequence], arguments: argparse.Namespace
) -> list[str]:
    """Write the documents of some sequences; gives what is wrong with them."""
    from osa.cli.progress import StageBar
    from osa.provenance.publish import lineage_of_sequence, wants_graphs, write_documents

    graphs = wants_graphs(layout) and not arguments.no_graphs
    if not graphs and not arguments.no_graphs:
        note("no graphs: Graphviz is not installed, or [PROVENANCE] graphs = no")
    faults: list[str] = []
    with StageBar() as bar:
        for count, sequence in enumerate(chosen):
            bar.update("writing provenance", count, len(chosen))
            lineage = lineage_of_sequence(layout, plan, sequence)
            if all(record.run != sequence.run for record in lineage.tries.values()):
                faults.append(f"{sequence.name}: there are no records of it")
                continue
            written = write_documents(
                layout,
                lineage,
                sequence,
                graphs=graphs,
                detail=arguments.detail,
                folder=arguments.output,
            )
            for path in written.files:
                print(path)
            faults += written.faults
        bar.update("writing provenance", len(chosen), len(chosen))
    return faults


def _index(layout: Layout, plan: NightPlan) -> None:
    from osa.database.index import update_index
    from osa.nightstate import read_night_state
    from osa.scheduler.select import select_scheduler

    scheduler = select_scheduler(layout.settings, None, warn=note)
    states = read_night_state(layout, plan, scheduler.records(layout.group, plan.names))
    changes = update_index(layout, plan, states)
    note(f"index: {changes.inserted} new, {changes.updated} changed, {changes.removed} removed")


def _rebuild(settings: Settings) -> ExitCode:
    from osa.cli.progress import StageBar
    from osa.config import load_settings, telescope_names
    from osa.database.index import rebuild_index

    names = [name for name in telescope_names(settings.path) if name != settings.telescope_name]
    telescopes = [settings, *(load_settings(settings.path, name) for name in names)]
    with StageBar() as bar:
        nights, failures = rebuild_index(
            telescopes, lambda done, total: bar.update("indexing nights", done, total)
        )
    for failure in failures:
        note(failure)
    note(f"{len(nights)} night(s) are in the index")
    return ExitCode.NOT_COMPLETE if failures else ExitCode.DONE


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    return run_command(_parser(), _command, argv)


if __name__ == "__main__":
    sys.exit(main())
