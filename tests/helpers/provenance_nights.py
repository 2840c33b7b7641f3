"""A made-up night with all that provenance has to tell: redone and failed tries, a run made otherwise."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from night_states import add_done_histories, calibration_sequence, night_plan
from product_builders import (
    borrow_from_earlier_night,
    event_rows,
    write_calibration,
    write_data,
    write_tables,
)
from record_builders import add_records, record_try, steps_of

from osa.closing import night as night_module
from osa.closing.actions import Merge
from osa.closing.night import Closing
from osa.closing.provenance import MoveRecord
from osa.config import load_settings
from osa.layout import DL2, Layout
from osa.model.dataset import DatasetKind
from osa.model.night import Night
from osa.model.sequence import SequenceKind
from osa.nightsummary.plan import plan_night
from osa.records.lines import begin_line, end_line, read_records
from osa.records.model import FileRecord, Software, TryRecord
from osa.records.recorder import Recorder
from osa.scheduler.select import select_scheduler
from osa.steps import checks
from osa.steps.runner import begin_try
from tests.conftest import INPUT_FOLDERS, SHIPPED, change_key

NIGHT = Night(date(2020, 1, 27))
SUMMARY = """\
01872    1 DRS4  2020-01-27 19:51:44 0001 1580154753739954334 5739954100 nan nan nan
01873    1 CALI  2020-01-27 20:23:43 0001 1580156670887160057 1887159800 nan nan nan
01874    2 DATA  2020-01-27 20:44:13 0003 1580157904186709543 5186709300 nan nan nan
01875    1 DATA  2020-01-27 21:05:44 0003 1580159197411578464 7411578200 nan nan nan
01876    1 DATA  2020-01-27 21:25:44 0003 1580160397411578464 7411578200 nan nan nan
01877    1 DATA  2020-01-27 21:45:44 0003 1580161597411578464 7411578200 nan nan nan
"""
SUBRUNS = {1872: 1, 1873: 1, 1874: 2, 1875: 1, 1876: 1, 1877: 1}
DATA_RUNS = (1874, 1875, 1876, 1877)
N_DATA_SUBRUNS = 5
REDONE, FAILED_FIRST, OTHERWISE = (1874, 1), (1874, 0), 1876
WHY = "lstchain_data_r0_to_dl1 ended with signal 9 [red]\x1b[31m"
OTHER_VERSION = "99.1"


def write_config(base: Path, path: Path, changes: dict[tuple[str, str], str | None] | None = None) -> Path:
    """Write the shipped configuration for a telescope below a folder, which is made."""
    for folder in INPUT_FOLDERS:
        (base / folder).mkdir(parents=True, exist_ok=True)
    text = SHIPPED.read_text("utf-8").replace("base = ~/lst", f"base = {base}")
    usual = {
        ("SCHEDULER", "backend"): "local",
        ("ALARM", "hour"): "",
        ("ARRIVAL", "quiet_minutes"): "0",
        ("ARRIVAL", "streams"): "1",
        ("PROVENANCE", "graphs"): "no",
    }
    for (section, key), value in (usual | (changes or {})).items():
        text = change_key(text, section, key, value)
    path.write_text(text, "utf-8")
    return path


def layout_of(config: Path) -> Layout:
    return Layout(load_settings(config, "LST1"), NIGHT)


def write_inputs(layout: Layout) -> None:
    """Write night summary and raw files, each with another content."""
    layout.night_summary.write_text(SUMMARY, "utf-8")
    layout.raw_dir.mkdir(parents=True, exist_ok=True)
    for run, subruns in SUBRUNS.items():
        for subrun in range(subruns):
            layout.raw_file(run, subrun).write_bytes(f"raw {run}.{subrun} ".encode() * 300)
    models = layout.settings.telescope.models_dir
    for name in ("reg_energy", "reg_disp_norm", "cls_disp_sign", "cls_gh"):
        (models / f"{name}.sav").write_text(f"forest {name}", "utf-8")
    layout.drive_log.write_text("drive log", "utf-8")


def distinct_dl2(layout: Layout, run: int, subrun: int, energy: float) -> None:
    """Write DL2 with a content of its own, as real ones have."""
    rows = event_rows(run, "reco_energy", "gammaness", "reco_alt")
    rows["reco_energy"] = energy
    write_tables(layout.working(DL2, run, subrun), {checks.DL2_PARAMETERS: rows})


def add_try(
    layout: Layout, run: int, subrun: int | None, name: str, *, failed: tuple[int | None, str] | None = None
) -> None:
    """Record one more try of a step, which made what is there, or failed."""
    sequence = next(s for s in plan_night(layout).sequences if s.run == run)
    step = next(step for tag, step in steps_of(layout, sequence) if (tag, step.name) == (subrun, name))
    if failed is None:
        record_try(layout, run, subrun, step)
    else:
        begin_try(Recorder(layout, run, subrun), step).failed(*failed)


def rewrite_records(path: Path, change: Callable[[TryRecord], TryRecord]) -> None:
    """Have a file of records tell of its tries something else."""
    lines = []
    for record in map(change, read_records(path)):
        lines += [begin_line(record)] + ([end_line(record)] if record.ended else [])
    path.write_text("\n".join([*lines, ""]), "utf-8")


def made_otherwise(record: TryRecord) -> TryRecord:
    """Give a try another lstchain, parameter, configuration and forest."""
    other_hash = "ab" * 32

    def other_input(item: FileRecord) -> FileRecord:
        return replace(item, sha256=other_hash) if item.kind is DatasetKind.DRIVE_LOG else item

    return replace(
        record,
        software=Software({**record.software.versions, "lstchain": OTHER_VERSION}, "cd" * 32),
        parameters={**record.parameters, "tel-id": "7"},
        configuration=tuple(
            replace(item, path="/cfg/other.json", sha256="ef" * 32, archived=None)
            for item in record.configuration
        ),
        inputs=tuple(map(other_input, record.inputs)),
    )


def no_merges(layout: Layout, merges: list[Merge], *, at_once: int, on_done: Callable[[], None]) -> list[str]:
    """Stand for lstchain's merges."""
    for merge in merges:
        for product in merge.step.products:
            if not product.final.exists():
                product.final.write_text(f"merged: {product.final.name}", "utf-8")
        on_done()
    return []


