"""Random forests trained on showers of the same model as the night's.

The training tables hold what lstchain computes from an image: the images are cleaned and
parametrised by lstchain's own functions, only the waveforms are left out.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy import units as u
from astropy.table import Table as AstropyTable
from ctapipe.image import HillasParameterizationError, apply_time_delta_cleaning, tailcuts_clean
from ctapipe_io_lst import OPTICS, LSTEventSource
from lstchain.image.cleaning import apply_dynamic_cleaning
from lstchain.io.io import write_dataframe
from lstchain.io.lstcontainers import DL1ParametersContainer
from lstchain.reco.disp import disp
from lstchain.reco.dl1_to_dl2 import build_models
from lstchain.reco.r0_to_dl1 import parametrize_image
from lstchain.reco.utils import camera_to_altaz

from osa.simulation.events import triggered_image
from osa.simulation.plan import NightPlan, RunKind
from osa.simulation.showers import METRES_PER_DEGREE, Image, PixelGrid, Shower
from osa.simulation.targets import horizontal_track, wobble_pointing

__all__ = ["MODELS", "Node", "make_models", "training_nodes", "training_table"]

# ctapipe and pandas have no types here.
Table = Any
Telescope = Any
Geometry = Any

_TABLE = "dl1/event/telescope/parameters/LST_LSTCam"
_PARTICLES = {"gamma": 0, "proton": 101}
_MOST_NODES = 4
_NOISE_PE = 1.2  # spread of a dark pixel's charge after lstchain's extraction
_EXCESS = 0.222
_COLUMNS = (
    "intensity",
    "log_intensity",
    "x",
    "y",
    "r",
    "phi",
    "psi",
    "length",
    "width",
    "wl",
    "skewness",
    "kurtosis",
    "time_gradient",
    "intercept",
    "leakage_intensity_width_1",
    "leakage_intensity_width_2",
    "n_pixels",
    "n_islands",
)
# In this order they become final: the last one tells that all are there.
MODELS = ("reg_energy.sav", "reg_disp_norm.sav", "cls_disp_sign.sav", "cls_gh.sav")


@dataclass(frozen=True)
class Node:
    """A pointing at which showers are drawn: altitude and azimuth, radians."""

    altitude: float
    azimuth: float


def training_nodes(plan: NightPlan) -> list[Node]:
    """Choose the pointings in the middle of up to four DATA runs."""
    runs = plan.of_kind(RunKind.DATA)
    chosen = np.unique(np.linspace(0, len(runs) - 1, min(len(runs), _MOST_NODES)).round())
    nodes = []
    for k in chosen.astype(int):
        run = runs[k]
        if run.pointing is None:  # a DATA run has one
            continue
        middle = run.start + run.duration / 2
        altitude, azimuth = horizontal_track(*wobble_pointing(run.pointing), [middle])
        nodes.append(Node(float(np.deg2rad(altitude[0])), float(np.deg2rad(azimuth[0]))))
    return nodes


def training_table(
    kind: str,
    nodes: list[Node],
    n_events: int,
    rng: np.random.Generator,
    config: dict[str, Any],
) -> Table:
    """Draw showers and parametrise their images as lstchain does.

    Parameters
    ----------
    kind : str
        ``gamma`` or ``proton``.
    nodes : list of Node
        Pointings.
    n_events : int
        Showers to draw.
    rng : numpy.random.Generator
        Source of randomness.
    config : dict
        lstchain's configuration, for the cleaning.

    Returns
    -------
    table : pandas.DataFrame
        One row a shower that survives the cleaning; lengths in degrees, positions in metres.
    """
    telescope = LSTEventSource.create_subarray(tel_id=1).tel[1]
    geometry = telescope.camera.geometry
    grid = PixelGrid(
        geometry.pix_x.to_value("m"),
        geometry.pix_y.to_value("m"),
        float(np.median(geometry.pix_area.to_value("m2"))),
    )
    rows = []
    for k in range(n_events):
        offset = METRES_PER_DEGREE * rng.uniform(0.2, 0.6)
        angle = rng.uniform(0.0, 2.0 * np.pi)
        place = (offset * float(np.cos(angle)), offset * float(np.sin(angle)))
        shower, image = triggered_image(rng, kind, grid, *place)
        parameters = _parametrize(rng, image, telescope, config)
        if parameters is not None:
            rows.append(parameters | _truth(shower, nodes[k % len(nodes)], k))
    table = AstropyTable(rows=rows).to_pandas()
    table["mc_type"] = _PARTICLES[kind]
    return _with_sky_position(table)


def _parametrize(
    rng: np.random.Generator,
    image: Image,
    telescope: Telescope,
    config: dict[str, Any],
) -> dict[str, float] | None:
    """Clean and parametrise one image; None where nothing is left."""
    n_pe = rng.poisson(image.charge)
    charge = np.where(n_pe > 0, rng.gamma(np.maximum(n_pe, 1) / _EXCESS, _EXCESS), 0.0)
    charge += rng.normal(0.0, _NOISE_PE, charge.size)
    jitter = np.hypot(image.jitter / np.sqrt(np.clip(n_pe, 1, 10)), 1.5 / np.maximum(charge, 1.0))
    time = image.time + rng.normal(0.0, jitter) + 16.0
    signal = _clean(telescope.camera.geometry, charge, time, config)
    if np.count_nonzero(signal) < 3:
        return None
    container = DL1ParametersContainer()
    try:
        parametrize_image(
            charge,
            time,
            signal,
            telescope.camera.geometry,
            telescope.optics.equivalent_focal_length,
            container,
        )
    except HillasParameterizationError:
        return None
    container.n_pixels = np.count_nonzero(signal)
    return {name: float(getattr(container[name], "value", container[name])) for name in _COLUMNS}


def _clean(
    geometry: Geometry,
    charge: npt.NDArray[np.float64],
    time: npt.NDArray[np.float64],
    config: dict[str, Any],
) -> npt.NDArray[np.bool_]:
    """Clean an image in the steps of ``lstchain.reco.r0_to_dl1.get_dl1``."""
    cuts = dict(config["tailcut"])
    delta_time = cuts.pop("delta_time", None)
    cuts.pop("use_only_main_island", None)
    signal: npt.NDArray[np.bool_] = tailcuts_clean(geometry, charge, **cuts)
    if delta_time is not None and signal.any():
        signal = apply_time_delta_cleaning(
            geometry, signal, time, min_number_neighbors=1, time_limit=delta_time
        )
    dynamic = config["dynamic_cleaning"]
    if dynamic["apply"] and signal.any():
        signal = apply_dynamic_cleaning(
            charge, signal, dynamic["threshold"], dynamic["fraction_cleaning_intensity"]
        )
    return signal


def _truth(shower: Shower, node: Node, event_id: int) -> dict[str, float]:
    return {
        "obs_id": 1,
        "event_id": event_id,
        "tel_id": 1,
        "event_type": 32,
        "mc_energy": shower.energy,
        "log_mc_energy": float(np.log10(shower.energy)),
        "src_x": shower.source_x,
        "src_y": shower.source_y,
        "mc_alt_tel": node.altitude,
        "mc_az_tel": node.azimuth,
        "alt_tel": node.altitude,
        "az_tel": node.azimuth,
        "sin_az_tel": float(np.sin(node.azimuth)),
    }


def _with_sky_position(table: Table) -> Table:
    """Add the directions in the sky, and the disp parameters that lstchain derives from them."""
    direction = camera_to_altaz(
        table["src_x"].to_numpy() * u.m,
        table["src_y"].to_numpy() * u.m,
        OPTICS.effective_focal_length,
        table["mc_alt_tel"].to_numpy() * u.rad,
        table["mc_az_tel"].to_numpy() * u.rad,
    )
    table["mc_alt"], table["mc_az"] = direction.alt.rad, direction.az.rad
    columns = (table[name].to_numpy() for name in ("x", "y", "src_x", "src_y", "psi"))
    names = ("disp_dx", "disp_dy", "disp_norm", "disp_angle", "disp_sign")
    for name, values in zip(names, disp(*columns), strict=True):
        table[name] = values
    return table


def make_models(
    plan: NightPlan,
    config: dict[str, Any],
    directory: Path,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[Path]:
    """Draw training showers for a night and train lstchain's four forests on them.

    Parameters
    ----------
    plan : NightPlan
        The night.
    config : dict
        lstchain's configuration of the analysis; not changed.
    directory : pathlib.Path
        Where the models go; each appears only when complete.
    progress : callable
        Told how many showers are done, and of how many.

    Returns
    -------
    paths : list of pathlib.Path
        The models.
    """
    nodes = training_nodes(plan)
    if not nodes:
        raise ValueError("forests need a DATA run, for its pointing")
    directory.mkdir(parents=True, exist_ok=True)
    total = 2 * plan.training_events
    with tempfile.TemporaryDirectory(prefix=".models.", dir=directory.parent) as name:
        work = Path(name)
        tables = {}
        for n, kind in enumerate(_PARTICLES):
            rng = np.random.default_rng([plan.seed, 100 + n])
            progress(n * plan.training_events, total)
            table = training_table(kind, nodes, plan.training_events, rng, config)
            tables[kind] = _write_table(table, work / f"dl1_{kind}.h5")
        _train(plan.seed, tables, config, work)
        progress(total, total)
        return [(work / model).replace(directory / model) for model in MODELS]


def _write_table(table: Table, path: Path) -> Path:

    LSTEventSource.create_subarray(tel_id=1).to_hdf(path)
    write_dataframe(table, str(path), _TABLE)
    return path


def _train(seed: int, tables: dict[str, Path], config: dict[str, Any], work: Path) -> None:
    """Train as ``lstchain_mc_trainpipe`` does."""
    # lstchain splits its samples with numpy's global generator.
    np.random.seed(seed % 2**32)
    build_models(str(tables["gamma"]), str(tables["proton"]), path_models=str(work), custom_config=config)
