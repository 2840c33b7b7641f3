"""The remedies of the closer: what each says, and does."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from made_up_scheduler import MadeUpScheduler
from night_states import calibration_sequence, data_sequence

from osa.closing import remedies
from osa.closing.examine import Damage
from osa.closing.remedies import Cancel, LeaveOut, SetAside, what_of
from osa.cures.known import KNOWN
from osa.incidences import read_incidences
from osa.layout import DL1, INTERLEAVED, MUONS, PRODUCT_KINDS, Layout, ProductKind
from osa.nightsummary.override import read_override

RULES = {rule.name: rule for rule in KNOWN}
POINTING, CUT_SHORT = RULES["no pointing"], RULES["last sub-run cut short"]


@pytest.mark.parametrize(
    ("tasks", "of", "words"),
    [
        ((1,), None, "sub-run 1 of run 01874"),
        ((2, 0, 1), None, "sub-runs 0-2 of run 01874"),
        ((2, 0, 1), (0, 1, 2), "run 01874"),
        ((2, 0), (0, 1, 2), "sub-runs 0, 2 of run 01874"),
        ((0,), (0,), "run 01874"),
    ],
)
def test_what_is_meant_in_words(tasks: tuple[int, ...], of: tuple[int, ...] | None, words: str) -> None:
    assert what_of(data_sequence(), tasks, of) == words


def test_calibration_has_no_subruns_in_words() -> None:
    assert what_of(calibration_sequence(), (0,)) == "calibration run 01873"


def test_data_with_a_borrowed_calibration_is_no_calibration() -> None:
    assert what_of(data_sequence(parent=None), (1,)) == "sub-run 1 of run 01874"


# ---------------------------------------------------------------------------- setting aside


class Clock(datetime):
    """Another time at each look."""

    looks = 0

    @classmethod
    def now(cls, tz: Any = None) -> Clock:
        cls.looks += 1
        return cls(2020, 1, 28, 6, 0, cls.looks, tzinfo=UTC)


def test_damaged_product_is_kept_under_another_name(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remedies, "datetime", Clock)
    path = layout.working(DL1, 1874, 1)
    path.parent.mkdir(parents=True)
    remedy = SetAside(layout, data_sequence(), Damage(path, 1, "it is torn"))
    for count in range(3):
        assert SetAside.count(path) == count
        path.write_text(f"try {count}")
        remedy.perform()
        assert not path.exists()
    assert sorted(other.read_text() for other in path.parent.glob("*.damaged.*")) == [
        "try 0",
        "try 1",
        "try 2",
    ]
    assert SetAside.count(layout.working(DL1, 1874, 11)) == 0
    assert str(remedy) == f"set aside {path.name}, to have it made again: it is torn"
    assert read_incidences(layout.incidences) == (f"{path.name} was damaged and is made again: it is torn.",)


@pytest.mark.parametrize("kind", PRODUCT_KINDS)
def test_final_products_that_are_made_again_with_it_are_put_away(layout: Layout, kind: ProductKind) -> None:
    """DL1 and muons are made in one step; what follows from them has to be made again, too."""
    kinds = (*PRODUCT_KINDS, INTERLEAVED)
    for one in kinds:
        for subrun in (1, 2):
            layout.final(one, 1874, subrun).parent.mkdir(parents=True, exist_ok=True)
            layout.final(one, 1874, subrun).write_text(one.name)
    damaged = layout.final(kind, 1874, 1)
    SetAside(layout, data_sequence(), Damage(damaged, 1, "it is torn")).perform()
    gone = {one for one in kinds if not layout.final(one, 1874, 1).exists()}
    assert gone == (set(kinds) if kind in (DL1, MUONS) else {kind})
    assert all(layout.final(one, 1874, 2).exists() for one in kinds)
    for one in gone:
        final = layout.final(one, 1874, 1)
        (kept,) = final.parent.glob(f"{final.name}.{'damaged' if one is kind else 'replaced'}.*")
        assert kept.read_text() == one.name


def test_incidence_is_said_before_a_product_is_put_away(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = layout.working(DL1, 1874, 1)
    path.parent.mkdir(parents=True)
    path.touch()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    remedy = SetAside(layout, data_sequence(), Damage(path, 1, "it is torn"))
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", killed)
        with pytest.raises(KeyboardInterrupt):
            remedy.perform()
    remedy.perform()
    assert len(read_incidences(layout.incidences)) == 1
    assert SetAside.count(path) == 1


def test_products_that_are_put_away_in_one_second_are_all_kept(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remedies, "stamp", lambda _: "20200128T060000")
    path = layout.working(DL1, 1874, 1)
    path.parent.mkdir(parents=True)
    for number in range(3):
        path.write_text(f"try {number}")
        SetAside(layout, data_sequence(), Damage(path, 1, "it is torn")).perform()
    assert SetAside.count(path) == 3


# ------------------------------------------------------------------------------ leaving out


def test_leaving_out_subruns(layout: Layout) -> None:
    remedy = LeaveOut(layout, data_sequence(), (1, 2), POINTING)
    assert str(remedy) == "leave out sub-runs 1-2 of run 01874: no pointing"
    remedy.perform()
    override = read_override(layout.left_out)
    assert override.left_out_subruns == {(1874, 1): "no pointing", (1874, 2): "no pointing"}
    assert override.left_out == {}
    assert read_incidences(layout.incidences) == (
        "Sub-runs 1-2 of run 01874: no pointing; left out, as the drive log has no pointing for the times "
        "of its events.",
    )


def test_leaving_out_adds_to_what_was_left_out(layout: Layout) -> None:
    LeaveOut(layout, data_sequence(), (1,), POINTING).perform()
    LeaveOut(layout, data_sequence(1875), (0, 1, 2), POINTING).perform()
    LeaveOut(layout, data_sequence(1876), (2,), CUT_SHORT).perform()
    override = read_override(layout.left_out)
    assert override.left_out == {1875: "no pointing"}
    assert override.left_out_subruns == {(1874, 1): "no pointing", (1876, 2): "last sub-run cut short"}
    assert "sequencer --take-in" in layout.left_out.read_text("utf-8").splitlines()[0]


def test_leaving_out_twice_says_it_once(layout: Layout) -> None:
    for _ in range(2):
        LeaveOut(layout, data_sequence(), (1,), POINTING).perform()
    assert layout.left_out.read_text("utf-8").count("01874") == 1
    assert len(read_incidences(layout.incidences)) == 1


def test_whole_run_is_left_out_as_one(layout: Layout) -> None:
    remedy = LeaveOut(layout, data_sequence(), (0, 1, 2), POINTING)
    assert str(remedy) == "leave out run 01874: no pointing"
    remedy.perform()
    assert read_override(layout.left_out).left_out == {1874: "no pointing"}


def test_lines_of_an_operator_stay_as_they_are(layout: Layout) -> None:
    said = "# mine: the moon\n[leave out]\n\n1874.1   =  moon\n# till here"
    layout.left_out.parent.mkdir(parents=True)
    layout.left_out.write_text(said, "utf-8")
    LeaveOut(layout, data_sequence(), (1, 2), POINTING).perform()
    assert layout.left_out.read_text("utf-8") == f"{said}\n01874.0002 = no pointing\n"


def test_rest_of_a_run_is_left_out_with_it(layout: Layout) -> None:
    LeaveOut(layout, data_sequence(subruns=(0, 1), left_out=(2,)), (0, 1), POINTING).perform()
    assert 1874 in read_override(layout.left_out).left_out


def test_run_of_which_raw_files_are_still_to_come_is_not_left_out_whole(layout: Layout) -> None:
    LeaveOut(layout, data_sequence(n_subruns=3, subruns=(0, 1)), (0, 1), POINTING).perform()
    assert 1874 not in read_override(layout.left_out).left_out


# ------------------------------------------------------------------------------- cancelling


def test_cancelling_names_the_sequence(layout: Layout) -> None:
    scheduler = MadeUpScheduler()
    remedy = Cancel(layout, scheduler, data_sequence(), "calibration failed")
    assert str(remedy) == "cancel what is pending of LST1_01874: calibration failed"
    remedy.perform()
    assert scheduler.cancelled == ["LST1_01874"]
