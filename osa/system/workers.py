"""Calls that may crash, run apart from the process that keeps the books.

Two ways, with the same result:

- :class:`Workshop` has a process that imports heavy modules once and is forked for each call
  (:mod:`osa.system.zygote`). A call that raises, exits, is killed or brings the interpreter down
  ends its fork only.
- :func:`run_program` starts a program.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, TextIO

from osa.system.zygote import READY, end_with_parent

__all__ = ["EntryPoint", "Outcome", "Workshop", "end_with_parent", "run_program"]

_GRACE_SECONDS = 10.0


@dataclass(frozen=True)
class EntryPoint:
    """A function without arguments that reads ``sys.argv``, as console scripts name it."""

    module: str
    function: str


@dataclass(frozen=True)
class Outcome:
    """How a call ended.

    Parameters
    ----------
    return_code : int
        0 for success, negative for the signal that ended it.
    wall_time, cpu_time : float
        In seconds; cpu_time is 0 where it could not be had.
    peak_memory : float
        Largest resident size in MB; 0 where it could not be had.
    """

    return_code: int
    wall_time: float
    cpu_time: float = 0.0
    peak_memory: float = 0.0


class Workshop:
    """Makes calls in forks of one process that has the heavy imports behind it.

    Calls can be made from several threads at once. Entering starts the process; the first call
    waits until its imports are done.

    Parameters
    ----------
    preload : sequence of str
        Modules that are imported once. One that cannot be imported is left to the call that
        needs it, which then fails with the reason in its own log.
    """

    def __init__(self, preload: Sequence[str]) -> None:
        self._preload = tuple(preload)
        self._lock = Lock()
        self._server: _Server | None = None
        self._live: set[int] = set()
        self._stopped = False

    def __enter__(self) -> Workshop:
        self._server = _Server(self._preload)
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def prepare(self) -> float:
        """Wait until the imports are done; gives the time that this took, s."""
        started = time.monotonic()
        self._ready_server()
        return time.monotonic() - started

    def stop(self) -> None:
        """End the calls that other threads are waiting for, and those that they are about to make."""
        self._stopped = True
        for process in list(self._live):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGTERM)

    def call(
        self, entry: EntryPoint, argv: Sequence[str], *, folder: Path, log: Path | None = None
    ) -> Outcome:
        """Run an entry point and wait for its end.

        Parameters
        ----------
        entry : EntryPoint
            What to run.
        argv : sequence of str
            Its command line, the name of the program first.
        folder : pathlib.Path
            Working directory.
        log : pathlib.Path, optional
            What the call prints is appended here; without it goes where our own output goes.
        """
        server = self._ready_server()
        started = time.monotonic()
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                server.send(theirs)
            request = {
                "module": entry.module,
                "function": entry.function,
                "argv": list(argv),
                "folder": str(folder),
                "log": None if log is None else str(log),
            }
            reply = self._converse(ours, request)
        if reply:
            return Outcome(wall_time=time.monotonic() - started, **reply)
        # The server was killed, and took the call with it.
        self._retire(server)
        return Outcome(-signal.SIGKILL, time.monotonic() - started)

    def _ready_server(self) -> _Server:
        with self._lock:
            if self._server is None:
                self._server = _Server(self._preload)
            if not self._server.is_ready():
                # It may be an import that took the server down with it: the call that needs that
                # module then says in its own log what is wrong with it.
                self._server.close()
                self._preload = ()
                self._server = _Server(self._preload)
                self._server.is_ready()
            return self._server

    def _retire(self, server: _Server) -> None:
        with self._lock:
            if self._server is server:
                server.close()
                self._server = None

    def _converse(self, call: socket.socket, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request and wait for the end of the call; empty where the server is gone."""
        process = 0
        try:
            with suppress(OSError), call.makefile("r", encoding="utf-8") as replies:
                call.sendall((json.dumps(request) + "\n").encode())
                process = _read(replies).get("process", 0)
                if process:
                    self._live.add(process)
                    if self._stopped:
                        _end(process)
                    return _read(replies)
            return {}
        except BaseException:
            if process:
                _end(process)
            raise
        finally:
            self._live.discard(process)


class _Server:
    """The process behind a workshop, as its caller sees it."""

    def __init__(self, preload: Sequence[str]) -> None:
        self._channel, theirs = socket.socketpair()
        self._ready = False
        with theirs:
            descriptor = str(theirs.fileno())
            words = ["-m", "osa.system.zygote", str(os.getpid()), descriptor, *preload]
            self._process = subprocess.Popen(
                # -P: the working folder is no place to import from.
                [sys.executable, "-P", *words],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )

    def is_ready(self) -> bool:
        """Wait for the imports; False where the process ended before they were done."""
        if not self._ready:
            with suppress(OSError):
                self._ready = self._channel.recv(len(READY)) == READY
        return self._ready

    def send(self, call: socket.socket) -> None:
        """Hand over one end of the socket of a call."""
        with suppress(OSError):  # gone: the call gets no reply
            socket.send_fds(self._channel, [b"c"], [call.fileno()])

    def close(self) -> None:
        """Let the process end, and wait for it, so that what it used is accounted to this one."""
        self._channel.close()
        _stop(self._process)


def _read(stream: TextIO) -> dict[str, Any]:
    """Read one message; empty at the end of the stream."""
    line = stream.readline()
    message: dict[str, Any] = json.loads(line) if line else {}
    return message


def _end(process: int) -> None:
    """Ask a call to end, and make it after a while."""
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGTERM)
        give_up = time.monotonic() + _GRACE_SECONDS
        while time.monotonic() < give_up and Path(f"/proc/{process}").exists():
            time.sleep(0.02)
        os.kill(process, signal.SIGKILL)


_RUN_ENTRY = """
import importlib, sys
from osa.system.zygote import end_with_parent
parent, module, function = sys.argv[1:4]
end_with_parent(int(parent))
sys.argv = sys.argv[4:]
sys.exit(getattr(importlib.import_module(module), function)())
"""


def run_program(entry: EntryPoint, argv: Sequence[str], *, folder: Path, log: Path | None = None) -> Outcome:
    """Run an entry point in a new interpreter; parameters as for :meth:`Workshop.call`."""
    started = time.monotonic()
    with log.open("ab") if log else nullcontext() as stream:
        process = subprocess.Popen(
            # -P: the working folder is no place to import from.
            [sys.executable, "-P", "-c", _RUN_ENTRY, str(os.getpid()), entry.module, entry.function, *argv],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=None if stream is None else subprocess.STDOUT,
        )
    try:
        _, status, usage = os.wait4(process.pid, 0)
    except BaseException:
        _stop(process)
        raise
    process.returncode = os.waitstatus_to_exitcode(status)
    return Outcome(
        return_code=process.returncode,
        wall_time=time.monotonic() - started,
        cpu_time=usage.ru_utime + usage.ru_stime,
        peak_memory=usage.ru_maxrss / 1024,
    )


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
