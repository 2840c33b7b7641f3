"""An INI file as a whole: where everything stands, and all that is wrong with it."""

from __future__ import annotations

import configparser
import dataclasses
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from osa.config.values import PATHS, as_steps

__all__ = ["Lines", "Reader", "expand"]

_VARIABLE = re.compile(r"\$(\w+|\{[^}]*\})")

T = TypeVar("T")


def expand(path: Path) -> Path:
    """Put a home directory in the place of ``~``; of an unknown user it stays as it is."""
    try:
        return path.expanduser()
    except RuntimeError:
        return path


class Lines:
    """Where sections and keys stand in the text, found by the rules of configparser.

    Parameters
    ----------
    text : str
        The file.

    Attributes
    ----------
    sections : dict of str to int
        Line of each section.
    keys : dict of str to dict of str to int
        Line of each key that stands in the section itself, keys in small letters.
    doubled : list of (int, str, str or None)
        Line, section and key (None for the section) of what stands there again.
    """

    def __init__(self, text: str) -> None:
        self.sections: dict[str, int] = {}
        self.keys: dict[str, dict[str, int]] = {}
        self.doubled: list[tuple[int, str, str | None]] = []
        section, indent, after_key = None, 0, False
        for number, line in enumerate(text.split("\n"), start=1):
            content = line.strip()
            if not content or content.startswith(("#", ";")):
                continue
            depth = len(line) - len(line.lstrip())
            if after_key and depth > indent:
                continue  # goes on with the value of the line above
            indent = depth
            header = configparser.ConfigParser.SECTCRE.match(content)
            if header:
                section, after_key = header["header"], False
                self._add_section(section, number)
            elif section is not None:
                self._add_key(section, re.split("[=:]", content, maxsplit=1)[0].strip().lower(), number)
                after_key = True

    def _add_section(self, section: str, number: int) -> None:
        if section in self.sections and section != configparser.DEFAULTSECT:
            self.doubled.append((number, section, None))
        self.sections.setdefault(section, number)
        self.keys.setdefault(section, {})

    def _add_key(self, section: str, key: str, number: int) -> None:
        if key in self.keys[section]:
            self.doubled.append((number, section, key))
        self.keys[section].setdefault(key, number)

    def find(self, section: str, key: str | None) -> int | None:
        """Find the line of a key, or else that of its section; None where there is neither."""
        return self.keys.get(section, {}).get(key or "", self.sections.get(section))


@dataclass(frozen=True)
class Reader:
    """One pass over a parsed file; gathers faults instead of stopping at the first."""

    path: Path
    lines: Lines
    parser: configparser.ConfigParser
    faults: list[str]

    def fault(self, message: str, section: str, key: str | None = None, line: int | None = None) -> None:
        """Take note of a fault."""
        line = line or self.lines.find(section, key)
        where = f"{self.path}:{line}" if line else f"{self.path}"
        self.faults.append(f"{where}: [{section}] {key + ': ' if key else ''}{message}")

    def own_keys(self, section: str) -> list[str]:
        """Keys that stand in the section itself, without those of [DEFAULT]."""
        return list(self.lines.keys.get(section, {}))

    def find_doubled(self) -> None:
        """Take note of sections and keys that stand there twice."""
        for line, section, key in self.lines.doubled:
            first = self.lines.find(section, key)
            self.fault(f"stands there twice (first in line {first})", section, key, line)

    def read(self, section: str, kind: type[T]) -> T | None:
        """Read a section into its dataclass; None where it has a fault."""
        if not self.parser.has_section(section):
            self.faults.append(f"{self.path}: section [{section}] is missing")
            return None
        fields = {item.name: item for item in dataclasses.fields(kind)}  # type: ignore[arg-type]
        for key in self.own_keys(section):
            if key not in fields:
                self.fault(f"unknown key; this section has {', '.join(fields)}", section, key)
        before = len(self.faults)
        values = {name: self._value(section, name, item.metadata) for name, item in fields.items()}
        return kind(**values) if len(self.faults) == before else None

    def _fault_of_value(self, how: Mapping[str, Any], section: str, key: str, fault: str, value: str) -> None:
        """Take note of a fault, with what stands there unless that may be secret."""
        self.fault(fault if how["is_secret"] else f"{value}: {fault}", section, key)

    def _value(self, section: str, key: str, how: Mapping[str, Any]) -> Any:
        if key not in self.own_keys(section):
            if not how["may_be_absent"]:
                self.fault("this key is missing", section, key)
            return None
        try:
            text = self.parser.get(section, key).strip()
        except configparser.InterpolationError as error:
            self._fault_of_value(how, section, key, "cannot be filled in", " ".join(str(error).split()))
            return None
        text = os.path.expandvars(text).strip()
        unset = _VARIABLE.search(text)
        if unset:
            which = "in it" if how["is_secret"] else unset[0]
            self.fault(f"environment variable {which} is not set", section, key)
            return None
        convert = how["convert"]
        if not text:
            if how["may_be_empty"]:
                return None
            if convert is as_steps:
                return frozenset()
            self.fault("must not be empty", section, key)
            return None
        fault = _find_fault(text, may_have_lines=convert is as_steps)
        if fault:
            self._fault_of_value(how, section, key, fault, repr(text))
            return None
        if convert in PATHS:
            text = str(self.path.parent / expand(Path(text)))
        try:
            return convert(text)
        except ValueError as error:
            self._fault_of_value(how, section, key, str(error), text)
            return None


def _find_fault(text: str, *, may_have_lines: bool) -> str | None:
    """Say what no value may have: what was meant is surely something else."""
    if "\n" in text and not may_have_lines:
        return "has to stand on one line (a key must not begin with more blanks than the one above it)"
    if not text.replace("\n", "").isprintable():
        return "has a character that cannot be printed"
    if re.search(r"\s[#;]", text):
        return "a comment needs a line of its own"
    return None
