"""What the steps and the kinds of file are, in words and in the IVOA's terms."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from osa.model.dataset import DatasetKind
from osa.records.model import MOVE_STEP

__all__ = ["ActivityType", "StepDescription", "content_type", "describe_step", "slug"]

_LSTCHAIN_DOCS = "https://cta-observatory.github.io/cta-lstchain/"


class ActivityType(StrEnum):
    """Types of activity that the IVOA's model names (ActivityDescription.type)."""

    CALIBRATION = "Calibration"
    REDUCTION = "Reduction"
    RECONSTRUCTION = "Reconstruction"
    ANALYSIS = "Analysis"
    OTHER = "Other"


@dataclass(frozen=True)
class StepDescription:
    """What a step is.

    Parameters
    ----------
    title : str
        Its name for people.
    type : ActivityType
        What kind of work it is.
    text : str
        What it does.
    docurl : str
        Where that is documented.
    """

    title: str
    type: ActivityType
    text: str
    docurl: str = _LSTCHAIN_DOCS


_STEPS = {
    "drs4_pedestal": StepDescription(
        "DRS4 pedestal", ActivityType.CALIBRATION, "baseline of every capacitor of the readout"
    ),
    "time_calibration": StepDescription(
        "time calibration", ActivityType.CALIBRATION, "sampling times of the capacitors"
    ),
    "charge_calibration": StepDescription(
        "charge calibration", ActivityType.CALIBRATION, "gain and pedestal of every pixel"
    ),
    "calibration_plots": StepDescription(
        "calibration plots", ActivityType.ANALYSIS, "plots of pedestals and gains"
    ),
    "r0_to_dl1": StepDescription(
        "R0 to DL1", ActivityType.REDUCTION, "calibrated images, their parameters, muon rings"
    ),
    "datacheck": StepDescription(
        "data check", ActivityType.ANALYSIS, "distributions and rates that tell the quality of a sub-run"
    ),
    "dl1_to_dl2": StepDescription(
        "DL1 to DL2", ActivityType.RECONSTRUCTION, "energy, direction and gammaness of every event"
    ),
    "merge_datacheck": StepDescription(
        "merge data checks", ActivityType.ANALYSIS, "data checks of a run merged and drawn"
    ),
    "merge_dl2": StepDescription("merge DL2", ActivityType.OTHER, "DL2 of a run in one file"),
    MOVE_STEP: StepDescription("move", ActivityType.OTHER, "products brought to their final places"),
}

_CONTENT_TYPES = {
    ".h5": "application/x-hdf5",
    ".fits": "application/fits",
    ".fz": "application/fits",
    ".pdf": "application/pdf",
    ".json": "application/json",
    ".ecsv": "text/csv",
    ".txt": "text/plain",
    ".sav": "application/x-joblib",
}


def describe_step(name: str) -> StepDescription:
    """Describe a step; one that is not known has its name and no more."""
    return _STEPS.get(name) or StepDescription(name.replace("_", " "), ActivityType.OTHER, "", "")


def content_type(file_name: str) -> str:
    """Tell the media type of a file from the ending of its name."""
    ending = file_name[file_name.rfind(".") :] if "." in file_name else ""
    return _CONTENT_TYPES.get(ending, "application/octet-stream")


def slug(text: str | DatasetKind) -> str:
    """Make of words what can be part of an identifier."""
    return "-".join("".join(c if c.isascii() and c.isalnum() else " " for c in text).split())
