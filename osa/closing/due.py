"""By when a night should be closed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from osa.layout import Layout

__all__ = ["is_late"]

_USUAL_HOUR = timedelta(hours=18)


def is_late(layout: Layout, clock: datetime) -> bool:
    """Tell whether a night should have been closed by now, and all its raw files have come.

    Where no hour of the alarm is configured, 18:00 UTC of the day after the night.
    """
    hour = layout.settings.alarm.hour
    midnight = datetime(*layout.night.date.timetuple()[:3], tzinfo=UTC)
    return clock >= midnight + timedelta(days=1) + (_USUAL_HOUR if hour is None else hour)
