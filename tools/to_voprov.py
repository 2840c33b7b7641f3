"""Convert a provenance document of lst-osa to the classes of voprov, the IVOA's own package.

Stands alone: it needs voprov and prov 2 (voprov 0.0.4 breaks with prov 3), and nothing of lst-osa. Every
record of the document is built anew with the method of ``VOProvDocument`` that is for its class; how many
were made of each class is printed. Without ``-o`` the document is only tried.

Exit code: 0 where all of it was converted; 1 where something was not; 2 for a document that cannot be
read, or a result that cannot be written; 3 where the packages are not there.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections import Counter
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from prov.model import ProvDocument, ProvRecord, QualifiedName
    from voprov.models.model import VOProvDocument

INSTALL = 'pip install "voprov==0.0.4" "prov[xml]>=2,<3" requests'  # voprov declares only prov
PROV_URI = "http://www.w3.org/ns/prov#"
TYPE_URI = f"{PROV_URI}type"
QNAME_URI = "http://www.w3.org/2001/XMLSchema#QName"
VOPROV_URI = "http://www.ivoa.net/documents/ProvenanceDM/index.html#"


class ToolError(Exception):
    """The document cannot be converted; the message says why."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Rule(NamedTuple):
    """How records of a class are made: the class of W3C PROV that carries them, the method, what it takes.

    That are local names of attributes, with ``parameter=attribute`` where the method has another name for
    one. All other attributes are added as they are.
    """

    base: str
    method: str
    attributes: str = ""

    @property
    def parameters(self) -> dict[str, str]:
        """Parameters of the method by attribute."""
        pairs = (name.split("=") for name in self.attributes.split())
        return {pair[-1]: pair[0] for pair in pairs}


_ENTITY = "name location generatedAtTime invalidatedAtTime comment"
_FOR_ACTIVITY = "name version description docurl type subtype"
_FOR_ROLE = "activityDescription role description type multiplicity"
_FOR_CONFIG = "activityDescription name contentType description"
_SOURCES = "generatedEntity usedEntity activity generation usage"
_MADE = "entity activity generationDescription=isDescribedBy role time"
_USED = "activity entity usageDescription=isDescribedBy role time"
_CONFIGURED = "configured=influencee configurator=influencer artefactType"
RULES = {
    "Activity": Rule("Activity", "activity", "name startTime endTime comment"),
    "Agent": Rule("Agent", "agent", "name type comment email affiliation phone address url"),
    "Collection": Rule("Entity", "collection"),
    "DatasetEntity": Rule("Entity", "datasetEntity", _ENTITY),
    "ValueEntity": Rule("Entity", "valueEntity", f"{_ENTITY} value"),
    "ConfigFile": Rule("Entity", "configFile", "name location comment"),
    "Parameter": Rule("Entity", "parameter", "name value"),
    "ActivityDescription": Rule("Entity", "activityDescription", _FOR_ACTIVITY),
    "ConfigFileDescription": Rule("Entity", "configFileDescription", _FOR_CONFIG),
    "DatasetDescription": Rule("Entity", "datasetDescription", "name contentType description docurl type"),
    "GenerationDescription": Rule("Entity", "generationDescription", _FOR_ROLE),
    "UsageDescription": Rule("Entity", "usageDescription", _FOR_ROLE),
    "Association": Rule("Association", "wasAssociatedWith", "activity agent role plan"),
    "Attribution": Rule("Attribution", "wasAttributedTo", "entity agent role"),
    "Communication": Rule("Communication", "wasInformedBy", "informed informant"),
    "ConfigurationRelation": Rule("Influence", "wasConfiguredBy", _CONFIGURED),
    "Derivation": Rule("Derivation", "wasDerivedFrom", _SOURCES),
    "DescriptionRelation": Rule("Influence", "isDescribedBy", "described=influencee descriptor=influencer"),
    "Generation": Rule("Generation", "wasGeneratedBy", _MADE),
    "Influence": Rule("Influence", "wasInfluencedBy", "influencee influencer"),
    "Membership": Rule("Membership", "hadMember", "collection entity"),
    "Usage": Rule("Usage", "used", _USED),
}
RELATED = "RelatedToRelation"
"""Made by voprov itself, between a description and the ActivityDescription that it belongs to."""


