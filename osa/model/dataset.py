"""Kinds of file that the analysis reads and makes."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["DatasetKind"]


class DatasetKind(StrEnum):
    """What a file holds, in the field's words; products of one level are of one kind."""

    R0 = "R0"
    DRIVE_LOG = "drive log"
    BENDING_MODEL = "bending model correction"
    RUN_SUMMARY = "run summary"
    RANDOM_FOREST = "random forest"
    SYSTEMATICS = "systematic corrections"
    DRS4_PEDESTAL = "DRS4 pedestal"
    TIME_CALIBRATION = "time calibration"
    CHARGE_CALIBRATION = "charge calibration"
    CALIBRATION_PLOTS = "calibration plots"
    DL1 = "DL1"
    MUONS = "muons"
    INTERLEAVED = "interleaved events"
    DATACHECK = "data check"
    DATACHECK_MERGED = "merged data check"
    DATACHECK_PLOTS = "data check plots"
    DL2 = "DL2"
    DL2_MERGED = "merged DL2"
    CONFIGURATION = "configuration"
    OTHER = "other"

    @property
    def is_raw(self) -> bool:
        """Whether such files are too large to be read once more for their hash, and never change."""
        return self is DatasetKind.R0

    @property
    def is_calibration(self) -> bool:
        """Whether it is one of the three files that calibrate a night."""
        return self in _CALIBRATION

    @property
    def is_shared(self) -> bool:
        """Whether all sub-runs of a night read the same files of this kind."""
        return self.is_calibration or self in _SHARED


_CALIBRATION = frozenset(
    {DatasetKind.DRS4_PEDESTAL, DatasetKind.TIME_CALIBRATION, DatasetKind.CHARGE_CALIBRATION}
)
_SHARED = frozenset(
    {
        DatasetKind.DRIVE_LOG,
        DatasetKind.BENDING_MODEL,
        DatasetKind.RUN_SUMMARY,
        DatasetKind.RANDOM_FOREST,
        DatasetKind.SYSTEMATICS,
        DatasetKind.CONFIGURATION,
    }
)
