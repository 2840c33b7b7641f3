"""The whole night, from raw files to closed, by the commands and lstchain itself."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import tables
from astropy.io import fits
from real_night import CALIBRATION_RUN, DATA, DRS4_RUN, Stage, on_night, snapshot

from osa.layout import DATACHECK, DATACHECK_PDF, DL1, DL2, INTERLEAVED, MUONS
from osa.steps.checks import (
    DL1_PARAMETERS,
    DL2_PARAMETERS,
    check_charge_calibration,
    check_datacheck,
    check_dl1,
    check_dl2,
    check_drs4_pedestal,
    check_muons,
    check_pdf,
    check_time_calibration,
)
from osa.steps.history import read_history

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SUBRUNS = [(run, subrun) for run, subruns in DATA.items() for subrun in subruns]


class TestSequencer:
    def test_table_says_all_is_done(self, sequenced: Stage) -> None:
        head, *rows = sequenced.result.stdout.splitlines()
        columns = head.split()
        cells = [dict(zip(columns, row.split(), strict=True)) for row in rows]
        assert [row["Run"] for row in cells] == ["01873", "01874", "01875"]
        assert {row["State"] for row in cells} == {"COMPLETED"}
        for row in cells[1:]:
            assert {row[f"{kind}%"] for kind in ("DL1", "MUONS", "DATACHECK", "DL2")} == {"100"}
            assert row["Source"] == "Crab"

    def test_wobbles_are_those_simulated(self, sequenced: Stage) -> None:
        rows = sequenced.result.stdout.splitlines()[1:]
        assert [row.split()[7] for row in rows] == ["-", "W0.40+070", "W0.40+250"]

    def test_progress_is_told(self, sequenced: Stage) -> None:
        assert "submitted 5 task(s)" in sequenced.result.stderr
        assert "5/5 tasks done, 0 running, 0 failed" in sequenced.result.stderr

    def test_histories_hold_one_try_of_each_step(self, sequenced: Stage) -> None:
        layout = sequenced.layout
        calibration = [r.program for r in read_history(layout.history(CALIBRATION_RUN))]
        assert calibration == [
            "lstchain_create_drs4_pedestal_file",
            "osa_time_calibration",
            "lstchain_create_calibration_file",
            "osa_calibration_plots",
        ]
        first = read_history(layout.history(1874, 0))
        assert [record.program for record in first] == [
            "lstchain_data_r0_to_dl1",
            "lstchain_check_dl1",
            "lstchain_dl1_to_dl2",
        ]
        assert all(record.return_code == 0 for record in first)

    def test_nothing_unfinished_is_left(self, sequenced: Stage) -> None:
        assert list(sequenced.layout.scratch_dir.iterdir()) == []


class TestRedo:
    def test_shows_just_the_lost_subrun(self, redone: Stage) -> None:
        shown = json.loads(str(redone.evidence["shown"]))
        todo = {row["Run"]: row["Todo"] for row in shown["sequences"]}
        assert todo == {"01873": [], "01874": [], "01875": [1]}

    def test_redoes_just_the_lost_step(self, redone: Stage) -> None:
        assert redone.result.returncode == 0, redone.result.stderr
        assert "submitted 1 task(s)" in redone.result.stderr
        programs = [r.program for r in read_history(redone.layout.history(1875, 1))]
        assert programs.count("lstchain_dl1_to_dl2") == 2
        assert programs.count("lstchain_data_r0_to_dl1") == 1
        assert programs.count("lstchain_check_dl1") == 1

    def test_touches_no_other_product(self, redone: Stage) -> None:
        before, after = redone.evidence["before"], redone.evidence["after"]
        assert isinstance(before, dict) and isinstance(after, dict)
        changed = {name for name in after if after[name] != before.get(name)}
        lost = redone.evidence["lost"]
        assert isinstance(lost, Path)
        products = {name for name in changed if name.endswith((".h5", ".fits", ".pdf"))}
        assert products == {lost.name}
        assert set(before) <= set(after)


class TestClosing:
    def test_simulated_closing_touches_nothing(self, simulated_closing: Stage) -> None:
        assert simulated_closing.evidence["before"] == simulated_closing.evidence["after"]

    def test_simulated_closing_names_every_action(self, simulated_closing: Stage) -> None:
        lines = simulated_closing.result.stdout.splitlines()
        assert simulated_closing.result.returncode == 0
        # 4 sub-runs of 5 kinds of files, 3 calibration files and 2 plots.
        assert sum(line.startswith("would move") for line in lines) == 25
        assert sum(line.startswith("would merge") for line in lines) == 4
        assert lines[-1] == "would close the night"

    def test_closes(self, closed: Stage) -> None:
        assert closed.result.returncode == 0, closed.result.stderr
        assert "is closed" in closed.result.stdout

    @pytest.mark.parametrize(("run", "subrun"), SUBRUNS)
    def test_products_of_every_subrun_are_in_place(self, closed: Stage, run: int, subrun: int) -> None:
        layout = closed.layout
        dl1 = layout.final(DL1, run, subrun)
        check_dl1(dl1, run=run, raw_file=layout.raw_file(run, subrun))
        check_muons(layout.final(MUONS, run, subrun), run=run)
        check_datacheck(layout.final(DATACHECK, run, subrun), run=run, subruns=(subrun,))
        check_dl2(layout.final(DL2, run, subrun), run=run, dl1=dl1)
        assert layout.final(INTERLEAVED, run, subrun).is_file()

    @pytest.mark.parametrize(("run", "subrun"), SUBRUNS)
    def test_pandas_reads_them(self, closed: Stage, run: int, subrun: int) -> None:
        layout = closed.layout
        dl1 = pd.read_hdf(layout.final(DL1, run, subrun), DL1_PARAMETERS)
        dl2 = pd.read_hdf(layout.final(DL2, run, subrun), DL2_PARAMETERS)
        assert len(dl1) == 80
        assert 0 < len(dl2) <= len(dl1)
        assert dl2["gammaness"].between(0, 1).all()
        assert (dl2["obs_id"] == run).all()

    def test_muon_rings_are_found(self, closed: Stage) -> None:
        with fits.open(closed.layout.final(MUONS, 1874, 0)) as hdus:
            assert len(hdus[1].data) > 0

    @pytest.mark.parametrize("run", DATA)
    def test_runs_are_merged_and_no_event_is_lost(self, closed: Stage, run: int) -> None:
        layout = closed.layout
        parts = [layout.final(DL2, run, subrun) for subrun in DATA[run]]
        merged = pd.read_hdf(layout.final(DL2, run), DL2_PARAMETERS)
        events = pd.concat([pd.read_hdf(part, DL2_PARAMETERS) for part in parts])
        assert sorted(merged["event_id"]) == sorted(events["event_id"])
        check_datacheck(layout.final(DATACHECK, run), run=run, subruns=DATA[run])
        check_pdf(layout.final(DATACHECK_PDF, run))

    def test_calibration_is_in_place(self, closed: Stage) -> None:
        folder = closed.layout.final_calibration_dir
        check_drs4_pedestal(folder / f"drs4_pedestal.Run0{DRS4_RUN}.0000.h5")
        check_time_calibration(folder / f"time_calibration.Run0{CALIBRATION_RUN}.0000.h5")
        check_charge_calibration(folder / f"calibration.Run0{CALIBRATION_RUN}.0000.h5")
        for plot in folder.glob("*.pdf"):
            check_pdf(plot)
        assert len(list(folder.glob("*.pdf"))) == 2

    def test_gains_are_those_simulated(self, closed: Stage) -> None:
        """A calibration that came from other waveforms would not find this many photo-electrons."""
        path = closed.layout.final_calibration_dir / f"calibration.Run0{CALIBRATION_RUN}.0000.h5"
        with tables.open_file(path) as file:
            n_pe = file.root.tel_1.calibration.col("n_pe")[0][0]
        assert pd.Series(n_pe).median() == pytest.approx(75, rel=0.1)

    def test_nothing_is_left_behind(self, closed: Stage) -> None:
        left = [p for p in closed.layout.analysis_dir.rglob("*") if p.suffix in {".h5", ".fits"}]
        assert left == []
        unfinished = [p for p in closed.root.rglob(".unfinished") if any(p.iterdir())]
        assert unfinished == []

    def test_night_finished_counts_the_files(self, closed: Stage) -> None:
        lines = closed.layout.night_finished.read_text("utf-8").splitlines()
        values = dict(line.split("=", 1) for line in lines)
        assert values["analysis.finished.night"] == "20200127"
        assert values["analysis.finished.telescope"] == "LST1"
        assert values["analysis.finished.data.files.r0"] == "6"
        for kind in ("dl1", "dl2", "muons", "datacheck"):
            assert values[f"analysis.finished.data.files.{kind}"] == "4"

    def test_sequencer_says_that_the_day_is_closed(self, closed: Stage) -> None:
        before = snapshot(closed.root)
        looked, again = on_night(closed, "sequencer", "-s"), on_night(closed, "sequencer")
        assert looked.returncode == again.returncode == 0
        assert "Night 2020-01-27 is closed" in looked.stderr
        assert {row.split()[8] for row in looked.stdout.splitlines()[1:]} == {"Closed"}
        assert snapshot(closed.root) == before

    def test_is_not_closed_twice(self, closed: Stage) -> None:
        before = snapshot(closed.root)
        again = on_night(closed, "closer", "-y")
        assert again.returncode == 0
        assert "closed already" in again.stderr
        assert snapshot(closed.root) == before
