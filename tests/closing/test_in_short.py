"""Why a night is not closed, in two lines: the right reason, where to look, and commands that work."""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta

import pytest
from failed_tries import Failures
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from made_up_scheduler import MadeUpScheduler
from night_states import calibration_sequence, data_sequence, record

from osa.cli import closer, sequencer
from osa.closing.cure import Cures
from osa.closing.in_short import InShort, in_short
from osa.closing.night import Closing
from osa.config import load_settings
from osa.flags import put_veto
from osa.layout import DL2, PRODUCT_KINDS, Layout
from osa.model.job import JobState, TaskRecord
from osa.model.sequence import Sequence
from tests.closing.conftest import RAW, SUMMARY

COMMAND = re.compile(
    r"\b(?:closer|sequencer|nightsummary)(?: -{1,2}[a-z][a-z-]*(?: (?:\d[\d_.]*|moon))?| [A-Z]+\d+)+"
)


def short(layout: Layout, records: Iterable[TaskRecord] = ()) -> InShort:
    """Say it of the night as it is."""
    scheduler = MadeUpScheduler(known=list(records))
    closing = Closing.prepare(layout, scheduler)
    assert not closing.is_complete
    return in_short(closing, closing.cures(scheduler))


def commands(said: InShort) -> list[str]:
    """Find the commands that are named, each as far as it is one."""
    return COMMAND.findall(f"{said.what} / {said.todo}")


def without(layout: Layout, *labels: str) -> None:
    """Take the runs of some types out of the night summary."""
    lines = layout.night_summary.read_text("utf-8").splitlines(keepends=True)
    kept = [line for line in lines if not any(f" {label} " in line for label in labels)]
    assert len(kept) < len(lines)
    layout.night_summary.write_text("".join(kept), "utf-8")


@pytest.fixture
def begun(layout: Layout) -> Layout:
    """A night on which the sequencer was, and of which nothing is made yet."""
    layout.night_lock.parent.mkdir(parents=True)
    layout.night_lock.touch()
    return layout


@pytest.fixture
def of_second(begun: Layout) -> Layout:
    """The same of a second telescope."""
    path = begun.settings.path
    text = path.read_text("utf-8").replace("[LST1]", "[LST2]").replace("tel_id = 1", "tel_id = 2")
    path.write_text(text, "utf-8")
    layout = Layout(load_settings(path, "LST2"), begun.night)
    for run, subruns in RAW.items():
        for subrun in range(subruns):
            begun.raw_file(run, subrun).rename(layout.raw_file(run, subrun))
    return layout


@pytest.fixture
def lacking(complete: Layout) -> Layout:
    """A night of which the products of a sub-run are missing."""
    complete.night_lock.touch()
    complete.history(1874, 1).unlink()
    for kind in PRODUCT_KINDS:
        complete.working(kind, 1874, 1).unlink()
    return complete


# ------------------------------------------------------------------ one of each kind


Night = tuple[Layout, list[TaskRecord]]


def sequence_of(layout: Layout, run: int) -> Sequence:
    made = calibration_sequence() if run == 1873 else data_sequence(run)
    return replace(made, telescope=layout.settings.telescope_name)


def tries_of(layout: Layout, run: int = 1874) -> Failures:
    return Failures(layout, sequence_of(layout, run))


def veto(layout: Layout, run: int = 1874) -> None:
    put_veto(layout, sequence_of(layout, run), "too many tries")


def raw_files_arrive(layout: Layout) -> Night:
    arrival = replace(layout.settings.arrival, quiet_minutes=timedelta(minutes=15))
    return Layout(replace(layout.settings, arrival=arrival), layout.night), []


def no_data_run(layout: Layout) -> Night:
    without(layout, "DATA")
    return layout, []


def no_calibration_run(layout: Layout) -> Night:
    without(layout, "CALI")
    return layout, []


def no_drs4_run(layout: Layout) -> Night:
    without(layout, "DRS4")
    return layout, []


def vetoed(layout: Layout) -> Night:
    tries = tries_of(layout)
    tries.add(log="broken")
    veto(layout)
    return layout, tries.records


def lost_raw_files(layout: Layout) -> Night:
    layout.raw_file(1874, 1).unlink()
    return layout, []


def at_work(layout: Layout) -> Night:
    tries = tries_of(layout)
    tries.add(JobState.RUNNING)
    return layout, tries.records


def nobody_knows(layout: Layout) -> Night:
    tries = tries_of(layout)
    tries.add(JobState.UNKNOWN)
    return layout, tries.records


def a_stranger(layout: Layout) -> Night:
    return layout, [record(f"{layout.settings.telescope_name}_04711", state=JobState.RUNNING)]


