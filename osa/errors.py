"""The project's errors, one tree, each with the exit code that it becomes.

A command translates an error to its exit code in one place,
:func:`osa.cli.common.run_command`; nothing else in the project calls ``sys.exit``.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = [
    "AnotherInstanceError",
    "ConfigurationError",
    "ExitCode",
    "InputError",
    "InterruptedNightError",
    "JobRefusedError",
    "MissingServiceError",
    "NightNotCompleteError",
    "NotMovedError",
    "OsaError",
    "ParentGoneError",
    "ProductError",
    "StepFailedError",
]


class ExitCode(IntEnum):
    """What every command of the project says with its exit code."""

    DONE = 0
    NOT_COMPLETE = 1
    WRONG_CALL = 2
    MISSING_SERVICE = 3
    ANOTHER_INSTANCE = 4
    NOT_YET = 5
    UNEXPECTED = 70
    INTERRUPTED = 130


class OsaError(Exception):
    """Base of all errors that are shown to a user as one message, without a traceback."""

    exit_code = ExitCode.NOT_COMPLETE


class ConfigurationError(OsaError):
    """The configuration file, or a path that it names, cannot be used."""

    exit_code = ExitCode.WRONG_CALL


class InputError(OsaError):
    """An input of the night (night summary, logs, arguments) cannot be used."""

    exit_code = ExitCode.WRONG_CALL


class MissingServiceError(OsaError):
    """A program or service that is needed is not there."""

    exit_code = ExitCode.MISSING_SERVICE


class AnotherInstanceError(OsaError):
    """Another instance is at work on the same thing."""

    exit_code = ExitCode.ANOTHER_INSTANCE


class InterruptedNightError(OsaError):
    """The user or the system asked the command to stop."""

    exit_code = ExitCode.INTERRUPTED


class NightNotCompleteError(OsaError):
    """Something of the night is still missing."""


class NotMovedError(OsaError):
    """A file stays where it is, and what is at its target too."""


class JobRefusedError(OsaError):
    """A job asks for what it cannot have: the same job will never be taken."""

    exit_code = ExitCode.WRONG_CALL


class ParentGoneError(OsaError):
    """The job that another one is to wait for is not known to the scheduler any more."""


class ProductError(OsaError):
    """A product is missing, unreadable, incomplete or belongs to something else."""


class StepFailedError(OsaError):
    """A step of the analysis ended without its products."""

    def __init__(self, message: str, *, return_code: int) -> None:
        super().__init__(message)
        self.return_code = return_code
