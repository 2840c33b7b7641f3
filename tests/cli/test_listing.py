"""Lists of things on a terminal, in a pipe, and for programs."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from provenance_nights import Answer, ClosedNight, called, edited_index, make_closed_night

from osa.cli.listing import print_json, print_rows
from osa.cli.provquery import main
from osa.model.dataset import DatasetKind

ROWS: list[dict[str, Any]] = [
    {"Name": "one", "Number": 1, "State": "done"},
    {"Name": "a longer one", "Number": None, "State": "failed"},
    {"Name": "", "Number": 0, "State": "unfinished"},
]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


def piped(rows: list[dict[str, Any]], *, as_json: bool = False) -> str:
    stream = io.StringIO()
    print_rows(rows, as_json=as_json, stream=stream)
    return stream.getvalue()


def shown(rows: list[dict[str, Any]]) -> str:
    stream = Terminal()
    print_rows(rows, as_json=False, stream=stream)
    return stream.getvalue()


def test_columns_in_a_pipe() -> None:
    assert piped(ROWS) == (
        "Name          Number  State\n"
        "one           1       done\n"
        "a longer one  -       failed\n"
        "-             0       unfinished\n"
    )


def test_nothing_is_printed_of_no_rows() -> None:
    assert piped([]) == "" and shown([]) == ""
    assert piped([], as_json=True) == "[]\n"


def test_json_tells_what_is_not_known() -> None:
    assert json.loads(piped(ROWS, as_json=True)) == ROWS
    stream = Terminal()
    print_rows(ROWS, as_json=True, stream=stream)
    assert json.loads(stream.getvalue()) == ROWS  # on a terminal, too, and without colours


def test_standard_output_is_where_it_goes(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows(ROWS, as_json=False)
    print_json({"a": 1})
    out = capsys.readouterr().out
    assert out.startswith("Name") and out.endswith('{\n  "a": 1\n}\n')


def test_json_of_what_json_does_not_know() -> None:
    when = datetime(2020, 1, 27, 20, tzinfo=UTC)
    stream = io.StringIO()
    print_json({"when": when, "where": Path("/x"), "kind": DatasetKind.DL2, "ü": "\udcfc\x1b"}, stream)
    assert json.loads(stream.getvalue()) == {
        "when": "2020-01-27 20:00:00+00:00",
        "where": "/x",
        "kind": "DL2",
        "ü": "\udcfc\x1b",
    }
    assert stream.getvalue().isascii()


HOSTILE = "a\nb\tc\x1b[2Jd\re\x00f\u2028g\u202eh\x9bi"


def test_a_cell_stays_on_its_line() -> None:
    cell = "a b c [2Jd e f g h i"
    assert piped([{"A": HOSTILE, "B": "x"}]) == f"{'A'.ljust(len(cell))}  B\n{cell}  x\n"
    assert json.loads(piped([{"A": HOSTILE}], as_json=True)) == [{"A": HOSTILE}]


def test_a_name_that_cannot_be_encoded_is_shown_all_the_same() -> None:
    """Names of files need not be UTF-8."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    print_rows([{"File": "Latin 1 \udcfc.h5"}], as_json=False, stream=stream)
    stream.flush()


def test_table_on_a_terminal() -> None:
    text = shown(ROWS)
    assert "\x1b[32mdone" in text and "\x1b[1;31mfailed" in text and "\x1b[1;33munfinished" in text
    for word in ("Name", "Number", "one", "a longer one"):
        assert word in text


@pytest.mark.parametrize(
    "name", ["[red]x[/red]", "[/]", "[bold", "[link=http://x]y[/link]", ":smile:", "[@click=x]"]
)
def test_markup_is_no_markup(name: str) -> None:
    assert name in shown([{"File": name}])
    assert name in piped([{"File": name}])


def test_control_characters_do_nothing_on_a_terminal() -> None:
    text = shown([{"File": HOSTILE}])
    assert "a b c [2Jd e f g h i" in text and "\x1b[2J" not in text and "\x00" not in text


def test_long_cells_are_folded_and_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    name = "".join(f"{number:03d}" for number in range(60))
    lines = re.sub(r"\x1b\[[\d;]*m", "", shown([{"File": name, "State": "done"}])).splitlines()
    assert max(map(len, lines)) <= 40
    cells = "".join(line.split()[0] for line in lines if line.strip() and line.split()[0].isdecimal())
    assert cells == name


