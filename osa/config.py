"""The configuration file, read into typed, validated settings.

All faults of a file are reported together, each with file, line, section and key, and before
anything is done. Nothing is read when this module is imported.
"""

from __future__ import annotations

import configparser
import dataclasses
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from osa.errors import ConfigurationError
from osa.model.job import Resources

__all__ = [
    "AnalysisSettings",
    "CalibrationSettings",
    "LocalSettings",
    "LstchainSettings",
    "ProductionSettings",
    "SchedulerSettings",
    "Settings",
    "SlurmSettings",
    "TelescopeSettings",
    "find_configuration",
    "load_settings",
]

STEP_NAMES = (
    "drs4_pedestal",
    "time_calibration",
    "charge_calibration",
    "calibration_plots",
    "r0_to_dl1",
    "datacheck",
    "dl1_to_dl2",
)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_TELESCOPE = re.compile(r"[A-Z][A-Za-z]*\d+")
_VARIABLE = re.compile(r"\$(\w+|\{[^}]*\})")
_MEMORY = re.compile(r"(\d{1,9}(?:\.\d+)?)\s*(MB|GB)", re.IGNORECASE)
_TIME = re.compile(r"(?:(\d{1,3})-)?(\d{1,3}):([0-5]\d):([0-5]\d)")
_MB_PER_GB = 1024

# ---------------------------------------------------------------- converters: text -> value


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("wants letters, digits, dots, dashes and underscores")
    return text


