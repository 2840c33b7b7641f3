"""The process that a workshop forks for its calls: it has the heavy imports behind it.

Run as ``python -m osa.system.zygote PARENT DESCRIPTOR MODULE…``. Over the socket DESCRIPTOR it
says that it is ready and is then sent, for each call, one end of a socket of that call. It forks;
the fork reads from there what to call, tells its process number, and goes on as the main program:
what it imports, raises, registers for its end or returns has the effect that it always has. How
it ended is told by this process, over the same socket.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import selectors
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module

__all__ = ["READY", "end_with_parent", "main"]

READY = b"ready"
_PR_SET_PDEATHSIG = 1


def end_with_parent(parent: int | None = None) -> None:
    """Ask the kernel to kill this process when its parent ends (Linux).

    Parameters
    ----------
    parent : int, optional
        The parent; where it has ended already, so does this process.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if parent is not None and os.getppid() != parent:
        sys.exit("whoever started this has ended")


def main() -> int | str | None:
    """Import, serve, and in each fork make the call."""
    parent, descriptor, *modules = sys.argv[1:]
    end_with_parent(int(parent))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # our caller is told, and decides
    for module in modules:
        # One that cannot be imported is left to the call that needs it, and says why there.
        with suppress(BaseException):
            import_module(module)
    gc.freeze()  # what was imported stays: forks that do not look at it need not copy it
    call = _serve(socket.socket(fileno=int(descriptor)))
    if call is None:
        return None
    request = _begin(call)
    result: int | str | None = getattr(import_module(request["module"]), request["function"])()
    return result


def _begin(call: socket.socket) -> dict[str, str]:
    """Become, in a fork, what the caller asks for; gives the module and the function to call."""
    with call, call.makefile("rw", encoding="utf-8") as stream:
        request = json.loads(stream.readline())
        stream.write(json.dumps({"process": os.getpid()}) + "\n")
    if request["log"] is not None:
        log = os.open(request["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
    os.chdir(request["folder"])
    sys.argv = request["argv"]
    return {"module": request["module"], "function": request["function"]}


@dataclass(frozen=True)
class _Bell:
    """Wakes the server when a fork has ended."""

    out: int
    into: int

    @classmethod
    def hang(cls) -> _Bell:
        out, into = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(into)
        return cls(out, into)

    def silence(self) -> None:
        with suppress(BlockingIOError):
            os.read(self.out, 4096)

    def take_down(self) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.close(self.out)
        os.close(self.into)


def _serve(channel: socket.socket) -> socket.socket | None:
    """Fork for each call; returns its socket in the fork, and None when the caller is done."""
    server, bell = os.getpid(), _Bell.hang()
    selector = selectors.DefaultSelector()
    selector.register(channel, selectors.EVENT_READ)
    selector.register(bell.out, selectors.EVENT_READ)
    running: dict[int, socket.socket] = {}
    channel.send(READY)
    channel.setblocking(False)
    while True:
        selector.select()
        bell.silence()
        _tell_ends(running)
        try:
            call = _receive(channel)
        except ConnectionError:
            return None
        if call is None:
            continue
        sys.stdout.flush()
        sys.stderr.flush()
        process = os.fork()
        if process == 0:
            end_with_parent(server)
            selector.close()
            for other in (channel, *running.values()):
                other.close()
            bell.take_down()
            signal.signal(signal.SIGINT, signal.default_int_handler)
            return call
        running[process] = call


def _receive(channel: socket.socket) -> socket.socket | None:
    """Take the socket of a call; None where there is none now; fails when the caller has ended."""
    try:
        data, descriptors, _, _ = socket.recv_fds(channel, 1, 1)
    except BlockingIOError:
        return None
    if not data:
        raise ConnectionResetError
    return socket.socket(fileno=descriptors[0]) if descriptors else None


def _tell_ends(running: dict[int, socket.socket]) -> None:
    """Collect the forks that have ended and tell their callers."""
    while running:
        process, status, usage = os.wait4(-1, os.WNOHANG)
        if process == 0:
            return
        outcome = {
            "return_code": os.waitstatus_to_exitcode(status),
            "cpu_time": usage.ru_utime + usage.ru_stime,
            "peak_memory": usage.ru_maxrss / 1024,
        }
        with running.pop(process) as call, suppress(OSError):
            call.sendall((json.dumps(outcome) + "\n").encode())


if __name__ == "__main__":
    sys.exit(main())
