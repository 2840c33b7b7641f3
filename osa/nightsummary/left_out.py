"""What the closer leaves out of a night: an override of its own, which an operator can read and change."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from osa.layout import Layout, subrun_tag
from osa.model.run import run_tag
from osa.nightsummary.override import LEFT_OUT, read_override
from osa.system.files import write_text

__all__ = ["leave_out", "take_in"]

_HEAD = f"# What closer leaves out; sequencer --take-in has it processed again.\n[{LEFT_OUT}]\n"


def leave_out(layout: Layout, reasons: Mapping[str, str]) -> None:
    """Leave runs or sub-runs out; lines that are there stay as they are.

    Parameters
    ----------
    layout : Layout
        Of the night, whose lock is held.
    reasons : mapping of str to str
        Reasons by run or sub-run, as in ``01875`` and ``01875.0003``.
    """
    known = _tags(layout.left_out)
    lines = [f"{tag} = {reason}\n" for tag, reason in reasons.items() if tag not in known]
    text = _text(layout.left_out) or _HEAD
    write_text(layout.left_out, text + ("" if text.endswith("\n") else "\n") + "".join(lines))


def take_in(layout: Layout, run: int, subrun: int | None) -> tuple[str, ...]:
    """Take a run, or one sub-run, in again.

    Returns
    -------
    tuple of str
        Which of them were left out by the closer.
    """
    wanted = run_tag(run) if subrun is None else subrun_tag(run, subrun)
    found = tuple(
        tag for tag in _tags(layout.left_out) if tag == wanted or (subrun is None and tag[:-5] == wanted)
    )
    kept = [line for line in _text(layout.left_out).splitlines(keepends=True) if _tag(line) not in found]
    if found:
        write_text(layout.left_out, "".join(kept))
    return found


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8-sig") if path.exists() else ""


def _tags(path: Path) -> tuple[str, ...]:
    said = read_override(path)
    return (*map(run_tag, said.left_out), *(subrun_tag(*which) for which in said.left_out_subruns))


def _tag(line: str) -> str | None:
    """Tell what a line is about, in the form of a file name."""
    run, _, subrun = line.partition("=")[0].strip().partition(".")
    if not run.isdecimal() or (subrun and not subrun.isdecimal()):
        return None
    return subrun_tag(int(run), int(subrun)) if subrun else run_tag(int(run))
