"""Names that come from outside, and positions that are known."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osa.nightsummary.sources import SOURCES, clean_name, known_position


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Crab", "Crab"),
        ("1ES 1959+650", "1ES_1959+650"),
        ("PKS 0625-35\r", "PKS_0625-35"),
        ("$(touch x)", "_touch_x_"),
        ("`id`; rm -rf /", "_id_rm_-rf_"),
        ("../../etc/passwd", "__.._etc_passwd"),
        ("-o", "_o"),
        (".hidden", "_hidden"),
        ("a%jb", "a_jb"),
        ("<script>", "_script_"),
        ("a\x1b[2Jb", "a_2Jb"),
        ("Mrk\t 421", "Mrk_421"),
        ("Crab\u2028Nebula", "Crab_Nebula"),
        ("x" * 1000, "x" * 32),
        ("", None),
        ("   ", None),
        ("--", None),
        ("\0\0", None),
    ],
)
def test_clean_name(text: str, name: str | None) -> None:
    assert clean_name(text) == name


@given(st.text())
def test_any_name_becomes_harmless(text: str) -> None:
    name = clean_name(text)
    assert name is None or re.fullmatch(r"[A-Za-z0-9_+:][A-Za-z0-9._+:-]{0,31}", name)


@pytest.mark.parametrize(
    ("name", "near", "found"),
    [
        ("Crab", (83.6, 22.0), SOURCES["crab"]),
        ("CrabNebula", (84.0, 22.2), SOURCES["crab"]),
        ("Mrk_421", (166.1, 38.6), SOURCES["mrk421"]),
        ("1ES_1959+650", (300.0, 65.0), SOURCES["1es1959"]),
        ("OffCrabLo142", (86.6333, 22.0144), None),
        ("CrabLo142", (86.6333, 22.0144), None),
        ("Capella", (79.2, 46.0), None),
        ("Crab", (10.0, 10.0), None),
    ],
)
def test_known_position(name: str, near: tuple[float, float], found: tuple[float, float] | None) -> None:
    assert known_position(name, near) == found
