"""A closed night that leaves something behind."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from made_up_scheduler import MadeUpScheduler

from osa.config import Settings
from osa.layout import Layout
from osa.model.night import Night
from tests.cleaning.leftover_night import SETTINGS, write_night


@pytest.fixture
def layout(make_settings: Callable[..., Settings], night: Night) -> Layout:
    return Layout(make_settings(SETTINGS), night)


@pytest.fixture
def left(layout: Layout) -> Layout:
    """The night, closed long ago."""
    return write_night(layout)


@pytest.fixture
def scheduler() -> MadeUpScheduler:
    """One that has nothing to do."""
    return MadeUpScheduler()
