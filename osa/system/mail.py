"""Mail through the mailer of this machine."""

from __future__ import annotations

import subprocess
from email.message import EmailMessage
from pathlib import Path

from osa.errors import MissingServiceError

__all__ = ["send_mail"]

_SECONDS = 60.0


def send_mail(mailer: Path, recipient: str, subject: str, text: str) -> None:
    """Hand a mail to the mailer.

    Parameters
    ----------
    mailer : pathlib.Path
        A program that reads a mail with its heads, as sendmail does with ``-t``.
    recipient : str
        An address, or a user of this machine.
    subject, text : str
        What it says.

    Raises
    ------
    MissingServiceError
        If the mailer is not there, or does not take it.
    """
    message = EmailMessage()
    message["To"] = recipient
    message["Subject"] = " ".join(subject.split())
    message.set_content(text)
    try:
        # -oi: a line with a single dot is a line like others.
        done = subprocess.run(
            [str(mailer), "-oi", "-t"],
            input=message.as_bytes(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_SECONDS,
            check=False,
        )
    except OSError as error:
        raise MissingServiceError(f"no mail to {recipient}: {mailer}: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise MissingServiceError(f"no mail to {recipient}: {mailer} took over {_SECONDS:.0f} s") from None
    if done.returncode != 0:
        said = " ".join(done.stdout.decode("utf-8", errors="replace").split())
        raise MissingServiceError(
            f"no mail to {recipient}: {mailer} ended with exit code {done.returncode} ({said})"
        )
