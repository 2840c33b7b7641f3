"""What the closer leaves out: lines added and taken away, and nothing else changed."""

from __future__ import annotations

import pytest

from osa.errors import InputError
from osa.layout import Layout
from osa.nightsummary.left_out import leave_out, take_in
from osa.nightsummary.override import read_override

TEXT = """\
# mine
[leave out]
1874.1 = moon

01874.0002 = no pointing
01874 = all of it
18740.0001 = another run
01875 = dark
# the end"""


@pytest.fixture
def layout(layout: Layout) -> Layout:
    layout.left_out.parent.mkdir(parents=True)
    return layout


def test_first_line_makes_the_file(layout: Layout) -> None:
    leave_out(layout, {"01874.0001": "dark", "01875": "wet"})
    said = read_override(layout.left_out)
    assert (said.left_out, said.left_out_subruns) == ({1875: "wet"}, {(1874, 1): "dark"})


def test_lines_that_are_there_stay_as_they_are(layout: Layout) -> None:
    layout.left_out.write_text(TEXT, "utf-8")
    leave_out(layout, {"01874.0001": "other", "01876.0000": "new"})
    assert layout.left_out.read_text("utf-8") == f"{TEXT}\n01876.0000 = new\n"


@pytest.mark.parametrize(
    ("run", "subrun", "gone"),
    [
        (1874, 1, ("1874.1 = moon",)),
        (1874, 2, ("01874.0002 = no pointing",)),
        (1874, None, ("1874.1 = moon", "01874.0002 = no pointing", "01874 = all of it")),
        (1875, None, ("01875 = dark",)),
        (18740, 1, ("18740.0001 = another run",)),
    ],
)
def test_taking_in(layout: Layout, run: int, subrun: int | None, gone: tuple[str, ...]) -> None:
    layout.left_out.write_text(TEXT, "utf-8")
    assert len(take_in(layout, run, subrun)) == len(gone)
    assert layout.left_out.read_text("utf-8").splitlines() == [
        line for line in TEXT.splitlines() if line not in gone
    ]


@pytest.mark.parametrize(("run", "subrun"), [(1874, 7), (1875, 0), (4711, None)])
def test_taking_in_what_is_not_left_out(layout: Layout, run: int, subrun: int | None) -> None:
    layout.left_out.write_text(TEXT, "utf-8")
    assert take_in(layout, run, subrun) == ()
    assert layout.left_out.read_text("utf-8") == TEXT


def test_nothing_is_taken_in_where_nothing_is_left_out(layout: Layout) -> None:
    assert take_in(layout, 1874, None) == ()
    assert not layout.left_out.exists()


def test_file_with_faults_is_not_touched(layout: Layout) -> None:
    text = "[leave out]\nwhat = dark\n"
    layout.left_out.write_text(text, "utf-8")
    for change in (lambda: take_in(layout, 1874, None), lambda: leave_out(layout, {"01874": "x"})):
        with pytest.raises(InputError, match="'what'"):
            change()
    assert layout.left_out.read_text("utf-8") == text


def test_byte_order_mark_of_an_editor_is_no_obstacle(layout: Layout) -> None:
    layout.left_out.write_bytes(b"\xef\xbb\xbf[leave out]\r\n01874.0001 = dark\r\n01875 = wet\r\n")
    assert take_in(layout, 1874, 1) == ("01874.0001",)
    leave_out(layout, {"01876": "new"})
    assert read_override(layout.left_out).left_out == {1875: "wet", 1876: "new"}
