"""Opaque blocks of bytes that the camera's modules add to each event, in both formats.

The layouts are the dtypes of :mod:`ctapipe_io_lst.anyarray_dtypes`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from ctapipe_io_lst.anyarray_dtypes import CDTS_AFTER_37201_DTYPE, DRAGON_COUNTERS_DTYPE, TIB_DTYPE

from osa.simulation.camera import N_MODULES
from osa.simulation.events import RawEvent

__all__ = [
    "cdts_bytes",
    "counter_bytes",
    "dragon_ns",
    "local_clock",
    "tib_bytes",
    "tib_ns",
]

Bytes = npt.NDArray[np.uint8]
# What the modules' counters show at the start of a run, ns; a whole number of 10 MHz ticks.
_DRAGON_OFFSET_NS = 1_709_300
_TIB_OFFSET_NS = _DRAGON_OFFSET_NS - 600
_LOCAL_CLOCK_MHZ = 133


def dragon_ns(event: RawEvent) -> int:
    """Tell what the modules' counters (PPS and 10 MHz) show at an event, ns."""
    return _DRAGON_OFFSET_NS + event.since_start_ns


def tib_ns(event: RawEvent) -> int:
    """Tell what the TIB's counters show at an event, ns."""
    return _TIB_OFFSET_NS + event.since_start_ns


def local_clock(event: RawEvent) -> npt.NDArray[np.uint64]:
    """Local 133 MHz clock of each module, shape (n_modules,)."""
    ticks = dragon_ns(event) * _LOCAL_CLOCK_MHZ // 1000
    return np.full(N_MODULES, ticks, dtype=np.uint64)


def counter_bytes(event: RawEvent) -> Bytes:
    """Counters of the Dragon modules."""
    counters = np.zeros(N_MODULES, dtype=DRAGON_COUNTERS_DTYPE)
    pps, rest = divmod(dragon_ns(event), 1_000_000_000)
    counters["pps_counter"] = pps
    counters["tenMHz_counter"] = rest // 100
    counters["event_counter"] = event.event_id
    counters["trigger_counter"] = event.event_id
    counters["local_clock_counter"] = local_clock(event)
    return counters.view(np.uint8)


def cdts_bytes(event: RawEvent) -> Bytes:
    """UCTS data: time stamp and trigger type."""
    data = np.zeros(1, dtype=CDTS_AFTER_37201_DTYPE)
    data["timestamp"] = event.tai_ns
    data["event_counter"] = event.event_id
    data["pps_counter"] = event.tai_ns // 1_000_000_000 % 2**32
    data["trigger_type"] = int(event.trigger)
    return data.view(np.uint8)


def tib_bytes(event: RawEvent) -> Bytes:
    """TIB data: counters and trigger bits."""
    data = np.zeros(1, dtype=TIB_DTYPE)
    pps, rest = divmod(tib_ns(event), 1_000_000_000)
    data["event_counter"] = event.event_id
    data["pps_counter"] = pps
    data["tenMHz_counter"] = np.frombuffer((rest // 100).to_bytes(3, "little"), dtype=np.uint8)
    data["masked_trigger"] = int(event.trigger)
    return data.view(np.uint8)
