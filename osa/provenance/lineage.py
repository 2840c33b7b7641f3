"""Tries and files put together: which try made a file, which read it, where it is now. Pure.

Files are told apart by their content. One that a try made is an entity of its own, with a UUID, even where
another try made the same content; one that came from elsewhere (raw files, logs, random forests,
configurations) is its content, and its kind.
"""

from __future__ import annotations

import re
import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property

from osa.model.dataset import DatasetKind
from osa.records.model import ASIDE, MOVE_STEP, REFERENCE_ROLE, ConfigFile, FileRecord, Status, TryRecord

__all__ = ["Entity", "Lineage", "Use", "build_lineage", "merge_tries"]

_RAW_NAME = re.compile(r"(?P<tag>LST-\d+\.\d+\.Run(?P<run>\d{5,})\.(?P<subrun>\d{4}))\.fits\.fz")
_CLOCKS_DIFFER = timedelta(minutes=10)


@dataclass(frozen=True)
class Entity:
    """A file with the content that it had.

    Parameters
    ----------
    id : str
        A UUID for what a try made; else ``sha256-`` or ``sample-``, the hash, and the kind; for raw files
        instead of their kind which stream, run and sub-run they are.
    kind : DatasetKind
        What it holds.
    name, location : str
        Name of the file, and where it is as far as the records tell.
    size, modified : int or None
        Bytes, and time of its last change in ns since 1970.
    sha256, sample : str or None
        Hash of its content; of raw files that of samples.
    night : str or None
        Night of the try that made it.
    run, subrun : int or None
        What that try worked on; of raw files what their name says.
    made_by : str or None
        The try that made it; None for what came from elsewhere.
    made_at, replaced_at : datetime.datetime or None
        When it was made, and when another file got its name.
    archived : str or None
        Of configuration files: name of the copy in the archive.
    """

    id: str
    kind: DatasetKind
    name: str
    location: str
    size: int | None = None
    modified: int | None = None
    sha256: str | None = None
    sample: str | None = None
    night: str | None = None
    run: int | None = None
    subrun: int | None = None
    made_by: str | None = None
    made_at: datetime | None = None
    replaced_at: datetime | None = None
    archived: str | None = None


@dataclass(frozen=True)
class Use:
    """A try read a file.

    Parameters
    ----------
    try_id, entity_id : str
        Who read what.
    role : str
        What for; for a configuration file what it configures.
    is_configuration : bool
        Whether it was given as a configuration file.
    """

    try_id: str
    entity_id: str
    role: str
    is_configuration: bool = False


@dataclass(frozen=True)
class Lineage:
    """Tries, files, and who read what.

    Parameters
    ----------
    tries : mapping of str to TryRecord
        By identifier, in the order in which they began.
    entities : mapping of str to Entity
        By identifier, what was read before what was made of it.
    uses : tuple of Use
        In the order of the tries.
    """

    tries: Mapping[str, TryRecord]
    entities: Mapping[str, Entity]
    uses: tuple[Use, ...]

    @cached_property
    def uses_of(self) -> Mapping[str, tuple[Use, ...]]:
        """What each try read."""
        found: dict[str, list[Use]] = defaultdict(list)
        for use in self.uses:
            found[use.try_id].append(use)
        return {try_id: tuple(uses) for try_id, uses in found.items()}

    @cached_property
    def made_by(self) -> Mapping[str, tuple[Entity, ...]]:
        """What each try made."""
        found: dict[str, list[Entity]] = defaultdict(list)
        for entity in self.entities.values():
            if entity.made_by is not None:
                found[entity.made_by].append(entity)
        return {try_id: tuple(entities) for try_id, entities in found.items()}

    def ancestors(self, entity_ids: Iterable[str]) -> frozenset[str]:
        """Name all that some files were made from, those files included."""
        found: set[str] = set()
        todo = list(entity_ids)
        while todo:
            entity_id = todo.pop()
            if entity_id in found or entity_id not in self.entities:
                continue
            found.add(entity_id)
            maker = self.entities[entity_id].made_by
            if maker is not None and maker in self.tries:
                todo += [use.entity_id for use in self.uses_of.get(maker, ())]
        return frozenset(found)

    def restricted(self, keep: Callable[[TryRecord], bool]) -> Lineage:
        """Keep some of the tries, with what they read and made.

        What was made by a try that is not kept is there as what came from elsewhere.
        """
        tries = {try_id: record for try_id, record in self.tries.items() if keep(record)}
        uses = tuple(use for use in self.uses if use.try_id in tries)
        read = {use.entity_id for use in uses}
        entities = {
            entity_id: entity
            for entity_id, entity in self.entities.items()
            if entity_id in read or entity.made_by in tries
        }
        return Lineage(tries, entities, uses)


def merge_tries(*sources: Iterable[TryRecord]) -> tuple[TryRecord, ...]:
    """Put tries from several files together; of those that are there twice the one that tells more."""
    found: dict[str, TryRecord] = {}
    for record in (record for source in sources for record in source):
        known = found.get(record.id)
        if known is None or known.status is Status.UNFINISHED:
            found[record.id] = record
    return tuple(sorted(found.values(), key=lambda record: (record.started, record.id)))


