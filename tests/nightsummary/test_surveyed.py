"""What was found before: kept, recalled, and refused where it cannot be read."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osa.errors import InputError
from osa.nightsummary.raw import RawFile
from osa.nightsummary.surveyed import (
    Surveyed,
    digest,
    read_surveyed,
    signature,
    why_errors,
    write_surveyed,
)
from osa.survey.run import ClockReference, RunSurvey
from osa.survey.tagging import RunLabel, Tag, TriggerCounts

CLOCK = datetime(2020, 1, 28, 8, 30, tzinfo=UTC)
START = datetime(2020, 1, 27, 20, 44, 13, 250_000, tzinfo=UTC)
DATA = RunSurvey(
    run=1874,
    subruns=(0, 1, 2),
    tag=Tag(RunLabel.DATA, 0.9987654321),
    start=START,
    counts=TriggerCounts(425, 35, 39, 1),
    sampled=((0, 500),),
    data_format="ProtoR1.CameraEvent",
    evb_preprocessing=3,
    reference=ClockReference(0, 1, 1580157891000100000, 1580157890000000000, 262, 2, 1001809300, None),
    faults=("sub-run 2: it cannot be read: no \u201cSIMPLE\u201d card",),
)
ERROR = RunSurvey(1875, (), Tag(RunLabel.ERROR, reason="no event can be read"))
SURVEYED = Surveyed(
    {1875: ("b" * 64, ERROR), 1874: ("a" * 64, DATA)}, {"NightSummary_20200127.txt": ("c", "d")}
)


def write(path: Path, surveyed: Surveyed = SURVEYED) -> Path:
    write_surveyed(path, surveyed, night="2020-01-27", clock=CLOCK)
    return path


def raw(**changes: object) -> RawFile:
    values = {"path": Path("/raw/LST-1.1.Run01874.0000.fits.fz"), "size": 1000, "changed_ns": 10**18}
    return RawFile(run=1874, subrun=0, stream=1, **values | changes)  # type: ignore[arg-type]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    assert read_surveyed(write(tmp_path / "survey.json")) == SURVEYED


def test_file_tells_people_what_it_is(tmp_path: Path) -> None:
    document = json.loads(write(tmp_path / "survey.json").read_text("utf-8"))
    assert (document["night"], document["when"]) == ("2020-01-27", "2020-01-28T08:30:00+00:00")
    assert [each["survey"]["run"] for each in document["runs"]] == [1874, 1875]


def test_errors_are_not_recalled() -> None:
    """It may have been the file system's."""
    assert SURVEYED.recall(1875, "b" * 64) is None


def test_recall_is_for_the_same_files_only() -> None:
    assert SURVEYED.recall(1874, "a" * 64) == DATA
    assert SURVEYED.recall(1874, "b" * 64) is None
    assert SURVEYED.recall(1876, "a" * 64) is None
    assert Surveyed().recall(1874, "") is None


@pytest.mark.parametrize(
    "changes",
    [
        {"size": 1001},
        {"changed_ns": 10**18 + 1},
        {"path": Path("/raw/LST-1.1.Run01874.0001.fits.fz")},
        {"path": Path("/raw/LST-1.2.Run01874.0000.fits.fz")},
    ],
)
def test_signature_is_another_after_any_change(changes: dict[str, object]) -> None:
    assert signature([raw(**changes)]) != signature([raw()])
    assert signature([raw(), raw(**changes)]) != signature([raw()])


def test_signature_is_the_same_in_another_folder() -> None:
    """Raw files may be looked at through a link."""
    assert signature([raw(path=Path("/mnt/LST-1.1.Run01874.0000.fits.fz"))]) == signature([raw()])


def test_files_are_known_by_name_and_content(tmp_path: Path) -> None:
    path = tmp_path / "NightSummary.txt"
    surveyed = Surveyed({}, {path.name: (digest(b"old"), digest(b"new"))})
    assert not surveyed.wrote(path)
    for content, known in ((b"old", True), (b"new", True), (b"new ", False), (b"", False)):
        path.write_bytes(content)
        assert surveyed.wrote(path) is known
    path.unlink()
    path.mkdir()
    assert not surveyed.wrote(path)
    (tmp_path / "other.txt").write_bytes(b"new")
    assert not surveyed.wrote(tmp_path / "other.txt")


