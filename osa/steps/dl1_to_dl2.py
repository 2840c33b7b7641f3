"""DL1 to DL2: energy, direction and gammaness of every event, from trained random forests."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from osa.layout import DL1, DL2, Layout
from osa.model.dataset import DatasetKind
from osa.steps.checks import check_dl2
from osa.steps.shipped import configured, shipped_configuration
from osa.steps.step import Input, Product, Step
from osa.system.workers import EntryPoint

__all__ = ["dl1_to_dl2"]

PROGRAM = "lstchain_dl1_to_dl2"


def dl1_to_dl2(layout: Layout, *, run: int, subrun: int) -> Step:
    """Describe the step for one sub-run."""
    how = layout.settings.lstchain
    dl1, final = layout.working(DL1, run, subrun), layout.working(DL2, run, subrun)
    arguments = [
        f"--input-files={dl1}",
        f"--path-models={layout.settings.telescope.models_dir}",
        "--output-dir=.",
    ]
    card = how.dl2_config or shipped_configuration()
    models = layout.settings.telescope.models_dir
    forests = (
        Input("random forest", DatasetKind.RANDOM_FOREST, models / f"{name}.sav")
        for name in _forest_names(card)
    )
    if how.dl2_config is not None:
        arguments.append(f"--config={how.dl2_config}")
    return Step(
        name="dl1_to_dl2",
        program=PROGRAM,
        entry=EntryPoint("lstchain.tools.lstchain_dl1_to_dl2", "main"),
        arguments=tuple(arguments),
        products=(
            Product(Path(final.name), final, partial(check_dl2, run=run, dl1=dl1), kind=DatasetKind.DL2),
        ),
        prod_id=layout.settings.production.dl2_prod_id,
        input=dl1.name,
        card=how.dl2_config.name if how.dl2_config else "lstchain_standard_config",
        inputs=(Input("DL1", DatasetKind.DL1, dl1), *forests),
        configuration=(("DL1 to DL2", card),),
    )


def _forest_names(card: Path) -> tuple[str, ...]:
    """Name the random forests that lstchain reads: how it finds the direction is configured."""
    method = configured(card, "disp_method") or configured(shipped_configuration(), "disp_method")
    direction = ("reg_disp_vector",) if method == "disp_vector" else ("reg_disp_norm", "cls_disp_sign")
    return ("reg_energy", *direction, "cls_gh")
