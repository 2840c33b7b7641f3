"""``NightSummary_YYYYMMDD.json``: what nightsummary found in the raw files, and what it wrote of it.

It is kept for three things: runs whose files are as they were are not looked into again, whoever plans
the night can say why a run is an error, and a summary that somebody has edited is told from our own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

from osa.errors import InputError
from osa.nightsummary.raw import RawFile
from osa.survey.run import RunSurvey, from_json, to_json
from osa.survey.tagging import RunLabel
from osa.system.files import write_text

__all__ = ["Surveyed", "digest", "read_surveyed", "signature", "why_errors", "write_surveyed"]

_FORMAT = 1
_REMEDY = "remove it, and call nightsummary with --overwrite, which keeps the summaries that are there"


@dataclass(frozen=True)
class Surveyed:
    """What was found, and what was written.

    Parameters
    ----------
    runs : mapping of int to (str, RunSurvey)
        What was found in the files of a run, and their signature, by run.
    written : mapping of str to tuple of str
        Hashes of what we wrote, by name of the file.
    """

    runs: Mapping[int, tuple[str, RunSurvey]] = field(default_factory=lambda: MappingProxyType({}))
    written: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))

    def recall(self, run: int, mark: str) -> RunSurvey | None:
        """Give what was found in a run, where its files are as they were.

        An error is looked at again: it may have been the file system's.
        """
        known, survey = self.runs.get(run, ("", None))
        is_sure = survey is not None and survey.tag.label is not RunLabel.ERROR
        return survey if is_sure and known == mark else None

    def wrote(self, path: Path) -> bool:
        """Tell whether a file is as we wrote it."""
        try:
            return digest(path.read_bytes()) in self.written.get(path.name, ())
        except OSError:
            return False


def digest(content: bytes) -> str:
    """Hash what is written."""
    return hashlib.sha256(content).hexdigest()


def signature(files: Iterable[RawFile]) -> str:
    """Tell files from what they are after any change."""
    words = (f"{file.path.name} {file.size} {file.changed_ns}" for file in files)
    return digest("\n".join(words).encode())


def read_surveyed(path: Path) -> Surveyed:
    """Read what was found before; nothing, where that is not there.

    Raises
    ------
    InputError
        If it is there and cannot be read: what we wrote could not be told from what others did.
    """
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return Surveyed()
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read ({error}): {_REMEDY}") from None
    try:
        if document["format"] != _FORMAT:
            raise InputError(f"{path} was written by another version: {_REMEDY}")
        runs = {
            survey.run: (str(each["signature"]), survey)
            for each in document["runs"]
            for survey in [from_json(each["survey"])]
        }
        written = {str(name): tuple(map(str, hashes)) for name, hashes in document["written"].items()}
        return Surveyed(MappingProxyType(runs), MappingProxyType(written))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(f"{path} is damaged ({error!r}): {_REMEDY}") from None


def write_surveyed(path: Path, surveyed: Surveyed, *, night: str, clock: datetime) -> None:
    """Write what was found."""
    document = {
        "format": _FORMAT,
        "night": night,
        "when": clock.astimezone(UTC).isoformat(timespec="seconds"),
        "written": {name: list(hashes) for name, hashes in surveyed.written.items()},
        "runs": [
            {"signature": mark, "survey": to_json(survey)}
            for _, (mark, survey) in sorted(surveyed.runs.items())
        ],
    }
    write_text(path, json.dumps(document, indent=1) + "\n")


def why_errors(path: Path) -> dict[int, str]:
    """Tell why the types of runs could not be told, by run; nothing, where that cannot be read."""
    try:
        runs = read_surveyed(path).runs.values()
    except InputError:
        return {}
    return {survey.run: survey.tag.reason for _, survey in runs if survey.tag.label is RunLabel.ERROR}
