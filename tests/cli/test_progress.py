"""How far it is: in lines where nobody looks at a terminal, in a bar where somebody does."""

from __future__ import annotations

import io
import sys
from datetime import timedelta

import pytest
from job_bench import JobBench
from night_states import record

from osa.cli.progress import StageBar, _summary, _time_left, run_with_progress
from osa.errors import InterruptedNightError
from osa.layout import Layout
from osa.model.job import JobState
from osa.scheduler import local
from osa.scheduler.local import LocalScheduler
from osa.scheduler.local_store import LocalStore

Capture = pytest.CaptureFixture[str]


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture
def bench(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> JobBench:
    monkeypatch.setattr(local, "_POLL_SECONDS", 0.01)
    layout.analysis_dir.mkdir(parents=True)
    return JobBench(layout.analysis_dir)


def scheduler_of(bench: JobBench) -> LocalScheduler:
    return LocalScheduler(LocalStore(bench.state_dir), bench.capacity)


def test_summary_counts_states() -> None:
    ends = [JobState.FAILED, JobState.TIMEOUT, JobState.CANCELLED, JobState.NODE_FAIL]
    states = [JobState.COMPLETED, JobState.COMPLETED, JobState.RUNNING, JobState.PENDING, *ends]
    records = [record(task=task, state=state) for task, state in enumerate(states)]
    assert _summary(records) == "2/8 tasks done, 1 running, 3 failed, 1 cancelled"
    assert _summary([]) == "0/0 tasks done, 0 running, 0 failed"


def test_time_that_is_left_is_reckoned_from_what_has_ended() -> None:
    done = [record(task=0, started=0, ended=100), record(task=1, started=0, ended=300)]
    waiting = [record(task=task, state=JobState.PENDING) for task in (2, 3)]
    running = [record(task=task, state=JobState.RUNNING, started=1) for task in (4, 5)]
    failed = [record(task=6, state=JobState.FAILED, started=0, ended=9000)]
    assert _time_left(waiting + running) == ""
    assert _time_left(done) == ""
    assert _time_left(done + waiting + running + failed) == f"about {timedelta(seconds=4 * 200 / 2)}"
    assert _time_left(done + waiting) == f"about {timedelta(seconds=2 * 200)}"


def test_lines_without_a_terminal_tell_of_this_call_alone(
    layout: Layout, bench: JobBench, capsys: Capture
) -> None:
    bench.submit("LST1_01873", group=layout.group)
    bench.run(layout.group)  # an earlier call
    bench.submit("LST1_01874", "sys.exit(TASK == '1')", tasks=(0, 1, 2), group=layout.group)
    run_with_progress(layout.group, scheduler_of(bench))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1] == "2/3 tasks done, 0 running, 1 failed"


def test_bar_on_a_terminal(layout: Layout, bench: JobBench, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(sys, "stderr", stream)
    bench.submit("LST1_01874", tasks=(0, 1), group=layout.group)
    run_with_progress(layout.group, scheduler_of(bench))
    assert "2/2 tasks done, 0 running, 0 failed" in stream.getvalue()


def test_second_one_is_told_who_runs_the_tasks(
    layout: Layout, bench: JobBench, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    scheduler = scheduler_of(bench)
    scheduler.submit(bench.job("LST1_01874", group=layout.group))
    monkeypatch.setattr(LocalStore, "enter", lambda *_: False)
    monkeypatch.setattr(LocalStore, "executor", lambda *_: 4711)
    run_with_progress(layout.group, scheduler)
    assert "process 4711 runs the tasks of this night already" in capsys.readouterr().err


@pytest.mark.parametrize("terminal", [False, True])
def test_interrupt_leaves_the_terminal_in_order(
    layout: Layout, bench: JobBench, monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    stream = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    bench.submit("LST1_01874", "hold()", group=layout.group)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(local.time, "sleep", interrupt)
    with pytest.raises(InterruptedNightError):
        run_with_progress(layout.group, scheduler_of(bench))
    said = stream.getvalue()
    assert "1 cancelled" in said
    assert said.count("\x1b[?25h") == said.count("\x1b[?25l")  # the cursor is shown again


@pytest.mark.parametrize(("lines", "said"), [(True, ["first …", "second …"]), (False, [])])
def test_stages_without_a_terminal(capsys: Capture, lines: bool, said: list[str]) -> None:
    with StageBar(lines=lines) as bar:
        for stage, done in (("first", 0), ("first", 1), ("second", 1)):
            bar.update(stage, done, 1)
    assert capsys.readouterr().err.splitlines() == said


def test_stages_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("COLUMNS", "100")
    with StageBar() as bar:
        bar.update("judging", 1, 2)
        bar.update("judging", 2, 2)
        bar.update("merging runs", 0, 4)
    assert "judging" in stream.getvalue() and "100%" in stream.getvalue()
    assert "merging runs" in stream.getvalue()
