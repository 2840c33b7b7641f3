"""Running a job: its environment, what it says, how it ends; with the real commands, and hostile programs."""

from __future__ import annotations

import gc
import logging
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from fake_slurm import FakeSlurm

from osa.config import Settings, load_settings
from osa.cron.jobs import Job, JobName
from osa.cron.log import open_log
from osa.cron.run import Outcome, environment, lock_of, log_of, run_job, stuck_since
from osa.errors import ExitCode
from osa.layout import Layout
from osa.model.night import Night
from osa.scheduler.local_store import LocalStore
from osa.system.locks import only_instance

LIMIT = 20.0
FAULTY = "01872 what\n01873 1 CALI 2020-13-99 20:23:43 nan nan nan nan nan nan\nLST\n"
SUMMARY = """\
01872    1 DRS4  2020-01-27 19:51:44 0001 1580154753739954334 5739954100 nan nan nan
01873    1 CALI  2020-01-27 20:23:43 0001 1580156670887160057 1887159800 nan nan nan
01874    1 DATA  2020-01-27 20:44:13 0003 1580157904186709543 5186709300 nan nan nan
"""
STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ "


def run(layout: Layout, name: JobName) -> Outcome:
    with open_log(log_of(layout.settings, name)) as logger:
        return run_job(Job(name, layout), logger)


def logged(layout: Layout, name: JobName) -> list[str]:
    """The log, without dates and nights."""
    lines = log_of(layout.settings, name).read_text("utf-8").splitlines()
    prefix = re.compile(STAMP + ("- " if Job(name, layout).night is None else "2020-01-27: "))
    assert all(prefix.match(line) for line in lines)
    return [prefix.sub("", line, count=1) for line in lines]


def wait_until(condition: Callable[[], object]) -> None:
    limit = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.01)


# ----------------------------------------------------------------------------- environment


def path_of(settings: Settings, given: dict[str, str]) -> list[str]:
    return environment(settings, given)["PATH"].split(":")


def with_path(settings: Settings, *folders: str) -> Settings:
    return replace(settings, cron=replace(settings.cron, path=tuple(map(Path, folders))))


OURS = str(Path(sys.executable).parent)


def test_path_begins_with_the_environment_that_we_run_in(settings: Settings) -> None:
    settings = with_path(settings, "/opt/slurm/bin", "/opt/x y")
    path = path_of(settings, {"PATH": "/usr/bin:/bin:/home/me/bin"})
    assert path[:6] == [OURS, "/opt/slurm/bin", "/opt/x y", "/usr/bin", "/bin", "/home/me/bin"]
    assert {"/usr/local/bin", "/usr/sbin", "/sbin"} <= set(path)


@pytest.mark.parametrize("given", [{}, {"PATH": ""}, {"PATH": ":"}, {"PATH": "/usr/bin::/bin:"}])
def test_path_never_has_the_working_folder_and_nothing_twice(
    settings: Settings, given: dict[str, str]
) -> None:
    """To which an empty part of it would lead."""
    path = path_of(with_path(settings, OURS, "/usr/bin"), given)
    assert path[:2] == [OURS, "/usr/bin"]
    assert "" not in path and "." not in path
    assert len(path) == len(set(path))
    assert "/bin" in path


def test_other_variables_are_fixed_or_kept(settings: Settings) -> None:
    assert settings.cron.path is None
    given = {"TZ": "Asia/Tokyo", "LC_ALL": "de_DE", "OSA_CONFIG": "/x", "HOME": "/home/me", "KRB": "1"}
    found = environment(settings, given)
    assert {key: found[key] for key in given} == {
        "TZ": "UTC",
        "LC_ALL": "C.UTF-8",
        "OSA_CONFIG": str(settings.path),
        "HOME": "/home/me",
        "KRB": "1",
    }


