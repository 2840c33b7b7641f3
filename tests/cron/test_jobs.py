"""Jobs of cron: their command lines, what their exit codes mean, and which nights they are for."""

from __future__ import annotations

import importlib
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from osa.cli.common import Parser
from osa.config import Settings, load_settings
from osa.cron.jobs import Job, JobName, last_night, nights_in_work
from osa.errors import ExitCode
from osa.layout import Layout
from osa.model.night import Night
from osa.nightsummary.arrival import end_of_night

ZONES = ("UTC", "Europe/Madrid", "America/Los_Angeles", "Asia/Kolkata", "Pacific/Kiritimati")
NOON = datetime(2020, 1, 28, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

# As root, modes bind only who has given up the powers to override and to read over them.
AS_USER = """
import ctypes, os, sys
for power in (1, 2):
    ctypes.CDLL(None).prctl(24, power, 0, 0, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
LIST_NIGHTS = """
import json, sys
from datetime import datetime
from pathlib import Path
from osa.config import load_settings
from osa.cron.jobs import nights_in_work
settings = load_settings(Path(sys.argv[1]), "LST1")
nights = nights_in_work(settings, datetime.fromisoformat(sys.argv[2]))
print(json.dumps([layout.night.tag for layout in nights]))
"""


@pytest.fixture(params=ZONES)
def zone(request: pytest.FixtureRequest) -> Iterator[str]:
    """Have the process in a time zone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield request.param
    time.tzset()


def with_cron(settings: Settings, *, end_hour: float = 7, nights: int = 7) -> Settings:
    return replace(
        settings,
        arrival=replace(settings.arrival, end_hour=timedelta(hours=end_hour)),
        cron=replace(settings.cron, nights=nights),
    )


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def tags(layouts: Iterable[Layout]) -> list[str]:
    return [layout.night.tag for layout in layouts]


def nights(settings: Settings, clock: datetime = NOON) -> list[str]:
    return tags(nights_in_work(settings, clock))


def of_night(settings: Settings, tag: str) -> Layout:
    return Layout(settings, Night.parse(tag))


def begin(settings: Settings, *which: str) -> None:
    """Have raw files of nights come."""
    for tag in which:
        of_night(settings, tag).raw_dir.mkdir()


def close(settings: Settings, *which: str) -> None:
    for tag in which:
        flag = of_night(settings, tag).night_finished
        flag.parent.mkdir(parents=True)
        flag.touch()


# --------------------------------------------------------------------------- the last night


@pytest.mark.parametrize(
    ("clock", "night"),
    [
        ("2020-01-28 07:00", "20200127"),
        ("2020-01-28 06:59:59", "20200126"),
        ("2020-01-28 00:00", "20200126"),
        ("2020-01-27 23:59:59", "20200126"),
        ("2020-01-28 23:59:59", "20200127"),
        ("2020-01-29 06:59:59", "20200127"),
        ("2021-01-01 06:59", "20201230"),
        ("2021-01-01 07:00", "20201231"),
        ("2020-03-01 06:59", "20200228"),
        ("2020-03-01 07:00", "20200229"),
        ("2021-03-01 07:00", "20210228"),
        ("2020-07-01 07:00", "20200630"),
    ],
)
def test_last_night_is_that_which_ended_last(settings: Settings, zone: str, clock: str, night: str) -> None:
    assert last_night(with_cron(settings), at(clock)).tag == night


@pytest.mark.parametrize(
    ("end_hour", "clock", "night"),
    [
        (0, "2020-01-28 00:00", "20200127"),
        (0, "2020-01-27 23:59:59", "20200126"),
        (6.5, "2020-01-28 06:29", "20200126"),
        (6.5, "2020-01-28 06:30", "20200127"),
        (23.5, "2020-01-28 23:29", "20200126"),
        (23.5, "2020-01-28 23:30", "20200127"),
    ],
)
def test_end_of_night_is_as_configured(settings: Settings, end_hour: float, clock: str, night: str) -> None:
    assert last_night(with_cron(settings, end_hour=end_hour), at(clock)).tag == night


@given(
    clock=st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),
    minutes=st.integers(0, 24 * 60 - 1),
)
@hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_last_night_has_ended_and_the_next_has_not(settings: Settings, clock: datetime, minutes: int) -> None:
    settings = with_cron(settings, end_hour=minutes / 60)
    night = last_night(settings, clock)
    following = Night(night.date + timedelta(days=1))
    assert end_of_night(Layout(settings, night)) <= clock < end_of_night(Layout(settings, following))


@pytest.mark.parametrize("day", [date(2020, 3, 29), date(2020, 10, 25)])
def test_change_of_the_clocks_moves_no_night(settings: Settings, zone: str, day: date) -> None:
    """Madrid has gone over to summer time, and back, at 1 UTC of these days."""
    settings = with_cron(settings)
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    found = [last_night(settings, midnight + number * MINUTE).date for number in range(24 * 60)]
    before, after = day - timedelta(days=2), day - timedelta(days=1)
    assert found == [before] * 7 * 60 + [after] * 17 * 60


