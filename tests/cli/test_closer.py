"""The closer command: what it says, asks and does, and its exit codes; without lstchain."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from night_states import DRS4_RUN
from product_builders import write_night

from osa.cli.closer import main
from osa.closing import night as night_module
from osa.config import Settings
from osa.layout import DL2, Layout
from osa.model.job import JobSpec
from osa.nightsummary.plan import plan_night
from osa.scheduler.local_store import LocalStore
from osa.scheduler.select import select_scheduler
from osa.system.locks import only_instance

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def ready(planned: Layout, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A night of which all is done; lstchain's merges are left out, and nobody is at a terminal."""
    assert DRS4_RUN == 1872
    write_night(planned, plan_night(planned))
    monkeypatch.setattr(night_module, "perform_merges", lambda *_, **__: [])
    monkeypatch.setattr(sys, "stdin", Input())
    return planned


class Input:
    """Standard input: no terminal, or one at which somebody answers."""

    def __init__(self, *answers: str | BaseException) -> None:
        self.answers = list(answers)

    def isatty(self) -> bool:
        return bool(self.answers)


@pytest.fixture
def at_terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Answer the questions to come; gives the list of what was asked."""

    def answer(*answers: str | BaseException) -> list[str]:
        asked: list[str] = []
        waiting = list(answers)

        def read(question: str) -> str:
            asked.append(question)
            reply = waiting.pop(0)
            if isinstance(reply, BaseException):
                raise reply
            return reply

        monkeypatch.setattr(sys, "stdin", Input(*answers))
        monkeypatch.setattr("builtins.input", read)
        return asked

    return answer


def closer(layout: Layout, *more: str) -> int:
    return main(["-c", str(layout.settings.path), "-d", layout.night.underscored, *more])


def listing(layout: Layout) -> dict[Path, tuple[int, int]]:
    base = layout.settings.telescope.raw_dir.parent
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in base.rglob("*")}


def test_complete_night_is_closed(ready: Layout, capsys: Capture) -> None:
    assert closer(ready, "-y") == 0
    out = capsys.readouterr().out
    assert "LST1_01874: complete\n" in out
    assert out.endswith(f"Night 2020-01-27 is closed: see {ready.night_finished}\n")
    assert ready.night_finished.exists()


def test_complete_night_is_closed_without_a_terminal(ready: Layout) -> None:
    assert closer(ready) == 0
    assert ready.night_finished.exists()


def test_closed_night_stays_closed(ready: Layout, capsys: Capture) -> None:
    assert closer(ready, "-y") == 0
    before = listing(ready)
    capsys.readouterr()
    for more in ([], ["-y"], ["-s"], ["-f"]):
        assert closer(ready, *more) == 0
        assert "is closed already" in capsys.readouterr().err
    assert listing(ready) == before


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("more", [[], ["-f"], ["-y"], ["--seq", "1874"]])
def test_simulation_touches_nothing(ready: Layout, capsys: Capture, missing: bool, more: list[str]) -> None:
    if missing:
        ready.working(DL2, 1874, 1).unlink()
    before = listing(ready)
    assert closer(ready, "-s", *more) == (1 if missing else 0)
    assert listing(ready) == before
    out = capsys.readouterr().out
    what = "sequence" if "--seq" in more else "night"
    would = not missing or "-f" in more
    assert (f"would close the {what}\n" in out, f"would not close the {what}\n" in out) == (would, not would)
    assert ("would move " in out) == would
    assert ("NOT complete\n  no DL2 of sub-runs 1\n" in out) == missing


@pytest.mark.parametrize("more", [[], ["-y"]])
def test_incomplete_night_is_left_as_it_is(ready: Layout, capsys: Capture, more: list[str]) -> None:
    ready.working(DL2, 1874, 1).unlink()
    before = listing(ready)
    assert closer(ready, *more) == 1
    out, err = capsys.readouterr()
    assert "LST1_01874: NOT complete\n  no DL2 of sub-runs 1\n" in out
    assert "not closed: the night is not complete" in err
    assert listing(ready) == before


def test_force_closes_what_is_there(ready: Layout) -> None:
    ready.working(DL2, 1874, 1).unlink()
    assert closer(ready, "-f") == 0
    assert "closed although no DL2 of sub-runs 1." in ready.night_finished.read_text(encoding="utf-8")


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("YES ", 0), ("", 1), ("n", 1), ("what?", 1)])
def test_somebody_at_a_terminal_is_asked(
    ready: Layout, at_terminal: Callable[..., list[str]], answer: str, code: int
) -> None:
    asked = at_terminal(answer)
    assert closer(ready) == code
    assert asked == ["Close the night? [y/N] "]
    assert ready.night_finished.exists() is (code == 0)


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 1)])
def test_somebody_at_a_terminal_may_close_an_incomplete_night(
    ready: Layout, at_terminal: Callable[..., list[str]], answer: str, code: int
) -> None:
    ready.working(DL2, 1874, 1).unlink()
    asked = at_terminal(answer)
    assert closer(ready) == code
    assert asked == ["The night is not complete. Close it all the same? [y/N] "]
    assert ready.night_finished.exists() is (code == 0)


def test_yes_is_not_asked_and_does_not_force(ready: Layout, at_terminal: Callable[..., list[str]]) -> None:
    ready.working(DL2, 1874, 1).unlink()
    asked = at_terminal("y")
    assert closer(ready, "-y") == 1
    assert asked == []


@pytest.mark.parametrize(("reply", "code"), [(EOFError(), 1), (KeyboardInterrupt(), 130)])
def test_no_answer_closes_nothing(
    ready: Layout,
    at_terminal: Callable[..., list[str]],
    capsys: Capture,
    reply: BaseException,
    code: int,
) -> None:
    at_terminal(reply)
    before = listing(ready)
    assert closer(ready) == code
    assert "unexpected" not in capsys.readouterr().err
    assert listing(ready) == before


def test_one_sequence_is_closed(ready: Layout, capsys: Capture) -> None:
    assert closer(ready, "-y", "--seq", "1875") == 0
    assert capsys.readouterr().out.endswith("Run 1875 is closed\n")
    assert not ready.night_finished.exists()
    assert ready.final(DL2, 1875, 0).exists()
    assert ready.working(DL2, 1874, 0).exists()


def test_unknown_sequence_is_a_wrong_call(ready: Layout, capsys: Capture) -> None:
    assert closer(ready, "--seq", "4711") == 2
    assert "--seq 4711" in capsys.readouterr().err


def test_night_without_data(planned: Layout) -> None:
    planned.night_summary.unlink()
    assert closer(planned, "-y") == 2  # a missing night summary is no reason to close a night
    assert closer(planned, "-y", "-r", "moon") == 0
    text = planned.night_finished.read_text(encoding="utf-8")
    assert "comment=Night closed without data: moon.\n" in text


def test_night_with_data_is_not_closed_as_one_without(ready: Layout, capsys: Capture) -> None:
    assert closer(ready, "-y", "-r", "weather") == 2
    assert "the night has DATA runs (1874, 1875)" in capsys.readouterr().err
    assert not ready.night_finished.exists()


def submit(layout: Layout) -> None:
    job = JobSpec("LST1_01875", layout.group, Path("x"), Path("log"), layout.settings.data_job, (0,))
    select_scheduler(layout.settings, "local").submit(job)


@pytest.mark.parametrize("more", [["-y"], ["-f"], ["-s", "-f"]])
def test_night_is_not_closed_under_its_tasks(
    ready: Layout, more: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(ready)
    monkeypatch.setattr(LocalStore, "executor", lambda *_: 1)  # somebody runs them
    before = listing(ready)
    assert closer(ready, *more) == 5
    assert listing(ready) == before


def test_task_that_began_meanwhile_is_seen(
    ready: Layout, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    alone = night_module.Closing.alone

    def submit_first(closing: night_module.Closing) -> object:
        submit(ready)
        return alone(closing)

    monkeypatch.setattr(night_module.Closing, "alone", submit_first)
    assert closer(ready, "-y") == 5
    assert "something changed meanwhile" in capsys.readouterr().err
    assert not ready.night_finished.exists()


def test_second_one_says_so(ready: Layout, capsys: Capture) -> None:
    with only_instance(ready.night_lock, "the first"):
        assert closer(ready, "-y") == 4
    assert "already at work" in capsys.readouterr().err
    assert not ready.night_finished.exists()


def test_failed_merge_is_not_complete(
    ready: Layout, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(night_module, "perform_merges", lambda *_, **__: ["run 1874: no memory"])
    assert closer(ready, "-y") == 1
    assert "run 1874: no memory" in capsys.readouterr().err
    assert not ready.night_finished.exists()


@pytest.mark.parametrize("call", [["--seq", "x"], ["-r", "holiday"], ["--what"]])
def test_wrong_calls(ready: Layout, call: list[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        closer(ready, *call)
    assert raised.value.code == 2


def test_settings_are_those_of_the_command_line(ready: Layout, settings: Settings, capsys: Capture) -> None:
    assert main(["-c", str(settings.path), "-d", "2020-13-45", "-s"]) == 2
    assert main(["-c", str(settings.path), "-d", "20200127", "-s", "LST7"]) == 2
    assert "[LST7]" in capsys.readouterr().err


def test_night_with_nothing_but_calibration_closes_with_a_reason(planned: Layout) -> None:
    lines = planned.night_summary.read_text("utf-8").splitlines(keepends=True)
    planned.night_summary.write_text("".join(line for line in lines if " DATA " not in line), "utf-8")
    night = ["-c", str(planned.settings.path), "-d", planned.night.underscored]
    assert main([*night, "-y"]) == 1
    assert not planned.night_finished.exists()
    assert main([*night, "-y", "-r", "weather"]) == 0
    text = planned.night_finished.read_text("utf-8")
    assert "Night closed without data: weather." in text
