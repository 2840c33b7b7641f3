"""Closing a night: whole or not at all, and killed anywhere it ends in the same state."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from night_states import CALIBRATION_RUN, DRS4_RUN
from record_builders import is_provenance

from osa.closing import actions, finish, journal
from osa.closing import night as night_module
from osa.closing.night import Closing
from osa.errors import AnotherInstanceError, InputError, NightNotCompleteError, OsaError
from osa.incidences import add_incidence, read_incidences
from osa.layout import DL1, DL2, MUONS, PRODUCT_KINDS, Layout
from osa.model.job import JobSpec, JobState
from osa.model.sequence import NightPlan
from osa.scheduler.select import select_scheduler

MERGED = [
    f"{prefix}_LST-1.Run0{run}{suffix}"
    for run in (1874, 1875)
    for prefix, suffix in (("datacheck_dl1", ".pdf"), ("datacheck_dl1", ".h5"), ("dl2", ".h5"))
]


def ignore(*_: object) -> None:
    """Take progress."""


def prepare(layout: Layout, **how: object) -> Closing:
    return Closing.prepare(layout, select_scheduler(layout.settings, "local"), **how)  # type: ignore[arg-type]


def perform(layout: Layout, **how: object) -> Closing:
    closing = prepare(layout, **how)
    closing.perform(ignore)
    return closing


def base_of(layout: Layout) -> Path:
    return layout.settings.telescope.raw_dir.parent


def content(layout: Layout) -> dict[str, str]:
    """Hash all that the closing makes and moves; the time of closing is left out."""
    found = {}
    for path in sorted(base_of(layout).rglob("*")):
        if path.is_file() and not path.name.startswith(".night.lock") and path != layout.moves_journal:
            data = b"" if is_provenance(layout, path) else path.read_bytes()
            if path == layout.night_finished:
                data = b"\n".join(line for line in data.split(b"\n") if b"timestamp" not in line)
            found[str(path.relative_to(base_of(layout)))] = hashlib.sha256(data).hexdigest()
    return found


def flags(layout: Layout) -> list[str]:
    return sorted(path.name for path in layout.analysis_dir.glob("*.closed"))


ALL_FLAGS = ["sequence_LST1_01873.closed", "sequence_LST1_01874.closed", "sequence_LST1_01875.closed"]


# ----------------------------------------------------------------------- the whole night


def test_complete_night_is_closed(complete: Layout, plan: NightPlan, merged: list[str]) -> None:
    before = {Path(name).name: digest for name, digest in content(complete).items()}
    closing = perform(complete)
    assert closing.is_complete and closing.whole_night
    for sequence in plan.data:
        for subrun in sequence.subruns:
            for kind in PRODUCT_KINDS:
                assert complete.final(kind, sequence.run, subrun).is_file()
                assert not complete.working(kind, sequence.run, subrun).exists()
    calibration = sorted(path.name for path in complete.final_calibration_dir.iterdir())
    assert calibration == [
        "calibration.Run01873.0000.h5",
        "calibration.Run01873.0000.pdf",
        "drs4_pedestal.Run01872.0000.h5",
        "drs4_pedestal.Run01872.0000.pdf",
        "log",
        "time_calibration.Run01873.0000.h5",
    ]
    assert merged == MERGED
    assert flags(complete) == ALL_FLAGS
    text = complete.night_finished.read_text(encoding="utf-8")
    assert "analysis.finished.data.files.r0=5\n" in text
    assert "analysis.finished.data.files.dl1=3\n" in text
    after = {Path(name).name: digest for name, digest in content(complete).items()}
    assert {name: after[name] for name in before} == before


def test_time_of_closing_is_now(complete: Layout, merged: list[str]) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    perform(complete)
    stamp = complete.night_finished.read_text(encoding="utf-8").split("\n")[0].partition("=")[2]
    assert before <= datetime.fromisoformat(stamp).replace(tzinfo=UTC) <= datetime.now(UTC)
    assert merged == MERGED


def test_calibration_is_moved_last_and_the_night_flagged_at_the_end(complete: Layout) -> None:
    done = [str(action) for action in prepare(complete).actions()]
    kinds = [line.split()[0] for line in done]
    assert kinds == ["move"] * 15 + ["move"] * 5 + ["merge"] * 4 + ["write"] * 7 + ["put"] * 3 + ["write"]
    assert not any("calibration.Run" in line or "drs4" in line for line in done[:15])
    assert done[-1] == f"write {complete.night_finished}"


def test_progress_is_told(complete: Layout, merged: list[str]) -> None:
    told: list[tuple[str, int, int]] = []
    closing = prepare(complete, on_judged=lambda *what: told.append(what))
    closing.perform(lambda *what: told.append(what))
    stages = {stage: [(d, t) for s, d, t in told if s == stage] for stage, *_ in told}
    assert list(stages) == ["judging", "moving products", "merging runs", "writing provenance"]
    assert stages["judging"] == [(1, 3), (2, 3), (3, 3)]
    assert stages["moving products"] == [(number, 20) for number in range(1, 21)]
    assert stages["merging runs"] == [(number, 4) for number in range(5)]
    assert stages["writing provenance"] == [(number, 3) for number in range(1, 4)]


def test_incomplete_night_is_not_complete(complete: Layout) -> None:
    complete.working(DL2, 1875, 0).unlink()
    closing = prepare(complete)
    assert not closing.is_complete
    assert [verdict.missing for verdict in closing.verdicts] == [(), ("no DL2 of sub-runs 0",), ()]


def test_night_without_runs_is_complete_only_if_somebody_says_so(layout: Layout) -> None:
    layout.night_summary.write_text("", encoding="utf-8")
    try:
        closing = prepare(layout)
    except InputError:
        pass  # an empty night summary may be refused
    else:
        assert not closing.is_complete
    layout.night_summary.unlink()
    closing = prepare(layout, without_data="moon")
    assert closing.is_complete and closing.verdicts == ()


def test_different_file_at_the_target_stops_the_closing(complete: Layout, merged: list[str]) -> None:
    target = complete.final(MUONS, 1874, 0)
    target.parent.mkdir(parents=True)
    shutil.copy(complete.working(MUONS, 1874, 1), target)  # readable, and not what we made
    with target.open("r+b") as stream:
        stream.seek(-100, os.SEEK_END)
        stream.write(b"x")
    source = complete.working(MUONS, 1874, 0).read_bytes()
    old = target.read_bytes()
    with pytest.raises(OsaError, match="both are kept"):
        perform(complete)
    assert complete.working(MUONS, 1874, 0).read_bytes() == source
    assert target.read_bytes() == old
    assert (flags(complete), merged, complete.night_finished.exists()) == ([], [], False)


def test_failed_merge_leaves_the_night_open(complete: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        night_module, "perform_merges", lambda *_, **__: ["run 1874: no memory", "run 1875: x"]
    )
    with pytest.raises(NightNotCompleteError, match=r"run 1874: no memory\n  run 1875: x"):
        perform(complete)
    assert flags(complete) == []
    assert not complete.night_finished.exists()
    assert complete.final(DL1, 1874, 0).is_file()  # what was done stays done


def test_live_task_is_under_way(complete: Layout) -> None:
    assert not prepare(complete).is_under_way
    settings = complete.settings
    job = JobSpec("LST1_01875", complete.group, Path("x"), Path("log"), settings.data_job, (0,))
    select_scheduler(settings, "local").submit(job)
    closing = prepare(complete)
    assert closing.is_under_way and not closing.is_complete
    states = {v.state.sequence.run: v.state.state for v in closing.verdicts}
    assert states == {1873: None, 1874: None, 1875: JobState.PENDING}
    assert prepare(complete, run=1875).is_under_way
    assert not prepare(complete, run=1874).is_under_way


def test_only_one_closer_or_sequencer_at_a_time(complete: Layout) -> None:
    closing = prepare(complete)
    with (
        closing.alone(),
        pytest.raises(AnotherInstanceError, match="night 2020-01-27 of LST1"),
        closing.alone(),
    ):
        pass


# ------------------------------------------------------------------------- killed anywhere


def killing(
    function: Callable[..., object], at: int, *, after: bool, calls: list[int]
) -> Callable[..., object]:
    """Let a function be interrupted at a call, before or after it does its work."""

    def wrapped(*arguments: object, **options: object) -> object:
        calls.append(1)
        if len(calls) == at and not after:
            raise KeyboardInterrupt
        result = function(*arguments, **options)
        if len(calls) == at:
            raise KeyboardInterrupt
        return result

    return wrapped


OPERATIONS = {
    "move": [(journal, "bring_file")],
    "write": [(actions, "write_text"), (finish, "write_text")],
    "merge": [(night_module, "perform_merges")],
}


def restored(layout: Layout, saved: Path) -> None:
    """Bring the night back to where it was; files are linked, as nothing changes them in place."""
    shutil.rmtree(base_of(layout))
    shutil.copytree(saved, base_of(layout), copy_function=os.link)


# Before a call the night is as it was after the call before, so both are tried where there are few.
@pytest.mark.usefixtures("merged")
@pytest.mark.parametrize(
    ("operation", "after", "force", "stride"),
    [
        ("move", True, False, 1),
        ("move", False, True, 5),
        ("write", True, False, 1),
        ("write", False, True, 1),
        ("merge", True, False, 1),
        ("merge", False, True, 1),
    ],
)
def test_killed_anywhere_and_done_again_gives_the_same(
    complete: Layout,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    operation: str,
    after: bool,
    force: bool,
    stride: int,
) -> None:
    add_incidence(complete.incidences, complete.night, "LST1", "No plots.")
    if force:
        complete.working(DL2, 1874, 1).unlink()
    saved = tmp_path / "saved"
    shutil.copytree(base_of(complete), saved, copy_function=os.link)
    perform(complete)
    expected = content(complete)
    for at in range(1, 100, stride):
        restored(complete, saved)
        calls: list[int] = []
        with monkeypatch.context() as patch:
            patch.setattr(journal, "_AT_ONCE", 1)
            for module, name in OPERATIONS[operation]:
                patch.setattr(module, name, killing(getattr(module, name), at, after=after, calls=calls))
            closing = prepare(complete)
            try:
                closing.perform(ignore)
            except KeyboardInterrupt:
                pass
            else:
                assert at > len(calls) > 0
                break
        if not complete.night_finished.exists():
            again = prepare(complete)
            assert again.is_complete is not force or again.verdicts[0].state.closed
            again.perform(ignore)
        assert content(complete) == expected, f"killed at {operation} {at}"
    else:
        pytest.fail("never came to an end")


# ------------------------------------------------------------- one run, no data, by force


def test_one_run_is_closed_alone(complete: Layout, merged: list[str]) -> None:
    closing = perform(complete, run=1874)
    assert not closing.whole_night
    assert flags(complete) == ["sequence_LST1_01874.closed"]
    assert merged == MERGED[:3]
    assert complete.final(DL2, 1874, 1).is_file()
    assert complete.working(DL2, 1875, 0).is_file()
    assert complete.drs4_pedestal(DRS4_RUN).is_file()
    assert not complete.night_finished.exists()


def test_runs_closed_one_by_one_then_the_night(complete: Layout, merged: list[str]) -> None:
    for run in (1874, 1875, 1873):
        assert perform(complete, run=run).is_complete
    assert flags(complete) == ALL_FLAGS
    closing = perform(complete)
    assert closing.is_complete
    assert [str(action) for action in closing.actions()] == [f"write {complete.night_finished}"]
    assert merged == MERGED
    assert "data.files.dl2=3\n" in complete.night_finished.read_text(encoding="utf-8")


def test_calibration_is_not_closed_while_runs_need_it(complete: Layout) -> None:
    complete.history(1875, 0).unlink()
    closing = prepare(complete, run=CALIBRATION_RUN)
    assert not closing.is_complete
    assert closing.verdicts[0].missing == ("run(s) 1875 are not done and need it",)
    assert prepare(complete, run=1874).is_complete


def test_run_that_the_night_does_not_have(complete: Layout) -> None:
    with pytest.raises(InputError, match="--seq 4711"):
        prepare(complete, run=4711)


def test_night_without_data(layout: Layout) -> None:
    layout.night_summary.unlink()
    closing = perform(layout, without_data="moon")
    assert closing.whole_night
    text = layout.night_finished.read_text(encoding="utf-8")
    assert "analysis.finished.data.comment=Night closed without data: moon.\n" in text


def test_night_with_data_is_not_one_without(complete: Layout) -> None:
    with pytest.raises(InputError, match=r"1874, 1875"):
        prepare(complete, without_data="weather")


@pytest.mark.usefixtures("merged")
def test_forced_closing_says_what_it_leaves_out(complete: Layout) -> None:
    complete.working(DL2, 1874, 1).unlink()
    add_incidence(complete.incidences, complete.night, "LST1", "No plots.")
    closing = perform(complete)
    assert not closing.is_complete
    said = "LST1_01874 closed although no DL2 of sub-runs 1."
    assert read_incidences(complete.closer_dir / "Incidences.txt") == ("No plots.", said)
    text = complete.night_finished.read_text(encoding="utf-8")
    assert text.endswith(f"data.comment=No plots. {said}\n")
    assert "data.files.dl2=2\n" in text
    assert complete.final(DL1, 1874, 1).is_file()
    assert flags(complete) == ALL_FLAGS


def test_flagged_sequences_are_left_alone(complete: Layout, plan: NightPlan, merged: list[str]) -> None:
    actions.put_closed_flag(complete, plan.data[0]).perform()
    closing = prepare(complete)
    assert closing.verdicts[0].state.closed
    assert replace(closing.verdicts[0].state, closed=False).sequence.run == 1874
    closing.perform(ignore)
    assert merged == MERGED[3:]


@pytest.fixture(autouse=True)
def same_environment() -> Iterator[None]:
    """Closing may not change the environment of the command."""
    before = dict(os.environ)
    yield
    assert {k: v for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"} == {
        k: v for k, v in before.items() if k != "PYTEST_CURRENT_TEST"
    }
