"""What an operator changes: vetoes, the own calibration again, a closed night opened again."""

from __future__ import annotations

import io
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from night_states import CALIBRATION_RUN, CLOCK, add_try, calibration_sequence, data_sequence
from product_builders import borrow_from_earlier_night, write_night

from osa.cli import closer as closer_module
from osa.cli import sequencer as sequencer_module
from osa.closing import night as night_module
from osa.flags import read_fresh_start
from osa.incidences import read_incidences
from osa.layout import DL2, Layout
from osa.model.job import JobSpec
from osa.nightsummary.plan import plan_night
from osa.scheduler.select import select_scheduler
from osa.system.locks import only_instance

Capture = pytest.CaptureFixture[str]
Change = Callable[[Layout], None]


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is at a terminal."""
    monkeypatch.setattr("sys.stdin", io.StringIO())


@pytest.fixture
def done(planned: Layout, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A night of which all is done; lstchain's merges are left out."""
    write_night(planned, plan_night(planned))
    monkeypatch.setattr(night_module, "perform_merges", lambda *_, **__: [])
    return planned


@pytest.fixture
def closed(done: Layout, capsys: Capture) -> Layout:
    assert closer(done, "-y") == 0
    capsys.readouterr()
    return done


@pytest.fixture
def borrowed(done: Layout) -> Layout:
    """A night of which all was made with the calibration of two days before."""
    borrow_from_earlier_night(done)
    return done


