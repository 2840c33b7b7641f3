"""Bringing nights into the index: what their records tell, and what has become of their sequences."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from osa.config import Settings
from osa.database.engine import Database, open_database, open_empty
from osa.database.ingest import ingest_lineage
from osa.database.state import ingest_state
from osa.database.upsert import Changes
from osa.errors import InputError
from osa.layout import Layout
from osa.model.night import Night
from osa.model.sequence import NightPlan
from osa.nightstate import SequenceState, read_night_state
from osa.nightsummary.plan import plan_night
from osa.provenance.lineage import build_lineage, merge_tries
from osa.provenance.sources import calibration_records, records_of_night

__all__ = ["index_night", "nights_with_records", "rebuild_index", "update_index"]

Progress = Callable[[int, int], None]


def update_index(layout: Layout, plan: NightPlan, states: Iterable[SequenceState]) -> Changes:
    """Bring what is known of a night into the index, which is made where it is missing.

    Parameters
    ----------
    layout : Layout
        Of the night.
    plan : NightPlan
        Its sequences.
    states : iterable of SequenceState
        What has become of them.
    """
    database = open_database(layout.settings.provenance, create=True)
    return index_night(database, layout, plan, states)


def index_night(
    database: Database, layout: Layout, plan: NightPlan | None, states: Iterable[SequenceState] = ()
) -> Changes:
    """Bring one night into the index, in one transaction; of a night without plan only its records."""
    records = records_of_night(layout)
    if plan is not None:
        records = merge_tries(calibration_records(layout, plan), records)
    lineage = build_lineage(records)
    with database.transaction() as connection:
        changes = ingest_lineage(connection, lineage, layout.settings.production.prod_id)
        if plan is not None:
            changes += ingest_state(connection, layout, plan, states)
    return changes


def rebuild_index(settings: Settings, on_done: Progress = lambda *_: None) -> list[Night]:
    """Make the index anew from the records of all nights that are there.

    Parameters
    ----------
    settings : Settings
        Where nights and index are.
    on_done : callable
        Told how many nights are in it, and of how many.

    Returns
    -------
    list of Night
        The nights.
    """
    nights = list(nights_with_records(settings))
    database = open_empty(settings.provenance)
    for count, night in enumerate(nights, start=1):
        layout = Layout(settings, night)
        plan, states = None, tuple[SequenceState, ...]()
        with suppress(InputError):  # the night summary is gone: the records tell enough
            plan = plan_night(layout)
            states = read_night_state(layout, plan, ())
        index_night(database, layout, plan, states)
        on_done(count, len(nights))
    return nights


def nights_with_records(settings: Settings) -> Iterator[Night]:
    """Find the nights of which there are records, in work or with final products."""
    telescope = settings.telescope
    folders = (telescope.analysis_dir, telescope.calibration_dir, telescope.dl1_dir, telescope.dl2_dir)
    found = set()
    for folder in folders:
        with suppress(FileNotFoundError):
            for path in folder.iterdir():
                with suppress(ValueError):
                    found.add(Night.parse(path.name))
    for night in sorted(found):
        if records_of_night(Layout(settings, night)):
            yield night
