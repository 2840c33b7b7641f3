"""What differs between the ways in which two runs were made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from osa.model.dataset import DatasetKind
from osa.provenance.compare import Difference, differences
from osa.provenance.lineage import Lineage, build_lineage
from osa.records.model import MOVE_STEP, ConfigFile, Software, Status, TryRecord
from tests.database.made_up import CONFIG, PROD, VERSIONS, Story, calibrate, file, observe, sha


def told(run: int = 1874, *, content: str = "gains") -> Story:
    story = Story()
    observe(story, calibrate(story, content), run=run)
    return story


def changed(story: Story, step: str, change: Callable[[TryRecord], TryRecord]) -> Lineage:
    return build_lineage(change(record) if record.step == step else record for record in story.records)


def test_runs_made_alike_do_not_differ() -> None:
    found, same = differences(told(1874).lineage, told(1875).lineage)
    assert found == [] and same > 20
    assert differences(told(1874).lineage, told(1874).lineage) == (found, same)


def test_nothing_has_no_differences() -> None:
    assert differences(build_lineage([]), build_lineage([])) == ([], 0)


def other_version(record: TryRecord) -> TryRecord:
    return replace(record, software=replace(record.software, versions={**VERSIONS, "lstchain": "9.9"}))


def one_more_package(record: TryRecord) -> TryRecord:
    return replace(record, software=replace(record.software, versions={**VERSIONS, "numpy": "2.1"}))


def other_environment(record: TryRecord) -> TryRecord:
    return replace(record, software=Software(record.software.versions, "f" * 64))


def other_parameter(record: TryRecord) -> TryRecord:
    return replace(record, parameters={**record.parameters, "tel-id": "2"})


def parameter_less(record: TryRecord) -> TryRecord:
    return replace(record, parameters={"odd": record.parameters["odd"]})


def other_configuration(record: TryRecord) -> TryRecord:
    return replace(record, configuration=(ConfigFile("dl1", "/cfg/standard.json", "a" * 64),))


def no_configuration(record: TryRecord) -> TryRecord:
    return replace(record, configuration=())


def other_production(record: TryRecord) -> TryRecord:
    return replace(record, prod_id="v9")


def other_forest(record: TryRecord) -> TryRecord:
    forest = file("/models/reg_energy.sav", DatasetKind.RANDOM_FOREST, "another")
    return replace(record, inputs=(*record.inputs[:1], forest))


STANDARD = f"standard.json ({CONFIG.sha256[:12] if CONFIG.sha256 else ''})"


@pytest.mark.parametrize(
    ("change", "what", "first", "second"),
    [
        (other_version, "version of lstchain", "0.12.3", "9.9"),
        (one_more_package, "version of numpy", "-", "2.1"),
        (other_environment, "environment", sha("packages")[:12], "ffffffffffff"),
        (other_parameter, "parameter tel-id", "1", "2"),
        (parameter_less, "parameter tel-id", "1", "-"),
        (other_configuration, "configuration dl1", STANDARD, "standard.json (aaaaaaaaaaaa)"),
        (no_configuration, "configuration dl1", STANDARD, "-"),
        (other_production, "production", PROD, "v9"),
        (
            other_forest,
            "input random forest",
            f"reg_energy.sav ({sha('forest')[:12]})",
            f"reg_energy.sav ({sha('another')[:12]})",
        ),
    ],
)
def test_one_thing_that_differs(
    change: Callable[[TryRecord], TryRecord], what: str, first: str, second: str
) -> None:
    ours, theirs = told().lineage, changed(told(1875), "dl1_to_dl2", change)
    expected = Difference("dl1_to_dl2", what, first, second)
    found, same = differences(ours, theirs)
    assert found == [expected]
    back, again = differences(theirs, ours)
    assert back == [replace(expected, first=second, second=first)] and again == same


def test_calibration_with_another_content() -> None:
    found, _ = differences(told().lineage, told(1875, content="other gains").lineage)
    assert {(d.step, d.what) for d in found} == {
        ("charge_calibration", "input DRS4 pedestal"),
        ("r0_to_dl1", "input charge calibration"),
    }


def test_what_each_run_has_for_itself_does_not_count() -> None:
    story = told(1875)
    observe(story, file("/work/2020-01-27/x.h5", DatasetKind.OTHER, "x"), run=1875, subrun=1, content="x")
    steps = {d.what for d in differences(told().lineage, story.lineage)[0]}
    assert not {what for what in steps if "DL1" in what or "raw" in what}


def test_step_that_only_one_has() -> None:
    story = told(1875)
    story.add("merge_dl2", run=1875, subrun=None)
    found, _ = differences(told().lineage, story.lineage)
    assert {d.step for d in found} == {"merge_dl2"} and {d.first for d in found} == {"-"}
    assert {(d.what, d.second) for d in found} == {("the whole step", "tried")}


def test_moves_tell_nothing() -> None:
    story = told(1875)
    product = story.records[-1].outputs[0]
    story.move((product, "/final/x.h5"), run=1875)
    assert story.records[-1].step == MOVE_STEP
    assert differences(told().lineage, story.lineage)[0] == []


def test_failed_tries_are_counted_and_else_do_not_count() -> None:
    story = told(1875)
    for status in (Status.FAILED, Status.UNFINISHED, Status.FAILED):
        failed = story.add("dl1_to_dl2", run=1875, status=status, versions={**VERSIONS, "lstchain": "0"})
        assert failed.status is status
    found, _ = differences(told().lineage, story.lineage)
    assert found == [Difference("dl1_to_dl2", "tries that failed", "none", "2 failed, 1 unfinished")]


def test_where_all_failed_they_tell_how_it_was_tried() -> None:
    story = Story()
    story.add("r0_to_dl1", status=Status.FAILED, versions={**VERSIONS, "lstchain": "0"})
    good = Story()
    good.add("r0_to_dl1")
    found, _ = differences(good.lineage, story.lineage)
    assert {(d.what, d.second) for d in found} == {
        ("version of lstchain", "0"),
        ("tries that failed", "1 failed"),
    }


def test_several_values_of_one_run_are_all_told() -> None:
    story = told(1875)
    observe(story, story.records[1].outputs[0], run=1875, subrun=1)
    story.records[-1] = other_version(story.records[-1])
    found, _ = differences(told().lineage, story.lineage)
    assert found == [Difference("dl1_to_dl2", "version of lstchain", "0.12.3", "0.12.3, 9.9")]
