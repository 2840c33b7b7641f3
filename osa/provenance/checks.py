"""Checks of provenance: is a document sound, and does it say what is on disk."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from prov.identifier import QualifiedName
from prov.model import (
    ProvActivity,
    ProvDerivation,
    ProvDocument,
    ProvElement,
    ProvGeneration,
    ProvRecord,
    ProvRelation,
    ProvUsage,
)

from osa.layout import DocumentPart
from osa.model.dataset import DatasetKind
from osa.provenance.document import OSA, VOPROV
from osa.provenance.lineage import Entity
from osa.records.identity import same_content

__all__ = ["check_disk", "check_document", "check_round_trip"]

_CALIBRATED_BY = (
    DatasetKind.DRS4_PEDESTAL,
    DatasetKind.TIME_CALIBRATION,
    DatasetKind.CHARGE_CALIBRATION,
    DatasetKind.DRIVE_LOG,
    DatasetKind.CONFIGURATION,
)
_NEEDED: dict[DocumentPart, tuple[DatasetKind, tuple[DatasetKind, ...]]] = {
    DocumentPart.CALIBRATION: (DatasetKind.CHARGE_CALIBRATION, (DatasetKind.R0, *_CALIBRATED_BY[:2])),
    DocumentPart.CALIBRATION_TO_DL1: (DatasetKind.DL1, (DatasetKind.R0, *_CALIBRATED_BY)),
    DocumentPart.DL1_TO_DL2: (
        DatasetKind.DL2,
        (DatasetKind.DL1, DatasetKind.RANDOM_FOREST, DatasetKind.CONFIGURATION),
    ),
    DocumentPart.CALIBRATION_TO_DL2: (
        DatasetKind.DL2,
        (DatasetKind.R0, DatasetKind.DL1, *_CALIBRATED_BY, DatasetKind.RANDOM_FOREST),
    ),
}
"""What each product of a part has to come from."""


def check_document(document: ProvDocument, part: DocumentPart | None = None) -> list[str]:
    """Name what is wrong with a document.

    Parameters
    ----------
    document : ProvDocument
        The document.
    part : DocumentPart, optional
        What it tells of; then each of its products has to come from all that such a product is made of.

    Returns
    -------
    list of str
        What is wrong; empty where it is sound.
    """
    look = _Look(document)
    faults = [*look.dangling(), *look.origins(), *look.times(), *look.cycles()]
    return faults if part is None else [*faults, *look.incomplete(*_NEEDED[part])]


def check_round_trip(document: ProvDocument, text: str) -> list[str]:
    """Read a document back from its JSON and compare it with what was written."""
    if ProvDocument.deserialize(content=text, format="json") == document:
        return []
    return ["what is read back from the JSON differs from what was written"]


_Source = tuple[str, object, object]
"""Kind, run and sub-run of a file."""


@dataclass(frozen=True)
class _Look:
    """A document, taken apart once."""

    document: ProvDocument
    elements: dict[QualifiedName, ProvElement] = field(init=False, default_factory=dict)
    relations: list[ProvRelation] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        for record in self.document.get_records():
            if isinstance(record, ProvElement) and record.identifier is not None:
                self.elements[record.identifier] = record
            elif isinstance(record, ProvRelation):
                self.relations.append(record)

    @cached_property
    def makers(self) -> dict[QualifiedName, set[QualifiedName]]:
        """The activities that made each entity."""
        found: dict[QualifiedName, set[QualifiedName]] = defaultdict(set)
        for relation in self.relations:
            if isinstance(relation, ProvGeneration):
                entity, activity = _ends(relation)
                found[entity].add(activity)
        return found

    @cached_property
    def read(self) -> dict[QualifiedName, set[QualifiedName]]:
        """What each activity read, or was configured by."""
        found: dict[QualifiedName, set[QualifiedName]] = defaultdict(set)
        for relation in self.relations:
            start, end = _ends(relation)
            if isinstance(relation, ProvUsage) or (_is_configuration(relation) and end in self.elements):
                found[start].add(end)
        return found

    def dangling(self) -> Iterator[str]:
        """Name identifiers that relations have and no element has."""
        missing = {end for relation in self.relations for end in _ends(relation) if end not in self.elements}
        for identifier in sorted(missing, key=str):
            yield f"{identifier} is named by a relation, and is nowhere"

    def origins(self) -> Iterator[str]:
        """Name files with several makers, and those that their own maker has read."""
        for entity, activities in self.makers.items():
            if len(activities) > 1:
                yield f"{self._name(entity)} was made by {len(activities)} activities"
            for activity in activities:
                if entity in self.read[activity]:
                    yield f"{self._name(entity)} was both read and made by {activity}"

    def times(self) -> Iterator[str]:
        """Name uses outside of the time of their activity."""
        for relation in self.relations:
            if not isinstance(relation, ProvUsage):
                continue
            activity = self.elements.get(_ends(relation)[0])
            when = _time_of(relation)
            if not isinstance(activity, ProvActivity) or when is None:
                continue
            start, end = activity.get_startTime(), activity.get_endTime()
            if (start and when < start) or (end and when > end):
                yield f"{activity.identifier} read {_ends(relation)[1]} at a time when it did not run"

    def cycles(self) -> Iterator[str]:
        """Tell of a file that would be made from itself."""
        graph: dict[QualifiedName, set[QualifiedName]] = defaultdict(set)
        for relation in self.relations:
            if isinstance(relation, ProvGeneration | ProvUsage | ProvDerivation):
                start, end = _ends(relation)
                graph[start].add(end)
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            yield f"it goes round in a circle: {' -> '.join(map(str, error.args[1]))}"

    def incomplete(self, product: DatasetKind, needed: Iterable[DatasetKind]) -> Iterator[str]:
        """Name products that do not come from all that they should, the raw data of their own sub-run."""
        reached: dict[QualifiedName, frozenset[_Source]] = {}
        for identifier in self.elements:
            if self._kind(identifier) != product or identifier not in self.makers:
                continue
            if self._is_replaced(identifier):
                continue
            sources = self._sources(identifier, reached)
            kinds = {kind for kind, _, _ in sources}
            missing = [str(kind) for kind in needed if kind not in kinds]
            run, subrun = self._attribute(identifier, "run"), self._attribute(identifier, "subrun")
            raw = str(DatasetKind.R0)
            if raw in kinds and subrun is not None and (raw, run, subrun) not in sources:
                missing.append("R0 of its own")
            if missing:
                yield f"{self._name(identifier)} is told to come from no {', no '.join(missing)}"

    def _sources(
        self, entity: QualifiedName, known: dict[QualifiedName, frozenset[_Source]]
    ) -> frozenset[_Source]:
        """Collect all that a file was made from, by kind, run and sub-run; chains are a few steps long."""
        if entity not in known:
            known[entity] = frozenset()  # a circle, which is told elsewhere, ends here
            found: set[_Source] = set()
            for activity in self.makers.get(entity, ()):
                for read in self.read[activity]:
                    found.add(
                        (self._kind(read), self._attribute(read, "run"), self._attribute(read, "subrun"))
                    )
                    found |= self._sources(read, known)
            known[entity] = frozenset(found)
        return known[entity]

    def _kind(self, identifier: QualifiedName) -> str:
        kind = self._attribute(identifier, "kind")
        if kind is not None:
            return str(kind)
        types = _types(self.elements[identifier]) if identifier in self.elements else ()
        return str(DatasetKind.CONFIGURATION) if "ConfigFile" in types else ""

    def _attribute(self, identifier: QualifiedName, name: str) -> object:
        element = self.elements.get(identifier)
        return next(iter(element.get_attribute(OSA[name])), None) if element else None

    def _is_replaced(self, identifier: QualifiedName) -> bool:
        return bool(self.elements[identifier].get_attribute(VOPROV["invalidatedAtTime"]))

    def _name(self, identifier: QualifiedName) -> str:
        element = self.elements.get(identifier)
        names = (
            [str(value) for key, value in element.attributes if key.localpart == "name"] if element else []
        )
        return names[0] if names else str(identifier)


def _ends(relation: ProvRelation) -> tuple[QualifiedName, QualifiedName]:
    """Tell from where to where a relation leads."""
    (_, start), (_, end) = relation.formal_attributes[:2]
    return start, end


def _time_of(relation: ProvRelation) -> datetime | None:
    times = (value for key, value in relation.formal_attributes if key.localpart == "time")
    return next((value for value in times if isinstance(value, datetime)), None)


def _is_configuration(relation: ProvRelation) -> bool:
    return "ConfigurationRelation" in _types(relation)


def _types(record: ProvRecord) -> frozenset[str]:
    """Name the types that a record is said to be of, without their namespaces."""
    return frozenset(str(getattr(kind, "localpart", kind)) for kind in record.get_asserted_types())


def check_disk(entities: Iterable[Entity], *, full: bool = False) -> Iterator[str]:
    """Name files that are not on disk as the records tell.

    Parameters
    ----------
    entities : iterable of Entity
        The files; those of which another has got the name are passed over.
    full : bool
        Whether all are read; otherwise those whose size or time of change is another.
    """
    for entity in entities:
        if entity.replaced_at is None and (entity.sha256 or entity.sample):
            fault = _compare(entity, full=full)
            if fault:
                yield fault


def _compare(entity: Entity, *, full: bool) -> str | None:
    path = Path(entity.location)
    try:
        found = path.stat()
        if not full and (found.st_size, found.st_mtime_ns) == (entity.size, entity.modified):
            return None
        if same_content(path, entity.size, entity.sha256, entity.sample):
            return None
    except FileNotFoundError:
        return f"{path} is not there"
    except OSError as error:
        return f"{path} cannot be read: {error.strerror or error}"
    except ValueError as error:  # a path with a NUL is no path
        return f"{str(path)!r} cannot be read: {error}"
    return f"{path} has changed since it was recorded"
