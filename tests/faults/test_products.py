"""Products that are torn, or those of another run: found, done again, and never closed over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from product_builders import write_datacheck, write_dl1, write_dl2

from osa.errors import ProductError
from osa.layout import DATACHECK, DL1, DL2, MUONS, PRODUCT_KINDS, Layout, ProductKind, subrun_tag
from osa.steps import checks
from tests.faults.fault_night import FaultNight, listing

Damage = Callable[[Path], None]


def cut(path: Path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: max(1, int(share * len(data)))])


def zero_tail(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))


def other_run(path: Path) -> None:
    """Put what belongs to another run, or sub-run, under the name."""
    path.unlink()
    if path.name.startswith("datacheck"):
        write_datacheck(path, 7)
    else:
        {"dl1": write_dl1, "dl2": write_dl2}[path.name[:3]](path, 1999)


CUTS: dict[str, Damage] = {f"cut at {share:.0%}": partial(cut, share=share) for share in (0.01, 0.5, 0.99)}
DAMAGES = {**CUTS, "zero tail": zero_tail, "other run": other_run}


def check(layout: Layout, kind: ProductKind) -> None:
    """Open a product as its step does."""
    path = layout.working(kind, 1874, 0)
    how: dict[ProductKind, Callable[[Path], None]] = {
        DL1: partial(checks.check_dl1, run=1874, raw_file=layout.raw_file(1874, 0)),
        MUONS: partial(checks.check_muons, run=1874),
        DATACHECK: partial(checks.check_datacheck, run=1874, subruns=(0,)),
        DL2: partial(checks.check_dl2, run=1874, dl1=layout.working(DL1, 1874, 0)),
    }
    how[kind](path)


REDONE = {
    DL1: ("r0_to_dl1", "datacheck", "dl1_to_dl2"),
    MUONS: ("r0_to_dl1", "datacheck", "dl1_to_dl2"),
    DATACHECK: ("datacheck",),
    DL2: ("dl1_to_dl2",),
}
CASES = [
    pytest.param(kind, how, id=f"{kind.name} {how}")
    for kind in PRODUCT_KINDS
    for how in DAMAGES
    if (kind, how) != (MUONS, "other run")  # nothing in its table tells the run
]


@pytest.mark.fault(
    7,
    injected="DL1, muons, data check, DL2 cut at 1, 50 and 99 %, zero in the second half, of another run",
    holds="G1: every one is found when it is opened",
)
@pytest.mark.parametrize(("kind", "how"), CASES)
def test_damaged_product_is_found(fault_night: FaultNight, kind: ProductKind, how: str) -> None:
    """Seen to fail: without the comparison of runs in check_run of steps/checks.py (DL1 and DL2 of another
    run were taken).
    """
    fault_night.finish()
    check(fault_night.layout, kind)
    DAMAGES[how](fault_night.layout.working(kind, 1874, 0))
    with pytest.raises(ProductError):
        check(fault_night.layout, kind)


TASK = ("--drs4-run=1872", "--calibration-run=1873", subrun_tag(1874, 0))


@pytest.mark.fault(
    7,
    injected="a damaged product when its task is run again",
    holds="G1 G4: its step is done again and those that need it, no others",
)
@pytest.mark.parametrize(
    ("kind", "how"),
    [(DL1, "cut at 99%"), (MUONS, "cut at 50%"), (DATACHECK, "other run"), (DL2, "zero tail")],
)
def test_damaged_product_is_made_again(fault_night: FaultNight, kind: ProductKind, how: str) -> None:
    """Seen to fail: with steps/sequences.py believing the history without opening the products (they
    stayed as they were).
    """
    fault_night.finish()
    DAMAGES[how](fault_night.layout.working(kind, 1874, 0))
    done = fault_night.run("datasequence", *TASK)
    assert done.returncode == 0, done.stderr
    for each in PRODUCT_KINDS:
        check(fault_night.layout, each)
    assert fault_night.attempts == Counter(f"{step} {TASK[-1]}" for step in REDONE[kind])
    again = fault_night.run("datasequence", *TASK)
    assert again.returncode == 0
    assert fault_night.attempts == Counter(f"{step} {TASK[-1]}" for step in REDONE[kind])


@pytest.mark.fault(
    7,
    injected="a damaged product of each kind in a night that is to be closed",
    holds="G8: the closer names each sub-run, ends with code 1, and moves nothing",
)
@pytest.mark.parametrize("how", DAMAGES)
def test_closer_refuses_damaged_products(fault_night: FaultNight, how: str) -> None:
    """Seen to fail: without _damaged_data in closing/judge.py (the night was closed over them)."""
    layout = fault_night.layout
    fault_night.finish()
    DAMAGES[how](layout.working(DL2, 1874, 0))
    DAMAGES[how](layout.working(DL1, 1874, 1))
    DAMAGES[how](layout.working(DATACHECK, 1875, 0))
    before = listing(layout.analysis_dir)
    done = fault_night.run("closer", "-y")
    assert done.returncode == 1, done.stdout
    said = [line.strip() for line in done.stdout.splitlines()]
    assert sum(line.startswith("sub-run ") for line in said) == 3, done.stdout
    assert listing(layout.analysis_dir) == before
    assert not layout.night_finished.exists()
    assert not layout.final_dl1_dir.exists()