def add_run(layout: Layout, row: str) -> None:
    layout.night_summary.write_text(f"{layout.night_summary.read_text('utf-8')}{row}\n", "utf-8")


def type_unknown(layout: Layout) -> Night:
    add_run(layout, "01876 7 ERROR 2020-01-27 21:30:00 nan nan nan nan nan nan")
    return layout, []


def not_in_the_summary(layout: Layout) -> Night:
    layout.raw_file(1880, 0).write_bytes(b"raw")
    return layout, []


def nothing_made(layout: Layout) -> Night:
    return layout, []


KINDS: dict[Callable[[Layout], Night], str] = {
    vetoed: "run(s) 01874 failed too often and wait(s) for a person",
    raw_files_arrive: "raw files are still arriving: ",
    type_unknown: "the type of run 01876 (7 sub-runs) is not known",
    no_data_run: "it has no DATA run that can be processed",
    no_calibration_run: "there is no usable calibration run, and run(s) 01874, 01875 wait(s) for it",
    no_drs4_run: "there is no usable DRS4 run, and run(s) 01874, 01875 wait(s) for it",
    lost_raw_files: "raw files of run 01874 are missing: sub-runs 1",
    not_in_the_summary: "the night summary does not have 1 run(s) with raw files (01880)",
    at_work: "1 task(s) are not done",
    nobody_knows: "1 task(s) are not done",
    a_stranger: "",
    nothing_made: "LST1_01874: no DL1 of sub-runs 0-1 (and 8 more)",
}
NAME_NO_COMMAND = (raw_files_arrive, lost_raw_files)
kinds = pytest.mark.parametrize("make", KINDS)


@kinds
def test_what_is_wrong(begun: Layout, make: Callable[[Layout], Night]) -> None:
    what = short(*make(begun)).what
    assert what.startswith(KINDS[make])
    assert not what.startswith("0 ")


@kinds
def test_each_is_one_line(begun: Layout, make: Callable[[Layout], Night]) -> None:
    said = short(*make(begun))
    for line in (said.what, said.todo):
        assert line.isprintable(), repr(line)
        assert line == line.strip() != ""
        assert not line.endswith(".")  # who writes the report ends the sentence


@kinds
def test_commands_can_be_called_for_this_night(begun: Layout, make: Callable[[Layout], Night]) -> None:
    said = short(*make(begun))
    named = re.findall(r"\b(?:closer|sequencer|nightsummary) -", f"{said.what} / {said.todo}")
    assert len(commands(said)) == len(named)
    assert bool(named) is (make not in NAME_NO_COMMAND)
    for command in commands(said):
        name, *words = shlex.split(command)
        given = importlib.import_module(f"osa.cli.{name}")._parser().parse_args(words)
        assert given.date == "2020_01_27", f"works on another night: {command}"


@kinds
def test_commands_are_for_this_telescope(of_second: Layout, make: Callable[[Layout], Night]) -> None:
    """Without a name they work on LST1."""
    for command in commands(short(*make(of_second))):
        name, *words = shlex.split(command)
        given = importlib.import_module(f"osa.cli.{name}")._parser().parse_args(words)
        assert given.telescope == "LST2", command


@pytest.mark.parametrize(
    ("make", "called"),
    [
        (no_data_run, ["closer -d 2020_01_27 -r moon"]),
        (no_calibration_run, ["closer -f -d 2020_01_27"]),
        (no_drs4_run, ["closer -f -d 2020_01_27"]),
        (vetoed, ["sequencer -d 2020_01_27 --unveto 1874"]),
        (type_unknown, ["nightsummary -s -d 2020_01_27"]),
        (not_in_the_summary, ["nightsummary -d 2020_01_27"]),
        (at_work, ["sequencer -s -d 2020_01_27"]),
        (nothing_made, ["closer -s -d 2020_01_27", "closer -f -d 2020_01_27"]),
    ],
)
def test_which_commands_help(begun: Layout, make: Callable[[Layout], Night], called: list[str]) -> None:
    assert [command.removesuffix(" LST1") for command in commands(short(*make(begun)))] == called


# ------------------------------------------------------------------------- each in detail


def test_first_comes_what_only_a_person_can_do_then_what_is_awaited(begun: Layout) -> None:
    layout, _ = raw_files_arrive(begun)
    without(layout, "CALI")
    type_unknown(layout)
    veto(layout)
    assert short(layout).what == KINDS[vetoed]
    layout.veto(sequence_of(layout, 1874)).unlink()
    said = short(layout)
    assert re.match(
        r"raw files are still arriving: \d raw file\(s\) changed less than 15 minutes ago", said.what
    )
    assert said.todo == f"see to their transfer into {layout.raw_dir}; the rest goes by itself"
    layout, _ = nothing_made(begun)
    assert short(layout).what == KINDS[type_unknown]


