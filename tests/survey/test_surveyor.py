"""One run: how much of it is read, and what is said of runs that are short, broken or strange."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from protozfits import Table

from osa.survey import surveyor
from osa.survey.run import ClockReference, RunSurvey, from_json, to_json
from osa.survey.surveyor import survey_run
from osa.survey.tagging import EventKind, RunLabel, Tag, TriggerCounts
from tests.survey.conftest import DRS4, START, damage_tile, event, files_of, mixed, write_raw

PHYSICS, PEDESTAL, FLATFIELD, _ = EventKind
DATA = mixed(physics=425, pedestal=35, flatfield=40)
BEGIN = mixed(physics=85, pedestal=7, flatfield=8)
FORMATS = pytest.mark.parametrize("data_format", ["EVBv5", "R1v1"])
STREAMS = pytest.mark.parametrize("streams", [1, 4])


def look(folder: Path, run: int = 1874) -> RunSurvey:
    return survey_run(run, files_of(folder)[run])


def faults_of(survey: RunSurvey) -> str:
    return "\n".join(survey.faults)


@pytest.fixture
def events_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Events that were read so far, in a list of one."""
    count = [0]
    read = Table._read_event

    def counted(self: Table, index: int) -> Any:
        count[0] += self._desc.extname == "Events"
        return read(self, index)

    monkeypatch.setattr(Table, "_read_event", counted)
    return count


@FORMATS
@STREAMS
def test_what_is_said_of_a_run(tmp_path: Path, data_format: str, streams: int) -> None:
    from osa.simulation.hardware import dragon_ns, tib_ns

    for subrun in range(3):
        first_id = 1 + subrun * len(DATA)
        write_raw(tmp_path, 1874, subrun, DATA, data_format=data_format, streams=streams, first_id=first_id)
    first = event(1, DATA[0])
    start_ns = (round(START.timestamp()) + 37) * 10**9
    reference = ClockReference(0, 1, first.tai_ns, start_ns, 0, 0, dragon_ns(first), tib_ns(first))
    found = look(tmp_path)
    assert found == RunSurvey(
        run=1874,
        subruns=(0, 1, 2),
        tag=Tag(RunLabel.DATA, found.tag.confidence),
        start=START,
        counts=TriggerCounts(425, 35, 40),
        sampled=((0, 500),),
        data_format={"EVBv5": "ProtoR1.CameraEvent", "R1v1": "R1v1.Event"}[data_format],
        reference=reference if data_format == "EVBv5" else None,
    )
    assert found.tag.confidence > 0.999


# ------------------------------------------------------------------------- how much is read


@pytest.mark.parametrize(
    ("kinds", "label", "at_most"),
    [
        (DATA * 8, RunLabel.DATA, 501),
        (mixed(pedestal=250, flatfield=250) * 8, RunLabel.CALIBRATION, 501),
        (mixed(physics=425, pedestal=75) * 8, RunLabel.ERROR, 3001),  # in no type, however many are read
    ],
)
def test_reading_stops_when_it_is_sure(
    tmp_path: Path, events_read: list[int], kinds: list[EventKind], label: RunLabel, at_most: int
) -> None:
    write_raw(tmp_path, 1874, 0, kinds)
    write_raw(tmp_path, 1874, 1, kinds, first_id=len(kinds) + 1)
    found = look(tmp_path)
    assert found.tag.label is label
    assert found.sampled == ((0, at_most - 1),)
    assert events_read == [at_most]  # one more for the clocks


def test_drs4_is_looked_at_all_over(tmp_path: Path, events_read: list[int]) -> None:
    for subrun in range(6):
        write_raw(tmp_path, 1872, subrun, DRS4 * 2, first_id=1 + 1000 * subrun)
    found = look(tmp_path, 1872)
    assert found.tag.label is RunLabel.DRS4
    assert [subrun for subrun, _ in found.sampled] == [0, 3, 5]
    assert events_read == [found.counts.total + 1]
    assert 800 <= found.counts.total <= 1000


