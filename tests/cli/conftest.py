"""A night that can be planned: summaries and raw files that nobody reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from osa.layout import Layout

SUMMARY = """\
01872    1 DRS4  2020-01-27 19:51:44 0001 1580154753739954334 5739954100 nan nan nan
01873    2 CALI  2020-01-27 20:23:43 0001 1580156670887160057 1887159800 nan nan nan
01874    3 DATA  2020-01-27 20:44:13 0003 1580157904186709543 5186709300 nan nan nan
01875    2 DATA  2020-01-27 21:05:44 0003 1580159197411578464 7411578200 nan nan nan
01876    1 ERROR 2020-01-27 21:30:00 nan nan nan nan nan nan
"""
RAW = {1872: 1, 1873: 2, 1874: 3, 1875: 2}


@pytest.fixture
def planned(make_config: Callable[..., Path], layout: Layout) -> Layout:
    """The night, with a local backend and without lstchain's products."""
    make_config({("SCHEDULER", "backend"): "local"})
    layout.night_summary.write_text(SUMMARY, encoding="utf-8")
    layout.raw_dir.mkdir(parents=True)
    for run, subruns in RAW.items():
        for subrun in range(subruns):
            layout.raw_file(run, subrun).write_bytes(b"raw")
    return layout
