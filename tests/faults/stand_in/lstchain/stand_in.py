"""What all stand-ins share: each notes that it was called, and waits where it is told to."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(os.environ["STAND_IN"])


def note(*words: object) -> None:
    """Append a line to the log of attempts, with one write."""
    descriptor = os.open(FOLDER / "attempts.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(descriptor, (" ".join(map(str, words)) + "\n").encode())
    os.close(descriptor)
    _suffer(" ".join(map(str, words)))


def _suffer(what: str) -> None:
    """End as an order says, as often as it says, or while the job was granted less memory."""
    path = FOLDER / f"suffer {what}"
    if not path.exists():
        return
    order = json.loads(path.read_text())
    granted = int(os.environ.get("SLURM_MEM_PER_NODE", "0"))
    if order["times"] < 1 or granted >= order.get("until_memory", granted + 1):
        return
    path.write_text(json.dumps({**order, "times": order["times"] - 1}))
    if order["end"] == "sleep":
        time.sleep(order["seconds"])
    elif order["end"] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    else:
        print(order.get("say", ""), file=sys.stderr, flush=True)
        sys.exit(order["end"])


def value(arguments: Sequence[str], option: str) -> str:
    """Find the value of an option."""
    return next(a.partition("=")[2] for a in arguments if a.startswith(f"--{option}="))


def tag(name: str) -> str:
    """Tell run and sub-run from a file name."""
    found = re.search(r"Run(\d{5,}\.\d{4})", name)
    assert found, name
    return found[1]


def deliver(path: Path, what: str) -> None:
    """Leave a file whole; or, where that is asked for, cut it short and wait to be killed."""
    order = FOLDER / f"hold {what}"
    if not order.exists():
        return
    share = float(order.read_text())
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    order.rename(FOLDER / f"held {what}")
    time.sleep(60)
