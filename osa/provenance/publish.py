"""Writing the documents of a run: JSON and PDF, with the records that they were made from."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from osa.errors import OsaError
from osa.layout import DATA_PARTS, DocumentPart, Layout
from osa.model.run import run_tag
from osa.model.sequence import NightPlan, Sequence, SequenceKind
from osa.provenance.checks import check_document, check_round_trip
from osa.provenance.document import make_document
from osa.provenance.graph import draw_graph
from osa.provenance.lineage import Lineage, build_lineage
from osa.provenance.sources import (
    calibration_records,
    part_of,
    records_of_run,
    records_of_sequence,
)
from osa.records.lines import begin_line, end_line
from osa.records.model import MOVE_STEP, TryRecord
from osa.system.files import create_bytes, write_bytes, write_text

__all__ = [
    "Written",
    "document_paths",
    "keep_borrowed_records",
    "keep_records",
    "lineage_of_sequence",
    "part_lineage",
    "parts_of",
    "wants_graphs",
    "write_documents",
]

_DL1_STEPS = frozenset({"r0_to_dl1", "datacheck", "merge_datacheck", MOVE_STEP})
_DL2_STEPS = frozenset({"dl1_to_dl2", "merge_dl2", MOVE_STEP})
_STEPS = {
    DocumentPart.CALIBRATION_TO_DL1: _DL1_STEPS,
    DocumentPart.DL1_TO_DL2: _DL2_STEPS,
    DocumentPart.CALIBRATION_TO_DL2: _DL1_STEPS | _DL2_STEPS,
}


@dataclass(frozen=True)
class Written:
    """What was written for a run.

    Parameters
    ----------
    files : tuple of pathlib.Path
        Documents and graphs.
    faults : tuple of str
        What is wrong with them, or could not be drawn.
    """

    files: tuple[Path, ...]
    faults: tuple[str, ...] = ()


def wants_graphs(layout: Layout) -> bool:
    """Tell whether graphs are to be drawn here."""
    how = layout.settings.provenance.graphs
    return how == "yes" or (how == "auto" and shutil.which("dot") is not None)


def lineage_of_sequence(layout: Layout, plan: NightPlan, sequence: Sequence) -> Lineage:
    """Read the records of a sequence, and of the calibration before it."""
    return build_lineage(records_of_sequence(layout, plan, sequence))


def parts_of(sequence: Sequence) -> tuple[DocumentPart, ...]:
    """Name the documents that a sequence has."""
    return (DocumentPart.CALIBRATION,) if sequence.kind is SequenceKind.CALIBRATION else DATA_PARTS


def document_paths(layout: Layout, sequence: Sequence) -> list[Path]:
    """List the documents of a sequence, without their graphs."""
    return [layout.document(part, sequence.run) for part in parts_of(sequence)]


def part_lineage(lineage: Lineage, run: int, part: DocumentPart) -> Lineage:
    """Take out of the lineage of a run what one of its documents tells.

    Parameters
    ----------
    lineage : Lineage
        Of the run, and of the calibration before it.
    run : int
        The run.
    part : DocumentPart
        The document.
    """
    if part is DocumentPart.CALIBRATION:
        return lineage
    steps = _STEPS[part]
    own = {r.id for r in lineage.tries.values() if r.run == run and r.step in steps}
    if part is not DocumentPart.DL1_TO_DL2:
        read = [use.entity_id for use in lineage.uses if use.try_id in own]
        before = (lineage.entities[entity_id].made_by for entity_id in lineage.ancestors(read))
        own |= {try_id for try_id in before if try_id is not None}
    return lineage.restricted(lambda record: record.id in own)


def write_documents(
    layout: Layout,
    lineage: Lineage,
    sequence: Sequence,
    *,
    graphs: bool,
    detail: bool = False,
    folder: Path | None = None,
) -> Written:
    """Write the documents of a sequence.

    Parameters
    ----------
    layout : Layout
        Of the night.
    lineage : Lineage
        Of the sequence.
    sequence : Sequence
        The sequence.
    graphs : bool
        Whether to draw them as well.
    detail : bool
        Whether the graphs show each sub-run.
    folder : pathlib.Path, optional
        Where to; by default beside the products.
    """
    files, faults = [], []
    for part in parts_of(sequence):
        selected = part_lineage(lineage, sequence.run, part)
        if not selected.tries:
            continue  # nothing was done, so there is nothing to tell
        path = layout.document(part, sequence.run)
        path = path if folder is None else folder / path.name
        document = make_document(selected)
        text = document.serialize(None, format="json")
        assert text is not None  # as nothing else takes it
        write_text(path, text + "\n")
        files.append(path)
        found = [*check_document(document, part), *check_round_trip(document, text)]
        if graphs:
            title = f"{part.words}, run {run_tag(sequence.run)}, {layout.title}"
            try:
                write_bytes(path.with_suffix(".pdf"), draw_graph(selected, title, detail=detail))
                files.append(path.with_suffix(".pdf"))
            except OsaError as error:
                found.append(f"no graph: {error}")
        faults += [f"{path.name}: {fault}" for fault in found]
    return Written(tuple(files), tuple(faults))


def keep_records(layout: Layout, sequence: Sequence) -> None:
    """Put copies of a run's records, and of the files that they name, beside its products."""
    records = records_of_run(layout, sequence.run)
    is_calibration = sequence.kind is SequenceKind.CALIBRATION
    for part in (DocumentPart.CALIBRATION,) if is_calibration else DATA_PARTS[:2]:
        mine = [
            record
            for record in records
            if part_of(record, is_calibration=is_calibration) is part or record.step == MOVE_STEP
        ]
        if mine:
            write_text(layout.kept_records(part, sequence.run), _lines(mine))
            _keep_archived(layout, layout.document_dir(part) / "archive", mine)


def keep_borrowed_records(layout: Layout, plan: NightPlan) -> None:
    """Put copies of the records of another night's calibration beside the night's own, if one serves.

    The documents can then be made again without the note that says whose calibration served.
    """
    if plan.borrowed is None:
        return
    records = calibration_records(layout, plan)
    if records:
        path = layout.kept_records(DocumentPart.CALIBRATION, plan.borrowed.calibration_run)
        write_text(path, _lines(records))


def _lines(records: Iterable[TryRecord]) -> str:
    lines = []
    for record in records:
        lines.append(begin_line(record))
        if record.ended is not None:
            lines.append(end_line(record))
    return "\n".join([*lines, ""])


def _keep_archived(layout: Layout, folder: Path, records: Iterable[TryRecord]) -> None:
    names = {c.archived for record in records for c in record.configuration if c.archived}
    names |= {f"{r.software.environment}.software.txt" for r in records if r.software.environment}
    for name in sorted(names):
        source = layout.archive_dir / name
        if source.exists() and not (folder / name).exists():
            create_bytes(folder / name, source.read_bytes())
