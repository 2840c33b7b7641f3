"""What differs between the ways in which two runs were made. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from osa.model.dataset import DatasetKind
from osa.provenance.lineage import Entity, Lineage
from osa.records.model import MOVE_STEP, Status, TryRecord

__all__ = ["Difference", "differences"]

_NOTHING = "-"
_OWN = frozenset(
    {
        DatasetKind.R0,
        DatasetKind.DL1,
        DatasetKind.MUONS,
        DatasetKind.INTERLEAVED,
        DatasetKind.DATACHECK,
        DatasetKind.DL2,
    }
)
"""Kinds of file that each run has for itself, and that always differ."""

_Facts = dict[tuple[str, str], str]


@dataclass(frozen=True)
class Difference:
    """One thing that differs.

    Parameters
    ----------
    step : str
        The step.
    what : str
        What differs of it.
    first, second : str
        How it was for the one run, and for the other.
    """

    step: str
    what: str
    first: str
    second: str


def differences(first: Lineage, second: Lineage) -> tuple[list[Difference], int]:
    """Compare software, parameters, configuration, inputs and tries of two runs, step by step.

    Parameters
    ----------
    first, second : Lineage
        Of the runs, each with the calibration before it.

    Returns
    -------
    tuple of (list of Difference, int)
        What differs, and how many things are the same.
    """
    ours, theirs = _facts(first), _facts(second)
    found = _only_one_has(ours, theirs)
    alone = {difference.step for difference in found}
    keys = [key for key in dict.fromkeys([*ours, *theirs]) if key[0] not in alone]
    differ = [key for key in keys if ours.get(key) != theirs.get(key)]
    found += [Difference(*key, ours.get(key, _NOTHING), theirs.get(key, _NOTHING)) for key in differ]
    return found, len(keys) - len(differ)


def _only_one_has(ours: _Facts, theirs: _Facts) -> list[Difference]:
    """Tell of steps that one of the two runs never had, in one line each."""
    mine, others = ({step for step, _ in facts} for facts in (ours, theirs))
    return [
        Difference(
            step, "the whole step", *("tried" if step in steps else _NOTHING for steps in (mine, others))
        )
        for step in dict.fromkeys(step for step, _ in (*ours, *theirs))
        if (step in mine) != (step in others)
    ]


def _facts(lineage: Lineage) -> _Facts:
    """Say of each step how it was done; of what succeeded where anything did."""
    by_step: dict[str, list[TryRecord]] = defaultdict(list)
    for record in lineage.tries.values():
        if record.step != MOVE_STEP:
            by_step[record.step].append(record)
    facts: _Facts = {}
    for step, records in by_step.items():
        done = [record for record in records if record.status is Status.DONE] or records
        for what, values in _of_step(lineage, done):
            facts[step, what] = values
        counts = Counter(str(record.status) for record in records)
        bad = {status: count for status, count in counts.items() if status != Status.DONE}
        facts[step, "tries that failed"] = ", ".join(f"{n} {status}" for status, n in bad.items()) or "none"
    return facts


def _of_step(lineage: Lineage, records: Iterable[TryRecord]) -> Iterator[tuple[str, str]]:
    values: dict[str, dict[str, None]] = defaultdict(dict)
    for record in records:
        values["production"][record.prod_id] = None
        for name, version in record.software.versions.items():
            values[f"version of {name}"][version] = None
        values["environment"][record.software.environment[:12]] = None
        for name, value in record.parameters.items():
            values[f"parameter {name}"][value] = None
        for use in lineage.uses_of.get(record.id, ()):
            entity = lineage.entities[use.entity_id]
            if use.is_configuration:
                values[f"configuration {use.role}"][_content(entity)] = None
            elif entity.kind not in _OWN:
                values[f"input {use.role}"][_content(entity)] = None
    for what, found in values.items():
        yield what, ", ".join(sorted(found))


def _content(entity: Entity) -> str:
    """Name a file so that another content has another name."""
    digest = entity.sha256 or entity.sample or ""
    return f"{entity.name} ({digest[:12]})"
