"""A lineage as a PROV document with the classes of the IVOA's Provenance Data Model 1.0.

The classes and relations that W3C PROV does not have are carried as ``prov:type``, as the IVOA's own
package ``voprov`` maps them: descriptions, parameters and configuration files are entities, and
``isDescribedBy`` and ``wasConfiguredBy`` are influences of the types ``voprov:DescriptionRelation`` and
``voprov:ConfigurationRelation``.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from prov.constants import PROV
from prov.identifier import Namespace, QualifiedName
from prov.model import ProvDocument

from osa.model.dataset import DatasetKind
from osa.model.run import run_tag
from osa.provenance.describe import content_type, describe_step, slug
from osa.provenance.lineage import Entity, Lineage, Use
from osa.records.model import MOVE_STEP, TryRecord

__all__ = ["OSA", "VOPROV", "activity_id", "entity_id", "make_document"]

OSA = Namespace("osa", "urn:lst-osa:provenance:")
VOPROV = Namespace("voprov", "http://www.ivoa.net/documents/ProvenanceDM/index.html#")

_TYPE, _ROLE, _LOCATION, _LABEL = PROV["type"], PROV["role"], PROV["location"], PROV["label"]
_NAME, _VALUE = VOPROV["name"], VOPROV["value"]
_COLLABORATION = OSA["CTAO-LST-collaboration"]
_NO_WORD = re.compile(r"[^A-Za-z0-9._-]")
_HEX = 32
"""Digits of a hash in an identifier: 128 bits, as a UUID has."""

Attributes = dict[QualifiedName, Any]


def activity_id(record: TryRecord) -> QualifiedName:
    """Name a try in documents."""
    return OSA[f"activity-{record.id}"]


def entity_id(entity: Entity) -> QualifiedName:
    """Name a file in documents: by the try that made it, or by its content."""
    return OSA[f"entity-{entity.id}" if entity.made_by is not None else entity.id]


def make_document(lineage: Lineage) -> ProvDocument:
    """Write a lineage as a PROV document.

    Parameters
    ----------
    lineage : Lineage
        Tries and files; what was made by a try that is not in it has no origin in the document.
    """
    return _Writer(lineage).write()


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:_HEX]


def _word(text: str) -> str:
    """Make of a name what every notation of PROV takes in an identifier; no two names become one."""
    word = _NO_WORD.sub("-", text)
    return word if word == text else f"{word}-{_hash(text)}"


def _known(values: Attributes) -> Attributes:
    """Leave out what is not known; the value of a parameter may be empty."""
    return {k: v for k, v in values.items() if v is not None and (v != "" or k == _VALUE)}


def _time(when: datetime | None) -> str | None:
    return None if when is None else when.astimezone(UTC).isoformat()


class _Writer:
    """Writes one document; each element once."""

    def __init__(self, lineage: Lineage) -> None:
        self.lineage = lineage
        self.document = ProvDocument(namespaces=[OSA, VOPROV])
        self._written: set[QualifiedName] = set()
        self._described: set[tuple[QualifiedName, QualifiedName]] = set()
        self._members: dict[QualifiedName, list[QualifiedName]] = defaultdict(list)

    def write(self) -> ProvDocument:
        """Write all of it."""
        self.document.agent(
            _COLLABORATION,
            {
                _TYPE: PROV["Organization"],
                VOPROV["type"]: "Organization",
                _NAME: "CTAO LST Collaboration",
            },
        )
        configurations = {use.entity_id for use in self.lineage.uses if use.is_configuration}
        for entity in self.lineage.entities.values():
            if entity.id in configurations:
                self._configuration_file(entity)
            else:
                self._dataset(entity)
        for record in self.lineage.tries.values():
            self._try(record)
        self._collections()
        return self.document

    # ------------------------------------------------------------------------ elements

    def _element(self, identifier: QualifiedName, attributes: Attributes) -> QualifiedName:
        """Write an entity, once; gives its identifier."""
        if identifier not in self._written:
            self._written.add(identifier)
            self.document.entity(identifier, _known(attributes))
        return identifier

    def _dataset(self, entity: Entity) -> None:
        identifier = self._element(
            entity_id(entity),
            {
                _TYPE: VOPROV["DatasetEntity"],
                _NAME: entity.name,
                _LOCATION: entity.location,
                VOPROV["generatedAtTime"]: _time(entity.made_at),
                VOPROV["invalidatedAtTime"]: _time(entity.replaced_at),
                OSA["kind"]: str(entity.kind),
                OSA["size"]: entity.size,
                OSA["modified"]: entity.modified,
                OSA["sha256"]: entity.sha256,
                OSA["sample"]: entity.sample,
                OSA["night"]: entity.night,
                OSA["run"]: entity.run,
                OSA["subrun"]: entity.subrun,
            },
        )
        self._describe(identifier, self._dataset_description(entity))
        if entity.made_by is not None:
            self.document.attribution(identifier, _COLLABORATION, other_attributes={_ROLE: "Creator"})
        if entity.subrun is not None or entity.kind is DatasetKind.RANDOM_FOREST:
            self._members[self._collection(entity)].append(identifier)

    def _dataset_description(self, entity: Entity) -> QualifiedName:
        media = content_type(entity.name)
        return self._element(
            OSA[f"dataset-{slug(entity.kind)}-{slug(media)}"],
            {
                _TYPE: VOPROV["DatasetDescription"],
                _NAME: str(entity.kind),
                VOPROV["contentType"]: media,
            },
        )

    def _collection(self, entity: Entity) -> QualifiedName:
        """Name the collection of files of one level and run."""
        kind = str(entity.kind)
        if entity.run is None:
            return OSA[f"collection-{slug(kind)}"]
        return OSA[f"collection-{slug(kind)}-Run{run_tag(entity.run)}"]

    def _configuration_file(self, entity: Entity) -> None:
        self._element(
            entity_id(entity),
            {
                _TYPE: VOPROV["ConfigFile"],
                _NAME: entity.name,
                _LOCATION: entity.location,
                OSA["sha256"]: entity.sha256,
                OSA["archived"]: entity.archived,
            },
        )

    def _environment(self, record: TryRecord) -> QualifiedName | None:
        """Write the software that a try ran with, as one entity that is its content."""
        if not record.software.environment:
            return None
        versions = [f"{name} {version}" for name, version in sorted(record.software.versions.items())]
        return self._element(
            OSA[f"sha256-{record.software.environment}"],
            {
                _TYPE: VOPROV["ValueEntity"],
                _NAME: "software environment",
                _VALUE: ", ".join(versions),
                OSA["sha256"]: record.software.environment,
                OSA["archived"]: f"{record.software.environment}.software.txt",
            },
        )

    def _agent(self, record: TryRecord) -> QualifiedName:
        identifier = OSA[f"software-{_word(record.package)}-{_word(record.version)}"]
        if identifier not in self._written:
            self._written.add(identifier)
            self.document.agent(
                identifier,
                {
                    _TYPE: PROV["SoftwareAgent"],
                    VOPROV["type"]: "SoftwareAgent",
                    _NAME: record.package,
                    OSA["version"]: record.version,
                },
            )
        return identifier

    def _activity_description(self, record: TryRecord) -> QualifiedName:
        known = describe_step(record.step)
        return self._element(
            OSA[f"description-{_word(record.step)}-{_word(record.package)}-{_word(record.version)}"],
            {
                _TYPE: VOPROV["ActivityDescription"],
                _NAME: known.title,
                VOPROV["version"]: record.version,
                VOPROV["description"]: known.text,
                VOPROV["docurl"]: known.docurl,
                VOPROV["type"]: str(known.type),
                VOPROV["subtype"]: record.program,
            },
        )

    # ----------------------------------------------------------------------- relations

    def _describe(self, described: QualifiedName, description: QualifiedName) -> None:
        self.document.influence(
            described, description, other_attributes={_TYPE: VOPROV["DescriptionRelation"]}
        )

    def _try(self, record: TryRecord) -> None:
        identifier = activity_id(record)
        known = describe_step(record.step)
        self.document.activity(
            identifier,
            record.started,
            record.ended,
            _known(
                {
                    _TYPE: VOPROV["Activity"],
                    _NAME: known.title,
                    OSA["step"]: record.step,
                    OSA["program"]: record.program,
                    OSA["telescope"]: record.telescope,
                    OSA["night"]: record.night,
                    OSA["run"]: record.run,
                    OSA["subrun"]: record.subrun,
                    OSA["prodId"]: record.prod_id,
                    OSA["status"]: str(record.status),
                    OSA["exitCode"]: record.exit_code,
                    OSA["reason"]: record.reason,
                    OSA["host"]: record.host,
                    OSA["user"]: record.user,
                    OSA["job"]: record.job.job,
                    OSA["arrayTask"]: record.job.task,
                    OSA["restart"]: record.job.restart,
                    OSA["wallTime"]: record.wall_time or None,
                    OSA["cpuTime"]: record.cpu_time or None,
                    OSA["peakMemory"]: record.peak_memory or None,
                }
            ),
        )
        description = self._activity_description(record)
        self._describe(identifier, description)
        self.document.association(identifier, self._agent(record), other_attributes={_ROLE: "Operator"})
        self._configure(record, identifier, description)
        self._use_and_make(record, identifier, description)
        if record.step == MOVE_STEP:
            self._influence_moved(record, identifier)

    def _configure(self, record: TryRecord, identifier: QualifiedName, description: QualifiedName) -> None:
        """Say what the try was told: parameters, and configuration files."""
        for name, value in record.parameters.items():
            parameter = self._element(
                OSA[f"parameter-{_hash(record.step, name, value)}"],
                {_TYPE: VOPROV["Parameter"], _NAME: name, _VALUE: value},
            )
            self._configured_by(identifier, parameter, "Parameter")
        for use in self._uses(record, is_configuration=True):
            config = self.lineage.entities[use.entity_id]
            self._configured_by(identifier, entity_id(config), "ConfigFile")
            described = self._element(
                OSA[f"configfile-{slug(use.role)}-{description.localpart}"],
                {
                    _TYPE: VOPROV["ConfigFileDescription"],
                    _NAME: use.role,
                    VOPROV["contentType"]: content_type(config.name),
                    VOPROV["activityDescription"]: description,
                },
            )
            self._describe_once(entity_id(config), described)

    def _describe_once(self, described: QualifiedName, description: QualifiedName) -> None:
        if (described, description) not in self._described:
            self._described.add((described, description))
            self._describe(described, description)

    def _configured_by(self, configured: QualifiedName, by: QualifiedName, artefact: str) -> None:
        self.document.influence(
            configured,
            by,
            other_attributes={
                _TYPE: VOPROV["ConfigurationRelation"],
                VOPROV["artefactType"]: artefact,
            },
        )

    def _uses(self, record: TryRecord, *, is_configuration: bool) -> Iterable[Use]:
        uses = self.lineage.uses_of.get(record.id, ())
        return (use for use in uses if use.is_configuration is is_configuration)

    def _use_and_make(self, record: TryRecord, identifier: QualifiedName, description: QualifiedName) -> None:
        used = []
        for use in self._uses(record, is_configuration=False):
            entity = self.lineage.entities[use.entity_id]
            used.append(entity)
            self._used(identifier, entity_id(entity), record, description, use.role)
        environment = self._environment(record)
        if environment is not None:
            self._used(identifier, environment, record, description, "software environment")
        for maker in dict.fromkeys(e.made_by for e in used if e.made_by in self.lineage.tries):
            assert maker is not None
            self.document.communication(identifier, activity_id(self.lineage.tries[maker]))
        for made in self.lineage.made_by.get(record.id, ()):
            generation = self._role_description("Generation", record, description, str(made.kind))
            self.document.generation(
                entity_id(made),
                identifier,
                record.ended,
                other_attributes={_ROLE: str(made.kind), OSA["isDescribedBy"]: generation},
            )
            for entity in used:
                self.document.derivation(entity_id(made), entity_id(entity), identifier)

    def _used(
        self,
        identifier: QualifiedName,
        used: QualifiedName,
        record: TryRecord,
        description: QualifiedName,
        role: str,
    ) -> None:
        usage = self._role_description("Usage", record, description, role)
        self.document.usage(
            identifier, used, record.started, other_attributes={_ROLE: role, OSA["isDescribedBy"]: usage}
        )

    def _role_description(
        self, relation: str, record: TryRecord, description: QualifiedName, role: str
    ) -> QualifiedName:
        return self._element(
            OSA[f"{relation.lower()}-{slug(role)}-{description.localpart}"],
            {
                _TYPE: VOPROV[f"{relation}Description"],
                _ROLE: role,
                VOPROV["activityDescription"]: description,
            },
        )

    def _influence_moved(self, record: TryRecord, identifier: QualifiedName) -> None:
        """Say which levels a move brought to their places: it neither reads nor makes files."""
        places = {item.path for item in record.outputs}
        moved = {
            self._collection(entity)
            for entity in self.lineage.entities.values()
            if entity.location in places and entity.subrun is not None
        }
        for collection in sorted(moved, key=str):
            self.document.influence(collection, identifier)

    def _collections(self) -> None:
        for identifier, members in self._members.items():
            name = identifier.localpart.removeprefix("collection-")
            self.document.collection(
                identifier,
                {
                    _TYPE: VOPROV["Collection"],
                    _NAME: name.replace("-", " "),
                    OSA["members"]: len(members),
                },
            )
            for member in members:
                self.document.membership(identifier, member)
