"""Make the DATA products of a large night real, small as they are, so that they can be judged and moved.

    python -m benchmarks.tiny_products FOLDER

Each file that the checks look into is written once and copied under its names: DL1 and DL2 once a run,
data checks once a number of sub-run, muons once.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any

import numpy as np
import tables
from astropy.io import fits

from benchmarks.common import NIGHT
from osa.config import load_settings
from osa.layout import DATACHECK, DL1, DL2, MUONS, Layout, ProductKind
from osa.nightsummary.plan import plan_night
from osa.steps.checks import DATACHECK_COSMICS, DL1_PARAMETERS, DL2_PARAMETERS

_FILTERS = tables.Filters(complevel=1, complib="blosc:zstd", fletcher32=True)
_EVENTS = 20


def main() -> None:
    """Write the products of all sub-runs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path, help="a night of benchmarks.make_large_night")
    root = parser.parse_args().folder.absolute()
    layout = Layout(load_settings(root / "sequencer.cfg", "LST1"), NIGHT)
    scratch = root / "scratch.h5"
    datachecks: dict[int, bytes] = {}
    muons = _muons()
    for sequence in plan_night(layout).data:
        dl1 = _hdf5(scratch, DL1_PARAMETERS, _events(sequence.run, "intensity"))
        dl2 = _hdf5(scratch, DL2_PARAMETERS, _events(sequence.run, "reco_energy", "gammaness", "reco_alt"))
        for subrun in sequence.subruns:
            if subrun not in datachecks:
                row = np.array([(subrun,)], dtype=[("subrun_index", "i8")])
                datachecks[subrun] = _hdf5(scratch, DATACHECK_COSMICS, row)
            contents: dict[ProductKind, bytes] = {
                DL1: dl1,
                MUONS: muons,
                DATACHECK: datachecks[subrun],
                DL2: dl2,
            }
            for kind, content in contents.items():
                layout.working(kind, sequence.run, subrun).write_bytes(content)
    scratch.unlink()


def _events(run: int, *columns: str) -> np.ndarray[Any, Any]:
    rows = np.zeros(_EVENTS, dtype=[("obs_id", "i8"), ("event_id", "i8"), *((c, "f8") for c in columns)])
    rows["obs_id"], rows["event_id"] = run, np.arange(1, _EVENTS + 1)
    return rows


def _hdf5(scratch: Path, name: str, rows: np.ndarray[Any, Any]) -> bytes:
    parent, _, leaf = name.rpartition("/")
    with tables.open_file(scratch, "w") as file:
        file.create_table(f"/{parent}", leaf, rows, filters=_FILTERS, createparents=True)
    return scratch.read_bytes()


def _muons() -> bytes:
    column = fits.Column("event_id", "K", array=np.arange(1, 4))
    written = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns([column])]).writeto(written)
    return written.getvalue()


if __name__ == "__main__":
    main()