def test_long_run_of_physics_only_is_no_drs4(tmp_path: Path) -> None:
    for subrun in range(21):
        write_raw(tmp_path, 1874, subrun, [PHYSICS] * 100, first_id=1 + 100 * subrun)
    found = look(tmp_path)
    assert found.tag.label is RunLabel.ERROR
    assert "21 sub-runs are too many for a DRS4 run" in found.tag.reason


def test_long_data_may_begin_without_calibration_events(tmp_path: Path) -> None:
    for subrun in range(24):
        kinds = [PHYSICS] * 50 if subrun < 20 else BEGIN
        write_raw(tmp_path, 1874, subrun, kinds, first_id=1 + 100 * subrun)
    assert look(tmp_path).tag.label is RunLabel.DATA


@STREAMS
@pytest.mark.parametrize(
    "later", [mixed(physics=430, pedestal=30, flatfield=40), mixed(physics=480, flatfield=20)]
)
def test_data_may_begin_without_calibration_events(
    tmp_path: Path, streams: int, later: list[EventKind]
) -> None:
    """The first 500 events, which are all that lstchain looks at, are those of a DRS4 run."""
    write_raw(tmp_path, 1874, 0, DRS4, streams=streams)
    for subrun in range(1, 4):
        write_raw(tmp_path, 1874, subrun, later, streams=streams, first_id=1 + 500 * subrun)
    found = look(tmp_path)
    assert found.tag.label is RunLabel.DATA
    assert found.sampled[0] == (0, 500)


def test_data_of_one_file_may_begin_without_calibration_events(tmp_path: Path) -> None:
    write_raw(tmp_path, 1874, 0, DRS4 * 2 + DATA * 4)
    assert look(tmp_path).tag.label is RunLabel.DATA


@FORMATS
@STREAMS
def test_short_subruns_are_read_one_after_the_other(tmp_path: Path, data_format: str, streams: int) -> None:
    for subrun in range(8):
        first_id = 1 + subrun * len(BEGIN)
        write_raw(tmp_path, 1874, subrun, BEGIN, data_format=data_format, streams=streams, first_id=first_id)
    found = look(tmp_path)
    assert found.tag.label is RunLabel.DATA
    assert found.sampled == tuple((subrun, 100) for subrun in range(5))


def test_subruns_are_told_before_they_are_opened(tmp_path: Path) -> None:
    for subrun in range(3):
        write_raw(tmp_path, 1874, subrun, BEGIN, first_id=1 + subrun * len(BEGIN))
    told: list[int] = []
    survey_run(1874, files_of(tmp_path)[1874], told.append)
    assert told == [0, 1, 2]


# --------------------------------------------------------------------------- too few, or in no type


@pytest.mark.parametrize(
    ("kinds", "reason"),
    [
        ([FLATFIELD] * 600, "0.0% physics, 0.0% pedestal, 100.0% flatfield: neither"),
        (mixed(physics=440, pedestal=60), "88.0% physics, 12.0% pedestal, 0.0% flatfield: neither"),
        (mixed(physics=410, pedestal=90), "82.0% physics, 18.0% pedestal, 0.0% flatfield: neither"),
        ([PHYSICS] * 100, "of only 100 events: 64% sure of DRS4, 90% wanted"),
        (mixed(physics=5, pedestal=1, flatfield=1), "neither"),
        ([PHYSICS] * 4 + [FLATFIELD], "of only 5 events: 74% sure of DATA"),
    ],
)
def test_error_has_a_reason(tmp_path: Path, kinds: list[EventKind], reason: str) -> None:
    write_raw(tmp_path, 1874, 0, kinds)
    found = look(tmp_path)
    assert found.tag.label is RunLabel.ERROR
    assert reason in found.tag.reason
    assert (found.start, found.counts.total) == (START, len(kinds))
    assert found.reference is not None


