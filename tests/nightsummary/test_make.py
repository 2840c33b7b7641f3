"""The summaries of a night: what is read again, what is written, and what somebody else wrote."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from astropy.table import Table

from osa.errors import InputError
from osa.layout import Layout
from osa.nightsummary import make
from osa.nightsummary.make import Summaries, Written, entries_of, survey_night, write_summaries
from osa.nightsummary.nightsummary import read_night_summary
from osa.nightsummary.plan import plan_night
from osa.nightsummary.raw import find_raw_files
from osa.nightsummary.surveyed import Surveyed, read_surveyed, write_surveyed
from osa.survey.run import RunSurvey
from osa.survey.tagging import RunLabel
from tests.survey.conftest import (
    START,
    copy_night,
    looked,
    made_night,
    mixed,
    start_of,
    write_raw,
)

__all__ = ["looked", "made_night"]

pytestmark = pytest.mark.usefixtures("looked")

CLOCK = datetime(2020, 1, 28, 12, tzinfo=UTC)
TYPES = {1872: "DRS4", 1873: "CALI", 1874: "DATA", 1875: "ERROR"}
LATE = mixed(physics=85, pedestal=7, flatfield=8)


@pytest.fixture
def night(layout: Layout, made_night: Path) -> Layout:
    """A night with its raw files, and no summaries."""
    copy_night(made_night, layout.raw_dir)
    return layout


def survey(layout: Layout) -> dict[int, tuple[str, RunSurvey]]:
    return survey_night(find_raw_files(layout), read_surveyed(layout.night_survey), at_once=1)


def summarise(layout: Layout, *, clock: datetime = CLOCK, **how: bool) -> Written:
    """Do what the command does."""
    return write_summaries(layout, survey(layout), Summaries.of(layout), clock=clock, **how)


def types(layout: Layout) -> dict[int, str]:
    return {entry.run: entry.label for entry in read_night_summary(layout.night_summary)}


def types_of_lstchain(layout: Layout) -> dict[int, str]:
    table = Table.read(layout.run_summary, format="ascii.ecsv")
    return {int(row["run_id"]): str(row["run_type"]) for row in table}


def files(layout: Layout) -> dict[str, bytes]:
    """All files beside the raw ones."""
    root = layout.settings.telescope.raw_dir.parent
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and "R0" not in path.parts and path != layout.settings.path
    }


# ---------------------------------------------------------------------------- what is written


def test_both_summaries_are_written(night: Layout) -> None:
    written = summarise(night)
    assert written == Written((night.run_summary, night.night_summary))
    assert types(night) == TYPES
    assert types_of_lstchain(night) == TYPES | {1873: "PEDCALIB"}
    entries = {entry.run: entry for entry in read_night_summary(night.night_summary)}
    assert [entries[run].start for run in TYPES] == [start_of(run) for run in TYPES]
    assert [entries[run].n_subruns for run in TYPES] == [1, 1, 2, 1]
    dragon = entries[1874].dragon
    assert dragon.module == 0 and dragon.ucts_t0 is not None and dragon.counter0 == 1_001_809_300
    assert entries[1874].tib.counter0 == 1_001_808_700
    assert entries[1874].tib.ucts_t0 == dragon.ucts_t0


def test_what_is_written_can_be_planned(night: Layout) -> None:
    summarise(night)
    plan = plan_night(night, clock=CLOCK)
    assert [sequence.run for sequence in plan.sequences] == [1873, 1874]
    assert plan.choice.drs4_run == 1872
    reasons = {run.run: run.reason for run in plan.skipped}
    assert reasons[1875].startswith("type ERROR is not processed: 80.0% physics, 15.0% pedestal")


def test_second_time_nothing_is_written(night: Layout) -> None:
    summarise(night)
    before = files(night)
    times = {path: path.stat().st_mtime_ns for path in (night.night_summary, night.run_summary)}
    assert summarise(night) == Written(())
    assert files(night) == before
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_output_elsewhere_leaves_the_usual_places_alone(night: Layout, tmp_path: Path) -> None:
    output = tmp_path / "elsewhere" / "mine.txt"
    places = Summaries.of(night, output)
    written = write_summaries(night, survey(night), places, clock=CLOCK)
    assert sorted(written.files) == [output.with_name("RunSummary_20200127.ecsv"), output]
    assert sorted(path.name for path in output.parent.iterdir()) == [
        "RunSummary_20200127.ecsv",
        "mine.json",
        "mine.txt",
    ]
    assert not (night.night_summary.exists() or night.run_summary.exists() or night.night_survey.exists())


@pytest.mark.parametrize("name", ["summary.json", "RunSummary_20200127.ecsv"])
def test_file_of_which_another_would_take_the_place_is_refused(
    night: Layout, tmp_path: Path, name: str
) -> None:
    with pytest.raises(InputError, match="that is where the"):
        Summaries.of(night, tmp_path / name)


def test_runs_are_in_order_of_time(night: Layout) -> None:
    write_raw(night.raw_dir, 1860, 0, LATE, start=START + timedelta(hours=3))
    summarise(night)
    assert list(types(night)) == [*TYPES, 1860]


# ------------------------------------------------------------------------- what is read again


def touch(path: Path) -> None:
    os.utime(path, ns=(10**18, 10**18))


def test_runs_that_are_as_they_were_are_not_read_again(night: Layout, looked: list[list[int]]) -> None:
    """But errors are: it may have been the file system's."""
    for _ in range(3):
        summarise(night)
    assert looked == [[*TYPES], [1875], [1875]]


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: touch(folder / "LST-1.1.Run01874.0001.fits.fz"),
        lambda folder: (folder / "LST-1.1.Run01874.0001.fits.fz").unlink(),
        lambda folder: (folder / "LST-1.1.Run01874.0001.fits.fz").rename(
            folder / "LST-1.1.Run01874.0002.fits.fz"
        ),
        lambda folder: (folder / "LST-1.2.Run01874.0000.fits.fz").touch(),
        lambda folder: write_raw(folder, 1874, 2, LATE, first_id=401),
    ],
)
def test_run_that_has_changed_is_read_again(
    night: Layout, looked: list[list[int]], change: Callable[[Path], None]
) -> None:
    summarise(night)
    change(night.raw_dir)
    summarise(night, overwrite=True)
    assert looked[1:] == [[1874, 1875]]


