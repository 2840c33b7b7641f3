"""Logs of the jobs: a date before each line, never more than so much, and nothing that harms them."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from osa.cron.log import open_log
from osa.errors import OsaError

DATED = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)Z (.*)")
BYTES, FILES = 2_000_000, 11
ALL = BYTES * FILES

SAY = """
import sys
from pathlib import Path
from osa.cron.log import open_log
with open_log(Path(sys.argv[1])) as logger:
    for line in sys.stdin:
        logger.info(line.rstrip())
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cron" / "LST1_closer.log"


@pytest.fixture(params=["Asia/Tokyo", "America/Los_Angeles"])
def zone(request: pytest.FixtureRequest) -> Iterator[str]:
    """Have the process in a time zone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield request.param
    time.tzset()


def write(path: Path, *lines: str) -> None:
    with open_log(path) as logger:
        for line in lines:
            logger.info("%s", line)


def said(path: Path) -> list[str]:
    """What stands after the dates; each line has one."""
    found = [DATED.fullmatch(line) for line in path.read_text("utf-8").split("\n")[:-1]]
    assert None not in found
    return [match[2] for match in found if match]


def files(path: Path) -> list[Path]:
    """The log and those before it, the oldest first."""
    older = sorted(path.parent.glob(f"{path.name}.*"), key=lambda each: -int(each.suffix[1:]))
    return [*older, path]


def test_dates_are_utc(path: Path, zone: str) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    write(path, "one", "two")
    after = datetime.now(UTC)
    lines = path.read_text("utf-8").splitlines()
    assert [DATED.fullmatch(line)[2] for line in lines] == ["one", "two"]  # type: ignore[index]
    for line in lines:
        stamp = DATED.fullmatch(line)[1]  # type: ignore[index]
        assert before <= datetime.fromisoformat(stamp).replace(tzinfo=UTC) <= after
    assert datetime.now().astimezone().utcoffset() != timedelta(0)


def test_lines_are_added_to_those_that_are_there(path: Path) -> None:
    write(path, "first")
    write(path, "second", "third")
    assert said(path) == ["first", "second", "third"]


def test_lines_of_another_process_stay_whole(path: Path) -> None:
    """The lock keeps others away; where it does not, as with a shared folder, nothing is overwritten."""
    with open_log(path) as logger:
        logger.info("ours")
        subprocess.run([sys.executable, "-c", SAY, str(path)], input="theirs\n", text=True, check=True)
        logger.info("ours again")
    assert said(path) == ["ours", "theirs", "ours again"]


def test_what_it_says_stands_there_at_once(path: Path) -> None:
    with open_log(path) as logger:
        logger.info("one")
        assert said(path) == ["one"]


def test_log_never_grows_past_its_bound_and_the_latest_stays(path: Path) -> None:
    count, line = 2600, "x" * 10_000
    with open_log(path) as logger:
        for number in range(count):
            logger.info("%05d %s", number, line)
            if number % 97 == 0:
                assert path.stat().st_size <= BYTES
    found = files(path)
    assert len(found) == FILES
    assert all(each.stat().st_size <= BYTES for each in found)
    numbers = [int(words[:5]) for each in found for words in said(each)]
    assert numbers == list(range(numbers[0], count))
    assert count * len(line) > ALL  # what was said is more than what is kept
    assert len(numbers) * len(line) > ALL - 2 * BYTES


def test_letters_of_several_bytes_count_as_such(path: Path) -> None:
    with open_log(path) as logger:
        for _ in range(100):
            logger.info("%s", "…" * 10_000)
    assert max(each.stat().st_size for each in files(path)) <= BYTES + 30_000


def test_bound_holds_over_many_calls(path: Path) -> None:
    for _ in range(30):
        write(path, *(["y" * 50_000] * 4))
    assert all(each.stat().st_size <= BYTES for each in files(path))
    assert len(files(path)) == 4


def test_line_that_is_larger_than_the_bound_is_cut(path: Path) -> None:
    write(path, "before", "z" * 30_000_000, "after")
    assert max(each.stat().st_size for each in files(path)) <= BYTES
    assert said(path)[-1] == "after"


def test_what_is_no_text_is_written_all_the_same(path: Path) -> None:
    write(path, "a\udcff\ud800b", "100 % of {it} %s %d", "\\x41", "grüße")
    assert said(path) == [r"a\udcff\ud800b", "100 % of {it} %s %d", r"\x41", "grüße"]


def test_nobody_elses_settings_count(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    name = path.name
    logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.getLogger(name).disabled = True
    write(path, "said")
    assert said(path) == ["said"]
    assert caplog.records == []  # nor does it come out elsewhere


def test_no_descriptor_is_left(path: Path) -> None:
    def is_open() -> bool:
        links = [each.readlink() for each in Path("/proc/self/fd").iterdir() if each.is_symlink()]
        return path in links

    with open_log(path):
        assert is_open()
    assert not is_open()
    with pytest.raises(ZeroDivisionError), open_log(path):
        raise ZeroDivisionError
    assert not is_open()


def test_log_that_cannot_be_opened_is_an_error(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(IsADirectoryError), open_log(path):
        pass


def test_full_disk_is_no_traceback_a_line(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Cron would mail it, each time."""
    path.parent.mkdir()
    path.symlink_to("/dev/full")
    with suppress(OSError, OsaError):  # may be told once, by who called
        write(path, *["something"] * 20)
    assert capfd.readouterr().err == ""


def test_what_could_not_be_logged_is_told_at_the_end(path: Path) -> None:
    path.parent.mkdir()
    path.symlink_to("/dev/full")
    done = []
    with pytest.raises(OsaError, match=r"could be logged: .*No space left"), open_log(path) as logger:
        logger.info("one")
        done.append("all the same")
    assert done


def test_fault_of_the_work_counts_more_than_one_of_its_log(path: Path) -> None:
    path.parent.mkdir()
    path.symlink_to("/dev/full")
    with pytest.raises(ZeroDivisionError), open_log(path) as logger:
        logger.info("one")
        raise ZeroDivisionError


def test_log_can_be_shown_as_well(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with open_log(path, echo=True) as logger:
        logger.info("%s", "one")
        assert capfd.readouterr() == ("", "one\n")
    assert said(path) == ["one"]