@FORMATS
def test_drs4_of_a_few_hundred_events(tmp_path: Path, data_format: str) -> None:
    write_raw(tmp_path, 1872, 0, [PHYSICS] * 300, data_format=data_format)
    tag = look(tmp_path, 1872).tag
    assert (tag.label, tag.confidence) == (RunLabel.DRS4, pytest.approx(1 - 0.99**301))


# -------------------------------------------------------------------------------- broken files


def truncate(path: Path, percent: int) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * percent // 100])


def zero_middle(path: Path) -> None:
    content = path.read_bytes()
    quarter = len(content) // 4
    path.write_bytes(content[:quarter] + bytes(2 * quarter) + content[3 * quarter :])


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def without_event_table(path: Path) -> None:
    from astropy.io import fits

    with fits.open(path) as tables:
        end = tables["Events"].fileinfo()["hdrLoc"]
    path.write_bytes(path.read_bytes()[:end])


def empty_event_table(path: Path) -> None:
    content = path.read_bytes()
    of_events = content.rindex(b"ZNAXIS2 =")
    card = b"ZNAXIS2 = " + b"0".rjust(20)
    path.write_bytes(content[:of_events] + card + content[of_events + len(card) :])


# Files that bring the reader down are those of test_look.
BREAK: dict[str, Callable[[Path], object]] = {
    "text": lambda path: path.write_text("no raw file\n" * 500),
    "bytes": lambda path: path.write_bytes(bytes(range(256)) * 400),
    "other": lambda path: path.write_bytes(b"SIMPLE  =                    T" + b" " * 2850),
    "beginning": lambda path: truncate(path, 1),
    "hole": zero_middle,
    "folder": replace_by_folder,
    "gone": Path.unlink,
    "no table": without_event_table,
}


@FORMATS
@pytest.mark.parametrize("way", BREAK)
def test_only_subrun_is_broken(tmp_path: Path, way: str, data_format: str) -> None:
    paths = write_raw(tmp_path, 1874, 0, DATA, data_format=data_format)
    BREAK[way](paths[0])
    found = survey_run(1874, {0: paths})
    assert found.tag == Tag(RunLabel.ERROR, reason="no event can be read")
    assert (found.subruns, found.start, found.sampled) == ((0,), None, ())
    (fault,) = found.faults
    assert fault.startswith("sub-run 0: it cannot be read: ")
    assert fault.isprintable() and len(fault) < 250


@pytest.mark.parametrize("way", BREAK)
def test_first_subrun_is_broken(tmp_path: Path, way: str) -> None:
    paths = write_raw(tmp_path, 1874, 0, DATA)
    (next_one,) = write_raw(tmp_path, 1874, 1, DATA, first_id=501)
    BREAK[way](paths[0])
    found = survey_run(1874, {0: paths, 1: [next_one]})
    assert found.tag.label is RunLabel.DATA
    assert (found.subruns, found.sampled, found.start) == ((0, 1), ((1, 500),), START)
    assert found.reference is not None
    assert (found.reference.subrun, found.reference.event_id) == (1, 501)
    broken, clocks = found.faults
    assert broken.startswith("sub-run 0: it cannot be read: ")
    assert clocks == "the clocks are referred to event 501 (sub-run 1), as the first event is not there"


@pytest.mark.parametrize("stream", [1, 3])
def test_one_stream_is_broken(tmp_path: Path, stream: int) -> None:
    paths = write_raw(tmp_path, 1874, 0, DATA, streams=4)
    truncate(paths[stream - 1], 1)
    write_raw(tmp_path, 1874, 1, DATA, streams=4, first_id=501)
    found = look(tmp_path)
    assert (found.tag.label, found.sampled) == (RunLabel.DATA, ((1, 500),))
    assert "sub-run 0: it cannot be read" in faults_of(found)


