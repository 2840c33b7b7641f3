"""Our run summary and that of lstchain, of the same raw files: equal, but where we mean to differ."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.table import Table

from osa.nightsummary.make import entries_of
from osa.nightsummary.runsummary import format_run_summary
from osa.survey.run import RunSurvey
from osa.survey.surveyor import survey_run
from osa.survey.tagging import EventKind
from tests.survey.conftest import DRS4, START, files_of, mixed, write_raw
from tests.survey.test_rawevents import cdts, tib

pytestmark = pytest.mark.slow

PHYSICS, PEDESTAL, FLATFIELD, _ = EventKind
CALIBRATION = mixed(pedestal=80, flatfield=70)
DATA = mixed(physics=85, pedestal=7, flatfield=8)
TWO_MODULES_LESS = bytes(2)

# lstchain 0.12 puts -1 into an unsigned column where a run has no reference; numpy 2 refuses that.
WITHOUT_REFERENCES = """
import lstchain.scripts.lstchain_create_run_summary as script
script.COUNTER_DEFAULTS["dragon_reference_counter"] = 2**64 - 1
script.main()
"""


@dataclass(frozen=True)
class Night:
    """Both summaries of a night, and our surveys."""

    theirs: Path
    ours: Path
    surveys: Mapping[int, RunSurvey]

    def row(self, run: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """Give the rows of a run, theirs and ours."""
        tables = (Table.read(path, format="ascii.ecsv") for path in (self.theirs, self.ours))
        theirs, ours = (dict(table[list(table["run_id"]).index(run)]) for table in tables)
        return theirs, ours


def without_ucts(_: int, message: Any) -> None:
    message.lstcam.extdevices_presence = 1


def without_tib(_: int, message: Any) -> None:
    message.lstcam.extdevices_presence = 2


def wrong_ucts(_: int, message: Any) -> None:
    message.lstcam.cdts_data.CopyFrom(cdts(42))
    message.lstcam.tib_data.CopyFrom(tib(1))


def strange_twice(place: int, message: Any) -> None:
    if place in {10, 20}:
        message.lstcam.cdts_data.CopyFrom(cdts(16))


def without_first_modules(_: int, message: Any) -> None:
    status = message.lstcam.module_status
    status.data = TWO_MODULES_LESS + status.data[len(TWO_MODULES_LESS) :]


def other_order_of_modules(_: int, message: Any) -> None:
    from protozfits.anyarray import numpy_to_any_array

    order = np.arange(265, dtype=np.uint16)[::-1].copy()
    message.lstcam.expected_modules_id.CopyFrom(numpy_to_any_array(order))


def old_ucts(place: int, message: Any) -> None:
    message.lstcam.cdts_data.CopyFrom(cdts(message.trigger_type, 1_580_157_891_000_000_000 + place, old=True))


def old_version(_: int, message: Any) -> None:
    message.lstcam.idaq_version = "37201"


def preprocessed(_: int, message: Any) -> None:
    from protozfits.anyarray import numpy_to_any_array

    if hasattr(message, "debug"):
        for name, values, size in (("tdp_type", [1], 15), ("ttype_pattern", [0, 0b1110], 16)):
            array = np.zeros(size, np.uint16)
            array[: len(values)] = values
            getattr(message.debug, name).CopyFrom(numpy_to_any_array(array))


def write(folder: Path, run: int, *subruns: list[EventKind], first_id: int = 1, **how: Any) -> None:
    """Write the sub-runs of a run, from the first on."""
    for subrun, kinds in enumerate(subruns):
        start = START + timedelta(minutes=run)
        write_raw(folder, run, subrun, kinds, first_id=first_id, start=start, whole=True, **how)
        first_id += len(kinds)


def write_usual(folder: Path, data_format: str) -> None:
    how: dict[str, Any] = {"data_format": data_format}
    write(folder, 1, DRS4, **how)
    write(folder, 2, DRS4 + DRS4[:20], streams=4, **how)
    write(folder, 3, CALIBRATION, **how)
    write(folder, 4, CALIBRATION, CALIBRATION, streams=4, **how)
    write(folder, 5, DATA, DATA, DATA, **how)
    write(folder, 6, DATA, DATA, streams=4, **how)


def write_evbv5(folder: Path) -> None:
    write_usual(folder, "EVBv5")
    write(folder, 7, DATA, DATA, spoil=without_ucts)
    write(folder, 8, DATA, DATA, spoil=without_tib, streams=4)
    write(folder, 9, DATA, spoil=without_first_modules, spoil_table=other_order_of_modules)
    write(folder, 10, DATA, spoil=old_ucts, spoil_table=old_version)


def write_r1v1(folder: Path) -> None:
    write_usual(folder, "R1v1")
    write(folder, 7, DATA, data_format="R1v1", spoil_table=preprocessed)


def write_others(folder: Path) -> None:
    write(folder, 1, DRS4[:300])
    write(folder, 2, [FLATFIELD] * 500)
    write(folder, 3, mixed(physics=400, pedestal=75, flatfield=25))
    write(folder, 4, DRS4, mixed(physics=400, pedestal=40, flatfield=60))
    write(folder, 5, DRS4, spoil=wrong_ucts)
    write(folder, 6, DATA, DATA)
    (folder / "LST-1.1.Run00006.0000.fits.fz").unlink()
    write(folder, 7, DATA, first_id=2)
    write(folder, 8, DATA, DATA)
    (folder / "LST-1.1.Run00008.0002.fits.fz").touch()
    write(folder, 9, DATA, DATA)
    (folder / "LST-1.1.Run00009.0000.fits.fz").write_bytes(b"no raw file\n" * 300)
    write(folder, 10, DRS4, spoil=strange_twice)
    write(folder, 11, DATA, first_id=2, spoil=without_ucts)
    write(folder, 12, DRS4, *[[PHYSICS]] * 20)


WRITE: dict[str, Callable[[Path], None]] = {
    "EVBv5": write_evbv5,
    "R1v1": write_r1v1,
    "others": write_others,
}


def survey_all(folder: Path) -> dict[int, RunSurvey]:
    """Look into all runs, without files in which there is nothing."""
    found = {}
    for run, subruns in files_of(folder).items():
        usable = {
            number: [path for path in paths if path.stat().st_size] for number, paths in subruns.items()
        }
        found[run] = survey_run(run, {number: paths for number, paths in usable.items() if paths})
    return found


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Night]:
    """All nights; lstchain's script is run once for each, beside ours."""
    root = tmp_path_factory.mktemp("nights")
    scripts, found = {}, {}
    for name, write_night in WRITE.items():
        (root / name).mkdir()
        write_night(root / name / "20200127")
        script = Path(sys.executable).with_name("lstchain_create_run_summary")
        program = [script] if name == "EVBv5" else [sys.executable, "-c", WITHOUT_REFERENCES]
        # No such database there; asking for it takes three seconds.
        words = ["-d", "20200127", "--r0-path", root / name, "-o", root / name, "-t", "localhost"]
        log = (root / f"{name}.log").open("w")
        scripts[name] = subprocess.Popen([*program, *words], stdout=log, stderr=log)
    for name, script in scripts.items():
        surveys = survey_all(root / name / "20200127")
        text = format_run_summary(entries_of(surveys.values()), surveys, date(2020, 1, 27))
        ours = root / name / "ours.ecsv"
        ours.write_text(text, "utf-8")
        assert script.wait(120) == 0, (root / f"{name}.log").read_text()
        found[name] = Night(root / name / "RunSummary_20200127.ecsv", ours, surveys)
    return found


