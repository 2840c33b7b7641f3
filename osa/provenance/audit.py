"""Checking the provenance of a night as it is on disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from prov.model import ProvDocument

from osa.errors import InputError
from osa.layout import DocumentPart, Layout
from osa.model.run import run_tag
from osa.provenance.checks import check_disk, check_document, check_round_trip
from osa.provenance.lineage import build_lineage
from osa.provenance.sources import in_production, part_of, records_of_night
from osa.records.model import MOVE_STEP, Status

__all__ = ["audit_documents", "audit_files", "documents_of_night", "missing_documents"]


def documents_of_night(layout: Layout, runs: Iterable[int] = ()) -> list[tuple[DocumentPart, Path]]:
    """List the documents of a night that are there.

    Parameters
    ----------
    layout : Layout
        Of the night.
    runs : iterable of int
        Only of these runs; none for all.
    """
    tags = [run_tag(run) for run in runs] or ["*"]
    found = []
    for part in DocumentPart:
        name = layout.document(part, 0).name
        for tag in tags:
            pattern = name.replace(f"Run{run_tag(0)}", f"Run{tag}")
            found += [(part, path) for path in sorted(layout.document_dir(part).glob(pattern))]
    return found


def missing_documents(layout: Layout, runs: Iterable[int] = ()) -> list[Path]:
    """List the documents that should be there, as something was made that they tell of.

    Parameters
    ----------
    layout : Layout
        Of the night.
    runs : iterable of int
        Only of these runs; none for all.

    Raises
    ------
    InputError
        If nothing is recorded of one of the runs.
    """
    wanted = frozenset(runs)
    records = [record for record in records_of_night(layout) if record.night == str(layout.night)]
    expected: dict[int, set[Path]] = {record.run: set() for record in records}
    for record in in_production(layout, records):
        if record.step != MOVE_STEP and record.status is Status.DONE:
            part = part_of(record)
            expected[record.run].add(layout.document(part, record.run))
            if part is DocumentPart.DL1_TO_DL2:
                expected[record.run].add(layout.document(DocumentPart.CALIBRATION_TO_DL2, record.run))
    unknown = sorted(wanted - set(expected))
    if unknown:
        raise InputError(f"{layout.title} has no records of run(s) {', '.join(map(str, unknown))}")
    chosen = (paths for run, paths in expected.items() if not wanted or run in wanted)
    return sorted(path for paths in chosen for path in paths if not path.exists())


def audit_documents(documents: Iterable[tuple[DocumentPart, Path]]) -> Iterator[tuple[Path, list[str]]]:
    """Read documents and name what is wrong with each.

    Yields
    ------
    tuple of (pathlib.Path, list of str)
        A document, and its faults; none where it is sound.
    """
    for part, path in documents:
        try:
            text = path.read_text(encoding="utf-8")
            document = ProvDocument.deserialize(content=text, format="json")
        except Exception as error:  # prov fails in many ways on what is no document
            yield path, [f"cannot be read: {type(error).__name__}: {error}"]
            continue
        again = document.serialize(None, format="json") or ""
        yield path, [*check_document(document, part), *check_round_trip(document, again)]


def audit_files(layout: Layout, runs: Iterable[int] = (), *, full: bool = False) -> Iterator[str]:
    """Name files of a night that are not on disk as its records tell.

    Parameters
    ----------
    layout : Layout
        Of the night.
    runs : iterable of int
        Only of these runs; none for all.
    full : bool
        Whether all are read; otherwise those whose size or time of change is another.
    """
    wanted = frozenset(runs)
    lineage = build_lineage(records_of_night(layout))
    made = (entity for entity in lineage.entities.values() if entity.made_by is not None)
    yield from check_disk((e for e in made if not wanted or e.run in wanted), full=full)
