"""Made-up tries of made-up nights, a minute apart."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from osa.model.dataset import DatasetKind
from osa.provenance.lineage import Lineage, build_lineage
from osa.records.model import MOVE_STEP, ConfigFile, FileRecord, JobIds, Software, Status, TryRecord

NIGHT, LATER = "2020-01-27", "2020-01-28"
PROD = "v0.1.0"
VERSIONS = {"python": "3.11.7", "lst-osa": "0.1.0", "lstchain": "0.12.3"}
CONFIG = ConfigFile("dl1", "/cfg/standard.json", hashlib.sha256(b"config").hexdigest(), "c0.standard.json")


def sha(content: str) -> str:
    return hashlib.sha256(content.encode(errors="surrogateescape")).hexdigest()


def file(path: str, kind: DatasetKind = DatasetKind.DL1, content: str | None = None) -> FileRecord:
    return FileRecord(
        str(kind), kind, path, size=1000, modified=1795812347664450312, sha256=sha(content or path)
    )


def raw(run: int, subrun: int, night: str = NIGHT) -> FileRecord:
    path = f"/R0/{night}/LST-1.1.Run{run:05d}.{subrun:04d}.fits.fz"
    return FileRecord("raw data", DatasetKind.R0, path, size=10**10, modified=1, sample=sha(path))


class Story:
    """Tries, each a minute after the one before.

    Parameters
    ----------
    night : str
        To which they belong.
    start : datetime.datetime
        When the first begins.
    """

    def __init__(self, night: str = NIGHT) -> None:
        self.night = night
        self.records: list[TryRecord] = []
        self.now = datetime.fromisoformat(f"{night}T20:00:00.123+00:00").astimezone(UTC)

    def add(
        self,
        step: str,
        inputs: tuple[FileRecord, ...] = (),
        outputs: tuple[FileRecord, ...] = (),
        run: int = 1874,
        subrun: int | None = 0,
        status: Status = Status.DONE,
        versions: dict[str, str] | None = None,
        configuration: tuple[ConfigFile, ...] = (CONFIG,),
    ) -> TryRecord:
        self.now += timedelta(minutes=1)
        begun = TryRecord(
            id=str(uuid.uuid4()),
            telescope="LST1",
            night=self.night,
            run=run,
            subrun=subrun,
            step=step,
            program=f"lstchain_{step}",
            package="lstchain",
            prod_id=PROD,
            started=self.now,
            inputs=inputs,
            configuration=configuration,
            parameters={"tel-id": "1", "odd": 'it\'s 100 % "ü"'},
            software=Software(versions or VERSIONS, sha("packages")),
            host="cp01",
            user="lstanalyzer",
            job=JobIds("17", subrun, 1),
        )
        self.records.append(begun)
        return begun if status is Status.UNFINISHED else self.end(begun, outputs, status)

    def end(
        self, begun: TryRecord, outputs: tuple[FileRecord, ...] = (), status: Status = Status.DONE
    ) -> TryRecord:
        ended = replace(
            begun,
            ended=begun.started + timedelta(milliseconds=30_457),
            status=status,
            exit_code=0 if status is Status.DONE else -9,
            reason="" if status is Status.DONE else 'killed; "it\'s" said',
            outputs=outputs,
            wall_time=30.457,
            cpu_time=29.1,
            peak_memory=2519.5,
        )
        self.records = [ended if record.id == begun.id else record for record in self.records]
        return ended

    def move(self, *pairs: tuple[FileRecord, str], run: int = 1874) -> TryRecord:
        outputs = tuple(replace(item, path=target, source=item.path) for item, target in pairs)
        return self.add(MOVE_STEP, (), outputs, run=run, subrun=None, configuration=())

    @property
    def lineage(self) -> Lineage:
        return build_lineage(self.records)


def calibrate(story: Story, content: str = "gains") -> FileRecord:
    """Make a calibration in two steps."""
    pedestal = file(
        f"/work/{story.night}/drs4_pedestal.Run01872.0000.h5", DatasetKind.DRS4_PEDESTAL, content + "0"
    )
    charge = file(
        f"/work/{story.night}/calibration.Run01873.0000.h5", DatasetKind.CHARGE_CALIBRATION, content
    )
    story.add("drs4_pedestal", (raw(1872, 0, story.night),), (pedestal,), run=1873, subrun=None)
    story.add("charge_calibration", (raw(1873, 0, story.night), pedestal), (charge,), run=1873, subrun=None)
    return charge


def observe(
    story: Story, charge: FileRecord, subrun: int = 0, run: int = 1874, content: str = ""
) -> FileRecord:
    """Make DL1, muons and DL2 of a sub-run."""
    tag = f"LST-1.Run{run:05d}.{subrun:04d}"
    dl1 = file(
        f"/work/{story.night}/dl1_{tag}.h5", DatasetKind.DL1, f"dl1{story.night}{run}.{subrun}{content}"
    )
    muons = file(f"/work/{story.night}/muons_{tag}.fits", DatasetKind.MUONS)
    dl2 = file(
        f"/work/{story.night}/dl2_{tag}.h5", DatasetKind.DL2, f"dl2{story.night}{run}.{subrun}{content}"
    )
    forest = file("/models/reg_energy.sav", DatasetKind.RANDOM_FOREST, "forest")
    story.add("r0_to_dl1", (raw(run, subrun, story.night), charge), (dl1, muons), run=run, subrun=subrun)
    story.add("dl1_to_dl2", (dl1, forest), (dl2,), run=run, subrun=subrun)
    return dl2
