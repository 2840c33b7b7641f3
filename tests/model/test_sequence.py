from __future__ import annotations

import pytest

from osa.model.sequence import CalibrationChoice, NightPlan, Sequence, SequenceKind


def sequence(run=1874, kind=SequenceKind.DATA, n_subruns=4, subruns=(0, 1, 2, 3), number=1):
    return Sequence("LST1", number, kind, run, n_subruns, subruns)


def test_the_name_has_telescope_and_run():
    assert sequence().name == "LST1_01874"


def test_absent_subruns_are_those_promised_and_not_there():
    assert sequence(n_subruns=5, subruns=(1, 3)).absent_subruns == (0, 2, 4)
    assert sequence(n_subruns=2, subruns=(0, 1, 2)).absent_subruns == ()


@pytest.mark.parametrize("subruns", [(1, 0), (0, 0, 1)])
def test_subruns_have_to_ascend(subruns):
    with pytest.raises(ValueError, match="not ascending"):
        sequence(subruns=subruns)


def test_a_plan_finds_its_sequences():
    calibration = sequence(run=1873, kind=SequenceKind.CALIBRATION, number=0)
    data = (sequence(1874, number=1), sequence(1875, number=2))
    plan = NightPlan((calibration, *data))
    assert plan.calibration is calibration
    assert plan.data == data
    assert plan.by_run(1875) is data[1]
    assert plan.by_run(1) is None
    assert plan.choice == CalibrationChoice(None, None)


def test_a_plan_may_have_no_calibration():
    assert NightPlan((sequence(),)).calibration is None