def build_lineage(records: Iterable[TryRecord]) -> Lineage:
    """Find out which file each try read: the latest that was made before, with that content.

    Parameters
    ----------
    records : iterable of TryRecord
        The tries, in any order.
    """
    builder = _Builder()
    tries = {record.id: record for record in merge_tries(records)}
    for record in sorted(tries.values(), key=lambda r: (r.ended or r.started, r.id)):
        builder.add_outputs(record)
    uses = [use for record in tries.values() for use in builder.uses_of(record)]
    return Lineage(tries, builder.entities, tuple(uses))


@dataclass
class _Builder:
    """Entities so far."""

    entities: dict[str, Entity] = field(default_factory=dict)
    _at: dict[str, str] = field(default_factory=dict)
    _with_content: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add_outputs(self, record: TryRecord) -> None:
        """Take in what a try made or moved."""
        for number, item in enumerate(record.outputs):
            if record.step == MOVE_STEP:
                self._move(item, record)
            else:
                self._make(item, record, number)

    def _make(self, item: FileRecord, record: TryRecord, number: int) -> None:
        name = item.name.encode(errors="backslashreplace").decode()  # names of files are bytes
        entity_id = str(uuid.uuid5(uuid.UUID(record.id), f"{number} {name}"))
        self._replace(item.path, record.ended)
        self._at[item.path] = entity_id
        self.entities[entity_id] = replace(
            _as_entity(entity_id, item),
            night=record.night,
            run=record.run,
            subrun=record.subrun,
            made_by=record.id,
            made_at=record.ended,
        )
        content = _content(item)
        if content is not None:
            self._with_content[content].append(entity_id)

    def _move(self, item: FileRecord, record: TryRecord) -> None:
        entity_id = self._at.get(item.source or "")
        if entity_id is None or self._at.get(item.path) == entity_id:
            return
        self._replace(item.path, record.ended)
        del self._at[item.source or ""]
        self._at[item.path] = entity_id
        self.entities[entity_id] = replace(self.entities[entity_id], location=item.path)
        if ASIDE.items() <= record.parameters.items():
            self._replace(item.path, record.ended)

    def _replace(self, path: str, when: datetime | None) -> None:
        """Note that what had a name has it no longer."""
        before = self._at.get(path)
        if before is not None:
            self.entities[before] = replace(self.entities[before], replaced_at=when)

    def uses_of(self, record: TryRecord) -> Iterator[Use]:
        """Tell what a try read; the same content in the same role once."""
        found: dict[Use, None] = {}
        if record.step != MOVE_STEP:
            for item in record.inputs:
                entity_id = self._read(item, record)
                if entity_id is not None:
                    found[Use(record.id, entity_id, item.role)] = None
            for config in record.configuration:
                entity_id = self._configured(config)
                if entity_id is not None:
                    found[Use(record.id, entity_id, config.name, is_configuration=True)] = None
        yield from found

    def _read(self, item: FileRecord, record: TryRecord) -> str | None:
        content = _content(item)
        if content is None:
            return None
        made = self._made_before(self._with_content.get(content, ()), item, record)
        if made is not None:
            return made
        raw = _RAW_NAME.fullmatch(item.name) if item.kind is DatasetKind.R0 else None
        # Raw files that hold nothing, say, are of different sub-runs all the same.
        entity_id = _external(content, raw["tag"] if raw else item.kind)
        if entity_id not in self.entities:
            self.entities[entity_id] = replace(
                _as_entity(entity_id, item),
                run=int(raw["run"]) if raw else None,
                subrun=int(raw["subrun"]) if raw else None,
            )
        return entity_id

    def _made_before(self, entity_ids: Collection[str], item: FileRecord, record: TryRecord) -> str | None:
        """Choose among what was made with the same content: by name, and then the latest before the try."""
        made = [self.entities[entity_id] for entity_id in entity_ids]
        same = [entity for entity in made if entity.kind is item.kind and entity.made_by != record.id]
        named = [entity for entity in same if entity.name == item.name]
        if item.role == REFERENCE_ROLE:  # a copy of it is not where it comes from
            same = named
        before = [e for e in named or same if e.made_at and e.made_at <= record.started]
        if before:
            return before[-1].id
        # Clocks of nodes differ a little: what seems to have been made just after may be meant.
        latest = record.started + _CLOCKS_DIFFER
        soon = [entity for entity in named if entity.made_at and entity.made_at <= latest]
        return soon[0].id if soon else None

    def _configured(self, config: ConfigFile) -> str | None:
        if config.sha256 is None:
            return None
        entity_id = _external(f"sha256-{config.sha256}", DatasetKind.CONFIGURATION)
        if entity_id not in self.entities:
            self.entities[entity_id] = Entity(
                id=entity_id,
                kind=DatasetKind.CONFIGURATION,
                name=config.path.rpartition("/")[2],
                location=config.path,
                sha256=config.sha256,
                archived=config.archived,
            )
        return entity_id


def _as_entity(entity_id: str, item: FileRecord) -> Entity:
    return Entity(
        id=entity_id,
        kind=item.kind,
        name=item.name,
        location=item.path,
        size=item.size,
        modified=item.modified,
        sha256=item.sha256,
        sample=item.sample,
    )


def _external(content: str, what: str) -> str:
    """Name what came from elsewhere: empty files of two kinds, say, have the same content."""
    return f"{content}-{what.replace(' ', '-')}"


def _content(item: FileRecord) -> str | None:
    """Name the content of a file; of raw files that of their samples, which are always taken."""
    if item.sample is not None:
        return f"sample-{item.sample}"
    return None if item.sha256 is None else f"sha256-{item.sha256}"
