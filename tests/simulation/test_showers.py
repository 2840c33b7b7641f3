"""What a reconstruction has to find in the toy showers is there."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from osa.simulation.showers import (
    METRES_PER_DEGREE,
    PixelGrid,
    Shower,
    draw_gamma,
    draw_muon,
    draw_proton,
    image_distance,
    light_yield,
    power_law,
    shower_image,
)

FloatArray = npt.NDArray[np.float64]
STEP = 0.05
X, Y = (axis.ravel() for axis in np.meshgrid(*2 * [np.arange(-1.2, 1.2, STEP)]))
GRID = PixelGrid(X, Y, area=STEP**2)
GAMMA = Shower(1.0, 100.0, 0.1, -0.05, 0.7, 4000.0, 0.6, 0.25, 0.09)


def _moments(weights: FloatArray, values: FloatArray) -> tuple[float, float, float]:
    mean = np.average(values, weights=weights)
    spread = np.sqrt(np.average((values - mean) ** 2, weights=weights))
    skewness = np.average((values - mean) ** 3, weights=weights) / spread**3
    return float(mean), float(spread), float(skewness)


def _axes(shower: Shower) -> tuple[FloatArray, FloatArray]:
    dx, dy = (GRID.x - shower.source_x), (GRID.y - shower.source_y)
    cos, sin = np.cos(shower.angle), np.sin(shower.angle)
    along, across = dx * cos + dy * sin, dy * cos - dx * sin
    return along / METRES_PER_DEGREE, across / METRES_PER_DEGREE


def test_image_lies_where_the_shower_says() -> None:
    image = shower_image(np.random.default_rng(1), GAMMA, GRID)
    along, across = _axes(GAMMA)
    mean, length, skewness = _moments(image.charge, along)
    assert mean == pytest.approx(GAMMA.disp, abs=0.01)
    assert length == pytest.approx(GAMMA.length, rel=0.05)
    assert skewness > 0.4  # the tail points away from the source
    offset, width, _ = _moments(image.charge, across)
    assert offset == pytest.approx(0.0, abs=0.01)
    assert width == pytest.approx(GAMMA.width, rel=0.05)
    assert image.charge.sum() == pytest.approx(GAMMA.size, rel=0.02)


def test_light_arrives_later_away_from_the_source() -> None:
    image = shower_image(np.random.default_rng(1), GAMMA, GRID)
    slope = np.polyfit(_axes(GAMMA)[0], image.time, 1)[0]
    assert slope == pytest.approx(GAMMA.time_gradient)
    assert slope > 0.0


def test_gammas_are_narrower_than_protons() -> None:
    rng = np.random.default_rng(2)
    gammas = [draw_gamma(rng, 0.2, 0.0) for _ in range(200)]
    protons = [draw_proton(rng) for _ in range(200)]
    assert np.median([s.width for s in gammas]) < 0.7 * np.median([s.width for s in protons])
    assert all(s.clumps == 1 for s in gammas)
    assert all(s.clumps > 1 for s in protons)
    assert {(s.source_x, s.source_y) for s in gammas} == {(0.2, 0.0)}
    assert len({s.source_x for s in protons}) == len(protons)


def test_distance_and_length_grow_with_the_impact() -> None:
    assert image_distance(1.0, 50.0) < image_distance(1.0, 150.0) < image_distance(10.0, 150.0)
    rng = np.random.default_rng(3)
    gammas = [draw_gamma(rng, 0.0, 0.0) for _ in range(300)]
    assert np.corrcoef([s.disp for s in gammas], [s.length for s in gammas])[0, 1] > 0.9


def test_light_yield() -> None:
    assert light_yield(1.0, 10.0) == light_yield(1.0, 110.0)
    assert light_yield(1.0, 200.0) < 0.5 * light_yield(1.0, 110.0)
    assert light_yield(2.0, 50.0) > 2.0 * light_yield(1.0, 50.0)


def test_power_law_slope() -> None:
    rng = np.random.default_rng(4)
    energies = np.array([power_law(rng, 2.0, 1.0, 100.0) for _ in range(4000)])
    assert energies.min() >= 1.0
    assert energies.max() <= 100.0
    # Integral of E**-2 above E, normalised: (1/E - 0.01) / 0.99.
    assert np.mean(energies > 10.0) == pytest.approx(0.0909, abs=0.015)


def test_muon_ring() -> None:
    image = draw_muon(np.random.default_rng(5), GRID)
    x = np.average(GRID.x, weights=image.charge)
    assert abs(x) < METRES_PER_DEGREE
    assert 1500.0 < image.charge.sum() < 2600.0
    assert np.ptp(image.time) == 0.0
    centre = np.argmin(np.hypot(GRID.x - x, GRID.y - np.average(GRID.y, weights=image.charge)))
    assert image.charge[centre] < 1e-3 * image.charge.max()


def test_broken_images_keep_their_light() -> None:
    rng = np.random.default_rng(6)
    proton = Shower(2.0, 80.0, 0.0, 0.0, 1.0, 3000.0, 0.5, 0.2, 0.15, clumps=4)
    assert shower_image(rng, proton, GRID).charge.sum() == pytest.approx(3000.0, rel=0.03)
