from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tables
from product_builders import write_tables

from lstchain.stand_in import note
from osa.steps.checks import DL2_PARAMETERS


def get_dataset_keys(file: Path) -> set[str]:
    return {DL2_PARAMETERS}


def auto_merge_h5files(
    files: Sequence[Path], merged: Path, *, nodes_keys: set[str], progress_bar: bool
) -> None:
    note("merge_dl2", merged.name)
    parts = []
    for file in files:
        with tables.open_file(file) as opened:
            parts.append(opened.get_node(f"/{DL2_PARAMETERS}").read())
    write_tables(merged, {DL2_PARAMETERS: np.concatenate(parts)})
