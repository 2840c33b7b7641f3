"""lstchain's own configuration files, changed where a small night needs it."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from osa.simulation.events import count_kinds
from osa.simulation.files import atomic_path
from osa.simulation.plan import NightPlan, RunKind, RunPlan

__all__ = [
    "calibration_config",
    "capacitors_per_bin",
    "config_texts",
    "onsite_config_name",
    "standard_config",
    "standard_config_name",
    "time_calibration_binning",
    "write_configs",
]

onsite_config_name = "onsite_camera_calibration_param.json"
standard_config_name = "lstchain_standard_config.json"

_RING = 1024
_SKIPPED = 1000  # events that lstchain skips at the start of a calibration run
_FORESTS = (
    "random_forest_energy_regressor_args",
    "random_forest_disp_regressor_args",
    "random_forest_disp_classifier_args",
    "random_forest_particle_classifier_args",
)


def capacitors_per_bin(flashes: int) -> int:
    """Choose the bins of the time calibration, all of which have to be filled.

    First capacitors are spread evenly (see :mod:`osa.simulation.camera`): of ``flashes`` points on
    a ring of 1024, no two neighbours are farther apart than 2.2 times the mean distance.
    """
    for n_combine in (8, 16, 32, 64, 128):
        if n_combine > 2.2 * _RING / max(flashes, 1):
            return n_combine
    raise ValueError(f"{flashes} flat-field events are too few for a time calibration")


def time_calibration_binning(flashes: int) -> tuple[int, int]:
    """Choose bins and harmonics of the time calibration.

    Returns
    -------
    n_combine, n_harmonics : int
        Capacitors in a bin, and harmonics that so many bins bear.
    """
    n_combine = capacitors_per_bin(flashes)
    return n_combine, min(16, _RING // n_combine // 8)


def calibration_config(shipped: dict[str, Any], run: RunPlan) -> dict[str, Any]:
    """Fit lstchain's configuration of the camera calibration to a calibration run.

    Parameters
    ----------
    shipped : dict
        Content of lstchain's ``onsite_camera_calibration_param.json``; not changed.
    run : RunPlan
        The calibration run.
    """
    config: dict[str, Any] = json.loads(json.dumps(shipped))
    total = run.subruns * run.events
    skipped = min(_SKIPPED, total // 12)
    half = (total - skipped) // 2
    # A few less than there are, as the calibration ends when both samples are full.
    sample = half - max(2, half // 20)
    config["CalibrationHDF5Writer"]["events_to_skip"] = skipped
    config["PedestalIntegrator"]["sample_size"] = sample
    config["FlasherFlatFieldCalculator"]["sample_size"] = sample
    return config


def standard_config(shipped: dict[str, Any], plan: NightPlan) -> dict[str, Any]:
    """Fit lstchain's configuration of the analysis to a night.

    The samples of interleaved events hold those of one sub-run, so that they are evaluated once,
    at its end; the forests are small and use one core.

    Parameters
    ----------
    shipped : dict
        Content of lstchain's ``lstchain_standard_config.json``; not changed.
    plan : NightPlan
        The night.
    """
    config: dict[str, Any] = json.loads(json.dumps(shipped))
    counts = [count_kinds(run, plan.mix) for run in plan.of_kind(RunKind.DATA)]
    calculator = config["LSTCalibrationCalculator"]
    for name, kind in (
        ("PedestalIntegrator", "pedestal"),
        ("FlasherFlatFieldCalculator", "flatfield"),
    ):
        largest = max((count[kind] for count in counts), default=100)
        calculator[name]["sample_size"] = largest + 1
    for forest in _FORESTS:
        config[forest] |= {"n_estimators": plan.trees, "n_jobs": 1, "max_depth": 20}
    # Models at the pointings of the night themselves: nothing to interpolate between.
    for key in config["random_forest_zd_interpolation"]:
        config["random_forest_zd_interpolation"][key] = False
    config["n_training_events"] |= {"gamma_tmp_regressors": 0.6, "gamma_classifier": 0.4}
    return config


def config_texts(plan: NightPlan) -> dict[str, str]:
    """Make the content of each file that a night needs, by name of the file.

    The calibration's configuration is left out where the night has no calibration run.
    """
    contents = {standard_config_name: standard_config(_shipped(standard_config_name), plan)}
    calibration = plan.of_kind(RunKind.CALIBRATION)
    if calibration:
        smallest = min(calibration, key=lambda run: run.subruns * run.events)
        contents[onsite_config_name] = calibration_config(_shipped(onsite_config_name), smallest)
    return {name: json.dumps(content, indent=2) + "\n" for name, content in contents.items()}


def write_configs(plan: NightPlan, directory: Path, *, overwrite: bool = False) -> list[Path]:
    """Write the files that a night needs; files of another night that say the same are kept.

    Raises
    ------
    FileExistsError
        If there is a file that says something else, made for a night of another size.
    """
    texts = config_texts(plan)
    paths = [directory / name for name in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        if path.exists() and not overwrite and path.read_text(encoding="utf-8") != text:
            raise FileExistsError(
                f"{path} was made for a night of another size; choose another directory, or ask to overwrite"
            )
    for path, text in zip(paths, texts.values(), strict=True):
        with atomic_path(path) as part:
            part.write_text(text, encoding="utf-8")
    return paths


def _shipped(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((files("lstchain") / "data" / name).read_text())
    return content
