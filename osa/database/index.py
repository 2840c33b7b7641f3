"""Bringing nights into the index: what their records tell, and what has become of their sequences."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

from osa.config import ProductionSettings, Settings
from osa.config.values import as_name
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
from osa.provenance.jobs import tasks_of_tries
from osa.provenance.lineage import build_lineage, merge_tries
from osa.provenance.sources import calibration_records, has_records, records_of_night

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
    if layout.night_finished.exists():  # the flags of its sequences may be gone
        states = [replace(state, closed=True) for state in states]
    lineage = build_lineage(records)
    with database.transaction() as connection:
        changes = ingest_lineage(connection, lineage, layout.settings.production.prod_id)
        if plan is not None:
            changes += ingest_state(connection, layout, plan, states)
    return changes


def rebuild_index(
    telescopes: Sequence[Settings], on_done: Progress = lambda *_: None
) -> tuple[list[Layout], list[str]]:
    """Make the index anew from the records of all nights that are there, of all productions.

    Parameters
    ----------
    telescopes : sequence of Settings
        Where nights and index are, for each telescope.
    on_done : callable
        Told how many nights are in it, and of how many.

    Returns
    -------
    tuple of (list of Layout, list of str)
        The nights that are in it, and what is wrong with others.
    """
    layouts = [layout for settings in telescopes for layout in nights_with_records(settings)]
    database = open_empty(telescopes[0].provenance)
    done, failures = [], []
    for count, layout in enumerate(layouts, start=1):
        try:
            _index_from_files(database, layout, is_configured=layout.settings in telescopes)
            done.append(layout)
        except OSError as error:
            failures.append(f"{layout.title} is not in the index: {error}")
        on_done(count, len(layouts))
    return done, failures


def _index_from_files(database: Database, layout: Layout, *, is_configured: bool) -> None:
    """Bring a night into the index; of productions that are not configured only what the records tell."""
    plan, states = None, tuple[SequenceState, ...]()
    if is_configured:
        with suppress(InputError):  # the night summary is gone: the records tell enough
            plan = plan_night(layout)
            states = read_night_state(layout, plan, tasks_of_tries(records_of_night(layout)))
    index_night(database, layout, plan, states)


def nights_with_records(settings: Settings) -> Iterator[Layout]:
    """Find the nights of which there are records, in work or with final products, of any production."""
    configured = frozenset(vars(settings.production).values())
    for night, productions in sorted(_folders(settings).items()):
        others = sorted(name for name in productions if name not in configured)
        for each in (settings, *(_of_production(settings, name) for name in others)):
            layout = Layout(each, night)
            if has_records(layout):
                yield layout


def _folders(settings: Settings) -> dict[Night, set[str]]:
    """Name the folders of productions below those of nights."""
    telescope = settings.telescope
    found: dict[Night, set[str]] = defaultdict(set)
    for folder in (telescope.analysis_dir, telescope.calibration_dir, telescope.dl1_dir, telescope.dl2_dir):
        for path in folder.glob("*/*/"):
            with suppress(ValueError):
                found[Night.parse(path.parent.name)].add(as_name(path.name))
    return found


def _of_production(settings: Settings, name: str) -> Settings:
    return replace(settings, production=ProductionSettings(name, name, name, name))
