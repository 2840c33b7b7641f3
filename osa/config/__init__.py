"""The configuration file, read into typed, validated settings.

All faults of a file are reported together, each with file, line, section and key, and before
anything is done. Nothing is read when this package is imported.
"""

from osa.config.load import find_configuration, load_settings, telescope_names
from osa.config.settings import (
    ArrivalSettings,
    CleaningSettings,
    CronSettings,
    JobSettings,
    LocalSettings,
    LstchainSettings,
    ProductionSettings,
    ProvenanceSettings,
    Settings,
    TelescopeSettings,
)

__all__ = [
    "ArrivalSettings",
    "CleaningSettings",
    "CronSettings",
    "JobSettings",
    "LocalSettings",
    "LstchainSettings",
    "ProductionSettings",
    "ProvenanceSettings",
    "Settings",
    "TelescopeSettings",
    "find_configuration",
    "load_settings",
    "telescope_names",
]
