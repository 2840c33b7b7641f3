"""Source and wobble of runs, from logs that may be damaged."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osa.model.run import RunEntry
from osa.nightsummary.drive import DriveRow
from osa.nightsummary.targets import (
    Target,
    TargetLog,
    find_pointings,
    mean_pointing,
    parse_target_log,
    read_target_log,
    source_position,
    target_at,
)

LOG = """\
1582058200 TrackStart 83.6296 22.0144 Crab
1582059900 TrackEnd
1582061035 TrackStart 86.6333 22.0144 OffCrabLo142
1582062466 TrackEnd\x20
1582069500 TrackStart 79.1725 45.9981 My Star
1582070000 TrackEnd
"""


def test_reads_targets() -> None:
    log = parse_target_log(LOG)
    assert log.skipped == 0
    assert log.targets[1] == Target(1582061035, 1582062466, "OffCrabLo142", (86.6333, 22.0144))
    assert [target.name for target in log.targets] == ["Crab", "OffCrabLo142", "My_Star"]


@pytest.mark.parametrize(
    ("time", "name"),
    [
        (1582058199.9, None),
        (1582058200.0, "Crab"),
        (1582059899.9, "Crab"),
        (1582060000.0, None),
        (1582062000.0, "OffCrabLo142"),
        (1582069999.0, "My_Star"),
        (1582080000.0, None),
    ],
)
def test_target_at(time: float, name: str | None) -> None:
    target = target_at(parse_target_log(LOG), time)
    assert (target.name if target else None) == name


def test_missing_ends() -> None:
    log = parse_target_log("100 TrackStart 1 2 A\n200 TrackStart 3 4 B\n")
    assert log.targets == (Target(100, 200, "A", (1, 2)), Target(200, inf, "B", (3, 4)))


@pytest.mark.parametrize(
    ("line", "target"),
    [
        ("1.5 TrackStart 83.6 22.0 Crab\r", Target(1.5, inf, "Crab", (83.6, 22.0))),
        ("1 TrackStart 83.6 22.0", Target(1, inf, None, (83.6, 22.0))),
        ("1 TrackStart", Target(1)),
        ("1 TrackStart 05:34:31.9 +22:00:52 Crab", Target(1, inf, "Crab")),
        ("1 TrackStart 5h34m31.9s 22d00m52s Crab", Target(1, inf, "Crab")),
        ("1 TrackStart nan 22 Crab", Target(1, inf, "Crab")),
        ("1 TrackStart 83.6 122.0 Crab", Target(1, inf, "Crab")),
        ("1 TrackStart -10 22.0 X", Target(1, inf, "X", (350.0, 22.0))),
        ("1 TrackStart 1 2 $(touch x)", Target(1, inf, "_touch_x_", (1, 2))),
        ("1 TrackStart 1 2 ../../x", Target(1, inf, "__.._x", (1, 2))),
    ],
)
def test_one_line(line: str, target: Target) -> None:
    assert parse_target_log(line) == TargetLog((target,))


@pytest.mark.parametrize(
    "line",
    ["x TrackStart 1 2 A", "1", "1 Track", "nan TrackEnd", "\0\0\0", "TrackStart 1 2 A", "inf TrackStart"],
)
def test_skips_and_counts(line: str) -> None:
    log = parse_target_log(f"{line}\n\n{LOG}")
    assert (log.targets, log.skipped) == (parse_target_log(LOG).targets, 1)


@given(st.text() | st.text("0123456789. TrackStrEnd\n-+:enif"))
def test_any_text_can_be_read(text: str) -> None:
    parse_target_log(text)


def test_missing_log(tmp_path: Path) -> None:
    assert read_target_log(tmp_path / "none.txt") == TargetLog()
    assert read_target_log(tmp_path) == TargetLog()


def test_position_of_a_source() -> None:
    star, other = Target(1, 2, "X", (10, 10)), Target(3, 4, "X", (10.8, 10))
    crab, nameless = Target(5, 6, "Crab", (84.0389, 22.1508)), Target(7, 8, None, (10, 10))
    assert source_position(TargetLog((star,)), star) == (10, 10)
    assert source_position(TargetLog((star, star)), star) == (10, 10)
    assert source_position(TargetLog((star, other)), star) is None
    assert source_position(TargetLog((crab,)), crab) == (83.6331, 22.0145)
    assert source_position(TargetLog((nameless,)), nameless) is None


def test_mean_pointing() -> None:
    assert mean_pointing([]) is None
    rows = [DriveRow(1580163300 + n, 180.0, 40.0) for n in range(50)]
    plain, corrected = mean_pointing(rows), mean_pointing(rows, [DriveRow(0, 0.0, -0.5)])
    assert plain is not None
    assert corrected is not None
    assert corrected[1] - plain[1] == pytest.approx(0.5, abs=1e-3)


# Where the Crab and a position beside it (0.4 deg away, position angle 70 deg) stood, by astropy.
CRAB_SEEN = [
    (1_580_163_300, 168.9125, 6.856),
    (1_580_163_310, 169.2319, 6.8491),
    (1_580_163_320, 169.5519, 6.8423),
    (1_580_163_330, 169.8724, 6.8358),
]
BESIDE_SEEN = [
    (1_580_163_300, 165.5786, 6.8021),
    (1_580_163_310, 165.8965, 6.7931),
    (1_580_163_320, 166.2152, 6.7842),
    (1_580_163_330, 166.5347, 6.7756),
]
# 2020-01-27 22:15:00 UTC, minute 135 of the fixtures' night.
START = 1_580_163_300


@pytest.fixture
def data_run(run_entry: Callable[..., RunEntry]) -> RunEntry:
    """A run that started when the positions above hold."""
    return run_entry(1874, "DATA", 135)


def write_logs(
    folder: Path,
    target: str,
    rows: list[tuple[int, float, float]],
    name: str = "DrivePosition_log_20200127.txt",
) -> tuple[Path, Path]:
    """Write the target log and a drive log in the format that its name says."""
    before = "{} {} {}\n" if "Position" in name else "Mon Jan 27 22:15:00 2020 {} 0 {} 0 0 0 0 {}\n"
    (folder / name).write_text("".join(before.format(*row) for row in rows), encoding="ascii")
    (folder / "target.txt").write_text(target, encoding="utf-8")
    return folder / "target.txt", folder / name


@pytest.mark.parametrize("name", ["DrivePosition_log_20200127.txt", "drive_log_20_01_27.txt"])
@pytest.mark.parametrize(
    ("target", "seen", "expected"),
    [
        ("83.6331 22.0145 Crab", CRAB_SEEN, ("Crab", "ON")),
        ("84.03893 22.15081 Crab", BESIDE_SEEN, ("Crab", "W0.40+070")),
        ("83.6331 22.0145 Crab", BESIDE_SEEN, ("Crab", "W0.40+070")),
        ("83.6331 22.0145 New star", BESIDE_SEEN, ("New_star", "W0.40+070")),
        ("05:34:31 +22:00:52 Crab", BESIDE_SEEN, ("Crab", None)),
        ("84.03893 22.15081", BESIDE_SEEN, (None, None)),
        ("83.6331 22.0145 Crab", [(START, 0.0, 95.0)], ("Crab", None)),
        ("83.6331 22.0145 Crab", [], ("Crab", None)),
    ],
)
def test_find_pointings(
    tmp_path: Path,
    data_run: RunEntry,
    name: str,
    target: str,
    seen: list[tuple[int, float, float]],
    expected: tuple[str | None, str | None],
) -> None:
    logs = write_logs(tmp_path, f"{START - 30} TrackStart {target}\n{START + 60} TrackEnd\n", seen, name)
    assert find_pointings((data_run,), *logs) == {1874: expected}


def test_bending_corrections_are_added(tmp_path: Path, data_run: RunEntry) -> None:
    raw = [(time, azimuth - 0.5, zenith + 0.25) for time, azimuth, zenith in CRAB_SEEN]
    logs = write_logs(tmp_path, f"{START} TrackStart 83.6331 22.0145 Crab\n", raw)
    assert find_pointings((data_run,), *logs)[1874][1] != "ON"
    corrections = "".join(f"{time} 0.5 -0.25\n" for time, _, _ in raw)
    (tmp_path / "BendingModelCorrection_log_20200127.txt").write_text(corrections, encoding="ascii")
    assert find_pointings((data_run,), *logs)[1874] == ("Crab", "ON")


def test_only_data_runs_have_a_source(tmp_path: Path, run_entry: Callable[..., RunEntry]) -> None:
    logs = write_logs(tmp_path, "0 TrackStart 83.6331 22.0145 Crab\n", CRAB_SEEN)
    runs = (run_entry(1, "DRS4", 135), run_entry(2, "CALI", 135), run_entry(3, "ERROR", 135))
    assert find_pointings(runs, *logs) == {}


def test_missing_logs(tmp_path: Path, data_run: RunEntry) -> None:
    assert find_pointings((data_run,), tmp_path / "a", tmp_path / "b") == {}
