"""By when a night should be closed."""

from __future__ import annotations

from datetime import datetime

from osa.layout import Layout
from osa.nightsummary.arrival import day_is_done

__all__ = ["is_late"]


def is_late(layout: Layout, clock: datetime) -> bool:
    """Tell whether a night should have been closed by now: from the hour of the alarm on."""
    return clock >= day_is_done(layout)