def test_what_was_read_before_a_fault_counts(tmp_path: Path) -> None:
    (path,) = write_raw(tmp_path, 1874, 0, DATA)
    damage_tile(path, 5)
    found = look(tmp_path)
    assert (found.tag.label, found.sampled) == (RunLabel.DATA, ((0, 100),))
    assert (found.start, found.reference is not None) == (START, True)
    assert "sub-run 0: it cannot be read" in faults_of(found)


def test_drs4_that_can_be_read_in_part(tmp_path: Path) -> None:
    """There is nowhere else in the run to look for calibration events."""
    (path,) = write_raw(tmp_path, 1872, 0, DRS4)
    damage_tile(path, 13)
    found = look(tmp_path, 1872)
    assert (found.tag.label, found.sampled) == (RunLabel.DRS4, ((0, 260),))
    assert "sub-run 0: it cannot be read" in faults_of(found)


def test_drs4_is_looked_at_where_it_can_be_read(tmp_path: Path) -> None:
    for subrun in range(3):
        write_raw(tmp_path, 1872, subrun, DRS4, first_id=1 + 500 * subrun)
    damage_tile(files_of(tmp_path)[1872][0][0], 13)
    damage_tile(files_of(tmp_path)[1872][2][0], 2)
    found = look(tmp_path, 1872)
    assert found.tag.label is RunLabel.DRS4
    assert found.sampled[::2] == ((0, 260), (2, 20))
    assert faults_of(found).count("it cannot be read") == 2


def test_empty_subrun_is_passed_over(tmp_path: Path) -> None:
    (path,) = write_raw(tmp_path, 1874, 0, DATA)
    empty_event_table(path)
    assert faults_of(look(tmp_path)) == "sub-run 0: there is no event in it"
    write_raw(tmp_path, 1874, 1, DATA)
    found = look(tmp_path)
    assert (found.tag.label, found.sampled) == (RunLabel.DATA, ((1, 500),))
    assert found.faults == ("sub-run 0: there is no event in it",)


def test_faults_of_many_files_are_told_in_part(tmp_path: Path) -> None:
    for subrun in range(20):
        (tmp_path / f"LST-1.1.Run01874.{subrun + 1:04d}.fits.fz").write_bytes(b"x")
    found = look(tmp_path)
    assert found.faults[0].startswith("sub-run 1: ")
    assert len(found.faults) == 6
    assert found.faults[-1] == "… and 15 more"


# ------------------------------------------------------------------------- references of the clocks


def without_ucts(_: int, message: Any) -> None:
    message.lstcam.extdevices_presence = 1


def without_devices(_: int, message: Any) -> None:
    message.lstcam.extdevices_presence = 0


def without_modules(place: int, message: Any) -> None:
    if place == 0:
        message.lstcam.module_status.data = bytes(len(message.lstcam.module_status.data))


def test_first_subrun_is_missing(tmp_path: Path) -> None:
    write_raw(tmp_path, 1874, 3, DATA, first_id=1501)
    write_raw(tmp_path, 1874, 4, DATA, first_id=2001)
    found = look(tmp_path)
    assert (found.tag.label, found.subruns) == (RunLabel.DATA, (3, 4))
    assert found.reference is not None and found.reference.is_usable
    assert (found.reference.subrun, found.reference.ucts_ns) == (3, event(1501, DATA[0]).tai_ns)
    clocks = "the clocks are referred to event 1501 (sub-run 3), as the first event is not there"
    assert found.faults == (clocks,)


def test_first_event_is_missing(tmp_path: Path) -> None:
    write_raw(tmp_path, 1874, 0, DATA, first_id=2)
    found = look(tmp_path)
    assert found.reference is not None
    assert (found.reference.event_id, found.reference.is_first, found.reference.is_usable) == (2, False, True)
    assert "referred to event 2 (sub-run 0)" in faults_of(found)


def test_start_of_the_run_stands_for_ucts_at_the_first_event(tmp_path: Path) -> None:
    write_raw(tmp_path, 1874, 0, DATA, spoil=without_ucts)
    found = look(tmp_path)
    assert found.reference is not None
    assert (found.reference.ucts_ns, found.reference.is_usable, found.faults) == (None, True, ())
    assert found.tag.label is RunLabel.DATA  # as the TIB says