def test_zone_of_the_process_is_another(zone: str) -> None:
    """That the tests above are run in these zones."""
    hours = {"UTC": 0, "Europe/Madrid": 1, "America/Los_Angeles": -8, "Asia/Kolkata": 5.5}
    offset = datetime(2020, 1, 28, 12).astimezone().utcoffset()
    assert offset == timedelta(hours=hours.get(zone, 14))


# --------------------------------------------------------------------------- nights in work


def test_last_night_is_always_worked_on(settings: Settings, zone: str) -> None:
    assert nights(settings) == ["20200127"]
    close(settings, "20200127")
    assert nights(settings) == ["20200127"]


def test_nights_that_have_begun_are_worked_on_the_latest_first(settings: Settings, zone: str) -> None:
    begin(settings, "20200122", "20200126", "20200125", "20200127", "20200128")
    assert nights(settings) == ["20200128", "20200127", "20200126", "20200125", "20200122"]


def test_closed_nights_are_looked_at_for_raw_files_that_came_since(settings: Settings) -> None:
    begin(settings, "20200124", "20200126")
    close(settings, "20200124", "20200125")
    assert nights(settings) == ["20200127", "20200126", "20200124"]


def test_night_summary_alone_begins_a_night(settings: Settings) -> None:
    of_night(settings, "20200124").night_summary.touch()
    assert nights(settings) == ["20200127", "20200124"]


@pytest.mark.parametrize("back", [1, 2, 7, 30])
def test_nights_that_are_too_long_ago_are_given_up(settings: Settings, back: int) -> None:
    settings = with_cron(settings, nights=back)
    for days in range(back + 3):
        begin(settings, f"{NOON - timedelta(days=days):%Y%m%d}")
    begin(settings, "20200129")  # the coming night is none yet
    expected = [f"{NOON - timedelta(days=days):%Y%m%d}" for days in range(back + 1)]
    assert nights(settings) == expected


@pytest.mark.parametrize("hour", [0, 3, 6, 7, 12, 23])
@pytest.mark.parametrize("back", [1, 2, 7])
def test_last_night_is_worked_on_at_any_hour(settings: Settings, back: int, hour: int) -> None:
    settings, clock = with_cron(settings, nights=back), NOON.replace(hour=hour)
    assert nights(settings, clock) == [last_night(settings, clock).tag]


def test_night_that_is_being_taken_is_worked_on_as_soon_as_it_has_begun(settings: Settings) -> None:
    evening = NOON.replace(hour=21)
    begin(settings, "20200127")
    assert nights(settings, evening) == ["20200127"]
    begin(settings, "20200128")
    assert nights(settings, evening) == ["20200128", "20200127"]
    after_midnight = evening + timedelta(hours=5)
    assert nights(settings, after_midnight) == ["20200128", "20200127"]


def test_nights_do_not_change_with_the_clocks(settings: Settings, zone: str) -> None:
    begin(settings, "20200327", "20200328")
    for minute in range(0, 24 * 60, 10):
        clock = at("2020-03-29") + minute * MINUTE
        assert nights(settings, clock) == ["20200328", "20200327"]


def test_over_the_turn_of_a_year(settings: Settings) -> None:
    begin(settings, "20201229", "20201231", "20210101")
    clock = at("2021-01-01 21:00")
    assert nights(settings, clock) == ["20210101", "20201231", "20201229"]


def test_what_is_no_folder_of_raw_files_begins_no_night(settings: Settings, tmp_path: Path) -> None:
    of_night(settings, "20200126").raw_dir.write_text("a file")
    of_night(settings, "20200125").raw_dir.symlink_to(tmp_path / "nowhere")
    of_night(settings, "20200124").night_summary.symlink_to(tmp_path / "nowhere")
    of_night(settings, "20200123").raw_dir.symlink_to("20200123")  # a circle
    (settings.telescope.raw_dir / "2020_01_22").mkdir()
    (settings.telescope.raw_dir / "notes").mkdir()
    assert nights(settings) == ["20200127"]


def test_last_night_whose_folder_is_a_file_is_worked_on(settings: Settings) -> None:
    of_night(settings, "20200127").raw_dir.write_text("a file")
    assert nights(settings) == ["20200127"]


def test_raw_files_may_be_elsewhere(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    of_night(settings, "20200125").raw_dir.symlink_to(tmp_path / "elsewhere")
    assert nights(settings) == ["20200127", "20200125"]


@pytest.mark.parametrize("which", ["closer_dir", "analysis_dir", "raw_dir"])
def test_night_that_cannot_be_looked_at_keeps_no_other_from_being_worked_on(
    settings: Settings, which: str
) -> None:
    begin(settings, "20200124", "20200126")
    locked: Path = getattr(of_night(settings, "20200124"), which)
    locked.mkdir(parents=True, exist_ok=True)
    locked.chmod(0)
    before = ["-c", AS_USER] if os.geteuid() == 0 else []
    command = [sys.executable, *before, "-c", LIST_NIGHTS, str(settings.path), NOON.isoformat()]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    finally:
        locked.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)) >= {"20200127", "20200126"}


