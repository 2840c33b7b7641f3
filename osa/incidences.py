"""Incidences: what a person should know of a night, one line each."""

from __future__ import annotations

import re
from pathlib import Path

from osa.model.night import Night
from osa.system.files import append_line

__all__ = ["add_incidence", "read_incidences"]

_LINE = re.compile(r"NIGHT=\S+ TELESCOPE=\S+ COMMENTS=(?P<comment>.*)")


def read_incidences(path: Path) -> tuple[str, ...]:
    """Read the comments of a file of incidences; one that is not there has none."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ()
    matches = (_LINE.fullmatch(line) for line in text.split("\n"))
    return tuple(match["comment"] for match in matches if match)


def add_incidence(path: Path, night: Night, telescope: str, comment: str) -> bool:
    """Add an incidence, once.

    Returns
    -------
    bool
        False where the same was said before.
    """
    comment = " ".join("".join(c if c.isprintable() else " " for c in comment).split())
    if comment in read_incidences(path):
        return False
    append_line(path, f"NIGHT={night.tag} TELESCOPE={telescope} COMMENTS={comment}")
    return True
