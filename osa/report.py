"""The sequencer table: the one screen that operators live in, as text, in colour, or as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from osa.decision import Action, Decision
from osa.layout import PRODUCT_KINDS, Layout
from osa.model.job import JobState, format_duration
from osa.model.run import list_subruns
from osa.model.sequence import NightPlan, SequenceKind

__all__ = ["COLUMNS", "as_json", "notes", "print_table", "table_lines", "table_rows"]

COLUMNS = (
    "Tel", "Seq", "Parent", "Type", "Run", "Subruns", "Source", "Wobble", "Action", "Tries",
    "JobID", "State", "Reason", "Host", "CPU_time", "Walltime", "Exit",
    *(f"{kind.name}%" for kind in PRODUCT_KINDS),
)  # fmt: skip
"""Column heads, in order."""

_LEFT = frozenset({"Tel", "Type", "Source", "Wobble", "Action", "State", "Reason", "Host"})
_GAP = "  "
_NOTHING = "-"

_STYLES = {
    Action.SUBMIT: "bold cyan",
    Action.SIMULATE: "cyan",
    Action.VETO: "bold red",
    Action.CLOSED: "green",
    JobState.RUNNING: "bold blue",
    JobState.PENDING: "yellow",
    JobState.COMPLETED: "green",
    JobState.FAILED: "bold red",
    JobState.CANCELLED: "magenta",
    JobState.TIMEOUT: "bold red",
    JobState.OUT_OF_MEMORY: "bold red",
    JobState.NODE_FAIL: "bold red",
    JobState.UNKNOWN: "bold yellow",
}


def table_rows(decisions: Iterable[Decision]) -> list[dict[str, Any]]:
    """Make the rows of the table.

    Returns
    -------
    list of dict
        Values by column head; None where there is nothing to say. Percentages are of the
        sub-runs that the night summary promises, rounded down: 100 means all.
    """
    return [_row(decision) for decision in decisions]


def _row(decision: Decision) -> dict[str, Any]:
    state, sequence = decision.state, decision.sequence
    is_data = sequence.kind is SequenceKind.DATA
    shares = {
        f"{kind.name}%": _percent(state.counts.get(kind, 0), sequence.n_subruns) if is_data else None
        for kind in PRODUCT_KINDS
    }
    return {
        "Tel": sequence.telescope,
        "Seq": sequence.number,
        "Parent": sequence.parent,
        "Type": str(sequence.kind),
        "Run": f"{sequence.run:05d}",
        "Subruns": sequence.n_subruns,
        "Source": sequence.source,
        "Wobble": sequence.wobble,
        "Action": decision.action,
        "Tries": state.tries,
        "JobID": state.job_id,
        "State": state.state,
        "Reason": state.reason if state.reason and " " not in state.reason else None,
        "Host": state.host,
        "CPU_time": None if state.cpu_time is None else format_duration(state.cpu_time),
        "Walltime": None if state.wall_time is None else format_duration(state.wall_time),
        "Exit": state.exit_code,
        **shares,
    }


def _percent(count: int, total: int) -> int:
    return 100 * count // total if total else 0


def _cells(rows: Sequence[dict[str, Any]]) -> list[list[str]]:
    return [[_word(row[head]) for head in COLUMNS] for row in rows]


def _word(value: Any) -> str:
    """Write a value as one word, so that programs can split a line at blanks."""
    return _NOTHING if value is None else "_".join(str(value).split()) or _NOTHING


def _pad(cells: list[list[str]]) -> list[list[str]]:
    widths = [max(len(line[i]) for line in [list(COLUMNS), *cells]) for i in range(len(COLUMNS))]
    return [
        [
            cell.ljust(width) if head in _LEFT else cell.rjust(width)
            for cell, width, head in zip(line, widths, COLUMNS, strict=True)
        ]
        for line in [list(COLUMNS), *cells]
    ]


def table_lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Write the table as plain text, one line a row, blanks nowhere but between columns."""
    return [_GAP.join(line).rstrip() for line in _pad(_cells(rows))]


def print_table(rows: Sequence[dict[str, Any]], stream: TextIO | None = None) -> None:
    """Print the table, in colour where a terminal reads it."""
    stream = stream or sys.stdout
    if not stream.isatty():
        print("\n".join(table_lines(rows)), file=stream)
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(file=stream, highlight=False, soft_wrap=True)
    head, *lines = _pad(_cells(rows))
    console.print(Text(_GAP.join(head).rstrip(), style="bold"))
    for row, line in zip(rows, lines, strict=True):
        text = Text()
        for name, cell in zip(COLUMNS, line, strict=True):
            text.append(cell, style=_style(name, row[name]))
            text.append(_GAP)
        console.print(text)


def _style(column: str, value: Any) -> str:
    if column in {"Action", "State"}:
        return _STYLES.get(value, "")
    if column.endswith("%") and value is not None:
        return "green" if value == 100 else ("" if value == 0 else "yellow")
    if column == "Exit" and value:
        return "red"
    return ""


def notes(plan: NightPlan, decisions: Iterable[Decision]) -> list[str]:
    """Say in words what the table has no column for: choices, skipped runs, obstacles."""
    lines = [f"raw files are still arriving: {plan.arriving}"] if plan.arriving else []
    lines += [*plan.choice.explanation, *plan.remarks]
    for decision in decisions:
        state = decision.state
        lines += [f"{decision.sequence.name}: {decision.note}"] if decision.note else []
        for reason, tasks in state.unknown.items():
            which = (
                f" (sub-runs {list_subruns(tasks)})" if decision.sequence.kind is SequenceKind.DATA else ""
            )
            lines.append(f"{decision.sequence.name}: UNKNOWN{which}: {reason}")
        if " " in state.reason and state.state is not JobState.UNKNOWN:  # else it is told already
            lines.append(f"{decision.sequence.name}: {state.state}: {state.reason}")
    lines += [f"run {run.run:05d} ({run.label}): {run.reason}" for run in plan.skipped]
    return lines


def as_json(layout: Layout, plan: NightPlan, decisions: Sequence[Decision], *, closed: bool) -> str:
    """Write table and notes for programs."""
    sequences = []
    for decision, row in zip(decisions, table_rows(decisions), strict=True):
        more = {
            "Reason": decision.state.reason or None,  # of more than one word too
            "Note": decision.note or None,
            "Todo": list(decision.state.todo),
            "Live": sorted(decision.state.live),
            "Absent": list(decision.sequence.absent_subruns),
        }
        sequences.append({**row, **more})
    document = {
        "night": str(layout.night),
        "telescope": layout.settings.telescope_name,
        "prod_id": layout.settings.production.prod_id,
        "closed": closed,
        "arriving": plan.arriving or None,
        "sequences": sequences,
        "skipped": [{"run": run.run, "type": run.label, "reason": run.reason} for run in plan.skipped],
        "calibration": {
            "drs4_run": plan.choice.drs4_run,
            "calibration_run": plan.choice.calibration_run,
            "explanation": list(plan.choice.explanation),
        },
    }
    return json.dumps(document, indent=2)
