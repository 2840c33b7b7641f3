"""Finding the records of a run: in the night's working folder, and with its final products."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from osa.layout import DocumentPart, Layout
from osa.model.run import run_tag
from osa.model.sequence import NightPlan, Sequence, SequenceKind
from osa.provenance.lineage import merge_tries
from osa.records.lines import read_records
from osa.records.model import MOVE_STEP, TryRecord

__all__ = [
    "calibration_records",
    "has_records",
    "in_production",
    "part_of",
    "records_of_night",
    "records_of_run",
    "records_of_sequence",
]

_CALIBRATION_STEPS = frozenset(
    {"drs4_pedestal", "time_calibration", "charge_calibration", "calibration_plots"}
)
_DL2_STEPS = frozenset({"dl1_to_dl2", "merge_dl2"})


def part_of(record: TryRecord, *, is_calibration: bool = False) -> DocumentPart:
    """Tell with which products the record of a try is kept."""
    if record.step in _CALIBRATION_STEPS or is_calibration:
        return DocumentPart.CALIBRATION
    return DocumentPart.DL1_TO_DL2 if record.step in _DL2_STEPS else DocumentPart.CALIBRATION_TO_DL1


def records_of_run(layout: Layout, run: int) -> tuple[TryRecord, ...]:
    """Read all records of a run, of its sub-runs too, for all productions.

    Raises
    ------
    OSError
        If a file of records is there and cannot be read.
    """
    kept = {layout.kept_records(part, run) for part in DocumentPart}
    return merge_tries(*map(read_records, (*_working_files(layout, run), *sorted(kept))))


def _working_files(layout: Layout, run: int) -> list[Path]:
    """List the files of records of a run and of its sub-runs."""
    own = layout.records(run)
    begin = f"{own.stem}."  # of those of sub-runs, too
    try:
        with os.scandir(own.parent) as entries:  # a night has thousands, and this is asked for each run
            names = [entry.name for entry in entries]
    except FileNotFoundError:
        return []
    return [
        own.parent / name for name in sorted(names) if name.startswith(begin) and name.endswith(own.suffix)
    ]


def calibration_records(layout: Layout, plan: NightPlan) -> tuple[TryRecord, ...]:
    """Read the records of the calibration that serves a night, which may be that of another night.

    Those that were kept beside the night's final calibration are among them: who has lent one is
    forgotten with the night's working folder.
    """
    kept = map(read_records, _kept_files(layout, DocumentPart.CALIBRATION))
    if plan.borrowed is not None:
        lender = Layout(layout.settings, plan.borrowed.night)
        return merge_tries(records_of_run(lender, plan.borrowed.calibration_run), *kept)
    run = plan.choice.calibration_run
    return merge_tries(() if run is None else records_of_run(layout, run), *kept)


def _kept_files(layout: Layout, part: DocumentPart) -> list[Path]:
    """List the files of records beside the final products of a part, of all runs."""
    pattern = layout.kept_records(part, 0).name.replace(f"Run{run_tag(0)}", "Run*")
    return sorted(layout.document_dir(part).glob(pattern))


def records_of_sequence(layout: Layout, plan: NightPlan, sequence: Sequence) -> tuple[TryRecord, ...]:
    """Read the records of a sequence, and of the calibration before it.

    Moves of the calibration tell where its files are now; moves and tries of older productions do not
    count, as their products are others.
    """
    own = records_of_run(layout, sequence.run)
    if sequence.kind is SequenceKind.CALIBRATION:
        return in_production(layout, own, is_calibration=True)
    before = in_production(layout, calibration_records(layout, plan), is_calibration=True)
    return merge_tries(before, in_production(layout, own))


def in_production(
    layout: Layout, records: Iterable[TryRecord], *, is_calibration: bool = False
) -> tuple[TryRecord, ...]:
    """Take out the tries of the productions that are configured, and all moves."""
    production = layout.settings.production
    wanted = {
        DocumentPart.CALIBRATION: production.calibration_prod_id,
        DocumentPart.CALIBRATION_TO_DL1: production.dl1_prod_id,
        DocumentPart.DL1_TO_DL2: production.dl2_prod_id,
    }
    return tuple(
        record
        for record in records
        if record.step == MOVE_STEP
        or record.prod_id == wanted[part_of(record, is_calibration=is_calibration)]
    )


def has_records(layout: Layout) -> bool:
    """Tell whether there are files of records of a night."""
    return bool(_runs_with_records(layout))


def records_of_night(layout: Layout) -> tuple[TryRecord, ...]:
    """Read all records of a night that are there, whatever the night summary says of it."""
    return merge_tries(*(records_of_run(layout, run) for run in _runs_with_records(layout)))


def _runs_with_records(layout: Layout) -> list[int]:
    working = layout.records_dir.glob(f"{layout.settings.telescope_name}_*{layout.records(0).suffix}")
    runs = {path.stem.partition("_")[2].partition(".")[0] for path in working}
    for part in (DocumentPart.CALIBRATION, DocumentPart.CALIBRATION_TO_DL1, DocumentPart.DL1_TO_DL2):
        runs |= {path.stem.rpartition("Run")[2] for path in _kept_files(layout, part)}
    return sorted(int(run) for run in runs if run.isdecimal())
