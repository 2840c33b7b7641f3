"""A lineage as a graph that a person can read, drawn by Graphviz.

Data flows from the top to the bottom: what was read, the step that read it, what it made. Sub-runs are
folded into collections, and their tries into one box a step and run, unless detail is asked for.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

import pydot

from osa.model.dataset import DatasetKind
from osa.model.run import list_subruns, run_tag
from osa.model.text import printable
from osa.provenance.describe import describe_step
from osa.provenance.lineage import Entity, Lineage
from osa.records.model import MOVE_STEP, Status, TryRecord
from osa.system.programs import filter_through

__all__ = ["NodeClass", "draw_graph", "graph_text"]

_SECONDS = 120.0
_LINE_WIDTH = 44
_LISTED = 4
_FONT = "Helvetica"


class NodeClass(Enum):
    """Classes of the IVOA's model, each with its colours and shape."""

    DATASET = ("dataset", "#FFF7C2", "#B59A00", "box")
    COLLECTION = ("collection of files", "#FFE083", "#B59A00", "folder")
    ACTIVITY = ("activity", "#CFD9FF", "#3F51B5", "box")
    FAILED = ("activity that failed", "#FFD2CC", "#B71C1C", "box")
    CONFIGURATION = ("configuration file", "#E3E3E3", "#616161", "note")

    def __init__(self, title: str, fill: str, line: str, shape: str) -> None:
        self.title = title
        self.fill = fill
        self.line = line
        self.shape = shape

    @property
    def is_activity(self) -> bool:
        """Whether it stands for work, and not for a file."""
        return self in {NodeClass.ACTIVITY, NodeClass.FAILED}


@dataclass
class _Node:
    """One box: the files, or the tries, that it stands for."""

    title: str
    entities: list[Entity] = field(default_factory=list)
    tries: list[TryRecord] = field(default_factory=list)


def draw_graph(lineage: Lineage, title: str, *, detail: bool = False) -> bytes:
    """Draw a lineage as a PDF.

    Parameters
    ----------
    lineage : Lineage
        Tries and files.
    title : str
        What stands above the picture.
    detail : bool
        Whether each sub-run has boxes of its own.

    Raises
    ------
    MissingServiceError
        If Graphviz is not installed.
    OsaError
        If it fails, or takes too long.
    """
    return filter_through(
        ["dot", "-Tpdf"], graph_text(lineage, title, detail=detail).encode(), seconds=_SECONDS
    )


def graph_text(lineage: Lineage, title: str, *, detail: bool = False) -> str:
    """Write a lineage in Graphviz' language; parameters as for :func:`draw_graph`."""
    nodes, edges = _fold(lineage, detail=detail)
    graph = pydot.Dot(
        "provenance",
        graph_type="digraph",
        label=_quoted(title),
        labelloc="t",
        fontname=_FONT,
        fontsize="18",
        rankdir="TB",
        nodesep="0.25",
        ranksep="0.45",
        pad="0.3",
    )
    classes = {key: _class(node) for key, node in nodes.items()}
    numbers = {key: f"n{number}" for number, key in enumerate(nodes)}
    for key, node in nodes.items():
        label = _activity_label(node) if node.tries else _entity_label(node)
        graph.add_node(_box(numbers[key], label, classes[key]))
    for (start, end), is_configuration in edges.items():
        style = "dashed" if is_configuration else "solid"
        graph.add_edge(
            pydot.Edge(numbers[start], numbers[end], arrowsize="0.7", style=style, color=_quoted("#424242"))
        )
    if classes:
        graph.add_node(_legend(set(classes.values())))
    return str(graph.to_string())


# ------------------------------------------------------------------------------------- folding

_Key = tuple[str, ...]


def _fold(lineage: Lineage, *, detail: bool) -> tuple[dict[_Key, _Node], dict[tuple[_Key, _Key], bool]]:
    """Put what belongs together into one node; gives nodes and edges by the keys of the nodes."""
    nodes: dict[_Key, _Node] = {}
    entity_keys: dict[str, _Key] = {}
    for entity in lineage.entities.values():
        key = entity_keys[entity.id] = _entity_key(entity, detail=detail)
        nodes.setdefault(key, _Node(str(entity.kind))).entities.append(entity)
    edges: dict[tuple[_Key, _Key], bool] = {}
    for record in lineage.tries.values():
        if record.step == MOVE_STEP:
            continue  # it reads and makes nothing: where files are stands with the files
        key = _try_key(record, detail=detail)
        nodes.setdefault(key, _Node(describe_step(record.step).title)).tries.append(record)
        for use in lineage.uses_of.get(record.id, ()):
            edges.setdefault((entity_keys[use.entity_id], key), use.is_configuration)
        for made in lineage.made_by.get(record.id, ()):
            edges.setdefault((key, entity_keys[made.id]), False)
    return nodes, edges


def _entity_key(entity: Entity, *, detail: bool) -> _Key:
    kind = str(entity.kind)
    if entity.kind is DatasetKind.RANDOM_FOREST:
        return ("files", kind)
    if entity.subrun is None or entity.run is None:
        return ("file", kind, entity.id)
    if detail:
        return ("file", kind, str(entity.run), str(entity.subrun), entity.name)
    return ("files", kind, str(entity.run))


