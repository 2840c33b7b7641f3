"""Toy air showers and muon rings: expected light in each pixel, and when it arrives.

Nothing here is a shower simulation. Images obey a few rules that a reconstruction can learn:
light grows with energy and falls outside the Cherenkov pool, the image of a gamma lies on the
line through its direction, its distance and length grow with the impact distance, and light
arrives the later the farther it is from the direction. Protons are the same with a random
direction, and are wide and broken up.

Positions are metres in the plane of the camera, angles inside the model are degrees,
``metres_per_degree`` joins them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = [
    "METRES_PER_DEGREE",
    "Image",
    "PixelGrid",
    "Shower",
    "draw_gamma",
    "draw_muon",
    "draw_proton",
    "shower_image",
]

FloatArray = npt.NDArray[np.float64]
Generator = np.random.Generator

# One degree in the camera, metres, with lstchain's effective focal length of 29.30565 m.
METRES_PER_DEGREE = 29.30565 * np.tan(np.deg2rad(1.0))
_POOL_RADIUS = 120.0  # metres, edge of the Cherenkov light pool at 2200 m a.s.l.
_PE_PER_TEV = 5000.0  # photo-electrons inside the pool, vertical gamma of 1 TeV
_SKEW = 3.0
_FEWEST_PE = 150.0
_FIELD = 2.0 * METRES_PER_DEGREE


@dataclass(frozen=True)
class PixelGrid:
    """Pixels of the camera.

    Parameters
    ----------
    x, y : ndarray, shape (n_pixels,)
        Centres, metres.
    area : float
        Area of one pixel, square metres.
    """

    x: FloatArray
    y: FloatArray
    area: float


@dataclass(frozen=True)
class Image:
    """Expected light of one event.

    Parameters
    ----------
    charge : ndarray, shape (n_pixels,)
        Expected photo-electrons.
    time : ndarray, shape (n_pixels,)
        Arrival relative to the trigger, ns.
    jitter : float
        Spread of the arrival times, ns.
    """

    charge: FloatArray
    time: FloatArray
    jitter: float


@dataclass(frozen=True)
class Shower:
    """An air shower as the camera sees it.

    Parameters
    ----------
    energy : float
        TeV.
    impact : float
        Distance of the core, metres.
    source_x, source_y : float
        Direction in the camera, metres.
    angle : float
        Direction from there to the image, radians.
    size : float
        Expected photo-electrons.
    disp, length, width : float
        Distance of the image from the direction, and its spreads, degrees.
    clumps : int
        Parts that the image is broken into; 1 for a smooth image.
    """

    energy: float
    impact: float
    source_x: float
    source_y: float
    angle: float
    size: float
    disp: float
    length: float
    width: float
    clumps: int = 1

    @property
    def time_gradient(self) -> float:
        """Delay of the light per degree away from the direction, ns / deg; always positive."""
        return 3.0 + 5.0 * self.disp


def power_law(rng: Generator, index: float, low: float, high: float) -> float:
    """Draw from dN/dE ~ E**-index between two energies, by inversion; index is not 1."""
    k = 1.0 - index
    u = rng.random()
    return float((low**k + u * (high**k - low**k)) ** (1.0 / k))


def light_yield(energy: float, impact: float) -> float:
    """Tell the photo-electrons of a gamma: linear in energy, exponential outside the pool."""
    outside = max(0.0, impact - _POOL_RADIUS)
    return float(_PE_PER_TEV * energy**1.05 * np.exp(-outside / 60.0))


def image_distance(energy: float, impact: float) -> float:
    """Tell the angle between direction and image, degrees.

    The angle under which the shower maximum is seen from the impact distance; the maximum is
    9.5 km above the telescope at 1 TeV, and deeper by a radiation length (about 0.8 km there)
    for each factor e in energy.
    """
    height = 9500.0 - 800.0 * np.log(energy)
    return float(np.rad2deg(np.arctan2(impact, height)))


def draw_gamma(rng: Generator, source_x: float, source_y: float) -> Shower:
    """Draw a gamma from a direction in the camera, in metres, with E**-1.9 from 0.1 to 20 TeV."""
    while True:
        energy = power_law(rng, 1.9, 0.1, 20.0)
        impact = 200.0 * float(np.sqrt(rng.random()))
        size = light_yield(energy, impact) * rng.lognormal(0.0, 0.12)
        if size > _FEWEST_PE:
            break
    disp = image_distance(energy, impact) * rng.lognormal(0.0, 0.03)
    spread = rng.lognormal(0.0, 0.05, 2)
    return Shower(
        energy=energy,
        impact=impact,
        source_x=source_x,
        source_y=source_y,
        angle=rng.uniform(0.0, 2.0 * np.pi),
        size=size,
        disp=disp,
        length=(0.12 + 0.17 * disp) * spread[0],
        width=(0.045 + 0.012 * np.log10(size)) * spread[1],
    )


def draw_proton(rng: Generator) -> Shower:
    """Draw a proton from anywhere in the field of view, with E**-2 from 0.3 to 50 TeV."""
    while True:
        energy = power_law(rng, 2.0, 0.3, 50.0)
        impact = 250.0 * float(np.sqrt(rng.random()))
        size = 0.35 * light_yield(energy, impact) * rng.lognormal(0.0, 0.4)
        if size > _FEWEST_PE:
            break
    radius, azimuth = _FIELD * np.sqrt(rng.random()), rng.uniform(0.0, 2.0 * np.pi)
    disp = image_distance(energy, impact) * rng.lognormal(0.0, 0.3)
    return Shower(
        energy=energy,
        impact=impact,
        source_x=float(radius * np.cos(azimuth)),
        source_y=float(radius * np.sin(azimuth)),
        angle=rng.uniform(0.0, 2.0 * np.pi),
        size=size,
        disp=disp,
        length=(0.20 + 0.12 * disp) * rng.lognormal(0.0, 0.25),
        width=(0.10 + 0.02 * np.log10(size)) * rng.lognormal(0.0, 0.25),
        clumps=int(rng.integers(2, 6)),
    )


def shower_image(rng: Generator, shower: Shower, pixels: PixelGrid) -> Image:
    """Spread the light of a shower over the pixels.

    The profile along the axis is a skew-normal distribution (tail away from the direction), the
    one across it a Gaussian, both standardised to the length and width of the shower.
    """
    cos, sin = np.cos(shower.angle), np.sin(shower.angle)
    dx = (pixels.x - shower.source_x) / METRES_PER_DEGREE
    dy = (pixels.y - shower.source_y) / METRES_PER_DEGREE
    along, across = dx * cos + dy * sin - shower.disp, dy * cos - dx * sin
    if shower.clumps == 1:
        density = _skewed(along, shower.length) * _gaussian(across, shower.width)
    else:
        density = _clumpy(rng, shower, along, across)
    charge = shower.size * density * pixels.area / METRES_PER_DEGREE**2
    return Image(
        charge=charge,
        time=shower.time_gradient * along,
        jitter=0.4 if shower.clumps == 1 else 1.2,
    )


def _clumpy(rng: Generator, shower: Shower, along: FloatArray, across: FloatArray) -> FloatArray:
    """Sum smaller Gaussians at random places of the image; the weights sum to one."""
    weights = rng.dirichlet(np.full(shower.clumps, 1.5))
    density = np.zeros_like(along)
    for weight in weights:
        shift_along = rng.normal(0.0, 0.8 * shower.length)
        shift_across = rng.normal(0.0, 1.2 * shower.width)
        density += weight * (
            _skewed(along - shift_along, 0.7 * shower.length)
            * _gaussian(across - shift_across, 0.8 * shower.width)
        )
    return density


def draw_muon(rng: Generator, pixels: PixelGrid) -> Image:
    """Draw a muon ring that lstchain's ring fit can accept.

    The light at an azimuth is proportional to the chord of the mirror there (Vacanti et al.,
    Astropart. Phys. 2 (1994) 1, eq. 2), and to the sine squared of the Cherenkov angle.
    """
    radius = rng.uniform(1.0, 1.2)
    x, y = rng.uniform(-0.45, 0.45, 2)
    rho, phi0 = rng.uniform(0.25, 0.8), rng.uniform(0.0, 2.0 * np.pi)
    dx, dy = pixels.x / METRES_PER_DEGREE - x, pixels.y / METRES_PER_DEGREE - y
    phi = np.arctan2(dy, dx) - phi0
    chord = np.sqrt(1.0 - (rho * np.sin(phi)) ** 2) + rho * np.cos(phi)
    light = chord * _gaussian(np.hypot(dx, dy) - radius, 0.045)
    # 2500 p.e. for a ring of 1.2 degrees, mean chord of an impact at half the mirror's radius.
    charge = 2500.0 * (radius / 1.2) ** 2 * light / light.sum()
    return Image(charge=charge, time=np.zeros_like(charge), jitter=0.3)


def _gaussian(value: FloatArray, spread: float) -> FloatArray:
    density: FloatArray = np.exp(-0.5 * (value / spread) ** 2) / (np.sqrt(2.0 * np.pi) * spread)
    return density


def _skewed(value: FloatArray, spread: float) -> FloatArray:
    """Skew-normal density with mean 0 and the given standard deviation (Azzalini 1985)."""
    delta = _SKEW / np.sqrt(1.0 + _SKEW**2)
    mean, sigma = delta * np.sqrt(2.0 / np.pi), np.sqrt(1.0 - 2.0 * delta**2 / np.pi)
    z = mean + value * sigma / spread
    # Normal distribution function by a logistic one, good to 0.01.
    cumulative = 1.0 / (1.0 + np.exp(np.clip(-1.702 * _SKEW * z, -60.0, 60.0)))
    density: FloatArray = 2.0 * _gaussian(z, 1.0) * cumulative * sigma / spread
    return density