def test_wide_characters_keep_columns_apart() -> None:
    text = piped([{"A": "星星", "B": "x"}, {"A": "ab", "B": "y"}])
    assert text.splitlines()[1].split() == ["星星", "x"]


# ------------------------------------------------------------------------ what provquery prints

HOSTILE_NAME = "[red]dl2[bold] \x1b[2J\r\n\t\x07 [bold'\"; \u202e DROP \x9b31m\u2028.h5"
NAME = "dl2_LST-1.Run01874.0001.h5"


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> ClosedNight:
    """A closed night with its index."""
    return make_closed_night(tmp_path_factory.mktemp("told"))


@pytest.fixture
def hostile(told: ClosedNight, tmp_path: Path) -> Path:
    """An index in which a file has a hostile name, and hostile is why a try failed."""
    quoted = HOSTILE_NAME.replace("'", "''")
    statements = (
        f"UPDATE entities SET name = '{quoted}', location = '/tmp/{quoted}' WHERE name = '{NAME}'",
        f"UPDATE tries SET reason = '{quoted}', host = '{quoted}' WHERE status = 'failed'",
    )
    return edited_index(told, tmp_path, *statements)


@pytest.mark.parametrize(
    "question",
    [["find", "--run", "1874"], ["tries", "1874"], ["lineage", HOSTILE_NAME], ["verify", HOSTILE_NAME]],
)
def test_hostile_names_are_only_shown(
    hostile: Path, capsys: pytest.CaptureFixture[str], question: list[str]
) -> None:
    def ask(*more: str) -> Answer:
        return called(main, capsys, *question, "-c", hostile, *more)

    answer = ask()
    assert answer.code == (1 if question[0] == "verify" else 0)
    lines = answer.out.splitlines()
    assert "[red]dl2[bold]" in answer.out
    assert all(c.isprintable() or c == "\n" for c in answer.out)
    n_rows = {"find": 11, "lineage": 17, "tries": 10, "verify": 1}[question[0]]
    assert len(lines) == n_rows
    told = ask("--json").json
    rows = [{"fault": fault} for fault in told["faults"]] if question[0] == "verify" else told
    assert any(HOSTILE_NAME in str(value) for row in rows for value in row.values())


def test_hostile_names_on_a_terminal(
    hostile: Path, told: ClosedNight, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    assert main(["tries", "-c", str(hostile), "1874"]) == 0
    shown = terminal.getvalue()
    assert "[red]dl2[bold]" in shown and "\x1b[2J" not in shown and "\x07" not in shown
    assert shown.count("dl1_to_dl2") == 3


def provquery(told: ClosedNight, *arguments: str, **how: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "osa.cli.provquery", arguments[0], *told.options, *arguments[1:]]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, **how)


def test_json_is_alone_on_standard_output(told: ClosedNight) -> None:
    result = provquery(told, "find", "--run", "1874", "--limit", "2", "--json")
    assert result.returncode == 0
    assert len(json.loads(result.stdout)) == 2
    assert "there may be more" in result.stderr


def test_pipe_gets_plain_text(told: ClosedNight) -> None:
    environment = {**os.environ, "FORCE_COLOR": "1", "COLUMNS": "20"}
    result = provquery(told, "tries", "1874", env=environment)
    assert "\x1b" not in result.stdout
    assert len(result.stdout.splitlines()) == 10


def test_table_on_a_real_terminal(told: ClosedNight) -> None:
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "osa.cli.provquery", "tries", *told.options, "1874.0"]
    environment = {**os.environ, "COLUMNS": "200"}
    process = subprocess.Popen(command, stdout=follower, stderr=follower, env=environment)
    os.close(follower)
    shown = b""
    try:
        while chunk := os.read(leader, 4096):
            shown += chunk
    except OSError:  # the other end is closed
        pass
    assert process.wait(60) == 0
    os.close(leader)
    assert b"failed" in shown and b"\x1b[1;31m" in shown


def test_broken_pipe_is_no_error(told: ClosedNight) -> None:
    for question in ("find --night 2020_01_27", "export 1874", "find --night 2020_01_27 --json"):
        verb, *more = question.split()
        command = [sys.executable, "-m", "osa.cli.provquery", verb, *told.options, *more]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None and process.stderr is not None
            process.stdout.close()
            said = process.stderr.read().decode()
        assert process.returncode == 0 and "Traceback" not in said and "BrokenPipe" not in said, said