def close(layout: Layout, *, force: bool = False, **how: Any) -> Closing:
    """Close a night without lstchain."""
    closing = Closing.prepare(layout, select_scheduler(layout.settings, "local"), **how)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(night_module, "perform_merges", no_merges)
        closing.perform(lambda *_: None, force=force)
    return closing


def write_storied_night(layout: Layout) -> None:
    """Write a night with a sub-run that failed at first, one that was redone, and a run made otherwise."""
    write_inputs(layout)
    write_calibration(layout)
    for sequence in plan_night(layout).sequences:
        add_done_histories(layout, sequence)
        if sequence.kind is SequenceKind.CALIBRATION:
            add_records(layout, sequence)
            continue
        write_data(layout, sequence)
        for subrun in sequence.subruns:
            distinct_dl2(layout, sequence.run, subrun, energy=sequence.run + subrun / 10)
            if (sequence.run, subrun) == FAILED_FIRST:
                add_try(layout, *FAILED_FIRST, "r0_to_dl1", failed=(-9, WHY))
        add_records(layout, sequence)
    distinct_dl2(layout, *REDONE, energy=7.0)
    add_try(layout, *REDONE, "dl1_to_dl2")
    rewrite_records(layout.records(OTHERWISE, 0), made_otherwise)


@dataclass(frozen=True)
class ClosedNight:
    """A closed night with its index."""

    config: Path
    layout: Layout

    @property
    def options(self) -> list[str]:
        return ["-c", str(self.config)]


def make_closed_night(folder: Path) -> ClosedNight:
    """Make a night with a story, and close it."""
    config = write_config(folder / "lst", folder / "sequencer.cfg")
    layout = layout_of(config)
    write_storied_night(layout)
    close(layout)
    return ClosedNight(config, layout)


@contextmanager
def changed_for_now(path: Path) -> Iterator[Path]:
    """Put a file back to what it was, with its times."""
    data, status = path.read_bytes(), path.stat()
    try:
        yield path
    finally:
        path.write_bytes(data)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@dataclass(frozen=True)
class Answer:
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def names(self) -> list[str]:
        return [row["name"] for row in self.json]

    @property
    def paths(self) -> set[Path]:
        return set(map(Path, self.out.splitlines()))

    def column(self, head: str) -> list[str]:
        """One column of what was printed for people."""
        heads, *lines = self.out.splitlines()
        start = heads.index(head)
        return [line[start:].split("  ")[0].strip() for line in lines]


def called(
    main: Callable[[Sequence[str]], int], capsys: pytest.CaptureFixture[str], *arguments: object
) -> Answer:
    """Call a command, in which no error may come unexpected."""
    capsys.readouterr()
    try:
        code = main(list(map(str, arguments)))
    except SystemExit as ended:
        assert isinstance(ended.code, int)
        code = ended.code
    said = capsys.readouterr()
    assert "Traceback" not in said.err and "unexpected" not in said.err
    return Answer(code, said.out, said.err)


def edited_index(night: ClosedNight, folder: Path, *statements: str) -> Path:
    """Make a copy of the index that tells something else; gives a configuration that names it."""
    copy = folder / "copy.sqlite"
    shutil.copy(night.layout.settings.provenance.database, copy)
    with closing(sqlite3.connect(copy)) as connection:
        for statement in statements:
            assert connection.execute(statement).rowcount > 0
        connection.commit()
    text = night.config.read_text("utf-8").replace("%(base)s/OSA/provenance.sqlite", str(copy))
    assert str(copy) in text
    (folder / "copy.cfg").write_text(text, "utf-8")
    return folder / "copy.cfg"


def calibrate_from_other_night(layout: Layout) -> Layout:
    """Have the finished calibration of a night be that of another, with records; gives the other."""
    borrow_from_earlier_night(layout)
    other = Layout(layout.settings, Night(layout.night.date - timedelta(days=2)))
    sequence = calibration_sequence(run=1701, drs4_run=1700, calibration_run=1701)
    for _, step in steps_of(other, sequence):
        attempt = begin_try(Recorder(other, 1701, None), step)
        places = [(p, other.final_calibration_dir / p.final.name) for p in step.products]
        attempt.done(attempt.identify((str(p.kind), p.kind, at, p.final) for p, at in places if at.exists()))
    move = MoveRecord.begin(other, night_plan(sequence), sequence, [])
    assert move is not None
    move.done()
    shutil.rmtree(layout.records_dir)
    for data in plan_night(layout).data:
        add_records(layout, data)
    return other
