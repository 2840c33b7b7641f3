"""A complete night of two DATA runs, as it is before it is closed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from moving import Place
from product_builders import write_night

from osa.closing import journal
from osa.closing import night as night_module
from osa.closing.actions import Merge
from osa.config import Settings
from osa.layout import Layout
from osa.model.night import Night
from osa.model.sequence import NightPlan
from osa.nightsummary.plan import plan_night

SUMMARY = """\
01872    1 DRS4  2020-01-27 19:51:44 0001 1580154753739954334 5739954100 nan nan nan
01873    1 CALI  2020-01-27 20:23:43 0001 1580156670887160057 1887159800 nan nan nan
01874    2 DATA  2020-01-27 20:44:13 0003 1580157904186709543 5186709300 nan nan nan
01875    1 DATA  2020-01-27 21:05:44 0003 1580159197411578464 7411578200 nan nan nan
"""
RAW = {1872: 1, 1873: 1, 1874: 2, 1875: 1}


@pytest.fixture
def layout(make_settings: Callable[..., Settings], night: Night) -> Layout:
    """Paths of a night whose summary and raw files are there, and nothing else."""
    layout = Layout(make_settings({("SCHEDULER", "backend"): "local"}), night)
    layout.night_summary.write_text(SUMMARY, encoding="utf-8")
    layout.raw_dir.mkdir(parents=True)
    for run, subruns in RAW.items():
        for subrun in range(subruns):
            layout.raw_file(run, subrun).write_bytes(b"raw" * 1000)
    return layout


@pytest.fixture
def plan(layout: Layout) -> NightPlan:
    return plan_night(layout)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the products of the night are kept for all tests."""
    yield tmp_path_factory.mktemp("prepared") / "night"


@pytest.fixture
def complete(layout: Layout, plan: NightPlan, prepared: Path) -> Layout:
    """The night with all products and histories."""
    if not prepared.exists():
        write_night(layout, plan)
        shutil.copytree(
            layout.analysis_dir, prepared, ignore=shutil.ignore_patterns("*.history", "provenance")
        )
    else:
        write_night(layout, plan, prepared)
    return layout


def merge_names(merges: Iterable[Merge]) -> list[str]:
    return [product.final.name for merge in merges for product in merge.step.products]


@pytest.fixture
def merged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stand for lstchain's merges; tells the names of the files that were made, each time."""
    made: list[str] = []

    def perform_merges(
        layout: Layout, merges: list[Merge], *, at_once: int, on_done: Callable[[], None]
    ) -> list[str]:
        assert at_once >= 1
        for merge in merges:
            for product in merge.step.products:
                if not product.final.exists():
                    product.final.write_text(f"merged: {product.final.name}", encoding="utf-8")
                    made.append(product.final.name)
            on_done()
        return []

    monkeypatch.setattr(night_module, "perform_merges", perform_merges)
    return made


@pytest.fixture(params=["same file system", "other file system"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    is_same = request.param == "same file system"
    root = tmp_path if is_same else request.getfixturevalue("elsewhere")
    return Place(tmp_path / "work", root / "final").fill()


@pytest.fixture
def across(tmp_path: Path, elsewhere: Path) -> Place:
    return Place(tmp_path / "work", elsewhere / "final").fill()


@pytest.fixture
def no_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what costs most and does nothing for a process that is killed: the kernel stays."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a few files be several batches."""
    monkeypatch.setattr(journal, "_BATCH_FILES", 2)
