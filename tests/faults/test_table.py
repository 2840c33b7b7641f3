"""The suite itself: every fault has a test, and the table says how each ended."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.table import FAULTS, NOT_INJECTED, Tried, table_lines


def marked_numbers() -> Iterator[int]:
    """Numbers of all faults that a marker of the suite names."""
    for path in Path(__file__).parent.glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if (
                isinstance(node, ast.Call)
                and ast.unparse(node.func) == "pytest.mark.fault"
                and isinstance(node.args[0], ast.Constant)
            ):
                yield node.args[0].value


def test_faults_are_numbered() -> None:
    assert list(FAULTS) == list(range(1, 30))
    assert set(NOT_INJECTED) <= set(FAULTS)


def test_every_fault_is_injected_or_says_why_not() -> None:
    assert set(FAULTS) - set(marked_numbers()) - set(NOT_INJECTED) == set()


def verdict(number: int, *outcomes: str) -> str:
    tried = [Tried(number, "this", "that", outcome) for outcome in outcomes]
    (line,) = [line for line in table_lines(tried) if line[:5].strip() == str(number)]
    return line[49:]


@pytest.mark.parametrize(
    ("outcomes", "said"),
    [
        ((), "not run"),
        (("passed",), "held"),
        (("passed", "skipped"), "held"),
        (("skipped",), "not run"),
        (("passed", "failed"), "FAILED"),
        (("error",), "FAILED"),
        (("xpassed", "passed"), "FAILED"),
        (("xfailed",), "FAILED (known bug)"),
        (("xfailed", "passed"), "held, but for a known bug"),
    ],
)
def test_verdict_is_that_of_all_tests_of_a_fault(outcomes: tuple[str, ...], said: str) -> None:
    assert verdict(1, *outcomes) == said


def test_what_is_not_injected_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NOT_INJECTED, 29, "it cannot be done here")
    assert verdict(29) == f"not injected: {NOT_INJECTED[29]}"
    assert verdict(29, "passed").startswith("held; not injected: ")
    assert verdict(29, "failed") == "FAILED"
