"""Finding and reading the configuration file."""

from __future__ import annotations

import configparser
import dataclasses
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from osa.config.inifile import Lines, Reader, expand
from osa.config.settings import SECTIONS, RuleSettings, Settings, TelescopeSettings
from osa.errors import ConfigurationError
from osa.model.rule import Rule

__all__ = ["find_configuration", "load_settings", "telescope_names"]

_RULE = re.compile(r"RULE (?P<name>[A-Za-z0-9][A-Za-z0-9 ._-]*)")
_TELESCOPE = re.compile(r"[A-Z][A-Za-z]*\d+")


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
            path = expand(Path(name))
            if not path.is_file():
                raise ConfigurationError(f"configuration file {path} (from {origin}) does not exist")
            return path.absolute()
    personal = expand(Path(environment.get("HOME", "~"))) / ".config/osa/sequencer.cfg"
    if personal.is_file():
        return personal.absolute()
    return Path(__file__).parents[1] / "data" / "sequencer.cfg"


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
            f"{path}:{error.lineno}: {_shown(error.line)!r} stands above the first [section]"
        ) from None
    except configparser.ParsingError as error:
        faults = [f"configuration file {path} cannot be read:"]
        for number, line in error.errors:
            faults.append(f"{path}:{number}: {_shown(line)} is neither a [section] nor key = value")
        raise ConfigurationError("\n  ".join(faults)) from None
    reader = Reader(path, Lines(text), parser, [])
    reader.find_doubled()
    parts = _read_parts(reader, telescope)
    rules = list(_read_rules(reader))
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
        calibration_job=parts["CALIBRATION JOB"],
        data_job=parts["DATA JOB"],
        scheduler=parts["SCHEDULER"],
        local=parts["LOCAL"],
        slurm=parts["SLURM"],
        arrival=parts["ARRIVAL"],
        cron=parts["CRON"],
        cleaning=parts["CLEANING"],
        alarm=parts["ALARM"],
        provenance=parts["PROVENANCE"],
        rules=tuple(rules),
    )


def telescope_names(path: Path) -> tuple[str, ...]:
    """Name the telescopes of a configuration file that was read before."""
    parser = configparser.ConfigParser(strict=False)
    parser.read_string(path.read_text(encoding="utf-8-sig"))
    return tuple(name for name in parser.sections() if name not in SECTIONS and _TELESCOPE.fullmatch(name))


def _shown(line: str) -> str:
    """Show a line that cannot be read; of what may be the URL of a database only the key."""
    return line.partition("=")[0].strip() if "://" in line else line.strip()


def _read_parts(reader: Reader, telescope: str) -> dict[str, Any]:
    parts = {name: reader.read(name, kind) for name, kind in SECTIONS.items()}
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


def _read_rules(reader: Reader) -> Iterator[Rule]:
    """Read the known failures that the file adds."""
    for section in reader.parser.sections():
        name = _RULE.fullmatch(section)
        if name is None:
            continue
        read = reader.read(section, RuleSettings)
        if read is not None:
            try:
                yield read.as_rule(name["name"])
            except ValueError as error:
                reader.fault(str(error), section)


def _telescope_sections(reader: Reader) -> Iterator[str]:
    for section in reader.parser.sections():
        if section in SECTIONS or _RULE.fullmatch(section):
            continue
        if _TELESCOPE.fullmatch(section):
            yield section
        else:
            reader.fault("unknown section", section)