class Source(NamedTuple):
    """A record of the document, its class, what the method of that is given, and its other attributes."""

    record: ProvRecord
    name: str
    arguments: dict[str, Any]
    others: list[tuple[QualifiedName, Any]]

    @property
    def related(self) -> QualifiedName | None:
        """The ActivityDescription that it belongs to, where it says so."""
        return self.arguments.get("activityDescription")


def understand(document: ProvDocument, record: ProvRecord) -> Source:
    """Find out the class of a record, and what of its attributes the method of that class takes."""
    attributes = [(name, _resolved(document, value, record)) for name, value in record.attributes]
    name = _class_of(record, [value for key, value in attributes if key.uri == TYPE_URI])
    parameters, others = RULES[name].parameters, []
    arguments = {} if record.identifier is None else {"identifier": record.identifier}
    for key, value in attributes:
        parameter = None if key.uri == TYPE_URI else parameters.get(_local(key))
        if parameter is not None and parameter not in arguments:
            arguments[parameter] = value
        elif key.uri != TYPE_URI or getattr(value, "uri", None) != f"{VOPROV_URI}{name}":
            others.append((key, value))
    return Source(record, name, arguments, others)


def _resolved(document: ProvDocument, value: Any, record: ProvRecord) -> Any:
    """Make a name of what prov 2 reads as text: names as prov 3 and the standard write them."""
    if getattr(getattr(value, "datatype", None), "uri", None) != QNAME_URI:
        return value
    name = document.valid_qualified_name(value.value)
    if name is None:
        raise ToolError(f"{_words(record)}: the prefix of {value.value} is not declared")
    return name


def _class_of(record: ProvRecord, types: Iterable[Any]) -> str:
    base = record.get_type().localpart
    uris = {getattr(value, "uri", str(value)) for value in types}
    found = {uri.removeprefix(VOPROV_URI) for uri in uris if uri.startswith(VOPROV_URI)}
    if f"{PROV_URI}Collection" in uris:
        found.add("Collection")
    names = sorted(found) or [base]
    if len(names) > 1 or names[0] not in RULES or RULES[names[0]].base != base:
        raise ToolError(f"{_words(record)}: voprov has no class for the {base} of type {', '.join(names)}")
    return names[0]


def _local(key: QualifiedName) -> str:
    """Name of an attribute of W3C PROV and of the IVOA's model; of lst-osa's own only one counts."""
    is_known = key.namespace.uri in (PROV_URI, VOPROV_URI) or key.localpart == "isDescribedBy"
    return key.localpart if is_known else ""


def _words(record: ProvRecord) -> str:
    ends = " and ".join(str(end) for end in record.args[:2])
    return str(record.identifier or f"{record.get_type().localpart} of {ends}")


def convert(sources: Iterable[Source], target: VOProvDocument) -> None:
    """Make the records of voprov's classes."""
    known = {source.record.identifier for source in sources}
    for source in sources:
        for value in source.arguments.values():
            if hasattr(value, "localpart") and value not in known:
                raise ToolError(f"{_words(source.record)}: there is no {value} in the document")
        _check_kept(source, _make(source, target))


def _make(source: Source, target: VOProvDocument) -> ProvRecord:
    try:
        made: ProvRecord = getattr(target, RULES[source.name].method)(**source.arguments)
        made.add_attributes(source.others)
    except Exception as error:  # whatever voprov and prov stumble upon
        raise ToolError(f"{_words(source.record)}: no {source.name} can be made: {error}") from error
    return made


def _check_kept(source: Source, made: ProvRecord) -> None:
    """Check that no attribute was lost but the one that voprov makes a relation of."""
    kept = [made.identifier, source.related, *(value for _, value in made.attributes)]
    given = [*source.arguments.values(), *(value for _, value in source.others)]
    if lost := [value for value in given if value not in kept]:
        raise ToolError(f"{_words(source.record)}: lost {', '.join(map(str, lost))}")


def count_made(target: VOProvDocument) -> Counter[str]:
    """Count what was made, by class; voprov makes collections of its entities by a type."""
    counts: Counter[str] = Counter()
    for record in target.get_records():
        uris = (getattr(value, "uri", "") for value in record.get_asserted_types())
        names = [uri.removeprefix(VOPROV_URI) for uri in uris if uri.startswith(VOPROV_URI)]
        counts[names[0] if names else record.get_type().localpart] += 1
    return counts


