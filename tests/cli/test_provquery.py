"""The command provquery on a closed night: what it answers, in which form, and its exit codes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from astropy.io.votable import parse
from prov.model import ProvDocument
from provenance_nights import (
    DATA_RUNS,
    N_DATA_SUBRUNS,
    NIGHT,
    OTHER_VERSION,
    OTHERWISE,
    SUBRUNS,
    WHY,
    Answer,
    ClosedNight,
    called,
    changed_for_now,
    edited_index,
    layout_of,
    make_closed_night,
    write_config,
)

from osa.cli.provprocess import main as provprocess
from osa.cli.provquery import main
from osa.layout import DL1, DL2, MUONS, DocumentPart, subrun_tag
from osa.provenance.document import OSA

Capture = pytest.CaptureFixture[str]
NAME = "dl2_LST-1.Run01874.0001.h5"
CHARGES = "calibration.Run01873.0000.h5"
DL2_NAMES = sorted(f"dl2_LST-1.Run{subrun_tag(r, s)}.h5" for r in DATA_RUNS for s in range(SUBRUNS[r]))


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> ClosedNight:
    """The night, closed; tests leave it as it is."""
    return make_closed_night(tmp_path_factory.mktemp("told"))


Ask = Callable[..., Answer]


@pytest.fixture
def ask(told: ClosedNight, capsys: Capture) -> Ask:
    """Ask about the night, or about that of another configuration."""

    def ask_it(question: str, *more: object, config: Path | None = None) -> Answer:
        return called(main, capsys, question, "-c", config or told.config, *more)

    return ask_it


# --------------------------------------------------------------------------------- lineage


def test_lineage_reaches_all_that_went_into_a_product(ask: Ask) -> None:
    answer = ask("lineage", NAME, "--json")
    assert answer.code == 0
    assert Counter(row["kind"] for row in answer.json) == {
        "DL2": 1,
        "DL1": 1,
        "R0": 3,
        "DRS4 pedestal": 1,
        "time calibration": 1,
        "charge calibration": 1,
        "drive log": 1,
        "run summary": 1,
        "random forest": 4,
        "configuration": 2,
    }
    raw = {row["name"] for row in answer.json if row["kind"] == "R0"}
    assert raw == {f"LST-1.1.Run0{tag}.fits.fz" for tag in ("1872.0000", "1873.0000", "1874.0001")}


def test_lineage_begins_with_the_nearest(ask: Ask) -> None:
    answer = ask("lineage", NAME)
    assert answer.code == 0 and "16 file(s)" in answer.err
    kinds = answer.column("Kind")
    assert kinds[:2] == ["DL2", "DL1"]
    assert kinds.index("R0") > kinds.index("random forest")
    assert answer.column("Step")[:2] == ["dl1_to_dl2", "r0_to_dl1"]


def test_depth_bounds_the_lineage(ask: Ask) -> None:
    kinds = [{row["kind"] for row in ask("lineage", NAME, "--json", "--depth", n).json} for n in range(4)]
    assert kinds[0] == {"DL2"}
    assert kinds[1] == {"DL2", "DL1", "random forest", "configuration"}
    assert "charge calibration" in kinds[2] and kinds[0] < kinds[1] < kinds[2] <= kinds[3]


def test_a_file_can_be_named_in_many_ways(
    told: ClosedNight, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = told.layout.final(DL2, 1874, 1)
    (known,) = ask("lineage", path, "--depth", 0, "--json").json
    monkeypatch.chdir(path.parents[1])
    relative = path.relative_to(path.parents[1])
    ways = [NAME, relative, f"../{path.parents[1].name}/{relative}", f"./{relative}", known["id"]]
    ways += [known["sha256"], known["sha256"][:8], known["sha256"][:12].upper()]
    for way in ways:
        assert ask("lineage", way, "--depth", 0, "--json").json == [known], way


def test_the_file_that_is_there_now_is_meant(told: ClosedNight, ask: Ask) -> None:
    (known,) = ask("lineage", NAME, "--depth", 0, "--json").json
    assert known["location"] == str(told.layout.final(DL2, 1874, 1))
    every = ask("impact", CHARGES, "--all", "--kind", "DL2", "--json").json
    (old,) = [row for row in every if "replaced_at" in row]
    answer = ask("lineage", old["id"], "--depth", 0, "--json")
    assert answer.json[0]["sha256"] == old["sha256"] != known["sha256"]
    assert "another file got its name" in answer.err


# ---------------------------------------------------------------------------------- impact


def test_impact_of_a_calibration_is_all_its_dl2(told: ClosedNight, ask: Ask) -> None:
    on_disk = sorted(path.name for path in told.layout.final_dl2_dir.glob("dl2_*.*.*.h5"))
    assert on_disk == DL2_NAMES
    answer = ask("impact", told.layout.final_calibration_dir / CHARGES, "--kind", "DL2", "--json")
    assert sorted(answer.names) == DL2_NAMES
    assert {Path(row["location"]).parent for row in answer.json} == {told.layout.final_dl2_dir}
    plain = ask("impact", CHARGES, "--kind", "dl2")
    assert plain.code == 0 and sorted(plain.column("File")) == DL2_NAMES
    assert "and 1 tries did not succeed" in plain.err


def test_impact_of_a_raw_file(ask: Ask) -> None:
    answer = ask("impact", "LST-1.1.Run01874.0001.fits.fz", "--json")
    assert Counter(row["kind"] for row in answer.json) == dict.fromkeys(
        ("DL1", "muons", "interleaved events", "data check", "DL2"), 1
    )


def test_impact_with_what_was_replaced(ask: Ask) -> None:
    answer = ask("impact", CHARGES, "--kind", "DL2", "--all", "--json")
    assert sorted(answer.names) == sorted([*DL2_NAMES, NAME])
    assert [row["name"] for row in answer.json if "replaced_at" in row] == [NAME]


def test_impact_of_a_run(ask: Ask) -> None:
    answer = ask("impact", "--run", 1873, "--kind", "DL2", "--json")
    assert sorted(answer.names) == DL2_NAMES
    assert ask("impact", "--run", 1875, "--json").json == []  # its products are where it starts


def test_impact_of_a_version(ask: Ask) -> None:
    answer = ask("impact", "--version", f"lstchain={OTHER_VERSION}", "--json")
    assert {row["run"] for row in answer.json} == {OTHERWISE} and len(answer.json) == 5
    assert ask("impact", "--version", "lstchain=0.0", "--json").json == []


def test_depth_bounds_the_impact(ask: Ask) -> None:
    near = ask("impact", CHARGES, "--depth", 1, "--json")
    assert {row["kind"] for row in near.json} == {"DL1", "muons", "interleaved events", "calibration plots"}
    assert ask("impact", CHARGES, "--depth", 0, "--json").json == []


def test_depth_bounds_the_impact_of_a_version(ask: Ask) -> None:
    answer = ask("impact", "--version", f"lstchain={OTHER_VERSION}", "--depth", 0, "--json")
    assert answer.code == 2 or answer.json == []  # refused, or heeded


# -------------------------------------------------------------------------- find, diff, tries


def test_find(ask: Ask) -> None:
    assert Counter(r["kind"] for r in ask("find", "--run", 1874, "--json").json) == dict.fromkeys(
        ("DL1", "muons", "interleaved events", "data check", "DL2"), 2
    )
    assert len(ask("find", "--night", "2020_01_27", "--json").json) == 5 + 5 * N_DATA_SUBRUNS
    assert ask("find", "--night", "2020-01-27", "--kind", "data_check", "--json").names
    assert ask("find", "--night", "2020_01_28", "--json").json == []
    changed = ask("find", "--version", f"lstchain={OTHER_VERSION}", "--json").json
    assert {row["run"] for row in changed} == {OTHERWISE}
    by_name = ask("find", "--configuration", "other.json", "--json")
    assert by_name.json == ask("find", "--configuration", "efefefef", "--json").json
    assert {row["run"] for row in by_name.json} == {OTHERWISE}


def test_find_says_which_step_made_what(ask: Ask) -> None:
    answer = ask("find", "--run", 1875)
    assert set(answer.column("Step")) == {"r0_to_dl1", "datacheck", "dl1_to_dl2"}
    assert set(answer.column("Run")) == {"01875.0000"}


def test_limit_of_find(ask: Ask) -> None:
    answer = ask("find", "--run", 1874, "--limit", 3, "--json")
    assert len(answer.json) == 3 and "there may be more" in answer.err
    assert "there may be more" not in ask("find", "--run", 1874, "--limit", 11).err


def test_limit_counts_what_is_listed(ask: Ask) -> None:
    answer = ask("find", "--night", "2020_01_27", "--kind", "DL2", "--limit", 3, "--json")
    assert len(answer.json) == 3


def test_diff_of_runs_made_alike(ask: Ask) -> None:
    answer = ask("diff", 1875, 1877)
    assert (answer.code, answer.out) == (0, "")
    assert answer.err.startswith("0 difference(s); ")
    assert ask("diff", 1875, 1877, "--json").json == []


def test_diff_of_runs_made_otherwise(ask: Ask) -> None:
    rows = ask("diff", 1875, OTHERWISE, "--json").json
    found = {(r["Step"], r["What"]): (r["Run 01875"], r["Run 01876"]) for r in rows}
    assert found["r0_to_dl1", "version of lstchain"][1] == OTHER_VERSION
    assert found["r0_to_dl1", "parameter tel-id"] == ("-", "7")
    assert found["dl1_to_dl2", "configuration DL1 to DL2"][1] == "other.json (efefefefefef)"
    assert found["r0_to_dl1", "input pointing"][1].endswith("(abababababab)")
    assert {step for step, _ in found} == {"r0_to_dl1", "datacheck", "dl1_to_dl2"}
    assert len(ask("diff", OTHERWISE, 1875).out.splitlines()) == len(rows) + 1


def test_diff_tells_of_failed_tries(ask: Ask) -> None:
    (row,) = ask("diff", 1874, 1875, "--json").json
    assert row == {
        "Step": "r0_to_dl1",
        "What": "tries that failed",
        "Run 01874": "1 failed",
        "Run 01875": "none",
    }


def test_tries_of_a_redone_subrun(ask: Ask) -> None:
    answer = ask("tries", "1874.1", "--json")
    made = [row["Made"] for row in answer.json if row["Step"] == "dl1_to_dl2"]
    assert made == [f"{NAME} (replaced)", NAME]
    assert answer.json == ask("tries", "01874.0001", "--night", "2020_01_27", "--json").json
    assert {row["Run"] for row in ask("tries", 1874, "--json").json} == {"01874", "01874.0000", "01874.0001"}


def test_failed_tries_have_code_and_reason(ask: Ask) -> None:
    first, second, *_ = ask("tries", "1874.0", "--json").json
    assert (first["Step"], first["Status"], first["Exit"], first["Made"]) == ("r0_to_dl1", "failed", -9, None)
    assert first["Reason"] == WHY
    assert (second["Status"], second["Reason"]) == ("done", None)
    plain = ask("tries", "1874.0")
    assert plain.column("Exit")[:2] == ["-9", "0"]
    assert "ended with signal 9 [red]" in plain.out


def test_nights(ask: Ask) -> None:
    (row,) = ask("nights", "--json").json
    assert row["Night"] == "2020-01-27" and row["Production"] == "v0.1.0"
    assert (row["Runs"], row["Products"]) == (5, 5 + 5 * N_DATA_SUBRUNS)
    assert ask("nights").column("Night") == ["2020-01-27"]


# ---------------------------------------------------------------------------------- verify


def test_verify_of_what_is_as_it_was(told: ClosedNight, ask: Ask) -> None:
    for more in ([], ["--quick"], ["--run", 1874], [told.layout.final(DL2, 1874, 1)]):
        answer = ask("verify", *more)
        assert (answer.code, answer.out) == (0, ""), more
        assert ", 0 missing or changed" in answer.err
    assert ask("verify", "--json").json == {"files": 30, "faults": []}


def test_verify_names_what_changed_and_what_is_gone(told: ClosedNight, ask: Ask) -> None:
    changed, gone = told.layout.final(DL2, 1874, 1), told.layout.final(MUONS, 1875, 0)
    with changed_for_now(changed), changed_for_now(gone):
        changed.write_bytes(changed.read_bytes()[:-1] + b"!")
        gone.unlink()
        answer = ask("verify")
        assert answer.code == 1
        assert sorted(answer.out.splitlines()) == sorted(
            [f"{changed} has changed since it was recorded", f"{gone} is not there"]
        )
        assert "30 file(s) compared, 2 missing or changed" in answer.err
        assert ask("verify", "--quick").out == answer.out
        assert len(ask("verify", "--json").json["faults"]) == 2
        assert ask("verify", "--run", 1877).code == 0
        assert ask("verify", "--run", 1874).out == f"{changed} has changed since it was recorded\n"
        assert ask("verify", changed.name).code == 1
        assert ask("verify", gone, told.layout.final(DL2, 1877, 0)).out == f"{gone} is not there\n"


def test_quick_verify_trusts_size_and_time(told: ClosedNight, ask: Ask) -> None:
    path = told.layout.final(DL1, 1874, 1)
    with changed_for_now(path):
        status = path.stat()
        path.write_bytes(path.read_bytes()[:-1] + b"!")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert ask("verify", path, "--quick").code == 0
        assert ask("verify", path).code == 1


def test_verify_with_inputs(told: ClosedNight, ask: Ask) -> None:
    raw = told.layout.raw_file(1874, 0)
    with changed_for_now(raw):
        raw.write_bytes(b"another" * 100)
        assert ask("verify", "--run", 1874).code == 0
        answer = ask("verify", "--run", 1874, "--inputs")
        assert answer.out == f"{raw} has changed since it was recorded\n"
        assert ask("verify", raw).code == 1


def test_verify_of_nothing(ask: Ask) -> None:
    answer = ask("verify", "--night", "2020_02_02")
    assert answer.code == 1 and "nothing of that is in the index" in answer.err


def test_verify_of_a_replaced_file_does_not_say_that_all_is_well(ask: Ask) -> None:
    every = ask("impact", CHARGES, "--all", "--kind", "DL2", "--json").json
    (old,) = [row["id"] for row in every if "replaced_at" in row]
    answer = ask("verify", old)
    assert answer.code == 1 or "0 file(s) compared" in answer.err


# ---------------------------------------------------------------------------------- export


@pytest.mark.parametrize("target", ["1874", NAME])
def test_export(ask: Ask, tmp_path: Path, target: str) -> None:
    for ending in ("json", "provn", "xml", "pdf"):
        if ending == "pdf" and shutil.which("dot") is None:
            continue
        answer = ask("export", target, "-o", tmp_path / f"out.{ending}")
        assert (answer.code, answer.out) == (0, "") and " tries, " in answer.err
    document = ProvDocument.deserialize(content=(tmp_path / "out.json").read_text("utf-8"), format="json")
    steps = {next(iter(a.get_attribute(OSA["step"]))) for a in document.get_records() if a.is_element()
             if a.get_attribute(OSA["step"])}  # fmt: skip
    assert {"charge_calibration", "r0_to_dl1", "dl1_to_dl2"} <= steps
    assert (tmp_path / "out.provn").read_text("utf-8").startswith("document")
    votable = parse(tmp_path / "out.xml", verify="exception")
    tables = {table.name: table.to_table() for table in votable.iter_tables()}
    assert set(tables) == {"Activity", "Entity", "Used", "WasConfiguredBy", "WasGeneratedBy"}
    assert NAME in set(tables["Entity"]["name"])
    if shutil.which("dot"):
        assert (tmp_path / "out.pdf").read_bytes().startswith(b"%PDF")
    assert not list(tmp_path.glob(".*"))


def test_export_to_standard_output(told: ClosedNight, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["export", *told.options, "1874", "--format", "provn"]) == 0
    assert capsysbinary.readouterr().out.startswith(b"document")
    assert main(["export", *told.options, CHARGES, "--impact"]) == 0
    exported = json.loads(capsysbinary.readouterr().out)
    names = {entity.get("voprov:name") for entity in exported["entity"].values()}
    assert set(DL2_NAMES) <= names


def test_export_replaces_nothing_unasked(ask: Ask, tmp_path: Path) -> None:
    output = tmp_path / "run.json"
    output.write_text("mine", "utf-8")
    answer = ask("export", 1874, "-o", output)
    assert answer.code == 2 and "--overwrite" in answer.err
    assert output.read_text("utf-8") == "mine"
    assert ask("export", 1874, "-o", output, "--overwrite").code == 0
    assert json.loads(output.read_text("utf-8"))["activity"]


@pytest.mark.parametrize(
    ("more", "word"),
    [
        (["1874", "-o", "/tmp/x.docx"], "let the name end with one of .json, .provn, .xml, .pdf"),
        (["1874", "-o", "/tmp/x"], "--format"),
        (["4711"], "run 4711 is not in the index"),
        (["4711", "--impact"], "run 4711 is not in the index"),
        (["none.h5"], "none.h5 is not in the index"),
        (["1874", "--format", "docx"], "invalid choice"),
    ],
)
def test_exports_that_cannot_be_made(ask: Ask, more: list[str], word: str) -> None:
    answer = ask("export", *more)
    assert answer.code == 2 and word in answer.err and answer.out == ""


# ----------------------------------------------------------------------------------- check


def test_check_of_a_sound_night(ask: Ask) -> None:
    for more in ([], ["--full"]):
        answer = ask("check", "-d", NIGHT.underscored, *more)
        assert (answer.code, answer.out) == (0, "")
        assert "13 document(s) checked, 0 fault(s)" in answer.err
    assert "3 document(s) checked" in ask("check", "-d", NIGHT.underscored, 1874).err
    found = ask("check", "-d", NIGHT.underscored, "--json").json
    assert len(found["documents"]) == 13 and not any(found["documents"].values()) and not found["files"]


def forget_an_element(document: dict[str, Any]) -> None:
    del document["entity"][next(name for name in document["entity"] if name.startswith("osa:entity-"))]


def forget_the_forests(document: dict[str, Any]) -> None:
    forests = {n for n, e in document["entity"].items() if e.get("osa:kind") == "random forest"}
    used = document["used"].items()
    document["used"] = {name: u for name, u in used if u["prov:entity"] not in forests}


def run_before_it_began(document: dict[str, Any]) -> None:
    next(iter(document["used"].values()))["prov:time"] = "2001-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    ("tamper", "word"),
    [
        (forget_an_element, "is named by a relation, and is nowhere"),
        (forget_the_forests, "no random forest"),
        (run_before_it_began, "at a time when it did not run"),
        (None, "cannot be read"),
    ],
)
def test_tampered_document(
    told: ClosedNight, ask: Ask, tamper: Callable[[dict[str, Any]], None] | None, word: str
) -> None:
    path = told.layout.document(DocumentPart.CALIBRATION_TO_DL2, 1874)
    with changed_for_now(path):
        text = path.read_text("utf-8")
        if tamper is None:
            path.write_text(text[: len(text) // 2], "utf-8")
        else:
            document = json.loads(text)
            tamper(document)
            path.write_text(json.dumps(document), "utf-8")
        answer = ask("check", "-d", NIGHT.underscored)
        assert answer.code == 1
        assert word in answer.out and all(line.startswith(f"{path}: ") for line in answer.out.splitlines())
        assert ask("check", "-d", NIGHT.underscored, 1875).code == 0


def test_check_finds_products_that_are_gone(told: ClosedNight, ask: Ask) -> None:
    gone = told.layout.final(DL2, 1874, 0)
    with changed_for_now(gone):
        gone.unlink()
        answer = ask("check", "-d", NIGHT.underscored)
        assert (answer.code, answer.out) == (1, f"{gone} is not there\n")


@pytest.mark.parametrize("more", [[], [1875]])
def test_check_notices_documents_that_are_gone(told: ClosedNight, ask: Ask, more: list[int]) -> None:
    gone = told.layout.document(DocumentPart.DL1_TO_DL2, 1875)
    with changed_for_now(gone):
        gone.unlink()
        answer = ask("check", "-d", NIGHT.underscored, *more)
        assert answer.code == 1 and gone.name in answer.out + answer.err


def test_check_of_runs_that_the_night_does_not_have(ask: Ask) -> None:
    answer = ask("check", "-d", NIGHT.underscored, 1875, 4711)
    assert answer.code in {1, 2} and "4711" in answer.err


def test_check_of_a_night_without_documents(ask: Ask) -> None:
    answer = ask("check", "-d", "2020_02_02")
    assert answer.code == 1 and "there are no documents of night 2020-02-02" in answer.err


# ---------------------------------------------------------------------------------- errors


def test_without_an_index_is_said_what_to_do(ask: Ask, tmp_path: Path) -> None:
    config = write_config(tmp_path / "lst", tmp_path / "sequencer.cfg")
    for question in (["nights"], ["lineage", "x"], ["find", "--run", 1], ["verify"], ["export", "1"]):
        answer = ask(*question, config=config)
        assert answer.code == 3 and "provprocess --rebuild-index" in answer.err and answer.out == ""
    assert not layout_of(config).settings.provenance.database.exists()


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (["lineage", "none.h5"], "none.h5 is not in the index; provprocess -d NIGHT"),
        (["lineage", "/etc/passwd"], "is not in the index"),
        (["lineage", ""], "is not in the index"),
        (["lineage", "\0"], "is not in the index"),
        (["lineage", "a" * 10_000], "is not in the index"),
        (["lineage", NAME, "--kind", "DL9"], "--kind DL9: there are R0, drive log"),
        (["impact", "--run", "4711"], "run 4711 is not in the index"),
        (["diff", "1874", "4711"], "run 4711 is not in the index"),
        (["tries", "4711.3"], "04711.0003"),
        (["tries", "1874", "--night", "2020_02_02"], "no tries of 01874"),
        (["tries", "x"], "no RUN or RUN.SUBRUN"),
        (["impact"], "required"),
        (["impact", "x", "--run", "1"], "not allowed with"),
        (["find", "--version", "lstchain"], "no NAME=VERSION"),
        (["find", "--version", "=1"], "no NAME=VERSION"),
        (["find", "--night", "2020_13_45"], "2020_13_45"),
        (["find", "--run", "x"], "no number"),
        (["find", "--run", "9" * 30], "9999"),
        (["find", "--run", "1874", "--limit", "9" * 30], "9999"),
        (["lineage", NAME, "--depth", "9" * 30], "9999"),
        (["diff", "9" * 30, "1874"], "9999"),
        (["verify", "none.h5"], "not in the index"),
        (["check", "-d", "2020_13_45"], "2020_13_45"),
        (["why"], "invalid choice"),
    ],
)
def test_wrong_calls(ask: Ask, call: list[str], word: str) -> None:
    answer = ask(*call)
    assert answer.code == 2 and word in answer.err and answer.out == ""
    assert "unexpected" not in answer.err


def test_tracebacks_come_with_v_alone(told: ClosedNight, capsys: Capture) -> None:
    for before, after in ((["-v"], []), ([], ["-v"])):
        assert main([*before, "lineage", *told.options, *after, "none.h5"]) == 2
        assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("question", [["lineage", NAME], ["verify", NAME], ["export", NAME]])
def test_name_of_two_productions_is_ambiguous(
    told: ClosedNight, ask: Ask, tmp_path: Path, question: list[str]
) -> None:
    uid = "12345678-1234-5678-1234-567812345678"
    columns = "kind, name, size, modified, sha256, night, run, subrun, try_id, made_at"
    other = (
        f"INSERT INTO entities (uid, location, {columns}) SELECT '{uid}', '/v0.2.0/{NAME}', {columns} "
        f"FROM entities WHERE name = '{NAME}' AND replaced_at IS NULL"
    )
    config = edited_index(told, tmp_path, other)
    answer = ask(*question, config=config)
    assert answer.code == 2 and f"2 files are called {NAME}" in answer.err
    assert f"{uid}  /v0.2.0/{NAME}" in answer.err
    assert str(told.layout.final(DL2, 1874, 1)) in answer.err
    assert ask("lineage", uid, "--depth", 0, "--json", config=config).json[0]["id"] == uid
    assert ask("lineage", told.layout.final(DL2, 1874, 1), config=config).code == 0


def test_help_imports_nothing_heavy() -> None:
    code = "import sys\nfrom osa.cli.provquery import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "print('loaded:', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert not loaded & {"sqlalchemy", "prov", "rich", "numpy", "astropy", "pydot", "osa.database"}
    assert "130 interrupted" in done.stdout


def test_production_of_another_configuration_is_listed(told: ClosedNight, ask: Ask, tmp_path: Path) -> None:
    config = edited_index(told, tmp_path, "UPDATE nights SET prod_id = 'v0.0.9'")
    assert provprocess(["-c", str(config), "-d", NIGHT.underscored, "--index-only"]) == 0
    listed = [row["Production"] for row in ask("nights", "--json", config=config).json]
    assert listed == ["v0.0.9", "v0.1.0"]
