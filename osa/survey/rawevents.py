"""The first events of a sub-run, read from its raw files; both formats, one or more streams.

Importing this imports ctapipe_io_lst, which takes seconds: it is done in processes of their own
(:mod:`osa.survey.look`), also because a broken file can bring its reader down.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from ctapipe.containers import EventType
from ctapipe_io_lst.anyarray_dtypes import (
    CDTS_AFTER_37201_DTYPE,
    CDTS_BEFORE_37201_DTYPE,
    DRAGON_COUNTERS_DTYPE,
    TIB_DTYPE,
    parse_tib_10MHz_counter,
)
from ctapipe_io_lst.constants import TriggerBits
from ctapipe_io_lst.evb_preprocessing import get_processings_for_trigger_bits
from ctapipe_io_lst.event_time import combine_counters
from protozfits import File, any_array_to_numpy

from osa.survey.tagging import EventKind

__all__ = ["FirstEvent", "RawSubrun"]

# Protobuf classes are made at run time and have no types.
Message = Any

_TIB, _UCTS = 1, 2  # bits of extdevices_presence
_UCTS_IS_WRONG = 42  # trigger type where UCTS data is shifted or lost
_LAST_OLD_IDAQ = 37201
_NS = 1_000_000_000
_KINDS = {
    EventType.SUBARRAY: EventKind.PHYSICS,
    EventType.SKY_PEDESTAL: EventKind.PEDESTAL,
    EventType.FLATFIELD: EventKind.FLATFIELD,
}


@dataclass(frozen=True)
class FirstEvent:
    """The clocks at the first event of a sub-run of the format EVBv5.

    Parameters
    ----------
    event_id : int
        Its number in the run.
    ucts_ns : int or None
        UCTS time, ns TAI since 1970; None where UCTS was away.
    module_id, module_index : int
        The first module that was read out: its identity, and its place in the data.
    dragon_ns, tib_ns : int or None
        Counters of that module and of the TIB; None where the TIB was away.
    """

    event_id: int
    ucts_ns: int | None
    module_id: int
    module_index: int
    dragon_ns: int
    tib_ns: int | None


class RawSubrun:
    """The raw files of one sub-run, opened for reading.

    Parameters
    ----------
    paths : sequence of pathlib.Path
        One file a stream.

    Raises
    ------
    OSError, ValueError, KeyError, AttributeError
        If one of them is no raw file.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        with ExitStack() as stack:
            self._files = [stack.enter_context(File(str(path), pure_protobuf=True)) for path in paths]
            first = self._files[0]
            self.is_r1 = hasattr(first, "CameraConfiguration")
            table = first.CameraConfiguration if self.is_r1 else first.CameraConfig
            table.pure_protobuf = False
            self._camera = table[0]
            self.data_format = str(first.Events.header["PBFHEAD"])
            self._old_idaq = not self.is_r1 and int(self._camera.lstcam.idaq_version) <= _LAST_OLD_IDAQ
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    @property
    def start(self) -> float:
        """Start of the run, seconds since 1970."""
        return float(self._camera.config_time_s if self.is_r1 else self._camera.date)

    @property
    def evb_preprocessing(self) -> int:
        """What the event builder did to physics events, as lstchain writes it; 0 in EVBv5."""
        if not self.is_r1:
            return 0
        return int(get_processings_for_trigger_bits(self._camera)[TriggerBits.MONO].value)

    @property
    def n_events(self) -> int:
        """Events of all streams."""
        return sum(len(file.Events) for file in self._files)

    def kinds(self, start: int, stop: int) -> Iterator[EventKind]:
        """Tell what triggered some events.

        The streams take turns: event :math:`k` is the :math:`k / n`-th of one of the :math:`n` streams.

        Parameters
        ----------
        start, stop : int
            Which events, in the order of the data.
        """
        for number in range(start, stop):
            row, stream = divmod(number, len(self._files))
            events = self._files[stream].Events
            if row < len(events):
                event = events[row]
                if event.event_id != 0:  # empty events that some runs end with
                    yield self._kind(event)

    def first_event(self) -> FirstEvent:
        """Read the clocks at the first event of all streams, in the format EVBv5."""
        firsts = [file.Events[0] for file in self._files if len(file.Events)]
        event = min(firsts, key=lambda each: int(each.event_id))
        lst = event.lstcam
        index = int(np.flatnonzero(any_array_to_numpy(lst.module_status))[0])
        counters = any_array_to_numpy(lst.counters).view(DRAGON_COUNTERS_DTYPE)[index]
        has_ucts = bool(lst.extdevices_presence & _UCTS)
        tib_ns = None
        if lst.extdevices_presence & _TIB:
            tib = any_array_to_numpy(lst.tib_data).view(TIB_DTYPE)[0]
            ticks = int(parse_tib_10MHz_counter(tib["tenMHz_counter"]))
            tib_ns = int(tib["pps_counter"]) * _NS + ticks * 100
        return FirstEvent(
            event_id=int(event.event_id),
            ucts_ns=int(self._cdts(lst)["timestamp"]) if has_ucts else None,
            module_id=int(np.flatnonzero(self._camera.lstcam.expected_modules_id == index)[0]),
            module_index=index,
            dragon_ns=int(combine_counters(counters["pps_counter"], counters["tenMHz_counter"])),
            tib_ns=tib_ns,
        )

    def _kind(self, event: Message) -> EventKind:
        if self.is_r1:
            return _kind_of_type(int(event.event_type))
        lst = event.lstcam
        bits = 0
        if lst.extdevices_presence & _UCTS:
            bits = int(self._cdts(lst)["trigger_type"])
        if lst.extdevices_presence & _TIB and bits in (0, _UCTS_IS_WRONG):
            bits = int(any_array_to_numpy(lst.tib_data).view(TIB_DTYPE)[0]["masked_trigger"])
        return _kind_of_bits(bits)

    def _cdts(self, lst: Message) -> Any:
        layout = CDTS_BEFORE_37201_DTYPE if self._old_idaq else CDTS_AFTER_37201_DTYPE
        return any_array_to_numpy(lst.cdts_data).view(layout)[0]


def _kind_of_type(number: int) -> EventKind:
    """Translate the event type of R1v1, which is ctapipe's."""
    try:
        return _KINDS.get(EventType(number), EventKind.OTHER)
    except ValueError:
        return EventKind.OTHER


def _kind_of_bits(bits: int) -> EventKind:
    """Translate trigger bits as ctapipe_io_lst does: flat-field flashes may fire the physics trigger."""
    if bits & TriggerBits.PHYSICS and not bits & TriggerBits.OTHER:
        return EventKind.PHYSICS
    if bits in (TriggerBits.CALIBRATION, TriggerBits.CALIBRATION | TriggerBits.MONO):
        return EventKind.FLATFIELD
    return EventKind.PEDESTAL if bits == TriggerBits.PEDESTAL else EventKind.OTHER
