"""The task of a sub-run on a night that was closed and opened again."""

from __future__ import annotations

from pathlib import Path

import pytest
from failed_tries import write_raw
from night_states import add_try, data_sequence
from product_builders import N_EVENTS, write_data

from osa.layout import INTERLEAVED, PRODUCT_KINDS, Layout, ProductKind
from osa.steps.r0_to_dl1 import PROGRAM as R0_TO_DL1
from osa.steps.sequences import _link_closed_products, process_subrun

RUN, SUBRUN = 1874, 0


@pytest.fixture
def closed(layout: Layout) -> Layout:
    """All products of a sub-run in their final places, as closing leaves them."""
    write_data(layout, data_sequence(n_subruns=1))
    for kind in (*PRODUCT_KINDS, INTERLEAVED):
        final = layout.final(kind, RUN, SUBRUN)
        final.parent.mkdir(parents=True, exist_ok=True)
        layout.working(kind, RUN, SUBRUN).rename(final)
    return layout


def links(layout: Layout) -> dict[str, Path]:
    return {path.name: path.readlink() for path in layout.analysis_dir.iterdir() if path.is_symlink()}


def test_final_products_are_at_hand(closed: Layout) -> None:
    for _ in range(2):
        _link_closed_products(closed, RUN, SUBRUN)
        assert links(closed) == {
            closed.working(kind, RUN, SUBRUN).name: closed.final(kind, RUN, SUBRUN) for kind in PRODUCT_KINDS
        }


@pytest.mark.parametrize("kind", PRODUCT_KINDS)
def test_what_is_there_or_not_closed_is_left_alone(closed: Layout, kind: ProductKind) -> None:
    mine = closed.working(kind, RUN, SUBRUN)
    mine.write_text("made again")
    other = next(one for one in PRODUCT_KINDS if one is not kind)
    closed.final(other, RUN, SUBRUN).unlink()
    _link_closed_products(closed, RUN, SUBRUN)
    assert mine.read_text() == "made again" and not mine.is_symlink()
    assert mine.name not in links(closed)
    assert not closed.working(other, RUN, SUBRUN).is_symlink()
    assert len(links(closed)) == len(PRODUCT_KINDS) - 2


def test_links_to_what_was_put_away_are_removed(closed: Layout) -> None:
    _link_closed_products(closed, RUN, SUBRUN)
    for kind in PRODUCT_KINDS:
        final = closed.final(kind, RUN, SUBRUN)
        final.rename(final.with_name(f"{final.name}.replaced.20200128T060000"))
    _link_closed_products(closed, RUN, SUBRUN)
    assert links(closed) == {}


def test_other_subruns_are_left_alone(closed: Layout) -> None:
    _link_closed_products(closed, RUN, SUBRUN + 1)
    assert links(closed) == {}


class Idle:
    """Is asked for nothing."""


def test_task_of_a_closed_subrun_has_nothing_to_do(closed: Layout) -> None:
    write_raw(closed.raw_file(RUN, SUBRUN), N_EVENTS)
    for program in (R0_TO_DL1, "lstchain_check_dl1", "lstchain_dl1_to_dl2"):
        add_try(closed, RUN, SUBRUN, program)
    said: list[str] = []
    process_subrun(
        closed,
        run=RUN,
        subrun=SUBRUN,
        drs4_run=1872,
        calibration_run=1873,
        workshop=Idle(),  # type: ignore[arg-type]
        say=said.append,
    )
    assert said == [f"{step}: is done" for step in ("r0_to_dl1", "datacheck", "dl1_to_dl2")]
