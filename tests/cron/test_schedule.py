"""Hours of the day at which a line of the crontab does something."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osa.cron.schedule import parse_hours

ALL = frozenset(range(24))


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("7", {7}),
        ("07", {7}),
        ("0", {0}),
        ("23", {23}),
        ("6,12,18", {6, 12, 18}),
        ("18,6,12,6", {6, 12, 18}),
        (" 7 , 9 ", {7, 9}),
        ("8-18", set(range(8, 19))),
        ("5-5", {5}),
        ("0-23", ALL),
        ("8-18/2", {8, 10, 12, 14, 16, 18}),
        ("8-18/1", set(range(8, 19))),
        ("8-17/2", {8, 10, 12, 14, 16}),
        ("0-23/5", {0, 5, 10, 15, 20}),
        ("5-6/9", {5}),
        ("7,8-18/2,22-23", {7, 8, 10, 12, 14, 16, 18, 22, 23}),
    ],
)
def test_hours_are_read(text: str, hours: set[int]) -> None:
    assert parse_hours(text) == hours


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "''"),
        (" ", "''"),
        (",", "''"),
        ("7,", "''"),
        (",7", "''"),
        ("24", "'24'"),
        ("6,24", "'24'"),
        ("100", "'100'"),
        ("7-24", "'7-24'"),
        ("9-8", "'9-8'"),
        ("-1", "'-1'"),
        ("7-", "'7-'"),
        ("7 - 9", "'7 - 9'"),
        ("7-9-11", "'7-9-11'"),
        ("8/2", "'8/2'"),
        ("8-18/0", "'8-18/0'"),
        ("8-18/00", "'8-18/00'"),
        ("8-18/", "'8-18/'"),
        ("8-18/2/2", "'8-18/2/2'"),
        ("8-18/-2", "'8-18/-2'"),
        ("*", "'*'"),
        ("*/2", "'*/2'"),
        ("7.5", "'7.5'"),
        ("7:30", "'7:30'"),
        ("7 9", "'7 9'"),
        ("seven", "'seven'"),
        ("\u0667", "'\u0667'"),
        ("²", "'²'"),
        ("7\n9", r"'7\n9'"),
    ],
)
def test_fault_names_the_part_that_has_it(text: str, part: str) -> None:
    with pytest.raises(ValueError, match="hour") as caught:
        parse_hours(text)
    said = str(caught.value)
    assert said.startswith(part)
    assert "\n" not in said


@given(st.text("0123456789-/, *x", max_size=12) | st.text(max_size=6))
def test_whatever_is_read_are_hours_of_a_day(text: str) -> None:
    try:
        hours = parse_hours(text)
    except ValueError:
        return
    assert hours
    assert hours <= ALL


@given(st.lists(st.tuples(st.integers(0, 23), st.integers(0, 23), st.integers(1, 30)), min_size=1))
def test_ranges_are_what_cron_makes_of_them(parts: list[tuple[int, int, int]]) -> None:
    ranges = [(min(a, b), max(a, b), step) for a, b, step in parts]
    text = ",".join(f"{first}-{last}/{step}" for first, last, step in ranges)
    expected = {
        hour
        for hour in range(24)
        if any(first <= hour <= last and (hour - first) % step == 0 for first, last, step in ranges)
    }
    assert parse_hours(text) == expected
