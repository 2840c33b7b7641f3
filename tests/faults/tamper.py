"""Runs a command of the project with single functions tampered with.

``python tamper.py '[{"target": "os:replace", "action": "kill before"}]' sequencer ARGUMENTS…``
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def meet(folder: Path, count: int) -> None:
    """Wait until so many processes have come here."""
    folder.mkdir(exist_ok=True)
    (folder / str(os.getpid())).touch()
    limit = time.monotonic() + 20
    while len(list(folder.iterdir())) < count:
        if time.monotonic() > limit:
            sys.exit("nobody else came")
        time.sleep(0.002)


def write_half(descriptor: int, block: bytes) -> None:
    os.write(descriptor, block[: len(block) // 2])
    kill()


@contextmanager
def no_lock(*_: object) -> Iterator[None]:
    yield


def change(order: dict[str, Any]) -> None:
    """Tamper with one function or value."""
    module, _, names = order["target"].partition(":")
    *owners, name = names.split(".")
    owner: Any = import_module(module)
    for each in owners:
        owner = getattr(owner, each)
    action = order["action"]
    if action == "set":
        setattr(owner, name, order["value"])
    elif action == "no lock":
        setattr(owner, name, no_lock)
    else:
        setattr(owner, name, _tampered(getattr(owner, name), action, order))


def _tampered(real: Callable[..., Any], action: str, order: dict[str, Any]) -> Callable[..., Any]:
    calls = 0

    def tampered(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += order.get("matching", "") in repr(arguments)
        if calls != order.get("nth", 1) or order.get("matching", "") not in repr(arguments):
            return real(*arguments, **options)
        if action == "kill before":
            kill()
        if action == "write half":
            write_half(*arguments)
        if action == "meet":
            meet(Path(order["folder"]), order["count"])
        if action == "fail":
            code = getattr(errno, order["error"])
            raise OSError(code, os.strerror(code))
        result = real(*arguments, **options)
        if action == "kill after":
            kill()
        if action == "spoil":
            with Path(arguments[1]).open("r+b") as stream:
                stream.write(b"spoilt")
        return result

    return tampered


if __name__ == "__main__":
    orders, command, *arguments = sys.argv[1:]
    sys.path.pop(0)  # of this file
    for each in json.loads(orders):
        change(each)
    sys.exit(import_module(f"osa.cli.{command}").main(arguments))
