from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from osa.system.workers import EntryPoint, Outcome, Workshop, run_program

ROOT = Path(__file__).parents[2]
HELPERS = ROOT / "tests" / "helpers"
MODULE = "osa_entry_points"


@pytest.fixture(scope="module")
def workshop():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{ROOT}:{HELPERS}")
        with Workshop(["json"]) as made:
            yield made


@pytest.fixture(autouse=True)
def path_of_the_entry_points(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{HELPERS}")


@pytest.fixture(params=["workshop", "program"])
def call(request, tmp_path):
    """Make a call in one of the two ways; what it prints goes to ``log.txt``."""
    run = run_program if request.param == "program" else request.getfixturevalue("workshop").call

    def make(function: str, *arguments: str, module: str = MODULE) -> Outcome:
        return run(
            EntryPoint(module, function),
            ["the-program", *arguments],
            folder=tmp_path,
            log=tmp_path / "log.txt",
        )

    return make


@pytest.mark.parametrize(
    ("function", "code"),
    [
        ("succeed", 0),
        ("exit_none", 0),
        ("exit_seven", 7),
        ("return_three", 3),
        ("exit_text", 1),
        ("fail", 1),
        ("exit_hard", 9),
        ("crash", -signal.SIGSEGV),
        ("kill_itself", -signal.SIGKILL),
        ("no_such_function", 1),
    ],
)
def test_every_end_of_a_call_has_its_code(call, function, code):
    assert call(function).return_code == code


def test_a_module_that_is_not_there(call, tmp_path):
    assert call("main", module="no_such_module").return_code == 1
    assert "no_such_module" in (tmp_path / "log.txt").read_text()


@pytest.mark.parametrize(
    ("function", "text"),
    [
        ("succeed", "on stdout"),
        ("succeed", "on stderr"),
        ("exit_text", "a reason in words"),
        ("fail", "ValueError: a reason in a traceback"),
    ],
)
def test_what_a_call_prints_is_in_its_log(call, tmp_path, function, text):
    call(function)
    assert text in (tmp_path / "log.txt").read_text()


def test_the_log_is_appended_to(call, tmp_path):
    (tmp_path / "log.txt").write_text("from before\n")
    call("succeed")
    assert (tmp_path / "log.txt").read_text().startswith("from before\n")


def test_without_log_it_prints_where_we_do(tmp_path, capfd):
    run_program(EntryPoint(MODULE, "succeed"), ["x"], folder=tmp_path)
    captured = capfd.readouterr()
    assert "on stdout" in captured.out
    assert "on stderr" in captured.err


def test_a_call_has_its_folder_and_command_line(call, tmp_path):
    arguments = ["--name=a b", "$(touch hacked)", ";", "", "é", "-c"]
    assert call("describe", *arguments).return_code == 0
    said = (tmp_path / "said.txt").read_text(encoding="utf-8").split("\n")
    assert said == [str(tmp_path), "the-program", *arguments]
    assert not (tmp_path / "hacked").exists()


def test_our_own_folder_and_command_line_stay(call, tmp_path):
    before = Path.cwd(), list(sys.argv)
    call("describe")
    assert (Path.cwd(), sys.argv) == before


def test_files_in_the_folder_are_not_imported(call, tmp_path):
    (tmp_path / "importlib.py").write_text("raise SystemExit(99)")
    (tmp_path / f"{MODULE}.py").write_text("raise SystemExit(99)")
    assert call("succeed").return_code == 0


def test_functions_registered_for_the_end_are_called(call, tmp_path):
    call("register_at_exit")
    assert (tmp_path / "at_exit.txt").read_text() == "called"


def test_usage_is_told(call):
    outcome = call("use_resources")
    assert outcome.cpu_time >= 0.1
    assert outcome.peak_memory > 64
    assert outcome.wall_time > 0


def test_usage_of_processes_below_is_told(call):
    assert call("use_resources_in_child").cpu_time >= 0.25


def test_a_crash_does_not_spoil_the_next_call(call):
    assert call("crash").return_code == -signal.SIGSEGV
    assert call("succeed").return_code == 0


class Interruption(BaseException):
    pass


def test_an_interruption_ends_the_call(call, tmp_path):
    """Whatever the signal handler of the command raises: KeyboardInterrupt, or our own for SIGTERM."""

    def interrupt(_number, _frame):
        if (tmp_path / "started.txt").exists():
            raise Interruption

    previous = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
    try:
        with pytest.raises(Interruption):
            try:
                call("sleep")
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert_ended(int((tmp_path / "started.txt").read_text()))


def assert_ended(process: int) -> None:
    """Wait until a process has ended; one that does not makes the test fail at its time limit."""
    for _ in range(200):
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return
        if state == "Z":
            return
        time.sleep(0.05)
    os.kill(process, signal.SIGKILL)
    pytest.fail(f"process {process} was still there")


PARENT = """
import sys
from pathlib import Path
from osa.system.workers import EntryPoint, Workshop, run_program

entry, folder = EntryPoint("osa_entry_points", "sleep"), Path(sys.argv[2])
if __name__ == "__main__":
    if sys.argv[1] == "program":
        run_program(entry, ["x"], folder=folder)
    else:
        with Workshop([]) as workshop:
            workshop.call(entry, ["x"], folder=folder)
"""


@pytest.mark.parametrize("how", ["workshop", "program"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_call_outlives_its_caller(tmp_path, how, number):
    script, started = tmp_path / "parent.py", tmp_path / "started.txt"
    script.write_text(PARENT)
    parent = subprocess.Popen(
        [sys.executable, str(script), how, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{HELPERS}"},
        start_new_session=True,
    )
    while not started.exists():
        assert parent.poll() is None
        time.sleep(0.02)
    parent.send_signal(number)
    assert parent.wait() == -number
    assert_ended(int(started.read_text()))


def test_a_module_that_breaks_on_import_is_left_to_the_call(tmp_path):
    log = tmp_path / "log.txt"
    with Workshop(["osa_breaks_on_import"]) as workshop:
        fine = workshop.call(EntryPoint(MODULE, "succeed"), ["x"], folder=tmp_path, log=log)
        assert fine.return_code == 0
        bad = EntryPoint("osa_breaks_on_import", "main")
        assert workshop.call(bad, ["x"], folder=tmp_path, log=log).return_code == 1
    assert "RuntimeError: broken module" in log.read_text()


def test_a_missing_module_is_left_to_the_call(tmp_path):
    with Workshop(["no_such_module"]) as workshop:
        outcome = workshop.call(EntryPoint(MODULE, "succeed"), ["x"], folder=tmp_path, log=tmp_path / "l")
    assert outcome.return_code == 0


def test_calls_from_outside_can_be_stopped(tmp_path):
    with Workshop([]) as workshop:
        outcomes = []
        entry = EntryPoint(MODULE, "sleep")
        thread = threading.Thread(
            target=lambda: outcomes.append(workshop.call(entry, ["x"], folder=tmp_path, log=tmp_path / "l"))
        )
        thread.start()
        while not (tmp_path / "started.txt").exists():
            assert thread.is_alive()
            time.sleep(0.02)
        workshop.stop()
        thread.join()
    assert [outcome.return_code for outcome in outcomes] == [-signal.SIGTERM]


def test_calls_of_many_threads_do_not_take_each_others_exit_codes(tmp_path):
    entry = EntryPoint(MODULE, "return_three")
    with Workshop([MODULE]) as workshop, ThreadPoolExecutor(6) as threads:
        calls = [threads.submit(workshop.call, entry, ["x"], folder=tmp_path) for _ in range(60)]
        codes = [call.result().return_code for call in calls]
    assert codes == [3] * 60


def test_modules_are_imported_once(tmp_path, monkeypatch):
    """Each call would else pay for them again."""
    (tmp_path / "heavy.py").write_text(
        "import os\nwith open('imports.txt', 'a') as file: file.write('x')\ndef main(): print(os.getpid())\n"
    )
    os.environ["PYTHONPATH"] += f":{tmp_path}"
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    imports = Path("imports.txt")
    assert not imports.exists()
    with Workshop(["heavy"]) as workshop:
        for _ in range(3):
            entry = EntryPoint("heavy", "main")
            assert workshop.call(entry, ["x"], folder=tmp_path, log=tmp_path / "l").return_code == 0
    assert imports.read_text() == "x"
    assert not (tmp_path / "imports.txt").exists()


def test_an_import_that_ends_the_server_is_left_to_the_call(tmp_path):
    (tmp_path / "deadly.py").write_text("import os\nos._exit(3)\n")
    os.environ["PYTHONPATH"] += f":{tmp_path}"
    with Workshop(["deadly"]) as workshop:
        fine = workshop.call(EntryPoint(MODULE, "succeed"), ["x"], folder=tmp_path, log=tmp_path / "l")
        bad = workshop.call(EntryPoint("deadly", "main"), ["x"], folder=tmp_path, log=tmp_path / "l")
    assert (fine.return_code, bad.return_code) == (0, 3)


def test_a_killed_server_is_replaced(tmp_path):
    with Workshop([]) as workshop:
        entry = EntryPoint(MODULE, "kill_its_parent")
        assert workshop.call(entry, ["x"], folder=tmp_path, log=tmp_path / "l").return_code != 0
        after = workshop.call(EntryPoint(MODULE, "succeed"), ["x"], folder=tmp_path, log=tmp_path / "l")
    assert after.return_code == 0


def test_pools_of_a_call_are_forked_as_they_always_are(tmp_path):
    """lstchain starts processes of its own and counts on what it has imported being there."""
    with Workshop([]) as workshop:
        entry = EntryPoint(MODULE, "say_start_method")
        workshop.call(entry, ["x"], folder=tmp_path, log=tmp_path / "l")
    assert (tmp_path / "l").read_text().strip() == "fork"
