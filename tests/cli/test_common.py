"""What all commands share: errors become exit codes in one place."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from osa import __version__
from osa.cli.common import Parser, add_night_options, note, open_night, run_command
from osa.config import Settings
from osa.errors import (
    AnotherInstanceError,
    ConfigurationError,
    ExitCode,
    InputError,
    InterruptedNightError,
    MissingServiceError,
    NightNotCompleteError,
    OsaError,
    StepFailedError,
)

ROOT = Path(__file__).parents[2]
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def same_handlers() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def run(outcome: object, *argv: str) -> int:
    """Run a command that returns or raises something."""

    def command(_: argparse.Namespace) -> ExitCode:
        if isinstance(outcome, BaseException):
            raise outcome
        assert isinstance(outcome, ExitCode)
        return outcome

    return run_command(Parser("tell", "Tell.", "  tell\n"), command, argv)


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (ExitCode.DONE, 0),
        (ExitCode.NOT_COMPLETE, 1),
        (OsaError("said"), 1),
        (NightNotCompleteError("said"), 1),
        (StepFailedError("said", return_code=3), 1),
        (InputError("said"), 2),
        (ConfigurationError("said"), 2),
        (MissingServiceError("said"), 3),
        (AnotherInstanceError("said"), 4),
        (InterruptedNightError("said"), 130),
        (KeyboardInterrupt(), 130),
        (OSError(28, "No space left on device"), 1),
        (ValueError("surprise"), 70),
    ],
)
def test_exit_codes(outcome: object, code: int, capsys: Capture) -> None:
    assert run(outcome) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    assert err.startswith("tell: ") if isinstance(outcome, BaseException) else err == ""
    assert len(err.splitlines()) <= 1


def test_unexpected_errors_say_what_they_are(capsys: Capture) -> None:
    run(ZeroDivisionError("by nought"))
    assert "unexpected ZeroDivisionError: by nought (-v shows where" in capsys.readouterr().err


@pytest.mark.parametrize("outcome", [OsaError("said"), OSError("said"), KeyError("said")])
def test_verbose_shows_where(outcome: BaseException, capsys: Capture) -> None:
    run(outcome, "-v")
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "said" in err.splitlines()[-1]


def test_version_and_help(capsys: Capture) -> None:
    for argument in ("--version", "--help"):
        with pytest.raises(SystemExit) as raised:
            run(ExitCode.DONE, argument)
        assert raised.value.code == 0
    out = capsys.readouterr().out
    assert f"tell (lst-osa) {__version__}\n" in out
    for code in ExitCode:
        assert f" {code.value} " in out


def test_unknown_option_is_a_wrong_call() -> None:
    with pytest.raises(SystemExit) as raised:
        run(ExitCode.DONE, "--no-such-option")
    assert raised.value.code == ExitCode.WRONG_CALL


def test_sigterm_is_an_interrupt(capsys: Capture) -> None:
    def command(_: argparse.Namespace) -> ExitCode:
        os.kill(os.getpid(), signal.SIGTERM)
        signal.sigtimedwait([], 5)
        raise AssertionError("the signal did nothing")

    assert run_command(Parser("tell", "Tell.", ""), command, []) == ExitCode.INTERRUPTED
    assert "SIGTERM" in capsys.readouterr().err


def test_notes_are_not_output(capsys: Capture) -> None:
    note("by the way")
    assert capsys.readouterr() == ("", "by the way\n")


def test_reader_that_has_enough_is_no_error() -> None:
    code = (
        "import sys\n"
        "from osa.cli.common import Parser, run_command\n"
        "def command(_):\n"
        "    for number in range(100000): print(number)\n"
        "sys.exit(run_command(Parser('tell', 'Tell.', ''), command, []))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline() == b"0\n"
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(20) == 0


# ------------------------------------------------------------------------------ the night


def parse(*argv: str) -> argparse.Namespace:
    parser = Parser("tell", "Tell.", "")
    add_night_options(parser)
    return parser.parse_args(argv)


@pytest.mark.parametrize("text", ["2020_01_27", "2020-01-27", "20200127"])
def test_night_of_the_command_line(settings: Settings, text: str) -> None:
    layout = open_night(parse("-c", str(settings.path), "-d", text))
    assert (str(layout.night), layout.settings) == ("2020-01-27", settings)


def test_night_that_is_meant_without_a_date(settings: Settings) -> None:
    before = datetime.now(UTC)
    night = open_night(parse("-c", str(settings.path))).night
    possible = {(time - settings.telescope.nightoffset).date() for time in (before, datetime.now(UTC))}
    assert night.date in possible


@pytest.mark.parametrize("text", ["yesterday", "2020_02_30", "", "27_01_2020"])
def test_bad_date_is_named(settings: Settings, text: str) -> None:
    with pytest.raises(InputError, match="-d: "):
        open_night(parse("-c", str(settings.path), "-d", text))


def test_configuration_and_telescope_that_are_not_there(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="LST4"):
        open_night(parse("-c", str(settings.path), "-d", "20200127", "LST4"))
    with pytest.raises(ConfigurationError, match="nowhere"):
        open_night(parse("-c", str(tmp_path / "nowhere.cfg"), "-d", "20200127"))


def test_configuration_of_the_environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSA_CONFIG", str(settings.path))
    assert open_night(parse("-d", "20200127")).settings == settings