def check_counts(sources: Iterable[Source], target: VOProvDocument) -> Counter[str]:
    """Check that there are as many of each class as the document has; gives the counts."""
    made, expected = count_made(target), Counter(source.name for source in sources)
    expected[RELATED] = sum(source.related is not None for source in sources)
    for name in (*RULES, RELATED, *sorted(made)):
        if expected[name] != made[name]:
            raise ToolError(f"{name}: {expected[name]} in the document, but {made[name]} were made")
    return made


def check_w3c(sources: Iterable[Source], target: VOProvDocument) -> None:
    """Check that voprov's own way back to W3C PROV ends where the document began.

    ``get_w3c`` makes entities of all descriptions, parameters and configuration files, and influences of
    voprov's relations, and gives all of them their class as ``prov:type``. So all records of the document
    have to be there again with their identifiers, times and ends, and, as influences, the relations
    between descriptions that in the document are attributes.
    """
    expected = Counter(_outline(source.record) for source in sources)
    for source in sources:
        if source.related is not None:
            expected["Influence", None, (source.record.identifier, source.related)] += 1
    found = Counter(_outline(record) for record in target.get_w3c().get_records())
    if wrong := sorted((*(expected - found), *(found - expected)), key=str):
        base, identifier, ends = wrong[0]
        words = f"{base} {identifier or ' and '.join(map(str, ends))}"
        raise ToolError(f"W3C PROV as voprov gives it differs in {len(wrong)} records, as in the {words}")


def _outline(record: ProvRecord) -> tuple[str, QualifiedName | None, tuple[Any, ...]]:
    return record.get_type().localpart, record.identifier, tuple(record.args)


def read_document(path: Path) -> ProvDocument:
    """Read PROV-JSON."""
    from prov.model import ProvDocument

    try:
        text = path.read_text(encoding="utf-8")
        json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ToolError(f"{path} is no JSON: {error}", 2) from error
    try:
        document = ProvDocument.deserialize(content=text, format="json")
    except Exception as error:  # whatever its decoder stumbles upon
        raise ToolError(f"{path} is no PROV-JSON: {type(error).__name__} {error}", 2) from error
    if not document.get_records() and not document.has_bundles():
        raise ToolError(f"{path} is no PROV-JSON: it has no records", 2)
    return document


def write_document(target: VOProvDocument, path: Path) -> None:
    """Write voprov's JSON; its ``serialize`` wants the packages for RDF and YAML too."""
    from voprov.serializers import VOProvJSONSerializer

    with path.open("w", encoding="utf-8") as file:
        VOProvJSONSerializer(target).serialize(file, indent=1)


def require_packages() -> None:
    """Check that voprov is there, and a prov that it works with."""
    try:
        if not metadata.version("prov").startswith("2."):
            raise ImportError(f"prov {metadata.version('prov')} is not what it works with")
        from voprov.models import model  # noqa: F401
    except ImportError as error:
        raise ToolError(f"voprov cannot be used here: {error}; {INSTALL}", 3) from error


def run(source: Path, destination: Path | None) -> Counter[str]:
    """Convert, check and write a document; gives how many were made of each class."""
    from voprov.models.model import VOProvDocument

    document = read_document(source)
    for bundle in document.bundles:
        raise ToolError(f"bundle {bundle.identifier}: bundles are not converted")
    sources = [understand(document, record) for record in document.get_records()]
    target = VOProvDocument(namespaces=sorted(document.namespaces, key=lambda space: space.prefix))
    convert(sources, target)
    counts = check_counts(sources, target)
    check_w3c(sources, target)
    if destination is not None:
        write_document(target, destination)
    return counts


def main(arguments: list[str] | None = None) -> int:
    """Run the program; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("document", type=Path, help="PROV-JSON as lst-osa writes it")
    parser.add_argument("-o", "--output", type=Path, metavar="OUT.json", help="where voprov's JSON goes")
    options = parser.parse_args(arguments)
    logging.getLogger("prov").setLevel(logging.CRITICAL)  # what is wrong is said once, below
    try:
        require_packages()
        counts = run(options.document, options.output)
    except (ToolError, OSError) as error:
        print(f"to_voprov: {error}", file=sys.stderr)
        return getattr(error, "exit_code", 2)
    print("\n".join(f"{name} {counts[name]}" for name in (*RULES, RELATED) if counts[name]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
