"""One simulated night, carried by the real commands and the real lstchain, made once a session.

The stages follow each other, and each fixture gives what the tests need to judge its stage.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pytest

from osa.config import load_settings
from osa.layout import DL2, Layout
from osa.model.night import Night

NIGHT = Night(date(2020, 1, 27))
DRS4_RUN, CALIBRATION_RUN = 1872, 1873
DATA = {1874: (0, 1), 1875: (0, 1)}


def run(
    command: str, *arguments: object, timeout: float = 1200, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command of the project as a user would, without a terminal."""
    if environment is None:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_")}
    return subprocess.run(
        [sys.executable, "-m", f"osa.cli.{command}", *map(str, arguments)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=timeout,
        env=environment,
        check=False,
    )


@dataclass(frozen=True)
class Stage:
    """The night after a command."""

    root: Path
    result: subprocess.CompletedProcess[str]
    evidence: Mapping[str, object] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        return self.root / "sequencer.cfg"

    @property
    def layout(self) -> Layout:
        return Layout(load_settings(self.config, "LST1"), NIGHT)


def on_night(stage: Stage, command: str, *options: object) -> subprocess.CompletedProcess[str]:
    return run(command, "-c", stage.config, "-d", NIGHT.underscored, *options)


def snapshot(root: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file below a folder."""
    return {
        str(path.relative_to(root)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in root.rglob("*")
        if path.is_file()
    }


def set_key(config: Path, key: str, value: str) -> None:
    """Give a key another value, in every section that has it."""
    lines = config.read_text("utf-8").splitlines()
    changed = [f"{key} = {value}" if line.startswith(f"{key} =") else line for line in lines]
    assert changed != lines
    config.write_text("\n".join(changed) + "\n", "utf-8")


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """Raw files and all else that comes before the analysis."""
    root = tmp_path_factory.mktemp("tiny") / "night"
    stage = Stage(root, run("simulatenight", root, "--size", "tiny"))
    assert stage.result.returncode == 0, stage.result.stderr
    return stage


@pytest.fixture(scope="session")
def sequenced(simulated: Stage) -> Stage:
    """After sequencer: everything is made, nothing moved."""
    result = on_night(simulated, "sequencer")
    assert result.returncode == 0, result.stderr
    return Stage(simulated.root, result)


@pytest.fixture(scope="session")
def redone(sequenced: Stage) -> Stage:
    """After one DL2 was lost and sequencer was run again."""
    lost = sequenced.layout.working(DL2, 1875, 1)
    lost.unlink()
    before = snapshot(sequenced.layout.analysis_dir)
    shown = on_night(sequenced, "sequencer", "-s", "--json")
    result = on_night(sequenced, "sequencer")
    after = snapshot(sequenced.layout.analysis_dir)
    evidence = {"lost": lost, "before": before, "after": after, "shown": shown.stdout}
    return Stage(sequenced.root, result, evidence)


@pytest.fixture(scope="session")
def simulated_closing(redone: Stage) -> Stage:
    """After closer -s, which touches nothing."""
    before = snapshot(redone.root)
    result = on_night(redone, "closer", "-s")
    return Stage(redone.root, result, {"before": before, "after": snapshot(redone.root)})


@pytest.fixture(scope="session")
def closed(simulated_closing: Stage) -> Stage:
    """After closer: the night is in its final layout."""
    return Stage(simulated_closing.root, on_night(simulated_closing, "closer"))


def copy_inputs(stage: Stage, root: Path) -> Stage:
    """Make a night with the same inputs and nothing else."""
    for name in ("R0", "NightSummary", "monitoring", "models", "lstchain"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(stage.root / name, root / name, copy_function=os.link)
    text = stage.config.read_text(encoding="utf-8").replace(str(stage.root), str(root))
    (root / "sequencer.cfg").write_text(text, encoding="utf-8")
    return Stage(root, stage.result)


@pytest.fixture
def calibrated(sequenced: Stage, closed: Stage, tmp_path: Path) -> Stage:
    """A copy of the night with its calibration and nothing else, to be changed at will."""
    stage = copy_inputs(closed, tmp_path / "night")
    stage.layout.analysis_dir.mkdir(parents=True)
    for path in closed.layout.final_calibration_dir.glob("*.h5"):
        shutil.copy(path, stage.layout.analysis_dir)
    history = closed.layout.history(CALIBRATION_RUN)
    shutil.copy(history, stage.layout.history(CALIBRATION_RUN))
    return stage
