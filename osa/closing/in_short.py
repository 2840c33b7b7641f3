"""What keeps a night from being closed, and what a person can do about it, in two lines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from osa.closing.cure import Cures
from osa.model.run import list_subruns, run_tag
from osa.model.sequence import SequenceKind
from osa.nightstate import SequenceState

if TYPE_CHECKING:
    from osa.closing.night import Closing

__all__ = ["InShort", "in_short"]

_RUNS = 4


@dataclass(frozen=True)
class InShort:
    """Two sentences.

    Parameters
    ----------
    what : str
        What is wrong.
    todo : str
        What to do.
    """

    what: str
    todo: str


def in_short(closing: Closing, cures: Cures) -> InShort:
    """Say the one thing that matters most of a night that is not closed.

    Parameters
    ----------
    closing : Closing
        The night as it is.
    cures : Cures
        What can be done about it.
    """
    kinds: tuple[Callable[[Closing, Cures], InShort | None], ...] = (
        _arriving,
        _nothing_to_do,
        _no_calibration,
        _vetoed,
        _lost_raw_files,
        _under_way,
    )
    said = next((found for kind in kinds if (found := kind(closing, cures)) is not None), None)
    return said or _anything_else(closing, cures)


def _arriving(closing: Closing, _: Cures) -> InShort | None:
    if not closing.plan.arriving:
        return None
    todo = f"see to their transfer into {closing.layout.raw_dir}; the rest goes by itself"
    return InShort(f"raw files are still arriving: {closing.plan.arriving}", todo)


def _nothing_to_do(closing: Closing, _: Cures) -> InShort | None:
    if closing.plan.data:
        return None
    night = _night(closing)
    todo = f"closer {night} -r moon, weather or other; or tell the types of runs in {closing.layout.override}"
    return InShort("it has no DATA run that can be processed", todo)


def _no_calibration(closing: Closing, cures: Cures) -> InShort | None:
    choice = closing.plan.choice
    data = [v for v in closing.verdicts if v.state.sequence.kind is SequenceKind.DATA]
    waiting = [verdict.state for verdict in data if not verdict.is_complete]
    if None not in (choice.calibration_run, choice.drs4_run) or not waiting:
        return None
    kind = "calibration" if choice.calibration_run is None else "DRS4"
    layout = closing.layout
    what = f"there is no usable {kind} run, and {_runs(waiting)} wait(s) for it"
    others = [remark for remark in cures.remarks if "own calibration" in remark]
    if others:
        what += f"; {others[0].rpartition(', and ')[2]}"
    todo = (
        f"put its raw files into {layout.raw_dir}, or choose a run in {layout.override}: the rest goes by "
        f"itself; where there is none, closer -f {_night(closing)} closes the night without"
    )
    return InShort(what, todo)


def _vetoed(closing: Closing, _: Cures) -> InShort | None:
    vetoed = [verdict.state for verdict in closing.verdicts if verdict.state.vetoed]
    if not vetoed:
        return None
    last = vetoed[0].records[-1:]
    logs = [closing.layout.job_log(record.name, record.job_id, record.task) for record in last]
    where = logs[0] if logs else closing.layout.log_dir
    run = vetoed[0].sequence.run
    todo = f"look at {where}, cure the cause, and sequencer {_night(closing)} --unveto {run}"
    return InShort(f"{_runs(vetoed)} failed too often and wait(s) for a person", todo)


def _lost_raw_files(closing: Closing, _: Cures) -> InShort | None:
    sequences = (verdict.state.sequence for verdict in closing.verdicts if not verdict.state.closed)
    lacking = [sequence for sequence in sequences if sequence.absent_subruns]
    if not lacking:
        return None
    first = lacking[0]
    what = f"raw files of run {run_tag(first.run)} are missing: sub-runs {list_subruns(first.absent_subruns)}"
    if len(lacking) > 1:
        what += f", and of {len(lacking) - 1} more run(s)"
    layout = closing.layout
    return InShort(what, f"put them into {layout.raw_dir}, or leave them out in {layout.override}")


def _under_way(closing: Closing, _: Cures) -> InShort | None:
    if not closing.is_under_way:
        return None
    return InShort("tasks are not done", closing.what_is_under_way)


def _anything_else(closing: Closing, cures: Cures) -> InShort:
    missing = [f"{v.state.sequence.name}: {line}" for v in closing.verdicts for line in v.missing]
    lines = [*missing, *cures.remarks] or ["it is not known what is missing"]
    more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
    todo = f"closer -s {_night(closing)} says more; closer -f {_night(closing)} closes what is there"
    return InShort(" ".join(lines[0].split()) + more, todo)


def _runs(states: list[SequenceState]) -> str:
    tags = [run_tag(state.sequence.run) for state in states]
    more = f", and {len(tags) - _RUNS} more" if len(tags) > _RUNS else ""
    return f"run(s) {', '.join(tags[:_RUNS])}{more}"


def _night(closing: Closing) -> str:
    return f"-d {closing.layout.night.underscored}"