def _try_key(record: TryRecord, *, detail: bool) -> _Key:
    subrun = (str(record.subrun),) if detail else ()
    return ("tries", record.step, str(record.run), *subrun)


# -------------------------------------------------------------------------------------- labels


def _class(node: _Node) -> NodeClass:
    if node.tries:
        none_done = all(record.status is not Status.DONE for record in node.tries)
        return NodeClass.FAILED if none_done else NodeClass.ACTIVITY
    if node.entities[0].kind is DatasetKind.CONFIGURATION:
        return NodeClass.CONFIGURATION
    return NodeClass.COLLECTION if len(_current(node)) > 1 else NodeClass.DATASET


def _current(node: _Node) -> list[Entity]:
    """Leave out the files that others have taken the names of, unless there are no others."""
    return [entity for entity in node.entities if entity.replaced_at is None] or node.entities


def _entity_label(node: _Node) -> list[str]:
    current = _current(node)
    lines = [node.title]
    subruns = sorted({entity.subrun for entity in current if entity.subrun is not None})
    if len(current) > 1:
        lines[0] = f"{node.title}, {len(current)} files"
        if subruns:
            lines.append(f"run {run_tag(current[0].run or 0)}, sub-runs {list_subruns(subruns)}")
        else:
            names = sorted(entity.name for entity in current)
            lines += names[:_LISTED] + ([f"and {len(names) - _LISTED} more"] if len(names) > _LISTED else [])
    else:
        lines.append(current[0].name)
    size = sum(entity.size or 0 for entity in current)
    if size:
        lines.append(_size(size))
    older = len(node.entities) - len(current)
    if older:
        lines.append(f"({older} older, replaced)")
    return lines


def _activity_label(node: _Node) -> list[str]:
    first, counts = node.tries[0], Counter(record.status for record in node.tries)
    tries = f"{len(node.tries)} tries" if len(node.tries) > 1 else "1 try"
    told = ", ".join(f"{count} {status}" for status, count in counts.items() if len(node.tries) > 1)
    where = f"run {run_tag(first.run)}"
    subruns = {record.subrun for record in node.tries}
    if len(subruns) == 1 and first.subrun is not None:
        where += f", sub-run {first.subrun}"
    software = sorted({f"{record.package} {record.version}" for record in node.tries})
    began = min(record.started for record in node.tries)
    lines = [
        node.title,
        where,
        f"{tries}: {told or first.status}",
        ", ".join(software),
        f"from {began:%Y-%m-%d %H:%M} UTC",
    ]
    return lines + [f"{name} = {value}" for name, value in _common_parameters(node.tries).items()]


def _common_parameters(tries: Iterable[TryRecord]) -> Mapping[str, str]:
    """Take the parameters that all tries had; plain switches tell a person nothing."""
    first, *others = tries
    return {
        name: value
        for name, value in first.parameters.items()
        if value != "yes" and all(record.parameters.get(name) == value for record in others)
    }


def _size(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


# --------------------------------------------------------------------------------------- boxes


def _box(name: str, lines: Iterable[str], node_class: NodeClass) -> pydot.Node:
    title, *rest = (part for line in lines for part in _wrapped(line))
    text = "<BR/>".join([f"<B>{_escaped(title)}</B>", *map(_escaped, rest)])
    return pydot.Node(
        name,
        label=f"<{text}>",
        shape=node_class.shape,
        style=_quoted("rounded,filled" if node_class.is_activity else "filled"),
        fillcolor=_quoted(node_class.fill),
        color=_quoted(node_class.line),
        fontname=_FONT,
        fontsize="10",
        margin=_quoted("0.14,0.08"),
    )


def _wrapped(line: str) -> list[str]:
    """Break a line that is too long, best where file names have dots, dashes and underscores."""
    lines = [""]
    for piece in re.findall(r"[^ ._/-]*[ ._/-]?", line):
        for start in range(0, len(piece), _LINE_WIDTH):
            part = piece[start : start + _LINE_WIDTH]
            if len(lines[-1]) + len(part.rstrip()) > _LINE_WIDTH:
                lines.append("")
            lines[-1] += part
    return [part.strip() for part in lines]


def _legend(classes: set[NodeClass]) -> pydot.Node:
    """Say what the colours mean."""
    rows = "".join(
        f'<TR><TD BGCOLOR="{each.fill}" COLOR="{each.line}" WIDTH="22"></TD>'
        f'<TD BORDER="0" ALIGN="LEFT">{html.escape(each.title)}</TD></TR>'
        for each in NodeClass
        if each in classes
    )
    table = f'<TABLE BORDER="0" CELLBORDER="1" CELLSPACING="4">{rows}</TABLE>'
    return pydot.Node("legend", label=f"<{table}>", shape="plain", fontname=_FONT, fontsize="10")


def _escaped(text: str) -> str:
    """Write text so that it stands in the picture as it is, whatever it holds.

    Graphviz takes labels for XML, and a backslash, however it is written, for the beginning of what it
    replaces: a slash stands in for it.
    """
    shown = printable(text, "\N{REPLACEMENT CHARACTER}")
    return html.escape(shown).replace("\\", "/") or " "


def _quoted(text: str) -> str:
    """Write text as a word of Graphviz' language."""
    return f'"{_escaped(text)}"'
