"""The DL2 of a run, merged from that of its sub-runs."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from osa.errors import ProductError
from osa.layout import DL2, Layout
from osa.model.dataset import DatasetKind
from osa.steps.checks import DL2_PARAMETERS, event_count
from osa.steps.step import Input, Product, Step
from osa.system.workers import EntryPoint

__all__ = ["main", "merged_dl2"]

PROGRAM = "osa_merge_dl2"


def merged_dl2(layout: Layout, *, run: int, subrun_files: dict[int, Path]) -> Step:
    """Describe the step.

    Parameters
    ----------
    layout : Layout
        Of the night.
    run : int
        The run.
    subrun_files : dict of int to pathlib.Path
        DL2 of its sub-runs, by sub-run; all of them are merged.
    """
    final = layout.final(DL2, run)
    files = tuple(subrun_files.values())
    return Step(
        name="merge_dl2",
        program=PROGRAM,
        entry=EntryPoint("osa.steps.merge_dl2", "main"),
        arguments=(final.name, *map(str, files)),
        products=(
            Product(
                Path(final.name), final, partial(_check, subrun_files=files), kind=DatasetKind.DL2_MERGED
            ),
        ),
        prod_id=layout.settings.production.dl2_prod_id,
        input=f"{final.stem}.????.h5",
        inputs=tuple(Input("DL2", DatasetKind.DL2, path) for path in files),
    )


def main() -> None:
    """Merge DL2 files: the program behind the step.

    lstchain's command for it stumbles over the provenance that its own DL1 to DL2 puts into each
    file; its function merges all else.
    """
    from lstchain.io.io import auto_merge_h5files, get_dataset_keys

    parser = argparse.ArgumentParser(prog=PROGRAM, description=main.__doc__)
    parser.add_argument("merged", type=Path, help="name of the merged file")
    parser.add_argument("files", nargs="+", type=Path, help="DL2 of the sub-runs")
    given = parser.parse_args()
    keys = {key for key in get_dataset_keys(given.files[0]) if "provenance" not in key.split("/")}
    auto_merge_h5files(given.files, given.merged, nodes_keys=keys, progress_bar=False)


def _check(path: Path, *, subrun_files: tuple[Path, ...]) -> None:
    """Expect as many events as the sub-runs have: lstchain may fail to merge and say success."""
    expected = sum(event_count(file, DL2_PARAMETERS) for file in subrun_files)
    found = event_count(path, DL2_PARAMETERS)
    if found != expected:
        raise ProductError(f"{path} has {found} events, its {len(subrun_files)} sub-runs {expected}")