def _positive(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise ValueError("wants a whole number above 0")
    return value


def _hour(text: str) -> timedelta:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 24:
        raise ValueError("wants hours from 0 to 24")
    return timedelta(hours=value)


def _yes_no(text: str) -> bool:
    try:
        return {"yes": True, "no": False}[text.lower()]
    except KeyError:
        raise ValueError("wants yes or no") from None


def _memory(text: str) -> int:
    match = _MEMORY.fullmatch(text)
    if match is None or float(match[1]) <= 0:
        raise ValueError("wants an amount such as 8 GB or 500 MB")
    return max(1, int(float(match[1]) * (_MB_PER_GB if match[2].upper() == "GB" else 1)))


def _walltime(text: str) -> timedelta:
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError("wants a time such as 06:00:00 or 1-12:00:00")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    value = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    if not value:
        raise ValueError("wants a time above zero")
    return value


def _steps(text: str) -> frozenset[str]:
    names = frozenset(part.strip() for part in text.split(",") if part.strip())
    unknown = sorted(names - set(STEP_NAMES))
    if unknown:
        raise ValueError(f"does not know {', '.join(unknown)}: the steps are {', '.join(STEP_NAMES)}")
    return names


def _backend(text: str) -> str:
    if text not in {"auto", "local", "slurm"}:
        raise ValueError("wants auto, local or slurm")
    return text


def _path(text: str) -> Path:
    return Path(text)


def _directory(text: str) -> Path:
    path = Path(text)
    if not path.is_dir():
        raise ValueError("this directory does not exist")
    return path


def _file(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise ValueError("this file does not exist")
    return path


_PATHS = (_path, _directory, _file)

T = TypeVar("T")


def _key(convert: Callable[[str], Any], *, may_be_empty: bool = False) -> Any:
    """Declare a key of a section: how its text is read, and whether it may be empty (None)."""
    return field(metadata={"convert": convert, "may_be_empty": may_be_empty})


# ------------------------------------------------------------------------- the sections


@dataclass(frozen=True)
class TelescopeSettings:
    """Section of a telescope: its number, where its inputs are and its outputs go."""

    tel_id: int = _key(_positive)
    nightoffset: timedelta = _key(_hour)
    raw_dir: Path = _key(_directory)
    night_summary_dir: Path = _key(_directory)
    run_summary_dir: Path = _key(_directory)
    drive_dir: Path = _key(_directory)
    models_dir: Path = _key(_directory)
    analysis_dir: Path = _key(_path)
    calibration_dir: Path = _key(_path)
    dl1_dir: Path = _key(_path)
    dl2_dir: Path = _key(_path)
    closer_dir: Path = _key(_path)


@dataclass(frozen=True)
class ProductionSettings:
    """Names of the productions."""

    prod_id: str = _key(_name)
    dl1_prod_id: str = _key(_name)
    dl2_prod_id: str = _key(_name)
    calibration_prod_id: str = _key(_name)


@dataclass(frozen=True)
class LstchainSettings:
    """What is asked of lstchain."""

    dl1_config: Path | None = _key(_file, may_be_empty=True)
    dl2_config: Path | None = _key(_file, may_be_empty=True)
    charge_calibration_config: Path | None = _key(_file, may_be_empty=True)
    charge_calibration_systematics: Path | None = _key(_file, may_be_empty=True)
    drs4_events: int = _key(_positive)
    time_calibration: bool = _key(_yes_no)
    time_calibration_reference: Path | None = _key(_file, may_be_empty=True)
    time_calibration_events: int = _key(_positive)
    time_calibration_n_combine: int = _key(_positive)
    time_calibration_n_harmonics: int = _key(_positive)
    flatfield_heuristic: bool = _key(_yes_no)
    separate_programs: frozenset[str] = _key(_steps)


@dataclass(frozen=True)
class CalibrationSettings:
    """Runs that the operators fixed for every night."""

    drs4_run: int | None = _key(_positive, may_be_empty=True)
    calibration_run: int | None = _key(_positive, may_be_empty=True)


@dataclass(frozen=True)
class AnalysisSettings:
    """How the analysis behaves."""

    maxtryfailed: int = _key(_positive)


@dataclass(frozen=True)
class _JobSettings:
    cpus: int = _key(_positive)
    memory: int = _key(_memory)
    walltime: timedelta = _key(_walltime)


@dataclass(frozen=True)
class SchedulerSettings:
    """Who runs the jobs."""

    backend: str = _key(_backend)


@dataclass(frozen=True)
class LocalSettings:
    """The local backend; None stands for what the machine has."""

    max_cores: int | None = _key(_positive, may_be_empty=True)
    max_memory: int | None = _key(_memory, may_be_empty=True)
    state_dir: Path = _key(_path)


@dataclass(frozen=True)
class SlurmSettings:
    """What sbatch is told; None leaves it to the user's default."""

    account: str | None = _key(_name, may_be_empty=True)
    partition: str | None = _key(_name, may_be_empty=True)


@dataclass(frozen=True)
class Settings:
    """The whole configuration for one telescope.

    Parameters
    ----------
    path : pathlib.Path
        The file that it was read from.
    telescope_name : str
        Section of the telescope, ``LST1``.
    """

    path: Path
    telescope_name: str
    telescope: TelescopeSettings
    production: ProductionSettings
    lstchain: LstchainSettings
    calibration: CalibrationSettings
    analysis: AnalysisSettings
    calibration_job: Resources
    data_job: Resources
    scheduler: SchedulerSettings
    local: LocalSettings
    slurm: SlurmSettings


_SECTIONS: dict[str, type[Any]] = {
    "PRODUCTION": ProductionSettings,
    "LSTCHAIN": LstchainSettings,
    "CALIBRATION": CalibrationSettings,
    "ANALYSIS": AnalysisSettings,
    "CALIBRATION JOB": _JobSettings,
    "DATA JOB": _JobSettings,
    "SCHEDULER": SchedulerSettings,
    "LOCAL": LocalSettings,
    "SLURM": SlurmSettings,
}

# ----------------------------------------------------------------------------- reading


def find_configuration(given: Path | None, environment: Mapping[str, str]) -> Path:
    """Tell which configuration file a command reads.

    Parameters
    ----------
    given : pathlib.Path or None
        What the user named with ``-c``.
    environment : mapping
        The environment, for ``OSA_CONFIG`` and ``HOME``.

    Raises
    ------
    ConfigurationError
        If a file that was named explicitly is not there.
    """
    for origin, name in (("-c", given), ("$OSA_CONFIG", environment.get("OSA_CONFIG"))):
        if name:
            path = _expand(Path(name))
            if not path.is_file():
                raise ConfigurationError(f"configuration file {path} (from {origin}) does not exist")
            return path.absolute()
    personal = _expand(Path(environment.get("HOME", "~"))) / ".config/osa/sequencer.cfg"
    if personal.is_file():
        return personal.absolute()
    return Path(__file__).parent / "data" / "sequencer.cfg"


def _expand(path: Path) -> Path:
    """Put a home directory in the place of ``~``; of an unknown user it stays as it is."""
    try:
        return path.expanduser()
    except RuntimeError:
        return path


class _Lines:
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
class _Reader:
    """One pass over a parsed file; gathers faults instead of stopping at the first."""

    path: Path
    lines: _Lines
    parser: configparser.ConfigParser
    faults: list[str]

    def fault(self, message: str, section: str, key: str | None = None, line: int | None = None) -> None:
        line = line or self.lines.find(section, key)
        where = f"{self.path}:{line}" if line else f"{self.path}"
        self.faults.append(f"{where}: [{section}] {key + ': ' if key else ''}{message}")

    def own_keys(self, section: str) -> list[str]:
        """Keys that stand in the section itself, without those of [DEFAULT]."""
        return list(self.lines.keys.get(section, {}))

    def find_doubled(self) -> None:
        for line, section, key in self.lines.doubled:
            first = self.lines.find(section, key)
            self.fault(f"stands there twice (first in line {first})", section, key, line)

    def read(self, section: str, kind: type[T]) -> T | None:
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

    def _value(self, section: str, key: str, how: Mapping[str, Any]) -> Any:
        if key not in self.own_keys(section):
            self.fault("this key is missing", section, key)
            return None
        try:
            text = self.parser.get(section, key).strip()
        except configparser.InterpolationError as error:
            self.fault(f"cannot be filled in: {' '.join(str(error).split())}", section, key)
            return None
        text = os.path.expandvars(text).strip()
        unset = _VARIABLE.search(text)
        if unset:
            self.fault(f"environment variable {unset[0]} is not set", section, key)
            return None
        convert = how["convert"]
        if not text:
            if how["may_be_empty"]:
                return None
            if convert is _steps:
                return frozenset()
            self.fault("must not be empty", section, key)
            return None
        fault = _find_fault(text, may_have_lines=convert is _steps)
        if fault:
            self.fault(f"{text!r}: {fault}", section, key)
            return None
        if convert in _PATHS:
            text = str(self.path.parent / _expand(Path(text)))
        try:
            return convert(text)
        except ValueError as error:
            self.fault(f"{text}: {error}", section, key)
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


def load_settings(path: Path, telescope: str) -> Settings:
    """Read and check a configuration file.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    telescope : str
        Section of the telescope to work for.

    Raises
    ------
    ConfigurationError
        With all faults of the file, one a line: unknown or missing sections and keys, values
        that cannot be read, files and directories that do not exist.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"configuration file {path} cannot be read: {error}") from None
    path = path.absolute()
    # Doubled keys are found below, with all other faults.
    parser = configparser.ConfigParser(strict=False)
    try:
        parser.read_string(text, source=str(path))
    except configparser.MissingSectionHeaderError as error:
        raise ConfigurationError(
            f"{path}:{error.lineno}: {error.line.strip()!r} stands above the first [section]"
        ) from None
    except configparser.ParsingError as error:
        lines = [f"{path}:{number}: {line} is neither a [section] nor key = value" for number, line in error.errors]
        raise ConfigurationError("\n  ".join([f"configuration file {path} cannot be read:", *lines])) from None
    reader = _Reader(path, _Lines(text), parser, [])
    reader.find_doubled()
    parts = _read_parts(reader, telescope)
    if reader.faults:
        heading = f"configuration file {path} has {len(reader.faults)} fault(s):"
        raise ConfigurationError("\n  ".join([heading, *reader.faults]))
    return Settings(
        path=path,
        telescope_name=telescope,
        telescope=parts[telescope],
        production=parts["PRODUCTION"],
        lstchain=parts["LSTCHAIN"],
        calibration=parts["CALIBRATION"],
        analysis=parts["ANALYSIS"],
        calibration_job=_resources(parts["CALIBRATION JOB"]),
        data_job=_resources(parts["DATA JOB"]),
        scheduler=parts["SCHEDULER"],
        local=parts["LOCAL"],
        slurm=parts["SLURM"],
    )


def _read_parts(reader: _Reader, telescope: str) -> dict[str, Any]:
    parts = {name: reader.read(name, kind) for name, kind in _SECTIONS.items()}
    telescopes = list(_telescope_sections(reader))
    if telescope in telescopes:
        parts[telescope] = reader.read(telescope, TelescopeSettings)
    else:
        known = ", ".join(telescopes) or "none"
        reader.faults.append(f"{reader.path}: no section [{telescope}]; telescopes there: {known}")
    known_keys = {item.name for item in dataclasses.fields(TelescopeSettings)}
    for other in telescopes:
        for key in reader.own_keys(other):
            if other != telescope and key not in known_keys:
                reader.fault("unknown key", other, key)
    lstchain = parts["LSTCHAIN"]
    if lstchain and not lstchain.time_calibration and lstchain.time_calibration_reference is None:
        message = "has to name a file where time_calibration is no"
        reader.fault(message, "LSTCHAIN", "time_calibration_reference")
    return parts


def _telescope_sections(reader: _Reader) -> Iterator[str]:
    for section in reader.parser.sections():
        if section in _SECTIONS:
            continue
        if _TELESCOPE.fullmatch(section):
            yield section
        else:
            reader.fault("unknown section", section)


def _resources(job: _JobSettings) -> Resources:
    return Resources(cpus=job.cpus, memory=job.memory, walltime=job.walltime)
