"""Fixtures that all tests share."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest
from slurm_cluster import slurm_cluster
from voprov_environment import voprov_python

from osa.config import Settings, load_settings
from osa.layout import Layout
from osa.model.night import Night

__all__ = ["slurm_cluster", "voprov_python"]  # one for the whole session

SHIPPED = Path(__file__).parents[1] / "cfg" / "sequencer.cfg"
INPUT_FOLDERS = (
    "R0",
    "NightSummary",
    "monitoring/RunSummary",
    "monitoring/DrivePositioning",
    "models",
)


def change_key(text: str, section: str, key: str, value: str | None) -> str:
    """Give a key of a configuration another value; None takes its line away."""
    before, header, rest = text.partition(f"[{section}]\n")
    assert header, f"no section {section}"
    line = "" if value is None else f"{key} = {value}\n"
    changed, count = re.subn(rf"^{key} =.*\n", lambda _: line, rest, count=1, flags=re.MULTILINE)
    assert count == 1, f"no key {key}"
    return before + header + changed


@pytest.fixture
def make_config(tmp_path: Path) -> Callable[..., Path]:
    """Build the empty folders of a telescope, and the shipped configuration for them.

    Returns a function of ``{(section, key): value}`` that gives the path of the file.
    """

    def make(changes: dict[tuple[str, str], str | None] | None = None) -> Path:
        base = tmp_path / "lst"
        for folder in INPUT_FOLDERS:
            (base / folder).mkdir(parents=True, exist_ok=True)
        text = SHIPPED.read_text(encoding="utf-8").replace("base = ~/lst", f"base = {base}")
        assert str(base) in text
        # Whatever is installed on the machine of the tests.
        text = change_key(text, "SCHEDULER", "backend", "local")
        # Nights of the tests are long past.
        text = change_key(text, "ALARM", "hour", "")
        # Raw files of the tests are there when they have been written.
        text = change_key(text, "ARRIVAL", "end_flag", "")
        text = change_key(text, "ARRIVAL", "quiet_minutes", "0")
        text = change_key(text, "ARRIVAL", "streams", "1")
        # Those that look at pictures say so.
        text = change_key(text, "PROVENANCE", "graphs", "no")
        for (section, key), value in (changes or {}).items():
            text = change_key(text, section, key, value)
        path = tmp_path / "sequencer.cfg"
        path.write_text(text, encoding="utf-8")
        return path

    return make


@pytest.fixture
def make_settings(make_config: Callable[..., Path]) -> Callable[..., Settings]:
    """Like ``make_config``, and read."""
    return lambda changes=None: load_settings(make_config(changes), "LST1")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system."""
    folder = Path(tempfile.mkdtemp(dir="/dev/shm", prefix="osa-test-"))
    try:
        if folder.stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("/dev/shm is on the file system of the temporary files")
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    """Settings of an empty telescope."""
    return make_settings()


@pytest.fixture
def night() -> Night:
    """The night of the examples."""
    return Night(date(2020, 1, 27))


@pytest.fixture
def layout(settings: Settings, night: Night) -> Layout:
    """Paths of the night of the examples."""
    return Layout(settings, night)
