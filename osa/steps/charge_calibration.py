"""Charge calibration: gains and pedestals of every pixel, from the night's calibration run."""

from __future__ import annotations

from pathlib import Path

from osa.layout import Layout
from osa.steps.checks import check_charge_calibration
from osa.steps.step import Product, Step
from osa.system.workers import EntryPoint

__all__ = ["charge_calibration"]

PROGRAM = "lstchain_create_calibration_file"


def charge_calibration(layout: Layout, *, drs4_run: int, calibration_run: int) -> Step:
    """Describe the step; lstchain reads all sub-runs of the run, as its configuration says."""
    how = layout.settings.lstchain
    raw = layout.raw_file(calibration_run, 0)
    final = layout.charge_calibration(calibration_run)
    card = how.charge_calibration_config or _shipped_configuration()
    arguments = [
        f"--input_file={raw}",
        f"--output_file={final.name}",
        f"--pedestal_file={layout.drs4_pedestal(drs4_run)}",
        f"--time_calibration_file={layout.time_calibration(calibration_run)}",
        f"--run_summary_file={layout.run_summary}",
        f"--config={card}",
        "--LSTEventSource.default_trigger_type=tib",
        f"--LSTEventSource.use_flatfield_heuristic={how.flatfield_heuristic}",
    ]
    if how.charge_calibration_systematics is not None:
        arguments.append(f"--systematics_file={how.charge_calibration_systematics}")
    return Step(
        name="charge_calibration",
        program=PROGRAM,
        entry=EntryPoint("lstchain.tools.lstchain_create_calibration_file", "main"),
        arguments=tuple(arguments),
        products=(Product(Path(final.name), final, check_charge_calibration),),
        prod_id=layout.settings.production.calibration_prod_id,
        input=raw.name,
        card=card.name,
    )


def _shipped_configuration() -> Path:
    """Find lstchain's configuration for on-site work without importing lstchain."""
    from importlib.util import find_spec

    spec = find_spec("lstchain")
    assert spec is not None and spec.origin is not None  # a dependency of the package
    return Path(spec.origin).parent / "data" / "onsite_camera_calibration_param.json"
