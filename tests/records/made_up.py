"""Records of tries with whatever values they can have."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid5

from hypothesis import strategies as st

from osa.model.dataset import DatasetKind
from osa.records.model import ConfigFile, FileRecord, JobIds, Software, Status, TryRecord

START = datetime(2020, 1, 27, 20, tzinfo=UTC)


def try_id(number: int) -> str:
    return str(uuid5(UUID(int=0), str(number)))


def begun(number: int = 1, **values: Any) -> TryRecord:
    """Make a try that has begun."""
    record = TryRecord(
        id=try_id(number),
        telescope="LST1",
        night="2020-01-27",
        run=1874,
        subrun=3,
        step="r0_to_dl1",
        program="lstchain_data_r0_to_dl1",
        package="lstchain",
        prod_id="v0.1.0",
        started=START + timedelta(minutes=number),
        software=Software({"lstchain": "0.12.3", "lst-osa": "0.1.0"}, "e" * 64),
        host="node",
        user="lstanalyzer",
        job=JobIds("17", 3, 0),
    )
    return replace(record, **values)


def done(number: int = 1, **values: Any) -> TryRecord:
    """Make a try that has succeeded."""
    record = begun(number)
    ended = values.get("started", record.started) + timedelta(seconds=50)
    return replace(record, **{"ended": ended, "status": Status.DONE, "exit_code": 0, **values})


# ---------------------------------------------------------------------------- strategies

words = st.text(max_size=12)
"""Any text: quotes, line ends, NUL, other scripts, and halves of surrogate pairs."""
digests = st.text("0123456789abcdef", min_size=64, max_size=64)
counts = st.integers(0, 2**53)
files = st.builds(
    FileRecord,
    role=words,
    kind=st.sampled_from(DatasetKind),
    path=words,
    size=st.none() | counts,
    modified=st.none() | counts,
    sha256=st.none() | digests,
    sample=st.none() | digests,
    source=st.none() | words,
)
zones = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
times = st.datetimes(datetime(1970, 1, 3), datetime(2100, 1, 1), timezones=zones).map(
    lambda when: when.replace(microsecond=when.microsecond // 1000 * 1000)
)
tenths = st.integers(0, 10**7).map(lambda number: number / 10)
tries = st.builds(
    TryRecord,
    id=st.uuids().map(str),
    telescope=words,
    night=words,
    run=counts,
    subrun=st.none() | counts,
    step=words,
    program=words,
    package=words,
    prod_id=words,
    started=times,
    ended=times,
    status=st.sampled_from([Status.DONE, Status.FAILED]),
    exit_code=st.none() | st.integers(-64, 255),
    reason=words,
    inputs=st.lists(files, max_size=3).map(tuple),
    outputs=st.lists(files, max_size=3).map(tuple),
    configuration=st.lists(
        st.builds(ConfigFile, words, words, st.none() | digests, st.none() | words), max_size=2
    ).map(tuple),
    parameters=st.dictionaries(words, words, max_size=3),
    software=st.builds(Software, st.dictionaries(words, words, max_size=3), digests),
    host=words,
    user=words,
    job=st.builds(JobIds, st.none() | words, st.none() | counts, st.none() | counts),
    wall_time=tenths,
    cpu_time=tenths,
    peak_memory=tenths,
)
"""Tries that have ended, also before they began, as clocks may be set."""
