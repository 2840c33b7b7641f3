from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osa.model.night import Night

dates = st.dates(min_value=date(1000, 1, 1))


@pytest.mark.parametrize("text", ["2020_01_27", "2020-01-27", "20200127", " 2020_01_27\n"])
def test_every_form_of_a_date_is_read(text):
    assert Night.parse(text) == Night(date(2020, 1, 27))


@pytest.mark.parametrize(
    "text", ["", "2020_01-27", "2020_1_27", "27_01_2020", "2020_01_27x", "../20200127", "yesterday"]
)
def test_other_text_is_no_date(text):
    with pytest.raises(ValueError, match="YYYY_MM_DD"):
        Night.parse(text)


@pytest.mark.parametrize("text", ["2020_13_01", "20210229", "2020_00_10"])
def test_a_day_has_to_be_of_the_calendar(text):
    with pytest.raises(ValueError, match="no day of the calendar"):
        Night.parse(text)


@given(dates)
def test_a_night_survives_its_own_names(day):
    night = Night(day)
    assert Night.parse(night.tag) == Night.parse(night.underscored) == Night.parse(str(night)) == night


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2020-01-28T15:59:59", "20200127"),
        ("2020-01-28T16:00:00", "20200128"),
        ("2020-01-28T00:00:00", "20200127"),
        ("2020-03-01T05:00:00", "20200229"),
    ],
)
def test_the_night_changes_at_its_offset(now, expected):
    moment = datetime.fromisoformat(now).replace(tzinfo=UTC)
    assert Night.current(moment, timedelta(hours=16)).tag == expected


@given(dates, st.integers(-14, 14))
def test_the_time_zone_of_the_clock_does_not_matter(day, hours):
    now = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    if date(1000, 1, 3) < day < date(9999, 12, 29):
        elsewhere = now.astimezone(timezone(timedelta(hours=hours)))
        assert Night.current(elsewhere, timedelta(0)) == Night.current(now, timedelta(0))


def test_a_time_without_zone_is_refused():
    with pytest.raises(ValueError, match="time zone"):
        Night.current(datetime(2020, 1, 27), timedelta(0))


def test_nights_are_ordered():
    assert Night(date(2020, 1, 27)) < Night(date(2020, 2, 1))
