from __future__ import annotations

from pathlib import Path

import pytest

from osa.layout import (
    DATACHECK,
    DATACHECK_PDF,
    DL1,
    DL2,
    INTERLEAVED,
    MUONS,
    PRODUCT_KINDS,
    Layout,
    subrun_tag,
)
from osa.model.job import JobGroup
from osa.model.sequence import Sequence, SequenceKind


@pytest.fixture
def base(tmp_path):
    return tmp_path / "lst"


@pytest.fixture
def sequence():
    return Sequence("LST1", 1, SequenceKind.DATA, 1874, 1, (0,))


def test_tags():
    assert subrun_tag(1874, 3) == "01874.0003"
    assert subrun_tag(123456, 12) == "123456.0012"


def test_names_of_products():
    assert [kind.file_name(1, 1874, 3) for kind in PRODUCT_KINDS] == [
        "dl1_LST-1.Run01874.0003.h5",
        "muons_LST-1.Run01874.0003.fits",
        "datacheck_dl1_LST-1.Run01874.0003.h5",
        "dl2_LST-1.Run01874.0003.h5",
    ]
    assert DL2.file_name(1, 1874) == "dl2_LST-1.Run01874.h5"
    assert DL1.file_name(2, 1874, 0) == "dl1_LST-2.Run01874.0000.h5"


def test_inputs(layout, base):
    drive = base / "monitoring" / "DrivePositioning"
    assert layout.raw_file(1874, 3) == base / "R0/20200127/LST-1.1.Run01874.0003.fits.fz"
    assert layout.night_summary == base / "NightSummary/NightSummary_20200127.txt"
    assert layout.override == base / "NightSummary/NightSummary_20200127.override"
    assert layout.run_summary == base / "monitoring/RunSummary/RunSummary_20200127.ecsv"
    assert layout.target_log == drive / "Target_log_20200127.txt"


def test_the_older_drive_log_serves_only_where_there_is_no_other(layout, base):
    drive = base / "monitoring" / "DrivePositioning"
    current, older = drive / "DrivePosition_log_20200127.txt", drive / "drive_log_20_01_27.txt"
    assert layout.drive_log == current
    older.touch()
    assert layout.drive_log == older
    current.touch()
    assert layout.drive_log == current


@pytest.mark.parametrize(
    ("name", "groups"),
    [
        ("LST-1.1.Run01874.0003.fits.fz", ("1", "01874", "0003")),
        ("LST-1.1.Run123456.0000.fits.fz", ("1", "123456", "0000")),
        ("LST-1.4.Run01874.0003.fits.fz", ("4", "01874", "0003")),
        ("LST-1.5.Run01874.0003.fits.fz", None),
        ("LST-1.1.Run0187\u0664.0003.fits.fz", None),
        ("LST-2.1.Run01874.0003.fits.fz", None),
        ("LST-1.1.Run01874.0003.fits.fz.part", None),
        ("LST-1x1.Run01874.0003.fits.fz", None),
    ],
)
def test_names_of_raw_files_are_recognised(layout, name, groups):
    match = layout.raw_pattern.fullmatch(name)
    assert (match and match.group("stream", "run", "subrun")) == groups


def test_the_pattern_finds_the_name_that_the_layout_gives(layout):
    assert layout.raw_pattern.fullmatch(layout.raw_file(1874, 3).name)


def test_work_in_progress(layout, base, sequence):
    work = base / "running_analysis/20200127/v0.1.0"
    assert layout.analysis_dir == work
    assert layout.description(sequence) == work / "sequence_LST1_01874.txt"
    assert layout.script(sequence) == work / "sequence_LST1_01874.py"
    assert layout.veto(sequence) == work / "sequence_LST1_01874.veto"
    assert layout.closed(sequence) == work / "sequence_LST1_01874.closed"
    assert layout.history(1874, 3) == work / "sequence_LST1_01874.0003.history"
    assert layout.history(1873) == work / "sequence_LST1_01873.history"
    assert layout.working(DL1, 1874, 3) == work / "dl1_LST-1.Run01874.0003.h5"
    assert layout.log_dir == work / "log"
    assert layout.incidences == work / "Incidences.txt"


def test_scratch_is_on_the_file_system_of_the_products(layout):
    assert layout.scratch_dir.parent == layout.working(DL1, 1874, 3).parent


def test_calibration_files(layout):
    names = [
        layout.drs4_pedestal(1872).name,
        layout.time_calibration(1873).name,
        layout.charge_calibration(1873).name,
    ]
    assert names == [
        "drs4_pedestal.Run01872.0000.h5",
        "time_calibration.Run01873.0000.h5",
        "calibration.Run01873.0000.h5",
    ]
    plot = layout.plot(layout.charge_calibration(1873))
    assert plot == layout.log_dir / "calibration.Run01873.0000.pdf"


def test_final_places(make_settings, night, base):
    settings = make_settings(
        {
            ("PRODUCTION", "dl1_prod_id"): "one",
            ("PRODUCTION", "dl2_prod_id"): "two",
            ("PRODUCTION", "calibration_prod_id"): "cal",
        }
    )
    layout = Layout(settings, night)
    dl1 = base / "DL1/20200127/one"
    assert {kind: layout.final_dir(kind) for kind in (*PRODUCT_KINDS, DATACHECK_PDF, INTERLEAVED)} == {
        DL1: dl1,
        MUONS: dl1 / "muons",
        DATACHECK: dl1 / "datacheck",
        DATACHECK_PDF: dl1 / "datacheck",
        INTERLEAVED: dl1 / "interleaved",
        DL2: base / "DL2/20200127/two",
    }
    assert layout.final(DL2, 1874) == base / "DL2/20200127/two/dl2_LST-1.Run01874.h5"
    assert layout.final(MUONS, 1874, 3) == dl1 / "muons/muons_LST-1.Run01874.0003.fits"
    assert layout.final_calibration_dir == base / "calibration/20200127/cal"
    assert layout.night_finished == base / "OSA/Closer/20200127/v0.1.0/NightFinished.txt"


def test_locks_of_tasks_and_night_differ(layout):
    assert layout.task_lock != layout.night_lock
    assert layout.task_lock.parent == layout.night_lock.parent == layout.analysis_dir


def test_no_path_leaves_the_base(layout, base, sequence):
    paths = [value for name in dir(Layout) if isinstance(value := getattr(layout, name), Path)]
    assert len(paths) > 15
    assert all(path.resolve().is_relative_to(base.resolve()) for path in paths)


def test_the_group_is_one_word(layout):
    assert layout.group == JobGroup("LST1.20200127.v0.1.0", layout.analysis_dir)
