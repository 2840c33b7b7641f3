from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from product_builders import write_datacheck

from lstchain.stand_in import note


def plot_datacheck(files: Sequence[str], out_path: str, *, batch: bool, muons_dir: str) -> None:
    run = files[0].split(".")[1]
    merged = Path(out_path) / f"datacheck_dl1_LST-1.{run}.h5"
    note("merge_datacheck", merged.name)
    if len(files) > 1:
        write_datacheck(merged, *(int(file.split(".")[-2]) for file in files))
    merged.with_suffix(".pdf").write_bytes(b"%PDF made-up %%EOF")