class Terminal:
    """Somebody is there."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """Somebody answers all questions so; gives the list of what was asked."""

    def make(reply: str) -> list[str]:
        asked: list[str] = []
        monkeypatch.setattr("sys.stdin", Terminal())
        monkeypatch.setattr("builtins.input", lambda question: (asked.append(question), reply)[1])
        return asked

    return make


def sequencer(layout: Layout, *more: str) -> int:
    return sequencer_module.main(["-c", str(layout.settings.path), "-d", "2020_01_27", *more])


def closer(layout: Layout, *more: str) -> int:
    return closer_module.main(["-c", str(layout.settings.path), "-d", "2020_01_27", *more])


def listing(layout: Layout) -> dict[Path, tuple[int, int]]:
    base = layout.settings.telescope.raw_dir.parent
    return {path: (path.lstat().st_mtime_ns, path.lstat().st_size) for path in base.rglob("*")}


def files(layout: Layout) -> dict[Path, tuple[int, int]]:
    """What there is but for what the lock and the scheduler need."""
    return {path: how for path, how in listing(layout).items() if path.is_file() and path.name[0] != "."}


def rows(layout: Layout, capsys: Capture) -> dict[str, dict[str, Any]]:
    capsys.readouterr()
    assert sequencer(layout, "-s", "--json") == 0
    return {row["Run"]: row for row in json.loads(capsys.readouterr().out)["sequences"]}


def submit_one(layout: Layout) -> None:
    job = JobSpec("LST1_01874", layout.group, Path("x"), Path("log"), layout.settings.data_job, (0,))
    select_scheduler(layout.settings, "local").submit(job)


# ---------------------------------------------------------------------------------- vetoes


def test_veto_and_unveto(planned: Layout, capsys: Capture) -> None:
    assert sequencer(planned, "--veto", "1874", "--reason", "moon\n in  the camera") == 0
    assert "LST1_01874 is vetoed; sequencer --unveto 1874 lifts that" in capsys.readouterr().err
    text = planned.veto(data_sequence()).read_text("utf-8")
    assert text.startswith("LST1_01874: by an operator: moon in the camera\n")
    assert {run: row["Action"] for run, row in rows(planned, capsys).items()} == {
        "01873": "Simulate",
        "01874": "Veto",
        "01875": "Simulate",
    }
    assert sequencer(planned, "--unveto", "1874") == 0
    assert "is not vetoed any more" in capsys.readouterr().err
    assert rows(planned, capsys)["01874"]["Action"] == "Simulate"
    assert read_incidences(planned.incidences) == (
        "Run 01874 vetoed by an operator: moon in the camera.",
        "Veto of run 01874 lifted by an operator.",
    )


def test_vetoed_calibration_holds_the_data_back(planned: Layout, capsys: Capture) -> None:
    assert sequencer(planned, "--veto", "1873") == 0
    found = rows(planned, capsys)
    assert {run: row["Action"] for run, row in found.items()} == {
        "01873": "Veto",
        "01874": "Check",
        "01875": "Check",
    }
    assert "1873 is vetoed" in found["01874"]["Note"]


def test_unveto_lets_the_tries_begin_afresh(planned: Layout, capsys: Capture) -> None:
    planned.analysis_dir.mkdir(parents=True)
    for subrun in range(3):
        for _ in range(2):
            add_try(planned, 1874, subrun, "lstchain_data_r0_to_dl1", 1)
    assert rows(planned, capsys)["01874"]["Action"] == "Veto"
    assert sequencer(planned, "--unveto", "1874") == 0
    assert "was not vetoed" in capsys.readouterr().err
    assert rows(planned, capsys)["01874"]["Action"] == "Simulate"
    fresh = read_fresh_start(planned.fresh_start(data_sequence()))
    assert fresh is not None and fresh.when > CLOCK


def test_veto_of_a_run_at_work_says_that_it_goes_on(planned: Layout, capsys: Capture) -> None:
    planned.analysis_dir.mkdir(parents=True)
    submit_one(planned)
    assert sequencer(planned, "--veto", "1874") == 0
    err = capsys.readouterr().err
    assert "1 task(s) of it go on; sequencer --cancel --seq 1874 ends them" in err
    assert planned.veto(data_sequence()).exists()


def test_second_veto_keeps_the_first_reason(planned: Layout, capsys: Capture) -> None:
    sequencer(planned, "--veto", "1874", "--reason", "first")
    assert sequencer(planned, "--veto", "1874", "--reason", "second") == 0
    assert "is vetoed already (LST1_01874: by an operator: first)" in capsys.readouterr().err
    assert "second" not in planned.veto(data_sequence()).read_text("utf-8")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\n"])
def test_veto_of_an_operator_who_made_the_file_by_hand(
    planned: Layout, capsys: Capture, content: bytes
) -> None:
    planned.analysis_dir.mkdir(parents=True)
    planned.veto(data_sequence()).write_bytes(content)
    assert sequencer(planned, "--veto", "1874") == 0
    assert "vetoed already" in capsys.readouterr().err


def test_unveto_of_an_operator_who_made_the_file_by_hand(planned: Layout) -> None:
    planned.analysis_dir.mkdir(parents=True)
    planned.veto(data_sequence()).touch()
    assert sequencer(planned, "--unveto", "1874") == 0
    assert not planned.veto(data_sequence()).exists()


def test_closer_does_not_close_a_night_with_a_veto(done: Layout, capsys: Capture) -> None:
    assert sequencer(done, "--veto", "1874", "--reason", "to be looked at") == 0
    assert closer(done, "-y") == 1
    assert "LST1_01874: NOT complete\n  it is vetoed" in capsys.readouterr().out
    assert not done.night_finished.exists()
    assert sequencer(done, "--unveto", "1874") == 0
    assert closer(done, "-y") == 0


@pytest.mark.parametrize("run", ["1873", "1874"])
@pytest.mark.parametrize("verb", ["--veto", "--unveto"])
def test_only_saying_touches_nothing(planned: Layout, capsys: Capture, verb: str, run: str) -> None:
    if verb == "--unveto":
        assert sequencer(planned, "--veto", run) == 0
    before = listing(planned)
    assert sequencer(planned, verb, run, "-s") == 0
    assert f"LST1_0{run}" in capsys.readouterr().err
    assert listing(planned) == before


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (["--veto", "4711"], "no sequence of run 4711; there are 1873, 1874, 1875"),
        (["--unveto", "4711"], "no sequence of run 4711"),
        (["--veto", "1872"], "no sequence of run 1872"),  # the DRS4 run is part of another
        (["--reason", "why"], "--reason goes with --veto"),
        (["--unveto", "1874", "--reason", "why"], "--reason goes with --veto"),
        (["--veto", "1874", "--seq", "1874"], "--seq goes with --cancel"),
    ],
)
def test_wrong_calls(planned: Layout, capsys: Capture, call: list[str], words: str) -> None:
    before = listing(planned)
    assert sequencer(planned, *call) == 2
    assert words in capsys.readouterr().err
    assert listing(planned) == before


@pytest.mark.parametrize(
    "call", [["--veto", "1874", "--unveto", "1874"], ["--veto"], ["--veto", "x"], ["--cancel", "--veto", "1"]]
)
def test_calls_that_mean_nothing(planned: Layout, call: list[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        sequencer(planned, *call)
    assert raised.value.code == 2


@pytest.mark.parametrize(
    "call", [["--veto", "1874"], ["--unveto", "1874"], ["--own-calibration"], ["--take-in", "1874"]]
)
def test_closed_night_is_not_changed(closed: Layout, capsys: Capture, call: list[str]) -> None:
    before = listing(closed)
    assert sequencer(closed, *call) == 2
    assert "closer --reopen opens it again" in capsys.readouterr().err
    assert listing(closed) == before


def test_closed_run_is_not_changed(done: Layout, capsys: Capture) -> None:
    assert closer(done, "-y", "--seq", "1874") == 0
    assert sequencer(done, "--veto", "1874") == 2
    assert "closer --reopen --seq 1874 opens it again" in capsys.readouterr().err
    assert sequencer(done, "--veto", "1875") == 0


@pytest.mark.parametrize("call", [["--veto", "1874"], ["--unveto", "1874"]])
def test_changes_wait_for_nobody(planned: Layout, capsys: Capture, call: list[str]) -> None:
    with only_instance(planned.night_lock, "the first"):
        assert sequencer(planned, *call) == 4
    assert "already at work" in capsys.readouterr().err
    assert not planned.veto(data_sequence()).exists()


# --------------------------------------------------------------------------------- taking in


@pytest.fixture
def left_out(planned: Layout) -> Layout:
    """A night of which the closer leaves out two sub-runs, and a run."""
    planned.left_out.parent.mkdir(parents=True)
    text = "[leave out]\n01874.0000 = no pointing\n01874.0002 = no pointing\n01875 = no pointing\n"
    planned.left_out.write_text(text, "utf-8")
    return planned


@pytest.mark.parametrize(
    ("which", "found", "todo"),
    [
        ("1874", "01874.0000, 01874.0002", {"01873": [0], "01874": [0, 1, 2]}),
        ("01874.2", "01874.0002", {"01873": [0], "01874": [1, 2]}),
        ("1874.0002", "01874.0002", {"01873": [0], "01874": [1, 2]}),
        ("1875", "01875", {"01873": [0], "01874": [1], "01875": [0, 1]}),
    ],
)
def test_what_is_taken_in_is_processed_again(
    left_out: Layout, capsys: Capture, which: str, found: str, todo: dict[str, list[int]]
) -> None:
    assert sequencer(left_out, "--take-in", which) == 0
    assert f"{found}: taken in again; sequencer submits it" in capsys.readouterr().err
    assert {run: row["Todo"] for run, row in rows(left_out, capsys).items()} == todo
    assert read_incidences(left_out.incidences) == (f"Taken in again by an operator: {found}.",)


def test_tries_of_what_is_taken_in_do_not_count_any_more(left_out: Layout) -> None:
    submit_one(left_out)
    (record,) = select_scheduler(left_out.settings, "local").records(left_out.group)
    assert sequencer(left_out, "--take-in", "1874") == 0
    fresh = read_fresh_start(left_out.fresh_start(data_sequence()))
    assert fresh is not None and fresh.jobs == {record.job_id}


@pytest.mark.parametrize("which", ["1874.1", "1875.0", "4711", "1873"])
def test_what_is_not_left_out_is_not_taken_in(left_out: Layout, capsys: Capture, which: str) -> None:
    before = files(left_out)
    assert sequencer(left_out, "--take-in", which) == 2
    assert "leaves out nothing of what --take-in names" in capsys.readouterr().err
    assert files(left_out) == before


def test_what_an_operator_leaves_out_is_his_own_to_take_in(planned: Layout, capsys: Capture) -> None:
    planned.override.write_text("[leave out]\n01875 = dark\n", "utf-8")
    assert sequencer(planned, "--take-in", "1875") == 2
    assert planned.left_out.name in capsys.readouterr().err


def test_saying_what_would_be_taken_in_touches_nothing(left_out: Layout, capsys: Capture) -> None:
    before = listing(left_out)
    assert sequencer(left_out, "--take-in", "1874", "-s") == 0
    assert "would take in what the closer leaves out of run 1874" in capsys.readouterr().err
    assert listing(left_out) == before


def test_nothing_is_taken_in_under_another_instance(left_out: Layout) -> None:
    before = left_out.left_out.read_text("utf-8")
    with only_instance(left_out.night_lock, "the first"):
        assert sequencer(left_out, "--take-in", "1874") == 4
    assert left_out.left_out.read_text("utf-8") == before


@pytest.mark.parametrize("which", ["x", "1874.", ".3", "1874.12345", "1874.1.2", "-1", ""])
def test_what_is_no_run_is_not_taken_in(planned: Layout, which: str) -> None:
    with pytest.raises(SystemExit) as raised:
        sequencer(planned, f"--take-in={which}")
    assert raised.value.code == 2


# ------------------------------------------------------------------------- own calibration


def test_own_calibration_again(borrowed: Layout, capsys: Capture) -> None:
    assert rows(borrowed, capsys).keys() == {"01874", "01875"}
    assert sequencer(borrowed, "--own-calibration") == 0
    assert "25 file(s) are in" in capsys.readouterr().err
    found = rows(borrowed, capsys)
    assert {run: row["Todo"] for run, row in found.items()} == {
        "01873": [0],
        "01874": [0, 1, 2],
        "01875": [0, 1],
    }
    assert not borrowed.borrowed_calibration.exists()
    assert len(list(borrowed.set_aside_dir.rglob("*.*"))) == 25


def test_own_calibration_is_tried_again_although_it_was_vetoed(borrowed: Layout, capsys: Capture) -> None:
    borrowed.veto(calibration_sequence()).write_text("it failed too often\n", "utf-8")
    for _ in range(2):
        add_try(borrowed, CALIBRATION_RUN, None, "lstchain_create_drs4_pedestal_file", 1)
    assert sequencer(borrowed, "--own-calibration") == 0
    assert not borrowed.veto(calibration_sequence()).exists()
    assert borrowed.own_calibration.exists()
    assert rows(borrowed, capsys)["01873"]["Action"] == "Simulate"


def test_own_calibration_that_serves_already(done: Layout, capsys: Capture) -> None:
    before = listing(done)
    assert sequencer(done, "--own-calibration") == 0
    assert "serves already" in capsys.readouterr().err
    assert listing(done) == before


def test_saying_what_own_calibration_would_do_touches_nothing(borrowed: Layout, capsys: Capture) -> None:
    before = listing(borrowed)
    assert sequencer(borrowed, "--own-calibration", "-s") == 0
    assert "would set aside what was made with the calibration of 2020-01-25" in capsys.readouterr().err
    assert listing(borrowed) == before


def test_own_calibration_not_under_tasks(borrowed: Layout, capsys: Capture) -> None:
    submit_one(borrowed)
    before = files(borrowed)
    assert sequencer(borrowed, "--own-calibration") == 2
    assert "1 task(s) are pending or running; sequencer --cancel ends them" in capsys.readouterr().err
    assert files(borrowed) == before


@pytest.mark.parametrize(
    ("reply", "more", "asks", "goes"), [("y", [], 1, True), ("", [], 1, False), ("", ["-y"], 0, True)]
)
def test_somebody_is_asked_before_data_is_set_aside(
    borrowed: Layout, answer: Callable[[str], list[str]], reply: str, more: list[str], asks: int, goes: bool
) -> None:
    asked = answer(reply)
    assert sequencer(borrowed, "--own-calibration", *more) == (0 if goes else 1)
    assert len(asked) == asks
    assert borrowed.borrowed_calibration.exists() is not goes


def test_runs_are_not_chosen_where_another_nights_serve(borrowed: Layout, capsys: Capture) -> None:
    assert sequencer(borrowed, "-s", "--calibration-run", "1873") == 2
    assert "--own-calibration" in capsys.readouterr().err


# --------------------------------------------------------------------------------- reopening


def test_closed_night_is_opened_and_closed_again(closed: Layout, capsys: Capture) -> None:
    assert closer(closed, "--reopen") == 0
    assert "is open again" in capsys.readouterr().err
    assert not closed.night_finished.exists()
    assert {row["Action"] for row in rows(closed, capsys).values()} == {"Check"}
    assert closer(closed, "-y") == 0
    assert len(list(closed.closer_dir.glob("NightFinished*"))) == 2


def test_one_run_is_opened(closed: Layout, capsys: Capture) -> None:
    assert closer(closed, "--reopen", "--seq", "1874") == 0
    assert {run: row["Action"] for run, row in rows(closed, capsys).items()} == {
        "01873": "Closed",
        "01874": "Check",
        "01875": "Closed",
    }
    assert closer(closed, "-y") == 0
    assert closed.night_finished.exists()


def test_run_that_was_closed_alone_is_opened(done: Layout, capsys: Capture) -> None:
    assert closer(done, "-y", "--seq", "1874") == 0
    assert closer(done, "--reopen", "--seq", "1875") == 0
    assert "nothing of it is closed" in capsys.readouterr().err
    assert closer(done, "--reopen", "--seq", "1874") == 0
    assert rows(done, capsys)["01874"]["Action"] == "Check"


@pytest.mark.parametrize("more", [[], ["--seq", "1874"]])
def test_saying_what_would_be_opened_touches_nothing(
    closed: Layout, capsys: Capture, more: list[str]
) -> None:
    before = listing(closed)
    assert closer(closed, "--reopen", "-s", *more) == 0
    assert f"would open {1 if more else 3} sequence(s) again" in capsys.readouterr().err
    assert listing(closed) == before


def test_night_that_is_open_stays_as_it_is(done: Layout, capsys: Capture) -> None:
    before = listing(done)
    assert closer(done, "--reopen") == 0
    assert "nothing of it is closed" in capsys.readouterr().err
    assert listing(done) == before


def test_run_that_the_night_does_not_have(closed: Layout, capsys: Capture) -> None:
    assert closer(closed, "--reopen", "--seq", "4711") == 2
    assert "--seq 4711" in capsys.readouterr().err
    assert closed.night_finished.exists()


def test_night_closed_without_data_is_opened_when_there_is_a_summary(
    planned: Layout, capsys: Capture
) -> None:
    text = planned.night_summary.read_text("utf-8")
    planned.night_summary.unlink()
    assert closer(planned, "-y", "-r", "moon") == 0
    assert closer(planned, "--reopen") == 2
    assert "no night summary" in capsys.readouterr().err
    planned.night_summary.write_text(text, "utf-8")
    assert closer(planned) == 1
    assert "raw files came after it was closed: sub-runs 0-2 of run 01874" in capsys.readouterr().err
    assert closer(planned, "--reopen") == 0
    assert not planned.night_finished.exists()


@pytest.mark.parametrize(
    ("reply", "more", "asks", "goes"), [("y", [], 1, True), ("", [], 1, False), ("", ["-y"], 0, True)]
)
def test_somebody_is_asked_before_a_night_is_opened(
    closed: Layout, answer: Callable[[str], list[str]], reply: str, more: list[str], asks: int, goes: bool
) -> None:
    asked = answer(reply)
    assert closer(closed, "--reopen", *more) == (0 if goes else 1)
    assert len(asked) == asks
    assert closed.night_finished.exists() is not goes


def test_night_is_not_opened_under_another_instance(closed: Layout, capsys: Capture) -> None:
    with only_instance(closed.night_lock, "the first"):
        assert closer(closed, "--reopen", "-y") == 4
    assert closed.night_finished.exists()


def test_late_data_is_named_until_it_is_taken_in(closed: Layout, capsys: Capture) -> None:
    closed.raw_file(1874, 3).write_bytes(b"raw")
    closed.raw_file(1874, 7).write_bytes(b"raw")
    before = listing(closed)
    for more in ([], ["-s"], ["-f"], ["-y"]):
        assert closer(closed, *more) == 1
        assert "sub-runs 3, 7 of run 01874" in capsys.readouterr().err
    assert listing(closed) == before
    assert closer(closed, "--reopen") == 0
    assert rows(closed, capsys)["01874"]["Todo"] == [3, 7]
    assert closed.final(DL2, 1874, 0).exists()


def test_interrupted_change_can_be_called_again(
    planned: Layout, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def interrupted(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr("osa.cli.changes.put_veto", interrupted)
        assert sequencer(planned, "--veto", "1873") == 130
    assert not planned.veto(calibration_sequence()).exists()
    assert sequencer(planned, "--veto", "1873") == 0
