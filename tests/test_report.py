"""The sequencer table: for eyes, for awk, in colour, and as JSON."""

from __future__ import annotations

import io
import itertools
import json
import re
import sys
from typing import Any

import pytest
from night_states import calibration_sequence, data_sequence, record, sequence_state

from osa.decision import Action, Decision, decide
from osa.layout import DATACHECK, DL1, DL2, MUONS, Layout
from osa.model.job import JobState
from osa.model.sequence import CalibrationChoice, NightPlan, SkippedRun
from osa.report import COLUMNS, as_json, notes, print_table, table_lines, table_rows

HEAD = (
    "Tel Seq Parent Type Run Subruns Source Wobble Action Tries JobID State Reason Host CPU_time "
    "Walltime Exit DL1% MUONS% DATACHECK% DL2%"
)
DAY = 24 * 3600


@pytest.fixture
def decisions() -> tuple[Decision, ...]:
    """A calibration that is done, a run in work, one of strange values, and one without anything."""
    calibration = sequence_state(
        calibration_sequence(),
        records=[
            record(
                "LST1_01873", None, job_id="9", started=0, ended=2 * DAY + 3723, cpu=59, exit_code=0, host="a"
            )
        ],
    )
    in_work = sequence_state(
        data_sequence(1874, 194),
        todo=range(100, 194),
        records=[
            record(task=100, job_id="10", state=JobState.FAILED, cpu=3 * DAY, exit_code=-9, host="a"),
            record(task=101, job_id="11", state=JobState.RUNNING, started=0, host="b"),
        ],
        counts={DL1: 193, MUONS: 100, DATACHECK: 194, DL2: 0},
    )
    strange = sequence_state(
        data_sequence(1875, 0, subruns=(), source="Crab Nebula\t 2", wobble=" ", blocked="no raw files")
    )
    bare = sequence_state(data_sequence(123456, 3, source=None, wobble=None, parent=None), todo=[0, 1, 2])
    return decide((calibration, in_work, strange, bare), simulate=True)


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_head_and_rows(decisions: tuple[Decision, ...]) -> None:
    lines = [" ".join(line.split()) for line in table_lines(table_rows(decisions))]
    assert lines == [
        HEAD,
        "LST1 0 - CALIBRATION 01873 1 - - Check 1 9 COMPLETED - a 00:00:59 2-01:02:03 0 - - - -",
        "LST1 1 0 DATA 01874 194 Crab W0.40+090 Simulate 2 11 RUNNING - 2_hosts 3-00:00:00 - -9 99 51 100 0",
        "LST1 2 0 DATA 01875 0 Crab_Nebula_2 - Check 0 - - - - - - - 0 0 0 0",
        "LST1 121583 - DATA 123456 3 - - Simulate 0 - - - - - - - 0 0 0 0",
    ]


def test_every_row_has_every_column(decisions: tuple[Decision, ...]) -> None:
    for line in table_lines(table_rows(decisions)):
        assert len(line.split()) == len(COLUMNS)
        assert len(re.split(" {2,}", line.strip())) == len(COLUMNS)  # two blanks at least between columns


def test_numbers_are_aligned_right_and_words_left_two_blanks_apart(decisions: tuple[Decision, ...]) -> None:
    lines = table_lines(table_rows(decisions))
    cells = [[match.span() for match in re.finditer(r"\S+", line)] for line in lines]
    columns = list(zip(*cells, strict=True))
    words = {"Tel", "Type", "Source", "Wobble", "Action", "State", "Reason", "Host"}
    for name, spans in zip(HEAD.split(), columns, strict=True):
        edges = {start for start, _ in spans} if name in words else {end for _, end in spans}
        assert len(edges) == 1, name
    for left, right in itertools.pairwise(columns):
        assert min(start for start, _ in right) - max(end for _, end in left) >= 2
    # what lies between all cells of two columns is two blanks wide
    covered = {place for spans in columns for start, end in spans for place in range(start, end)}
    blanks = [place for place in range(max(covered)) if place not in covered]
    assert len(blanks) == 2 * (len(COLUMNS) - 1)


def test_no_rows_give_the_head_alone() -> None:
    (line,) = table_lines([])
    assert line == HEAD.replace(" ", "  ")


@pytest.mark.parametrize(
    ("count", "total", "shown"), [(0, 3, 0), (1, 3, 33), (999, 1000, 99), (3, 3, 100), (0, 0, 0)]
)
def test_percentages_are_rounded_down(count: int, total: int, shown: int) -> None:
    state = sequence_state(data_sequence(n_subruns=total), counts={DL1: count})
    ((row),) = table_rows(decide([state], simulate=True))
    assert row["DL1%"] == shown


# ------------------------------------------------------------------------------ printing


def test_plain_text_where_nobody_looks(decisions: tuple[Decision, ...]) -> None:
    stream = io.StringIO()
    rows = table_rows(decisions)
    print_table(rows, stream)
    assert stream.getvalue() == "\n".join(table_lines(rows)) + "\n"


def test_table_goes_to_the_output_of_the_moment(
    decisions: tuple[Decision, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    print_table(table_rows(decisions))
    assert stream.getvalue().startswith("Tel")


def test_colour_on_a_terminal(decisions: tuple[Decision, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")  # narrower than the table
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    rows = table_rows(decisions)
    print_table(rows, stream)
    text = stream.getvalue()
    assert "\x1b[1;34mRUNNING" in text
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert [line.rstrip() for line in plain.split("\n")] == [*table_lines(rows), ""]


def test_no_colour_where_it_is_not_wanted(
    decisions: tuple[Decision, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    print_table(table_rows(decisions), stream)
    assert not re.search(r"\x1b\[[0-9;]*3\d", stream.getvalue())


# ---------------------------------------------------------------------------- in words


@pytest.fixture
def plan() -> NightPlan:
    return NightPlan(
        (calibration_sequence(), data_sequence()),
        (SkippedRun(1870, "ERROR", "type ERROR is not processed"),),
        CalibrationChoice(1872, 1873, ("the last calibration run before the first DATA run",)),
    )


def test_notes(plan: NightPlan) -> None:
    decisions = [
        Decision(sequence_state(), Action.CHECK),
        Decision(sequence_state(data_sequence(1875)), Action.VETO, note="vetoed"),
    ]
    assert notes(plan, decisions) == [
        "the last calibration run before the first DATA run",
        "LST1_01875: vetoed",
        "run 01870 (ERROR): type ERROR is not processed",
    ]


def test_json(layout: Layout, plan: NightPlan, decisions: tuple[Decision, ...]) -> None:
    document: dict[str, Any] = json.loads(as_json(layout, plan, decisions, closed=False))
    assert (document["night"], document["telescope"]) == ("2020-01-27", "LST1")
    assert (document["prod_id"], document["closed"]) == ("v0.1.0", False)
    assert document["skipped"] == [{"run": 1870, "type": "ERROR", "reason": "type ERROR is not processed"}]
    assert document["calibration"]["calibration_run"] == 1873
    rows = document["sequences"]
    assert list(rows[0]) == [*HEAD.split(), "Note", "Todo", "Live", "Absent"]
    assert [row["Run"] for row in rows] == ["01873", "01874", "01875", "123456"]
    assert rows[1]["Todo"] == list(range(100, 194))
    assert rows[1]["Live"] == [101]
    assert (rows[1]["State"], rows[1]["Action"], rows[1]["DL1%"]) == ("RUNNING", "Simulate", 99)
    assert rows[2]["Note"] == "no raw files"
    assert (rows[2]["Source"], rows[3]["Source"], rows[0]["DL1%"]) == ("Crab Nebula\t 2", None, None)
