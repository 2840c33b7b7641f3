"""``NightSummary_YYYYMMDD.override``: what the operator says of one night.

The file is described in ``docs/nightsummary.md``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from osa.errors import InputError
from osa.layout import subrun_tag
from osa.model.run import run_tag

__all__ = ["Override", "format_override", "parse_override", "read_override"]

LEFT_OUT = "leave out"
TYPES = "types"
_KEYS = ("drs4_run", "calibration_run")
_LABELS = ("DRS4", "CALI", "DATA", "ERROR")
_RUN = re.compile(r"[0-9]{1,9}")
_SUBRUN = re.compile(r"(?P<run>[0-9]{1,9})\.(?P<subrun>[0-9]{1,4})")
_HEADER = re.compile(r"\[([^\]]*)\]")
_LONGEST_QUOTE = 40


def _nothing() -> Mapping[int, str]:
    return MappingProxyType({})


def _no_types() -> Mapping[int, str]:
    return MappingProxyType({})


def _no_subruns() -> Mapping[tuple[int, int], str]:
    return MappingProxyType({})


@dataclass(frozen=True)
class Override:
    """What the operator says of a night.

    Parameters
    ----------
    drs4_run, calibration_run : int or None
        Runs that calibrate the night; None leaves the choice to others.
    left_out : mapping of int to str
        Runs to leave out, and why.
    left_out_subruns : mapping of (int, int) to str
        Sub-runs to leave out, each by run and sub-run, and why.
    types : mapping of int to str
        Types of runs, as the night summary writes them.
    """

    drs4_run: int | None = None
    calibration_run: int | None = None
    left_out: Mapping[int, str] = field(default_factory=_nothing)
    left_out_subruns: Mapping[tuple[int, int], str] = field(default_factory=_no_subruns)
    types: Mapping[int, str] = field(default_factory=_no_types)


def read_override(path: Path) -> Override:
    """Read an override; one that is not there says nothing.

    Raises
    ------
    InputError
        If the file is there and cannot be read, or with all its faults.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Override()
    except OSError as error:
        raise InputError(f"override {path} cannot be read: {error.strerror}") from None
    return parse_override(data.decode("utf-8", errors="replace"), path)


def format_override(override: Override) -> str:
    """Write an override as :func:`parse_override` reads it."""
    runs = {key: getattr(override, key) for key in _KEYS}
    lines = [f"{key} = {run_tag(run)}" for key, run in runs.items() if run is not None]
    if override.types:
        lines += [f"[{TYPES}]", *(f"{run_tag(run)} = {label}" for run, label in override.types.items())]
    if override.left_out or override.left_out_subruns:
        lines.append(f"[{LEFT_OUT}]")
        lines += [f"{run_tag(run)} = {reason}" for run, reason in override.left_out.items()]
        subruns = override.left_out_subruns.items()
        lines += [f"{subrun_tag(*which)} = {reason}" for which, reason in subruns]
    return "".join(f"{line}\n" for line in lines)


def parse_override(text: str, path: Path) -> Override:
    """Read the text of an override; pure.

    Parameters
    ----------
    text : str
        The text.
    path : pathlib.Path
        Where it is from, for messages.

    Raises
    ------
    InputError
        With all faults, one a line, each with file, line and key.
    """
    reader = _Reader(path)
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        content = line.strip(" \t\r")
        if content and not content.startswith("#"):
            reader.read(number, content)
    if reader.faults:
        heading = f"override {path} has {len(reader.faults)} fault(s):"
        raise InputError("\n  ".join([heading, *reader.faults]))
    return Override(
        drs4_run=reader.chosen.get("drs4_run"),
        calibration_run=reader.chosen.get("calibration_run"),
        left_out=MappingProxyType(reader.left_out),
        left_out_subruns=MappingProxyType(reader.left_out_subruns),
        types=MappingProxyType(reader.types),
    )


@dataclass
class _Reader:
    """One pass over a file; gathers faults instead of stopping at the first."""

    path: Path
    section: str | None = ""  # "" before the first header, None in one that is not known
    chosen: dict[str, int] = field(default_factory=dict)
    left_out: dict[int, str] = field(default_factory=dict)
    left_out_subruns: dict[tuple[int, int], str] = field(default_factory=dict)
    types: dict[int, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    lines: dict[str, int] = field(default_factory=dict)

    def read(self, number: int, content: str) -> None:
        where = f"{self.path}:{number}: "
        header = _HEADER.fullmatch(content)
        if header:
            name = header[1].strip().lower()
            self.section = name if name in {LEFT_OUT, TYPES} else None
            if self.section is None:
                expected = f"[{TYPES}] or [{LEFT_OUT}]"
                self.faults.append(f"{where}unknown section {_quote(content)}; expected {expected}")
            return
        if self.section is None:
            return
        key, equals, value = (part.strip(" \t") for part in content.partition("="))
        if not equals:
            self.faults.append(f"{where}{_quote(content)}: expected key = value")
            return
        read = {"": self._choose, LEFT_OUT: self._leave_out, TYPES: self._set_type}[self.section]
        fault = read(key, value, number)
        if fault:
            self.faults.append(f"{where}{_quote(key)}: {fault}")

    def _choose(self, key: str, value: str, number: int) -> str | None:
        if key not in _KEYS:
            hint = f"; runs to leave out go below [{LEFT_OUT}]" if _RUN.fullmatch(key) else ""
            return f"unknown key; expected {' or '.join(_KEYS)}{hint}"
        run = _run(value)
        if run is None:
            return f"{_quote(value)}; expected a run number such as 01872"
        if key in self.chosen:
            return f"is in line {self.lines[key]} already"
        self.chosen[key] = run
        self.lines[key] = number
        return None

    def _set_type(self, key: str, value: str, number: int) -> str | None:
        run = _run(key)
        if run is None:
            return "expected a run number such as 01875"
        if value not in _LABELS:
            return f"{_quote(value)}; expected {', '.join(_LABELS[:-1])} or {_LABELS[-1]}"
        place = f"[{TYPES}] {run}"
        if run in self.types:
            return f"run {run_tag(run)} is in line {self.lines[place]} already"
        self.types[run] = value
        self.lines[place] = number
        return None

    def _leave_out(self, key: str, value: str, number: int) -> str | None:
        run, subrun = _run_and_subrun(key)
        if run is None:
            hint = f"; {key} goes above [{LEFT_OUT}]" if key in _KEYS else ""
            return f"expected a run number such as 01875, or a sub-run such as 01875.0003{hint}"
        if not value:
            return "expected the reason why it is left out"
        if not value.isprintable() or "\ufffd" in value:
            return f"{_quote(value)}; expected a reason in printable characters"
        tag = run_tag(run) if subrun is None else subrun_tag(run, subrun)
        if tag in self.lines:
            return f"{'run' if subrun is None else 'sub-run'} {tag} is in line {self.lines[tag]} already"
        if subrun is None:
            self.left_out[run] = value
        else:
            self.left_out_subruns[run, subrun] = value
        self.lines[tag] = number
        return None


def _run_and_subrun(text: str) -> tuple[int | None, int | None]:
    match = _SUBRUN.fullmatch(text)
    return (_run(match["run"]), int(match["subrun"])) if match else (_run(text), None)


def _run(text: str) -> int | None:
    return (int(text) or None) if _RUN.fullmatch(text) else None


def _quote(text: str) -> str:
    return ascii(text if len(text) <= _LONGEST_QUOTE else text[:_LONGEST_QUOTE] + "...")