def test_only_old_versions_of_numpy_take_what_lstchain_writes_without_reference() -> None:
    """Where this fails, the script needs no change any more, above."""
    with pytest.raises(OverflowError):
        np.array([-1], dtype=np.uint64)


@pytest.mark.parametrize("name", ["EVBv5", "R1v1"])
def test_summaries_are_equal(nights: dict[str, Night], name: str) -> None:
    theirs, ours = (
        Table.read(path, format="ascii.ecsv") for path in (nights[name].theirs, nights[name].ours)
    )
    assert ours.colnames == theirs.colnames
    assert ours.meta == theirs.meta
    for column in theirs.colnames:
        assert ours[column].dtype == theirs[column].dtype
        assert list(ours[column]) == list(theirs[column]), column
    assert nights[name].ours.read_text() == nights[name].theirs.read_text()


def test_nights_have_what_is_to_be_compared(nights: dict[str, Night]) -> None:
    """Equal tables of nothing would be equal too."""
    types = ["DRS4", "DRS4", "PEDCALIB", "PEDCALIB", "DATA", "DATA"]
    old = Table.read(nights["EVBv5"].ours, format="ascii.ecsv")
    assert list(old["run_type"]) == [*types, *["DATA"] * 4]
    assert list(old["n_subruns"]) == [1, 1, 1, 2, 3, 2, 2, 2, 1, 1]
    assert list(old["dragon_reference_source"]) == [*["ucts"] * 6, "run_start", *["ucts"] * 3]
    assert list(old["dragon_reference_module_index"]) == [0] * 8 + [2, 0]
    assert list(old["dragon_reference_module_id"]) == [0] * 8 + [262, 0]
    assert old["ucts_timestamp"][9] == 1_580_157_891_000_000_000
    new = Table.read(nights["R1v1"].ours, format="ascii.ecsv")
    assert list(new["run_type"]) == [*types, "DATA"]
    assert list(new["evb_preprocessing"]) == [0] * 6 + [0b1110]
    assert set(new["data_format"]) == {"R1v1.Event"}
    assert set(new["dragon_reference_counter"]) == {2**64 - 1}


