"""Small programs that read something and answer, or do not."""

from __future__ import annotations

import os
import sys
import time

import pytest

from osa.errors import MissingServiceError, OsaError
from osa.system.programs import filter_through


def python(code: str) -> list[str]:
    return [sys.executable, "-c", f"import os, sys, time\n{code}"]


def message(command: list[str], data: bytes = b"", *, seconds: float = 30) -> str:
    with pytest.raises(OsaError) as caught:
        filter_through(command, data, seconds=seconds)
    text = str(caught.value)
    assert "\n" not in text and text.isprintable()
    return text


@pytest.mark.parametrize("data", [b"", b"caf\xe9\r\n\0", b"x" * (5 << 20)])
def test_what_is_given_is_answered(data):
    assert filter_through(["cat"], data + b".", seconds=30) == data + b"."


def test_what_a_program_says_besides_does_not_count():
    code = "print('a warning', file=sys.stderr); print('answer')"
    assert filter_through(python(code), b"", seconds=30) == b"answer\n"


def test_arguments_are_not_for_a_shell(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    odd = "$(touch x); touch y `touch z`"
    assert filter_through(["printf", "%s", odd], b"", seconds=30) == odd.encode()
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_is_not_there(tmp_path, monkeypatch):
    for path in (str(tmp_path), "", str(tmp_path / "missing")):
        monkeypatch.setenv("PATH", path)
        with pytest.raises(MissingServiceError, match="no-such-program is not installed, or not on the PATH"):
            filter_through(["no-such-program"], b"", seconds=1)


@pytest.mark.parametrize(("content", "mode"), [("#!/bin/sh\n", 0o644), ("garbage", 0o755), ("", 0o755)])
def test_a_program_that_cannot_be_run(tmp_path, content, mode):
    path = tmp_path / "program"
    path.write_text(content)
    path.chmod(mode)
    assert "program" in message([str(path)])


def test_a_folder_is_no_program(tmp_path):
    assert str(tmp_path) in message([str(tmp_path)])


@pytest.mark.parametrize("data", [b"", b"x" * (1 << 20)])
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("sys.exit(3)", "ended with exit code 3"),
        ("os.kill(os.getpid(), 9)", "ended with signal 9"),
        ("os.abort()", "ended with signal 6"),
        ("sys.exit('two\\nlines')", "ended with exit code 1: two lines"),
        ("print('answer'); sys.exit(1)", "ended with exit code 1"),
        ("", "answered nothing"),
        ("sys.stderr.buffer.write(b'caf\\xe9'); sys.exit(2)", "ended with exit code 2: caf\ufffd"),
    ],
)
def test_a_program_that_fails_is_told_in_one_line(code, expected, data):
    assert message(python(code), data).endswith(expected)


def test_of_much_that_is_said_the_end_is_told():
    text = message(python("sys.exit('x' * 100000 + ' the reason')"))
    assert text.endswith("x the reason")
    assert len(text) < 500


@pytest.mark.parametrize(
    "code",
    [
        "time.sleep(60)",
        "os.system('sleep 5')",
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('x'); time.sleep(60)",
        "sys.stdin.close(); time.sleep(60)",
    ],
)
def test_a_program_that_hangs_is_stopped(code):
    start = time.monotonic()
    text = message(python(code), b"x" * (1 << 20), seconds=0.5)
    assert "took longer than" in text and text.endswith("and was stopped")
    assert time.monotonic() - start < 4


def test_a_program_that_was_stopped_is_gone(tmp_path):
    code = f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    message(python(code), seconds=1)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_the_bound_is_told_as_it_is():
    assert "longer than 0.5 s" in message(python("time.sleep(60)"), seconds=0.5)
