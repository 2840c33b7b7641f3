"""How far a sub-run, or the calibration, has got: decided from history and products alone.

Pure: whether products are there is asked of the caller, who looks at names for the table and
opens the files before work is built on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from osa.config import ProductionSettings
from osa.layout import DATACHECK, DL1, DL2, MUONS, ProductKind
from osa.steps import (
    charge_calibration,
    datacheck,
    dl1_to_dl2,
    drs4_pedestal,
    r0_to_dl1,
    time_calibration,
)
from osa.steps.history import HistoryRecord

__all__ = ["CALIBRATION_STEPS", "DATA_STEPS", "StepOutline", "production_of", "steps_done"]


@dataclass(frozen=True)
class StepOutline:
    """What has to be known of a step to tell whether it is done.

    Parameters
    ----------
    name : str
        Name of the step.
    programs : tuple of str
        Programs in the history that do it.
    needs : tuple of str
        Steps that have to be done before; when one is done again, so must this.
    products : tuple of ProductKind
        What it gives, for the steps of DATA runs.
    """

    name: str
    programs: tuple[str, ...]
    needs: tuple[str, ...] = ()
    products: tuple[ProductKind, ...] = ()


CALIBRATION_STEPS = (
    StepOutline("drs4_pedestal", (drs4_pedestal.PROGRAM,)),
    StepOutline(
        "time_calibration",
        (time_calibration.PROGRAM, time_calibration.REFERENCE_PROGRAM),
        needs=("drs4_pedestal",),
    ),
    StepOutline("charge_calibration", (charge_calibration.PROGRAM,), needs=("time_calibration",)),
)
"""From DRS4 pedestal to charge calibration."""

DATA_STEPS = (
    StepOutline("r0_to_dl1", (r0_to_dl1.PROGRAM,), products=(DL1, MUONS)),
    StepOutline("datacheck", (datacheck.PROGRAM,), needs=("r0_to_dl1",), products=(DATACHECK,)),
    StepOutline("dl1_to_dl2", (dl1_to_dl2.PROGRAM,), needs=("r0_to_dl1",), products=(DL2,)),
)
"""From R0 to DL2."""


def production_of(step: str, production: ProductionSettings) -> str:
    """Tell the production for which a step's line in the history counts."""
    if step in {"r0_to_dl1", "datacheck"}:
        return production.dl1_prod_id
    if step == "dl1_to_dl2":
        return production.dl2_prod_id
    return production.calibration_prod_id


def steps_done(
    outlines: Sequence[StepOutline],
    records: Iterable[HistoryRecord],
    production: ProductionSettings,
    is_present: Callable[[StepOutline], bool],
) -> frozenset[str]:
    """Tell which steps are done.

    A step is done where its last try succeeded, after the last success of what it needs, and its
    products are there.

    Parameters
    ----------
    outlines : sequence of StepOutline
        The steps, in order.
    records : iterable of HistoryRecord
        The history.
    production : ProductionSettings
        Productions for which lines count.
    is_present : callable
        Whether the products of a step are there.
    """
    last: dict[tuple[str, str], tuple[int, HistoryRecord]] = {}
    for position, record in enumerate(records):
        last[record.program, record.prod_id] = (position, record)
    done: dict[str, int] = {}
    for outline in outlines:
        succeeded = _last_success(outline, last, production_of(outline.name, production))
        if succeeded is None or not all(done.get(need, succeeded) < succeeded for need in outline.needs):
            continue
        if is_present(outline):
            done[outline.name] = succeeded
    return frozenset(done)


def _last_success(
    outline: StepOutline, last: Mapping[tuple[str, str], tuple[int, HistoryRecord]], prod_id: str
) -> int | None:
    tries = [last[program, prod_id] for program in outline.programs if (program, prod_id) in last]
    if not tries:
        return None
    position, record = max(tries, key=lambda found: found[0])
    return position if record.return_code == 0 else None
