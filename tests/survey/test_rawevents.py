"""Events of raw files, in both formats, in one or four streams, with devices that were away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from osa.survey.rawevents import FirstEvent, RawSubrun
from osa.survey.tagging import EventKind
from tests.survey.conftest import START, event, mixed, write_raw

PHYSICS, PEDESTAL, FLATFIELD, OTHER = EventKind
SOME = mixed(physics=20, pedestal=7, flatfield=10)
FORMATS = pytest.mark.parametrize("data_format", ["EVBv5", "R1v1"])
STREAMS = pytest.mark.parametrize("streams", [1, 4])
START_TAI = round(START.timestamp()) + 37


def kinds_of(paths: Sequence[Path]) -> list[EventKind]:
    with RawSubrun(paths) as raw:
        return list(raw.kinds(0, raw.n_events))


def first_of(paths: Sequence[Path]) -> FirstEvent:
    with RawSubrun(paths) as raw:
        return raw.first_event()


@FORMATS
@STREAMS
def test_what_is_in_a_subrun(tmp_path: Path, data_format: str, streams: int) -> None:
    paths = write_raw(tmp_path, 1874, 0, SOME, data_format=data_format, streams=streams)
    with RawSubrun(paths) as raw:
        assert raw.n_events == len(SOME)
        assert list(raw.kinds(0, len(SOME))) == SOME
        assert list(raw.kinds(5, 11)) == SOME[5:11]
        assert raw.start == START.timestamp()
        assert raw.evb_preprocessing == 0
        name = {"EVBv5": "ProtoR1.CameraEvent", "R1v1": "R1v1.Event"}[data_format]
        assert (raw.data_format, raw.is_r1) == (name, data_format == "R1v1")


@pytest.mark.parametrize("data_format", ["EVBv5", "R1v1"])
def test_simulated_subrun(tmp_path: Path, data_format: str) -> None:
    """What the simulation says of its own files, with real waveforms."""
    from osa.simulation.camera import load_camera
    from osa.simulation.events import count_kinds
    from osa.simulation.hardware import dragon_ns, tib_ns
    from osa.simulation.plan import make_plan
    from osa.simulation.writer import write_subrun

    plan = make_plan(data_runs=1, subruns=1, events=30, data_format=data_format, streams=4)
    run = plan.runs[-1]
    paths, first = write_subrun(plan, run, 0, load_camera(plan.seed), tmp_path)
    made = count_kinds(run, plan.mix)
    counts = Counter(kinds_of(paths))
    assert counts[PEDESTAL] == made["pedestal"]
    assert counts[FLATFIELD] == made["flatfield"]
    assert counts[PHYSICS] == made["muon"] + made["gamma"] + made["proton"]
    if data_format == "EVBv5":
        assert first_of(paths) == FirstEvent(1, first.tai_ns, 0, 0, dragon_ns(first), tib_ns(first))


# -------------------------------------------------------------------- what triggered an event


def bits_of(place: int, message: Any) -> None:
    message.lstcam.cdts_data.CopyFrom(cdts(place))
    message.lstcam.tib_data.CopyFrom(tib(place))


def cdts(bits: int, timestamp: int = 0, *, old: bool = False) -> Any:
    from ctapipe_io_lst.anyarray_dtypes import CDTS_AFTER_37201_DTYPE, CDTS_BEFORE_37201_DTYPE

    return packed(
        CDTS_BEFORE_37201_DTYPE if old else CDTS_AFTER_37201_DTYPE, trigger_type=bits, timestamp=timestamp
    )


def tib(bits: int) -> Any:
    from ctapipe_io_lst.anyarray_dtypes import TIB_DTYPE

    return packed(TIB_DTYPE, masked_trigger=bits)


def packed(layout: np.dtype[Any], **values: int) -> Any:
    from protozfits.anyarray import numpy_to_any_array

    data = np.zeros(1, layout)
    for name, value in values.items():
        data[name] = value
    return numpy_to_any_array(data.view(np.uint8))


def test_all_trigger_bits_mean_what_they_mean_to_ctapipe_io_lst(tmp_path: Path) -> None:
    from ctapipe.containers import EventType
    from ctapipe_io_lst import LSTEventSource

    names = {
        EventType.SUBARRAY: PHYSICS,
        EventType.SKY_PEDESTAL: PEDESTAL,
        EventType.FLATFIELD: FLATFIELD,
    }
    expected = [names.get(LSTEventSource._event_type_from_trigger_bits(bits), OTHER) for bits in range(256)]
    assert {*expected} == {*EventKind}
    assert kinds_of(write_raw(tmp_path, 1874, 0, [PHYSICS] * 256, spoil=bits_of)) == expected


def test_all_event_types_of_r1(tmp_path: Path) -> None:
    from ctapipe.containers import EventType

    numbers = [*(kind.value for kind in EventType), 77]
    names = {
        EventType.SUBARRAY.value: PHYSICS,
        EventType.SKY_PEDESTAL.value: PEDESTAL,
        EventType.FLATFIELD.value: FLATFIELD,
    }

    def spoil(place: int, message: Any) -> None:
        message.event_type = numbers[place]

    paths = write_raw(tmp_path, 1874, 0, [PHYSICS] * len(numbers), data_format="R1v1", spoil=spoil)
    assert kinds_of(paths) == [names.get(number, OTHER) for number in numbers]


UCTS, TIB = 2, 1


@pytest.mark.parametrize(
    ("devices", "ucts_bits", "tib_bits", "kind"),
    [
        (UCTS | TIB, 1, 32, PHYSICS),
        (UCTS | TIB, 42, 32, PEDESTAL),  # shifted or lost
        (UCTS | TIB, 42, 5, FLATFIELD),
        (UCTS | TIB, 0, 32, PEDESTAL),
        (UCTS | TIB, 0, 0, OTHER),
        (UCTS, 32, 1, PEDESTAL),
        (UCTS, 42, 1, OTHER),
        (TIB, 32, 1, PHYSICS),
        (TIB, 1, 32, PEDESTAL),
        (0, 1, 1, OTHER),
    ],
)
def test_who_says_what_triggered(
    tmp_path: Path, devices: int, ucts_bits: int, tib_bits: int, kind: EventKind
) -> None:
    def spoil(_: int, message: Any) -> None:
        message.lstcam.extdevices_presence = devices
        message.lstcam.cdts_data.CopyFrom(cdts(ucts_bits))
        message.lstcam.tib_data.CopyFrom(tib(tib_bits))

    assert kinds_of(write_raw(tmp_path, 1874, 0, [PHYSICS], spoil=spoil)) == [kind]


@pytest.mark.parametrize(("version", "is_old"), [("37200", True), ("37201", True), ("37202", False)])
def test_layout_of_ucts_data_depends_on_the_version(tmp_path: Path, version: str, is_old: bool) -> None:
    def spoil(_: int, message: Any) -> None:
        message.lstcam.cdts_data.CopyFrom(cdts(32, 1580154753739954334, old=is_old))
        message.lstcam.tib_data.CopyFrom(tib(1))

    def set_version(_: int, message: Any) -> None:
        message.lstcam.idaq_version = version

    paths = write_raw(tmp_path, 1874, 0, [PHYSICS] * 3, spoil=spoil, spoil_table=set_version)
    assert kinds_of(paths) == [PEDESTAL] * 3
    assert first_of(paths).ucts_ns == 1580154753739954334


@FORMATS
def test_empty_events_at_the_end_are_passed_over(tmp_path: Path, data_format: str) -> None:
    def spoil(place: int, message: Any) -> None:
        if place >= 30:
            message.event_id = 0

    paths = write_raw(tmp_path, 1874, 0, SOME, data_format=data_format, streams=4, spoil=spoil)
    assert kinds_of(paths) == SOME[:30]


@FORMATS
def test_streams_may_differ_in_length(tmp_path: Path, data_format: str) -> None:
    """A writer that fell behind; nothing is counted twice."""
    kinds = [PHYSICS] * 10 + [PEDESTAL] * 6
    (one,) = write_raw(tmp_path / "1", 1874, 0, kinds[:10], data_format=data_format)
    (two,) = write_raw(tmp_path / "2", 1874, 0, kinds[10:], data_format=data_format, first_id=11)
    with RawSubrun([one, two]) as raw:
        assert raw.n_events == 16
        assert list(raw.kinds(0, 12)) == [PHYSICS, PEDESTAL] * 6
        assert Counter(raw.kinds(0, 20)) == Counter(kinds)


# ----------------------------------------------------------------------- the clocks at the start


@STREAMS
def test_first_event(tmp_path: Path, streams: int) -> None:
    from osa.simulation.hardware import dragon_ns, tib_ns

    first = event(1, PHYSICS)
    found = first_of(write_raw(tmp_path, 1874, 0, SOME, streams=streams))
    assert found == FirstEvent(1, first.tai_ns, 0, 0, dragon_ns(first), tib_ns(first))
    assert found.ucts_ns == START_TAI * 10**9 + 1_000_100_000


def test_first_event_may_be_in_any_stream(tmp_path: Path) -> None:
    """The event builder sends the events to its writers as they are free."""
    (late,) = write_raw(tmp_path / "1", 1874, 0, SOME, first_id=3)
    (early,) = write_raw(tmp_path / "2", 1874, 0, SOME, first_id=2)
    found = first_of([late, early])
    assert (found.event_id, found.ucts_ns) == (2, event(2, PHYSICS).tai_ns)


@pytest.mark.parametrize(
    ("devices", "has_ucts", "has_tib"), [(3, True, True), (1, False, True), (2, True, False)]
)
def test_clock_of_a_device_that_was_away(tmp_path: Path, devices: int, has_ucts: bool, has_tib: bool) -> None:
    def spoil(_: int, message: Any) -> None:
        message.lstcam.extdevices_presence = devices

    found = first_of(write_raw(tmp_path, 1874, 0, SOME, spoil=spoil))
    assert (found.ucts_ns is not None, found.tib_ns is not None) == (has_ucts, has_tib)


def test_counters_are_those_of_the_first_module_that_was_read_out(tmp_path: Path) -> None:
    """Identity and place of a module differ where the modules do not come in order."""
    from ctapipe_io_lst.anyarray_dtypes import DRAGON_COUNTERS_DTYPE
    from protozfits.anyarray import any_array_to_numpy, numpy_to_any_array

    def spoil(_: int, message: Any) -> None:
        status = any_array_to_numpy(message.lstcam.module_status).copy()
        status[:2] = 0
        message.lstcam.module_status.CopyFrom(numpy_to_any_array(status))
        counters = any_array_to_numpy(message.lstcam.counters).view(DRAGON_COUNTERS_DTYPE).copy()
        counters["pps_counter"] = np.arange(len(counters))
        counters["tenMHz_counter"] = 7
        message.lstcam.counters.CopyFrom(numpy_to_any_array(counters.view(np.uint8)))

    def turn_round(_: int, message: Any) -> None:
        modules = np.arange(265, dtype=np.uint16)[::-1].copy()
        message.lstcam.expected_modules_id.CopyFrom(numpy_to_any_array(modules))

    found = first_of(write_raw(tmp_path, 1874, 0, SOME, spoil=spoil, spoil_table=turn_round))
    assert (found.module_index, found.module_id, found.dragon_ns) == (2, 262, 2_000_000_700)


def test_counter_of_the_tib_has_three_bytes(tmp_path: Path) -> None:
    def spoil(_: int, message: Any) -> None:
        from ctapipe_io_lst.anyarray_dtypes import TIB_DTYPE
        from protozfits.anyarray import numpy_to_any_array

        data = np.zeros(1, TIB_DTYPE)
        data["pps_counter"] = 65_535
        data["tenMHz_counter"] = [0x7F, 0x96, 0x98]  # 9 999 999, the last tick of a second
        message.lstcam.tib_data.CopyFrom(numpy_to_any_array(data.view(np.uint8)))

    assert first_of(write_raw(tmp_path, 1874, 0, SOME, spoil=spoil)).tib_ns == 65_535_999_999_900


# --------------------------------------------------------------------------- what else is said


def test_start_of_r1_has_fractions_of_a_second(tmp_path: Path) -> None:
    start = START + timedelta(milliseconds=250)
    with RawSubrun(write_raw(tmp_path, 1874, 0, SOME, data_format="R1v1", start=start)) as raw:
        assert raw.start == start.timestamp()


@pytest.mark.parametrize(
    ("types", "actions", "expected"),
    [([1, 32], [0b11, 0b1111, 0b1], 0b1111), ([32], [0b11, 0b1], 0b11), ([], [0], 0), ([1], [0b11, 0], 0)],
)
def test_preprocessing_of_physics_events(
    tmp_path: Path, types: list[int], actions: list[int], expected: int
) -> None:
    """By default, or as the event builder has it for the physics trigger."""
    from protozfits.anyarray import numpy_to_any_array

    def spoil(_: int, message: Any) -> None:
        if hasattr(message, "debug"):
            for name, values, size in (("tdp_type", types, 15), ("ttype_pattern", actions, 16)):
                array = np.zeros(size, np.uint16)
                array[: len(values)] = values
                getattr(message.debug, name).CopyFrom(numpy_to_any_array(array))

    with RawSubrun(write_raw(tmp_path, 1874, 0, SOME, data_format="R1v1", spoil_table=spoil)) as raw:
        assert raw.evb_preprocessing == expected


@FORMATS
def test_files_are_closed(tmp_path: Path, data_format: str, open_files: Callable[[], int]) -> None:
    good = write_raw(tmp_path, 1874, 0, SOME, data_format=data_format, streams=4)
    bad = tmp_path / "LST-1.5.Run01874.0000.fits.fz"
    bad.write_bytes(b"no raw file")
    with RawSubrun(good):
        assert open_files() >= 4
    assert open_files() == 0
    with pytest.raises(OSError, match="FITS"), RawSubrun([*good, bad]):
        pass
    assert open_files() == 0


@pytest.mark.parametrize("spoil", [lambda path: path.unlink(), lambda path: path.write_bytes(b"")])
def test_no_raw_file(tmp_path: Path, spoil: Callable[[Path], Any]) -> None:
    paths = write_raw(tmp_path, 1874, 0, SOME)
    spoil(paths[0])
    with pytest.raises(OSError), RawSubrun(paths):
        pass