def test_new_and_lost_runs(night: Layout, looked: list[list[int]]) -> None:
    summarise(night)
    write_raw(night.raw_dir, 1876, 0, LATE, start=START + timedelta(hours=1))
    for path in night.raw_dir.glob("*.Run01875.*"):
        path.unlink()
    summarise(night, overwrite=True)
    assert looked[1:] == [[1876]]
    assert types(night) == {1872: "DRS4", 1873: "CALI", 1874: "DATA", 1876: "DATA"}
    assert sorted(read_surveyed(night.night_survey).runs) == [1872, 1873, 1874, 1876]


def test_damaged_survey_stops_before_anything_is_written(night: Layout) -> None:
    summarise(night)
    edited = edit(night.night_summary)
    night.night_survey.write_bytes(b"{")
    before = files(night)
    with pytest.raises(InputError, match="remove it, and call nightsummary with --overwrite"):
        summarise(night, overwrite=True)
    assert files(night) == before
    night.night_survey.unlink()
    (aside,) = summarise(night, overwrite=True).kept
    assert aside.read_bytes() == edited
    assert types(night) == TYPES


def test_without_what_was_found_before_all_is_read_again(night: Layout, looked: list[list[int]]) -> None:
    summarise(night)
    night.night_survey.unlink()
    assert summarise(night) == Written(())  # the summaries say what we would write
    assert looked[1:] == [[*TYPES]]
    summarise(night)
    assert looked[2:] == [[1875]]


