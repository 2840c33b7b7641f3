"""How the time of a question to the provenance index grows with the number of nights in it.

One night is made up and goes through the real ingest; the others are copies of it that SQL makes within the
database, with names, hashes and keys of their own. Random forests and configurations stay shared.

    python -m benchmarks.provenance_index [--nights 1000] [--runs 20] [--subruns 100]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex

from benchmarks.common import NIGHT, WORK, print_table
from osa.config import ProvenanceSettings
from osa.database.engine import Database, open_database
from osa.database.find import find_entity
from osa.database.ingest import ingest_lineage
from osa.database.listings import find_by_version, tries_of
from osa.database.schema import entities, tries, uses
from osa.database.walks import impact_of, lineage_of
from osa.model.dataset import DatasetKind
from osa.provenance.lineage import build_lineage
from osa.records.model import ConfigFile, FileRecord, JobIds, Software, Status, TryRecord

FIRST_RUN = 1874
PROD = "v0.1.0"
QUESTIONS = 200
COLD_QUESTIONS = 50
LIMIT = 50.0  # ms for the lineage of a file
FORESTS = ("reg_energy", "reg_disp_norm", "cls_disp_sign", "cls_gh")
VERSIONS = {
    "python": "3.11.7",
    "lst-osa": "0.1.0",
    "lstchain": "0.12.3",
    "ctapipe": "0.25.1",
    "ctapipe_io_lst": "0.29.2",
    "numpy": "2.2.6",
}
SOFTWARE = Software(VERSIONS, hashlib.sha256(b"packages").hexdigest())


# ------------------------------------------------------------------------- one night


@dataclass
class MadeUpNight:
    """Records of a whole night, as its tasks would write them."""

    runs: int
    subruns: int
    now: datetime = field(default=datetime(2020, 1, 28, 6, tzinfo=UTC))

    def records(self) -> Iterator[TryRecord]:
        """Tell the tries: calibration, then each run with its sub-runs and what is merged."""
        work = f"/fefs/aswg/data/real/running_analysis/{NIGHT.tag}/{PROD}"
        self.summary = made(DatasetKind.RUN_SUMMARY, f"/fefs/monitoring/RunSummary_{NIGHT.tag}.ecsv")
        self.drive = made(DatasetKind.DRIVE_LOG, f"/fefs/drive/DrivePosition_log_{NIGHT.tag}.txt")
        self.forests = [
            made(DatasetKind.RANDOM_FOREST, f"/fefs/models/20230901/dec_2276/{name}.sav") for name in FORESTS
        ]
        self.calibration = [
            made(DatasetKind.DRS4_PEDESTAL, f"{work}/drs4_pedestal.Run01872.0000.h5"),
            made(DatasetKind.TIME_CALIBRATION, f"{work}/time_calibration.Run01873.0000.h5"),
            made(DatasetKind.CHARGE_CALIBRATION, f"{work}/calibration.Run01873.0000.h5"),
        ]
        pedestal, times, charge = self.calibration
        flat = raw(1873, 0)
        yield self.done("drs4_pedestal", 1873, None, [raw(1872, 0)], [pedestal])
        yield self.done("time_calibration", 1873, None, [flat, pedestal, self.summary], [times])
        yield self.done("charge_calibration", 1873, None, [flat, pedestal, times, self.summary], [charge])
        for run in range(FIRST_RUN, FIRST_RUN + self.runs):
            yield from self._run(work, run)

    def _run(self, work: str, run: int) -> Iterator[TryRecord]:
        checks, dl2s = [], []
        for subrun in range(self.subruns):
            tag = f"LST-1.Run{run:05d}.{subrun:04d}"
            dl1 = made(DatasetKind.DL1, f"{work}/dl1_{tag}.h5")
            muons = made(DatasetKind.MUONS, f"{work}/muons_{tag}.fits")
            interleaved = made(DatasetKind.INTERLEAVED, f"{work}/interleaved_{tag}.h5")
            check = made(DatasetKind.DATACHECK, f"{work}/datacheck_dl1_{tag}.h5")
            dl2 = made(DatasetKind.DL2, f"{work}/dl2_{tag}.h5")
            inputs = [raw(run, subrun), *self.calibration, self.summary, self.drive]
            yield self.done("r0_to_dl1", run, subrun, inputs, [muons, interleaved, dl1], "dl1", "dl2")
            yield self.done("datacheck", run, subrun, [dl1, muons], [check])
            yield self.done("dl1_to_dl2", run, subrun, [dl1, *self.forests], [dl2], "dl2")
            checks.append(check)
            dl2s.append(dl2)
        merged = made(DatasetKind.DATACHECK_MERGED, f"{work}/datacheck_dl1_LST-1.Run{run:05d}.h5")
        plots = made(DatasetKind.DATACHECK_PLOTS, f"{work}/datacheck_dl1_LST-1.Run{run:05d}.pdf")
        yield self.done("merge_datacheck", run, None, checks, [merged, plots])
        whole = made(DatasetKind.DL2_MERGED, f"{work}/dl2_LST-1.Run{run:05d}.h5")
        yield self.done("merge_dl2", run, None, dl2s, [whole])

    def done(
        self,
        step: str,
        run: int,
        subrun: int | None,
        inputs: list[FileRecord],
        outputs: list[FileRecord],
        *configured: str,
    ) -> TryRecord:
        """Record one try."""
        self.now += timedelta(milliseconds=7)
        return TryRecord(
            id=str(uuid.uuid4()),
            telescope="LST1",
            night=str(NIGHT),
            run=run,
            subrun=subrun,
            step=step,
            program=f"lstchain_{step}",
            package="lstchain",
            prod_id=PROD,
            started=self.now,
            ended=self.now + timedelta(milliseconds=5),
            status=Status.DONE,
            exit_code=0,
            inputs=tuple(inputs),
            outputs=tuple(outputs),
            configuration=tuple(
                ConfigFile(name, f"/fefs/cfg/{name}.json", hashlib.sha256(name.encode()).hexdigest(), name)
                for name in configured
            ),
            parameters={"tel-id": "1", "max-events": "20000"},
            software=SOFTWARE,
            host="cp01.magic.iac.es",
            user="lstanalyzer",
            job=JobIds("1234567", subrun, 0),
            wall_time=1234.567,
            cpu_time=1200.125,
            peak_memory=2519.5,
        )


def made(kind: DatasetKind, path: str) -> FileRecord:
    """Tell of a file with a content of its own."""
    return FileRecord(str(kind), kind, path, 10**8, 10**18, hashlib.sha256(path.encode()).hexdigest())


def raw(run: int, subrun: int) -> FileRecord:
    """Tell of a raw file."""
    path = f"/fefs/R0/{NIGHT.tag}/LST-1.1.Run{run:05d}.{subrun:04d}.fits.fz"
    sample = hashlib.sha256(path.encode()).hexdigest()
    return FileRecord("raw data", DatasetKind.R0, path, 10**10, 10**18, sample=sample)


def ingest_one(database: Database, runs: int, subruns: int) -> None:
    """Take one night in, twice, and print what that takes."""
    started = time.perf_counter()
    records = list(MadeUpNight(runs, subruns).records())
    lineage = build_lineage(records)
    built = time.perf_counter()
    rows = []
    for what in ("first ingest", "second ingest"):
        begun = time.perf_counter()
        with database.transaction() as connection:
            changes = ingest_lineage(connection, lineage, PROD)
        seconds = time.perf_counter() - begun
        rows.append((what, seconds, 1000 * seconds / (runs * subruns), changes.inserted, changes.updated))
    assert not changes, "the same twice is to change nothing"
    print(
        f"\nA night of {runs} runs with {subruns} sub-runs each: {len(lineage.tries)} tries, "
        f"{len(lineage.entities)} files, {len(lineage.uses)} uses; making and linking its records took "
        f"{built - started:.1f} s.\n"
    )
    print_table(("", "s", "ms a sub-run", "inserted", "updated"), rows)


# ----------------------------------------------------------------------- many nights

COPIES = (
    "INSERT INTO nights (id, telescope, night, prod_id)"
    " SELECT 1 + :n, telescope, :date, prod_id FROM nights WHERE id = 1",
    "INSERT INTO tries SELECT id + :n * :tries, :mark || substr(uid, 9), 1 + :n, run + :n * 10000, {tries}"
    " FROM tries WHERE id <= :tries",
    "INSERT INTO entities SELECT id + :n * :entities,"
    " CASE WHEN sample IS NULL THEN CASE WHEN try_id IS NULL THEN 'sha256-' || :mark || substr(uid, 16)"
    " ELSE :mark || substr(uid, 9) END ELSE 'sample-' || :mark || substr(uid, 16) END,"
    " kind, replace(replace(name, 'Run0', 'Run' || :n), :tag, :new_tag),"
    " replace(replace(location, 'Run0', 'Run' || :n), :tag, :new_tag), size, modified,"
    " :mark || substr(sha256, 9), :mark || substr(sample, 9), iif(night IS NULL, NULL, :date),"
    " run + :n * 10000, subrun, try_id + :n * :tries, made_at, replaced_at, archived"
    " FROM entities WHERE id <= :entities AND id NOT IN (SELECT id FROM temp.shared)",
    "INSERT INTO uses SELECT try_id + :n * :tries, CASE WHEN entity_id IN (SELECT id FROM temp.shared)"
    " THEN entity_id ELSE entity_id + :n * :entities END, role_id, is_configuration"
    " FROM uses WHERE try_id <= :tries",
)


@dataclass(frozen=True)
class Base:
    """Keys of the night that the others are copies of."""

    tries: int
    entities: int
    charge: int
    dl2: list[int]

    @classmethod
    def of(cls, connection: Connection) -> Base:
        """Look at an index of one night."""
        by_kind = select(entities.c.id).order_by(entities.c.id)
        return cls(
            connection.execute(select(func.max(tries.c.id))).scalar_one(),
            connection.execute(select(func.max(entities.c.id))).scalar_one(),
            connection.execute(by_kind.where(entities.c.kind == DatasetKind.CHARGE_CALIBRATION)).scalar_one(),
            list(connection.execute(by_kind.where(entities.c.kind == DatasetKind.DL2)).scalars()),
        )


def copy_nights(path: Path, base: Base, first: int, last: int) -> float:
    """Copy the first night until there are so many; return the seconds.

    Indexes are made again in the end, which takes a fraction of the time.
    """
    started = time.perf_counter()
    indexes = [index for table in (tries, entities, uses) for index in table.indexes]
    columns = ", ".join(column.name for column in list(tries.c)[4:])
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -500000"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("BEGIN")
        connection.execute(
            "CREATE TEMP TABLE shared AS SELECT id FROM entities"
            " WHERE kind IN ('random forest', 'configuration')"
        )
        for index in indexes:
            connection.execute(f"DROP INDEX {index.name}")
        for n in range(first, last):
            date = NIGHT.date + timedelta(days=n)
            values = {
                "n": n,
                "date": f"{date:%Y-%m-%d}",
                "tag": NIGHT.tag,
                "new_tag": f"{date:%Y%m%d}",
                "mark": hashlib.sha256(str(n).encode()).hexdigest()[:8],
                "tries": base.tries,
                "entities": base.entities,
            }
            for statement in COPIES:
                connection.execute(statement.replace("{tries}", columns), values)
        for index in indexes:
            connection.execute(str(CreateIndex(index).compile(dialect=sqlite.dialect())))
        connection.execute("COMMIT")
    return time.perf_counter() - started


# ------------------------------------------------------------------------- questions


def ask(database: Database, question: Callable[[Connection], object]) -> float:
    """Ask over a connection of its own; return milliseconds."""
    started = time.perf_counter()
    with database.reading() as connection:
        assert question(connection), "there is an answer"
    return 1000 * (time.perf_counter() - started)


def forget_cache(path: Path) -> None:
    """Have the machine read the file from the disk again."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure(database: Database, path: Path, base: Base, n_nights: int) -> dict[str, float]:
    """Ask all questions about files of nights by chance."""
    chance = random.Random(n_nights)

    def some(count: int) -> list[tuple[str, str, int, int]]:
        columns = (entities.c.uid, entities.c.name, entities.c.run, entities.c.subrun)
        keys = [chance.randrange(n_nights) * base.entities + chance.choice(base.dl2) for _ in range(count)]
        with database.reading() as connection:
            return [
                tuple(connection.execute(select(*columns).where(entities.c.id == key)).one()) for key in keys
            ]

    def lineages(count: int) -> list[float]:
        return [ask(database, lambda c, uid=uid: lineage_of(c, [uid]).tries) for uid, *_ in some(count)]

    lineages(3)  # imports, and the compiled statements
    found = {}
    files = some(COLD_QUESTIONS)
    forget_cache(path)
    cold = [ask(database, lambda c, uid=uid: lineage_of(c, [uid]).tries) for uid, *_ in files]
    found["cold"], found["cold max"] = median(cold), max(cold)
    warm = lineages(QUESTIONS)
    found["lineage"], found["lineage max"] = median(warm), max(warm)
    with database.transaction() as connection:
        connection.exec_driver_sql("PRAGMA analysis_limit = 1000")
        connection.exec_driver_sql("ANALYZE")
    warm = lineages(QUESTIONS)
    found["analysed"], found["analysed max"] = median(warm), max(warm)
    files = some(QUESTIONS)
    found["name"] = median(
        [ask(database, lambda c, name=name: find_entity(c, name)) for _, name, *_ in files]
    )
    found["tries"] = median([ask(database, lambda c, r=r, s=s: tries_of(c, r, s)) for *_, r, s in files])
    found["version"] = ask(database, lambda c: find_by_version(c, "lstchain", "0.12.3"))
    impacts = []
    for _ in range(3):
        key = chance.randrange(n_nights) * base.entities + base.charge
        with database.reading() as connection:
            uid = connection.execute(select(entities.c.uid).where(entities.c.id == key)).scalar_one()
        times = [ask(database, lambda c, uid=uid: impact_of(c, [uid]).tries) for _ in range(3)]
        impacts.append(median(times))
    found["impact"] = median(impacts)
    return found | {"memory": peak_memory()}


