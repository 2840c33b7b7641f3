"""From runs to sequences: nothing is lost, and what cannot be done says why."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osa.errors import InputError
from osa.model.night import Night
from osa.model.run import RunEntry
from osa.model.sequence import BorrowedCalibration, NightPlan, SequenceKind
from osa.nightsummary.choice import Request
from osa.nightsummary.extract import extract

Make = Callable[..., RunEntry]
RAW = Path("/raw/20200127")


@pytest.fixture
def night(run_entry: Make) -> tuple[RunEntry, ...]:
    """Two DRS4, two calibration and two DATA runs and one of another type, out of order."""
    return (
        run_entry(1875, "DATA", 60, 3),
        run_entry(1870, "DRS4", 0, 1),
        run_entry(1871, "DRS4", 10, 1),
        run_entry(1872, "PEDCALIB", 20, 2),
        run_entry(1873, "CALI", 30, 2),
        run_entry(1874, "DATA", 40, 2),
        run_entry(1876, "ERROR", 70, 1),
    )


def all_there(runs: tuple[RunEntry, ...]) -> dict[int, tuple[int, ...]]:
    return {entry.run: tuple(range(entry.n_subruns)) for entry in runs}


def plan(runs: tuple[RunEntry, ...], **changes: object) -> NightPlan:
    arguments = {"telescope": "LST1", "raw_dir": RAW, "raw_subruns": all_there(runs)} | changes
    return extract(runs, **arguments)  # type: ignore[arg-type]


def skipped(result: NightPlan) -> dict[int, str]:
    return {run.run: run.reason for run in result.skipped}


def test_a_whole_night(night: tuple[RunEntry, ...]) -> None:
    result = plan(night, pointing=lambda entry: (f"S{entry.run}", "ON"))
    calibration, first, second = result.sequences
    assert (calibration.number, calibration.parent, calibration.run) == (0, None, 1873)
    assert calibration.kind is SequenceKind.CALIBRATION
    assert (calibration.name, calibration.subruns, calibration.n_subruns) == ("LST1_01873", (0, 1), 2)
    assert (calibration.drs4_run, calibration.calibration_run) == (1871, 1873)
    assert (calibration.source, calibration.wobble) == (None, None)
    assert [(s.number, s.parent, s.run) for s in (first, second)] == [(1, 0, 1874), (2, 0, 1875)]
    assert [(s.drs4_run, s.calibration_run) for s in (first, second)] == [(1871, 1873)] * 2
    assert (first.source, first.wobble, second.source) == ("S1874", "ON", "S1875")
    assert all(sequence.blocked is None for sequence in result.sequences)
    assert skipped(result) == {
        1870: "not needed: run 01871 was chosen",
        1872: "not needed: run 01873 was chosen",
        1876: "type ERROR is not processed",
    }


def test_pointing_is_asked_once_for_each_data_sequence(night: tuple[RunEntry, ...]) -> None:
    asked = []

    def pointing(entry: RunEntry) -> tuple[None, None]:
        asked.append(entry.run)
        return None, None

    plan(night, pointing=pointing, left_out={1875: "dark"})
    assert asked == [1874]


def test_gaps_are_reported(night: tuple[RunEntry, ...]) -> None:
    result = plan(night, raw_subruns=all_there(night) | {1875: (0, 2)})
    sequence = result.by_run(1875)
    assert sequence is not None
    assert (sequence.subruns, sequence.absent_subruns, sequence.blocked) == ((0, 2), (1,), None)
    assert sequence.gaps == ()


@pytest.mark.parametrize(("there", "gaps"), [((0, 2, 3), (1,)), ((1, 2, 3), (0,)), ((0, 1, 2), ())])
def test_as_many_files_as_promised_are_all(
    night: tuple[RunEntry, ...], there: tuple[int, ...], gaps: tuple[int, ...]
) -> None:
    """The night summary promises a number: what is missing among them is told, and not waited for."""
    result = plan(night, raw_subruns=all_there(night) | {1875: there})
    sequence = result.by_run(1875)
    assert sequence is not None
    assert (sequence.absent_subruns, sequence.gaps) == ((), gaps)
    said = [remark for remark in result.remarks if "run 01875" in remark]
    assert said == [f"run 01875: no raw file of sub-runs {gap}, and none is promised" for gap in gaps]


def test_data_without_raw_files_is_blocked(night: tuple[RunEntry, ...]) -> None:
    raw = all_there(night)
    del raw[1874]
    result = plan(night, raw_subruns=raw)
    assert [s.blocked for s in result.data] == [f"no raw files in {RAW}", None]
    assert [s.number for s in result.data] == [1, 2]


def test_left_out_runs_are_skipped_with_the_reason(night: tuple[RunEntry, ...]) -> None:
    result = plan(night, left_out={1873: "wrong filter", 1874: "doors $(closed)", 1999: "typo"})
    assert result.choice.calibration_run == 1872
    assert [s.run for s in result.data] == [1875]
    assert result.data[0].number == 1
    assert skipped(result)[1873] == "left out: wrong filter"
    assert skipped(result)[1874] == "left out: doors $(closed)"
    assert "run 01999 is to be left out but is not in the night summary" in result.choice.explanation


@pytest.mark.parametrize(
    ("label", "reason"),
    [("CALI", "no usable calibration run in this night"), ("DRS4", "no usable DRS4 run in this night")],
)
def test_data_is_blocked_without_calibration(night: tuple[RunEntry, ...], label: str, reason: str) -> None:
    labels = {"CALI", "PEDCALIB"} if label == "CALI" else {"DRS4"}
    result = plan(tuple(entry for entry in night if entry.label not in labels))
    assert [s.blocked for s in result.data] == [reason] * 2
    if label == "CALI":
        assert result.calibration is None
        assert [s.parent for s in result.data] == [None, None]
        assert skipped(result)[1871] == "not needed: there is no usable calibration run"
    else:
        assert result.calibration is not None
        assert result.calibration.blocked == reason


def test_all_reasons_are_told(night: tuple[RunEntry, ...]) -> None:
    result = plan(night, raw_subruns={})
    assert result.data[0].blocked == f"no raw files in {RAW}; no usable calibration run in this night"
    assert skipped(result)[1873] == "no raw file of its first sub-run"


def test_night_with_calibration_only(night: tuple[RunEntry, ...]) -> None:
    result = plan(tuple(entry for entry in night if entry.label != "DATA"))
    assert [s.run for s in result.sequences] == [1873]
    assert result.data == ()


def test_empty_night() -> None:
    result = plan(())
    assert (result.sequences, result.skipped) == ((), ())


def test_requests(night: tuple[RunEntry, ...]) -> None:
    result = plan(night, drs4=Request(1870, "given"), calibration=Request(1872, "given"))
    assert result.calibration is not None
    assert (result.calibration.run, result.calibration.drs4_run) == (1872, 1870)
    assert skipped(result)[1871] == "not needed: run 01870 was chosen"
    with pytest.raises(InputError, match="is of type DATA"):
        plan(night, calibration=Request(1874, "given"))


LABELS = st.sampled_from(["DRS4", "CALI", "DATA", "ERROR"])


@given(
    st.lists(st.tuples(LABELS, st.integers(0, 300), st.sets(st.integers(0, 3)), st.booleans()), max_size=12)
)
def test_no_run_is_lost(spec: list[tuple[str, int, set[int], bool]]) -> None:
    evening = datetime(2020, 1, 27, 20, tzinfo=UTC)
    runs = tuple(
        RunEntry(n, 3, label, evening + timedelta(minutes=minute))
        for n, (label, minute, _, _) in enumerate(spec, start=1)
    )
    raw = {n: tuple(sorted(subruns)) for n, (_, _, subruns, _) in enumerate(spec, start=1) if subruns}
    left_out = {n: "no" for n, (*_, out) in enumerate(spec, start=1) if out}
    result = plan(runs, raw_subruns=raw, left_out=left_out)
    shown = [s.run for s in result.sequences] + [run.run for run in result.skipped]
    if result.choice.drs4_run is not None:
        shown.append(result.choice.drs4_run)
    assert sorted(shown) == [entry.run for entry in runs]
    assert [s.number for s in result.data] == list(range(1, len(result.data) + 1))
    usable = result.choice.drs4_run is not None and result.choice.calibration_run is not None
    assert all((s.blocked is None) == (usable and bool(s.subruns)) for s in result.data)


# ------------------------------------------------------------------------ left-out sub-runs


def test_left_out_subruns_are_neither_processed_nor_missed(night: tuple[RunEntry, ...]) -> None:
    raw = all_there(night) | {1875: (0, 2)}
    result = plan(night, raw_subruns=raw, left_out_subruns={(1875, 2): "dark", (1875, 1): "dark"})
    sequence = result.by_run(1875)
    assert sequence is not None
    assert (sequence.subruns, sequence.left_out, sequence.absent_subruns) == ((0,), (1, 2), ())
    assert sequence.blocked is None
    other = result.by_run(1874)
    assert other is not None and (other.subruns, other.left_out) == ((0, 1), ())


def test_left_out_subruns_are_told_by_run_and_reason(night: tuple[RunEntry, ...]) -> None:
    left_out = {(1875, 2): "dark", (1874, 1): "dark", (1875, 0): "dark", (1875, 1): "wet"}
    raw = all_there(night) | {1875: (0, 1, 2, 3)}
    assert plan(night, raw_subruns=raw, left_out_subruns=left_out).remarks == (
        "run 01874: sub-runs 1 left out: dark",
        "run 01875: sub-runs 0, 2 left out: dark",
        "run 01875: sub-runs 1 left out: wet",
    )


def test_subruns_of_a_run_that_is_left_out_need_no_word(night: tuple[RunEntry, ...]) -> None:
    result = plan(night, left_out={1875: "doors"}, left_out_subruns={(1875, 2): "dark"})
    assert (result.remarks, skipped(result)[1875]) == ((), "left out: doors")


def test_subruns_of_a_run_that_the_night_does_not_have_are_told(night: tuple[RunEntry, ...]) -> None:
    result = plan(night, left_out_subruns={(1847, 3): "typing error"})
    assert any("01847" in line for line in (*result.remarks, *result.choice.explanation))


def test_run_whose_subruns_are_all_left_out_does_not_hold_up_the_night(
    night: tuple[RunEntry, ...],
) -> None:
    left_out = {(1875, subrun): "wet" if subrun == 1 else "dark" for subrun in range(3)}
    result = plan(night, left_out_subruns=left_out)
    assert result.by_run(1875) is None
    assert (result.remarks, skipped(result)[1875]) == ((), "left out: dark; wet")
    (run,) = [run for run in result.skipped if run.run == 1875]
    assert not run.waits_for_raw_files


def test_run_of_which_raw_files_are_still_to_come_is_not_left_out_with_the_others(
    night: tuple[RunEntry, ...],
) -> None:
    """What comes is another sub-run; what is left out is not there."""
    result = plan(night, raw_subruns=all_there(night) | {1875: ()}, left_out_subruns={(1875, 0): "dark"})
    sequence = result.by_run(1875)
    assert sequence is not None and sequence.blocked == f"no raw files in {RAW}"


def test_calibration_runs_that_wait_for_raw_files(night: tuple[RunEntry, ...]) -> None:
    result = plan(night, raw_subruns=all_there(night) | {1872: (), 1873: (1,), 1874: ()})
    assert {run.run for run in result.skipped if run.waits_for_raw_files} == {1872, 1873}
    there = plan(night)
    assert not any(run.waits_for_raw_files for run in there.skipped)


def test_calibration_run_without_its_first_subrun_is_passed_over(night: tuple[RunEntry, ...]) -> None:
    result = plan(night, left_out_subruns={(1873, 0): "wrong filter"})
    assert result.choice.calibration_run == 1872
    assert plan(night, left_out_subruns={(1873, 1): "wrong filter"}).choice.calibration_run == 1873


# ------------------------------------------------------------------- another night's calibration

OTHER = BorrowedCalibration(Night.parse("2020_01_25"), 1790, 1791)


def test_borrowed_calibration_serves(night: tuple[RunEntry, ...]) -> None:
    result = plan(night, borrowed=OTHER)
    assert result.calibration is None and result.borrowed == OTHER
    assert [(s.run, s.number, s.parent) for s in result.sequences] == [(1874, 1, None), (1875, 2, None)]
    assert {(s.drs4_run, s.calibration_run, s.blocked) for s in result.sequences} == {(1790, 1791, None)}
    assert "01791" in result.choice.explanation[0] and "2020-01-25" in result.choice.explanation[0]
    assert "--own-calibration" in result.choice.explanation[0]
    why = "not needed: the calibration of the night 2020-01-25 serves"
    assert skipped(result) == {
        **dict.fromkeys((1870, 1871, 1872, 1873), why),
        1876: "type ERROR is not processed",
    }


@pytest.mark.parametrize("labels", [{"CALI", "PEDCALIB"}, {"DRS4"}, {"DRS4", "CALI", "PEDCALIB"}])
def test_borrowed_calibration_serves_where_the_night_has_none(
    night: tuple[RunEntry, ...], labels: set[str]
) -> None:
    result = plan(tuple(entry for entry in night if entry.label not in labels), borrowed=OTHER)
    assert [(s.run, s.blocked) for s in result.sequences] == [(1874, None), (1875, None)]


def test_own_runs_that_are_asked_for_are_not_asked_where_another_serves(night: tuple[RunEntry, ...]) -> None:
    result = plan(night, borrowed=OTHER, drs4=Request(4711, "kept"), left_out={1873: "bad"})
    assert (result.choice.drs4_run, result.choice.calibration_run) == (1790, 1791)
    assert skipped(result)[1873] == "left out: bad"


def test_data_without_raw_files_is_blocked_under_any_calibration(night: tuple[RunEntry, ...]) -> None:
    result = plan(night, borrowed=OTHER, raw_subruns=all_there(night) | {1874: ()})
    assert [s.blocked for s in result.sequences] == [f"no raw files in {RAW}", None]


# ------------------------------------------------------------------------- why a run is an error


def test_reasons_of_errors_are_told(night: tuple[RunEntry, ...]) -> None:
    why = {1876: "12.0% pedestal: neither", 1874: "it was taken for an error, and is none", 1999: "nothing"}
    assert (
        skipped(plan(night, why_errors=why))[1876] == "type ERROR is not processed: 12.0% pedestal: neither"
    )
    assert skipped(plan(night, why_errors={1875: "another"}))[1876] == "type ERROR is not processed"


def test_reason_is_only_for_errors(night: tuple[RunEntry, ...], run_entry: Make) -> None:
    """An edited summary may have other types than were found."""
    moon = run_entry(1877, "MOON", 80, 1)
    result = plan((*night, moon), why_errors={1877: "12.0% pedestal", 1873: "too few events"})
    assert skipped(result)[1877] == "type MOON is not processed"
    assert result.choice.calibration_run == 1873


def test_error_that_is_left_out_has_the_reason_of_who_leaves_it_out(night: tuple[RunEntry, ...]) -> None:
    result = plan(night, why_errors={1876: "too few events"}, left_out={1876: "lid was closed"})
    assert skipped(result)[1876] == "left out: lid was closed"