def test_file_that_we_were_not_permitted_to_read_counts_when_we_are(
    night: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither size nor time of the content of a file tell of its permissions."""
    path = night.raw_dir / "LST-1.1.Run01874.0001.fits.fz"
    with monkeypatch.context() as patch:
        path.chmod(0)
        patch.setattr(os, "access", lambda each, _: Path(each) != path)  # root may read everything
        summarise(night)
        assert read_surveyed(night.night_survey).runs[1874][1].subruns == (0,)
    path.chmod(0o644)
    summarise(night)
    assert read_surveyed(night.night_survey).runs[1874][1].subruns == (0, 1)


# ---------------------------------------------------------------------- raw files that have gone


GO: dict[str, Callable[[Path], object]] = {
    "a sub-run": lambda folder: (folder / "LST-1.1.Run01874.0001.fits.fz").unlink(),
    "its content": lambda folder: (folder / "LST-1.1.Run01874.0001.fits.fz").write_bytes(b""),
    "a run": lambda folder: [path.unlink() for path in folder.glob("*.Run01874.*")],
    "two runs": lambda folder: [path.unlink() for path in folder.glob("*.Run0187[34].*")],
}


@pytest.mark.parametrize("what", GO)
@pytest.mark.parametrize("keep", [False, True])
def test_no_less_is_promised_than_before(night: Layout, what: str, keep: bool) -> None:
    summarise(night)
    before = files(night)
    GO[what](night.raw_dir)
    with pytest.raises(InputError, match=r"raw files that were there have gone: sub-runs .* of run 0187"):
        summarise(night, keep=keep)
    assert files(night) == before
    assert set(summarise(night, overwrite=True).files) <= {night.night_summary, night.run_summary}
    assert types(night) != TYPES or what in {"a sub-run", "its content"}
    assert summarise(night) == Written(())


def test_files_that_come_back_are_no_fault(night: Layout, made_night: Path) -> None:
    summarise(night)
    for path in night.raw_dir.iterdir():
        path.unlink()
    copy_night(made_night, night.raw_dir)
    assert summarise(night) == Written(())
    assert types(night) == TYPES


def test_progress_is_told(night: Layout) -> None:
    told: list[tuple[int, int]] = []
    survey_night(find_raw_files(night), Surveyed(), at_once=1, on_done=lambda *how: told.append(how))
    assert told == [(4, 4)]


# ------------------------------------------------------------------- files with nothing in them


def test_run_with_empty_files_only(night: Layout, looked: list[list[int]]) -> None:
    path = night.raw_dir / "LST-1.1.Run01876.0000.fits.fz"
    path.touch()
    when = datetime(2020, 1, 27, 23, 15, 16, 999_000, tzinfo=UTC)
    os.utime(path, (when.timestamp(), when.timestamp()))
    summarise(night)
    assert looked == [[*TYPES]]
    found = read_surveyed(night.night_survey).runs[1876][1]
    assert found.tag.reason == "its raw files are empty or cannot be read by us"
    assert found.faults == ("its start is the time of its file",)
    (entry,) = [each for each in read_night_summary(night.night_summary) if each.run == 1876]
    assert (entry.label, entry.n_subruns, entry.start) == ("ERROR", 0, when.replace(microsecond=0))
    assert types_of_lstchain(night)[1876] == "ERROR"
    assert summarise(night) == Written(())


def test_start_that_is_not_known_is_that_of_its_first_file(night: Layout) -> None:
    times = (START + timedelta(hours=2), START + timedelta(hours=1))
    for subrun, when in enumerate(times):
        path = night.raw_dir / f"LST-1.1.Run01876.{subrun:04d}.fits.fz"
        path.write_bytes(b"no raw file")
        os.utime(path, (when.timestamp(), when.timestamp()))
    for _ in range(2):  # found, and recalled
        found = survey(night)[1876][1]
        assert (found.tag.label, found.subruns, found.start) == (RunLabel.ERROR, (0, 1), times[1])
        assert found.faults[-1:] == ("its start is the time of its file",)
        assert found.faults.count("its start is the time of its file") == 1
        summarise(night)


def test_empty_files_of_a_run_are_passed_over(night: Layout) -> None:
    (night.raw_dir / "LST-1.1.Run01874.0002.fits.fz").touch()
    found = survey(night)[1874][1]
    assert (found.subruns, found.tag.label) == ((0, 1), RunLabel.DATA)


@pytest.mark.parametrize(("missing", "read"), [(2, 60), (3, 120), (1, None)])
def test_streams_are_read_up_to_the_first_that_is_missing(
    night: Layout, missing: int, read: int | None
) -> None:
    """As lstchain finds them beside that of stream 1."""
    write_raw(night.raw_dir, 1876, 0, mixed(physics=200, pedestal=20, flatfield=20), streams=4)
    night.raw_dir.joinpath(f"LST-1.{missing}.Run01876.0000.fits.fz").write_bytes(b"")
    found = survey(night)[1876][1]
    assert found.sampled == (() if read is None else ((0, read),))
    assert found.subruns == (() if read is None else (0,))


# --------------------------------------------------------------------------------- override


def test_types_of_the_override_are_in_both_summaries(night: Layout) -> None:
    summarise(night)
    night.override.write_text("[types]\n1874 = ERROR\n01875 = DATA\n1873 = DRS4\n", "utf-8")
    written = summarise(night)
    assert set(written.files) == {night.night_summary, night.run_summary}
    said = {1872: "DRS4", 1873: "DRS4", 1874: "ERROR", 1875: "DATA"}
    assert types(night) == types_of_lstchain(night) == said
    night.override.unlink()
    summarise(night)
    assert types(night) == TYPES


def test_faults_of_the_override_stop_before_anything_is_written(night: Layout) -> None:
    night.override.write_text("[types]\n1874 = MOON\n", "utf-8")
    before = files(night)
    with pytest.raises(InputError, match="'MOON'"):
        summarise(night)
    assert files(night) == before


# ------------------------------------------------------------------- what somebody else wrote


def edit(path: Path) -> bytes:
    path.write_text(path.read_text("utf-8").replace("DATA", "ERROR"), "utf-8")
    return path.read_bytes()


def places(layout: Layout) -> dict[str, Path]:
    return {"night": layout.night_summary, "run": layout.run_summary}


@pytest.mark.parametrize("which", ["night", "run"])
def test_edited_summary_is_refused_and_nothing_is_written(night: Layout, which: str) -> None:
    summarise(night)
    edited = places(night)[which]
    edit(edited)
    write_raw(night.raw_dir, 1876, 0, LATE, start=START + timedelta(hours=1))
    before = files(night)
    with pytest.raises(
        InputError, match=r"edited since, or not made by nightsummary; nothing was written"
    ) as caught:
        summarise(night)
    assert str(edited) in str(caught.value)
    assert files(night) == before


def test_both_edited_are_named_together(night: Layout) -> None:
    summarise(night)
    for path in places(night).values():
        edit(path)
    with pytest.raises(InputError) as caught:
        summarise(night)
    assert all(str(path) in str(caught.value) for path in places(night).values())


@pytest.mark.parametrize("which", ["night", "run"])
def test_edited_summary_is_kept_with_keep(night: Layout, which: str) -> None:
    summarise(night)
    edited = places(night).pop(which)
    (other,) = (path for path in places(night).values() if path != edited)
    content = edit(edited)
    write_raw(night.raw_dir, 1876, 0, LATE, start=START + timedelta(hours=1))
    assert summarise(night, keep=True) == Written((other,), foreign=(edited,))
    assert edited.read_bytes() == content
    assert b"1876" in other.read_bytes()
    with pytest.raises(InputError):  # it is still somebody else's
        summarise(night)


@pytest.mark.parametrize("which", ["night", "run"])
def test_edited_summary_is_replaced_and_kept_with_overwrite(night: Layout, which: str) -> None:
    summarise(night)
    path = places(night)[which]
    ours, edited = path.read_bytes(), edit(path)
    aside = path.with_name(f"{path.name}.until.20200128T120000")
    assert summarise(night, overwrite=True) == Written((path,), (aside,))
    assert (path.read_bytes(), aside.read_bytes()) == (ours, edited)
    assert summarise(night) == Written(())  # it is ours again


def test_what_was_put_aside_is_not_lost_to_the_next(night: Layout) -> None:
    """Twice in a second: a script that is in a hurry."""
    summarise(night)
    first = edit(night.night_summary)
    kept = [*summarise(night, overwrite=True).kept]
    night.night_summary.write_text("mine\n", "utf-8")
    kept += summarise(night, overwrite=True).kept
    assert {path.read_bytes() for path in kept} == {first, b"mine\n"}


def test_edit_that_was_taken_back_is_none(night: Layout) -> None:
    summarise(night)
    content = night.night_summary.read_bytes()
    edit(night.night_summary)
    night.night_summary.write_bytes(content)
    assert summarise(night) == Written(())


def test_summaries_of_the_same_content_are_adopted(night: Layout, tmp_path: Path) -> None:
    """Made by an older version, or elsewhere: they say the same."""
    other = Summaries.of(night, tmp_path / "other" / night.night_summary.name)
    write_summaries(night, survey(night), other, clock=CLOCK)
    night.night_summary.write_bytes(other.night_summary.read_bytes())
    night.run_summary.write_bytes(other.run_summary.read_bytes())
    assert summarise(night) == Written(())
    write_raw(night.raw_dir, 1876, 0, LATE, start=START + timedelta(hours=1))
    assert set(summarise(night).files) == set(places(night).values())


def test_summary_of_other_content_is_not_adopted(night: Layout) -> None:
    night.night_summary.write_text("01872    1 DRS4  2020-01-27 19:51:44 nan nan nan nan nan nan\n", "utf-8")
    before = files(night)
    with pytest.raises(InputError, match=str(night.night_summary)):
        summarise(night)
    assert files(night) == before


def test_summary_that_cannot_be_read_is_not_replaced(night: Layout) -> None:
    night.night_summary.mkdir()
    with pytest.raises(OSError):
        summarise(night)
    assert not night.run_summary.exists()
    assert list(night.night_summary.iterdir()) == []


# ---------------------------------------------------------------------------------- killed


class Killed(BaseException):
    """As a signal would."""


@pytest.mark.parametrize("after", [0, 1])
@pytest.mark.parametrize("is_new", [True, False])
def test_killed_before_the_summaries_are_written(
    night: Layout, monkeypatch: pytest.MonkeyPatch, after: int, is_new: bool
) -> None:
    """Whatever is there then is still known as ours."""
    if not is_new:
        summarise(night)
        night.override.write_text("[types]\n1875 = DATA\n", "utf-8")
    write, calls = make.write_text, [0]

    def write_some(path: Path, text: str) -> None:
        if calls[0] == after:
            raise Killed
        calls[0] += 1
        write(path, text)

    with monkeypatch.context() as patch:
        patch.setattr(make, "write_text", write_some)
        with pytest.raises(Killed):
            summarise(night)
    there = read_surveyed(night.night_survey)
    assert sorted(there.runs) == sorted(TYPES)
    assert all(there.wrote(path) for path in places(night).values() if path.exists())
    summarise(night)
    assert types(night) == TYPES | ({} if is_new else {1875: "DATA"})
    assert set(types_of_lstchain(night)) == set(TYPES)
    assert summarise(night) == Written(())


def test_killed_twice_with_other_contents(night: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    summarise(night)

    def killed(*_: object) -> None:
        raise Killed

    for label in ("DRS4", "CALI", "DATA"):
        night.override.write_text(f"[types]\n1875 = {label}\n", "utf-8")
        with monkeypatch.context() as patch:
            patch.setattr(make, "write_text", killed)
            with pytest.raises(Killed):
                summarise(night)
    summarise(night)
    assert types(night)[1875] == "DATA"


def test_killed_after_the_old_one_was_put_aside(night: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    summarise(night)
    edited = edit(night.night_summary)

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(make, "write_text", killed)
        with pytest.raises(Killed):
            summarise(night, overwrite=True)
    summarise(night)
    assert types(night) == TYPES
    (aside,) = night.night_summary.parent.glob("*.until.*")
    assert aside.read_bytes() == edited


def test_disk_is_full(night: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Summaries are whole, the old ones, and nothing is left beside them."""
    summarise(night)
    before = files(night)
    night.override.write_text("[types]\n1875 = DATA\n", "utf-8")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            summarise(night)
    night.override.unlink()
    assert files(night) == before


# ----------------------------------------------------------------------------- strange numbers


@pytest.mark.parametrize("run", ["00000", "99999", "123456", "999999999", "9999999999", "9" * 20])
def test_summary_can_be_read_whatever_numbers_files_have(night: Layout, run: str) -> None:
    source = night.raw_dir / "LST-1.1.Run01875.0000.fits.fz"
    (night.raw_dir / f"LST-1.1.Run{run}.0000.fits.fz").write_bytes(source.read_bytes())
    summarise(night)
    found = types(night)
    assert {number: found[number] for number in TYPES} == TYPES
    if 0 < int(run) < 10**9:
        assert found[int(run)] == "ERROR"


def test_entries_are_made_of_what_was_found(night: Layout) -> None:
    summarise(night)
    surveys = read_surveyed(night.night_survey).runs
    assert entries_of(each for _, each in surveys.values()) == read_night_summary(night.night_summary)


def test_survey_of_another_night_does_no_harm(night: Layout, looked: list[list[int]]) -> None:
    """Copied by hand: names and times of its files are others."""
    other = {9999: ("0" * 64, survey(night)[1874][1])}
    write_surveyed(night.night_survey, Surveyed(other), night="2019-01-01", clock=CLOCK)
    summarise(night)
    assert looked[-1] == [*TYPES]
    assert json.loads(night.night_survey.read_text("utf-8"))["night"] == "2020-01-27"
    assert types(night) == TYPES
