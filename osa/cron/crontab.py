"""Our lines in the crontab of a user; pure but for the two functions at the end."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterable
from difflib import unified_diff
from pathlib import Path

from osa.errors import MissingServiceError, OsaError

__all__ = ["difference", "fill_in", "put_block", "read_crontab", "write_crontab"]

_BEGIN = "# BEGIN lst-osa {name}"
_END = "# END lst-osa {name}"
_PLACE = "@osacron@"
_SECONDS = 30


def fill_in(template: str, program: Path, config: Path, telescope: str) -> str:
    """Write the lines of a telescope.

    Parameters
    ----------
    template : str
        The crontab that comes with the package.
    program : pathlib.Path
        The command osacron.
    config : pathlib.Path
        Configuration that it is to read.
    telescope : str
        Section of the configuration.
    """
    words = [str(program), "-c", str(config), "-t", telescope]
    # In a crontab, a per cent sign ends the command.
    command = shlex.join(words).replace("%", r"\%")
    if "\n" in command or any("\\" in word for word in words):
        raise OsaError(f"a path with a line break or a backslash cannot stand in a crontab: {command!a}")
    return template.replace(_PLACE, command)


def put_block(crontab: str, name: str, lines: str | None) -> str:
    """Put our lines at the end of a crontab, for those that are there; the rest stays.

    Parameters
    ----------
    crontab : str
        The crontab of the user.
    name : str
        Tells several blocks apart.
    lines : str or None
        Our lines; None takes those that are there away.

    Raises
    ------
    OsaError
        If a block begins that does not end.
    """
    begin, end = _BEGIN.format(name=name), _END.format(name=name)
    kept, is_ours = [], False
    for line in _lines(crontab):
        if line in {begin, end}:
            if is_ours == (line == begin):
                raise OsaError(f"the crontab has {begin!r} and {end!r} not in turn: put that right by hand")
            is_ours = line == begin
        elif not is_ours:
            kept.append(line)
    if is_ours:
        raise OsaError(f"the crontab has a line {begin!r} and none {end!r} after it: put that right by hand")
    block = [] if lines is None else [begin, *_lines(lines), end]
    return "".join(f"{line}\n" for line in [*kept, *block])


def _lines(text: str) -> list[str]:
    """Split as cron does: at line feeds alone."""
    return text.removesuffix("\n").split("\n") if text else []


def difference(before: str, after: str) -> list[str]:
    """Show what would change, as diff does; nothing where nothing would."""
    lines: Iterable[str] = unified_diff(
        _lines(before), _lines(after), "the crontab as it is", "as it would be", lineterm="", n=1
    )
    return list(lines)


def read_crontab() -> str:
    """Read the crontab of this user; empty where there is none.

    Raises
    ------
    MissingServiceError
        If there is no cron.
    OsaError
        If it cannot be read.
    """
    done = _crontab("-l")
    if done.returncode == 0:
        return done.stdout.decode(errors="surrogateescape")
    said = " ".join(done.stderr.decode(errors="replace").split())
    if "no crontab for" in said:
        return ""
    raise OsaError(f"the crontab cannot be read: {said}")


def write_crontab(text: str) -> None:
    """Replace the crontab of this user.

    Raises
    ------
    MissingServiceError
        If there is no cron.
    OsaError
        If cron does not take it.
    """
    done = _crontab("-", given=text)
    if done.returncode != 0:
        said = " ".join(done.stderr.decode(errors="replace").split())
        raise OsaError(f"cron does not take the crontab: {said}")


def _crontab(*words: str, given: str = "") -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            ["crontab", *words],  # noqa: S607 - where it is depends on the system
            input=given.encode(errors="surrogateescape"),  # lines of the user stay as they are
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except OSError as error:
        raise MissingServiceError(f"crontab cannot be run: {error.strerror} (is cron installed?)") from None
    except subprocess.TimeoutExpired:
        raise MissingServiceError(f"crontab gave no answer within {_SECONDS} s") from None
