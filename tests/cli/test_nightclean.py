"""The command nightclean: what it says, asks and does, and its exit codes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from osa.cli.nightclean import human_size, main
from osa.config import Settings
from osa.layout import Layout
from osa.model.job import JobSpec, Resources
from osa.model.night import Night
from osa.scheduler.local_store import LocalStore
from osa.system.locks import only_instance
from tests.cleaning.leftover_night import (
    SAID,
    SETTINGS,
    base_of,
    snapshot,
    without_locks,
    write,
    write_logs,
    write_night,
)

Capture = pytest.CaptureFixture[str]

# As root, modes bind only who has given up the powers to override and to read over them.
AS_USER = """
import ctypes, os, sys
for power in (1, 2):
    ctypes.CDLL(None).prctl(24, power, 0, 0, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
LAST = "nightclean: not all could be put away: "
"""How the last line begins: cron mails it."""


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(SETTINGS)


@pytest.fixture
def left(settings: Settings, night: Night) -> Layout:
    """A night that was closed long ago."""
    return write_night(Layout(settings, night), clock=datetime.now(UTC))


@pytest.fixture
def later(settings: Settings) -> Layout:
    """Another one, of which only unfinished files are due."""
    return write_night(Layout(settings, Night(date(2020, 1, 28))), 10, datetime.now(UTC))


@pytest.fixture(autouse=True)
def nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """Have somebody at a terminal; gives the list of what was asked."""

    def answer(reply: str) -> list[str]:
        asked: list[str] = []

        def read(question: str) -> str:
            asked.append(question)
            return reply

        monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
        monkeypatch.setattr("builtins.input", read)
        return asked

    return answer


def nightclean(layout: Layout, *more: str) -> int:
    return main(["-c", str(layout.settings.path), *more])


def here(layout: Layout) -> dict[str, tuple[object, ...]]:
    return without_locks(snapshot(base_of(layout)))


def test_all_closed_nights_are_cleaned_with_a_line_each(left: Layout, later: Layout, capsys: Capture) -> None:
    assert nightclean(left) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert len(lines) == 2
    assert re.fullmatch(
        r"2020-01-27: 17\d\.\d kB freed \(8 unfinished files, 4 replaced products, 4 logs compressed\)",
        lines[0],
    )
    assert lines[1] == "2020-01-28: 6.0 kB freed (8 unfinished files)"
    assert err == ""
    assert not left.scratch_dir.exists()
    assert not left.set_aside_dir.exists()
    assert not later.scratch_dir.exists()
    assert later.set_aside_dir.exists()
    assert (later.log_dir / next(iter(SAID))).exists()


def test_nothing_to_do_is_said(left: Layout, capsys: Capture) -> None:
    nightclean(left)
    capsys.readouterr()
    assert nightclean(left) == 0
    assert capsys.readouterr() == ("nothing to put away\n", "")


def test_empty_telescope(settings: Settings, night: Night, capsys: Capture) -> None:
    assert nightclean(Layout(settings, night)) == 0
    assert capsys.readouterr() == ("nothing to put away\n", "")


def test_simulation_tells_and_touches_nothing(left: Layout, later: Layout, capsys: Capture) -> None:
    before = snapshot(base_of(left))
    assert nightclean(left, "-s") == 0
    assert snapshot(base_of(left)) == before
    assert capsys.readouterr().out.splitlines() == [
        "2020-01-27: would free 11.5 kB (8 unfinished files, 4 replaced products) "
        "and compress 4 logs of 167.0 kB",
        "2020-01-28: would free 6.0 kB (8 unfinished files)",
        "in all: would free 17.5 kB (16 unfinished files, 4 replaced products) "
        "and compress 4 logs of 167.0 kB",
    ]


def test_simulation_in_detail(left: Layout, capsys: Capture) -> None:
    assert nightclean(left, "-s", "-v") == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"  {left.scratch_dir}: 2 files, 5.7 kB" in lines
    assert f"  {left.log_dir}/dl2_merge_01874.log: 1 file, 7 B" in lines
    assert len(lines) == 1 + 14


def test_only_logs(settings: Settings, night: Night, capsys: Capture) -> None:
    layout = Layout(settings, night)
    write_logs(layout)
    write(layout.night_finished)
    os.utime(layout.night_finished, (0, 0))
    assert nightclean(layout, "-s") == 0
    assert capsys.readouterr().out == "2020-01-27: would compress 4 logs of 167.0 kB\n"


def test_empty_folders(settings: Settings, night: Night, capsys: Capture) -> None:
    layout = Layout(settings, night)
    layout.scratch_dir.mkdir(parents=True)
    write(layout.night_finished)
    os.utime(layout.night_finished, (0, 0))
    assert nightclean(layout, "-s") == 0
    assert nightclean(layout) == 0
    assert capsys.readouterr().out.splitlines() == [
        "2020-01-27: would remove empty folders",
        "2020-01-27: 0 B freed",
    ]
    assert not layout.scratch_dir.exists()


def test_one_night_alone(left: Layout, later: Layout) -> None:
    assert nightclean(left, "-d", "2020_01_28") == 0
    assert not later.scratch_dir.exists()
    assert left.scratch_dir.exists()


def test_configuration_without_days_is_never(
    make_settings: Callable[..., Settings], left: Layout, capsys: Capture
) -> None:
    make_settings(dict.fromkeys(SETTINGS, ""))
    before = snapshot(base_of(left))
    assert nightclean(left) == 0
    assert capsys.readouterr().out == "nothing to put away\n"
    assert snapshot(base_of(left)) == before


def test_open_night_is_not_touched_and_that_is_said(left: Layout, later: Layout, capsys: Capture) -> None:
    left.night_finished.unlink()
    before = snapshot(left.analysis_dir)
    assert nightclean(left, "-d", "2020_01_27") == 0
    said = "night 2020-01-27 of LST1 is not closed: nothing of it is touched\n"
    assert capsys.readouterr() == ("nothing to put away\n", said)
    assert nightclean(left, "-v") == 0
    assert capsys.readouterr().err == said
    assert snapshot(left.analysis_dir) == before
    assert not later.scratch_dir.exists()


def test_terminal_is_asked(left: Layout, answers: Callable[[str], list[str]], capsys: Capture) -> None:
    asked = answers("n")
    before = snapshot(base_of(left))
    assert nightclean(left) == 1
    assert asked == ["Clean 1 night? [y/N] "]
    assert capsys.readouterr().out.startswith("2020-01-27: would free 11.5 kB")
    assert snapshot(base_of(left)) == before
    asked = answers("y")
    assert nightclean(left) == 0
    assert asked
    assert not left.scratch_dir.exists()


def test_yes_asks_nobody(left: Layout, answers: Callable[[str], list[str]], capsys: Capture) -> None:
    asked = answers("n")
    assert nightclean(left, "-y") == 0
    assert asked == []
    assert "would" not in capsys.readouterr().out
    assert not left.scratch_dir.exists()


def test_held_night_is_left_alone_and_the_others_are_cleaned(
    left: Layout, later: Layout, capsys: Capture
) -> None:
    before = without_locks(snapshot(left.analysis_dir))
    with only_instance(left.night_lock, left.title):
        assert nightclean(left) == 5
    out, err = capsys.readouterr()
    assert err.startswith("2020-01-27: left alone: night 2020-01-27 of LST1: already at work (process ")
    assert out == "2020-01-28: 6.0 kB freed (8 unfinished files)\n"
    assert without_locks(snapshot(left.analysis_dir)) == before


def test_night_with_a_task_is_left_alone(left: Layout, later: Layout, capsys: Capture) -> None:
    resources = Resources(cpus=1, memory=1, walltime=timedelta(hours=1))
    job = JobSpec("LST1_01875", left.group, left.analysis_dir / "job.py", left.log_dir, resources)
    LocalStore(left.settings.local.state_dir).add(job, None)
    before = here(left)
    assert nightclean(left, "-s") == 0
    out = capsys.readouterr().out
    assert out.startswith("2020-01-27: would be left alone: tasks of LST1_01875 may be at work\n2020-01-28: ")
    assert "in all" not in out
    assert here(left) == before
    assert nightclean(left, "-d", "2020_01_27") == 5
    assert capsys.readouterr().err == "2020-01-27: left alone: tasks of LST1_01875 may be at work\n"
    assert here(left) == before


@pytest.mark.parametrize("which", ["night", "production"])
def test_linked_night_is_passed_over_and_named_where_it_is_asked_for(
    left: Layout, later: Layout, which: str, tmp_path: Path, capsys: Capture
) -> None:
    folder = left.analysis_dir if which == "production" else left.analysis_dir.parent
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    before = snapshot(tmp_path / "elsewhere")
    assert nightclean(left) == 0
    assert not later.scratch_dir.exists()
    capsys.readouterr()
    assert nightclean(left, "-d", "2020_01_27") == 1
    fault = f"cannot look at {folder}: a symbolic link, or no folder\n"
    assert capsys.readouterr().err == f"{fault}{LAST}{fault}"
    assert snapshot(tmp_path / "elsewhere") == before


def test_many_faults_are_told_in_short(
    left: Layout, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def refuse(path: object, **_: object) -> None:
        raise PermissionError(13, "Permission denied", path)

    for number in range(30):
        write(left.scratch_dir / "many" / f"{number:02}")
    monkeypatch.setattr(os, "unlink", refuse)
    assert nightclean(left) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 22
    assert lines[-2].endswith("more (-v names all)")
    assert lines[-1] == f"{LAST}{lines[0]}"
    assert nightclean(left, "-v") == 1
    assert f"cannot remove {left.scratch_dir}/many/29: Permission denied" in capsys.readouterr().err


@pytest.fixture
def as_user(left: Layout) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """Run the command without root's power over modes."""

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        before = ["-c", AS_USER] if os.geteuid() == 0 else []
        module = ["-m", "osa.cli.nightclean", "-c", str(left.settings.path), *options]
        done = subprocess.run(
            [sys.executable, *before, *module], stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert "unexpected" not in done.stderr, done.stderr
        return done

    yield run
    for path in [base_of(left), *base_of(left).rglob("*")]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)


@pytest.mark.parametrize("mode", [0o555, 0])
@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("scratch_dir", "cannot remove .*|cannot look into .*"),
        ("log_dir", "cannot compress .*|cannot remove .*|cannot look into .*"),
        ("analysis_dir", "cannot (clean|look at|remove|compress) .*"),
        ("closer_dir", "cannot look at .*"),
    ],
)
def test_folder_that_may_not_be_changed_is_named_and_the_rest_is_done(
    left: Layout,
    later: Layout,
    as_user: Callable[..., subprocess.CompletedProcess[str]],
    folder: str,
    message: str,
    mode: int,
) -> None:
    path: Path = getattr(left, folder)
    if folder in {"scratch_dir", "log_dir"}:
        (path / "locked").mkdir()
        write(path / "locked" / "x.log")
    path.chmod(mode)
    done = as_user()
    if folder == "closer_dir" and mode:  # who reads it need not write
        assert (done.returncode, done.stderr) == (0, "")
        return
    assert done.returncode == 1, done.stderr
    *lines, last = done.stderr.splitlines()
    assert lines
    assert last == f"{LAST}{lines[0]}"
    assert len(set(lines)) == len(lines)
    for line in lines:
        assert re.fullmatch(message, line), line
        assert "Permission denied" in line
        assert str(path) in line
    assert not later.scratch_dir.exists()
    if folder in {"scratch_dir", "log_dir"}:
        assert not left.set_aside_dir.exists()
    path.chmod(0o755)
    again = as_user()
    assert (again.returncode, again.stderr) == (0, "")
    assert as_user().stdout == "nothing to put away\n"