def test_without_ucts_and_first_event_there_is_no_reference(tmp_path: Path) -> None:
    write_raw(tmp_path, 1874, 1, DATA, first_id=501, spoil=without_ucts)
    found = look(tmp_path)
    assert found.reference is not None and not found.reference.is_usable
    assert found.tag.label is RunLabel.DATA
    assert found.faults[-1] == (
        "the clocks have no reference: event 501 (sub-run 1) has no UCTS time, "
        "and the first event is not there"
    )


def test_run_in_which_no_device_says_what_triggered(tmp_path: Path) -> None:
    write_raw(tmp_path, 1874, 0, DATA, spoil=without_devices)
    found = look(tmp_path)
    assert found.tag.label is RunLabel.ERROR
    assert "100.0% other" in found.tag.reason


def test_event_without_modules_takes_only_the_reference_away(tmp_path: Path) -> None:
    """What triggered the events, and when the run began, can be told without the clocks."""
    write_raw(tmp_path, 1874, 0, DATA, spoil=without_modules)
    found = look(tmp_path)
    assert (found.tag.label, found.start) == (RunLabel.DATA, START)
    assert found.faults != ()


@pytest.mark.parametrize("milliseconds", [0, 400, 600])
def test_start_is_that_of_the_file(tmp_path: Path, milliseconds: int) -> None:
    start = START + timedelta(milliseconds=milliseconds)
    write_raw(tmp_path, 1874, 0, DATA, data_format="R1v1", start=start)
    assert look(tmp_path).start == start


# --------------------------------------------------------------------------- a process of its own


@pytest.fixture
def no_alarm(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The seconds that were set, which are not those of this process."""
    seconds: list[int] = []
    monkeypatch.setattr(surveyor.signal, "alarm", seconds.append)
    yield seconds


def test_answer_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_alarm: list[int]) -> None:
    (path,) = write_raw(tmp_path, 1874, 7, DATA, first_id=3501)
    asked, answer, mark = (tmp_path / name for name in ("asked", "answer", "mark"))
    asked.write_text(json.dumps({"run": 1874, "subruns": {"7": [str(path)]}}), "utf-8")
    monkeypatch.setattr(sys, "argv", ["surveyor", str(asked), str(answer), str(mark)])
    assert surveyor.main() == 0
    assert from_json(json.loads(answer.read_text("utf-8"))) == survey_run(1874, {7: [path]})
    assert mark.read_text("ascii") == "7"
    assert no_alarm == [120]


NUMBER = st.integers(0, 2**63 - 1)
TEXT = st.text(max_size=20)
REFERENCES = st.builds(
    ClockReference, NUMBER, NUMBER, st.none() | NUMBER, NUMBER, NUMBER, NUMBER, NUMBER, st.none() | NUMBER
)
TAGS = st.builds(Tag, st.sampled_from([RunLabel.DRS4, RunLabel.DATA]), st.floats(0, 1)) | st.builds(
    Tag, st.just(RunLabel.ERROR), st.just(0.0), st.text(min_size=1)
)


@given(
    st.builds(
        RunSurvey,
        run=NUMBER,
        subruns=st.lists(NUMBER).map(tuple),
        tag=TAGS,
        start=st.none() | st.datetimes(timezones=st.just(START.tzinfo)),
        counts=st.builds(TriggerCounts, NUMBER, NUMBER, NUMBER, NUMBER),
        sampled=st.lists(st.tuples(NUMBER, NUMBER)).map(tuple),
        data_format=TEXT,
        evb_preprocessing=NUMBER,
        reference=st.none() | REFERENCES,
        faults=st.lists(TEXT).map(tuple),
    )
)
def test_what_is_written_can_be_read(survey: RunSurvey) -> None:
    assert from_json(json.loads(json.dumps(to_json(survey)))) == survey
