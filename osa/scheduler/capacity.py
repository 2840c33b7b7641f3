"""What a machine gives to the local backend."""

from __future__ import annotations

import os
from dataclasses import dataclass

import psutil

__all__ = ["Capacity"]


@dataclass(frozen=True)
class Capacity:
    """What all running tasks together may use.

    Parameters
    ----------
    cores : int
        Cores.
    memory : int
        Memory in MB.
    """

    cores: int
    memory: int

    @classmethod
    def of_this_machine(cls, cores: int | None, memory: int | None) -> Capacity:
        """Take what is configured, and for the rest what the machine has (of memory 90 %)."""
        available = len(os.sched_getaffinity(0))
        total = int(0.9 * psutil.virtual_memory().total / 2**20)
        return cls(cores or available, memory or total)
