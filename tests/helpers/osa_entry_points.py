"""Entry points that end in every way a call can; the tests of workers and runner call them."""

from __future__ import annotations

import atexit
import ctypes
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path


def succeed() -> None:
    print("on stdout")
    print("on stderr", file=sys.stderr)


def describe() -> None:
    """Say what was given."""
    Path("said.txt").write_text("\n".join([os.getcwd(), *sys.argv]), encoding="utf-8")


def return_three() -> int:
    return 3


def exit_none() -> None:
    sys.exit()


def exit_seven() -> None:
    sys.exit(7)


def exit_text() -> None:
    sys.exit("a reason in words")


def fail() -> None:
    raise ValueError("a reason in a traceback")


def exit_hard() -> None:
    os._exit(9)


def crash() -> None:
    ctypes.string_at(0)


def kill_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def register_at_exit() -> None:
    atexit.register(Path("at_exit.txt").write_text, "called", encoding="utf-8")


def use_resources() -> None:
    """Take about 0.2 s of CPU and 64 MB."""
    block = b"x" * (64 << 20)
    while time.process_time() < 0.2:
        hash(block[:1000])


def _burn(seconds: float) -> None:
    while time.process_time() < seconds:
        pass


def use_resources_in_child() -> None:
    """Take 0.3 s of CPU in a process below, as lstchain's data check does."""
    process = multiprocessing.get_context("fork").Process(target=_burn, args=(0.3,))
    process.start()
    process.join()


def sleep() -> None:
    """Tell the process id, and wait to be killed."""
    Path("started.part").write_text(str(os.getpid()), encoding="utf-8")
    Path("started.part").rename("started.txt")
    time.sleep(60)


def copy_arguments() -> None:
    """Write ``name=content`` arguments to files: what a step of the analysis does."""
    for argument in sys.argv[1:]:
        name, _, content = argument.partition("=")
        Path(name).write_text(content, encoding="utf-8")


def copy_arguments_and_fail() -> None:
    copy_arguments()
    sys.exit(4)


def kill_its_parent() -> None:
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)


def say_start_method() -> None:
    print(multiprocessing.get_start_method())
