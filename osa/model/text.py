"""Text of unknown origin, made fit to be shown."""

from __future__ import annotations

__all__ = ["printable"]


def printable(text: str, instead: str = " ") -> str:
    """Put another character in the place of each that cannot be printed, line breaks too.

    Parameters
    ----------
    text : str
        The text.
    instead : str
        What stands for what cannot be printed.
    """
    return "".join(c if c.isprintable() else instead for c in text)
