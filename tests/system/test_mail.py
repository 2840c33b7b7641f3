"""Handing mail to real programs: good ones, and some that fail, hang or are not there."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from osa.errors import ExitCode, MissingServiceError
from osa.system import mail
from osa.system.mail import send_mail

Make = Callable[..., Path]
KEEP = """\
import pathlib, sys
folder = pathlib.Path(__file__).parent
(folder / "arguments").write_text(" ".join(sys.argv[1:]))
(folder / "mail").write_bytes(sys.stdin.buffer.read())
"""


@pytest.fixture
def mailer(tmp_path: Path) -> Make:
    """Make a program."""

    def make(program: str, interpreter: str = sys.executable) -> Path:
        path = tmp_path / "mailer"
        path.write_text(f"#!{interpreter}\n{program}", "utf-8")
        path.chmod(0o755)
        return path

    return make


def mailed(path: Path) -> EmailMessage:
    message = message_from_bytes((path.parent / "mail").read_bytes(), policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def failure(path: Path, text: str = "text\n") -> str:
    with pytest.raises(MissingServiceError) as caught:
        send_mail(path, "shift@example.org", "subject", text)
    assert caught.value.exit_code == ExitCode.MISSING_SERVICE
    said = str(caught.value)
    assert said.startswith(f"no mail to shift@example.org: {path}") and "\n" not in said
    return said


def test_mail_with_its_heads(mailer: Make) -> None:
    path = mailer(KEEP)
    send_mail(path, "shift@example.org", "LST1: not closed", "First line\n.\nlast line\n")
    message = mailed(path)
    assert (message["To"], message["Subject"]) == ("shift@example.org", "LST1: not closed")
    assert message.get_content() == "First line\n.\nlast line\n"
    assert (path.parent / "arguments").read_text() == "-oi -t"


@pytest.mark.parametrize("text", ["", "W0.40+090° 10 µs …\n", "x" * 5000 + "\n", "From me\n", "a\n" * 50_000])
def test_text_arrives_as_it_was(mailer: Make, text: str) -> None:
    path = mailer(KEEP)
    send_mail(path, "root", "ß", text)
    assert mailed(path).get_content().rstrip("\n") == text.rstrip("\n")
    assert mailed(path)["Subject"] == "ß"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\v", "\f", "\x1c", "\x85", "\u2028", "\n\n", "\n "])
def test_subject_adds_no_heads(mailer: Make, end: str) -> None:
    path = mailer(KEEP)
    send_mail(path, "root", f"night{end}Bcc: all@example.org{end}{end}text", "text\n")
    message = mailed(path)
    assert set(message.keys()) == {
        "To",
        "Subject",
        "Content-Type",
        "Content-Transfer-Encoding",
        "MIME-Version",
    }
    assert message["Subject"] == "night Bcc: all@example.org text"
    assert message.get_content() == "text\n"


@given(st.text(st.characters(blacklist_categories=("Cs",)), max_size=60))
@hypothesis_settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_subject_adds_heads(monkeypatch: pytest.MonkeyPatch, subject: str) -> None:
    given_to_mailer = []

    class Done:
        returncode = 0

    def run(_: list[str], *, input: bytes, **__: object) -> Done:
        given_to_mailer.append(input)
        return Done()

    with monkeypatch.context() as patch:
        patch.setattr(mail.subprocess, "run", run)
        send_mail(Path("mailer"), "root", subject, "text\n")
    message = message_from_bytes(given_to_mailer[0], policy=policy.default)
    assert sorted(message.keys()) == sorted(
        ["To", "Subject", "Content-Type", "Content-Transfer-Encoding", "MIME-Version"]
    )
    assert message["To"] == "root"


# ------------------------------------------------------------------------- what goes wrong


def test_mailer_that_fails_says_why(mailer: Make) -> None:
    program = "import sys\nsys.stdin.read()\nprint('no route\\nto host', file=sys.stderr)\nsys.exit(75)\n"
    assert failure(mailer(program)).endswith("ended with exit code 75 (no route to host)")


def test_mailer_that_says_what_is_no_text(mailer: Make) -> None:
    assert "exit code 1" in failure(mailer("import sys\nsys.stdout.buffer.write(b'\\xff\\0')\nsys.exit(1)\n"))


def test_mailer_that_does_not_read(mailer: Make) -> None:
    """More than a pipe holds: writing to it breaks."""
    assert "exit code 69" in failure(mailer("raise SystemExit(69)\n"), "x\n" * 500_000)


def test_mailer_that_is_killed(mailer: Make) -> None:
    assert "exit code -9" in failure(mailer("import os\nos.kill(os.getpid(), 9)\n"))


@pytest.mark.parametrize("child", ["", "sleep 20 & "])
def test_mailer_that_hangs_is_not_waited_for(
    mailer: Make, monkeypatch: pytest.MonkeyPatch, child: str
) -> None:
    monkeypatch.setattr(mail, "_SECONDS", 0.3)
    before = time.monotonic()
    assert "took over" in failure(mailer(f"{child}exec sleep 20\n", "/bin/sh"))
    assert time.monotonic() - before < 10


def test_mailer_that_is_not_there(tmp_path: Path) -> None:
    assert failure(tmp_path / "mailer").endswith("No such file or directory")


def test_mailer_that_may_not_be_run(mailer: Make) -> None:
    path = mailer(KEEP)
    path.chmod(0o644)
    assert failure(path).endswith("Permission denied")


def test_mailer_that_is_no_program(mailer: Make, tmp_path: Path) -> None:
    path = mailer("")
    path.write_bytes(b"\0\0\0")
    assert failure(path).endswith("Exec format error")
    assert failure(tmp_path).endswith("Permission denied")


def test_no_shell_sees_the_recipient(tmp_path: Path, mailer: Make) -> None:
    path = mailer(KEEP)
    send_mail(path, "root", f"$(touch {tmp_path}/hurt)", f"`touch {tmp_path}/hurt`\n")
    assert not (tmp_path / "hurt").exists()
