"""Small programs that read something and answer, within a bounded time."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from osa.errors import MissingServiceError, OsaError

__all__ = ["filter_through"]

_SAID = 300


def filter_through(command: Sequence[str], data: bytes, *, seconds: float) -> bytes:
    """Give data to a program and return what it answers.

    Parameters
    ----------
    command : sequence of str
        The program and its arguments.
    data : bytes
        Its standard input.
    seconds : float
        How long it may take.

    Raises
    ------
    MissingServiceError
        If there is no such program.
    OsaError
        If it takes too long, fails, is killed, or answers nothing.
    """
    name = command[0]
    try:
        done = subprocess.run(command, input=data, capture_output=True, timeout=seconds, check=False)
    except FileNotFoundError:
        raise MissingServiceError(f"the program {name} is not installed, or not on the PATH") from None
    except OSError as error:
        raise MissingServiceError(f"the program {name} cannot be run: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise OsaError(f"{name} took longer than {seconds:g} s and was stopped") from None
    if done.returncode != 0:
        how = f"signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
        said = " ".join(done.stderr.decode(errors="replace").split())[-_SAID:]
        raise OsaError(f"{name} ended with {how}" + (f": {said}" if said else ""))
    if not done.stdout:
        raise OsaError(f"{name} answered nothing")
    return done.stdout
