"""The events of a sub-run: what triggered, when, and its waveforms."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from osa.simulation.camera import Camera, first_capacitors
from osa.simulation.plan import EventMix, NightPlan, RunKind, RunPlan
from osa.simulation.showers import (
    Image,
    PixelGrid,
    Shower,
    draw_gamma,
    draw_muon,
    draw_proton,
    shower_image,
)
from osa.simulation.targets import source_in_camera

__all__ = [
    "RawEvent",
    "Trigger",
    "count_kinds",
    "event_kinds",
    "event_times",
    "simulate_subrun",
    "tai_ns",
    "triggered_image",
]

_TAI_MINUS_UTC = 37  # seconds, since 2017-01-01
_TICK_NS = 100  # the Dragon modules count at 10 MHz
_PE_IN_CAMERA = 100.0
# Calibration runs interleave as many pedestals as flashes.
_CALIBRATION_KINDS = ("flatfield", "pedestal")


class Trigger(IntEnum):
    """Trigger bits of the TIB and of UCTS."""

    PHYSICS = 1
    FLATFIELD = 5  # flat-field flashes fire the physics trigger as well
    PEDESTAL = 32


@dataclass(frozen=True)
class RawEvent:
    """One event before it is put into a format.

    Parameters
    ----------
    event_id : int
        From 1 in the run.
    trigger : Trigger
        What triggered.
    tai_ns : int
        Time, ns TAI since 1970.
    since_start_ns : int
        Time since the start of the run, ns.
    capacitors : ndarray of uint16, shape (2120,)
        First capacitor of each chip.
    waveform : ndarray of uint16, shape (2, 1855, 40)
        ADC counts in the order of the raw data.
    """

    event_id: int
    trigger: Trigger
    tai_ns: int
    since_start_ns: int
    capacitors: npt.NDArray[np.uint16]
    waveform: npt.NDArray[np.uint16]


def tai_ns(moment: datetime) -> int:
    """Write a time as ns TAI since 1970, as UCTS does (from 2017 on)."""
    return (round(moment.timestamp() * 1_000_000) + _TAI_MINUS_UTC * 1_000_000) * 1000


def event_times(run: RunPlan, subrun: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Draw the times of a sub-run's events since the start of the run.

    Returns
    -------
    since_start : ndarray of int64, shape (n_events,)
        Ascending, ns, whole ticks of the Dragon modules' counter; those of the next sub-run
        follow.
    """
    width = run.subrun_duration.total_seconds() * 1e9 / run.events
    ticks = (np.arange(run.events) + rng.uniform(0.1, 0.9, run.events)) * width / _TICK_NS
    offset = round(subrun * run.subrun_duration.total_seconds() * 1e9)
    # One second after the start of the run, so that no event is at the very start.
    return np.rint(ticks).astype(np.int64) * _TICK_NS + offset + 1_000_000_000


def event_kinds(run: RunPlan, mix: EventMix, rng: np.random.Generator) -> list[str]:
    """Draw what each event of a sub-run is: noise, flatfield, pedestal, muon, gamma or proton."""
    if run.kind is RunKind.DRS4:
        return ["noise"] * run.events
    if run.kind is RunKind.CALIBRATION:
        return [_CALIBRATION_KINDS[k % 2] for k in range(run.events)]
    kinds = [kind for kind, n in count_kinds(run, mix).items() for _ in range(n)]
    return [kinds[k] for k in rng.permutation(len(kinds))]


def count_kinds(run: RunPlan, mix: EventMix) -> dict[str, int]:
    """Share out the events of a sub-run of a DATA run.

    Returns
    -------
    counts : dict of str to int
        Events by kind.
    """
    counts = {
        # Rounded down, so that no sub-run has 10 % pedestals; two are needed by the data check.
        "pedestal": max(2, int(mix.pedestals * run.events)),
        "flatfield": max(3, int(mix.flatfields * run.events)),
        "muon": int(np.ceil(mix.muons * run.events)),
    }
    showers = run.events - sum(counts.values())
    counts["gamma"] = round(mix.gammas * showers)
    counts["proton"] = showers - counts["gamma"]
    return counts


def simulate_subrun(plan: NightPlan, run: RunPlan, subrun: int, camera: Camera) -> Iterator[RawEvent]:
    """Make the events of one sub-run; each sub-run depends on the plan's seed alone.

    Parameters
    ----------
    plan : NightPlan
        The night.
    run : RunPlan
        The run.
    subrun : int
        Index of the sub-run.
    camera : Camera
        The camera of the night.
    """
    rng = np.random.default_rng([plan.seed, run.run, subrun])
    since_start = event_times(run, subrun, rng)
    kinds = event_kinds(run, plan.mix, rng)
    start = tai_ns(run.start)
    track_x, track_y = _source_track(run, since_start)
    is_flash = np.array([kind == "flatfield" for kind in kinds])
    counts = np.where(is_flash, np.cumsum(is_flash), np.cumsum(~is_flash)) - 1
    before = {flash: subrun * int(np.sum(is_flash == flash)) for flash in (True, False)}
    for k, kind in enumerate(kinds):
        flash = bool(is_flash[k])
        capacitors = first_capacitors(before[flash] + int(counts[k]), flash=flash, seed=plan.seed)
        image = _light(rng, kind, camera, float(track_x[k]), float(track_y[k]))
        waveform = camera.waveform(rng, capacitors, image, sky=run.kind is not RunKind.DRS4)
        yield RawEvent(
            event_id=subrun * run.events + k + 1,
            trigger=_TRIGGERS.get(kind, Trigger.PHYSICS),
            tai_ns=start + int(since_start[k]),
            since_start_ns=int(since_start[k]),
            capacitors=capacitors,
            waveform=waveform[:, camera.pixel_ids],
        )


_TRIGGERS = {"flatfield": Trigger.FLATFIELD, "pedestal": Trigger.PEDESTAL}


def _source_track(
    run: RunPlan, since_start: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Place the source in the camera at each event, metres; zeros where there is no source."""
    if run.pointing is None:
        return np.zeros(since_start.size), np.zeros(since_start.size)
    seconds = run.start.timestamp() + since_start * 1e-9
    ends = [datetime.fromtimestamp(float(s), UTC) for s in (seconds[0], seconds[-1])]
    x, y = source_in_camera(run.pointing, ends)
    # A sub-run lasts seconds: the track of the source in the camera is straight.
    share = (seconds - seconds[0]) / (seconds[-1] - seconds[0])
    return x[0] + share * (x[1] - x[0]), y[0] + share * (y[1] - y[0])


def _light(
    rng: np.random.Generator, kind: str, camera: Camera, source_x: float, source_y: float
) -> Image | None:
    if kind == "flatfield":
        return camera.flash(rng)
    if kind == "muon":
        return draw_muon(rng, camera.grid)
    if kind in {"gamma", "proton"}:
        return triggered_image(rng, kind, camera.grid, source_x, source_y)[1]
    return None


def triggered_image(
    rng: np.random.Generator, kind: str, grid: PixelGrid, source_x: float, source_y: float
) -> tuple[Shower, Image]:
    """Draw showers until one has enough light in the camera to trigger.

    Returns
    -------
    shower : Shower
        The shower.
    image : Image
        Its image.
    """
    while True:
        shower = draw_gamma(rng, source_x, source_y) if kind == "gamma" else draw_proton(rng)
        image = shower_image(rng, shower, grid)
        if image.charge.sum() > _PE_IN_CAMERA:
            return shower, image
