"""From light in the pixels to raw waveforms, with the faults of the readout that lstchain corrects.

What is put in: a baseline for each of the 4096 capacitors of a pixel, a delay that depends on the
first capacitor, gains, the excess noise of the photomultipliers, night-sky light and electronic
noise. What is not: the DRS4's spikes and its dependence on the time since the last readout, which
is negligible at the event rates of these nights (above 100 ms lstchain corrects nothing).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from osa.simulation.showers import Image, PixelGrid

__all__ = [
    "N_CAPACITORS",
    "N_MODULES",
    "N_PIXELS",
    "N_SAMPLES",
    "Camera",
    "first_capacitors",
    "load_camera",
]

FloatArray = npt.NDArray[np.float64]

N_GAINS = 2
N_MODULES = 265
N_PIXELS = 1855
N_SAMPLES = 40
N_CHIPS = 8 * N_MODULES
N_CAPACITORS = 4096
_RING = 1024  # capacitors of one DRS4 channel; four channels in a row serve one pixel
_HIGH, _LOW = 0, 1

# ADC counts at the peak of one photo-electron; the ratio of the gains is 17.
_PEAK_ADC = (23.0, 23.0 / 17.0)
_NOISE_ADC = (4.0, 3.0)  # electronic noise of one sample
_BASELINE = (400.0, 400.0)
_BASELINE_SPREAD = 12.0
_EXCESS = 0.222  # squared relative spread of one photo-electron's charge: lstchain uses F² = 1.222
_NSB_PER_SAMPLE = 0.15  # photo-electrons of night-sky light in a sample
_FLASH_PE, _FLASH_TIME = 75.0, 18.0
_TRIGGER_TIME = 16.0  # ns from the first sample to the peak of prompt light
_SATURATION = 4095
_BANK = 4096

# Steps from one event's first capacitor to the next one's. With 2537, found by trying all, 500
# events read each of the 4096 capacitors of a pixel three times, and no two of 20 events in a row
# read the same. 1657 is near a golden-ratio step of the 1024 capacitors of a channel, which are
# what the time calibration bins, and such steps spread most evenly (three-gap theorem).
_PIXEL_STRIDE, _CHANNEL_STRIDE = 2537, 1657


@dataclass(frozen=True)
class Camera:
    """The camera of one night: its geometry and the constants of its readout.

    Parameters
    ----------
    grid : PixelGrid
        Pixels.
    pixel_ids : ndarray of int, shape (n_pixels,)
        Pixel at each place of the raw data, seven for each module.
    pulse : ndarray, shape (2, n_steps)
        Pulse of one photo-electron in high and low gain, peak 1.
    pulse_step, sample_width : float
        Time between the points of the pulse, and between two samples, ns.
    seed : int
        Seed of the constants.
    """

    grid: PixelGrid
    pixel_ids: npt.NDArray[np.int64]
    pulse: FloatArray
    pulse_step: float
    sample_width: float
    seed: int

    @cached_property
    def baseline(self) -> npt.NDArray[np.int16]:
        """Baseline of each capacitor, ADC, shape (2, n_pixels, 4096)."""
        rng = np.random.default_rng([self.seed, 1])
        shape = (N_GAINS, N_PIXELS, N_CAPACITORS)
        spread = rng.standard_normal(shape, dtype=np.float32) * np.float32(_BASELINE_SPREAD)
        level = np.asarray(_BASELINE, dtype=np.float32)[:, None, None]
        baseline: npt.NDArray[np.int16] = np.rint(spread + level).clip(200, 600).astype(np.int16)
        return baseline

    @cached_property
    def peak_adc(self) -> npt.NDArray[np.float32]:
        """ADC counts at the peak of one photo-electron, shape (2, n_pixels)."""
        rng = np.random.default_rng([self.seed, 2])
        spread = rng.normal(1.0, 0.03, (N_GAINS, N_PIXELS)).clip(0.85, 1.15)
        peak: npt.NDArray[np.float32] = (np.asarray(_PEAK_ADC)[:, None] * spread).astype(np.float32)
        return peak

    @cached_property
    def pixel_delay(self) -> FloatArray:
        """Transit-time difference of each pixel, ns, shape (n_pixels,)."""
        return np.random.default_rng([self.seed, 3]).normal(0.0, 0.5, N_PIXELS)

    @cached_property
    def capacitor_delay(self) -> npt.NDArray[np.float32]:
        """Delay by first capacitor, ns, shape (8 * n_modules, 1024): two harmonics a chip."""
        rng = np.random.default_rng([self.seed, 4])
        phase = 2.0 * np.pi * np.arange(_RING) / _RING
        delay = np.zeros((N_CHIPS, _RING), dtype=np.float32)
        for harmonic, amplitude in ((1, 1.0), (2, 0.3)):
            scale = amplitude * rng.uniform(0.7, 1.3, (N_CHIPS, 1))
            shift = 0.8 + rng.normal(0.0, 0.4, (N_CHIPS, 1))
            delay += (scale * np.sin(harmonic * phase + shift)).astype(np.float32)
        return delay

    @cached_property
    def _chips(self) -> npt.NDArray[np.int64]:
        """Chip of each gain and pixel, shape (2, n_pixels); Dragon v5 data format."""
        module = np.repeat(np.arange(N_MODULES), 7)
        chips = np.empty((N_GAINS, N_PIXELS), dtype=np.int64)
        for gain, order in ((_HIGH, (0, 0, 1, 1, 2, 2, 3)), (_LOW, (4, 4, 5, 5, 6, 6, 7))):
            chips[gain, self.pixel_ids] = 8 * module + np.tile(order, N_MODULES)
        return chips

    @cached_property
    def _padded_pulse(self) -> npt.NDArray[np.float32]:
        """The pulse with zeros on both sides, peak of the high gain at index 2 * n_steps."""
        n_steps = self.pulse.shape[1]
        padded = np.zeros((N_GAINS, 4 * n_steps), dtype=np.float32)
        start = 2 * n_steps - int(np.argmax(self.pulse[_HIGH]))
        padded[:, start : start + n_steps] = self.pulse
        return padded

    @cached_property
    def _sky_bank(self) -> npt.NDArray[np.float32]:
        """Traces of night-sky light, shape (2, n_traces, 40), in units of the peak of one p.e."""
        rng = np.random.default_rng([self.seed, 5])
        lead = 30
        n_pe = rng.poisson(_NSB_PER_SAMPLE, (_BANK, N_SAMPLES + lead))
        charge = np.where(n_pe > 0, rng.gamma(np.maximum(n_pe, 1) / _EXCESS, _EXCESS), 0.0)
        arrival = np.arange(-lead, N_SAMPLES, dtype=np.float64) * self.sample_width
        response = self._response(arrival)
        bank = np.einsum("ij,gjs->gis", charge * (n_pe > 0), response)
        traces: npt.NDArray[np.float32] = (bank - bank.mean()).astype(np.float32)
        return traces

    def _response(self, time: FloatArray) -> npt.NDArray[np.float32]:
        """Pulses that peak at the given times (ns), shape (2, n_times, 40)."""
        centre = 2 * self.pulse.shape[1]
        offset = np.arange(N_SAMPLES) * self.sample_width - time[:, None]
        index = np.rint(offset / self.pulse_step).astype(np.int64) + centre
        return self._padded_pulse[:, index.clip(0, self._padded_pulse.shape[1] - 1)]

    def waveform(
        self,
        rng: np.random.Generator,
        capacitors: npt.NDArray[np.uint16],
        image: Image | None,
        *,
        sky: bool = True,
    ) -> npt.NDArray[np.uint16]:
        """Make the raw waveforms of one event.

        Parameters
        ----------
        rng : numpy.random.Generator
            Source of the fluctuations.
        capacitors : ndarray of uint16, shape (8 * n_modules,)
            First capacitor of each chip.
        image : Image or None
            Expected light; None for an event without.
        sky : bool
            Whether there is night-sky light (not with the camera closed).

        Returns
        -------
        waveform : ndarray of uint16, shape (2, n_pixels, 40)
            ADC counts by gain, pixel identifier and sample.
        """
        first = capacitors[self._chips].astype(np.int64)
        shape = (N_GAINS, N_PIXELS, N_SAMPLES)
        trace = rng.standard_normal(shape, dtype=np.float32)
        trace *= np.asarray(_NOISE_ADC, dtype=np.float32)[:, None, None]
        if sky:
            rows = rng.integers(0, _BANK, N_PIXELS)
            trace += self.peak_adc[:, :, None] * self._sky_bank[:, rows]
        if image is not None:
            self._add_light(rng, trace, first, image)
        cells = (first[:, :, None] + np.arange(N_SAMPLES)) % N_CAPACITORS
        trace += np.take_along_axis(self.baseline, cells, axis=2)
        return np.rint(trace).clip(0, _SATURATION).astype(np.uint16)

    def _add_light(
        self,
        rng: np.random.Generator,
        trace: npt.NDArray[np.float32],
        first: npt.NDArray[np.int64],
        image: Image,
    ) -> None:
        """Add the pulses of an image to both gains."""
        n_pe = rng.poisson(image.charge)
        lit = np.flatnonzero(n_pe)
        charge = rng.gamma(n_pe[lit] / _EXCESS, _EXCESS).astype(np.float32)
        # The mean of n photo-electrons is known better than the time of one.
        spread = image.jitter / np.sqrt(np.minimum(n_pe[lit], 10))
        time = image.time[lit] + _TRIGGER_TIME + self.pixel_delay[lit] + rng.normal(0.0, spread)
        for gain in range(N_GAINS):
            delay = self.capacitor_delay[self._chips[gain, lit], first[gain, lit] % _RING]
            pulses = self._response(time + delay)[gain]
            trace[gain, lit] += (charge * self.peak_adc[gain, lit])[:, None] * pulses

    def flash(self, rng: np.random.Generator) -> Image:
        """Light of a flat-field flash: the same in all pixels, up to the flasher's jitter."""
        level = _FLASH_PE * rng.normal(1.0, 0.02)
        arrival = _FLASH_TIME - _TRIGGER_TIME + rng.normal(0.0, 0.3)
        return Image(np.full(N_PIXELS, level), np.full(N_PIXELS, arrival), 0.3)


