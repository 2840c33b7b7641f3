"""A complete night of two DATA runs with records of how all of it was made."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from product_builders import write_night

from osa.config import Settings
from osa.layout import Layout
from osa.model.night import Night
from osa.model.sequence import NightPlan, Sequence
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
    layout = Layout(make_settings(), night)
    layout.night_summary.write_text(SUMMARY, encoding="utf-8")
    layout.raw_dir.mkdir(parents=True)
    for run, subruns in RAW.items():
        for subrun in range(subruns):
            path = layout.raw_file(run, subrun)
            path.write_bytes(path.name.encode() * 100)
    return layout


@pytest.fixture
def plan(layout: Layout) -> NightPlan:
    return plan_night(layout)


@pytest.fixture
def run(plan: NightPlan) -> Callable[[int], Sequence]:
    """Find the sequence of a run."""
    return lambda number: next(sequence for sequence in plan.sequences if sequence.run == number)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the products of the night are kept for all tests."""
    return tmp_path_factory.mktemp("prepared") / "night"


@pytest.fixture
def complete(layout: Layout, plan: NightPlan, prepared: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """The night with all products, histories and records."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _descriptor: None)  # the kernel stays
        if prepared.exists():
            write_night(layout, plan, prepared)
        else:
            write_night(layout, plan)
            made_anew = shutil.ignore_patterns("*.history", "provenance")
            shutil.copytree(layout.analysis_dir, prepared, ignore=made_anew)
    return layout
