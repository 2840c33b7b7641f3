"""Takes runs, sequences and jobs of a night into the index."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from sqlalchemy import ColumnElement, Connection, Table, delete, select

from osa.database.ingest import night_key
from osa.database.rows import Row, fit, job_row
from osa.database.schema import jobs, runs, sequences
from osa.database.upsert import Changes, chunks, known_rows, put_rows
from osa.layout import Layout
from osa.model.job import UNCONFIRMED
from osa.model.sequence import NightPlan, Sequence, SkippedRun
from osa.nightstate import SequenceState

__all__ = ["ingest_state"]

_TRY = ("sequence_id", "job_id", "task", "ordinal")


def ingest_state(
    connection: Connection, layout: Layout, plan: NightPlan, states: Iterable[SequenceState]
) -> Changes:
    """Make runs, sequences and jobs of a night in the index those of its plan.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        In a transaction that writes.
    layout : Layout
        Of the night.
    plan : NightPlan
        Its sequences, and runs without one.
    states : iterable of SequenceState
        What has become of the sequences.

    Returns
    -------
    Changes
        What has changed; nothing where all was known.
    """
    settings = layout.settings
    night_id, changes = night_key(
        connection, settings.telescope_name, str(layout.night), settings.production.prod_id
    )
    by_name = {state.sequence.name: state for state in states}
    run_rows = [_skipped_row(night_id, skipped) for skipped in plan.skipped]
    run_rows += [_run_row(night_id, sequence) for sequence in plan.sequences]
    changes += _put(connection, runs, run_rows, runs.c.night_id == night_id, "number")
    run_ids = {row["number"]: row["id"] for row in known_rows(connection, runs.c.night_id, [night_id])}
    sequence_rows = [
        _sequence_row(run_ids[sequence.run], sequence, by_name.get(sequence.name))
        for sequence in plan.sequences
    ]
    of_night = sequences.c.run_id.in_(select(runs.c.id).where(runs.c.night_id == night_id))
    changes += _put(connection, sequences, sequence_rows, of_night, "run_id")
    query = select(sequences.c.name, sequences.c.id).where(of_night)
    sequence_ids = {row.name: row.id for row in connection.execute(query)}
    return changes + _put_jobs(connection, by_name, sequence_ids)


def _row(table: Table, **values: object) -> Row:
    return fit(table, values)


def _skipped_row(night_id: int, skipped: SkippedRun) -> Row:
    return _row(
        runs,
        night_id=night_id,
        number=skipped.run,
        kind=skipped.label,
        n_subruns=None,
        source=None,
        wobble=None,
    )


def _run_row(night_id: int, sequence: Sequence) -> Row:
    return _row(
        runs,
        night_id=night_id,
        number=sequence.run,
        kind=sequence.kind,
        n_subruns=sequence.n_subruns,
        source=sequence.source,
        wobble=sequence.wobble,
    )


def _sequence_row(run_id: int, sequence: Sequence, state: SequenceState | None) -> Row:
    return _row(
        sequences,
        run_id=run_id,
        name=sequence.name,
        number=sequence.number,
        parent=sequence.parent,
        drs4_run=sequence.drs4_run,
        calibration_run=sequence.calibration_run,
        state=None if state is None else state.state,
        is_closed=state is not None and state.closed,
        is_vetoed=state is not None and state.vetoed,
    )


def _put(
    connection: Connection, table: Table, rows: list[Row], scope: ColumnElement[bool], key: str
) -> Changes:
    """Make the rows within a scope those that are given; others go, with all that belongs to them."""
    known = connection.execute(select(table).where(scope)).mappings().all()
    wanted = {row[key] for row in rows}
    gone = [row["id"] for row in known if row[key] not in wanted]
    for chunk in chunks(gone):
        connection.execute(delete(table).where(table.c.id.in_(chunk)))
    return put_rows(connection, table, rows, known, (key,)) + Changes(removed=len(gone))


def _put_jobs(
    connection: Connection, states: Mapping[str, SequenceState], sequence_ids: Mapping[str, int]
) -> Changes:
    """Put the tries of all tasks; those that the scheduler has forgotten stay, if there was such a job."""
    rows: list[Row] = []
    for name, state in states.items():
        count: Counter[tuple[str, int | None]] = Counter()
        for record in state.records if name in sequence_ids else ():
            try_of = (record.job_id, record.task)
            rows.append(job_row(record, sequence_id=sequence_ids[name], ordinal=count[try_of]))
            count[try_of] += 1
    known = known_rows(connection, jobs.c.sequence_id, list(sequence_ids.values()))
    changes = put_rows(connection, jobs, rows, known, _TRY)
    wanted = {tuple(row[name] for name in _TRY) for row in rows}
    gone = [
        row["id"]
        for row in known
        if row["job_id"] == UNCONFIRMED and tuple(row[name] for name in _TRY) not in wanted
    ]
    for chunk in chunks(gone):
        connection.execute(delete(jobs).where(jobs.c.id.in_(chunk)))
    return changes + Changes(removed=len(gone))