def peak_memory() -> float:
    """Tell the most memory that this process has had, MB."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def measured(path: Path, base: Base, n_nights: int) -> dict[str, float]:
    """Measure in a process of its own, which has no memory of the copying."""
    arguments = [sys.executable, "-m", "benchmarks.provenance_index", "--measure", str(path)]
    order = json.dumps({"nights": n_nights, "base": vars(base)})
    done = subprocess.run(arguments, input=order, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


# ---------------------------------------------------------------------------- report


def sizes(n_nights: int) -> list[int]:
    """Tell at how many nights questions are asked: three sizes, each ten times the one before."""
    return sorted({max(n_nights // 100, 1), max(n_nights // 10, 1), n_nights})


def report(results: dict[int, dict[str, float]]) -> None:
    """Print times, and how they grow from the smallest size on."""
    smallest = results[min(results)]

    def cell(key: str, values: dict[str, float]) -> str:
        growth = values[key] / smallest[key]
        return (
            f"{values[key]:.1f}"
            + (f" ({values[f'{key} max']:.1f})" if f"{key} max" in values else "")
            + (f", x{growth:.2f}")
        )

    heads = {
        "lineage": "lineage of a DL2 (max)",
        "analysed": "after ANALYZE (max)",
        "cold": "from the disk (max)",
        "name": "file by name",
        "tries": "tries of a sub-run",
        "version": "1000 of a version",
        "impact": "impact of a calibration",
    }
    print("\nMilliseconds, each over a connection of its own; growth since the smallest size.\n")
    print_table(
        ("nights", *heads.values(), "file, GB", "memory, MB"),
        [
            (n, *(cell(key, values) for key in heads), values["file"] / 1e9, values["memory"])
            for n, values in results.items()
        ],
    )


def main() -> int:
    """Run the benchmark; the exit code says whether the largest index was fast enough."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nights", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--subruns", type=int, default=100)
    parser.add_argument("--keep", action="store_true", help="do not remove the database")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        order = json.load(sys.stdin)
        database = open_database(settings_for(options.measure), create=False)
        json.dump(measure(database, options.measure, Base(**order["base"]), order["nights"]), sys.stdout)
        return 0
    folder = WORK / "provenance_index"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        return run(folder / "index.sqlite", options)
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)


