"""Raw waveforms hold the light that was put in, with the readout's constants."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from osa.simulation.camera import (
    N_MODULES,
    N_PIXELS,
    N_SAMPLES,
    Camera,
    first_capacitors,
)
from osa.simulation.showers import Image, PixelGrid

STEP = 1.0 / 40
TIME = np.arange(0, 40, STEP)
PULSE = np.exp(-0.5 * ((TIME - 9.0) / 1.3) ** 2)


@pytest.fixture(scope="module")
def camera() -> Camera:
    rng = np.random.default_rng(0)
    nowhere = np.zeros(N_PIXELS)
    return Camera(
        grid=PixelGrid(nowhere, nowhere, 0.002),
        pixel_ids=rng.permutation(N_PIXELS),
        pulse=np.array([PULSE, PULSE]),
        pulse_step=STEP,
        sample_width=1.0,
        seed=3,
    )


def _waveform(camera: Camera, image: Image | None, *, sky: bool = False) -> npt.NDArray[np.uint16]:
    capacitors = first_capacitors(7, flash=False, seed=3)
    return camera.waveform(np.random.default_rng(5), capacitors, image, sky=sky)


def test_noise_sits_on_the_baseline(camera: Camera) -> None:
    waveform = _waveform(camera, None)
    assert waveform.shape == (2, N_PIXELS, N_SAMPLES)
    assert waveform.dtype == np.uint16
    assert waveform.mean() == pytest.approx(400.0, abs=1.0)


def test_baseline_follows_the_capacitors(camera: Camera) -> None:
    capacitors = first_capacitors(7, flash=False, seed=3)
    place = 100  # in the raw data: module 14, third pixel, chip 1 (high gain)
    pixel = int(camera.pixel_ids[place])
    cells = (int(capacitors[8 * (place // 7) + 1]) + np.arange(N_SAMPLES)) % 4096
    residual = _waveform(camera, None)[0, pixel] - camera.baseline[0, pixel, cells]
    assert np.std(residual) < 7.0


def test_a_flash_is_the_same_everywhere_and_17_times_smaller_in_low_gain(camera: Camera) -> None:
    flash = camera.flash(np.random.default_rng(1))
    signal = _waveform(camera, flash).astype(float) - _waveform(camera, None)
    high, low = signal.sum(axis=2)
    assert np.median(high) / np.median(low) == pytest.approx(17.0, rel=0.1)
    assert np.std(high) < 0.3 * np.mean(high)
    assert 3000.0 < np.median(high) < 12000.0  # lstchain's window for flat-field events


def test_pulses_peak_when_the_light_arrives(camera: Camera) -> None:
    charge = np.full(N_PIXELS, 80.0)
    early, late = (_waveform(camera, Image(charge, np.full(N_PIXELS, t), 0.0)) for t in (-4.0, 4.0))
    shift = np.median(late[0].argmax(axis=1) - early[0].argmax(axis=1).astype(float))
    assert shift == pytest.approx(8.0, abs=1.0)


def test_night_sky_adds_noise_and_no_offset(camera: Camera) -> None:
    dark, sky = _waveform(camera, None), _waveform(camera, None, sky=True)
    assert sky[0].std() > 1.3 * dark[0].std() or sky[0].std() - dark[0].std() > 2.0
    assert sky.mean() == pytest.approx(dark.mean(), abs=2.0)


def test_same_seed_same_waveform(camera: Camera) -> None:
    assert np.array_equal(_waveform(camera, None, sky=True), _waveform(camera, None, sky=True))


def test_first_capacitors_depend_on_seed_and_number() -> None:
    one = first_capacitors(0, flash=False, seed=1)
    assert one.shape == (8 * N_MODULES,)
    assert one.max() < 4096
    assert not np.array_equal(one, first_capacitors(1, flash=False, seed=1))
    assert not np.array_equal(one, first_capacitors(0, flash=False, seed=2))