@pytest.mark.parametrize(("subruns", "is_asked"), [(5, False), (6, True)])
def test_short_run_of_unknown_type_is_not_asked_for(begun: Layout, subruns: int, is_asked: bool) -> None:
    add_run(begun, f"01876 {subruns} ERROR 2020-01-27 21:30:00 nan nan nan nan nan nan")
    assert ("01876" in short(begun).what) is is_asked


def test_several_runs_of_unknown_type(begun: Layout) -> None:
    for number in (6, 7, 8):
        add_run(begun, f"0187{number} 9 ERROR 2020-01-27 22:0{number}:00 nan nan nan nan nan nan")
    said = short(begun)
    assert said.what == "the type of run 01876 (9 sub-runs) is not known, nor of 2 more"
    assert f"say below [types] of {begun.override} what it is, or leave it out there" in said.todo


def test_what_the_operator_says_of_a_run_answers_the_question(begun: Layout) -> None:
    type_unknown(begun)
    begun.override.write_text("[types]\n1876 = DRS4\n", "utf-8")
    assert "01876" not in short(begun).what


def test_night_without_data_may_be_closed_for_each_reason_that_the_command_knows(begun: Layout) -> None:
    said = short(*no_data_run(begun))
    reasons = re.search(r" -r (\w+), (\w+) or (\w+);", said.todo)
    assert reasons is not None
    assert reasons.groups() == closer.REASONS
    assert said.todo.endswith(f"tell the types of runs in {begun.override}")


def test_run_that_lacks_only_its_raw_files_is_asked_for(begun: Layout) -> None:
    begun.raw_file(1873, 0).unlink()
    said = short(begun)
    assert said.what.startswith("there is no usable calibration run, and run(s) 01874, 01875 wait(s) for it")
    assert said.todo.startswith(
        f"put its raw files into {begun.raw_dir}, or choose a run in {begun.override}"
    )


def test_why_no_other_night_serves_is_said(begun: Layout) -> None:
    without(begun, "CALI")
    assert short(begun).what.endswith("; none of the 7 night(s) before has one")
    begun.own_calibration.touch()
    assert "; an operator wants that and no other (calibration.own; remove" in short(begun).what


def test_night_without_both_calibration_runs(begun: Layout) -> None:
    without(begun, "CALI", "DRS4")
    assert short(begun).what.startswith("there is no usable calibration run, ")


def test_veto_names_the_log_of_the_last_try(begun: Layout) -> None:
    tries = tries_of(begun)
    tries.add(log="first")
    last = tries.add(log="second")
    veto(begun)
    log = begun.job_log(last.name, last.job_id, last.task)
    assert log.read_text("utf-8").endswith("second\n")
    assert short(begun, tries.records).todo.startswith(f"look at {log}, cure the cause, and ")


def test_veto_names_the_log_of_a_try_that_failed(begun: Layout) -> None:
    """Other sub-runs of the same job may have succeeded."""
    tries = tries_of(begun)
    failed = tries.add(task=0, log="broken", job_id="7")
    tries.add(JobState.COMPLETED, task=1, log="fine", job_id="7", exit_code=0)
    veto(begun)
    log = begun.job_log(failed.name, failed.job_id, failed.task)
    assert short(begun, tries.records).todo.startswith(f"look at {log}, ")


def test_veto_of_the_calibration(begun: Layout) -> None:
    tries = tries_of(begun, 1873)
    failed = tries.add(log="broken")
    veto(begun, 1873)
    said = short(begun, tries.records)
    assert said.what == "run(s) 01873 failed too often and wait(s) for a person"
    assert said.todo.startswith(f"look at {begun.job_log(failed.name, failed.job_id, None)}, ")
    assert commands(said)[0].startswith("sequencer -d 2020_01_27 --unveto 1873")


def test_veto_without_a_job_names_the_folder_of_the_logs(begun: Layout) -> None:
    veto(begun)
    assert short(begun).todo.startswith(f"look at {begun.log_dir}, cure the cause, and ")