def first_capacitors(number: int, *, flash: bool, seed: int) -> npt.NDArray[np.uint16]:
    """First capacitor of each chip in the n-th event of its kind.

    Parameters
    ----------
    number : int
        How many events of this kind came before in the run.
    flash : bool
        Whether this is a flat-field event, which has to fill the bins of the time calibration.
    seed : int
        Seed of the chips' phases.

    Returns
    -------
    capacitors : ndarray of uint16, shape (8 * n_modules,)
        Every chip runs through the same even sequence, each with its own phase.
    """
    phase = np.random.default_rng([seed, 6, int(flash)]).integers(0, N_CAPACITORS, N_CHIPS)
    stride = _CHANNEL_STRIDE if flash else _PIXEL_STRIDE
    return ((phase + number * stride) % N_CAPACITORS).astype(np.uint16)


def load_camera(seed: int) -> Camera:
    """Read geometry and pulse shapes that come with ctapipe_io_lst."""
    from ctapipe_io_lst import load_camera_geometry, read_pulse_shapes
    from ctapipe_io_lst.pixels import get_pixel_table

    geometry: Any = load_camera_geometry()
    table = get_pixel_table()
    pixel_ids = np.empty(N_PIXELS, dtype=np.int64)
    pixel_ids[np.asarray(table["hardware_pixel_id"])] = np.asarray(table["pix_id"])
    sample_width, step, shapes = read_pulse_shapes()
    return Camera(
        grid=PixelGrid(
            x=np.asarray(geometry.pix_x.to_value("m")),
            y=np.asarray(geometry.pix_y.to_value("m")),
            area=float(np.median(geometry.pix_area.to_value("m2"))),
        ),
        pixel_ids=pixel_ids,
        pulse=np.asarray(shapes, dtype=np.float64),
        pulse_step=float(step.to_value("ns")),
        sample_width=float(sample_width.to_value("ns")),
        seed=seed,
    )
