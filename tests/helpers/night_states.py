"""Made-up sequences, task records, histories and products of a night."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from osa.layout import PRODUCT_KINDS, Layout
from osa.model.job import JobState, TaskRecord
from osa.model.sequence import NightPlan, Sequence, SequenceKind
from osa.nightstate import SequenceState
from osa.steps.history import HistoryRecord, append_record, read_history

DRS4_RUN, CALIBRATION_RUN = 1872, 1873
CLOCK = datetime(2020, 1, 28, 6, tzinfo=UTC)
SUBMITTED = datetime(2020, 1, 28, 4, tzinfo=UTC)
DATA_PROGRAMS = ("lstchain_data_r0_to_dl1", "lstchain_check_dl1", "lstchain_dl1_to_dl2")


def calibration_sequence(**changes: object) -> Sequence:
    values = {
        "telescope": "LST1", "number": 0, "kind": SequenceKind.CALIBRATION, "run": CALIBRATION_RUN,
        "n_subruns": 1, "subruns": (0,), "drs4_run": DRS4_RUN, "calibration_run": CALIBRATION_RUN,
    }  # fmt: skip
    return Sequence(**{**values, **changes})  # type: ignore[arg-type]


def data_sequence(run: int = 1874, n_subruns: int = 3, **changes: object) -> Sequence:
    values = {
        "telescope": "LST1", "number": run - CALIBRATION_RUN, "kind": SequenceKind.DATA, "run": run,
        "n_subruns": n_subruns, "subruns": tuple(range(n_subruns)), "drs4_run": DRS4_RUN,
        "calibration_run": CALIBRATION_RUN, "parent": 0, "source": "Crab", "wobble": "W0.40+090",
    }  # fmt: skip
    return Sequence(**{**values, **changes})  # type: ignore[arg-type]


def night_plan(*sequences: Sequence) -> NightPlan:
    return NightPlan(sequences or (calibration_sequence(), data_sequence()))


def record(
    name: str = "LST1_01874",
    task: int | None = 0,
    state: JobState = JobState.COMPLETED,
    *,
    job_id: str = "1",
    started: float | None = None,
    ended: float | None = None,
    cpu: float = 0.0,
    exit_code: int | None = None,
    host: str | None = None,
) -> TaskRecord:
    """Make a record; started and ended in seconds after the submission."""
    times = [None if at is None else SUBMITTED + timedelta(seconds=at) for at in (started, ended)]
    return TaskRecord(job_id, name, task, state, SUBMITTED, *times, exit_code, host, timedelta(seconds=cpu))


def sequence_state(
    sequence: Sequence | None = None,
    *,
    todo: Iterable[int] = (),
    exhausted: Iterable[int] = (),
    records: Iterable[TaskRecord] = (),
    counts: dict[object, int] | None = None,
    closed: bool = False,
    vetoed: bool = False,
) -> SequenceState:
    sequence = sequence or data_sequence()
    return SequenceState(
        sequence, tuple(todo), tuple(exhausted), counts or {}, tuple(records), closed, vetoed
    )  # type: ignore[arg-type]


def add_try(
    layout: Layout, run: int, subrun: int | None, program: str, code: int = 0, *, prod_id: str | None = None
) -> None:
    """Write the end of a try to the history, each a minute after the one before."""
    clock = CLOCK + timedelta(minutes=len(read_history(layout.history(run, subrun))))
    append_record(
        layout.history(run, subrun),
        HistoryRecord.now(
            run, subrun, program=program, prod_id=prod_id or layout.settings.production.prod_id,
            input="input", card="card", return_code=code, clock=clock,
        ),
    )  # fmt: skip


def add_done_histories(layout: Layout, sequence: Sequence) -> None:
    """Write the histories of a sequence of which every step succeeded."""
    if sequence.kind is SequenceKind.CALIBRATION:
        from osa.steps import charge_calibration, drs4_pedestal, time_calibration

        for module in (drs4_pedestal, time_calibration, charge_calibration):
            add_try(layout, sequence.run, None, module.PROGRAM)
    else:
        for subrun in sequence.subruns:
            for program in DATA_PROGRAMS:
                add_try(layout, sequence.run, subrun, program)


def calibration_names(layout: Layout) -> list[str]:
    return [
        layout.drs4_pedestal(DRS4_RUN).name,
        layout.time_calibration(CALIBRATION_RUN).name,
        layout.charge_calibration(CALIBRATION_RUN).name,
    ]


def add_name_only_products(layout: Layout, sequence: Sequence) -> None:
    """Put files under the names of all products, with something in them."""
    layout.analysis_dir.mkdir(parents=True, exist_ok=True)
    if sequence.kind is SequenceKind.CALIBRATION:
        for name in calibration_names(layout):
            (layout.analysis_dir / name).write_text(name, encoding="utf-8")
    else:
        for kind in PRODUCT_KINDS:
            for subrun in sequence.subruns:
                path = layout.working(kind, sequence.run, subrun)
                path.write_text(path.name, encoding="utf-8")
