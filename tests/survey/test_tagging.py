"""Types of run: each limit, how sure one can be, and what holds for all samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from osa.survey.tagging import ENOUGH, EventKind, RunLabel, Tag, TriggerCounts, tag_run

DRS4, CALIBRATION, DATA, ERROR = RunLabel.DRS4, RunLabel.CALIBRATION, RunLabel.DATA, RunLabel.ERROR
NEITHER = "neither DRS4, calibration nor DATA"


def counted(physics: int = 0, pedestal: int = 0, flatfield: int = 0, other: int = 0) -> TriggerCounts:
    return TriggerCounts(physics, pedestal, flatfield, other)


def probability_below(count: int, total: int, limit: Fraction) -> float:
    """Tell how probable it is that a share is below a limit, without a beta function.

    The k + 1 smallest of n + 1 random numbers are below the limit: a binomial sum.
    """
    tries = total + 1
    return float(
        sum(math.comb(tries, k) * limit**k * (1 - limit) ** (tries - k) for k in range(count + 1, tries + 1))
    )


@pytest.mark.parametrize(
    ("counts", "label"),
    [
        (counted(500), DRS4),
        (counted(495, other=5), DRS4),
        (counted(494, other=6), DATA),
        (counted(499, pedestal=1), DATA),
        (counted(499, flatfield=1), DATA),
        (counted(pedestal=500), CALIBRATION),
        (counted(pedestal=250, flatfield=250), CALIBRATION),
        (counted(pedestal=250, physics=250), CALIBRATION),  # flashes that were taken for showers
        (counted(pedestal=100, physics=400), CALIBRATION),
        (counted(pedestal=99, physics=401), ERROR),
        (counted(pedestal=50, physics=450), ERROR),
        (counted(pedestal=49, physics=451), DATA),
        (counted(pedestal=49, physics=250, flatfield=201), DATA),
        (counted(pedestal=49, physics=249, flatfield=202), ERROR),
        (counted(pedestal=0, physics=250, flatfield=250), DATA),
        (counted(flatfield=500), ERROR),
        (counted(other=500), ERROR),
    ],
)
def test_limits(counts: TriggerCounts, label: RunLabel) -> None:
    tag = tag_run(counts)
    assert tag.label is label
    assert (NEITHER in tag.reason) is (label is ERROR)


def test_shares_are_in_the_reason() -> None:
    said = tag_run(counted(physics=400, pedestal=60, flatfield=40)).reason
    assert said == f"80.0% physics, 12.0% pedestal, 8.0% flatfield: {NEITHER}"
    assert "0.2% other" in tag_run(counted(pedestal=60, physics=439, other=1)).reason


def test_nothing_says_nothing() -> None:
    assert tag_run(counted()) == Tag(ERROR, 0.0, "no event can be read")
    assert [counted().share(kind) for kind in EventKind] == [0.0] * 4


@pytest.mark.parametrize("total", [1, 10, 100, 228, 229, 458, 459, 500, 3000])
def test_confidence_in_drs4(total: int) -> None:
    """With no calibration event seen there is a closed form."""
    expected = 1 - 0.99 ** (total + 1)
    tag = tag_run(counted(total))
    if expected < 0.9:
        assert tag.label is ERROR
        assert tag.reason.endswith(f" of only {total} events: {expected:.0%} sure of DRS4, 90% wanted")
    else:
        assert (tag.label, tag.confidence) == (DRS4, pytest.approx(expected, abs=1e-12))


def test_first_500_events_are_enough_for_drs4() -> None:
    assert tag_run(counted(500)).confidence >= ENOUGH
    assert tag_run(counted(495, other=5)).confidence >= ENOUGH


@pytest.mark.parametrize(
    ("pedestal", "total"), [(0, 10), (0, 11), (1, 20), (2, 30), (9, 100), (40, 500), (49, 500), (299, 3000)]
)
def test_confidence_in_data(pedestal: int, total: int) -> None:
    tag = tag_run(counted(total - pedestal - 1, pedestal, flatfield=1))
    expected = probability_below(pedestal, total, Fraction(1, 5))
    if expected < 0.9:
        assert (tag.label, "sure of DATA" in tag.reason) == (ERROR, True)
    else:
        assert (tag.label, tag.confidence) == (DATA, pytest.approx(expected, abs=1e-12))


@pytest.mark.parametrize(
    ("pedestal", "total"), [(1, 5), (2, 10), (3, 15), (6, 30), (20, 100), (100, 500), (250, 500), (500, 500)]
)
def test_confidence_in_calibration(pedestal: int, total: int) -> None:
    tag = tag_run(counted(pedestal=pedestal, flatfield=total - pedestal))
    expected = 1 - probability_below(pedestal, total, Fraction(1, 10))
    if expected < 0.9:
        assert (tag.label, "sure of CALI" in tag.reason) == (ERROR, True)
    else:
        assert (tag.label, tag.confidence) == (CALIBRATION, pytest.approx(expected, abs=1e-12))


@pytest.mark.parametrize(
    ("counts", "label"),
    [
        (counted(229), DRS4),
        (counted(228), ERROR),
        (counted(9, flatfield=1), DATA),
        (counted(8, flatfield=1), ERROR),
        (counted(pedestal=2, flatfield=8), CALIBRATION),
        (counted(pedestal=1, flatfield=4), ERROR),
        (counted(pedestal=1), CALIBRATION),
        (counted(1), ERROR),
    ],
)
def test_least_samples(counts: TriggerCounts, label: RunLabel) -> None:
    assert tag_run(counts).label is label


@pytest.mark.parametrize("n_subruns", [1, 20, 21, 200])
def test_drs4_is_short(n_subruns: int) -> None:
    """Of many sub-runs it may be DATA that was taken without calibration events."""
    tag = tag_run(counted(500), n_subruns)
    if n_subruns <= 20:
        assert tag == tag_run(counted(500))
    else:
        assert tag.label is ERROR
        assert f"{n_subruns} sub-runs are too many for a DRS4 run" in tag.reason


@pytest.mark.parametrize("counts", [counted(425, 35, 40), counted(pedestal=250, flatfield=250)])
def test_other_types_have_as_many_subruns_as_they_like(counts: TriggerCounts) -> None:
    assert tag_run(counts, 1000) == tag_run(counts)


@pytest.mark.parametrize(("label", "reason"), [(ERROR, ""), (DATA, "because")])
def test_errors_and_only_these_have_reasons(label: RunLabel, reason: str) -> None:
    with pytest.raises(ValueError, match="an error has a reason"):
        Tag(label, 0.5, reason)


# -------------------------------------------------------------------- what holds for all samples

COUNT = st.integers(0, 700)
COUNTS = st.builds(TriggerCounts, COUNT, COUNT, COUNT, COUNT)
KINDS = st.lists(st.sampled_from(EventKind), max_size=60)


@given(COUNTS, st.integers(1, 40))
def test_every_sample_has_a_type_or_a_reason(counts: TriggerCounts, n_subruns: int) -> None:
    tag = tag_run(counts, n_subruns)
    if tag.label is ERROR:
        assert tag.reason.isprintable() and tag.confidence == 0.0
    else:
        assert 0.9 <= tag.confidence <= 1.0


@given(KINDS, st.randoms())
def test_order_of_events_does_not_matter(kinds: Sequence[EventKind], order: object) -> None:
    shuffled = list(kinds)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    assert tag_run(TriggerCounts.of(kinds)) == tag_run(TriggerCounts.of(shuffled))


@given(KINDS, KINDS)
def test_samples_add_up(some: list[EventKind], more: list[EventKind]) -> None:
    together = TriggerCounts.of(some) + TriggerCounts.of(more)
    assert together == TriggerCounts.of(some + more)
    assert together.total == len(some) + len(more)


@given(st.builds(TriggerCounts, *[st.integers(0, 200)] * 4), st.integers(2, 6))
def test_more_events_of_the_same_shares_are_never_less_sure(counts: TriggerCounts, times: int) -> None:
    assume(counts.total)
    more = TriggerCounts(*(times * getattr(counts, kind) for kind in EventKind))
    few, many = tag_run(counts), tag_run(more)
    if few.label is ERROR:
        assert NEITHER not in few.reason or few.reason == many.reason
    else:
        assert many.label is few.label
        assert many.confidence >= few.confidence - 1e-12


@given(st.integers(0, 400), st.integers(0, 400))
def test_calibration_is_never_taken_for_data_nor_the_other_way(pedestal: int, rest: int) -> None:
    """Between the two is a gap: a share that is near the limit of one is far from that of the other."""
    label = tag_run(counted(pedestal=pedestal, physics=rest)).label
    if label is DATA:
        assert pedestal < 0.1 * (pedestal + rest)
    if label is CALIBRATION:
        assert pedestal >= 0.2 * (pedestal + rest)
