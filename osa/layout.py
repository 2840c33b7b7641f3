"""Every path and file name of the project, in one place.

Paths are built from typed values (a night, run and sub-run numbers, names that the configuration
reader checked) and never from free text, so none can lead out of the configured directories.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from itertools import takewhile
from pathlib import Path

from osa.config import ProductionSettings, Settings
from osa.model.job import JobGroup
from osa.model.night import Night
from osa.model.run import run_tag
from osa.model.sequence import Sequence

__all__ = [
    "DATACHECK",
    "DATACHECK_PDF",
    "DATA_PARTS",
    "DL1",
    "DL2",
    "INTERLEAVED",
    "MUONS",
    "N_STREAMS",
    "PRODUCT_KINDS",
    "DocumentPart",
    "Layout",
    "ProductKind",
    "subrun_tag",
]


N_STREAMS = 4
"""Files into which the data of a sub-run may be split."""


def subrun_tag(run: int, subrun: int) -> str:
    """Write run and sub-run as file names do, ``01874.0003``."""
    return f"{run_tag(run)}.{subrun:04d}"


@dataclass(frozen=True, eq=False)  # there is one of each
class ProductKind:
    """A kind of product that every sub-run of a DATA run gives.

    Parameters
    ----------
    name : str
        What the table calls it.
    prefix, suffix : str
        Of the file name, around ``_LST-1.Run01874.0003``.
    """

    name: str
    prefix: str
    suffix: str

    def file_name(self, tel_id: int, run: int, subrun: int | None = None) -> str:
        """Name the file of a sub-run, or of a whole run where no sub-run is given."""
        return self.tagged_name(tel_id, run_tag(run) if subrun is None else subrun_tag(run, subrun))

    def tagged_name(self, tel_id: int, tag: str) -> str:
        """Name the file of a run or sub-run whose tag is known."""
        return f"{self.prefix}_LST-{tel_id}.Run{tag}{self.suffix}"


DL1 = ProductKind("DL1", "dl1", ".h5")
MUONS = ProductKind("MUONS", "muons", ".fits")
DATACHECK = ProductKind("DATACHECK", "datacheck_dl1", ".h5")
DL2 = ProductKind("DL2", "dl2", ".h5")
INTERLEAVED = ProductKind("INTERLEAVED", "interleaved", ".h5")
DATACHECK_PDF = ProductKind("DATACHECK_PDF", "datacheck_dl1", ".pdf")

PRODUCT_KINDS = (DL1, MUONS, DATACHECK, DL2)
"""The products that a complete sub-run has, in the order of the table's columns."""


class DocumentPart(StrEnum):
    """Parts of a night that have a provenance document, as its name begins."""

    CALIBRATION = "calibration"
    CALIBRATION_TO_DL1 = "calibration_to_dl1"
    DL1_TO_DL2 = "dl1_to_dl2"
    CALIBRATION_TO_DL2 = "calibration_to_dl2"

    @property
    def words(self) -> str:
        """What it is, for people."""
        return self.value.replace("_", " ").replace("dl", "DL")


DATA_PARTS = (DocumentPart.CALIBRATION_TO_DL1, DocumentPart.DL1_TO_DL2, DocumentPart.CALIBRATION_TO_DL2)
"""Documents of a DATA run; the last tells all of it."""


