"""The command nightsummary: what it shows, says and writes, and its exit codes."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from astropy.table import Table

from osa.cli.nightsummary import main
from osa.config import Settings
from osa.layout import Layout
from osa.model.night import Night
from osa.nightsummary.nightsummary import read_night_summary
from osa.nightsummary.plan import plan_night
from osa.system.locks import only_instance
from tests.survey.conftest import (
    DRS4,
    START,
    copy_night,
    cut_out_a_byte,
    looked,
    made_night,
    mixed,
    start_of,
    write_raw,
)

__all__ = ["looked", "made_night"]

Capture = pytest.CaptureFixture[str]

CALIBRATION = mixed(pedestal=50, flatfield=50)
DATA = mixed(physics=85, pedestal=7, flatfield=8)
QUIET, FLAG = ("ARRIVAL", "quiet_minutes"), ("ARRIVAL", "end_flag")

# As root, modes bind only who has given up the powers to override and to read over them.
AS_USER = """
import ctypes, os, sys
for power in (1, 2):
    ctypes.CDLL(None).prctl(24, power, 0, 0, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


@pytest.fixture
def there(layout: Layout, made_night: Path) -> Layout:
    """A night with its raw files, and no summaries."""
    copy_night(made_night, layout.raw_dir)
    return layout


def words(layout: Layout, *more: object) -> list[str]:
    return ["-c", str(layout.settings.path), "-d", layout.night.underscored, *map(str, more)]


def nightsummary(layout: Layout, *more: object) -> int:
    return main(words(layout, *more))


def apart(layout: Layout, *more: object) -> subprocess.CompletedProcess[str]:
    """Run the command as a user would, with processes that look into the files."""
    return subprocess.run(
        [sys.executable, "-m", "osa.cli.nightsummary", *words(layout, *more)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
        check=False,
    )


def listing(layout: Layout) -> dict[Path, int]:
    base = layout.settings.telescope.raw_dir.parent
    return {path: path.stat().st_mtime_ns for path in base.rglob("*")}


def columns(text: str) -> dict[str, dict[str, str]]:
    """Read the table that goes into a pipe, by run."""
    head, *rows = text.splitlines()
    starts = [head.index(name) for name in head.split()]
    ends = [*starts[1:], None]
    return {
        row.split()[0]: {
            name: row[start:end].strip() for name, start, end in zip(head.split(), starts, ends, strict=True)
        }
        for row in rows
    }


def tonight() -> Night:
    return Night(datetime.now(UTC).date())


# ------------------------------------------------------------------- what it shows and writes


def test_table_goes_into_a_pipe_and_the_rest_is_said(there: Layout) -> None:
    result = apart(there)
    assert result.returncode == 0
    table = columns(result.stdout)
    assert list(table) == ["01872", "01873", "01874", "01875"]
    assert table["01872"] == {
        "Run": "01872",
        "Type": "DRS4",
        "Subruns": "1",
        "Start": "2020-01-27 20:44:13",
        "Physics": "100.0%",
        "Pedestal": "0.0%",
        "Flatfield": "0.0%",
        "Other": "0.0%",
        "Events": "500",
        "Confidence": "99.3%",
        "Format": "ProtoR1",
        "Remarks": "-",
    }
    assert (table["01873"]["Type"], table["01873"]["Pedestal"]) == ("CALI", "50.0%")
    assert (table["01874"]["Subruns"], table["01874"]["Events"]) == ("2", "400")
    assert table["01875"]["Confidence"] == "0.0%"
    assert table["01875"]["Remarks"].startswith("80.0% physics, 15.0% pedestal, 5.0% flatfield: neither")
    assert result.stderr.splitlines() == [
        "calibration run 01873: the only one before the first DATA run 01874",
        "DRS4 run 01872: the only one before the calibration run 01873",
        f"written: {there.run_summary}",
        f"written: {there.night_summary}",
    ]
    assert [entry.label for entry in read_night_summary(there.night_summary)] == [
        "DRS4",
        "CALI",
        "DATA",
        "ERROR",
    ]
    again = apart(there)
    assert (again.returncode, again.stdout) == (0, result.stdout)
    assert again.stderr.splitlines()[-1] == "the summaries are as they were"


@pytest.mark.usefixtures("looked")
def test_json_is_all_of_the_output(there: Layout, capsys: Capture) -> None:
    assert nightsummary(there, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["night"], document["telescope"]) == ("2020-01-27", "LST1")
    first, *_, last = document["runs"]
    assert first == {
        "Run": "01872",
        "Type": "DRS4",
        "Subruns": 1,
        "Start": "2020-01-27 20:44:13",
        "Physics": 1.0,
        "Pedestal": 0.0,
        "Flatfield": 0.0,
        "Other": 0.0,
        "Events": 500,
        "Confidence": pytest.approx(1 - 0.99**501),
        "Format": "ProtoR1",
        "Remarks": None,
    }
    assert last["Type"] == "ERROR" and "neither" in last["Remarks"]


@pytest.mark.usefixtures("looked")
def test_share_is_never_shown_larger_than_it_is(layout: Layout, capsys: Capture) -> None:
    write_raw(layout.raw_dir, 1874, 0, mixed(physics=246, pedestal=1, flatfield=10))
    write_raw(layout.raw_dir, 1875, 0, mixed(pedestal=333, flatfield=667))
    assert nightsummary(layout, "-s") == 0
    table = columns(capsys.readouterr().out)
    assert nightsummary(layout, "-s", "--json") == 0
    for row in json.loads(capsys.readouterr().out)["runs"]:
        for name in ("Physics", "Pedestal", "Flatfield", "Other", "Confidence"):
            shown = float(table[row["Run"]][name].removesuffix("%"))
            assert 100 * row[name] - 0.1 <= shown <= 100 * row[name]


@pytest.mark.usefixtures("looked")
@pytest.mark.parametrize("how", [[], ["--json"], ["--output", "elsewhere/summary.txt"], ["--overwrite"]])
def test_simulate_writes_nothing(there: Layout, capsys: Capture, how: list[str]) -> None:
    before = listing(there)
    assert nightsummary(there, "-s", *how) == 0
    out, err = capsys.readouterr()
    assert "01874" in out and "written" not in err
    assert listing(there) == before


@pytest.mark.usefixtures("looked")
def test_simulate_does_not_mind_who_is_at_work_or_has_edited(there: Layout) -> None:
    there.night_summary.write_text("mine\n", "ascii")
    with only_instance(lock_of(there), "another"):
        assert nightsummary(there, "-s") == 0


@pytest.mark.usefixtures("looked")
def test_output_goes_where_it_is_asked_for(there: Layout, tmp_path: Path, capsys: Capture) -> None:
    output = tmp_path / "other" / "mine.txt"
    assert nightsummary(there, "--output", output) == 0
    assert f"written: {output}" in capsys.readouterr().err
    assert len(read_night_summary(output)) == 4
    assert len(Table.read(output.with_name("RunSummary_20200127.ecsv"), format="ascii.ecsv")) == 4
    assert not there.night_summary.exists()


def test_types_of_the_override_are_remarked(there: Layout, looked: list[list[int]], capsys: Capture) -> None:
    there.override.write_text("[types]\n01875 = DATA\n1874 = ERROR\n", "utf-8")
    assert nightsummary(there) == 0
    table = columns(capsys.readouterr().out)
    assert (table["01875"]["Type"], table["01874"]["Type"]) == ("DATA", "ERROR")
    assert table["01875"]["Remarks"].startswith("as the override says; ERROR by its events; 80.0% physics")
    assert table["01874"]["Remarks"] == "as the override says; DATA by its events"
    assert {entry.run: entry.label for entry in read_night_summary(there.night_summary)}[1875] == "DATA"
    assert looked == [[1872, 1873, 1874, 1875]]


# ---------------------------------------------------------------------------------- exit codes


def with_configuration(
    there: Layout, make_settings: Callable[..., Settings], changes: dict[tuple[str, str], str]
) -> Layout:
    return Layout(make_settings(changes), there.night)


@pytest.mark.usefixtures("looked")
def test_files_that_are_still_arriving(
    there: Layout, make_settings: Callable[..., Settings], capsys: Capture
) -> None:
    layout = with_configuration(there, make_settings, {QUIET: "15", FLAG: "all_here"})
    assert nightsummary(layout) == 5
    assert (
        "raw files are still arriving: 5 raw file(s) changed less than 15 minutes" in capsys.readouterr().err
    )
    assert len(read_night_summary(layout.night_summary)) == 4  # of what is there it is written
    assert layout.end_flag is not None
    layout.end_flag.touch()
    assert nightsummary(layout) == 0
    assert "arriving" not in capsys.readouterr().err


@pytest.mark.usefixtures("looked")
def test_night_that_is_not_over(settings: Settings, made_night: Path, capsys: Capture) -> None:
    layout = Layout(settings, tonight())
    copy_night(made_night, layout.raw_dir)
    assert nightsummary(layout) == 5
    assert "raw files are still arriving: data may be taken until" in capsys.readouterr().err


def test_no_raw_files_before_and_after_the_hour_of_the_alarm(settings: Settings, capsys: Capture) -> None:
    early, late = Layout(settings, tonight()), Layout(settings, Night.parse("2020_01_27"))
    assert nightsummary(early) == 5
    assert f"there are no raw files in {early.raw_dir}: data may be taken until" in capsys.readouterr().err
    for _ in ("no folder", "an empty folder"):
        assert nightsummary(late) == 1
        said = capsys.readouterr().err
        assert f"there are no raw files in {late.raw_dir}: see to their transfer" in said
        assert "closer -d 2020_01_27 -r moon, weather or other closes a night without data" in said
        late.raw_dir.mkdir(exist_ok=True)
    assert not late.night_summary.exists()


@pytest.mark.parametrize(("hour", "code"), [("0", 1), ("23", 5)])
def test_hour_of_the_alarm(make_settings: Callable[..., Settings], hour: str, code: int) -> None:
    """The night before last is late from midnight on; last night at 23:00 is not."""
    days = 2 if code == 1 else 1
    night = Night((datetime.now(UTC) - timedelta(days=days)).date())
    if code == 5 and datetime.now(UTC).hour == 23:
        pytest.skip("it is past that hour")
    assert nightsummary(Layout(make_settings({("ALARM", "hour"): hour}), night)) == code


def test_night_that_was_closed_without_data(layout: Layout, capsys: Capture) -> None:
    layout.night_finished.parent.mkdir(parents=True)
    layout.night_finished.touch()
    assert nightsummary(layout) == 0
    assert "and the night is closed" in capsys.readouterr().err


def lock_of(layout: Layout) -> Path:
    return layout.night_survey.with_name(f".{layout.night_survey.name}.lock")


def test_second_one_says_so_and_reads_nothing(
    there: Layout, looked: list[list[int]], capsys: Capture
) -> None:
    with only_instance(lock_of(there), "the first"):
        assert nightsummary(there) == 4
    assert "already at work" in capsys.readouterr().err
    assert (looked, there.night_summary.exists()) == ([], False)


@pytest.mark.usefixtures("looked")
def test_edited_summary(there: Layout, capsys: Capture) -> None:
    assert nightsummary(there) == 0
    edited = there.night_summary.read_text("ascii").replace("ERROR", "DATA ")
    there.night_summary.write_text(edited, "ascii")
    capsys.readouterr()

    assert nightsummary(there) == 2
    assert f"{there.night_summary}: edited since" in capsys.readouterr().err
    assert nightsummary(there, "--keep") == 0
    assert f"{there.night_summary} was edited, or made elsewhere: left" in capsys.readouterr().err
    assert there.night_summary.read_text("ascii") == edited

    assert nightsummary(there, "--overwrite") == 0
    said = capsys.readouterr().err
    (aside,) = there.night_summary.parent.glob("*.until.*")
    assert f"what was there is kept: {aside}" in said and f"written: {there.night_summary}" in said
    assert aside.read_text("ascii") == edited
    assert nightsummary(there) == 0


def test_keep_and_overwrite_exclude_each_other(there: Layout, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as caught:
        nightsummary(there, "--keep", "--overwrite")
    assert caught.value.code == 2


@pytest.mark.usefixtures("looked")
def test_raw_files_that_have_gone(there: Layout, capsys: Capture) -> None:
    assert nightsummary(there) == 0
    there.raw_file(1874, 1).unlink()
    before = listing(there)
    capsys.readouterr()
    assert nightsummary(there, "--keep") == 2
    assert "raw files that were there have gone: sub-runs 1 of run 01874" in capsys.readouterr().err
    assert {path: when for path, when in listing(there).items() if ".lock" not in path.name} == {
        path: when for path, when in before.items() if ".lock" not in path.name
    }
    assert nightsummary(there, "--overwrite") == 0


@pytest.mark.parametrize("text", ["[types]\n1874 = MOON\n", "[typs]\n1874 = DATA\n", "\x00"])
def test_faults_of_the_override_stop_before_anything_is_read(
    there: Layout, looked: list[list[int]], capsys: Capture, text: str
) -> None:
    there.override.write_text(text, "utf-8")
    assert nightsummary(there) == 2
    out, err = capsys.readouterr()
    assert f"override {there.override} has 1 fault(s):" in err
    assert (out, looked, there.night_summary.exists()) == ("", [], False)


@pytest.mark.parametrize("way", ["file", "loop"])
def test_raw_folder_that_cannot_be_read(layout: Layout, capsys: Capture, way: str) -> None:
    layout.raw_dir.parent.mkdir(exist_ok=True)
    if way == "file":
        layout.raw_dir.write_text("", "ascii")
    else:
        layout.raw_dir.symlink_to(layout.raw_dir)
    assert nightsummary(layout) == 2
    assert f"raw files cannot be looked for in {layout.raw_dir}: " in capsys.readouterr().err


def test_raw_folder_that_is_not_ours(there: Layout) -> None:
    there.raw_dir.chmod(0)
    try:
        result = subprocess.run(
            [sys.executable, "-c", AS_USER, "-m", "osa.cli.nightsummary", *words(there)],
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        there.raw_dir.chmod(0o755)
    assert result.returncode == 2
    assert f"raw files cannot be looked for in {there.raw_dir}: Permission denied" in result.stderr
    assert not there.night_summary.exists()


def test_summary_folder_that_is_not_ours(there: Layout) -> None:
    there.night_summary.parent.chmod(0o555)
    try:
        result = subprocess.run(
            [sys.executable, "-c", AS_USER, "-m", "osa.cli.nightsummary", *words(there)],
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        there.night_summary.parent.chmod(0o755)
    assert result.returncode == 1
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("nightsummary: ")]
    assert "Permission denied" in line and str(there.night_summary.parent) in line
    assert not (there.run_summary.exists() or there.night_survey.exists())


# ------------------------------------------------------------------- which runs would calibrate

HINT = "others are chosen by drs4_run, calibration_run, [types] and [leave out] in"


def write_runs(layout: Layout, **kinds: object) -> None:
    """Write runs of one sub-run, in the order in which they are given."""
    for name, events in kinds.items():
        run = int(name.removeprefix("run"))
        write_raw(layout.raw_dir, run, 0, events, start=start_of(run))  # type: ignore[arg-type]


@pytest.mark.usefixtures("looked")
def test_choice_among_two_of_each(layout: Layout, capsys: Capture) -> None:
    write_runs(layout, run1872=DRS4, run1873=DRS4, run1874=CALIBRATION, run1875=CALIBRATION, run1876=DATA)
    assert nightsummary(layout) == 0
    said = capsys.readouterr().err.splitlines()
    assert said[:3] == [
        "calibration run 01875: the last of 2 before the first DATA run 01876",
        "DRS4 run 01873: the last of 2 before the calibration run 01875",
        f"{HINT} {layout.override}, or by sequencer -d 2020_01_27 --drs4-run RUN --calibration-run RUN",
    ]
    # What is said is what comes of it.
    choice = plan_night(layout).choice
    assert (choice.calibration_run, choice.drs4_run) == (1875, 1873)
    layout.override.write_text("drs4_run = 1872\n[leave out]\n1875 = wrong filter\n", "utf-8")
    assert nightsummary(layout) == 0
    said = capsys.readouterr().err.splitlines()
    assert "calibration run 01875 was passed over: left out: wrong filter" in said
    assert "calibration run 01874: the only one before the first DATA run 01876" in said
    assert "DRS4 run 01872: as NightSummary_20200127.override says" in said


@pytest.mark.usefixtures("looked")
def test_nothing_to_choose_from(layout: Layout, capsys: Capture) -> None:
    write_runs(layout, run1876=DATA)
    assert nightsummary(layout) == 0
    said = capsys.readouterr().err
    assert "no usable calibration run in this night" in said and HINT in said


@pytest.mark.usefixtures("looked")
def test_run_that_is_asked_for_and_cannot_serve(there: Layout, capsys: Capture) -> None:
    """The summaries are made all the same: they are needed to see what is wrong."""
    there.override.write_text("drs4_run = 1875\n", "utf-8")
    assert nightsummary(there) == 0
    said = capsys.readouterr().err
    assert "DRS4 run 01875 (as NightSummary_20200127.override says) is of type ERROR there" in said
    assert f"written: {there.night_summary}" in said


# ------------------------------------------------------------------------------ hostile content


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Half a GB more than there is now."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    now = psutil.Process().memory_info().vms
    resource.setrlimit(resource.RLIMIT_AS, (now + 500_000_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.usefixtures("looked", "little_memory")
def test_long_numbers_of_runs(layout: Layout, capsys: Capture) -> None:
    write_runs(layout, run1872=DRS4, run1873=CALIBRATION)
    write_raw(layout.raw_dir, 999_999_999, 0, DATA, start=start_of(1874))
    assert nightsummary(layout) == 0
    assert columns(capsys.readouterr().out)["999999999"]["Type"] == "DATA"
    assert [entry.run for entry in read_night_summary(layout.night_summary)] == [1872, 1873, 999_999_999]
    assert list(Table.read(layout.run_summary, format="ascii.ecsv")["run_id"]) == [1872, 1873, 999_999_999]


@pytest.mark.usefixtures("looked")
@pytest.mark.parametrize(
    "name",
    [
        "LST-1.1.Run01876.0000.fits.fz\n",
        "LST-1.1.Run01876.0000.fits.fz\n\x1b[2J\x07",
        "\x1b]0;title\x07LST-1.1.Run01876.0000.fits.fz.part",
        "LST-1.1.Run0187\u0666.0000.fits.fz",
        "LST-1.5.Run01876.0000.fits.fz",
        "LST-2.1.Run01876.0000.fits.fz",
        "LST-1.1.Run01876.0000.fits.fz;touch x",
    ],
)
def test_strange_names_are_no_raw_files_and_harm_no_terminal(
    there: Layout, capsys: Capture, name: str
) -> None:
    (there.raw_dir / name).write_bytes(b"x")
    assert nightsummary(there) in {0, 5}
    out, err = capsys.readouterr()
    assert "01876" not in out
    assert all(line.isprintable() for line in (out + err).split("\n"))
    assert 1876 not in {entry.run for entry in read_night_summary(there.night_summary)}


@pytest.mark.usefixtures("looked")
def test_what_broken_files_say_harms_no_terminal(there: Layout, capsys: Capture) -> None:
    path = there.raw_file(1874, 0)
    path.write_bytes(path.read_bytes().replace(b"CameraConfig", b"\x1b[2J\nNonsens"))
    assert nightsummary(there) == 0
    out, err = capsys.readouterr()
    assert "sub-run 0: it cannot be read" in columns(out)["01874"]["Remarks"]
    assert all(line.isprintable() for line in (out + err).split("\n"))


# ---------------------------------------------------------------------------------- interrupted


@pytest.mark.parametrize("to_all", [True, False])
def test_interrupt_leaves_no_process_and_no_summary(layout: Layout, to_all: bool) -> None:
    """At a terminal all processes are interrupted; kill reaches the first only."""
    (path,) = write_raw(layout.raw_dir, 1874, 0, DATA, start=START)
    cut_out_a_byte(path)
    process = subprocess.Popen(
        [sys.executable, "-m", "osa.cli.nightsummary", *words(layout)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        started = time.monotonic()
        while len(psutil.Process(process.pid).children(recursive=True)) < 2:
            assert time.monotonic() - started < 60, "nothing was looked into"
            time.sleep(0.05)
        children = psutil.Process(process.pid).children(recursive=True)
        if to_all:
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert (out, "run the command again to go on" in err) == ("", True)
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []
    assert not (layout.night_summary.exists() or layout.run_summary.exists())
