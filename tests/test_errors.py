from __future__ import annotations

import inspect

import pytest

from osa import errors
from osa.errors import ExitCode, OsaError, StepFailedError

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, OsaError)]


def test_the_module_tells_all_its_errors():
    assert {kind.__name__ for kind in KINDS} | {"ExitCode"} == set(errors.__all__)


@pytest.mark.parametrize("kind", KINDS)
def test_no_error_says_done(kind):
    assert kind.exit_code in set(ExitCode) - {ExitCode.DONE}


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("NightNotCompleteError", 1),
        ("ProductError", 1),
        ("StepFailedError", 1),
        ("ConfigurationError", 2),
        ("InputError", 2),
        ("MissingServiceError", 3),
        ("AnotherInstanceError", 4),
        ("InterruptedNightError", 130),
    ],
)
def test_exit_codes_are_as_the_help_tells(name, code):
    assert getattr(errors, name).exit_code == code


def test_a_failed_step_keeps_its_return_code():
    error = StepFailedError("r0_to_dl1 failed", return_code=-9)
    assert (str(error), error.return_code) == ("r0_to_dl1 failed", -9)
