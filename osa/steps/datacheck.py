"""DL1 data check: distributions and rates that tell the quality of a sub-run, or of a run."""

from __future__ import annotations

import argparse
import shutil
from functools import partial
from pathlib import Path

from osa.layout import DATACHECK, DATACHECK_PDF, DL1, MUONS, Layout
from osa.model.dataset import DatasetKind
from osa.steps.checks import check_datacheck, check_pdf
from osa.steps.step import Input, Product, Step
from osa.system.workers import EntryPoint

__all__ = ["datacheck", "merge", "merged_datacheck"]

PROGRAM = "lstchain_check_dl1"
MERGE_PROGRAM = "osa_merge_datacheck"
_ENTRY = EntryPoint("lstchain.scripts.lstchain_check_dl1", "main")


def datacheck(layout: Layout, *, run: int, subrun: int) -> Step:
    """Describe the step for one sub-run; the plots are drawn once a run, when it is merged."""
    dl1 = layout.working(DL1, run, subrun)
    final = layout.working(DATACHECK, run, subrun)
    return Step(
        name="datacheck",
        program=PROGRAM,
        entry=_ENTRY,
        arguments=(
            f"--input-file={dl1}",
            "--output-dir=.",
            f"--muons-dir={layout.analysis_dir}",
            "--max-cores=1",
            "--batch",
            "--omit-pdf",
        ),
        products=(
            Product(
                Path(final.name),
                final,
                partial(check_datacheck, run=run, subruns=(subrun,)),
                kind=DatasetKind.DATACHECK,
            ),
        ),
        prod_id=layout.settings.production.dl1_prod_id,
        input=dl1.name,
        inputs=(
            Input("DL1", DatasetKind.DL1, dl1),
            Input("muons", DatasetKind.MUONS, layout.working(MUONS, run, subrun)),
        ),
    )


def merged_datacheck(layout: Layout, *, run: int, subrun_files: dict[int, Path], muons_dir: Path) -> Step:
    """Describe the step that merges a run's data checks and draws them.

    lstchain writes the merged file beside its inputs, under its final name; the program below
    keeps it in the scratch folder.

    Parameters
    ----------
    layout : Layout
        Of the night.
    run : int
        The run.
    subrun_files : dict of int to pathlib.Path
        The files to merge, by sub-run.
    muons_dir : pathlib.Path
        Where the muons of the sub-runs are.
    """
    final = layout.final(DATACHECK, run)
    pdf = layout.final(DATACHECK_PDF, run)
    tel_id = layout.settings.telescope.tel_id
    check = partial(check_datacheck, run=run, subruns=tuple(subrun_files))
    return Step(
        name="merge_datacheck",
        program=MERGE_PROGRAM,
        entry=EntryPoint("osa.steps.datacheck", "merge"),
        arguments=(f"--muons-dir={muons_dir}", final.name, *map(str, subrun_files.values())),
        products=(
            Product(Path(pdf.name), pdf, check_pdf, kind=DatasetKind.DATACHECK_PLOTS),
            Product(Path(final.name), final, check, kind=DatasetKind.DATACHECK_MERGED),
        ),
        prod_id=layout.settings.production.dl1_prod_id,
        input=f"{final.stem}.????.h5",
        inputs=(
            *(Input("data check", DatasetKind.DATACHECK, path) for path in subrun_files.values()),
            *(
                Input("muons", DatasetKind.MUONS, muons_dir / MUONS.file_name(tel_id, run, subrun))
                for subrun in subrun_files
            ),
        ),
    )


def merge() -> None:
    """Merge and draw data checks in the working directory: the program behind the step."""
    from lstchain.datachecks import plot_datacheck

    parser = argparse.ArgumentParser(prog=MERGE_PROGRAM, description=merge.__doc__)
    parser.add_argument("--muons-dir", required=True, type=Path)
    parser.add_argument("merged", type=Path, help="name of the merged file")
    parser.add_argument("files", nargs="+", type=Path, help="data checks of the sub-runs")
    given = parser.parse_args()
    if len(given.files) == 1:
        # Nothing to merge; lstchain then draws the file under its own name.
        shutil.copyfile(given.files[0], given.merged)
        inputs = [given.merged.name]
    else:
        for file in given.files:
            Path(file.name).symlink_to(file)
        inputs = [file.name for file in given.files]
    plot_datacheck(inputs, out_path=".", batch=True, muons_dir=str(given.muons_dir))
