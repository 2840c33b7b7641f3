"""Files and folders that may not be read or written, met by somebody whom modes do bind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from osa.layout import MUONS
from tests.faults.fault_night import FaultNight

# As root, modes bind only who has given up the powers to override and to read over them.
_AS_USER = """
import ctypes, os, sys
for power in (1, 2):
    ctypes.CDLL(None).prctl(24, power, 0, 0, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


class User:
    """Runs commands on a night without root's power over modes."""

    def __init__(self, night: FaultNight) -> None:
        self.night = night

    def run(self, command: str, *options: object) -> subprocess.CompletedProcess[str]:
        arguments = ["-m", f"osa.cli.{command}", *self.night.arguments(*options)]
        before = ["-c", _AS_USER] if os.geteuid() == 0 else []
        done = subprocess.run(
            [sys.executable, *before, *arguments],
            env=self.night.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert "unexpected" not in done.stderr, done.stderr
        return done


@pytest.fixture
def user(fault_night: FaultNight) -> Iterator[User]:
    yield User(fault_night)
    for path in (fault_night.base, *fault_night.base.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)


def submitted(night: FaultNight) -> int:
    return len(night.store.records(night.layout.group.name))


@pytest.mark.fault(
    28,
    injected="mode 0 on the night summary, the override, the folder of raw files, the configuration",
    holds="G6: code 2, the path is named, nothing is submitted",
)
@pytest.mark.parametrize("what", ["night_summary", "override", "raw_dir", "configuration"])
def test_input_that_may_not_be_read(fault_night: FaultNight, user: User, what: str) -> None:
    """Seen to fail: with an error taken for no raw files in nightsummary/raw.py (nothing to submit, code
    1).
    """
    layout = fault_night.layout
    path: Path = layout.settings.path if what == "configuration" else getattr(layout, what)
    if not path.exists():
        path.write_text("")
    path.chmod(0)
    done = user.run("sequencer")
    assert done.returncode == 2, done.stderr
    assert f"{path}" in done.stderr
    assert "ermission denied" in done.stderr
    assert submitted(fault_night) == 0
    path.chmod(0o755)
    assert user.run("sequencer", "-s").returncode == 0


@pytest.mark.fault(
    28,
    injected="mode 0 on drive log and target log, of which only the table tells",
    holds="G6: the night goes on without them",
)
def test_log_that_may_not_be_read(fault_night: FaultNight, user: User) -> None:
    """Seen to fail: with only FileNotFoundError passed over in nightsummary/targets.py (code 1)."""
    for path in (fault_night.layout.drive_log, fault_night.layout.target_log):
        path.write_text("1580157800 TrackStart 83.6 22.0 Crab\n")
        path.chmod(0)
    assert user.run("sequencer").returncode == 0
    fault_night.assert_done_once()


@pytest.mark.fault(
    28,
    injected="a working folder, and a state folder, that may not be written",
    holds="code 1, the path is named, nothing is submitted; with the right mode all is done",
)
@pytest.mark.parametrize("what", ["analysis", "state"])
def test_folder_that_may_not_be_written(fault_night: FaultNight, user: User, what: str) -> None:
    """Seen to fail: without the case of OSError in cli/common.py (an unexpected error)."""
    layout = fault_night.layout
    folder = layout.analysis_dir if what == "analysis" else layout.settings.local.state_dir
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o555)
    done = user.run("sequencer")
    assert done.returncode == 1
    assert str(folder) in done.stderr
    assert (submitted(fault_night) if what == "analysis" else 0) == 0
    folder.chmod(0o755)
    assert user.run("sequencer").returncode == 0
    fault_night.assert_done_once()


@pytest.mark.fault(
    28,
    injected="mode 0 on the raw file of one sub-run",
    holds="G6 G8: named and not submitted, the others are done, the night is not closed; then it goes on",
)
def test_raw_file_that_may_not_be_read(fault_night: FaultNight, user: User) -> None:
    """Seen to fail: with raw.py asking for the size and not for the permission (it was submitted)."""
    raw = fault_night.layout.raw_file(1874, 1)
    raw.chmod(0)
    done = user.run("sequencer")
    assert "run 01874: no permission to read raw files of sub-runs 1" in done.stderr
    assert fault_night.attempts == Counter(fault_night.steps((1874, 0), (1875, 0)))
    assert user.run("closer", "-y").returncode == 1
    assert not fault_night.layout.night_finished.exists()
    raw.chmod(0o644)
    assert user.run("sequencer").returncode == 0
    fault_night.assert_done_once()


@pytest.mark.fault(
    28,
    injected="a folder of logs that may not be written",
    holds="code 1, the folder is named, no step begun; with the right mode all is done",
)
def test_folder_of_logs_that_may_not_be_written(fault_night: FaultNight, user: User) -> None:
    """Seen to fail: without the case of OSError in cli/common.py (an unexpected error)."""
    folder = fault_night.layout.log_dir
    folder.mkdir(exist_ok=True)
    folder.chmod(0o555)
    done = user.run("sequencer")
    assert done.returncode == 1
    assert str(folder) in done.stderr
    assert fault_night.attempts == Counter()
    folder.chmod(0o755)
    assert user.run("sequencer").returncode == 0
    fault_night.assert_done_once()


@pytest.mark.fault(
    28,
    injected="a folder of logs that may not be written",
    holds="seen before anything is submitted",
)
def test_folder_of_logs_is_tried_before_submission(fault_night: FaultNight, user: User) -> None:
    fault_night.layout.log_dir.mkdir(exist_ok=True)
    fault_night.layout.log_dir.chmod(0o555)
    assert user.run("sequencer").returncode == 1
    assert submitted(fault_night) == 0


@pytest.mark.fault(
    28,
    injected="a final folder that may not be written",
    holds="G5 G8: the closer ends with code 1 and names it, nothing is lost, not closed; then it goes on",
)
def test_final_folder_that_may_not_be_written(fault_night: FaultNight, user: User) -> None:
    """Seen to fail: without the error of what was kept in closing/journal.py (code 0, the night closed)."""
    fault_night.finish()
    layout = fault_night.layout
    folder = layout.final_dir(MUONS)
    folder.mkdir(parents=True)
    folder.chmod(0o555)
    done = user.run("closer", "-y")
    assert done.returncode == 1
    assert str(folder) in done.stderr
    assert not layout.night_finished.exists()
    folder.chmod(0o755)
    assert user.run("closer", "-y").returncode == 0
    assert layout.night_finished.exists()
