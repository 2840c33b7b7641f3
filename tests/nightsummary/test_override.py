"""The override of a night."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osa.cures.known import KNOWN
from osa.errors import InputError
from osa.model.rule import Rule
from osa.nightsummary.override import Override, format_override, parse_override, read_override

PATH = Path("/night/NightSummary_20200127.override")
FULL = """\
# on shift
calibration_run = 01878
drs4_run=1877

[leave out]
01875 = camera doors were closed = bad
01873 = wrong filter
"""


@pytest.mark.parametrize(
    "text", [FULL, "\ufeff" + FULL, FULL.replace("\n", " \r\n"), FULL.replace(" = ", "=")]
)
def test_reads_runs_and_reasons(text: str) -> None:
    override = parse_override(text, PATH)
    assert (override.drs4_run, override.calibration_run) == (1877, 1878)
    assert list(override.left_out) == [1875, 1873]
    assert override.left_out[1873] == "wrong filter"


@pytest.mark.parametrize("text", ["", "# nothing\n", "[leave out]\n", "\n\n"])
def test_may_say_nothing(text: str) -> None:
    assert parse_override(text, PATH) == Override(left_out={})


def test_missing_file_says_nothing(tmp_path: Path) -> None:
    override = read_override(tmp_path / "none.override")
    assert (override.drs4_run, override.calibration_run, dict(override.left_out)) == (None, None, {})


def test_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_override(tmp_path)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("drs4 = 1", "'drs4': unknown key; expected drs4_run or calibration_run"),
        (
            "01875 = dark",
            "'01875': unknown key; expected drs4_run or calibration_run; runs to leave out go below",
        ),
        ("drs4_run = x", "'drs4_run': 'x'; expected a run number"),
        ("drs4_run = 0", "'drs4_run': '0'; expected a run number"),
        ("drs4_run =", "'drs4_run': ''; expected a run number"),
        ("drs4_run = $(touch x)", "'drs4_run': '$(touch x)'; expected a run number"),
        ("drs4_run", "'drs4_run': expected key = value"),
        ("drs4_run = 1\n\ndrs4_run = 1", "'drs4_run': is in line 1 already"),
        ("[left]\n1 = 2", "unknown section '[left]'; expected [types] or [leave out]"),
        ("[types]\nabc = DATA", "'abc': expected a run number"),
        ("[types]\n1 = data", "'1': 'data'; expected DRS4, CALI, DATA or ERROR"),
        ("[types]\n1 = DATA\n1 = DRS4", "'1': run 00001 is in line 2 already"),
        ("[leave out]\n1 =", "'1': expected the reason"),
        ("[leave out]\nabc = dark", "'abc': expected a run number"),
        ("[leave out]\n../1 = dark", "'../1': expected a run number"),
        (
            "[leave out]\ndrs4_run = 1",
            "'drs4_run': expected a run number such as 01875, or a sub-run such as 01875.0003; drs4_run goes",
        ),
        ("[leave out]\n1 = \x1b[2J", "expected a reason in printable characters"),
        ("[leave out]\n1 = a\n01 = b", "'01': run 00001 is in line 2 already"),
        ("[leave out]\n1.3 = a\n00001.0003 = b", "'00001.0003': sub-run 00001.0003 is in line 2 already"),
        ("[leave out]\n1.3 =", "'1.3': expected the reason"),
        ("[leave out]\n1.12345 = dark", "'1.12345': expected a run number such as 01875, or a sub-run"),
        ("[leave out]\n1. = dark", "'1.': expected a run number"),
        ("[leave out]\n.3 = dark", "'.3': expected a run number"),
        ("[leave out]\n0.3 = dark", "'0.3': expected a run number"),
        ("[leave out]\n1.-3 = dark", "'1.-3': expected a run number"),
        ("[leave out]\n1.3-5 = dark", "'1.3-5': expected a run number"),
        ("[leave out]\n1.2.3 = dark", "'1.2.3': expected a run number"),
        ("[leave out]\n1.\u0663 = dark", "expected a run number"),
        ("01875.0003 = dark", "'01875.0003': unknown key"),
        ("calibration_run = 01873.0000", "'01873.0000'; expected a run number"),
    ],
)
def test_names_file_line_and_key(text: str, fault: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_override(text, PATH)
    heading, line = str(caught.value).split("\n  ")
    assert heading == f"override {PATH} has 1 fault(s):"
    number = text.count("\n") + (0 if "[left]" in text else 1)
    assert line.startswith(f"{PATH}:{number}: ")
    assert fault in line


def test_all_faults_in_one_message() -> None:
    with pytest.raises(InputError) as caught:
        parse_override("drs4_run = a\ncalibration_run = b\nx\n[leave out]\n5 =\n", PATH)
    assert "has 4 fault(s)" in str(caught.value)


@given(st.text() | st.text("01=[]leave out\ndrs4_run#\r\t "))
def test_never_fails_but_with_input_error(text: str) -> None:
    try:
        parse_override(text, PATH)
    except InputError as error:
        assert all(line.isprintable() for line in str(error).split("\n"))


# ------------------------------------------------------------------------------- sub-runs


def test_reads_subruns() -> None:
    override = parse_override("[leave out]\n01875.0003 = dark\n1875.12=x = y\n01874 = all of it\n", PATH)
    assert override.left_out_subruns == {(1875, 3): "dark", (1875, 12): "x = y"}
    assert override.left_out == {1874: "all of it"}


def test_run_and_its_subruns_may_both_be_left_out() -> None:
    override = parse_override("[leave out]\n1875 = a\n1875.0 = b\n", PATH)
    assert (override.left_out, override.left_out_subruns) == ({1875: "a"}, {(1875, 0): "b"})


RUNS = st.integers(1, 999_999_999)
# What an operator can write: printable, on one line, with no blanks at its ends.
REASONS = (
    st.text(st.characters(blacklist_categories=("C", "Z")) | st.just(" "), min_size=1)
    .map(lambda text: text.strip(" \t\r").replace("\ufffd", "x"))
    .filter(bool)
)


@given(
    st.builds(
        Override,
        drs4_run=st.none() | RUNS,
        calibration_run=st.none() | RUNS,
        left_out=st.dictionaries(RUNS, REASONS, max_size=4),
        left_out_subruns=st.dictionaries(st.tuples(RUNS, st.integers(0, 9999)), REASONS, max_size=4),
        types=st.dictionaries(RUNS, st.sampled_from(["DRS4", "CALI", "DATA", "ERROR"]), max_size=4),
    )
)
def test_what_is_written_can_be_read(override: Override) -> None:
    assert parse_override(format_override(override), PATH) == override
    assert parse_override("# a head\n" + format_override(override), PATH) == override


# --------------------------------------------------------------------------------- types


@pytest.mark.parametrize(
    "text",
    [
        "[types]\n01875 = DATA\n1876=ERROR\n[leave out]\n1877 = dark\n",
        "[leave out]\n1877 = dark\n[ TYPES ]\n01875 = DATA\n1876 = ERROR\n",
        "[types]\n1875 = DATA\n[leave out]\n1877 = dark\n[types]\n1876 = ERROR\n",
    ],
)
def test_reads_types_in_any_order(text: str) -> None:
    override = parse_override(text, PATH)
    assert (override.types, override.left_out) == ({1875: "DATA", 1876: "ERROR"}, {1877: "dark"})


def test_run_may_have_a_type_and_be_left_out() -> None:
    override = parse_override("[types]\n1875 = DATA\n[leave out]\n1875 = dark\n", PATH)
    assert (override.types, override.left_out) == ({1875: "DATA"}, {1875: "dark"})


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("1875 = PEDCALIB", "'1875': 'PEDCALIB'; expected DRS4, CALI, DATA or ERROR"),
        ("1875 =", "'1875': ''; expected DRS4"),
        ("1875", "'1875': expected key = value"),
        ("1875.0003 = DATA", "'1875.0003': expected a run number such as 01875"),
        ("0 = DATA", "'0': expected a run number"),
        ("drs4_run = 1872", "'drs4_run': expected a run number"),
        ("1875 = DATA # on shift", "'1875': 'DATA # on shift'; expected"),
    ],
)
def test_faults_of_types(line: str, fault: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_override(f"[types]\n{line}\n", PATH)
    assert f"{PATH}:2: {fault}" in str(caught.value)


@pytest.mark.parametrize("rule", KNOWN)
def test_names_of_rules_are_reasons(rule: Rule) -> None:
    override = Override(left_out_subruns={(1874, 3): rule.name})
    assert parse_override(format_override(override), PATH).left_out_subruns == {(1874, 3): rule.name}
