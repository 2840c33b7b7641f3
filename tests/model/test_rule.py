"""Rules that make sense, and those that are refused."""

from __future__ import annotations

import re
from typing import Any

import pytest

from osa.model.job import JobState
from osa.model.rule import Cure, Rule, Scope

SIGN = {"states": frozenset({JobState.TIMEOUT})}


@pytest.mark.parametrize(
    "sign",
    [
        SIGN,
        {"exit_codes": frozenset({-9})},
        {"text": re.compile("x")},
        {"fewer_events": 1},
        {"cut_short": True},
    ],
)
def test_one_sign_is_enough(sign: dict[str, Any]) -> None:
    rule = Rule("a", Cure.RESUBMIT, **sign)
    assert (rule.limit, rule.memory, rule.walltime, rule.scope) == (1, 1.0, 1.0, Scope.ANY)


@pytest.mark.parametrize(
    ("cure", "values", "fault"),
    [
        (Cure.RESUBMIT, {}, "'my rule' has no sign"),
        (Cure.RESUBMIT, {"scope": Scope.DATA, "memory": 2.0}, "'my rule' has no sign"),
        (Cure.RESUBMIT, SIGN | {"memory": 0.5}, "'my rule' gives the next try less"),
        (Cure.RESUBMIT, SIGN | {"walltime": 0.99}, "'my rule' gives the next try less"),
        (Cure.RESUBMIT, SIGN | {"used_up": True}, "'my rule': another calibration"),
        (Cure.OTHER_CALIBRATION, SIGN, "'my rule': another calibration"),
        (Cure.LEAVE_OUT, SIGN, "'my rule': only DATA"),
        (Cure.LEAVE_OUT, SIGN | {"scope": Scope.ANY}, "'my rule': only DATA"),
        (Cure.LEAVE_OUT, SIGN | {"scope": Scope.CALIBRATION}, "'my rule': only DATA"),
    ],
)
def test_what_makes_no_sense_is_refused(cure: Cure, values: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        Rule("my rule", cure, **values)


@pytest.mark.parametrize("scope", [Scope.DATA, Scope.LAST_SUBRUN])
def test_data_may_be_left_out(scope: Scope) -> None:
    assert Rule("a", Cure.LEAVE_OUT, scope=scope, cut_short=True).cure is Cure.LEAVE_OUT
