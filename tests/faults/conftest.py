"""The table of faults at the end of a session, and what the tests of several faults share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_slurm import FakeSlurm
from job_bench import JobBench
from slurm_site import Site

from osa.scheduler import local
from tests.faults.fault_night import CHANGES, FaultNight, make_night
from tests.faults.table import FAULTS, Tried, table_lines

_KEY = "fault"
_OUTCOMES = ("passed", "failed", "error", "skipped", "xfailed", "xpassed")


def _arguments(number: int, *, injected: str, holds: str) -> tuple[int, str, str]:
    assert number in FAULTS, f"there is no fault {number}"
    return number, injected, holds


def pytest_itemcollected(item: pytest.Item) -> None:
    """Write the marker where reports take it along, also from the workers of xdist."""
    for mark in item.iter_markers("fault"):
        item.user_properties.append((_KEY, _arguments(*mark.args, **mark.kwargs)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table, where tests of faults ran."""
    tried = list(_tried(terminalreporter))
    if tried:
        terminalreporter.section("faults")
        for line in table_lines(tried):
            terminalreporter.write_line(line)


def _tried(terminalreporter: pytest.TerminalReporter) -> Iterator[Tried]:
    for outcome in _OUTCOMES:
        for report in terminalreporter.stats.get(outcome, []):
            for key, value in getattr(report, "user_properties", ()):
                if key == _KEY:
                    number, injected, holds = value
                    yield Tried(number, injected, holds, outcome, _reason(report))


def _reason(report: pytest.TestReport) -> str:
    if hasattr(report, "wasxfail"):
        return report.wasxfail
    if report.skipped and isinstance(report.longrepr, tuple):
        return report.longrepr[2]
    return ""


# ------------------------------------------------------------------------------- fixtures


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[JobBench]:
    """The local backend with four cores, looking often."""
    monkeypatch.setattr(local, "_POLL_SECONDS", 0.01)
    made = JobBench(tmp_path)
    yield made
    made.clean()


@pytest.fixture
def site(tmp_path: Path, bench: JobBench) -> Site:
    """A night on a Slurm that does as it is told."""
    return Site(FakeSlurm.install(tmp_path / "slurm"), bench)


@pytest.fixture
def night_with(make_config: Callable[..., Path], tmp_path: Path) -> Iterator[Callable[..., FaultNight]]:
    """Make the night with some keys of the configuration changed."""
    made: list[FaultNight] = []

    def make(changes: dict[tuple[str, str], str | None] | None = None) -> FaultNight:
        made.append(make_night(make_config({**CHANGES, **(changes or {})}), tmp_path / "stand-in"))
        return made[-1]

    yield make
    for each in made:
        each.clean()


@pytest.fixture
def fault_night(night_with: Callable[..., FaultNight]) -> FaultNight:
    """The night with inputs and calibration, and with all of the data to be done."""
    return night_with()
