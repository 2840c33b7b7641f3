"""Names, summaries and the refusal to overwrite."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest

from osa.simulation.configs import write_configs
from osa.simulation.events import RawEvent, Trigger, tai_ns
from osa.simulation.files import atomic_path
from osa.simulation.night import existing_files, make_night
from osa.simulation.plan import DataFormat, NightPlan, RunKind, RunPlan
from osa.simulation.summaries import night_summary_line, write_night_summary, write_run_summary
from osa.simulation.writer import raw_path

START = datetime(2020, 1, 27, 19, 51, 44, tzinfo=UTC)
RUN = RunPlan(1872, RunKind.DRS4, START, 5, 500)
PLAN = NightPlan(date(2020, 1, 27), (RUN,))
NOTHING = np.zeros(1, dtype=np.uint16)
FIRST = RawEvent(1, Trigger.PHYSICS, tai_ns(START) + 5_000, 5_000, NOTHING, NOTHING)


def test_night_summary_has_eleven_columns(tmp_path: Path) -> None:
    path = tmp_path / "NightSummary_20200127.txt"
    write_night_summary(PLAN, {1872: FIRST}, path)
    columns = path.read_text().split()
    assert path.name == "NightSummary_20200127.txt"
    assert columns[:5] == ["01872", "5", "DRS4", "2020-01-27", "19:51:44"]
    assert len(columns) == 11
    assert columns[5] == columns[8] == "0000"
    assert columns[6] == columns[9] == "1580154741000005000"
    assert int(columns[7]) - int(columns[10]) == 600


def test_the_current_format_needs_no_reference() -> None:
    columns = night_summary_line(RUN, FIRST, DataFormat.R1V1).split()
    assert columns[5:] == ["nan"] * 6


def test_run_summary_is_as_lstchain_reads_it(tmp_path: Path) -> None:
    from ctapipe_io_lst.event_time import read_run_summary

    path = tmp_path / "RunSummary_20200127.ecsv"
    write_run_summary(PLAN, {1872: FIRST}, path)
    row = read_run_summary(path).loc[1872]
    assert row["run_type"] == "DRS4"
    assert row["dragon_reference_time"] == FIRST.tai_ns
    assert row["run_start"] == tai_ns(START)


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    there = raw_path(tmp_path / "R0" / "20200127", 1872, 0)
    there.parent.mkdir(parents=True)
    there.write_text("data")
    assert existing_files(PLAN, tmp_path) == [there]
    with pytest.raises(FileExistsError, match="2020-01-27"):
        make_night(PLAN, tmp_path)
    assert there.read_text() == "data"


def test_nights_of_one_size_share_their_configuration(tmp_path: Path) -> None:
    first = write_configs(PLAN, tmp_path)
    texts = [path.read_text() for path in first]
    later = RunPlan(1972, RunKind.DRS4, START.replace(day=28), 5, 500)
    assert write_configs(NightPlan(date(2020, 1, 28), (later,)), tmp_path) == first
    larger = NightPlan(date(2020, 1, 28), (later,), trees=99)
    with pytest.raises(FileExistsError, match="another size"):
        write_configs(larger, tmp_path)
    assert [path.read_text() for path in first] == texts
    write_configs(larger, tmp_path, overwrite=True)
    assert [path.read_text() for path in first] != texts


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "there" / "file.txt"
    with pytest.raises(RuntimeError, match="stopped"), atomic_path(path) as part:
        part.write_text("half")
        raise RuntimeError("stopped")
    assert list(path.parent.iterdir()) == []
    with atomic_path(path) as part:
        part.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"


def test_names_of_raw_files() -> None:
    name = raw_path(Path("R0"), 1874, 3, 2).name
    assert name == "LST-1.2.Run01874.0003.fits.fz"
