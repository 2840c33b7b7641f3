"""Lists of things: a table on a terminal, plain columns in a pipe, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from osa.model.text import printable

__all__ = ["one_line", "print_json", "print_rows"]

_GAP = "  "
_NOTHING = "-"
_PADDING = 3
_LEAST = 16
"""What the last column gets at the least where the others are not broken."""

_STYLES = {"done": "green", "failed": "bold red", "unfinished": "bold yellow"}


def print_rows(rows: Sequence[Mapping[str, Any]], *, as_json: bool, stream: TextIO | None = None) -> None:
    """Print rows, all with the same columns; nothing of none.

    Parameters
    ----------
    rows : sequence of mapping
        Values by column head; None where there is nothing to say.
    as_json : bool
        Whether to print them as a list of JSON objects.
    stream : text stream, optional
        Where to; standard output by default.
    """
    stream = stream or sys.stdout
    if as_json:
        print_json(rows, stream)
    elif rows and stream.isatty():
        _print_table(rows, stream)
    elif rows:
        cells = [list(rows[0]), *([one_line(value) for value in row.values()] for row in rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        for line in cells:
            padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
            print(_GAP.join(padded).rstrip(), file=stream)


def print_json(values: object, stream: TextIO | None = None) -> None:
    """Print what programs read; times and names of kinds as text."""
    print(json.dumps(values, indent=2, default=str), file=stream or sys.stdout)


def one_line(value: Any) -> str:
    """Write a value on one line."""
    if value is None or value == "":
        return _NOTHING
    return printable(str(value))


def _print_table(rows: Sequence[Mapping[str, Any]], stream: TextIO) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=stream, highlight=False)
    *others, last = rows[0]
    widths = (max(len(head), *(len(one_line(row[head])) for row in rows)) for head in others)
    is_wide = sum(width + _PADDING for width in widths) + _LEAST <= console.width
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for head in others:
        table.add_column(head, overflow="fold", no_wrap=is_wide)
    table.add_column(last, overflow="fold")
    for row in rows:
        cells = (one_line(value) for value in row.values())
        table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in cells))
    console.print(table)
