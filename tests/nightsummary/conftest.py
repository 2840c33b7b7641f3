"""Nights made by hand: runs, and a configured place for their files."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import osa
from osa.config import load_settings
from osa.layout import Layout
from osa.model.night import Night
from osa.model.run import RunEntry

EVENING = datetime(2020, 1, 27, 20, 0, tzinfo=UTC)


@pytest.fixture
def run_entry() -> Callable[..., RunEntry]:
    """Make a run that started some minutes after eight in the evening."""

    def make(run: int, label: str, minute: float, n_subruns: int = 2) -> RunEntry:
        return RunEntry(run, n_subruns, label, EVENING + timedelta(minutes=minute))

    return make


@pytest.fixture
def make_layout(tmp_path: Path) -> Callable[..., Layout]:
    """Make the folders of a night and a configuration of them, some lines of it replaced."""

    def make(**replaced: str) -> Layout:
        for name in ("R0/20200127", "NightSummary", "monitoring/RunSummary", "monitoring/DrivePositioning"):
            (tmp_path / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "models").mkdir(exist_ok=True)
        shipped = (Path(osa.__file__).parent / "data/sequencer.cfg").read_text(encoding="utf-8")
        lines = []
        for line in shipped.splitlines():
            key = line.partition("=")[0].strip()
            values = {"base": str(tmp_path), "quiet_minutes": "0", "streams": "1"} | replaced
            lines.append(f"{key} = {values[key]}" if key in values and "=" in line else line)
        config = tmp_path / "sequencer.cfg"
        config.write_text("\n".join(lines), encoding="utf-8")
        return Layout(load_settings(config, "LST1"), Night.parse("2020_01_27"))

    return make


@pytest.fixture
def layout(make_layout: Callable[..., Layout]) -> Layout:
    """The night of 2020-01-27 with empty folders."""
    return make_layout()
