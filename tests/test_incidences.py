from __future__ import annotations

import pytest

from osa.incidences import add_incidence, read_incidences


@pytest.fixture
def path(tmp_path):
    return tmp_path / "night" / "Incidences.txt"


def test_a_night_without_file_has_none(path):
    assert read_incidences(path) == ()


def test_the_line_is_as_operators_know_it(path, night):
    add_incidence(path, night, "LST1", "run 01875 has no pointing")
    assert path.read_text() == "NIGHT=20200127 TELESCOPE=LST1 COMMENTS=run 01875 has no pointing\n"


def test_the_same_is_said_once(path, night):
    assert add_incidence(path, night, "LST1", "first") is True
    assert add_incidence(path, night, "LST1", "second") is True
    assert add_incidence(path, night, "LST1", "first") is False
    assert read_incidences(path) == ("first", "second")


@pytest.mark.parametrize("blank", ["\n", "\r\n", "\t ", "\0", "\u2028", "\x0b", "\x1b"])
def test_a_comment_stays_on_its_line(path, night, blank):
    assert add_incidence(path, night, "LST1", f"one{blank}two") is True
    assert add_incidence(path, night, "LST1", f"one{blank}two") is False
    assert read_incidences(path) == ("one two",)
    assert path.read_text().count("\n") == 1


def test_other_lines_and_bytes_are_passed_over(path, night):
    path.parent.mkdir()
    path.write_bytes(b"\xff\xfe\0 rubbish\n\nNIGHT=20200127 TELESCOPE=LST1 COMMENTS=good\nNIGHT=2020")
    assert read_incidences(path) == ("good",)
    add_incidence(path, night, "LST1", "new")
    assert read_incidences(path) == ("good", "new")


def test_a_comment_may_have_any_signs(path, night):
    comment = "Crab $(touch x); COMMENTS=é NIGHT=1"
    add_incidence(path, night, "LST1", comment)
    assert read_incidences(path) == (comment,)