def test_programs_of_the_configured_path_are_found(
    planned: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm = FakeSlurm.install(tmp_path / "slurm")
    path = planned.settings.path
    text = path.read_text("utf-8").replace("backend = local", "backend = slurm")
    path.write_text(text.replace("\npath =\n", f"\npath = {slurm.folder / 'bin'}\n"), "utf-8")
    layout = Layout(load_settings(path, "LST1"), planned.night)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")  # all that cron gives
    assert run(layout, JobName.SEQUENCER).code == 0
    assert len(slurm.calls("sbatch")) == 2


# ---------------------------------------------------------------------- the real commands


@pytest.fixture
def planned(layout: Layout) -> Layout:
    """A night that can be planned: raw files that nobody reads."""
    layout.night_summary.write_text(SUMMARY, "utf-8")
    layout.raw_dir.mkdir()
    for run_number in (1872, 1873, 1874):
        layout.raw_file(run_number, 0).write_bytes(b"raw")
    return layout


def said_by(layout: Layout, name: JobName) -> list[str]:
    """What a command says when a person calls it."""
    command = [sys.executable, "-m", f"osa.cli.{name}", *Job(name, layout).arguments]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**environment(layout.settings, os.environ), "PYTHONUNBUFFERED": "1"},
        text=True,
    )
    return done.stdout.splitlines()


def test_all_that_a_command_says_is_logged_in_order(layout: Layout) -> None:
    layout.night_summary.write_text(FAULTY, "utf-8")
    outcome = run(layout, JobName.SEQUENCER)
    assert outcome.code == ExitCode.WRONG_CALL
    lines = logged(layout, JobName.SEQUENCER)
    said = said_by(layout, JobName.SEQUENCER)
    assert len(said) > 3
    assert lines[0] == f"begin: sequencer -c {layout.settings.path} -d 2020_01_27 --detach LST1"
    assert lines[1:-1] == said
    assert re.fullmatch(r"ended with exit code 2 \(wrong call or configuration\) after \d+ s", lines[-1])
    assert outcome.last_line == said[-1].strip()


