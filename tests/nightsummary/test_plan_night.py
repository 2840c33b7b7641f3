"""A night planned from its files; who has the say on the calibration; and what is imported."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from osa.errors import InputError
from osa.layout import Layout
from osa.model.night import Night
from osa.model.sequence import BorrowedCalibration
from osa.nightsummary.borrowed import write_borrowed
from osa.nightsummary.plan import keep_choice, plan_night
from osa.nightsummary.surveyed import Surveyed, write_surveyed
from osa.survey.run import RunSurvey
from osa.survey.tagging import RunLabel, Tag

NIGHT = """\
01870    1 DRS4  2020-01-27 19:31:44 nan nan nan nan nan nan
01871    1 DRS4  2020-01-27 19:51:44 nan nan nan nan nan nan
01872    1 CALI  2020-01-27 20:13:43 nan nan nan nan nan nan
01873    1 CALI  2020-01-27 20:23:43 nan nan nan nan nan nan
01874    2 DATA  2020-01-27 20:44:13 nan nan nan nan nan nan
01875    2 DATA  2020-01-27 21:05:44 nan nan nan nan nan nan
01876    1 ERROR 2020-01-27 21:45:44 nan nan nan nan nan nan
01877    1 DRS4  2020-01-28 04:51:44 nan nan nan nan nan nan
"""


def fill(layout: Layout, override: str | None = None) -> Layout:
    layout.night_summary.write_text(NIGHT, encoding="ascii")
    for line in NIGHT.splitlines():
        run, subruns, *_ = line.split()
        for subrun in range(int(subruns)):
            layout.raw_file(int(run), subrun).write_bytes(b"x")
    layout.target_log.write_text("0 TrackStart 83.6331 22.0145 Crab\n", encoding="ascii")
    if override is not None:
        layout.override.write_text(override, encoding="utf-8")
    return layout


def test_plans_a_night(layout: Layout) -> None:
    plan = plan_night(fill(layout, "[leave out]\n01875 = doors were closed\n"))
    assert [s.run for s in plan.sequences] == [1873, 1874]
    assert plan.data[0].source == "Crab"
    assert plan.data[0].wobble is None
    assert {run.run: run.reason for run in plan.skipped} == {
        1870: "not needed: run 01871 was chosen",
        1872: "not needed: run 01873 was chosen",
        1875: "left out: doors were closed",
        1876: "type ERROR is not processed",
        1877: "not needed: run 01871 was chosen",
    }


@pytest.mark.parametrize(
    ("given", "override", "configured", "chosen", "said"),
    [
        (None, None, "", 1871, "DRS4 run 01871: the last of 2 before the calibration run 01873"),
        (None, None, "1870", 1870, "DRS4 run 01870: as [CALIBRATION] of "),
        (None, "1877", "1870", 1877, "DRS4 run 01877: as NightSummary_20200127.override says"),
        (None, "1877", "", 1877, "DRS4 run 01877: as NightSummary_20200127.override says"),
        (1870, "1877", "1871", 1870, "DRS4 run 01870: as given with --drs4-run"),
        (1870, None, "", 1870, "DRS4 run 01870: as given with --drs4-run"),
    ],
)
def test_who_has_the_say(
    make_layout: Callable[..., Layout],
    given: int | None,
    override: str | None,
    configured: str,
    chosen: int,
    said: str,
) -> None:
    layout = fill(make_layout(drs4_run=configured), override and f"drs4_run = {override}\n")
    choice = plan_night(layout, drs4_run=given).choice
    assert (choice.drs4_run, choice.calibration_run) == (chosen, 1873)
    assert any(sentence.startswith(said) for sentence in choice.explanation)


def test_calibration_run_is_asked_for_in_the_same_way(layout: Layout) -> None:
    fill(layout, "calibration_run = 1872\n")
    assert plan_night(layout).choice.calibration_run == 1872
    choice = plan_night(layout, calibration_run=1873).choice
    assert "calibration run 01873: as given with --calibration-run" in choice.explanation


def test_contradictions_are_told(layout: Layout) -> None:
    fill(layout, "drs4_run = 1870\n[leave out]\n1870 = bad\n")
    with pytest.raises(InputError, match=r"DRS4 run 01870 \(as NightSummary_20200127.override says\)"):
        plan_night(layout)


def test_missing_night_summary(layout: Layout) -> None:
    with pytest.raises(InputError, match="there is no night summary"):
        plan_night(layout)


def test_faults_of_the_override_stop_the_plan(layout: Layout) -> None:
    with pytest.raises(InputError, match="unknown key"):
        plan_night(fill(layout, "typo = 1\n"))


def test_planning_imports_nothing_heavy() -> None:
    code = (
        "import sys, osa.nightsummary.plan; "
        "print([m for m in ('numpy', 'astropy', 'scipy', 'ctapipe') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


# --------------------------------------------------------- what closer leaves out, and borrows


def test_closer_and_operator_leave_out_together(layout: Layout) -> None:
    fill(layout, "[leave out]\n01875.0000 = doors\n01874.0000 = mine\n")
    layout.left_out.parent.mkdir(parents=True)
    layout.left_out.write_text("# closer\n[leave out]\n01875.0001 = cut short\n01874.0000 = its\n", "utf-8")
    plan = plan_night(layout)
    assert {s.run: (s.subruns, s.left_out) for s in plan.data} == {1874: ((1,), (0,))}
    assert plan.remarks == ("run 01874: sub-runs 0 left out: mine",)  # the operator has the say
    reasons = {run.run: run.reason for run in plan.skipped}
    assert reasons[1875] == "left out: doors; cut short"


def test_run_that_closer_leaves_out(layout: Layout) -> None:
    fill(layout)
    layout.left_out.parent.mkdir(parents=True)
    layout.left_out.write_text("[leave out]\n01875 = no pointing\n", "utf-8")
    plan = plan_night(layout)
    assert [s.run for s in plan.data] == [1874]
    assert {run.run: run.reason for run in plan.skipped}[1875] == "left out: no pointing"


def test_faults_of_what_closer_wrote_are_told_with_its_place(layout: Layout) -> None:
    fill(layout)
    layout.left_out.parent.mkdir(parents=True)
    layout.left_out.write_text("[leave out]\nwhat = no pointing\n", "utf-8")
    with pytest.raises(InputError, match=rf"{layout.left_out}:2: 'what'"):
        plan_night(layout)


OTHER = BorrowedCalibration(Night.parse("2020_01_25"), 1790, 1791)


def test_borrowed_calibration_goes_before_every_choice(layout: Layout) -> None:
    fill(layout, "drs4_run = 1870\n")
    keep_choice(layout, calibration_run=1872)
    write_borrowed(layout.borrowed_calibration, OTHER)
    plan = plan_night(layout)
    assert plan.borrowed == OTHER
    assert {(s.drs4_run, s.calibration_run) for s in plan.sequences} == {(1790, 1791)}


@pytest.mark.parametrize("asked", [{"drs4_run": 1870}, {"calibration_run": 1872}])
def test_choosing_runs_where_another_nights_serve_is_explained(layout: Layout, asked: dict[str, int]) -> None:
    fill(layout)
    write_borrowed(layout.borrowed_calibration, OTHER)
    with pytest.raises(InputError, match=r"2020-01-25 serves.*--own-calibration"):
        plan_night(layout, **asked)


def test_note_that_does_not_tell_stops_the_plan(layout: Layout) -> None:
    fill(layout)
    layout.borrowed_calibration.parent.mkdir(parents=True)
    layout.borrowed_calibration.write_text("{", "utf-8")
    with pytest.raises(InputError, match=f"{layout.borrowed_calibration.name} does not tell"):
        plan_night(layout)


# ------------------------------------------------------------------- types, and reasons of errors


def write_reason(layout: Layout, *runs: int) -> None:
    """Write what nightsummary found: each of these runs is an error."""
    tag = Tag(RunLabel.ERROR, reason="12.0% pedestal: neither")
    surveys = {run: ("", RunSurvey(run, (0,), tag)) for run in runs}
    clock = datetime(2020, 1, 28, tzinfo=UTC)
    write_surveyed(layout.night_survey, Surveyed(surveys), night="2020-01-27", clock=clock)


def test_types_of_the_operator_go_before_those_of_the_summary(layout: Layout) -> None:
    fill(layout, "[types]\n1876 = DATA\n1875 = ERROR\n1873 = ERROR\n1877 = CALI\n1871 = CALI\n")
    write_reason(layout, 1876)
    plan = plan_night(layout)
    assert [s.run for s in plan.sequences] == [1872, 1874, 1876]
    assert (plan.choice.drs4_run, plan.choice.calibration_run) == (1870, 1872)
    reasons = {run.run: run.reason for run in plan.skipped}
    assert reasons[1875] == reasons[1873] == "type ERROR is not processed"
    assert layout.night_summary.read_text("ascii") == NIGHT


def test_run_that_is_asked_for_needs_the_type_that_the_operator_says(layout: Layout) -> None:
    fill(layout, "drs4_run = 1876\n[types]\n1876 = DRS4\n")
    assert plan_night(layout).choice.drs4_run == 1876
    layout.override.write_text("drs4_run = 1870\n[types]\n1870 = DATA\n", "utf-8")
    with pytest.raises(InputError, match="is of type DATA there"):
        plan_night(layout)


def test_type_of_a_run_that_the_night_does_not_have_is_told(layout: Layout) -> None:
    """As with runs that are to be left out: it is a typing error."""
    plan = plan_night(fill(layout, "[types]\n01999 = DATA\n"))
    assert any("01999" in line for line in (*plan.remarks, *plan.choice.explanation))


def test_why_runs_are_errors_is_told(layout: Layout) -> None:
    fill(layout)
    write_reason(layout, 1876, 1875)
    plan = plan_night(layout)
    reasons = {run.run: run.reason for run in plan.skipped}
    assert reasons[1876] == "type ERROR is not processed: 12.0% pedestal: neither"
    assert [s.run for s in plan.data] == [1874, 1875]  # somebody has edited the summary


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": 1}', b"[" * 200_000, b"\xff"])
def test_reasons_that_cannot_be_read_do_not_stop_the_plan(layout: Layout, content: bytes) -> None:
    fill(layout)
    layout.night_survey.write_bytes(content)
    reasons = {run.run: run.reason for run in plan_night(layout).skipped}
    assert reasons[1876] == "type ERROR is not processed"