# --------------------------------------------------------------------------------- the jobs


def parser_of(name: JobName) -> Parser:
    parser = importlib.import_module(f"osa.cli.{name}")._parser()
    assert isinstance(parser, Parser)
    return parser


OF_A_NIGHT = (JobName.NIGHTSUMMARY, JobName.SEQUENCER, JobName.CLOSER)
OF_NONE = (JobName.STATUSPAGE, JobName.NIGHTCLEAN)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        (JobName.NIGHTSUMMARY, "-d 2020_01_27 --keep LST1"),
        (JobName.SEQUENCER, "-d 2020_01_27 --detach LST1"),
        (JobName.CLOSER, "-d 2020_01_27 -y --detach LST1"),
        (JobName.STATUSPAGE, "-t LST1"),
        (JobName.NIGHTCLEAN, "-y -t LST1"),
    ],
)
def test_arguments_of_a_job(layout: Layout, name: JobName, arguments: str) -> None:
    assert Job(name, layout).arguments == ["-c", str(layout.settings.path), *arguments.split()]


@pytest.fixture
def of_second(layout: Layout) -> Layout:
    """The night of a second telescope."""
    path = layout.settings.path
    text = path.read_text("utf-8")
    begin, end = text.index("[LST1]"), text.index("[PRODUCTION]")
    second = text[begin:end].replace("[LST1]", "[LST2]").replace("tel_id = 1", "tel_id = 2")
    path.write_text(text + "\n" + second, "utf-8")
    return Layout(load_settings(path, "LST2"), layout.night)


@pytest.mark.parametrize("name", JobName)
def test_command_takes_its_arguments(of_second: Layout, name: JobName) -> None:
    job = Job(name, of_second)
    given = parser_of(name).parse_args(job.arguments)
    assert (given.config, given.telescope) == (of_second.settings.path, "LST2")
    assert getattr(given, "date", None) == ("2020_01_27" if job.night else None)
    assert getattr(given, "detach", True)  # the next job does not wait for its tasks


@pytest.mark.parametrize("name", JobName)
def test_command_line_is_what_a_person_would_type(of_second: Layout, name: JobName) -> None:
    job = Job(name, of_second)
    called, *words = shlex.split(job.command_line)
    assert called == name
    given = parser_of(name).parse_args(words)
    assert (given.config, given.telescope) == (of_second.settings.path, "LST2")
    assert getattr(given, "date", None) == ("2020_01_27" if job.night else None)
    # Somebody is there to be asked, and to wait.
    assert not {"-y", "--detach", "--keep"} & set(words)


@pytest.mark.parametrize("folder", ["with blanks", "it's", "$HOME", "a;b", "*"])
def test_command_line_can_be_pasted_whatever_the_path(layout: Layout, folder: str) -> None:
    path = layout.settings.path.parent / folder / "my.cfg"
    layout = Layout(replace(layout.settings, path=path), layout.night)
    command = f"printf '%s\\n' {Job(JobName.CLOSER, layout).command_line}"
    words = subprocess.run(["sh", "-c", command], capture_output=True, text=True).stdout.splitlines()
    assert words == ["closer", "-c", str(path), "-d", "2020_01_27", "LST1"]


def test_only_some_jobs_are_for_a_night(layout: Layout) -> None:
    assert {*OF_A_NIGHT, *OF_NONE} == set(JobName)
    for name in OF_A_NIGHT:
        job = Job(name, layout)
        assert (job.night, job.title) == (layout.night, f"{name}_20200127")
    for name in OF_NONE:
        job = Job(name, layout)
        assert (job.night, job.title) == (None, name)


@pytest.mark.parametrize("name", JobName)
def test_what_needs_a_night_summary_waits_for_it(layout: Layout, name: JobName) -> None:
    needs_one = name in {JobName.SEQUENCER, JobName.CLOSER}
    job = Job(name, layout)
    assert job.obstacle == ("there is no night summary" if needs_one else "")
    layout.night_summary.touch()
    assert job.obstacle == ""


@pytest.mark.parametrize("has_summary", [False, True])
@pytest.mark.parametrize("name", JobName)
def test_there_is_nothing_to_submit_of_a_closed_night(
    layout: Layout, name: JobName, has_summary: bool
) -> None:
    close(layout.settings, layout.night.tag)
    if has_summary:
        layout.night_summary.touch()
    assert Job(name, layout).obstacle == ("the night is closed" if name is JobName.SEQUENCER else "")


FINE = {ExitCode.DONE, ExitCode.ANOTHER_INSTANCE, ExitCode.NOT_YET}
CODES = [*ExitCode, -15, -9, -11, 6, 126, 127, 255]


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("name", JobName)
def test_which_exit_codes_need_nobody(layout: Layout, name: JobName, code: int) -> None:
    tells_itself = name in {JobName.SEQUENCER, JobName.CLOSER, JobName.STATUSPAGE}
    is_fine = code in FINE or (code == ExitCode.NOT_COMPLETE and tells_itself)
    assert Job(name, layout).is_fine(code) is is_fine
