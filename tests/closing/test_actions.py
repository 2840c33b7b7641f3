"""The moves, merges and flags of which closing consists."""

from __future__ import annotations

from pathlib import Path

import pytest
from moving import verified_move
from night_states import CALIBRATION_RUN, DRS4_RUN, calibration_sequence, sequence_state

from osa.closing.actions import PutFlag, closing_moves, merges, put_closed_flag
from osa.layout import DATACHECK, DL1, DL2, INTERLEAVED, MUONS, PRODUCT_KINDS, Layout
from osa.model.sequence import NightPlan
from osa.nightstate import read_night_state


def moves_of(layout: Layout, plan: NightPlan, run: int) -> dict[Path, Path]:
    (state,) = [s for s in read_night_state(layout, plan, ()) if s.sequence.run == run]
    return {move.source: move.target for move in closing_moves(layout, state)}


def test_every_product_of_a_data_run_goes_to_its_final_place(complete: Layout, plan: NightPlan) -> None:
    kinds = (*PRODUCT_KINDS, INTERLEAVED)
    assert moves_of(complete, plan, 1874) == {
        complete.working(kind, 1874, subrun): complete.final(kind, 1874, subrun)
        for kind in kinds
        for subrun in (0, 1)
    }


def test_calibration_goes_with_the_plots_that_are_there(complete: Layout, plan: NightPlan) -> None:
    pedestal, charge = complete.drs4_pedestal(DRS4_RUN), complete.charge_calibration(CALIBRATION_RUN)
    time = complete.time_calibration(CALIBRATION_RUN)
    sources = [pedestal, time, charge, complete.plot(pedestal), complete.plot(charge)]
    final = complete.final_calibration_dir
    assert moves_of(complete, plan, 1873) == {source: final / source.name for source in sources}


def test_calibration_without_drs4_run_has_nothing_to_move(complete: Layout) -> None:
    state = sequence_state(calibration_sequence(drs4_run=None))
    assert closing_moves(complete, state) == []


def test_what_is_not_there_or_moved_already_is_not_moved(complete: Layout, plan: NightPlan) -> None:
    complete.working(DL2, 1875, 0).unlink()
    before = moves_of(complete, plan, 1875)
    verified_move(*before.popitem())
    after = moves_of(complete, plan, 1875)
    assert after == before
    assert complete.working(DL2, 1875, 0) not in after


def test_merges_of_a_run(complete: Layout, plan: NightPlan) -> None:
    datacheck, dl2 = merges(complete, plan.data[0])
    assert [product.final for product in datacheck.step.products] == [
        complete.final_dir(DATACHECK) / "datacheck_dl1_LST-1.Run01874.pdf",
        complete.final_dir(DATACHECK) / "datacheck_dl1_LST-1.Run01874.h5",
    ]
    assert [product.final for product in dl2.step.products] == [complete.final(DL2, 1874)]
    # what they read is where the moves before them put it
    inputs = [str(complete.final(DATACHECK, 1874, subrun)) for subrun in (0, 1)]
    assert list(datacheck.step.arguments[-2:]) == inputs
    assert list(dl2.step.arguments[-2:]) == [str(complete.final(DL2, 1874, s)) for s in (0, 1)]
    assert str(dl2).endswith(f"to {complete.final(DL2, 1874)}")


def test_only_subruns_that_are_there_are_merged(complete: Layout, plan: NightPlan) -> None:
    complete.working(DATACHECK, 1874, 0).unlink()
    complete.working(DL2, 1874, 1).unlink()
    datacheck, dl2 = merges(complete, plan.data[0])
    assert datacheck.step.arguments[-1] == str(complete.final(DATACHECK, 1874, 1))
    assert not any("Run01874.0000" in argument for argument in datacheck.step.arguments)
    assert not any("Run01874.0001" in argument for argument in dl2.step.arguments)


def test_merges_are_the_same_after_the_moves(complete: Layout, plan: NightPlan) -> None:
    before = [str(merge) for merge in merges(complete, plan.data[0])]
    for source, target in moves_of(complete, plan, 1874).items():
        verified_move(source, target)
    assert [str(merge) for merge in merges(complete, plan.data[0])] == before


@pytest.mark.parametrize("kind", [DATACHECK, DL2])
def test_nothing_to_merge_is_no_merge(complete: Layout, plan: NightPlan, kind: object) -> None:
    for subrun in (0, 1):
        complete.working(kind, 1874, subrun).unlink()  # type: ignore[arg-type]
    assert len(merges(complete, plan.data[0])) == 1


def test_flag(layout: Layout, plan: NightPlan) -> None:
    flag = put_closed_flag(layout, plan.data[0])
    assert isinstance(flag, PutFlag)
    assert str(flag) == f"put {layout.analysis_dir}/sequence_LST1_01874.closed"
    flag.perform()
    flag.perform()
    assert [state.closed for state in read_night_state(layout, plan, ())] == [False, True, False]


def test_kinds_have_folders_of_their_own(layout: Layout) -> None:
    folders = {kind: layout.final_dir(kind) for kind in (DL1, MUONS, DATACHECK, DL2, INTERLEAVED)}
    assert len(set(folders.values())) == len(folders)