def test_veto_of_an_operator_is_no_failure(begun: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    call = ["-c", str(begun.settings.path), "-d", "2020_01_27", "--veto", "1874", "--reason", "moon"]
    assert sequencer.main(call) == 0
    said = short(begun)
    assert "01874" in said.what
    assert "failed" not in said.what


def test_log_and_command_are_of_the_same_run(begun: Layout) -> None:
    """One run an operator wanted to be left alone; the other failed."""
    call = ["-c", str(begun.settings.path), "-d", "2020_01_27", "--veto", "1874", "--reason", "moon"]
    assert sequencer.main(call) == 0
    tries = tries_of(begun, 1875)
    failed = tries.add(log="broken")
    veto(begun, 1875)
    said = short(begun, tries.records)
    assert f"look at {begun.job_log(failed.name, failed.job_id, failed.task)}, " in said.todo
    assert "--unveto 1875" in said.todo


def many_runs(layout: Layout, count: int) -> list[int]:
    """Give the night more DATA runs."""
    head = "".join(line for line in SUMMARY.splitlines(keepends=True) if " DATA " not in line)
    line = next(line for line in SUMMARY.splitlines(keepends=True) if " 1 DATA " in line)
    runs = list(range(1874, 1874 + count))
    rows = [line.replace("01875", f"{run:05d}").replace("21:05", f"21:{run - 1870:02d}") for run in runs]
    layout.night_summary.write_text(head + "".join(rows), "utf-8")
    layout.raw_file(1874, 1).unlink()
    for run in runs:
        layout.raw_file(run, 0).write_bytes(b"raw")
    return runs


@pytest.mark.parametrize(
    ("count", "listed"),
    [
        (2, "01874, 01875 failed"),
        (4, "01874, 01875, 01876, 01877 failed"),
        (6, "01874, 01875, 01876, 01877, and 2 more failed"),
    ],
)
def test_many_runs_are_counted(begun: Layout, count: int, listed: str) -> None:
    for run in many_runs(begun, count):
        veto(begun, run)
    assert short(begun).what.startswith(f"run(s) {listed} too often")


def test_lost_raw_files_of_several_runs(begun: Layout) -> None:
    begun.raw_file(1874, 1).unlink()
    begun.raw_file(1875, 0).unlink()
    said = short(begun)
    assert said.what == "raw files of run 01874 are missing: sub-runs 1, and of 1 more run(s)"
    assert said.todo == f"put them into {begun.raw_dir}, or leave them out in {begun.override}"


def test_what_to_do_about_tasks_that_are_not_done(begun: Layout) -> None:
    assert short(*at_work(begun)).todo.endswith(" that they go on; the rest goes by itself")
    unknown = short(*nobody_knows(begun))
    assert unknown.what == "1 task(s) are not done, and nobody knows whether they are alive"
    assert [command.split()[:2] for command in commands(unknown)] == [
        ["sequencer", "-s"],
        ["sequencer", "--cancel"],
    ]
    stranger = short(*a_stranger(begun))
    assert stranger.what.startswith("LST1_04711 may be at work")
    assert [command.split()[:2] for command in commands(stranger)] == [["sequencer", "--cancel"]]


def test_lost_raw_files_come_before_tasks_that_are_at_work(begun: Layout) -> None:
    begun.raw_file(1875, 0).unlink()
    assert short(*at_work(begun)).what.startswith("raw files of run 01875 are missing")


def test_single_thing_that_is_missing_is_not_counted(lacking: Layout) -> None:
    for kind in PRODUCT_KINDS[:-1]:
        lacking.working(kind, 1874, 1).write_text("something", "utf-8")
    assert short(lacking).what == "LST1_01874: no DL2 of sub-runs 1"


def test_damaged_product_is_named(lacking: Layout) -> None:
    damaged = lacking.working(DL2, 1875, 0)
    damaged.write_bytes(b"\x89HDF\r\n\x1a\n and nothing\x1b[31m")
    lacking.history(1874, 1).touch()
    closing = Closing.prepare(lacking, MadeUpScheduler())
    closing = replace(closing, verdicts=tuple(v for v in closing.verdicts if v.state.sequence.run == 1875))
    said = in_short(closing, Cures())
    assert damaged.name in said.what
    assert said.what.isprintable()


def test_remarks_count_too(complete: Layout) -> None:
    closing = Closing.prepare(complete, MadeUpScheduler())
    assert closing.is_complete  # as where its provenance is not
    said = in_short(
        closing, Cures(remarks=("the provenance is not complete", "run 1874 lacks it", "and 1875"))
    )
    assert said.what == "the provenance is not complete (and 2 more)"
    assert in_short(closing, Cures()).what == "it is not known what is missing"


@given(st.text(min_size=1))
@hypothesis_settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_a_remark_says_is_one_line(complete_closing: Closing, remark: str) -> None:
    """What merges and libraries say of a fault is in it."""
    said = in_short(complete_closing, Cures(remarks=(remark,)))
    assert said.what.isprintable()


@pytest.fixture
def complete_closing(complete: Layout) -> Closing:
    return Closing.prepare(complete, MadeUpScheduler())