def settings_for(path: Path) -> ProvenanceSettings:
    """Name the database."""
    return ProvenanceSettings("sampled", "no", path, None, None)


def run(path: Path, options: argparse.Namespace) -> int:
    """Make the index larger and larger, and ask."""
    # Indexes are sorted in temporary files.
    path.parent.mkdir(parents=True)
    os.environ["SQLITE_TMPDIR"] = str(path.parent.absolute())
    database = open_database(settings_for(path), create=True)
    ingest_one(database, options.runs, options.subruns)
    with database.reading() as connection:
        base = Base.of(connection)
    before, results = 1, {}
    for n_nights in sizes(options.nights):
        seconds = copy_nights(path, base, before, n_nights)
        print(f"{n_nights} nights, copied in {seconds:.0f} s", file=sys.stderr)
        before = n_nights
        results[n_nights] = measured(path, base, n_nights) | {"file": float(path.stat().st_size)}
    report(results)
    with database.reading() as connection:
        counts = [
            f"{connection.execute(select(func.count()).select_from(table)).scalar_one():,} {table.name}"
            for table in (tries, entities, uses)
        ]
    slowest = max(results[options.nights][key] for key in ("lineage max", "analysed max"))
    print(f"\nThe largest has {', '.join(counts)}; its slowest lineage took {slowest:.1f} ms.")
    return 0 if slowest < LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