def test_night_that_may_not_be_entered_is_named(
    left: Layout, as_user: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    left.analysis_dir.parent.chmod(0)
    done = as_user()
    assert done.returncode == 1
    fault = f"cannot look at {left.analysis_dir.parent}: Permission denied\n"
    assert done.stderr == f"{fault}{LAST}{fault}"


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (-5, "0 B"),
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (1_234_567_890, "1.2 GB"),
        (5 * 10**18, "5000.0 PB"),
    ],
)
def test_sizes_for_people(size: int, text: str) -> None:
    assert human_size(size) == text


def test_missing_slurm_is_said(
    left: Layout, make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """Nobody could say then whether a task is alive."""
    make_settings({**SETTINGS, ("SCHEDULER", "backend"): "slurm"})
    monkeypatch.setenv("PATH", "/nowhere")
    before = here(left)
    assert nightclean(left) == 3
    assert "Slurm's commands are not on this machine" in capsys.readouterr().err
    assert here(left) == before


def test_help_is_quick() -> None:
    code = (
        "import sys\nfrom osa.cli.nightclean import main\n"
        "try:\n main(['--help'])\nexcept SystemExit:\n pass\n"
        "print(*(name for name in sys.modules if name.startswith('osa.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert loaded == {"osa.cli", "osa.cli.common", "osa.cli.nightclean", "osa.errors"}
