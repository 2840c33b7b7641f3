"""How far a sub-run, or the calibration, has got: decided from history and products alone.

Pure: whether products are there is asked of the caller, who looks at names for the table and
opens the files before work is built on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

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


_Try = tuple[str, str, int]  # program, production, return code


@dataclass(frozen=True, eq=False)  # there is one of each
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
    tries = tuple((record.program, record.prod_id, record.return_code) for record in records)
    done: dict[str, int] = {}
    for outline, succeeded in _successes(tuple(outlines), tries, production):
        is_current = all(done.get(need, succeeded) < succeeded for need in outline.needs)
        if is_current and is_present(outline):
            done[outline.name] = succeeded
    return frozenset(done)


@lru_cache
def _successes(
    outlines: tuple[StepOutline, ...], tries: tuple[_Try, ...], production: ProductionSettings
) -> tuple[tuple[StepOutline, int], ...]:
    """Find the steps whose last try succeeded, with its place in the history.

    The histories of a night are alike but for names and times, so the answers are kept.
    """
    last = {(program, prod_id): (place, code) for place, (program, prod_id, code) in enumerate(tries)}
    found = []
    for outline in outlines:
        prod_id = production_of(outline.name, production)
        mine = [last[program, prod_id] for program in outline.programs if (program, prod_id) in last]
        place, code = max(mine, default=(0, None))
        if code == 0:
            found.append((outline, place))
    return tuple(found)
