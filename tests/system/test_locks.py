from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from osa.errors import AnotherInstanceError
from osa.system.locks import holder, only_instance, only_try

ROOT = Path(__file__).parents[2]

HOLD = """
import sys
from pathlib import Path
from osa.system.locks import only_instance, only_try
path = Path(sys.argv[1])
lock = only_try(path, int(sys.argv[2]), "it") if len(sys.argv) > 2 else only_instance(path, "it")
with lock:
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def hold():
    """Start processes that hold a lock until they are told to end."""
    started = []

    def start(path: Path, *number: int) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(path), *map(str, number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "night" / ".lock"


def try_instance(path):
    with only_instance(path, "night 2020-01-27"):
        return True


def try_number(path, number):
    with only_try(path, number, "sub-run 01874.0003"):
        return True


def test_one_instance_at_a_time_and_who_it_is(path, hold):
    process = hold(path)
    with pytest.raises(AnotherInstanceError) as caught:
        try_instance(path)
    who = f"process {process.pid} on {socket.gethostname()}"
    assert str(caught.value) == f"night 2020-01-27: already at work ({who})"
    assert holder(path) == who


def test_the_lock_is_free_when_its_holder_is_done(path, hold):
    process = hold(path)
    process.communicate("")
    assert process.returncode == 0
    assert try_instance(path)


@pytest.mark.parametrize("numbers", [(), (7,)])
def test_the_kernel_drops_the_lock_of_a_killed_process(path, hold, numbers):
    process = hold(path, *numbers)
    with pytest.raises(AnotherInstanceError):
        try_number(path, 7) if numbers else try_instance(path)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert try_number(path, 7) if numbers else try_instance(path)


def test_an_error_in_the_block_drops_the_lock(path):
    with pytest.raises(ZeroDivisionError), only_instance(path, "it"):
        raise ZeroDivisionError
    assert try_instance(path)


def test_the_lock_holds_in_the_same_process_too(path):
    with only_instance(path, "it"), pytest.raises(AnotherInstanceError):
        try_instance(path)


@pytest.mark.parametrize("content", ["", "process 1 on elsewhere\n", "rubbish\0"])
def test_files_left_behind_are_no_lock(path, content):
    path.parent.mkdir()
    path.write_text(content)
    path.with_name(path.name + ".holder").write_text(content)
    assert try_instance(path)


def test_the_lock_is_not_taken_from_a_process_that_started_meanwhile(path, hold):
    """Were the file unlinked on release, two processes could hold locks on two files of that name."""
    with only_instance(path, "it"):
        inode = path.stat().st_ino
    hold(path)
    assert path.stat().st_ino == inode
    with pytest.raises(AnotherInstanceError):
        try_instance(path)


def test_the_holder_may_be_unknown(path):
    assert holder(path) == "unknown"
    path.parent.mkdir()
    path.with_name(path.name + ".holder").touch()
    assert holder(path) == "unknown"


def test_one_try_at_a_time(path, hold):
    hold(path, 18740003)
    with pytest.raises(AnotherInstanceError, match=r"sub-run 01874\.0003: another try is at work"):
        try_number(path, 18740003)


def test_other_numbers_are_free(path, hold):
    hold(path, 18740003)
    assert try_number(path, 18740002)
    assert try_number(path, 18740004)
    assert try_number(path, 0)


def test_a_number_is_free_when_its_try_ends(path, hold):
    process = hold(path, 3)
    process.communicate("")
    assert process.returncode == 0
    assert try_number(path, 3)


def test_the_file_of_the_tries_stays_empty(path):
    assert try_number(path, 10_000 * 99_999)
    assert path.stat().st_size == 0


def test_a_fork_does_not_hold_the_lock_of_its_parent(path, hold):
    with only_try(path, 3, "it"):
        child = os.fork()
        if child == 0:
            signal.pause()
    try:
        assert try_number(path, 3)
        hold(path, 3)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