def test_what_goes_to_both_outputs_is_logged_in_order(
    planned: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The closer prints what is missing, and notes why it closes nothing."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    outcome = run(planned, JobName.CLOSER)
    assert outcome.code == ExitCode.NOT_COMPLETE
    lines, said = logged(planned, JobName.CLOSER), said_by(planned, JobName.CLOSER)
    assert lines[1:-1] == said
    assert "LST1_01874: NOT complete" in lines
    assert outcome.last_line == said[-1]
    assert outcome.last_line.startswith("not closed: ")


def no_files(layout: Layout) -> None:
    """Leave the night without anything."""


def faulty(layout: Layout) -> None:
    layout.night_summary.write_text(FAULTY, "utf-8")


def closed(layout: Layout) -> None:
    layout.night_finished.parent.mkdir(parents=True)
    layout.night_finished.touch()


def broken_file(layout: Layout) -> None:
    layout.night_summary.mkdir()


@pytest.mark.parametrize(
    ("name", "prepare", "code", "words"),
    [
        (JobName.NIGHTSUMMARY, no_files, 1, "nightsummary: there are no raw files in "),
        (JobName.NIGHTSUMMARY, closed, 0, "there are no raw files in "),
        (JobName.SEQUENCER, faulty, 2, ""),
        (JobName.SEQUENCER, closed, 0, "Night 2020-01-27 is closed: see "),
        (JobName.SEQUENCER, broken_file, 2, "sequencer: night summary "),
        (JobName.CLOSER, faulty, 2, ""),
        (JobName.CLOSER, closed, 0, "Night 2020-01-27 is closed already: see "),
        (JobName.STATUSPAGE, no_files, 0, "wrote "),
        (JobName.NIGHTCLEAN, no_files, 0, "nothing to put away"),
    ],
)
def test_exit_code_is_that_of_the_command(
    layout: Layout, name: JobName, prepare: Callable[[Layout], None], code: int, words: str
) -> None:
    prepare(layout)
    before = datetime.now(UTC)
    outcome = run(layout, name)
    assert outcome.code == code
    assert outcome.last_line.startswith(words)
    assert f"exit code {code} (" in logged(layout, name)[-1]
    assert before <= outcome.began <= datetime.now(UTC)


def test_command_that_finds_another_at_work(planned: Layout) -> None:
    with only_instance(planned.night_lock, "the first"):
        outcome = run(planned, JobName.SEQUENCER)
    assert outcome.code == ExitCode.ANOTHER_INSTANCE
    assert outcome.ended == "ended with exit code 4 (another instance is at work)"


def test_night_that_is_still_arriving_is_not_yet_closed(planned: Layout) -> None:
    today = Layout(planned.settings, Night(datetime.now(UTC).date()))
    today.night_summary.write_text(SUMMARY.replace("2020-01-27", f"{today.night}"), "utf-8")
    today.raw_dir.mkdir()
    assert run(today, JobName.CLOSER).code == ExitCode.NOT_YET


def test_working_folder_is_no_place_to_import_from(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "osa").mkdir()
    (tmp_path / "osa" / "__init__.py").write_text("raise SystemExit('the wrong osa')\n")
    (tmp_path / "argparse.py").write_text("raise SystemExit('the wrong argparse')\n")
    monkeypatch.chdir(tmp_path)
    assert run(layout, JobName.NIGHTCLEAN).code == 0


@dataclass
class Blocked:
    """A nightsummary that waits for its override, and how it ended after that."""

    process: psutil.Process
    outcome: Outcome | None = None


@contextmanager
def blocked(layout: Layout) -> Iterator[Blocked]:
    """Have a nightsummary under way; what is left of it in the end is killed."""
    os.mkfifo(layout.override)
    ended: list[Outcome] = []
    thread = threading.Thread(target=lambda: ended.append(run(layout, JobName.NIGHTSUMMARY)))
    thread.start()
    made = Blocked(find_child("osa.cli.nightsummary", str(layout.settings.path)))
    try:
        yield made
    finally:
        with suppress(psutil.NoSuchProcess):
            made.process.kill()
        thread.join(LIMIT)
        layout.override.unlink()
    (made.outcome,) = ended


def find_child(*words: str) -> psutil.Process:
    """Wait for a child of this process that has some words in its command line."""
    found: list[psutil.Process] = []

    def look() -> bool:
        for child in psutil.Process().children():
            with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                if set(words) <= set(child.cmdline()):
                    found.append(child)
        return bool(found)

    wait_until(look)
    return found[0]


def test_environment_of_a_job(planned: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.delenv("OSA_CONFIG", raising=False)
    with blocked(planned) as job:
        found = job.process.environ()
        ends = {number: Path(f"/proc/{job.process.pid}/fd/{number}").readlink() for number in (0, 1, 2)}
    assert found["PATH"].startswith(f"{OURS}:/usr/bin:/bin:")
    assert (found["TZ"], found["LC_ALL"]) == ("UTC", "C.UTF-8")
    assert found["OSA_CONFIG"] == str(planned.settings.path)
    assert ends[0] == Path("/dev/null")
    assert ends[1] == ends[2]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_job_that_a_signal_ends(planned: Layout, number: signal.Signals) -> None:
    with blocked(planned) as job:
        job.process.send_signal(number)
        wait_until(lambda: not job.process.is_running())
    outcome = job.outcome
    assert outcome is not None
    assert outcome.code == -number
    assert outcome.ended == f"was ended by signal {number.value}"
    assert logged(planned, JobName.NIGHTSUMMARY)[-1].startswith(outcome.ended)


def test_tasks_in_the_background_are_not_waited_for(planned: Layout) -> None:
    path = planned.settings.path
    path.write_text(path.read_text("utf-8").replace("max_cores =\n", "max_cores = 1\n"), "utf-8")
    planned = Layout(load_settings(path, "LST1"), planned.night)
    store = LocalStore(planned.settings.local.state_dir)
    try:
        outcome = run(planned, JobName.SEQUENCER)
        executor = store.executor(planned.group.name)
    finally:
        end_executor(store, planned)
    assert outcome.code == ExitCode.DONE
    assert executor is not None, "the tasks were waited for"
    assert "submitted 2 task(s) to local" in logged(planned, JobName.SEQUENCER)


def test_tasks_in_the_background_import_nothing_from_the_working_folder(
    planned: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which is the home of the user, where cron starts it."""
    (tmp_path / "argparse.py").write_text("raise SystemExit('the wrong argparse')\n")
    monkeypatch.chdir(tmp_path)
    store = LocalStore(planned.settings.local.state_dir)
    log = planned.settings.local.state_dir / f"executor_{planned.group.name}.log"
    try:
        assert run(planned, JobName.SEQUENCER).code == ExitCode.DONE
        wait_until(lambda: log.read_text() or store.executor(planned.group.name))
        assert log.read_text() == ""
    finally:
        end_executor(store, planned)


def end_executor(store: LocalStore, layout: Layout) -> None:
    pid = store.executor(layout.group.name)
    if pid is not None:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
        for each in family:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        psutil.wait_procs(family, LIMIT)


# ------------------------------------------------------------- programs that are no good


@dataclass
class Program:
    """A program in the place of the interpreter that runs the commands."""

    path: Path

    def does(self, script: str) -> None:
        self.path.write_text(f"#!/bin/sh\n{script}\n")
        self.path.chmod(0o755)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    made = Program(tmp_path / "bin" / "python")
    made.path.parent.mkdir()
    monkeypatch.setattr(sys, "executable", str(made.path))
    return made


def test_bytes_that_are_no_text_are_logged_harmlessly(layout: Layout, program: Program) -> None:
    program.does(r"printf 'a\377b \033[31mred\033[0m\007 \000nul \342\200\250sep \302\205nel grü…\n'")
    outcome = run(layout, JobName.CLOSER)
    (line,) = logged(layout, JobName.CLOSER)[1:-1]
    assert line == r"a\xffb  [31mred [0m   nul  sep  nel grü…"
    assert outcome.last_line == line
    text = log_of(layout.settings, JobName.CLOSER).read_bytes()
    assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", text)


def test_lines_that_are_written_over_are_lines(layout: Layout, program: Program) -> None:
    program.does(r"printf '10 %%\r50 %%\r\n\n\t\nlast'")
    outcome = run(layout, JobName.CLOSER)
    lines = [line.strip() for line in logged(layout, JobName.CLOSER)[1:-1]]
    assert [line for line in lines if line] == ["10 %", "50 %", "last"]
    assert outcome.last_line == "last"


def test_job_that_says_nothing(layout: Layout, program: Program) -> None:
    program.does("exit 0")
    assert run(layout, JobName.CLOSER).last_line == ""
    assert len(logged(layout, JobName.CLOSER)) == 2


def test_job_that_says_very_much(layout: Layout, program: Program) -> None:
    program.does("seq 20000")
    assert run(layout, JobName.CLOSER).last_line == "20000"
    assert logged(layout, JobName.CLOSER)[1:-1] == [str(number) for number in range(1, 20001)]


def test_line_is_logged_when_it_is_said(layout: Layout, program: Program, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "go")
    program.does(f"echo first; read word < {tmp_path / 'go'}; echo $word")
    thread = threading.Thread(target=run, args=(layout, JobName.CLOSER))
    thread.start()
    log = log_of(layout.settings, JobName.CLOSER)
    try:
        wait_until(lambda: log.exists() and " first\n" in log.read_text())
    finally:
        (tmp_path / "go").write_text("second\n")
        thread.join(LIMIT)
    assert logged(layout, JobName.CLOSER)[1:-1] == ["first", "second"]


def test_there_is_nobody_to_ask(layout: Layout, program: Program) -> None:
    """Even where somebody sits at a terminal."""
    program.does("test -t 0 || echo nobody; cat")
    ours, theirs = pty.openpty()
    stdin = os.dup(0)
    os.dup2(theirs, 0)
    try:
        assert run(layout, JobName.CLOSER).last_line == "nobody"
    finally:
        os.dup2(stdin, 0)
        for descriptor in (ours, theirs, stdin):
            os.close(descriptor)


def test_process_in_the_background_that_closed_its_outputs_is_not_waited_for(
    layout: Layout, program: Program, tmp_path: Path
) -> None:
    pid = tmp_path / "pid"
    program.does(f"echo before\nsleep 60 </dev/null >/dev/null 2>&1 &\necho $! > {pid}\necho after\nexit 5")
    began = time.monotonic()
    try:
        outcome = run(layout, JobName.CLOSER)
        assert psutil.pid_exists(int(pid.read_text()))
    finally:
        os.kill(int(pid.read_text()), signal.SIGKILL)
    assert time.monotonic() - began < 10
    assert (outcome.code, outcome.last_line) == (5, "after")
    assert logged(layout, JobName.CLOSER)[1:-1] == ["before", "after"]


def test_nothing_is_left_open(layout: Layout, program: Program) -> None:
    program.does("echo said")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        run(layout, JobName.CLOSER)
        gc.collect()
    assert [str(each.message) for each in told] == []


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "ended with exit code 0 (done)"),
        (1, "ended with exit code 1 (not complete)"),
        (2, "ended with exit code 2 (wrong call or configuration)"),
        (3, "ended with exit code 3 (a program or service is missing)"),
        (5, "ended with exit code 5 (not yet)"),
        (70, "ended with exit code 70 (unexpected error)"),
        (130, "ended with exit code 130"),
        (6, "ended with exit code 6"),
        (255, "ended with exit code 255"),
    ],
)
def test_how_it_ended_in_words(layout: Layout, program: Program, code: int, words: str) -> None:
    program.does(f"exit {code}")
    outcome = run(layout, JobName.CLOSER)
    assert outcome.code == code
    assert outcome.ended.startswith(words)
    assert logged(layout, JobName.CLOSER)[-1].startswith(words)


def test_program_that_is_not_there_is_an_error(layout: Layout, program: Program) -> None:
    with pytest.raises(OSError, match="No such file"):
        run(layout, JobName.CLOSER)


def test_job_is_ended_where_its_log_breaks(layout: Layout, program: Program, tmp_path: Path) -> None:
    """Nobody would read its output, and the lock is given back."""
    pid = tmp_path / "pid"
    program.does(f"echo $$ > {pid}\necho said\nexec sleep 60")

    class Broken(logging.Logger):
        def info(self, msg: object, *args: object, **_: object) -> None:
            if "said" in args:
                raise OSError("no log any more")

    began = time.monotonic()
    with pytest.raises(OSError, match="no log any more"):
        run_job(Job(JobName.CLOSER, layout), Broken("broken"))
    assert time.monotonic() - began < LIMIT
    assert not psutil.pid_exists(int(pid.read_text()))


# ------------------------------------------------------------------------ locks and logs


def test_each_job_of_each_telescope_has_its_own_lock_and_log(settings: Settings) -> None:
    second = replace(settings, telescope_name="LST2")
    for of in (lock_of, log_of):
        paths = [of(each, job) for each in (settings, second) for job in JobName]
        assert len(set(paths)) == 10
        assert {path.parent for path in paths} == {settings.cron.log_dir}
    assert log_of(settings, JobName.CLOSER).name == "LST1_closer.log"
    # Those are not shown on the page of the last nights.
    assert all(lock_of(settings, job).name.startswith(".") for job in JobName)


@pytest.mark.parametrize(
    ("age", "is_stuck"),
    [
        (timedelta(0), False),
        (timedelta(hours=6), False),
        (timedelta(hours=6, seconds=1), True),
        (timedelta(days=30), True),
        (timedelta(hours=-1), False),
    ],
)
def test_job_is_stuck_after_six_hours(settings: Settings, age: timedelta, is_stuck: bool) -> None:
    clock = datetime(2020, 1, 28, 12, tzinfo=UTC)
    began = clock - age
    with only_instance(lock_of(settings, JobName.CLOSER), "it"):
        note = settings.cron.log_dir / ".LST1_closer.lock.holder"
        os.utime(note, (began.timestamp(), began.timestamp()))
        found = stuck_since(settings, JobName.CLOSER, clock)
    assert found == (began if is_stuck else None)
    assert stuck_since(settings, JobName.SEQUENCER, clock) is None


def test_time_counts_from_when_the_lock_was_taken(settings: Settings) -> None:
    lock = lock_of(settings, JobName.CLOSER)
    with only_instance(lock, "it"):
        os.utime(lock.with_name(f"{lock.name}.holder"), (0, 0))
    with only_instance(lock, "it"):
        assert stuck_since(settings, JobName.CLOSER, datetime.now(UTC)) is None