def test_reasons_of_errors(tmp_path: Path) -> None:
    assert why_errors(write(tmp_path / "survey.json")) == {1875: "no event can be read"}
    assert why_errors(tmp_path / "none.json") == {}


# ---------------------------------------------------------------------------------- damage


def refused(path: Path) -> str:
    """Give the reason why it is not read; that stops no planning."""
    with pytest.raises(InputError, match="--overwrite, which keeps the summaries that are there") as caught:
        read_surveyed(path)
    assert str(path) in str(caught.value) and str(caught.value).isprintable()
    assert why_errors(path) == {}
    return str(caught.value)


def test_missing_file_knows_nothing(tmp_path: Path) -> None:
    assert read_surveyed(tmp_path / "none.json") == Surveyed()


def test_folder_is_no_survey(tmp_path: Path) -> None:
    assert "cannot be read" in refused(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"3",
        b'"text"',
        b"{}",
        b'{"format": 1}',
        b'{"format": 1, "runs": 3, "written": {}}',
        b'{"format": 1, "runs": [], "written": 3}',
        b"[" * 200_000,
        b"\xff\xfe\x00",
        b"\0" * 500,
    ],
)
def test_what_is_no_survey_is_refused(tmp_path: Path, content: bytes) -> None:
    """What we wrote could not be told from what others did."""
    path = tmp_path / "survey.json"
    path.write_bytes(content)
    refused(path)


def test_file_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "survey.json")
    content = path.read_bytes().rstrip()
    for end in range(0, len(content), 7):
        path.write_bytes(content[:end])
        refused(path)


@pytest.mark.parametrize("other", [0, 2, "1", None])
def test_other_format_is_refused(tmp_path: Path, other: object) -> None:
    path = write(tmp_path / "survey.json")
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {"format": other}), "utf-8")
    assert "was written by another version" in refused(path)


def places(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Name all values in a document."""
    yield here
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, child in children:
        yield from places(child, (*here, key))


def with_other(document: Any, place: tuple[Any, ...], other: Any) -> Any:
    if not place:
        return other
    changed = copy.deepcopy(document)
    inner = changed
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = other
    return changed


STRANGE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.just([]),
    st.just({}),
    st.just([1, 2, 3]),
)


@given(data=st.data())
def test_strange_values_do_no_harm(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever is in it, it is read or refused."""
    path = write(tmp_path_factory.getbasetemp() / "strange.json")
    document = json.loads(path.read_text("utf-8"))
    place = data.draw(st.sampled_from(list(places(document))))
    path.write_text(json.dumps(with_other(document, place, data.draw(STRANGE))), "utf-8")
    with suppress(InputError):
        read_surveyed(path)
    why_errors(path)


@pytest.mark.parametrize(
    ("place", "other"),
    [
        (("run",), float("inf")),
        (("subruns", 0), float("inf")),
        (("sampled", 0, 1), None),
        (("counts", "physics"), "many"),
        (("counts", "muons"), 3),
        (("tag", "label"), "MOON"),
        (("tag", "reason"), "DATA has none"),
        (("start",), 5),
        (("start",), "yesterday"),
        (("reference", "ucts_ns"), "noon"),
        (("reference", "module_id"), None),
        (("reference", "colour"), 1),
    ],
)
def test_values_of_the_wrong_kind_are_refused(tmp_path: Path, place: tuple[Any, ...], other: object) -> None:
    """Believed, they would stop the command each time it is run."""
    path = write(tmp_path / "survey.json")
    document = json.loads(path.read_text("utf-8"))
    changed = with_other(document, ("runs", 0, "survey", *place), other)
    path.write_text(json.dumps(changed), "utf-8")
    refused(path)


def test_killed_while_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "survey.json")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write(path, Surveyed())
    assert read_surveyed(path) == SURVEYED
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("when", [CLOCK, CLOCK + timedelta(microseconds=1)])
def test_start_keeps_its_fraction(tmp_path: Path, when: datetime) -> None:
    survey = RunSurvey(1, (0,), DATA.tag, start=when)
    path = write(tmp_path / "survey.json", Surveyed({1: ("m", survey)}))
    assert read_surveyed(path).runs[1][1].start == when
