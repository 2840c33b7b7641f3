"""Events of a run: their kinds, their times, and the capacitors that they use."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import numpy as np
import pytest

from osa.simulation.camera import N_CAPACITORS, N_SAMPLES, first_capacitors
from osa.simulation.configs import calibration_config, capacitors_per_bin, standard_config
from osa.simulation.events import count_kinds, event_kinds, event_times, tai_ns
from osa.simulation.plan import EventMix, NightPlan, RunKind, RunPlan
from osa.simulation.targets import Pointing, find_target

START = datetime(2020, 1, 27, 22, 0, tzinfo=UTC)
POINTING = Pointing(find_target("Crab"), 0.4, 70.0)
DATA = RunPlan(1874, RunKind.DATA, START, 3, 80, pointing=POINTING)
CALIBRATION = RunPlan(1873, RunKind.CALIBRATION, START.replace(hour=21), 1, 240)


@pytest.mark.parametrize("events", [30, 80, 200, 1000])
def test_data_runs_have_enough_and_not_too_many_pedestals(events: int) -> None:
    run = RunPlan(1874, RunKind.DATA, START, 1, events, pointing=POINTING)
    kinds = Counter(event_kinds(run, EventMix(), np.random.default_rng(1)))
    assert kinds == Counter(count_kinds(run, EventMix()))
    assert sum(kinds.values()) == events
    assert 2 <= kinds["pedestal"] < 0.1 * events
    assert kinds["flatfield"] >= 3
    assert kinds["muon"] >= 1


def test_calibration_and_drs4_runs() -> None:
    rng = np.random.default_rng(1)
    kinds = Counter(event_kinds(CALIBRATION, EventMix(), rng))
    assert kinds == {"flatfield": 120, "pedestal": 120}
    drs4 = RunPlan(1872, RunKind.DRS4, START, 1, 500)
    assert set(event_kinds(drs4, EventMix(), rng)) == {"noise"}


def test_times_ascend_through_the_run_in_whole_ticks() -> None:
    rng = np.random.default_rng(1)
    times = np.concatenate([event_times(DATA, subrun, rng) for subrun in range(DATA.subruns)])
    assert np.all(np.diff(times) > 0)
    assert np.all(times % 100 == 0)
    assert times[-1] < (DATA.duration.total_seconds() + 1) * 1e9


def test_tai_is_37_seconds_ahead() -> None:
    assert tai_ns(START) == (int(START.timestamp()) + 37) * 1_000_000_000


def test_few_events_reach_all_capacitors() -> None:
    seen = np.zeros(N_CAPACITORS, dtype=int)
    # lstchain ignores ten samples at the start of each event and one at its end.
    for number in range(500):
        first = int(first_capacitors(number, flash=False, seed=1)[17])
        seen[(first + np.arange(10, N_SAMPLES - 1)) % N_CAPACITORS] += 1
    assert seen.min() >= 3


def test_events_in_a_row_read_different_capacitors() -> None:
    """Otherwise lstchain would correct for a time since the last readout that is not simulated."""
    first = [int(first_capacitors(n, flash=False, seed=1)[17]) for n in range(21)]
    distance = np.abs(np.array(first[1:]) - first[0])
    assert np.minimum(distance, N_CAPACITORS - distance).min() >= N_SAMPLES


@pytest.mark.parametrize("flashes", [75, 120, 200, 1000])
def test_flashes_fill_the_bins_of_the_time_calibration(flashes: int) -> None:
    first = np.array([first_capacitors(n, flash=True, seed=1) for n in range(flashes)])
    n_combine = capacitors_per_bin(flashes)
    for chip in (0, 5, 1000):
        bins = np.unique(first[:, chip] % 1024 // n_combine)
        assert bins.size == 1024 // n_combine


def test_too_few_flashes_are_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        capacitors_per_bin(10)


def test_calibration_config_fits_the_run() -> None:
    shipped: dict[str, dict[str, object]] = {
        "CalibrationHDF5Writer": {"events_to_skip": 1000},
        "PedestalIntegrator": {},
        "FlasherFlatFieldCalculator": {},
    }
    config = calibration_config(shipped, CALIBRATION)
    skipped = config["CalibrationHDF5Writer"]["events_to_skip"]
    sample = config["PedestalIntegrator"]["sample_size"]
    assert 50 < sample <= (240 - skipped) // 2
    assert config["FlasherFlatFieldCalculator"]["sample_size"] == sample
    assert shipped["PedestalIntegrator"] == {}


def test_standard_config_holds_the_interleaved_events_of_a_subrun() -> None:
    shipped: dict[str, dict[str, object]] = {
        "LSTCalibrationCalculator": {"PedestalIntegrator": {}, "FlasherFlatFieldCalculator": {}},
        "random_forest_energy_regressor_args": {},
        "random_forest_disp_regressor_args": {},
        "random_forest_disp_classifier_args": {},
        "random_forest_particle_classifier_args": {},
        "random_forest_zd_interpolation": {"interpolate_energy": True},
        "n_training_events": {},
    }
    plan = NightPlan(START.date(), (DATA,))
    config = standard_config(shipped, plan)
    counts = count_kinds(DATA, plan.mix)
    calculator = config["LSTCalibrationCalculator"]
    assert calculator["PedestalIntegrator"]["sample_size"] > counts["pedestal"]
    assert calculator["FlasherFlatFieldCalculator"]["sample_size"] > counts["flatfield"]
    assert config["random_forest_zd_interpolation"] == {"interpolate_energy": False}
