"""The sequencer command, as far as it needs no lstchain."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from osa.cli.sequencer import main
from osa.layout import Layout
from osa.nightsummary.plan import keep_choice, plan_night
from osa.report import COLUMNS
from osa.system.locks import only_instance

Capture = pytest.CaptureFixture[str]


def arguments(layout: Layout, *more: str) -> list[str]:
    return ["-c", str(layout.settings.path), "-d", layout.night.underscored, *more]


def listing(layout: Layout) -> dict[Path, int]:
    base = layout.settings.telescope.raw_dir.parent
    return {path: path.stat().st_mtime_ns for path in base.rglob("*")}


def test_simulate_shows_the_night_and_touches_nothing(planned: Layout, capsys: Capture) -> None:
    before = listing(planned)
    assert main(arguments(planned, "-s")) == 0
    out, err = capsys.readouterr()
    head, *rows = out.splitlines()
    assert tuple(head.split()) == COLUMNS
    assert [row.split()[4] for row in rows] == ["01873", "01874", "01875"]
    assert {row.split()[8] for row in rows} == {"Simulate"}
    assert "calibration run 01873" in err
    assert "run 01876 (ERROR)" in err
    assert listing(planned) == before


def test_json_is_all_of_the_output(planned: Layout, capsys: Capture) -> None:
    assert main(arguments(planned, "-s", "--json")) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["night"] == "2020-01-27"
    assert document["closed"] is False
    assert [row["Todo"] for row in document["sequences"]] == [[0], [0, 1, 2], [0, 1]]
    assert document["skipped"] == [{"run": 1876, "type": "ERROR", "reason": document["skipped"][0]["reason"]}]


def test_missing_raw_files_are_told(planned: Layout, capsys: Capture) -> None:
    planned.raw_file(1874, 1).unlink()
    assert main(arguments(planned, "-s")) == 0
    assert "LST1_01874: no raw files of sub-runs 1" in capsys.readouterr().err


def test_second_one_says_so_and_exits(planned: Layout, capsys: Capture) -> None:
    before = planned.settings.local.state_dir
    with only_instance(planned.night_lock, "the first"):
        assert main(arguments(planned)) == 4
    assert "already at work" in capsys.readouterr().err
    assert not before.exists()


def test_closed_night_is_left_alone(planned: Layout, capsys: Capture) -> None:
    planned.night_finished.parent.mkdir(parents=True)
    planned.night_finished.write_text("analysis.finished.night=20200127\n", encoding="utf-8")
    before = listing(planned)
    assert main(arguments(planned)) == 0
    assert "Night 2020-01-27 is closed" in capsys.readouterr().err
    assert listing(planned) == before


def test_night_closed_without_data_needs_no_summary(planned: Layout, capsys: Capture) -> None:
    planned.night_summary.unlink()
    planned.night_finished.parent.mkdir(parents=True)
    planned.night_finished.write_text("analysis.finished.night=20200127\n", encoding="utf-8")
    assert main(arguments(planned, "-s")) == 0
    assert "is closed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (["-d", "2020_02_30"], 2, "no day of the calendar"),
        (["-d", "2020_01_28"], 2, "NightSummary_20200128.txt"),
        (["--backend", "slurm"], 3, "--backend local"),
        (["--drs4-run", "1"], 2, "not in the night summary"),
        (["-c", "/nowhere.cfg"], 2, "/nowhere.cfg"),
        (["LST9"], 2, "no section [LST9]"),
    ],
)
def test_wrong_calls_are_explained(
    planned: Layout,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
    more: list[str],
    code: int,
    words: str,
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")  # no Slurm, whatever is installed here
    assert main(arguments(planned, "-s", *more)) == code
    err = capsys.readouterr().err
    assert words in err
    assert "Traceback" not in err


def test_second_telescope_is_a_second_section(planned: Layout, capsys: Capture) -> None:
    text = planned.settings.path.read_text("utf-8")
    begin, end = text.index("[LST1]"), text.index("[PRODUCTION]")
    second = text[begin:end].replace("[LST1]", "[LST2]").replace("tel_id = 1", "tel_id = 2")
    planned.settings.path.write_text(text + "\n" + second, "utf-8")
    for run, subruns in ((1872, 1), (1873, 2), (1874, 1)):
        for subrun in range(subruns):
            (planned.raw_dir / f"LST-2.1.Run{run:05d}.{subrun:04d}.fits.fz").write_bytes(b"raw")
    assert main(arguments(planned, "-s", "LST2", "--json")) == 0
    sequences = json.loads(capsys.readouterr().out)["sequences"]
    assert [row["Tel"] for row in sequences] == ["LST2"] * 3
    assert [row["Todo"] for row in sequences] == [[0], [0], []]


def test_runs_asked_for_are_kept_for_later_commands(planned: Layout, capsys: Capture) -> None:
    text = planned.night_summary.read_text("utf-8").replace("01875    2 DATA ", "01875    2 CALI ")
    planned.night_summary.write_text(text, "utf-8")
    plan = plan_night(planned, calibration_run=1875)
    assert plan.calibration is not None and plan.calibration.run == 1875
    keep_choice(planned, calibration_run=1875)
    keep_choice(planned, drs4_run=1872)
    assert main(arguments(planned, "-s", "--json")) == 0
    chosen = json.loads(capsys.readouterr().out)["calibration"]
    assert (chosen["drs4_run"], chosen["calibration_run"]) == (1872, 1875)
    assert all("before" in line for line in chosen["explanation"])


def test_override_goes_before_what_was_kept(planned: Layout, capsys: Capture) -> None:
    text = planned.night_summary.read_text("utf-8").replace("01875    2 DATA ", "01875    2 CALI ")
    planned.night_summary.write_text(text, "utf-8")
    keep_choice(planned, calibration_run=1875)
    planned.override.write_text("calibration_run = 01873\n", "utf-8")
    assert main(arguments(planned, "-s", "--json")) == 0
    assert json.loads(capsys.readouterr().out)["calibration"]["calibration_run"] == 1873