@pytest.mark.parametrize(
    ("run", "theirs", "ours"),
    [
        # They compare with 500 events however many there are.
        (1, "DATA", "DRS4"),
        # What is no other type is DATA to them: no shower in it.
        (2, "DATA", "ERROR"),
        # They have no gap between DATA and calibration.
        (3, "PEDCALIB", "ERROR"),
        # They look at the first 500 events only; the calibration events come later.
        (4, "DRS4", "DATA"),
        # They take the trigger from UCTS even where UCTS says that it is wrong.
        (5, "DATA", "DRS4"),
        # They want the first sub-run, and in one piece.
        (6, "ERROR", "DATA"),
        (9, "ERROR", "DATA"),
        # One event in 500 that is neither is too many for them.
        (10, "DATA", "DRS4"),
        # A DRS4 run is short; this may be DATA without calibration events.
        (12, "DRS4", "ERROR"),
    ],
)
def test_types_differ_on_purpose(nights: dict[str, Night], run: int, theirs: str, ours: str) -> None:
    them, us = nights["others"].row(run)
    assert (them["run_type"], us["run_type"]) == (theirs, ours)


@pytest.mark.parametrize(("run", "subrun", "event_id"), [(6, 1, 101), (7, 0, 2), (9, 1, 101)])
def test_another_event_is_the_reference_where_the_first_is_not_there(
    nights: dict[str, Night], run: int, subrun: int, event_id: int
) -> None:
    """They have no reference then, and their steps cannot tell the times of the events."""
    them, us = nights["others"].row(run)
    reference = nights["others"].surveys[run].reference
    assert reference is not None
    assert (reference.subrun, reference.event_id) == (subrun, event_id)
    assert (them["dragon_reference_source"], us["dragon_reference_source"]) == ("None", "ucts")
    assert us["dragon_reference_time"] == us["ucts_timestamp"] == reference.ucts_ns
    assert us["dragon_reference_counter"] == reference.dragon_ns
    same = ["run_id", "n_subruns"] if run != 7 else ["run_id", "n_subruns", "run_type", "data_format"]
    assert [us[column] for column in same] == [them[column] for column in same]


def test_empty_files_are_no_subruns(nights: dict[str, Night]) -> None:
    """They count names; nothing can be made of an empty file, and nobody should wait for it."""
    them, us = nights["others"].row(8)
    assert (them.pop("n_subruns"), us.pop("n_subruns")) == (3, 2)
    assert us == them


def test_run_without_reference_has_a_type(nights: dict[str, Night]) -> None:
    """They cannot read it then; the bits of its triggers are there all the same."""
    them, us = nights["others"].row(11)
    assert (them.pop("run_type"), us.pop("run_type")) == ("ERROR", "DATA")
    assert us == them
    assert us["dragon_reference_source"] == "None"
    assert "the clocks have no reference" in nights["others"].surveys[11].faults[-1]