@dataclass(frozen=True)
class Layout:
    """Paths of one night of one telescope.

    Parameters
    ----------
    settings : Settings
        The configuration.
    night : Night
        The night.
    """

    settings: Settings
    night: Night

    @property
    def title(self) -> str:
        """What is meant, in words."""
        return f"night {self.night} of {self.settings.telescope_name}"

    # ------------------------------------------------------------------------- inputs

    @property
    def raw_dir(self) -> Path:
        """Raw files of the night."""
        return self.settings.telescope.raw_dir / self.night.tag

    def raw_file(self, run: int, subrun: int) -> Path:
        """Raw file of a sub-run (stream 1; lstchain finds the other streams beside it)."""
        return self.raw_dir / f"LST-{self._tel}.1.Run{subrun_tag(run, subrun)}.fits.fz"

    def raw_streams(self, run: int, subrun: int) -> list[Path]:
        """Raw files of a sub-run that are there, of all streams, and in any case that of stream 1."""
        first = self.raw_file(run, subrun)
        name = first.name.removeprefix(f"LST-{self._tel}.1.")
        others = (first.with_name(f"LST-{self._tel}.{stream}.{name}") for stream in range(2, N_STREAMS + 1))
        return [first, *takewhile(Path.exists, others)]  # lstchain stops at the first that is not there

    @property
    def raw_pattern(self) -> re.Pattern[str]:
        """Names of raw files, with the groups stream, run and subrun."""
        streams, numbers = rf"(?P<stream>[1-{N_STREAMS}])", r"Run(?P<run>(?!0+\.)\d{5,9})\.(?P<subrun>\d{4})"
        return re.compile(rf"LST-{self._tel}\.{streams}\.{numbers}\.fits\.fz", re.ASCII)

    @property
    def end_flag(self) -> Path | None:
        """File that says that all raw files of the night have come; None where nobody writes one."""
        name = self.settings.arrival.end_flag
        return None if name is None else self.raw_dir / name

    @property
    def night_summary(self) -> Path:
        """The night summary."""
        return self.settings.telescope.night_summary_dir / f"NightSummary_{self.night.tag}.txt"

    @property
    def override(self) -> Path:
        """What the operator says of this night, where there is such a file."""
        return self.night_summary.with_suffix(".override")

    @property
    def night_survey(self) -> Path:
        """What nightsummary found in the raw files."""
        return self.night_summary.with_suffix(".json")

    @property
    def run_summary(self) -> Path:
        """Run summary of lstchain."""
        return self.settings.telescope.run_summary_dir / f"RunSummary_{self.night.tag}.ecsv"

    @property
    def drive_log(self) -> Path:
        """Pointing of the night; an older name serves where only that is there."""
        folder = self.settings.telescope.drive_dir
        current = folder / f"DrivePosition_log_{self.night.tag}.txt"
        older = folder / f"drive_log_{self.night.underscored[2:]}.txt"
        return older if older.exists() and not current.exists() else current

    @property
    def bending_model(self) -> Path | None:
        """Corrections of the pointing, which lstchain takes where they lie beside the drive log."""
        name = self.drive_log.name.replace("DrivePosition", "BendingModelCorrection")
        path = self.drive_log.with_name(name)
        return path if path != self.drive_log and path.exists() else None

    @property
    def target_log(self) -> Path:
        """Targets that the drive tracked."""
        return self.settings.telescope.drive_dir / f"Target_log_{self.night.tag}.txt"

    # --------------------------------------------------------------- work in progress

    @property
    def analysis_dir(self) -> Path:
        """Where the night is worked on."""
        return self.settings.telescope.analysis_dir / self.night.tag / self._production.prod_id

    @property
    def group(self) -> JobGroup:
        """All jobs of this telescope, night and production, for the scheduler."""
        name = f"{self.settings.telescope_name}.{self.night.tag}.{self._production.prod_id}"
        return JobGroup(name, self.analysis_dir)

    @property
    def log_dir(self) -> Path:
        """Logs of the jobs and plots of the calibration."""
        return self.analysis_dir / "log"

    def job_log(self, name: str, job_id: str, task: int | None) -> Path:
        """What a task of a job said; the job script names it so."""
        return self.log_dir / (f"{name}_{job_id}" + ("" if task is None else f"_{task}") + ".log")

    @property
    def incidences(self) -> Path:
        """What a person should know of the night, collected while it is worked on."""
        return self.analysis_dir / "Incidences.txt"

    @property
    def moves_journal(self) -> Path:
        """What the closer is about to move, and what it has moved."""
        return self.analysis_dir / "moves.journal"

    @property
    def kept_choice(self) -> Path:
        """Runs that the command line asked for to calibrate the night, as an override."""
        return self.analysis_dir / "calibration.override"

    @property
    def first_choice(self) -> Path:
        """Runs that calibrate the night since its first task was submitted, as an override."""
        return self.analysis_dir / "calibration.chosen"

    @property
    def left_out(self) -> Path:
        """Runs and sub-runs that the closer leaves out, as an override."""
        return self.analysis_dir / "left_out.override"

    @property
    def borrowed_calibration(self) -> Path:
        """Which other night's calibration serves, where one does."""
        return self.analysis_dir / "calibration.borrowed"

    @property
    def own_calibration(self) -> Path:
        """Word of an operator that no other night's calibration is to serve."""
        return self.analysis_dir / "calibration.own"

    @property
    def set_aside_dir(self) -> Path:
        """Products that were replaced by others."""
        return self.analysis_dir / "set_aside"

    @property
    def records_dir(self) -> Path:
        """Records of all tries of all steps, from which provenance is told."""
        return self.analysis_dir / "provenance"

    def records(self, run: int, subrun: int | None = None) -> Path:
        """Records of a sub-run, of a whole run, or of the calibration sequence."""
        tag = run_tag(run) if subrun is None else subrun_tag(run, subrun)
        return self.records_dir / f"{self.settings.telescope_name}_{tag}.jsonl"

    @property
    def archive_dir(self) -> Path:
        """Copies of configuration files and lists of software, by the hash of their content."""
        return self.records_dir / "archive"

    @property
    def hashes_dir(self) -> Path:
        """Hashes of what all tasks of the night read."""
        return self.records_dir / "hashes"

    @property
    def scratch_dir(self) -> Path:
        """Unfinished files, on the file system of the finished ones."""
        return self.analysis_dir / ".unfinished"

    @property
    def environment_dir(self) -> Path:
        """Configuration of the libraries below lstchain."""
        return self.analysis_dir / ".environment"

    @property
    def task_lock(self) -> Path:
        """Lock with room for every sub-run of the night."""
        return self.analysis_dir / ".tasks.lock"

    @property
    def night_lock(self) -> Path:
        """Lock of the commands that change the night: sequencer and closer."""
        return self.analysis_dir / ".night.lock"

    def description(self, sequence: Sequence) -> Path:
        """What was submitted for a sequence, for people."""
        return self.analysis_dir / f"sequence_{sequence.name}.txt"

    def script(self, sequence: Sequence) -> Path:
        """Job script of a sequence."""
        return self.analysis_dir / f"sequence_{sequence.name}.py"

    def veto(self, sequence: Sequence) -> Path:
        """Flag of a sequence that is left alone until an operator removes it."""
        return self.analysis_dir / f"sequence_{sequence.name}.veto"

    def fresh_start(self, sequence: Sequence) -> Path:
        """Word of the operator that what failed before does not count any more."""
        return self.analysis_dir / f"sequence_{sequence.name}.fresh"

    def closed(self, sequence: Sequence) -> Path:
        """Flag of a sequence whose products are in their final place."""
        return self.analysis_dir / f"sequence_{sequence.name}.closed"

    def history(self, run: int, subrun: int | None = None) -> Path:
        """History of a sub-run, or of the calibration sequence."""
        return self.analysis_dir / self.history_name(run, subrun)

    def history_name(self, run: int, subrun: int | None = None) -> str:
        """Name of that file."""
        tag = run_tag(run) if subrun is None else subrun_tag(run, subrun)
        return f"sequence_{self.settings.telescope_name}_{tag}.history"

    def working(self, kind: ProductKind, run: int, subrun: int) -> Path:
        """Product of a sub-run, while the night is worked on."""
        return self.analysis_dir / kind.file_name(self._tel, run, subrun)

    # -------------------------------------------------------------------- calibration

    def drs4_pedestal(self, run: int) -> Path:
        """Pedestals of the DRS4 capacitors."""
        return self.analysis_dir / f"drs4_pedestal.Run{run_tag(run)}.0000.h5"

    def time_calibration(self, run: int) -> Path:
        """Sampling times of the DRS4 capacitors."""
        return self.analysis_dir / f"time_calibration.Run{run_tag(run)}.0000.h5"

    def charge_calibration(self, run: int) -> Path:
        """Gains and pedestals of the camera."""
        return self.analysis_dir / f"calibration.Run{run_tag(run)}.0000.h5"

    def calibration_products(self, drs4_run: int, calibration_run: int) -> tuple[Path, Path, Path]:
        """Products of a calibration, in the order in which they are made."""
        return (
            self.drs4_pedestal(drs4_run),
            self.time_calibration(calibration_run),
            self.charge_calibration(calibration_run),
        )

    def plot(self, product: Path) -> Path:
        """The PDF that shows a calibration product."""
        return self.log_dir / f"{product.stem}.pdf"

    # ------------------------------------------------------------------- final places

    @property
    def final_dl1_dir(self) -> Path:
        """DL1 of the night."""
        return self.settings.telescope.dl1_dir / self.night.tag / self._production.dl1_prod_id

    @property
    def final_dl2_dir(self) -> Path:
        """DL2 of the night."""
        return self.settings.telescope.dl2_dir / self.night.tag / self._production.dl2_prod_id

    @property
    def final_calibration_dir(self) -> Path:
        """Calibration of the night."""
        root = self.settings.telescope.calibration_dir
        return root / self.night.tag / self._production.calibration_prod_id

    def final_dir(self, kind: ProductKind) -> Path:
        """Final folder of the files of one kind."""
        folders = {
            DL1: self.final_dl1_dir,
            MUONS: self.final_dl1_dir / "muons",
            DATACHECK: self.final_dl1_dir / "datacheck",
            DATACHECK_PDF: self.final_dl1_dir / "datacheck",
            INTERLEAVED: self.final_dl1_dir / "interleaved",
            DL2: self.final_dl2_dir,
        }
        return folders[kind]

    def final(self, kind: ProductKind, run: int, subrun: int | None = None) -> Path:
        """Final place of a sub-run's product, or of a run's merged one."""
        return self.final_dir(kind) / kind.file_name(self._tel, run, subrun)

    # --------------------------------------------------------------------- provenance

    def document_dir(self, part: DocumentPart) -> Path:
        """Folder for the documents of a part, below that of the products that it tells of."""
        if part is DocumentPart.CALIBRATION:
            return self.final_calibration_dir / "log"
        if part is DocumentPart.CALIBRATION_TO_DL1:
            return self.final_dl1_dir / "log"
        return self.final_dl2_dir / "log"

    def document(self, part: DocumentPart, run: int) -> Path:
        """Provenance of a run as a PROV document; the graph has the ending ``.pdf``."""
        return self.document_dir(part) / f"{part}_LST-{self._tel}.Run{run_tag(run)}_prov.json"

    def kept_records(self, part: DocumentPart, run: int) -> Path:
        """Records of a run that stay with its products when the night's working folder goes."""
        return self.document_dir(part) / f"records_LST-{self._tel}.Run{run_tag(run)}.jsonl"

    @property
    def closer_dir(self) -> Path:
        """What the closer says of the night."""
        return self.settings.telescope.closer_dir / self.night.tag / self._production.prod_id

    @property
    def alarm(self) -> Path:
        """What keeps the night from being closed, where that takes too long."""
        return self.closer_dir / "NotClosed.txt"

    @property
    def alarm_mailed(self) -> Path:
        """What was wrong when that was mailed last."""
        return self.alarm.with_suffix(".mailed")

    @property
    def night_finished(self) -> Path:
        """Flag and summary of a closed night."""
        return self.closer_dir / "NightFinished.txt"

    @property
    def _tel(self) -> int:
        return self.settings.telescope.tel_id

    @property
    def _production(self) -> ProductionSettings:
        return self.settings.production
