"""The command provprocess: documents of nights, closed or not, and the index made from records."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from provenance_nights import (
    DATA_RUNS,
    NIGHT,
    Answer,
    ClosedNight,
    calibrate_from_other_night,
    called,
    close,
    layout_of,
    make_closed_night,
    write_config,
    write_inputs,
    write_storied_night,
)

from osa.cli.provprocess import main
from osa.database import engine
from osa.database.engine import open_database
from osa.database.listings import nights_in_index
from osa.layout import DATA_PARTS, DocumentPart, Layout

Capture = pytest.CaptureFixture[str]
CALIBRATION = 1873
needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> ClosedNight:
    """The night, closed; tests leave it as it is."""
    return make_closed_night(tmp_path_factory.mktemp("told"))


@pytest.fixture
def unclosed(tmp_path: Path) -> ClosedNight:
    """The night before it is closed."""
    config = write_config(tmp_path / "lst", tmp_path / "sequencer.cfg")
    layout = layout_of(config)
    write_storied_night(layout)
    return ClosedNight(config, layout)


Process = Callable[..., Answer]


@pytest.fixture
def process(capsys: Capture) -> Process:
    def run(night: ClosedNight, *more: object, config: Path | None = None) -> Answer:
        return called(main, capsys, "-c", config or night.config, "-d", NIGHT.underscored, *more)

    return run


def with_changes(night: ClosedNight, folder: Path, *changes: tuple[str, str]) -> Path:
    """The configuration of a night with something else in it."""
    text = night.config.read_text("utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / "changed.cfg"
    path.write_text(text, "utf-8")
    return path


def with_database(night: ClosedNight, folder: Path) -> tuple[Path, Path]:
    """A configuration with an index of its own, and the path of that, where nothing is yet."""
    database = folder / "own" / "index.sqlite"
    return with_changes(night, folder, ("%(base)s/OSA/provenance.sqlite", str(database))), database


@contextmanager
def without(folder: Path) -> Iterator[None]:
    """Have a folder away for now."""
    away = folder.parents[1] / f"{folder.name}.away"  # where no nights are
    folder.rename(away)
    try:
        yield
    finally:
        if folder.exists():
            shutil.rmtree(folder)
        away.rename(folder)


def documents(layout: Layout, *runs: int) -> set[Path]:
    found = {layout.document(part, run) for run in runs or DATA_RUNS for part in DATA_PARTS}
    return found | ({layout.document(DocumentPart.CALIBRATION, CALIBRATION)} if not runs else set())


def dump(database: Path) -> list[tuple[object, ...]]:
    """All that the index tells, without the numbers of its rows."""
    queries = (
        "SELECT telescope, night, prod_id FROM nights ORDER BY 1, 2, 3",
        "SELECT uid, kind, location, size, sha256, made_at, replaced_at FROM entities ORDER BY uid",
        "SELECT uid, run, subrun, step, status, exit_code, reason, started, ended FROM tries ORDER BY uid",
        "SELECT t.uid, e.uid, is_configuration FROM uses JOIN tries t ON t.id = uses.try_id "
        "JOIN entities e ON e.id = uses.entity_id ORDER BY 1, 2, 3",
        "SELECT runs.number, kind, name, is_closed FROM runs JOIN sequences ON run_id = runs.id ORDER BY 1",
    )
    with closing(sqlite3.connect(database)) as connection:
        rows = [row for query in queries for row in connection.execute(query).fetchall()]
    assert len(rows) > 100
    return rows


def nights_of(layout: Layout) -> list[tuple[str, str, str]]:
    with open_database(layout.settings.provenance, create=False).reading() as connection:
        return [(n.telescope, n.night, n.prod_id) for n in nights_in_index(connection)]


# ------------------------------------------------------------------------------- documents


def test_night_that_is_not_closed(unclosed: ClosedNight, process: Process) -> None:
    answer = process(unclosed)
    assert answer.code == 0, answer.err
    assert answer.paths == documents(unclosed.layout)
    assert "no graphs" in answer.err  # as it is configured
    for path in answer.paths:
        assert json.loads(path.read_text("utf-8"))["activity"]
        assert path.stat().st_mode & 0o777 == 0o644
    before = {path: path.read_bytes() for path in answer.paths}
    again = process(unclosed)
    assert (again.code, again.paths) == (0, answer.paths)
    assert "index: 0 new, 0 changed, 0 removed" in again.err
    assert {path: path.read_bytes() for path in before} == before
    assert not unclosed.layout.night_finished.exists()


def test_closed_night_gives_the_same_documents_and_index(told: ClosedNight, process: Process) -> None:
    before = {path: path.read_bytes() for path in documents(told.layout)}
    answer = process(told)
    assert answer.code == 0 and answer.paths == set(before)
    assert "index: 0 new, 0 changed, 0 removed" in answer.err
    assert {path: path.read_bytes() for path in before} == before


def test_one_run(told: ClosedNight, process: Process, tmp_path: Path) -> None:
    answer = process(told, 1875, "-o", tmp_path / "new" / "folder")
    assert answer.code == 0
    assert {path.name for path in answer.paths} == {path.name for path in documents(told.layout, 1875)}
    assert {path.parent for path in answer.paths} == {tmp_path / "new" / "folder"}
    two = process(told, 1874, 1873, "-o", tmp_path, "--no-graphs")
    assert len(two.paths) == 4 and "no graphs" not in two.err


def test_unknown_run(told: ClosedNight, process: Process) -> None:
    answer = process(told, 1875, 4711, 4712)
    assert (answer.code, answer.out) == (2, "")
    assert "night 2020-01-27 of LST1 has no sequence of run(s) 4711, 4712" in answer.err


def test_output_elsewhere_leaves_the_index_alone(
    unclosed: ClosedNight, process: Process, tmp_path: Path
) -> None:
    answer = process(unclosed, "-o", tmp_path / "out")
    assert answer.code == 0 and len(answer.paths) == 13
    assert "index" not in answer.err
    assert not unclosed.layout.settings.provenance.database.exists()
    assert not unclosed.layout.final_dl1_dir.exists()


@needs_dot
def test_graphs(told: ClosedNight, process: Process, tmp_path: Path) -> None:
    config = with_changes(told, tmp_path, ("graphs = no", "graphs = auto"))
    plain = process(told, 1874, "-o", tmp_path / "plain", config=config)
    detail = process(told, 1874, "-o", tmp_path / "detail", "--detail", config=config)
    assert (plain.code, detail.code, len(plain.paths), len(detail.paths)) == (0, 0, 6, 6)
    sizes = {}
    for folder in ("plain", "detail"):
        graph = tmp_path / folder / "calibration_to_dl2_LST-1.Run01874_prov.pdf"
        assert graph.read_bytes().startswith(b"%PDF")
        sizes[folder] = graph.stat().st_size
    assert sizes["detail"] > sizes["plain"]
    none = process(told, 1874, "-o", tmp_path / "none", "--no-graphs", config=config)
    assert {path.suffix for path in none.paths} == {".json"} and len(none.paths) == 3


def test_graph_that_fails_is_told(
    told: ClosedNight, process: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dot").write_text("#!/bin/sh\nexit 7\n", "utf-8")
    (tmp_path / "dot").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    config = with_changes(told, tmp_path, ("graphs = no", "graphs = yes"))
    answer = process(told, 1875, "-o", tmp_path / "out", config=config)
    assert answer.code == 1 and "no graph: dot ended with exit code 7" in answer.err
    assert {path.suffix for path in answer.paths} == {".json"}


def test_run_without_records(unclosed: ClosedNight, process: Process) -> None:
    unclosed.layout.records(1877, 0).unlink()
    answer = process(unclosed, 1877, 1875)
    assert answer.code == 1
    assert "LST1_01877: there are no records of it" in answer.err
    assert answer.paths == documents(unclosed.layout, 1875)
    assert "index: " in answer.err  # of what there is


def test_night_that_was_never_worked_on(tmp_path: Path, process: Process) -> None:
    config = write_config(tmp_path / "lst", tmp_path / "sequencer.cfg")
    night = ClosedNight(config, layout_of(config))
    answer = process(night)
    assert answer.code == 2 and "NightSummary_20200127.txt" in answer.err
    write_inputs(night.layout)
    answer = process(night)
    assert answer.code == 1 and answer.err.count("there are no records of it") == 5
    assert not night.layout.final_dl1_dir.exists()


def test_without_the_working_folder_the_documents_are_the_same(
    told: ClosedNight, process: Process, tmp_path: Path
) -> None:
    with without(told.layout.analysis_dir):
        answer = process(told, "-o", tmp_path)
    assert answer.code == 0 and len(answer.paths) == 13
    for path in documents(told.layout):
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_borrowed_calibration_is_not_forgotten_with_the_working_folder(
    unclosed: ClosedNight, process: Process
) -> None:
    layout = unclosed.layout
    calibrate_from_other_night(layout)
    close(layout)
    before = {path: path.read_bytes() for path in documents(layout, *DATA_RUNS)}
    assert process(unclosed).code == 0
    shutil.rmtree(layout.analysis_dir)
    process(unclosed)
    for path, text in before.items():
        steps = {a["osa:step"] for a in json.loads(path.read_text("utf-8"))["activity"].values()}
        assert steps == {a["osa:step"] for a in json.loads(text)["activity"].values()}, path.name


def test_output_that_is_no_folder(told: ClosedNight, process: Process, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine", "utf-8")
    answer = process(told, 1875, "-o", tmp_path / "file")
    assert answer.code != 0 and str(tmp_path / "file") in answer.err
    assert (tmp_path / "file").read_text("utf-8") == "mine"


# ------------------------------------------------------------------------------- the index


def test_index_only(told: ClosedNight, process: Process, tmp_path: Path) -> None:
    config, database = with_database(told, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in documents(told.layout)}
    answer = process(told, "--index-only", config=config)
    assert (answer.code, answer.out) == (0, "")
    assert dump(database) == dump(told.layout.settings.provenance.database)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    again = process(told, "--index-only", config=config)
    assert again.err == "index: 0 new, 0 changed, 0 removed\n"


def test_index_only_with_output_does_not_do_nothing_silently(
    told: ClosedNight, process: Process, tmp_path: Path
) -> None:
    config, database = with_database(told, tmp_path)
    answer = process(told, "--index-only", "-o", tmp_path / "out", config=config)
    assert answer.code == 2 or database.exists()


@pytest.mark.parametrize("before", [None, b"", b"garbage" * 1000], ids=["deleted", "empty", "garbage"])
def test_rebuilding_the_index(
    told: ClosedNight, process: Process, tmp_path: Path, before: bytes | None
) -> None:
    config, database = with_database(told, tmp_path)
    if before is not None:
        database.parent.mkdir()
        database.write_bytes(before)
    answer = process(told, "--rebuild-index", config=config)
    if before and answer.code:  # it may be somebody's: it says what to do
        assert answer.code == 1 and "remove it" in answer.err and str(database) in answer.err
        assert database.read_bytes() == before
        database.unlink()
        answer = process(told, "--rebuild-index", config=config)
    assert answer.code == 0 and "1 night(s) are in the index" in answer.err
    assert dump(database) == dump(told.layout.settings.provenance.database)
    assert process(told, "--index-only", config=config).err == "index: 0 new, 0 changed, 0 removed\n"


def test_rebuilding_drops_what_is_no_more(told: ClosedNight, process: Process, tmp_path: Path) -> None:
    config, database = with_database(told, tmp_path)
    assert process(told, "--index-only", config=config).code == 0
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("INSERT INTO nights (telescope, night, prod_id) VALUES ('LST1', '1999-01-01', '')")
        connection.execute("UPDATE entities SET location = '/nowhere', run = 3")
        connection.commit()
    assert process(told, "--rebuild-index", config=config).code == 0
    assert dump(database) == dump(told.layout.settings.provenance.database)


def test_rebuilding_from_the_records_beside_the_products(
    told: ClosedNight, process: Process, tmp_path: Path
) -> None:
    config, database = with_database(told, tmp_path)
    with without(told.layout.analysis_dir):
        assert process(told, "--rebuild-index", config=config).code == 0
    states = [row for row in dump(database) if len(row) == 4 and str(row[2]).startswith("LST1_")]
    assert [row[0] for row in states] == [1873, *DATA_RUNS]
    expected = dump(told.layout.settings.provenance.database)
    assert [row for row in dump(database) if row not in states] == [
        row for row in expected if not (len(row) == 4 and str(row[2]).startswith("LST1_"))
    ]


def test_what_was_closed_stays_so_in_the_index_without_the_working_folder(
    told: ClosedNight, process: Process, tmp_path: Path
) -> None:
    config, database = with_database(told, tmp_path)
    assert told.layout.night_finished.exists()
    with without(told.layout.analysis_dir):
        assert process(told, "--rebuild-index", config=config).code == 0
    assert dump(database) == dump(told.layout.settings.provenance.database)


def test_rebuilding_without_the_night_summary(told: ClosedNight, process: Process, tmp_path: Path) -> None:
    config, database = with_database(told, tmp_path)
    with without(told.layout.night_summary):
        answer = process(told, "--rebuild-index", config=config)
    assert answer.code == 0 and "1 night(s)" in answer.err
    expected = dump(told.layout.settings.provenance.database)
    assert dump(database) == [row for row in expected if not str(row[2]).startswith("LST1_")]


def test_rebuilding_keeps_other_productions(unclosed: ClosedNight, process: Process, tmp_path: Path) -> None:
    """Their records are there as well, in the folders of their productions."""
    layout = unclosed.layout
    later = with_changes(unclosed, tmp_path, ("v0.1.0", "v0.2.0"))
    shutil.copytree(layout.analysis_dir, layout_of(later).analysis_dir)
    for path in layout_of(later).records_dir.glob("*.jsonl"):
        text = path.read_text("utf-8").replace("v0.1.0", "v0.2.0")
        path.write_text(re.sub(r'("begin"|"end"):"([^"]+)"', other_identifier, text), "utf-8")
    assert process(unclosed, "--index-only").code == 0
    assert process(unclosed, "--index-only", config=later).code == 0
    both = nights_of(layout)
    assert [prod_id for _, _, prod_id in both] == ["v0.1.0", "v0.2.0"]
    assert process(unclosed, "--rebuild-index").code == 0
    assert nights_of(layout) == both


def other_identifier(match: re.Match[str]) -> str:
    return f'{match[1]}:"{uuid.uuid5(uuid.UUID(match[2]), "other")}"'


def test_locked_index(
    told: ClosedNight, process: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_SECONDS", 0.1)
    config, database = with_database(told, tmp_path)
    open_database(layout_of(config).settings.provenance, create=True)
    with closing(sqlite3.connect(database)) as other:
        other.execute("BEGIN EXCLUSIVE")
        for how in ("--index-only", "--rebuild-index"):
            answer = process(told, how, config=config)
            assert answer.code == 1 and answer.err.count("\n") <= 2
            assert f"the provenance database {database} is locked" in answer.err
    assert process(told, "--index-only", config=config).code == 0


@pytest.mark.parametrize(
    "more", [["x"], ["--index-only", "--rebuild-index"], ["--what"], ["1874.1"], ["9" * 30]]
)
def test_wrong_calls(told: ClosedNight, process: Process, more: list[str]) -> None:
    assert process(told, *more).code == 2


def test_wrong_night_and_telescope(told: ClosedNight, capsys: Capture) -> None:
    assert main(["-c", str(told.config), "-d", "2020-13-45"]) == 2
    assert main(["-c", str(told.config), "-d", NIGHT.underscored, "-t", "LST7"]) == 2
    assert "[LST7]" in capsys.readouterr().err
