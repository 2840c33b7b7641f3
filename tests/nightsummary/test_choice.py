"""Which runs calibrate a night, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from osa.errors import InputError
from osa.model.run import RunEntry
from osa.nightsummary.choice import Request, choose_calibration, first_request

Make = Callable[..., RunEntry]
GIVEN = "given with --x"


def night(make: Make, plan: str) -> tuple[RunEntry, ...]:
    """A night from words such as ``D1 C2 O3``: DRS4, calibration, observation; ten minutes apart."""
    labels = {"D": "DRS4", "C": "CALI", "O": "DATA", "E": "ERROR"}
    return tuple(make(int(word[1:]), labels[word[0]], 10 * n) for n, word in enumerate(plan.split()))


def all_there(runs: tuple[RunEntry, ...]) -> dict[int, tuple[int, ...]]:
    return {entry.run: (0, 1) for entry in runs}


@pytest.mark.parametrize(
    ("plan", "lost", "left_out", "drs4", "calibration", "said"),
    [
        pytest.param(
            "D1 C2 O3", (), {}, 1, 2, "00002: the only one before the first DATA run 00003", id="plain"
        ),
        pytest.param(
            "D1 D2 C3 C4 O5", (), {}, 2, 4, "00004: the last of 2 before the first", id="two of each"
        ),
        pytest.param(
            "D1 C2 O3 D4 C5 O6", (), {}, 1, 2, "the only one before the first DATA", id="later ones"
        ),
        pytest.param(
            "D1 C2 D3 O4", (), {}, 1, 2, "DRS4 run 00001: the only one before the calibration", id="late D"
        ),
        pytest.param(
            "C1 D2 O3", (), {}, 2, 1, "the only one after the calibration run 00001, as none", id="D after C"
        ),
        pytest.param(
            "D1 O2 C3 C4", (), {}, 1, 3, "00003: the first of 2 after the first DATA run 00002", id="C late"
        ),
        pytest.param(
            "D1 C2 C3 O4", (3,), {}, 1, 2, "00003 was passed over: no raw file of its first", id="C no raw"
        ),
        pytest.param("D1 D2 C3 O4", (2,), {}, 1, 3, "DRS4 run 00002 was passed over: no raw", id="D no raw"),
        pytest.param(
            "D1 C2 C3 O4", (), {3: "dark"}, 1, 2, "00003 was passed over: left out: dark", id="left out"
        ),
        pytest.param(
            "D1 O2 C3 O4", (), {2: "dark"}, 1, 3, "before the first DATA run 00004", id="first DATA left out"
        ),
        pytest.param("D1 C2 C3", (), {}, 1, 3, "the last of 2 of the night, without DATA runs", id="no DATA"),
        pytest.param("D1 O2", (), {}, None, None, "no usable calibration run in this night", id="no C"),
        pytest.param("C1 O2", (), {}, None, 1, "no usable DRS4 run in this night", id="no D"),
        pytest.param("D1 C2 O3", (1, 2), {}, None, None, "no usable calibration run", id="no raw at all"),
        pytest.param("", (), {}, None, None, "no usable calibration run in this night", id="no runs"),
        pytest.param(
            "E1 O2", (), {}, None, None, "no usable calibration run in this night", id="only errors"
        ),
    ],
)
def test_automatic_choice(
    run_entry: Make,
    plan: str,
    lost: tuple[int, ...],
    left_out: Mapping[int, str],
    drs4: int | None,
    calibration: int | None,
    said: str,
) -> None:
    runs = night(run_entry, plan)
    raw = {run: subruns for run, subruns in all_there(runs).items() if run not in lost}
    for order in (runs, runs[::-1]):
        choice = choose_calibration(order, raw_subruns=raw, left_out=left_out)
        assert (choice.drs4_run, choice.calibration_run) == (drs4, calibration)
        assert said in " | ".join(choice.explanation)


def test_later_sub_runs_do_not_replace_the_first(run_entry: Make) -> None:
    runs = night(run_entry, "D1 C2 C3 O4")
    choice = choose_calibration(runs, raw_subruns=all_there(runs) | {3: (1, 2)})
    assert choice.calibration_run == 2


def test_runs_of_the_same_second_are_taken_by_number(run_entry: Make) -> None:
    runs = (run_entry(3, "DATA", 0), run_entry(2, "CALI", 0), run_entry(1, "DRS4", 0))
    choice = choose_calibration(runs, raw_subruns=all_there(runs))
    assert (choice.drs4_run, choice.calibration_run) == (1, 2)
    assert "before" in choice.explanation[0]


@pytest.mark.parametrize(
    ("drs4", "calibration", "chosen"),
    [(None, None, (2, 4)), (1, None, (1, 4)), (None, 3, (2, 3)), (6, 7, (6, 7)), (None, 7, (6, 7))],
)
def test_requests_are_taken(
    run_entry: Make, drs4: int | None, calibration: int | None, chosen: tuple[int, int]
) -> None:
    runs = night(run_entry, "D1 D2 C3 C4 O5 D6 C7")
    choice = choose_calibration(
        runs,
        raw_subruns=all_there(runs),
        drs4=first_request([(drs4, GIVEN)]),
        calibration=first_request([(calibration, GIVEN)]),
    )
    assert (choice.drs4_run, choice.calibration_run) == chosen
    if drs4:
        assert f"DRS4 run 0000{drs4}: as {GIVEN}" in choice.explanation
    if calibration:
        assert f"calibration run 0000{calibration}: as {GIVEN}" in choice.explanation


@pytest.mark.parametrize(
    ("drs4", "calibration", "faults"),
    [
        (
            9,
            None,
            ["DRS4 run 00009 (as given with --x) is not in the night summary; DRS4 runs there: 00001, 00002"],
        ),
        (None, 9, ["calibration run 00009 (as given with --x) is not in the night summary"]),
        (4, None, ["DRS4 run 00004 (as given with --x) is of type CALI there"]),
        (None, 5, ["calibration run 00005 (as given with --x) is of type DATA there"]),
        (2, None, ["DRS4 run 00002 (as given with --x) cannot be used: no raw file of its first sub-run"]),
        (None, 3, ["calibration run 00003 (as given with --x) cannot be used: left out: dark"]),
        (6, 9, ["00006 (as given with --x) is of type ERROR there", "00009 (as given with --x) is not in"]),
    ],
)
def test_requests_that_cannot_serve(
    run_entry: Make, drs4: int | None, calibration: int | None, faults: list[str]
) -> None:
    runs = night(run_entry, "D1 D2 C3 C4 O5 E6")
    with pytest.raises(InputError) as caught:
        choose_calibration(
            runs,
            raw_subruns=all_there(runs) | {2: (1,)},
            drs4=first_request([(drs4, GIVEN)]),
            calibration=first_request([(calibration, GIVEN)]),
            left_out={3: "dark"},
        )
    _, *lines = str(caught.value).split("\n  ")
    assert len(lines) == len(faults)
    assert all(fault in line for fault, line in zip(faults, lines, strict=True))


def test_a_requested_drs4_run_is_kept_without_calibration(run_entry: Make) -> None:
    runs = night(run_entry, "D1 O2")
    choice = choose_calibration(runs, raw_subruns=all_there(runs), drs4=Request(1, GIVEN))
    assert (choice.drs4_run, choice.calibration_run) == (1, None)


def test_first_request_wins() -> None:
    assert first_request([(None, "a"), (2, "b"), (3, "c")]) == Request(2, "b")
    assert first_request([(None, "a")]) is None
