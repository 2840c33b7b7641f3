"""A lineage as a picture."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from osa.errors import MissingServiceError, OsaError
from osa.model.dataset import DatasetKind as Kind
from osa.provenance import graph as graph_module
from osa.provenance.graph import NodeClass, draw_graph, graph_text
from osa.provenance.lineage import Lineage, build_lineage
from osa.records.model import Software
from tests.provenance.stories import (
    FAILED,
    FORESTS,
    UNFINISHED,
    attempt,
    dl1,
    dl2,
    file,
    move,
    to_dl1,
    whole_run,
)

needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")


@dataclass(frozen=True)
class Box:
    """A box of the picture, read back."""

    name: str
    words: tuple[str, ...]
    fill: str

    @property
    def title(self) -> str:
        return "|".join(self.words[:2])


_NODE = re.compile(r'^(n\d+) \[label=<<B>(.*?)</B>(.*?)>, shape=.*?fillcolor="(.*?)".*?\];$', re.MULTILINE)
_EDGE = re.compile(r"^(n\d+) -> (n\d+) .*style=(\w+)", re.MULTILINE)


def boxes(lineage: Lineage, *, detail: bool = False) -> list[Box]:
    text = graph_text(lineage, "a title", detail=detail)
    return [
        Box(name, (html.unescape(first), *map(html.unescape, rest.split("<BR/>")[1:])), fill)
        for name, first, rest, fill in _NODE.findall(text)
    ]


def find(lineage: Lineage, start: str, *, detail: bool = False) -> Box:
    (found,) = [box for box in boxes(lineage, detail=detail) if box.title.startswith(start)]
    return found


STORY = [
    *whole_run(3),
    to_dl1(30, 0, **FAILED),
    to_dl1(31, 0, content="again", parameters={"heuristic": "yes", "cut": "5"}),
    to_dl1(32, 1, **UNFINISHED),
    move(300, dl1(0, "again"), dl1(1), dl1(2)),
]


@pytest.fixture(scope="module")
def lineage():
    return build_lineage(STORY)


# ---------------------------------------------------------------------------------- folding


def test_files_and_tries_of_a_run_are_one_box_each(lineage):
    titles = sorted(box.words[0] for box in boxes(lineage))
    assert titles == sorted(
        [
            "DRS4 pedestal",  # the step, and its file
            "DRS4 pedestal",
            "time calibration",
            "time calibration",
            "charge calibration",
            "charge calibration",
            "R0 to DL1",
            "data check",
            "data check, 3 files",
            "DL1 to DL2",
            "R0",
            "R0",
            "R0, 3 files",
            "DL1, 3 files",
            "DL2, 3 files",
            "muons, 3 files",
            "random forest, 4 files",
            "drive log",
            "run summary",
            "configuration",
            "configuration",
            "configuration",
        ]
    )


def test_a_box_of_files_counts_those_that_are_there(lineage):
    _, second, *rest = find(lineage, "DL1, 3 files").words
    assert second == "run 01874, sub-runs 0-2"
    assert "(1 older, replaced)" in rest
    assert "B" in rest[0] and rest[0].split()[0].isdigit()
    forests = find(lineage, "random forest").words
    assert list(forests[1:5]) == sorted(item.name for item in FORESTS)


def test_more_files_than_can_be_listed_are_counted():
    forests = [file(Kind.RANDOM_FOREST, f"forest{i}.sav") for i in range(9)]
    lineage = build_lineage([attempt(1, "dl1_to_dl2", 0, forests)])
    assert find(lineage, "random forest").words[5] == "and 5 more"


def test_a_box_of_tries_counts_how_they_ended(lineage):
    node = find(lineage, "R0 to DL1")
    text = node.words
    assert text[1] == "run 01874"
    assert text[2].startswith("6 tries: ")
    assert set(text[2].removeprefix("6 tries: ").split(", ")) == {"4 done", "1 failed", "1 unfinished"}
    assert "lstchain 0.12.3" in text
    assert "from 2020-01-27 20:10 UTC" in text
    assert node.fill == NodeClass.ACTIVITY.fill


def test_one_try_is_told_as_such(lineage):
    assert "1 try: done" in find(lineage, "time calibration|run").words


@pytest.mark.parametrize("how", [FAILED, UNFINISHED], ids=["failed", "unfinished"])
def test_tries_of_which_none_succeeded_are_red(how):
    lineage = build_lineage([to_dl1(10, **how), to_dl1(11, 1, **FAILED)])
    assert find(lineage, "R0 to DL1").fill == NodeClass.FAILED.fill
    assert NodeClass.FAILED.title in graph_text(lineage, "x")
    assert NodeClass.COLLECTION.title in graph_text(lineage, "x")  # raw files
    assert NodeClass.ACTIVITY.fill not in graph_text(lineage, "x")


def test_classes_have_their_colours(lineage):
    assert find(lineage, "DL1, 3").fill == NodeClass.COLLECTION.fill
    assert find(lineage, "drive log").fill == NodeClass.DATASET.fill
    fills = {box.fill for box in boxes(lineage) if box.words[0] == "configuration"}
    assert fills == {NodeClass.CONFIGURATION.fill}


def test_detail_has_a_box_for_each_subrun(lineage):
    found = {box.title: box.words for box in boxes(lineage, detail=True)}
    steps = {title for title in found if title.startswith("R0 to DL1|")}
    assert steps == {f"R0 to DL1|run 01874, sub-run {subrun}" for subrun in range(3)}
    assert {title for title in found if title.startswith("DL2|")} == {f"DL2|{dl2(i).name}" for i in range(3)}
    assert "3 tries: 2 done, 1 failed" in found["R0 to DL1|run 01874, sub-run 0"]
    assert "(1 older, replaced)" in found[f"DL1|{dl1(0).name}"]
    assert any(title.startswith("random forest, 4 files") for title in found)


def edges(lineage: Lineage) -> list[tuple[str, str, str]]:
    titles = {box.name: box.words[0].partition(",")[0] for box in boxes(lineage)}
    found = _EDGE.findall(graph_text(lineage, "x"))
    assert len(found) == len({(start, end) for start, end, _ in found})
    return [(titles[start], titles[end], style) for start, end, style in found]


def test_data_flows_from_what_was_read_to_what_was_made(lineage):
    found = edges(lineage)
    assert {
        ("R0", "R0 to DL1", "solid"),
        ("R0 to DL1", "DL1", "solid"),
        ("DL1", "DL1 to DL2", "solid"),
        ("configuration", "DL1 to DL2", "dashed"),
        ("DL1 to DL2", "DL2", "solid"),
    } <= set(found)
    assert not any("move" in pair for pair in found)


def test_parameters_are_told_where_all_tries_had_the_same():
    one = {"parameters": {"cut": "5", "switch": "yes", "other": "1", "only": "here"}}
    two = {"parameters": {"cut": "5", "switch": "yes", "other": "2"}}
    text = find(build_lineage([to_dl1(10, 0, **one), to_dl1(11, 1, **two)]), "R0 to DL1").words
    assert "cut = 5" in text
    assert not any(line.startswith(("switch", "other", "only")) for line in text)


def test_versions_of_all_tries_are_told():
    newer = to_dl1(11, 1, software=Software({"lstchain": "0.12.4"}, "e"))
    text = find(build_lineage([to_dl1(10), newer]), "R0 to DL1").words
    assert "lstchain 0.12.3, lstchain 0.12.4" in text


# --------------------------------------------------------------------------------- hostile

HOSTILE = {
    "quotes": "a \"b\" 'c'",
    "tags": "<b>bold</b> </TABLE> <BR/>",
    "entities": "fish & chips &amp; &lt;",
    "backslashes": "\\N \\l \\G back\\",
    "line ends": "one\ntwo\r\nthree",
    "long": "word" * 500,
    "long with dots": "some.name-" * 100,
    "other scripts": "naïve Ωμέγα",
    "braces": "{a|b} [c] ; -> -- // # /* x */",
    "blanks": "   ",
    "empty": "",
    "control": "a\x01b\x1b[31mc\x7fd",
    "surrogate": "caf\udce9",
}


def pdf_words(data: bytes, tmp_path: Path) -> str:
    (tmp_path / "graph.pdf").write_bytes(data)
    said = subprocess.run(
        ["pdftotext", tmp_path / "graph.pdf", "-"], capture_output=True, text=True, check=True
    )
    return " ".join(said.stdout.split())


def hostile_lineage(text: str) -> Lineage:
    record = replace(
        to_dl1(10, parameters={"cut": text}),
        inputs=(file(Kind.DRIVE_LOG, f"log {text}", "", "/x"), file(Kind.OTHER, text or "-", "y", "/y")),
        software=Software({"lstchain": f"1 {text}"}, "e"),
    )
    return build_lineage([record])


@needs_dot
@pytest.mark.parametrize("detail", [False, True])
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_names_give_a_picture(text, detail):
    found = draw_graph(hostile_lineage(text), f"title {text}", detail=detail)
    assert found.startswith(b"%PDF") and found.rstrip().endswith(b"%%EOF")


@needs_dot
@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="pdftotext is not installed")
@pytest.mark.parametrize("name", ["quotes", "tags", "entities", "backslashes", "line ends", "braces"])
def test_names_stand_in_the_picture_as_they_are(name, tmp_path):
    text = " ".join(HOSTILE[name].split())
    said = pdf_words(draw_graph(hostile_lineage(text), f"title {text}"), tmp_path)
    shown = text.replace("\\", "/")  # Graphviz cannot show a backslash
    assert f"cut = {shown}" in said
    assert f"title {shown}" in said


@needs_dot
@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="pdftotext is not installed")
def test_what_is_in_the_lineage_is_in_the_picture(lineage, tmp_path):
    said = pdf_words(draw_graph(lineage, "Night 2020-01-27"), tmp_path)
    for text in ("Night 2020-01-27", "R0 to DL1", "DL2, 3 files", "run 01874, sub-runs 0-2", "activity"):
        assert text in said
    assert "activity that failed" not in said


@needs_dot
@pytest.mark.parametrize(
    "records",
    [[], [move(1, **FAILED)], [attempt(1, "_")], [attempt(1, "")]],
    ids=["nothing", "a failed move", "a step without a word", "a step without a name"],
)
def test_a_lineage_with_nothing_to_show_can_be_drawn(records):
    assert draw_graph(build_lineage(records), "nothing").startswith(b"%PDF")


def test_a_name_of_a_thousand_letters_is_broken_into_lines():
    lineage = build_lineage([to_dl1(10, parameters={"cut": "x" * 1000, "list": "a.b-" * 100})])
    text = find(lineage, "R0 to DL1").words
    assert max(map(len, text)) <= 44
    assert "".join(text).count("x") == 1000


def test_the_same_lineage_gives_the_same_picture(lineage):
    assert graph_text(build_lineage(reversed(STORY)), "x") == graph_text(lineage, "x")


# ---------------------------------------------------------------------- dot that does not work


@pytest.fixture
def fake_dot(tmp_path, monkeypatch):
    """Put a program of this name on the path, and nothing else."""

    def make(script: str, mode: int = 0o755) -> None:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        (folder / "dot").write_text(script)
        (folder / "dot").chmod(mode)
        monkeypatch.setenv("PATH", str(folder))

    return make


def assert_one_line(error: BaseException, *expected: str) -> None:
    text = str(error)
    assert "\n" not in text and len(text) < 500
    assert all(word in text for word in expected), text


def test_without_graphviz_that_is_said(lineage, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingServiceError) as caught:
        draw_graph(lineage, "x")
    assert_one_line(caught.value, "dot")


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("#!/bin/sh\nkill -9 $$\n", "signal 9"),
        (
            "#!/bin/sh\n/bin/cat > /dev/null\necho 'no\nfonts' >&2\nexit 2\n",
            "exit code 2: no fonts",
        ),
        ("#!/bin/sh\nexit 1\n", "exit code 1"),
        ("#!/bin/sh\n/bin/cat > /dev/null\n", "answered nothing"),
    ],
)
def test_a_dot_that_fails_is_told_in_one_line(lineage, fake_dot, script, expected):
    fake_dot(script)
    with pytest.raises(OsaError) as caught:
        draw_graph(lineage, "x")
    assert_one_line(caught.value, "dot", expected)


@pytest.mark.parametrize("script", ["exec /bin/sleep 60", "/bin/sleep 5", "trap '' TERM; exec /bin/sleep 60"])
def test_a_dot_that_hangs_is_stopped(lineage, fake_dot, monkeypatch, script):
    fake_dot(f"#!/bin/sh\n{script}\n")
    monkeypatch.setattr(graph_module, "_SECONDS", 0.5)
    start = time.monotonic()
    with pytest.raises(OsaError, match=r"dot took longer than .* s and was stopped") as caught:
        draw_graph(lineage, "x")
    assert_one_line(caught.value)
    assert time.monotonic() - start < 4


@pytest.mark.parametrize(
    ("script", "mode"), [("#!/bin/sh\n", 0o644), ("garbage", 0o755), ("#!/none\n", 0o755)]
)
def test_a_dot_that_cannot_be_run_is_told(lineage, fake_dot, script, mode):
    fake_dot(script, mode)
    with pytest.raises(OsaError) as caught:
        draw_graph(lineage, "x")
    assert_one_line(caught.value, "dot")
