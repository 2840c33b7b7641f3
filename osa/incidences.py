"""Incidences: what a person should know of a night, one line each."""

from __future__ import annotations

import re
from pathlib import Path

from osa.layout import Layout
from osa.model.night import Night
from osa.model.text import printable
from osa.system.files import append_line

__all__ = ["add_incidence", "note_incidence", "read_incidences"]

_LINE = re.compile(r"NIGHT=\S+ TELESCOPE=\S+ COMMENTS=(?P<comment>.*)")


def read_incidences(path: Path) -> tuple[str, ...]:
    """Read the comments of a file of incidences; one that is not there has none."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ()
    matches = (_LINE.fullmatch(line) for line in text.split("\n"))
    return tuple(match["comment"] for match in matches if match)


def note_incidence(layout: Layout, comment: str, *, once: bool = True) -> bool:
    """Add an incidence to those of a night; see :func:`add_incidence`."""
    telescope = layout.settings.telescope_name
    return add_incidence(layout.incidences, layout.night, telescope, comment, once=once)


def add_incidence(path: Path, night: Night, telescope: str, comment: str, *, once: bool = True) -> bool:
    """Add an incidence.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    night : Night
        The night.
    telescope : str
        Its telescope.
    comment : str
        What happened.
    once : bool
        Whether it is said only once a night; otherwise it is only not said twice in a row, which is
        for what may happen again after other things.

    Returns
    -------
    bool
        False where the same was said before.
    """
    comment = " ".join(printable(comment).split())
    before = read_incidences(path)
    if comment in (before if once else before[-1:]):
        return False
    append_line(path, f"NIGHT={night.tag} TELESCOPE={telescope} COMMENTS={comment}")
    return True
