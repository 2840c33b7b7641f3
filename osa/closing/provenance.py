"""What the closer does for provenance: moves are recorded, documents written and checked."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from osa.closing.actions import Move, all_moves
from osa.incidences import note_incidence
from osa.layout import Layout
from osa.model.dataset import DatasetKind
from osa.model.run import run_tag
from osa.model.sequence import NightPlan, Sequence
from osa.nightstate import SequenceState
from osa.provenance.checks import check_disk
from osa.provenance.lineage import Entity, Lineage
from osa.provenance.publish import (
    keep_borrowed_records,
    keep_records,
    lineage_of_sequence,
    wants_graphs,
    write_documents,
)
from osa.records.model import ASIDE, MOVE_STEP, FileRecord
from osa.records.recorder import Attempt, Recorder
from osa.steps.step import OSA

__all__ = ["MoveRecord", "index_provenance", "record_aside", "record_provenance"]

_PROGRAM = "closer"


@dataclass
class MoveRecord:
    """The record of the moves of one sequence.

    What is at its final place and was not recorded as moved is recorded, too: an earlier closer was
    killed after it had moved it.
    """

    layout: Layout
    plan: NightPlan
    sequence: Sequence
    attempt: Attempt

    @classmethod
    def begin(
        cls, layout: Layout, plan: NightPlan, sequence: Sequence, moves: Iterable[Move]
    ) -> MoveRecord | None:
        """Write down that moves begin; None where there is nothing to be written, or that cannot be."""
        try:
            return cls._begin(layout, plan, sequence, moves)
        except Exception as error:  # whatever it is, the data is moved
            _note_unrecorded(layout, sequence, error)
            return None

    @classmethod
    def _begin(
        cls, layout: Layout, plan: NightPlan, sequence: Sequence, moves: Iterable[Move]
    ) -> MoveRecord | None:
        targets = {str(move.source): str(move.target) for move in moves}
        lineage = lineage_of_sequence(layout, plan, sequence)
        moved = list(_moved(layout, sequence, lineage))
        known = [_file(entity) for entity in _current(lineage) if entity.location in targets]
        if not targets and not moved:
            return None
        attempt = Recorder(layout, sequence.run, None).begin(
            MOVE_STEP,
            _PROGRAM,
            package=OSA,
            prod_id=layout.settings.production.prod_id,
            known=[*known, *(_file(entity) for entity, _ in moved)],
        )
        return cls(layout, plan, sequence, attempt)

    def done(self) -> None:
        """Write down where the files are now."""
        try:
            lineage = lineage_of_sequence(self.layout, self.plan, self.sequence)
            moved = list(_moved(self.layout, self.sequence, lineage))
        except Exception as error:  # the closer says below what has no record
            _note_unrecorded(self.layout, self.sequence, error)
        else:
            self.attempt.done(_at_target(entity, move) for entity, move in moved)

    def failed(self, reason: str) -> None:
        """Write down that not all was moved; what was is recorded by the next that succeeds."""
        self.attempt.failed(None, reason)


def _note_unrecorded(layout: Layout, sequence: Sequence, error: Exception) -> None:
    note_incidence(layout, f"Moves of {sequence.name} could not be recorded: {error}.")


def _current(lineage: Lineage) -> Iterator[Entity]:
    return (entity for entity in lineage.entities.values() if entity.replaced_at is None)


def _moved(layout: Layout, sequence: Sequence, lineage: Lineage) -> Iterator[tuple[Entity, Move]]:
    """Find what is at its final place although the records say that it is where it was made."""
    made_at = {entity.location: entity for entity in _current(lineage) if entity.run == sequence.run}
    for move in all_moves(layout, sequence):
        entity = made_at.get(str(move.source))
        is_left = move.source.exists() and not move.source.is_symlink()
        if entity is not None and not is_left and move.target.exists():
            yield entity, move


def _file(entity: Entity) -> FileRecord:
    return FileRecord(
        str(entity.kind),
        entity.kind,
        entity.location,
        entity.size,
        entity.modified,
        entity.sha256,
        entity.sample,
    )


def _at_target(entity: Entity, move: Move) -> FileRecord:
    return replace(_file(entity), path=str(move.target), source=str(move.source))


def record_aside(layout: Layout, run: int, moved: Mapping[Path, Path]) -> None:
    """Record that products of a run were set aside: from where, and to where."""
    outputs = [
        FileRecord("set aside", DatasetKind.OTHER, str(target), source=str(source))
        for source, target in moved.items()
    ]
    if outputs:
        production = layout.settings.production.prod_id
        attempt = Recorder(layout, run, None).begin(
            MOVE_STEP, _PROGRAM, package=OSA, prod_id=production, parameters=ASIDE
        )
        attempt.done(outputs)


def record_provenance(
    layout: Layout, plan: NightPlan, states: Iterable[SequenceState], on_done: Callable[[int, int], None]
) -> Iterator[tuple[Sequence, str]]:
    """Write, check and keep the provenance of sequences whose products are in their final places.

    Parameters
    ----------
    layout : Layout
        Of the night.
    plan : NightPlan
        All its sequences.
    states : iterable of SequenceState
        Those that are being closed; of their sub-runs that are not done no products are expected.
    on_done : callable
        Told how many of them are done, and of how many.

    Yields
    ------
    tuple of (Sequence, str)
        What is missing or wrong, and of which sequence; nothing where all is well.
    """
    states = tuple(states)
    graphs = wants_graphs(layout)
    if not graphs and layout.settings.provenance.graphs == "auto":
        note_incidence(layout, "No graphs of the provenance: Graphviz is not installed.")
    with suppress(OSError):  # told below
        keep_borrowed_records(layout, plan)
    for count, state in enumerate(states, start=1):
        try:
            for fault in _record_sequence(layout, plan, state, graphs=graphs):
                yield state.sequence, fault
        except Exception as error:  # whatever it is, -f has to be able to close
            yield state.sequence, f"provenance of {state.sequence.name} could not be written: {error}"
        on_done(count, len(states))


def _record_sequence(layout: Layout, plan: NightPlan, state: SequenceState, *, graphs: bool) -> Iterator[str]:
    sequence = state.sequence
    expected = {None, *sequence.subruns} - set(state.todo)
    lineage = lineage_of_sequence(layout, plan, sequence)
    written = write_documents(layout, lineage, sequence, graphs=graphs)
    keep_records(layout, sequence)
    yield from written.faults
    if state.closed:
        return  # its products were looked at then
    yield from _unrecorded(layout, sequence, lineage)
    yield from check_disk(
        entity
        for entity in _current(lineage)
        if entity.made_by is not None and entity.run == sequence.run and entity.subrun in expected
    )


def _unrecorded(layout: Layout, sequence: Sequence, lineage: Lineage) -> Iterator[str]:
    """Name products of which no try is recorded that made them."""
    known = {entity.location for entity in _current(lineage)}
    finals = [move.target for move in all_moves(layout, sequence)]  # a merge without record is made anew
    missing = [path.name for path in finals if path.exists() and str(path) not in known]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        run = run_tag(sequence.run)
        yield f"run {run}: nothing is recorded of how {', '.join(missing[:3])}{more} came about"


def index_provenance(
    layout: Layout, plan: NightPlan, states: Iterable[SequenceState], *, closing: Collection[Sequence]
) -> list[str]:
    """Bring the night into the index that provquery asks; gives what went wrong.

    Parameters
    ----------
    layout : Layout
        Of the night.
    plan : NightPlan
        Its sequences.
    states : iterable of SequenceState
        What has become of them.
    closing : collection of Sequence
        Those that are about to be flagged as closed.
    """
    from osa.database.index import update_index

    known = [replace(state, closed=state.closed or state.sequence in closing) for state in states]
    try:
        update_index(layout, plan, known)
    except Exception as error:  # as above
        return [f"the index was not brought up to date: {error}"]
    return []
