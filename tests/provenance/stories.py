"""Made-up tries, as a night would have them; files are told by what is in them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid5

from osa.model.dataset import DatasetKind as Kind
from osa.provenance.lineage import Entity, Lineage
from osa.records.model import MOVE_STEP, ConfigFile, FileRecord, JobIds, Software, Status, TryRecord

START = datetime(2020, 1, 27, 20, tzinfo=UTC)
FAILED = {"status": Status.FAILED, "exit_code": -9, "reason": "ended with signal 9"}
UNFINISHED = {"status": Status.UNFINISHED, "exit_code": None, "ended": None}


def digest(content: str) -> str:
    return sha256(content.encode()).hexdigest()


def minute(number: float) -> datetime:
    return START + timedelta(minutes=number)


def file(kind: Kind, name: str, content: str | None = None, folder: str = "/work", **more: Any) -> FileRecord:
    """Describe a file; without content its name is what is in it."""
    content = name if content is None else content
    return FileRecord(
        str(kind), kind, f"{folder}/{name}", len(content), 10**18, sha256=digest(content), **more
    )


def raw(run: int, subrun: int, stream: int = 1) -> FileRecord:
    path = f"/raw/LST-1.{stream}.Run{run:05d}.{subrun:04d}.fits.fz"
    return FileRecord("raw data", Kind.R0, path, 10**9, 10**18, sample=digest(path))


def config(name: str = "R0 to DL1", content: str = "{}") -> ConfigFile:
    return ConfigFile(name, "/cfg/lstchain.json", digest(content), f"{digest(content)}.lstchain.json")


def attempt(
    number: float,
    step: str,
    subrun: int | None = None,
    inputs: Iterable[FileRecord] = (),
    outputs: Iterable[FileRecord] = (),
    **more: Any,
) -> TryRecord:
    """Make a try that begins in a minute of the night, and takes 50 s."""
    status = more.get("status", Status.DONE)
    record = TryRecord(
        id=str(uuid5(UUID(int=0), f"{number}")),
        telescope="LST1",
        night="2020-01-27",
        run=1874,
        subrun=subrun,
        step=step,
        program=f"program_of_{step}",
        package="lst-osa" if step == MOVE_STEP else "lstchain",
        prod_id="v0.1.0",
        started=minute(number),
        ended=minute(number) + timedelta(seconds=50),
        status=Status.DONE,
        exit_code=0,
        inputs=tuple(inputs),
        outputs=tuple(outputs) if status is Status.DONE else (),
        software=Software({"lstchain": "0.12.3", "lst-osa": "0.1.0"}, digest("all that is installed")),
        host="node",
        user="lstanalyzer",
        job=JobIds("17", subrun, 0),
        wall_time=50.0,
        cpu_time=49.5,
        peak_memory=800.0,
    )
    return replace(record, **more)


def moved(item: FileRecord, folder: str = "/final", source: str | None = None) -> FileRecord:
    return replace(item, path=f"{folder}/{item.name}", source=source or item.path)


def move(number: float, *items: FileRecord, folder: str = "/final", **more: Any) -> TryRecord:
    return attempt(number, MOVE_STEP, None, items, [moved(item, folder) for item in items], **more)


PEDESTAL = file(Kind.DRS4_PEDESTAL, "drs4_pedestal.Run01872.0000.h5")
TIMES = file(Kind.TIME_CALIBRATION, "time_calibration.Run01873.0000.h5")
CHARGES = file(Kind.CHARGE_CALIBRATION, "calibration.Run01873.0000.h5")
DRIVE_LOG = file(Kind.DRIVE_LOG, "DrivePosition_log_20200127.txt", "", "/drive")
SUMMARY = file(Kind.RUN_SUMMARY, "RunSummary_20200127.ecsv", "", "/summaries")
FORESTS = tuple(
    file(Kind.RANDOM_FOREST, f"{name}.sav", folder="/models")
    for name in ("reg_energy", "reg_disp_norm", "cls_disp_sign", "cls_gh")
)
CALIBRATED_BY = (PEDESTAL, TIMES, CHARGES, SUMMARY, DRIVE_LOG)


def product(kind: Kind, prefix: str, subrun: int, content: str | None = None, run: int = 1874) -> FileRecord:
    ending = ".fits" if kind is Kind.MUONS else ".h5"
    return file(kind, f"{prefix}_LST-1.Run{run:05d}.{subrun:04d}{ending}", content)


def dl1(subrun: int = 0, content: str | None = None) -> FileRecord:
    return product(Kind.DL1, "dl1", subrun, content)


def dl2(subrun: int = 0, content: str | None = None) -> FileRecord:
    return product(Kind.DL2, "dl2", subrun, content)


def calibration() -> list[TryRecord]:
    of = {"run": 1873}
    return [
        attempt(1, "drs4_pedestal", None, [raw(1872, 0)], [PEDESTAL], parameters={"max-events": "100"}, **of),
        attempt(2, "time_calibration", None, [raw(1873, 0), PEDESTAL, SUMMARY], [TIMES], **of),
        attempt(
            3,
            "charge_calibration",
            None,
            [raw(1873, 0), PEDESTAL, TIMES, SUMMARY],
            [CHARGES],
            configuration=(config("charge calibration", "[]"),),
            **of,
        ),
    ]


def to_dl1(number: float, subrun: int = 0, content: str | None = None, **more: Any) -> TryRecord:
    muons = product(Kind.MUONS, "muons", subrun, content and f"muons of {content}")
    inputs = [raw(1874, subrun), *CALIBRATED_BY]
    more = {"configuration": (config(),), **more}
    return attempt(number, "r0_to_dl1", subrun, inputs, [muons, dl1(subrun, content)], **more)


def to_dl2(number: float, subrun: int = 0, content: str | None = None, **more: Any) -> TryRecord:
    more = {"configuration": (config("DL1 to DL2", "of DL2"),), **more}
    read = more.pop("read", dl1(subrun))
    return attempt(number, "dl1_to_dl2", subrun, [read, *FORESTS], [dl2(subrun, content)], **more)


def whole_run(n_subruns: int = 2) -> list[TryRecord]:
    """A calibration and a run, each sub-run at the first try."""
    records = calibration()
    for subrun in range(n_subruns):
        records += [
            to_dl1(10 + 2 * subrun, subrun),
            attempt(
                10.9 + 2 * subrun,
                "datacheck",
                subrun,
                [dl1(subrun), product(Kind.MUONS, "muons", subrun)],
                [product(Kind.DATACHECK, "datacheck_dl1", subrun)],
            ),
            to_dl2(200 + subrun, subrun),
        ]
    return records


def named(lineage: Lineage, name: str) -> list[Entity]:
    """Find the files of a name, in the order in which they were made."""
    return [entity for entity in lineage.entities.values() if entity.name == name]


def read_by(lineage: Lineage, record: TryRecord) -> list[Entity]:
    return [lineage.entities[use.entity_id] for use in lineage.uses_of.get(record.id, ())]
