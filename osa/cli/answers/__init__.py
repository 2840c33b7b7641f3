"""The answers of ``provquery``, one function a question; imported when there is one."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping

from osa.cli.answers import audits, exports, questions
from osa.errors import ExitCode

__all__ = ["ANSWERS"]

ANSWERS: Mapping[str, Callable[[argparse.Namespace], ExitCode]] = {
    "lineage": questions.lineage,
    "impact": questions.impact,
    "find": questions.find,
    "diff": questions.diff,
    "verify": audits.verify,
    "tries": questions.tries,
    "export": exports.export,
    "check": audits.check,
    "nights": questions.nights,
}
