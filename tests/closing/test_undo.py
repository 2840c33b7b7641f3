"""Opening a closed night again, and giving back another night's calibration; killed anywhere."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from night_states import CALIBRATION_RUN, CLOCK, DRS4_RUN
from product_builders import borrow_from_earlier_night
from record_builders import is_provenance

from osa.closing import journal, undo
from osa.closing.night import Closing
from osa.closing.undo import give_back_calibration, late_subruns, reopen, stamp
from osa.cures.other_night import borrow
from osa.errors import OsaError
from osa.incidences import read_incidences
from osa.layout import DATACHECK_PDF, DL1, INTERLEAVED, MUONS, PRODUCT_KINDS, Layout
from osa.model.night import Night
from osa.model.sequence import NightPlan
from osa.nightstate import read_night_state
from osa.nightsummary.plan import plan_night
from osa.scheduler.select import select_scheduler


def close(layout: Layout, run: int | None = None) -> Closing:
    closing = Closing.prepare(layout, select_scheduler(layout.settings, "local"), run=run)
    closing.perform(lambda *_: None)
    return closing


@pytest.fixture
def closed(complete: Layout, merged: list[str]) -> Layout:
    close(complete)
    assert complete.night_finished.exists() and merged
    return complete


def add_raw(layout: Layout, run: int, subrun: int) -> None:
    layout.raw_file(run, subrun).write_bytes(b"raw" * 1000)


def todo(layout: Layout) -> dict[int, tuple[int, ...]]:
    states = read_night_state(layout, plan_night(layout), ())
    return {state.sequence.run: state.todo for state in states}


def content(layout: Layout, *without: str) -> dict[str, str]:
    base = layout.settings.telescope.raw_dir.parent
    found = {}
    for path in sorted(base.rglob("*")):
        if path.is_file() and path.name not in (".night.lock", "moves.journal", *without):
            how = f"-> {path.readlink()}" if path.is_symlink() else ""
            data = b"" if is_provenance(layout, path) else path.read_bytes()
            found[str(path.relative_to(base))] = how + hashlib.sha256(data).hexdigest()
    return found


class Killer:
    """Ends the work at the n-th call of some functions, before or after it."""

    def __init__(self, at: int, *, after: bool) -> None:
        self.at, self.after, self.calls = at, after, 0

    def wrap(self, real: Callable[..., object]) -> Callable[..., object]:
        def work(*arguments: object, **options: object) -> object:
            self.calls += 1
            is_last = self.calls == self.at  # the work may call another that is counted
            if is_last and not self.after:
                raise KeyboardInterrupt
            result = real(*arguments, **options)
            if is_last:
                raise KeyboardInterrupt
            return result

        return work


# -------------------------------------------------------------------------------- late data


def test_nothing_is_late_of_a_night_that_is_open(complete: Layout, plan: NightPlan) -> None:
    add_raw(complete, 1874, 2)
    assert late_subruns(complete, plan_night(complete)) == {}


def test_nothing_is_late_of_a_closed_night(closed: Layout, plan: NightPlan) -> None:
    assert late_subruns(closed, plan) == {}


def test_subruns_that_came_after_the_closing_are_late(closed: Layout) -> None:
    add_raw(closed, 1874, 5)
    add_raw(closed, 1875, 1)
    add_raw(closed, 1875, 2)
    assert late_subruns(closed, plan_night(closed)) == {1874: (5,), 1875: (1, 2)}


def test_late_subruns_of_a_run_that_was_closed_alone(complete: Layout, merged: list[str]) -> None:
    close(complete, 1874)
    add_raw(complete, 1874, 2)
    add_raw(complete, 1875, 1)
    assert late_subruns(complete, plan_night(complete)) == {1874: (2,)}


def test_left_out_subruns_are_not_late_when_they_are_taken_in_again(
    complete: Layout, merged: list[str]
) -> None:
    complete.left_out.write_text("[leave out]\n01874.0001 = no pointing\n", "utf-8")
    close(complete)
    complete.left_out.unlink()
    assert late_subruns(complete, plan_night(complete)) == {}


@pytest.mark.parametrize("alone", [None, 1874])
def test_left_out_subrun_of_which_the_raw_file_grew_is_late(
    complete: Layout, merged: list[str], alone: int | None
) -> None:
    """It may have been left out because it was on its way."""
    complete.left_out.write_text("[leave out]\n01874.0001 = last sub-run cut short\n", "utf-8")
    close(complete, alone)
    assert late_subruns(complete, plan_night(complete)) == {}
    with complete.raw_file(1874, 1).open("ab") as stream:
        stream.write(b"more")
    assert late_subruns(complete, plan_night(complete)) == {1874: (1,)}


def test_run_that_came_after_the_closing_is_late(closed: Layout) -> None:
    with closed.night_summary.open("a", encoding="utf-8") as stream:
        stream.write("01880    2 DATA  2020-01-27 22:44:13 nan nan nan nan nan nan\n")
    add_raw(closed, 1880, 0)
    assert late_subruns(closed, plan_night(closed)) == {1880: (0,)}


@pytest.mark.parametrize("content", ["", "closed by an older closer\n"])
def test_of_a_flag_that_does_not_tell_nothing_is_known(closed: Layout, plan: NightPlan, content: str) -> None:
    closed.closed(plan.data[0]).write_text(content, "utf-8")
    add_raw(closed, 1874, 5)
    assert late_subruns(closed, plan_night(closed)) == {}


# ---------------------------------------------------------------------------------- reopen


def test_reopened_night_keeps_its_products_and_takes_in_what_is_late(closed: Layout) -> None:
    products = content(closed)
    add_raw(closed, 1874, 2)
    finished = closed.night_finished.read_text("utf-8")
    plan = plan_night(closed)
    reopen(closed, plan, plan.sequences, clock=CLOCK)
    assert todo(closed) == {1873: (), 1874: (2,), 1875: ()}
    assert not closed.night_finished.exists()
    kept = closed.closer_dir / "NightFinished.20200128T060000.txt"
    assert kept.read_text("utf-8") == finished
    after = content(closed)
    moved = [name for name in products if after.get(name) != products[name]]
    assert all(name.endswith((".closed", "NightFinished.txt", "Incidences.txt")) for name in moved)
    assert read_incidences(closed.incidences) == (
        "Opened again at 2020-01-28 06:00:00 UTC: run(s) 01873, 01874, 01875 "
        "(sub-runs 2 of run 01874 came late).",
    )


def test_calibration_is_at_hand_again_where_tasks_look_for_it(closed: Layout, plan: NightPlan) -> None:
    working = [
        closed.drs4_pedestal(DRS4_RUN),
        closed.time_calibration(CALIBRATION_RUN),
        closed.charge_calibration(CALIBRATION_RUN),
    ]
    assert not any(path.exists() for path in working)
    reopen(closed, plan, plan.data, clock=CLOCK)
    assert all(path.is_symlink() and path.is_file() for path in working)
    assert all(path.resolve().parent == closed.final_calibration_dir for path in working)


def test_night_can_be_closed_again_after_it_was_opened(closed: Layout, plan: NightPlan) -> None:
    names = ("NightFinished.txt", "Incidences.txt")
    before = content(closed, *names)
    reopen(closed, plan, plan.sequences, clock=CLOCK)
    assert close(closed).is_complete
    after = content(closed, *names, "NightFinished.20200128T060000.txt")
    links = {name: how for name, how in after.items() if how.startswith("->")}
    assert {name: how for name, how in after.items() if name not in links} == before
    assert len(links) == 3  # those to the calibration
    assert "Opened again at" in closed.night_finished.read_text("utf-8")


def test_one_run_is_opened_and_the_others_stay_closed(closed: Layout, plan: NightPlan) -> None:
    reopen(closed, plan, [plan.data[1]], clock=CLOCK)
    assert sorted(path.name for path in closed.analysis_dir.glob("*.closed")) == [
        "sequence_LST1_01873.closed",
        "sequence_LST1_01874.closed",
    ]
    assert not closed.night_finished.exists()
    assert close(closed).is_complete


def test_opening_twice_keeps_both_flags(closed: Layout, plan: NightPlan) -> None:
    reopen(closed, plan, plan.sequences, clock=CLOCK)
    close(closed)
    reopen(closed, plan, plan.sequences, clock=CLOCK + timedelta(seconds=1))
    assert sorted(path.name for path in closed.closer_dir.glob("NightFinished*")) == [
        f"NightFinished.{stamp(CLOCK)}.txt",
        f"NightFinished.{stamp(CLOCK + timedelta(seconds=1))}.txt",
    ]


@pytest.mark.usefixtures("no_flush")
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(1, 12))
def test_opening_that_is_killed_is_done_again(
    closed: Layout, plan: NightPlan, monkeypatch: pytest.MonkeyPatch, at: int, after: bool
) -> None:
    killer = Killer(at, after=after)
    with monkeypatch.context() as patch:
        patch.setattr(undo, "link_file", killer.wrap(undo.link_file))
        patch.setattr(undo, "note_incidence", killer.wrap(undo.note_incidence))
        patch.setattr(Path, "unlink", killer.wrap(Path.unlink))
        patch.setattr(Path, "rename", killer.wrap(Path.rename))
        with pytest.raises(KeyboardInterrupt):
            reopen(closed, plan, plan.sequences, clock=CLOCK)
    flags = list(closed.analysis_dir.glob("*.closed"))
    # No night is finished that has runs that are open.
    assert not closed.night_finished.exists() or len(flags) == 3
    reopen(closed, plan, plan.sequences, clock=CLOCK)
    assert not list(closed.analysis_dir.glob("*.closed"))
    assert [path.name for path in closed.closer_dir.glob("NightFinished*")] == [
        "NightFinished.20200128T060000.txt"
    ]
    assert todo(closed) == {1873: (), 1874: (), 1875: ()}
    assert not any("came late" in line for line in read_incidences(closed.incidences))
    assert close(closed).is_complete


def test_second_opening_does_not_say_that_all_came_late(
    closed: Layout, plan: NightPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", Killer(1, after=False).wrap(Path.rename))
        with pytest.raises(KeyboardInterrupt):
            reopen(closed, plan, plan.sequences, clock=CLOCK)
    reopen(closed, plan, plan.sequences, clock=CLOCK)
    assert not any("came late" in line for line in read_incidences(closed.incidences))


# -------------------------------------------------------------------------------- giving back


@pytest.fixture
def borrowed(complete: Layout) -> Layout:
    """The night, with data that was made with the calibration of two days before."""
    borrow_from_earlier_night(complete)
    return complete


def killed_after_unlink(path: Path, missing_ok: bool = False) -> None:
    os.unlink(path)
    raise KeyboardInterrupt


def data_files(layout: Layout) -> list[str]:
    """What there is of DATA, in work and in final places."""
    plan = plan_night(layout)
    found = []
    for sequence in plan.data:
        for kind in (*PRODUCT_KINDS, INTERLEAVED, DATACHECK_PDF):
            for subrun in (*range(5), None):
                paths = [layout.final(kind, sequence.run, subrun)]
                if subrun is not None:
                    paths.append(layout.working(kind, sequence.run, subrun))
                found += [path.name for path in paths if path.exists()]
    return sorted(found)


def give_back(layout: Layout, clock: datetime = CLOCK) -> int:
    other = plan_night(layout).borrowed
    assert other is not None
    return give_back_calibration(layout, other, clock=clock)


def test_giving_back_sets_all_data_aside(borrowed: Layout) -> None:
    before = data_files(borrowed)
    digests = {Path(name).name: how for name, how in content(borrowed).items()}
    assert len(before) == 15
    assert give_back(borrowed) == 15
    folder = borrowed.set_aside_dir / "20200128T060000"
    assert sorted(path.name for path in folder.iterdir()) == before
    assert data_files(borrowed) == []
    after = {Path(name).name: how for name, how in content(borrowed).items()}
    assert {name: after[name] for name in before} == {name: digests[name] for name in before}
    assert todo(borrowed) == {1873: (0,), 1874: (0, 1), 1875: (0,)}
    assert plan_night(borrowed).borrowed is None
    assert not any(path.is_symlink() for path in borrowed.analysis_dir.iterdir())
    assert "15 file(s)" in read_incidences(borrowed.incidences)[-1]


def test_other_nights_files_are_not_touched(borrowed: Layout) -> None:
    other = Layout(borrowed.settings, Night(borrowed.night.date - timedelta(days=2)))
    before = {path.name: path.stat().st_mtime_ns for path in other.final_calibration_dir.iterdir()}
    give_back(borrowed)
    assert {path.name: path.stat().st_mtime_ns for path in other.final_calibration_dir.iterdir()} == before
    assert len(before) == 3


def test_giving_back_takes_the_flags_and_links_of_closed_runs_away(
    borrowed: Layout, merged: list[str]
) -> None:
    close(borrowed)
    assert sum(path.is_symlink() for path in borrowed.final_calibration_dir.iterdir()) == 3
    plan = plan_night(borrowed)
    reopen(borrowed, plan, plan.sequences, clock=CLOCK)
    give_back(borrowed)
    assert list(borrowed.final_calibration_dir.iterdir()) == []
    assert todo(borrowed) == {1873: (0,), 1874: (0, 1), 1875: (0,)}
    left = [name for name in data_files(borrowed) if not name.endswith(".pdf")]
    assert left == []


def test_giving_back_with_a_run_closed_alone(borrowed: Layout, merged: list[str]) -> None:
    close(borrowed, 1874)
    give_back(borrowed)
    assert list(borrowed.analysis_dir.glob("*.closed")) == []
    assert todo(borrowed)[1874] == (0, 1)


def test_giving_back_leaves_no_plot_of_the_data_in_place(borrowed: Layout, merged: list[str]) -> None:
    close(borrowed, 1874)
    give_back(borrowed)
    assert data_files(borrowed) == []


def test_giving_back_can_be_done_twice_in_a_night(borrowed: Layout) -> None:
    other = plan_night(borrowed).borrowed
    assert other is not None
    give_back(borrowed)
    borrow(borrowed, other, "cannot be had", clock=CLOCK)
    made = borrowed.working(DL1, 1874, 0)
    made.write_text("made with the other once more")
    assert give_back(borrowed, CLOCK + timedelta(days=1)) == 1
    assert len(list(borrowed.set_aside_dir.rglob(made.name))) == 2


@pytest.mark.usefixtures("no_flush", "small_batches")
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", [1, 2, 7, 14, 15, 16, 17, 18, 19, 20])
def test_giving_back_that_is_killed_is_done_again(
    borrowed: Layout, monkeypatch: pytest.MonkeyPatch, at: int, after: bool
) -> None:
    before = data_files(borrowed)
    killer = Killer(at, after=after)
    with monkeypatch.context() as patch:
        patch.setattr(journal, "_AT_ONCE", 1)
        patch.setattr(journal, "bring_file", killer.wrap(journal.bring_file))
        patch.setattr(undo, "note_incidence", killer.wrap(undo.note_incidence))
        patch.setattr(Path, "unlink", killer.wrap(Path.unlink))
        with pytest.raises(KeyboardInterrupt):
            give_back(borrowed)
    serves = borrowed.borrowed_calibration.exists()
    if serves:  # it is said last that the other does not serve
        give_back(borrowed, CLOCK + timedelta(minutes=1))
        assert not any(path.is_symlink() for path in borrowed.analysis_dir.iterdir())
    assert data_files(borrowed) == []
    assert sorted(path.name for path in borrowed.set_aside_dir.rglob("*.*")) == before
    assert plan_night(borrowed).borrowed is None
    assert borrowed.own_calibration.exists()


def test_giving_back_that_is_killed_at_its_end_leaves_no_misleading_links(
    borrowed: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        # The note is the first of what is deleted that is no journal.
        patch.setattr(undo, "write_text", lambda *_: patch.setattr(Path, "unlink", killed_after_unlink))
        with pytest.raises(KeyboardInterrupt):
            give_back(borrowed)
    if plan_night(borrowed).borrowed is not None:
        give_back(borrowed)
    final = borrowed.final_calibration_dir
    assert not final.exists() or not any(path.is_symlink() for path in final.iterdir())


def test_file_that_cannot_be_set_aside_keeps_the_other_calibration(borrowed: Layout) -> None:
    folder = borrowed.set_aside_dir / stamp(CLOCK)
    folder.mkdir(parents=True)
    (folder / borrowed.working(MUONS, 1874, 0).name).write_text("something else")
    with pytest.raises(OsaError, match="both are kept"):
        give_back(borrowed)
    assert plan_night(borrowed).borrowed is not None
    assert borrowed.working(MUONS, 1874, 0).exists()


def test_nothing_made_yet_gives_back_the_links_alone(borrowed: Layout) -> None:
    for kind in (*PRODUCT_KINDS, INTERLEAVED):
        for path in borrowed.analysis_dir.glob(f"{kind.prefix}_*"):
            path.unlink()
    assert give_back(borrowed) == 0
    assert not borrowed.set_aside_dir.exists()
    assert plan_night(borrowed).borrowed is None
