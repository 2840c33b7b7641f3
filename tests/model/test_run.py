from __future__ import annotations

from datetime import UTC, datetime

import pytest

from osa.model.run import RunEntry, RunType, TimeReference, list_subruns, run_tag

START = datetime(2020, 1, 27, 20, 44, 13, tzinfo=UTC)


@pytest.mark.parametrize(
    ("label", "kind"),
    [
        ("DRS4", RunType.DRS4),
        ("CALI", RunType.CALIBRATION),
        ("CALIBRATION", RunType.CALIBRATION),
        ("PEDCALIB", RunType.CALIBRATION),
        ("DATA", RunType.DATA),
        ("ERROR", RunType.UNPROCESSED),
        ("UNKNOWN", RunType.UNPROCESSED),
        ("EDATA", RunType.UNPROCESSED),
        ("data", RunType.UNPROCESSED),
        ("$(touch x)", RunType.UNPROCESSED),
    ],
)
def test_labels_are_translated_and_never_guessed(label, kind):
    assert RunEntry(1874, 3, label, START).type is kind


@pytest.mark.parametrize(("run", "tag"), [(1, "00001"), (1874, "01874"), (123456, "123456")])
def test_run_numbers_are_padded_to_five(run, tag):
    assert run_tag(run) == RunEntry(run, 0, "DATA", START).tag == tag


@pytest.mark.parametrize(("run", "subruns"), [(0, 1), (-1, 1), (1874, -1)])
def test_impossible_numbers_are_refused(run, subruns):
    with pytest.raises(ValueError, match="run"):
        RunEntry(run, subruns, "DATA", START)


def test_a_run_may_have_no_time_reference():
    entry = RunEntry(1875, 209, "DATA", START)
    assert entry.dragon == entry.tib == TimeReference(None, None, None)


@pytest.mark.parametrize(
    ("subruns", "text"),
    [
        ((), ""),
        ((7,), "7"),
        ((0, 1), "0-1"),
        ((3, 0, 1, 2, 7), "0-3, 7"),
        ((0, 2, 4), "0, 2, 4"),
        ((9, 10, 11, 200), "9-11, 200"),
    ],
)
def test_list_of_subruns(subruns: tuple[int, ...], text: str) -> None:
    assert list_subruns(subruns) == text


def test_list_of_subruns_without_blanks() -> None:
    assert list_subruns((0, 1, 5), ",") == "0-1,5"
