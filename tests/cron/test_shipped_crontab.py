"""The crontab that comes with the package, as the real cron goes through whole days with it."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import pytest
from cron_daemon import needs_cron, run_day

from osa.cli.osacron import _parser
from osa.cron.crontab import fill_in
from osa.cron.jobs import JobName
from osa.cron.schedule import parse_hours

SHIPPED = Path(__file__).parents[2] / "cron" / "crontab"
PROGRAM, CONFIG = Path("/opt/lst osa/bin/osacron"), Path("/etc/lst-osa/100%.cfg")
FACTOR = 1440  # a day takes a minute

NIGHTSUMMARY, SEQUENCER, CLOSER = JobName.NIGHTSUMMARY, JobName.SEQUENCER, JobName.CLOSER
STATUSPAGE, NIGHTCLEAN = JobName.STATUSPAGE, JobName.NIGHTCLEAN
CLOSING_HOURS = [8, 10, 12, 14, 16, 18, 20]


@pytest.fixture(scope="module")
def crontab() -> str:
    """The crontab, filled in."""
    return fill_in(SHIPPED.read_text("utf-8"), PROGRAM, CONFIG, "LST1")


class Line(NamedTuple):
    """What a line of the crontab asks for."""

    hours: frozenset[int]
    jobs: tuple[JobName, ...]


def read_line(command: str) -> Line:
    """Read a command as osacron does; the log of cron has it with its backslashes."""
    program, *words = shlex.split(command.replace(r"\%", "%"))
    assert program == str(PROGRAM)
    given = _parser().parse_args(words)
    assert (given.config, given.telescope, given.date) == (CONFIG, "LST1", None)
    assert not (given.install or given.uninstall or given.yes)
    hours = frozenset(range(24)) if given.hours is None else parse_hours(given.hours)
    return Line(hours, tuple(JobName(job) for job in given.job))


def commands(crontab: str) -> list[str]:
    lines = [line for line in crontab.splitlines() if line and not line.startswith("#")]
    return [line.split(maxsplit=5)[5] for line in lines]


def test_package_has_it() -> None:
    assert (files("osa") / "data" / "crontab").read_text("utf-8") == SHIPPED.read_text("utf-8")


def test_every_line_is_filled_in_and_names_jobs(crontab: str) -> None:
    lines = [read_line(command) for command in commands(crontab)]
    assert len(lines) == SHIPPED.read_text("utf-8").count("@osacron@ ") == 4
    assert all(line.jobs for line in lines)
    assert {job for line in lines for job in line.jobs} == set(JobName)
    assert "@" not in crontab.replace("lst-osa", "")


def test_lines_that_do_something_at_hours_begin_each_hour(crontab: str) -> None:
    """In whatever zone cron is: at which hours, osacron tells."""
    for line in crontab.splitlines():
        if line and not line.startswith("#"):
            minute, *rest = line.split(maxsplit=5)
            assert rest[:4] == ["*"] * 4
            assert re.fullmatch(r"\d+", minute) or "--hours" not in line


def test_closer_comes_after_what_it_closes(crontab: str) -> None:
    for line in map(read_line, commands(crontab)):
        if CLOSER in line.jobs:
            assert line.jobs == (NIGHTSUMMARY, SEQUENCER, CLOSER)
        elif SEQUENCER in line.jobs:
            assert line.jobs == (NIGHTSUMMARY, SEQUENCER)


# ---------------------------------------------------------------------------- whole days


@dataclass(frozen=True)
class Day:
    """A day (UTC) of the real cron in a zone."""

    name: str
    start: datetime
    zone: str

    def __str__(self) -> str:
        return self.name


DAYS = (
    Day("UTC", datetime(2020, 1, 28, tzinfo=UTC), "UTC"),
    Day("spring", datetime(2020, 3, 29, tzinfo=UTC), "Europe/Madrid"),
    Day("autumn", datetime(2020, 10, 25, tzinfo=UTC), "Europe/Madrid"),
    Day("half an hour", datetime(2020, 1, 28, tzinfo=UTC), "Asia/Kolkata"),
)
Launches = list[tuple[datetime, str]]


@pytest.fixture(scope="module")
def days(crontab: str) -> dict[str, Launches]:
    """What cron starts on each of the days, which it goes through side by side: it mostly waits."""

    def run(day: Day) -> Launches:
        return run_day(crontab, day.start, 24, day.zone, FACTOR)

    with ThreadPoolExecutor(len(DAYS)) as threads:
        return dict(zip(map(str, DAYS), threads.map(run, DAYS), strict=True))


OF_DAYS = (needs_cron, pytest.mark.slow, pytest.mark.timeout(600))


@pytest.fixture(params=[pytest.param(each, id=str(each), marks=OF_DAYS) for each in DAYS])
def day(request: pytest.FixtureRequest) -> Day:
    found: Day = request.param
    return found


def runs(launches: Launches) -> Iterator[tuple[datetime, tuple[JobName, ...]]]:
    """Tell what is really run, and when: osacron does nothing at other hours than those of its line."""
    for minute, command in launches:
        line = read_line(command)
        if minute.hour in line.hours:
            yield minute, line.jobs


def minutes_of(job: JobName, launches: Launches) -> list[datetime]:
    return [minute for minute, jobs in runs(launches) if job in jobs]


def test_nights_are_worked_on_at_seven_and_every_second_hour_to_eight(
    days: dict[str, Launches], day: Day
) -> None:
    launches = days[day.name]
    for job, hours in ((NIGHTSUMMARY, [7, *CLOSING_HOURS]), (SEQUENCER, [7, *CLOSING_HOURS])):
        assert [minute.hour for minute in minutes_of(job, launches)] == hours
    assert [minute.hour for minute in minutes_of(CLOSER, launches)] == CLOSING_HOURS


def test_page_is_made_every_quarter_of_an_hour(days: dict[str, Launches], day: Day) -> None:
    quarters = [day.start + number * timedelta(minutes=15) for number in range(96)]
    assert minutes_of(STATUSPAGE, days[day.name]) == quarters


def test_it_is_cleaned_once_a_day(days: dict[str, Launches], day: Day) -> None:
    assert [minute.hour for minute in minutes_of(NIGHTCLEAN, days[day.name])] == [12]


def test_closer_is_last_of_what_is_run_for_nights(days: dict[str, Launches], day: Day) -> None:
    at_work = [jobs for _, jobs in runs(days[day.name]) if SEQUENCER in jobs]
    assert at_work == [(NIGHTSUMMARY, SEQUENCER)] + [(NIGHTSUMMARY, SEQUENCER, CLOSER)] * 7


def test_no_line_is_started_twice_in_a_minute_or_left_out_for_an_hour(
    days: dict[str, Launches], day: Day, crontab: str
) -> None:
    launches = days[day.name]
    assert max(Counter(launches).values()) == 1
    started = Counter((command, minute.hour) for minute, command in launches)
    shown = {command.replace(r"\%", "%") for command in commands(crontab)}
    assert {command.replace(r"\%", "%") for command, _ in started} == shown
    for (command, _), count in started.items():
        assert count == (4 if read_line(command).jobs == (STATUSPAGE,) else 1)
    assert len(started) == 24 * len(shown)


def test_nothing_else_is_run(days: dict[str, Launches], day: Day) -> None:
    counts = Counter(job for _, jobs in runs(days[day.name]) for job in jobs)
    assert counts == {NIGHTSUMMARY: 8, SEQUENCER: 8, CLOSER: 7, STATUSPAGE: 96, NIGHTCLEAN: 1}
