"""Configuration files: which one a step is given, and what of it decides which files it reads."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = ["ONSITE_CALIBRATION", "STANDARD", "configured", "shipped_configuration"]

STANDARD = "lstchain_standard_config.json"
ONSITE_CALIBRATION = "onsite_camera_calibration_param.json"


def shipped_configuration(name: str = STANDARD) -> Path:
    """Find a configuration file that lstchain ships, without importing lstchain."""
    spec = find_spec("lstchain")
    assert spec is not None and spec.origin is not None  # a dependency of the package
    return Path(spec.origin).parent / "data" / name


def configured(path: Path, *keys: str) -> Any:
    """Look a value up in a configuration file; None where it does not say, or cannot be read.

    What is wrong with a file lstchain says itself when it is given it.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value
