"""What steps say that they read is what lstchain reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from night_states import calibration_sequence, data_sequence
from record_builders import steps_of

from osa.layout import DATACHECK, DL1, DL2, MUONS, Layout
from osa.model.dataset import DatasetKind as Kind
from osa.steps import dl1_to_dl2 as dl1_to_dl2_module
from osa.steps.calibration_plots import calibration_plots
from osa.steps.charge_calibration import charge_calibration
from osa.steps.datacheck import datacheck, merged_datacheck
from osa.steps.dl1_to_dl2 import dl1_to_dl2
from osa.steps.drs4_pedestal import drs4_pedestal
from osa.steps.merge_dl2 import merged_dl2
from osa.steps.r0_to_dl1 import r0_to_dl1
from osa.steps.shipped import ONSITE_CALIBRATION, STANDARD, configured, shipped_configuration
from osa.steps.step import LSTCHAIN, OSA, Step
from osa.steps.time_calibration import reference_time_calibration, time_calibration

RUNS = {"drs4_run": 1872, "calibration_run": 1873}


def stream(layout: Layout, run: int, subrun: int, number: int) -> Path:
    path = layout.raw_file(run, subrun)
    return path.with_name(path.name.replace("LST-1.1.", f"LST-1.{number}."))


@pytest.fixture
def layout(layout: Layout) -> Layout:
    """The night with four streams of each raw file, as the telescope writes them."""
    layout.raw_dir.mkdir(parents=True)
    for run, subruns in ((1872, 1), (1873, 3), (1874, 2)):
        for subrun in range(subruns):
            for number in range(1, 5):
                stream(layout, run, subrun, number).touch()
    return layout


@pytest.fixture
def configure(make_settings, layout):
    """Give the layout with other keys of [LSTCHAIN]; a mapping becomes a file of JSON."""

    def make(**changes: object) -> Layout:
        values = {}
        for key, value in changes.items():
            if isinstance(value, dict | bytes):
                path = layout.raw_dir.parent / f"{key}.json"
                path.write_bytes(value if isinstance(value, bytes) else json.dumps(value).encode())
                value = path
            values["LSTCHAIN", key] = str(value)
        return Layout(make_settings(values), layout.night)

    return make


def read(step: Step, kind: Kind) -> list[Path]:
    return [item.path for item in step.inputs if item.kind is kind]


def streams(layout: Layout, run: int, *subruns: int) -> list[Path]:
    return [stream(layout, run, subrun, number) for subrun in subruns for number in range(1, 5)]


def every_step(layout: Layout) -> list[Step]:
    files = {0: layout.working(DL2, 1874, 0), 1: layout.working(DL2, 1874, 1)}
    sequences = (calibration_sequence(subruns=(0, 1, 2), n_subruns=3), data_sequence(n_subruns=2))
    return [
        *(step for sequence in sequences for _, step in steps_of(layout, sequence)),
        reference_time_calibration(layout, calibration_run=1873, reference=Path("/cfg/reference.h5")),
        merged_dl2(layout, run=1874, subrun_files=files),
        merged_datacheck(layout, run=1874, subrun_files=files, muons_dir=layout.analysis_dir),
    ]


# ------------------------------------------------------------------------------ raw files


def test_a_step_reads_all_streams_of_its_raw_file(layout):
    assert read(drs4_pedestal(layout, 1872), Kind.R0) == streams(layout, 1872, 0)
    assert read(calibration_plots(layout, **RUNS), Kind.R0) == streams(layout, 1872, 0)
    assert read(r0_to_dl1(layout, run=1874, subrun=1, **RUNS), Kind.R0) == streams(layout, 1874, 1)
    step = time_calibration(layout, **RUNS, subruns=(0, 2))
    assert read(step, Kind.R0) == streams(layout, 1873, 0, 2)


def test_a_raw_file_of_one_stream(layout):
    for number in (2, 3, 4):
        stream(layout, 1874, 0, number).unlink()
    expected = [layout.raw_file(1874, 0)]
    assert read(r0_to_dl1(layout, run=1874, subrun=0, **RUNS), Kind.R0) == expected
    layout.raw_file(1874, 0).unlink()  # it is named all the same, so that the record says that it is missing
    assert read(r0_to_dl1(layout, run=1874, subrun=0, **RUNS), Kind.R0) == expected


def test_streams_after_a_gap_are_not_read(layout):
    """lstchain opens one stream after the other until one is not there."""
    stream(layout, 1874, 0, 2).unlink()
    step = r0_to_dl1(layout, run=1874, subrun=0, **RUNS)
    assert read(step, Kind.R0) == [layout.raw_file(1874, 0)]


def test_streams_of_other_subruns_and_runs_are_not_read(layout):
    (layout.raw_dir / "LST-1.2.Run18740.0000.fits.fz").touch()
    (layout.raw_dir / "LST-1.2.Run01874.00001.fits.fz").touch()
    assert read(r0_to_dl1(layout, run=1874, subrun=0, **RUNS), Kind.R0) == streams(layout, 1874, 0)


# ------------------------------------------------------------------------ charge calibration


@pytest.mark.parametrize(
    ("content", "subruns"),
    [
        ({"LSTEventSource": {"MultiFiles": {"all_subruns": True}}}, (0, 1, 2)),
        ({"LSTEventSource": {"MultiFiles": {"all_subruns": False}}}, (0,)),
        ({"LSTEventSource": {"MultiFiles": {}}}, (0,)),
        ({"LSTEventSource": {"MultiFiles": [1]}}, (0,)),
        ({"LSTEventSource": 5}, (0,)),
        ({"all_subruns": True}, (0,)),
        ({}, (0,)),
        (b"no json", (0,)),
        (b"\xff", (0,)),
        (b"[]", (0,)),
    ],
)
def test_subruns_of_the_calibration_run_are_read_as_configured(configure, content, subruns):
    layout = configure(charge_calibration_config=content)
    step = charge_calibration(layout, **RUNS, subruns=(0, 1, 2))
    assert read(step, Kind.R0) == streams(layout, 1873, *subruns)
    card = layout.settings.lstchain.charge_calibration_config
    assert step.configuration == (("charge calibration", card),)


def test_the_shipped_calibration_reads_all_subruns(layout):
    step = charge_calibration(layout, **RUNS, subruns=(0, 1, 2))
    assert read(step, Kind.R0) == streams(layout, 1873, 0, 1, 2)
    assert step.configuration == (("charge calibration", shipped_configuration(ONSITE_CALIBRATION)),)
    assert [item.kind for item in step.inputs[12:]] == [
        Kind.DRS4_PEDESTAL,
        Kind.TIME_CALIBRATION,
        Kind.RUN_SUMMARY,
    ]


def test_systematic_corrections_are_read_where_they_are_configured(configure, tmp_path):
    (tmp_path / "systematics.h5").touch()
    layout = configure(charge_calibration_systematics=tmp_path / "systematics.h5")
    step = charge_calibration(layout, **RUNS, subruns=(0,))
    assert read(step, Kind.SYSTEMATICS) == [tmp_path / "systematics.h5"]
    assert f"--systematics_file={tmp_path / 'systematics.h5'}" in step.arguments


# ------------------------------------------------------------------------------- other inputs


def test_a_time_calibration_reads_pedestal_and_run_summary(layout):
    step = time_calibration(layout, **RUNS, subruns=(0,))
    assert read(step, Kind.DRS4_PEDESTAL) == [layout.drs4_pedestal(1872)]
    assert read(step, Kind.RUN_SUMMARY) == [layout.run_summary]
    assert (len(step.inputs), step.configuration, step.package) == (6, (), LSTCHAIN)


def test_a_reference_is_all_that_its_copy_is_made_of():
    reference = Path("/cfg/reference.h5")

    class Nothing:
        """A layout is asked for a name, and a production."""

        def time_calibration(self, run: int) -> Path:
            return Path(f"/work/time_calibration.Run{run:05d}.0000.h5")

        settings = type("S", (), {"production": type("P", (), {"calibration_prod_id": "v1"})})

    step = reference_time_calibration(Nothing(), calibration_run=1873, reference=reference)
    assert [(item.kind, item.path) for item in step.inputs] == [(Kind.TIME_CALIBRATION, reference)]
    assert (step.configuration, step.package, step.parameters) == ((), OSA, {})


def test_dl1_is_made_of_raw_data_and_what_calibrates_it(layout):
    step = r0_to_dl1(layout, run=1874, subrun=0, **RUNS)
    assert [(item.kind, item.path) for item in step.inputs[4:]] == [
        (Kind.DRS4_PEDESTAL, layout.drs4_pedestal(1872)),
        (Kind.TIME_CALIBRATION, layout.time_calibration(1873)),
        (Kind.CHARGE_CALIBRATION, layout.charge_calibration(1873)),
        (Kind.RUN_SUMMARY, layout.run_summary),
        (Kind.DRIVE_LOG, layout.drive_log),
    ]
    assert step.configuration == (("R0 to DL1", shipped_configuration()),)


def test_the_bending_model_is_read_where_it_lies_beside_the_drive_log(layout):
    folder = layout.settings.telescope.drive_dir
    model = folder / "BendingModelCorrection_log_20200127.txt"

    def found() -> list[Path]:
        return read(r0_to_dl1(layout, run=1874, subrun=0, **RUNS), Kind.BENDING_MODEL)

    assert found() == []
    model.touch()
    assert found() == [model]
    (folder / "drive_log_20_01_27.txt").touch()  # a name from which lstchain finds no bending model
    assert found() == []
    (folder / "DrivePosition_log_20200127.txt").touch()
    assert found() == [model]


def forests(layout: Layout) -> list[str]:
    step = dl1_to_dl2(layout, run=1874, subrun=0)
    found = read(step, Kind.RANDOM_FOREST)
    assert {path.parent for path in found} == {layout.settings.telescope.models_dir}
    return [path.name for path in found]


NORM_SIGN = ["reg_energy.sav", "reg_disp_norm.sav", "cls_disp_sign.sav", "cls_gh.sav"]
VECTOR = ["reg_energy.sav", "reg_disp_vector.sav", "cls_gh.sav"]


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ({"disp_method": "disp_norm_sign"}, NORM_SIGN),
        ({"disp_method": "disp_vector"}, VECTOR),
        ({"disp_method": None}, NORM_SIGN),
        ({"other": 1}, NORM_SIGN),
        ({}, NORM_SIGN),
        (b"no json", NORM_SIGN),
        (b"\xff\xfe", NORM_SIGN),
        (b"[]", NORM_SIGN),
    ],
)
def test_forests_are_those_of_the_configured_method(configure, content, names):
    """Of a configuration that it cannot read lstchain says so, and takes its own."""
    assert forests(configure(dl2_config=content)) == names


def test_forests_of_the_shipped_configuration(layout):
    assert forests(layout) == NORM_SIGN
    assert configured(shipped_configuration(), "disp_method") == "disp_norm_sign"
    step = dl1_to_dl2(layout, run=1874, subrun=0)
    assert read(step, Kind.DL1) == [layout.working(DL1, 1874, 0)]
    assert step.configuration == (("DL1 to DL2", shipped_configuration()),)


def test_what_a_configuration_does_not_say_the_shipped_one_does(configure, monkeypatch, tmp_path):
    (tmp_path / "shipped.json").write_text('{"disp_method": "disp_vector"}')
    monkeypatch.setattr(dl1_to_dl2_module, "shipped_configuration", lambda: tmp_path / "shipped.json")
    assert forests(configure(dl2_config={"other": 1})) == VECTOR
    assert forests(configure(dl2_config={"disp_method": "disp_norm_sign"})) == NORM_SIGN


@pytest.mark.parametrize("name", [STANDARD, ONSITE_CALIBRATION])
def test_shipped_configurations_are_there(name):
    assert isinstance(json.loads(shipped_configuration(name).read_text()), dict)


def test_configured_files_take_the_place_of_those_shipped(configure):
    layout = configure(dl1_config={"x": 1}, dl2_config={"y": 2})
    how = layout.settings.lstchain
    steps = r0_to_dl1(layout, run=1874, subrun=0, **RUNS), dl1_to_dl2(layout, run=1874, subrun=0)
    assert [step.configuration[0][1] for step in steps] == [how.dl1_config, how.dl2_config]
    assert [f"--config={step.configuration[0][1]}" in step.arguments for step in steps] == [True, True]


def test_the_data_check_reads_dl1_and_muons(layout):
    step = datacheck(layout, run=1874, subrun=1)
    assert [(item.kind, item.path) for item in step.inputs] == [
        (Kind.DL1, layout.working(DL1, 1874, 1)),
        (Kind.MUONS, layout.working(MUONS, 1874, 1)),
    ]


def test_merges_read_all_subruns(layout):
    checks = {subrun: layout.final(DATACHECK, 1874, subrun) for subrun in (0, 3)}
    merged = merged_datacheck(layout, run=1874, subrun_files=checks, muons_dir=layout.final_dl1_dir / "muons")
    assert read(merged, Kind.DATACHECK) == list(checks.values())
    assert read(merged, Kind.MUONS) == [layout.final(MUONS, 1874, subrun) for subrun in (0, 3)]
    files = {subrun: layout.final(DL2, 1874, subrun) for subrun in (0, 3)}
    assert read(merged_dl2(layout, run=1874, subrun_files=files), Kind.DL2) == list(files.values())


# --------------------------------------------------------------------------------- every step


def test_there_is_a_kind_and_a_role_for_every_file(layout):
    steps = every_step(layout)
    assert len({step.name for step in steps}) == 9
    for step in steps:
        assert step.products and step.inputs
        for file in (*step.products, *step.inputs):
            assert file.kind is not Kind.OTHER, step.name
            assert isinstance(file.kind, Kind)
        assert all(item.role for item in step.inputs)
        assert len({product.final for product in step.products}) == len(step.products)


def test_every_file_on_a_command_line_is_an_input(layout):
    for step in every_step(layout):
        inputs = {str(item.path) for item in step.inputs}
        inputs |= {str(path) for _, path in step.configuration}
        folders = {str(Path(path).parent) for path in inputs}
        for argument in step.arguments:
            value = argument.partition("=")[2] if argument.startswith("--") else argument
            if value.startswith("/"):
                assert value in inputs | folders, (step.name, argument)


def test_parameters_hold_no_path(configure):
    layout = configure(dl1_config={}, dl2_config={}, charge_calibration_config={})
    base = str(layout.settings.telescope.raw_dir.parent)
    for step in every_step(layout):
        made = {str(product.made) for product in step.products}
        for name, value in step.parameters.items():
            assert base not in value and "/" not in value, (step.name, name)
            assert value not in made | {"."}, (step.name, name)


def test_parameters_are_what_else_a_step_is_told(configure):
    layout = configure(time_calibration_n_combine=4, flatfield_heuristic="yes", drs4_events=123)
    by_name = {step.name: step.parameters for step in every_step(layout)[:7]}
    assert by_name == {
        "drs4_pedestal": {"max-events": "123", "no-progress": "yes", "overwrite": "yes"},
        "time_calibration": {
            "max-events": "20000",
            "n-combine": "4",
            "n-harmonics": "16",
            "tel-id": "1",
            "flatfield-heuristic": "yes",
        },
        "charge_calibration": {
            "LSTEventSource.default_trigger_type": "tib",
            "LSTEventSource.use_flatfield_heuristic": "True",
        },
        "calibration_plots": {"drs4-run": "1872", "calibration-run": "1873", "tel-id": "1"},
        "r0_to_dl1": {"flatfield-heuristic": "yes"},
        "datacheck": {"max-cores": "1", "batch": "yes", "omit-pdf": "yes"},
        "dl1_to_dl2": {},
    }
