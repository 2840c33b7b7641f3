"""Records of runs that nobody processed: as many sub-runs as one likes, each with all of its tries."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

from osa.model.dataset import DatasetKind
from osa.records.model import ConfigFile, FileRecord, JobIds, Software, Status, TryRecord

BEGIN = datetime(2020, 1, 28, 4, tzinfo=UTC)
FOLDER = "/data/running_analysis/20200127/v0.1.0"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _file(kind: DatasetKind, name: str, role: str | None = None) -> FileRecord:
    path = f"{FOLDER}/{name}"
    digest = _hash(path)
    sha256, sample = (None, digest) if kind.is_raw else (digest, None)
    return FileRecord(role or str(kind), kind, path, 10**8, 10**18, sha256, sample)


_SOFTWARE = Software({"lstchain": "0.12.3", "lst-osa": "0.1.0", "python": "3.11.7"}, _hash("environment"))
_CONFIG = ConfigFile(
    "lstchain", "/etc/standard.json", _hash("standard"), f"{_hash('standard')}.standard.json"
)
_FORESTS = [
    _file(DatasetKind.RANDOM_FOREST, f"{name}.sav", "random forest")
    for name in ("reg_energy", "reg_disp_norm", "cls_disp_sign", "cls_gh")
]
_PEDESTAL = _file(DatasetKind.DRS4_PEDESTAL, "drs4_pedestal.Run01872.0000.h5")
_TIMES = _file(DatasetKind.TIME_CALIBRATION, "time_calibration.Run01873.0000.h5")
_CHARGES = _file(DatasetKind.CHARGE_CALIBRATION, "calibration.Run01873.0000.h5")
_SUMMARY = _file(DatasetKind.RUN_SUMMARY, "RunSummary_20200127.ecsv")
_POINTING = _file(DatasetKind.DRIVE_LOG, "DrivePosition_log_20200127.txt", "pointing")


def _try(
    step: str,
    second: int,
    run: int,
    subrun: int | None,
    inputs: Iterable[FileRecord],
    outputs: Iterable[FileRecord],
    *,
    configuration: tuple[ConfigFile, ...] = (),
    parameters: dict[str, str] | None = None,
) -> TryRecord:
    return TryRecord(
        id=str(uuid.uuid5(uuid.NAMESPACE_OID, f"{step} {run} {subrun} {second}")),
        telescope="LST1",
        night="2020-01-27",
        run=run,
        subrun=subrun,
        step=step,
        program=step,
        package="lstchain",
        prod_id="v0.1.0",
        started=BEGIN + timedelta(seconds=second),
        ended=BEGIN + timedelta(seconds=second + 1),
        status=Status.DONE,
        exit_code=0,
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        configuration=configuration,
        parameters=parameters or {},
        software=_SOFTWARE,
        host="n1",
        user="lstanalyzer",
        job=JobIds("17", subrun, 0),
    )


def calibration_tries() -> list[TryRecord]:
    """Make the tries of a calibration."""
    pedestals = _file(DatasetKind.R0, "LST-1.1.Run01872.0000.fits.fz", "raw data")
    flashes = _file(DatasetKind.R0, "LST-1.1.Run01873.0000.fits.fz", "raw data")
    return [
        _try("drs4_pedestal", 0, 1873, None, [pedestals], [_PEDESTAL], parameters={"max-events": "20000"}),
        _try("time_calibration", 1, 1873, None, [flashes, _PEDESTAL, _SUMMARY], [_TIMES]),
        _try(
            "charge_calibration",
            2,
            1873,
            None,
            [flashes, _PEDESTAL, _TIMES, _SUMMARY],
            [_CHARGES],
            configuration=(_CONFIG,),
        ),
    ]


def data_tries(run: int, subruns: int) -> Iterator[TryRecord]:
    """Make the tries of the sub-runs of a run, three each."""
    for subrun in range(subruns):
        tag, second = f"Run{run:05d}.{subrun:04d}", 10 + 10 * subrun
        raw = _file(DatasetKind.R0, f"LST-1.1.{tag}.fits.fz", "raw data")
        dl1 = _file(DatasetKind.DL1, f"dl1_LST-1.{tag}.h5")
        muons = _file(DatasetKind.MUONS, f"muons_LST-1.{tag}.fits")
        interleaved = _file(DatasetKind.INTERLEAVED, f"interleaved_LST-1.{tag}.h5")
        check = _file(DatasetKind.DATACHECK, f"datacheck_dl1_LST-1.{tag}.h5")
        dl2 = _file(DatasetKind.DL2, f"dl2_LST-1.{tag}.h5")
        calibrated = [raw, _PEDESTAL, _TIMES, _CHARGES, _SUMMARY, _POINTING]
        yield _try(
            "r0_to_dl1",
            second,
            run,
            subrun,
            calibrated,
            [muons, interleaved, dl1],
            configuration=(_CONFIG,),
            parameters={"no-flatfield-heuristic": "yes"},
        )
        yield _try(
            "datacheck",
            second + 2,
            run,
            subrun,
            [dl1, muons],
            [check],
            parameters={"max-cores": "1", "batch": "yes", "omit-pdf": "yes"},
        )
        yield _try("dl1_to_dl2", second + 4, run, subrun, [dl1, *_FORESTS], [dl2], configuration=(_CONFIG,))
