"""Small products of a night that are whole in the eyes of osa.steps.checks."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import numpy as np
import tables
from astropy.io import fits
from night_states import CALIBRATION_RUN, CLOCK, DRS4_RUN, add_done_histories
from record_builders import add_records

from osa.cures.other_night import borrow, find_other_calibration
from osa.layout import DATACHECK, DL1, DL2, INTERLEAVED, MUONS, Layout
from osa.model.night import Night
from osa.model.sequence import NightPlan, Sequence
from osa.steps import checks

FILTERS = tables.Filters(complevel=1, complib="blosc:zstd", fletcher32=True)
N_EVENTS = 20


def write_tables(path: Path, content: dict[str, np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tables.open_file(path, "w") as file:
        for name, rows in content.items():
            parent, _, leaf = name.rpartition("/")
            file.create_table(f"/{parent}", leaf, rows, filters=FILTERS, createparents=True)


def event_rows(run: int, *columns: str, n_events: int = N_EVENTS) -> np.ndarray:
    rows = np.zeros(n_events, dtype=[("obs_id", "i8"), ("event_id", "i8"), *((c, "f8") for c in columns)])
    rows["obs_id"], rows["event_id"] = run, np.arange(1, n_events + 1)
    return rows


def write_dl1(path: Path, run: int) -> None:
    write_tables(path, {checks.DL1_PARAMETERS: event_rows(run, "intensity")})


def write_dl2(path: Path, run: int) -> None:
    rows = event_rows(run, "reco_energy", "gammaness", "reco_alt")
    write_tables(path, {checks.DL2_PARAMETERS: rows})


def write_datacheck(path: Path, *subruns: int) -> None:
    rows = np.zeros(len(subruns), dtype=[("subrun_index", "i8")])
    rows["subrun_index"] = subruns
    write_tables(path, {checks.DATACHECK_COSMICS: rows})


def write_muons(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    column = fits.Column("event_id", "K", array=np.arange(1, 4))
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns([column])])
    hdus.writeto(path, overwrite=True)


def write_calibration(layout: Layout) -> None:
    shape = (2, 1855, 4096)
    baseline = np.zeros(1, dtype=[("baseline_mean", "i2", shape)])
    name = "r1/monitoring/drs4_baseline/tel_001"
    write_tables(layout.drs4_pedestal(DRS4_RUN), {name: baseline})
    with tables.open_file(layout.time_calibration(CALIBRATION_RUN), "w") as file:
        for name in ("fan", "fbn"):
            file.create_array("/", name, np.ones((2, 1855, 2)))
    rows = np.zeros(1, dtype=[("value", "f8")])
    names = ("calibration", "flatfield", "pedestal", "pixel_status")
    write_tables(layout.charge_calibration(CALIBRATION_RUN), {f"tel_1/{name}": rows for name in names})
    for product in (layout.drs4_pedestal(DRS4_RUN), layout.charge_calibration(CALIBRATION_RUN)):
        layout.plot(product).parent.mkdir(parents=True, exist_ok=True)
        layout.plot(product).write_bytes(f"%PDF of {product.name} %%EOF".encode())


def write_data(layout: Layout, sequence: Sequence) -> None:
    run = sequence.run
    for subrun in sequence.subruns:
        write_dl1(layout.working(DL1, run, subrun), run)
        write_muons(layout.working(MUONS, run, subrun))
        write_datacheck(layout.working(DATACHECK, run, subrun), subrun)
        write_dl2(layout.working(DL2, run, subrun), run)
        write_tables(layout.working(INTERLEAVED, run, subrun), {"r1/some": event_rows(run)})


def write_night(layout: Layout, plan: NightPlan, prepared: Path | None = None) -> None:
    """Write products and histories of all sequences, or copy them from a night made before."""
    if prepared is None:
        write_calibration(layout)
        for sequence in plan.data:
            write_data(layout, sequence)
    else:
        shutil.copytree(prepared, layout.analysis_dir, dirs_exist_ok=True)
    for sequence in plan.sequences:
        add_done_histories(layout, sequence)
        add_records(layout, sequence)


def borrow_from_earlier_night(layout: Layout) -> None:
    """Have a finished calibration serve as that of two days before, under other runs."""
    other = Layout(layout.settings, Night(layout.night.date - timedelta(days=2)))
    other.final_calibration_dir.mkdir(parents=True)
    products = layout.calibration_products(DRS4_RUN, CALIBRATION_RUN)
    for path, run in zip(products, (1700, 1701, 1701), strict=True):
        kind = path.name.partition(".")[0]
        shutil.move(path, other.final_calibration_dir / f"{kind}.Run{run:05d}.0000.h5")
    found = find_other_calibration(layout)
    assert found is not None
    borrow(layout, found, "cannot be had", clock=CLOCK)
