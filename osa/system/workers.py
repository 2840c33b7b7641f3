"""Calls that may crash, run apart from the process that keeps the books.

Two ways, with the same result:

- :class:`Workshop` imports heavy modules once, in a process of its own (the standard library's
  fork server), and forks that process for each call. A call that raises, exits, is killed or
  brings the interpreter down ends its fork only.
- :func:`run_program` starts a program.
"""

from __future__ import annotations

import atexit
import ctypes
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

__all__ = ["EntryPoint", "Outcome", "Workshop", "die_with_parent", "run_program"]

_PR_SET_PDEATHSIG = 1
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


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent ends (Linux)."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _usage() -> tuple[float, float]:
    """CPU time in s and peak memory in MB, of this process and of the children that it waited for."""
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    cpu = own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
    return cpu, max(own.ru_maxrss, children.ru_maxrss) / 1024


def _let_server_end() -> None:
    """Close this fork's end of the pipe by which the fork server knows that it is still wanted.

    Otherwise the server would outlive our caller for as long as this fork lives, and this fork,
    which dies with the server, would outlive the caller too.
    """
    descriptor = forkserver._forkserver._forkserver_alive_fd  # type: ignore[attr-defined]
    if descriptor is not None:
        os.close(descriptor)
        forkserver._forkserver._forkserver_alive_fd = None  # type: ignore[attr-defined]


def _enter(
    entry: EntryPoint, argv: list[str], folder: str, log: str | None, report: Connection[Any, Any]
) -> None:
    """Run the entry point; this is the whole life of a fork."""
    die_with_parent()
    _let_server_end()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if log is not None:
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
    os.chdir(folder)
    sys.argv = argv
    start, _ = _usage()
    try:
        # As console scripts do: what the function returns is the exit code.
        sys.exit(getattr(import_module(entry.module), entry.function)())
    finally:
        # Forks of multiprocessing skip this, but HDF5 files may be closed only here.
        atexit._run_exitfuncs()
        cpu, memory = _usage()
        report.send((cpu - start, memory))


class Workshop:
    """Makes calls in forks of one process that has the heavy imports behind it.

    Parameters
    ----------
    preload : sequence of str
        Modules that are imported once. One that cannot be imported is left to the call that
        needs it, which then fails with the reason in its own log.
    """

    def __init__(self, preload: Sequence[str]) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(preload))
        self._live: set[BaseProcess] = set()
        self._starting = threading.Lock()

    def __enter__(self) -> Workshop:
        return self

    def __exit__(self, *_: object) -> None:
        # Waited for, so that what the calls used is accounted to this process; multiprocessing
        # would leave its server to end by itself.
        forkserver._forkserver._stop()  # type: ignore[attr-defined]

    def stop(self) -> None:
        """End the calls that other threads are waiting for."""
        for process in list(self._live):
            process.terminate()

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
        receiver, sender = self._context.Pipe(duplex=False)
        with receiver:
            started = time.monotonic()
            with sender:
                log_name = None if log is None else str(log)
                process = self._start(entry, list(argv), str(folder), log_name, sender)
            return self._wait(process, receiver, started)

    def _start(self, *arguments: Any) -> BaseProcess:
        with self._starting:
            process = self._start_alone(*arguments)
            # Starting a process, multiprocessing asks all others that it knows how they ended. The
            # answer is given once: the thread that waits for one of them would take it for failed.
            multiprocessing.process._children.discard(process)  # type: ignore[attr-defined]
        self._live.add(process)
        return process

    def _start_alone(self, *arguments: Any) -> BaseProcess:
        process = self._context.Process(target=_enter, args=arguments)
        try:
            process.start()
        except (EOFError, ConnectionError):
            # An import took the server down with it. Without imports it lives, and the call that
            # needs that module says in its own log what is wrong with it.
            forkserver._forkserver._stop()  # type: ignore[attr-defined]
            self._context.set_forkserver_preload([])
            process = self._context.Process(target=_enter, args=arguments)
            process.start()
        return process

    def _wait(self, process: BaseProcess, receiver: Connection[Any, Any], started: float) -> Outcome:
        try:
            process.join()
        except BaseException:
            _end(process)
            raise
        finally:
            self._live.discard(process)
        wall = time.monotonic() - started
        cpu, memory = 0.0, 0.0
        with suppress(EOFError):  # killed before it could say; the exit code tells
            if receiver.poll():
                cpu, memory = receiver.recv()
        code = process.exitcode
        return Outcome(1 if code is None else code, wall, cpu, memory)


def _end(process: BaseProcess) -> None:
    process.terminate()
    process.join(_GRACE_SECONDS)
    process.kill()
    process.join()


_RUN_ENTRY = f"""
import ctypes, importlib, os, sys
parent, module, function = sys.argv[1:4]
ctypes.CDLL(None).prctl({_PR_SET_PDEATHSIG}, {int(signal.SIGKILL)}, 0, 0, 0)
if os.getppid() != int(parent):
    sys.exit("whoever started this has ended")
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
