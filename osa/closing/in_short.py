"""What keeps a night from being closed, and what a person can do about it, in two lines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from osa.closing.cure import Cures
from osa.flags import is_veto_of_operator
from osa.model.job import JobState, TaskRecord
from osa.model.run import list_subruns, run_tag
from osa.model.sequence import SequenceKind
from osa.model.text import printable
from osa.nightstate import SequenceState

if TYPE_CHECKING:
    from osa.closing.night import Closing

__all__ = ["InShort", "in_short", "latest_failures"]

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
        _vetoed,
        _arriving,
        _untold,
        _nothing_to_do,
        _no_calibration,
        _lost_raw_files,
        _unlisted,
        _under_way,
    )
    said = next((found for kind in kinds if (found := kind(closing, cures)) is not None), None)
    said = said or _anything_else(closing, cures)
    return InShort(_one_line(said.what), _one_line(said.todo))


def _one_line(text: str) -> str:
    return " ".join(printable(text).split())


def _arriving(closing: Closing, _: Cures) -> InShort | None:
    if not closing.plan.arriving:
        return None
    todo = f"see to their transfer into {closing.layout.raw_dir}; the rest goes by itself"
    return InShort(f"raw files are still arriving: {closing.plan.arriving}", todo)


def _untold(closing: Closing, _: Cures) -> InShort | None:
    if not closing.untold:
        return None
    first = closing.untold[0]
    more = f", nor of {len(closing.untold) - 1} more" if len(closing.untold) > 1 else ""
    what = f"the type of run {run_tag(first.run)} ({first.n_subruns} sub-runs) is not known{more}"
    override = closing.layout.override
    todo = f"see {_call(closing, 'nightsummary -s')}, and say below [types] of {override} what it is"
    return InShort(what, f"{todo}, or leave it out there; the rest goes by itself")


def _unlisted(closing: Closing, _: Cures) -> InShort | None:
    if not closing.plan.unlisted:
        return None
    tags = ", ".join(run_tag(run) for run in closing.plan.unlisted[:_RUNS])
    what = f"the night summary does not have {len(closing.plan.unlisted)} run(s) with raw files ({tags})"
    todo = (
        f"{_call(closing, 'nightsummary')}, with --overwrite where it was edited; or leave them out in "
        f"{closing.layout.override}"
    )
    return InShort(what, todo)


def _nothing_to_do(closing: Closing, _: Cures) -> InShort | None:
    if closing.plan.data:
        return None
    close = _call(closing, "closer")
    todo = f"{close} -r moon, weather or other; or tell the types of runs in {closing.layout.override}"
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
        f"itself; where there is none, {_call(closing, 'closer -f')} closes the night without"
    )
    return InShort(what, todo)


def _vetoed(closing: Closing, _: Cures) -> InShort | None:
    vetoed = [verdict.state for verdict in closing.verdicts if verdict.state.vetoed]
    if not vetoed:
        return None
    layout = closing.layout
    # The run whose log is named is the one to begin with.
    first = next((state for state in vetoed if latest_failures(state)), vetoed[0])
    unveto = _call(closing, "sequencer", after=f"--unveto {first.sequence.run}")
    if all(is_veto_of_operator(layout, state.sequence) for state in vetoed):
        what = f"{_runs(vetoed)} wait(s), vetoed by an operator"
        return InShort(what, f"{unveto} has it tried; or leave it out in {layout.override}")
    failed = latest_failures(first)[:1]
    logs = [layout.job_log(record.name, record.job_id, record.task) for record in failed]
    what = f"{_runs(vetoed)} failed too often and wait(s) for a person"
    return InShort(what, f"look at {logs[0] if logs else layout.log_dir}, cure the cause, and {unveto}")


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
    look, cancel = _call(closing, "sequencer -s"), _call(closing, "sequencer --cancel")
    if closing.strangers:
        what = (
            f"{', '.join(closing.strangers[:_RUNS])} may be at work, and the night has no such run any more"
        )
        return InShort(what, f"{cancel} ends that")
    states = [verdict.state for verdict in closing.verdicts if verdict.state.live]
    if not states:
        return None
    what = f"{sum(len(state.live) for state in states)} task(s) are not done"
    if all(state.state is JobState.UNKNOWN for state in states):
        return InShort(
            f"{what}, and nobody knows whether they are alive", f"{look} says more, {cancel} gives them up"
        )
    return InShort(what, f"see with {look} that they go on; the rest goes by itself")


def latest_failures(state: SequenceState) -> list[TaskRecord]:
    """Give the latest tries of tasks that are not done, where they failed."""
    fine = {JobState.COMPLETED, JobState.CANCELLED}
    tries = [state.latest[task] for task in state.todo if task in state.latest]
    return [record for record in tries if not record.state.is_live and record.state not in fine]


def _anything_else(closing: Closing, cures: Cures) -> InShort:
    missing = [f"{v.state.sequence.name}: {line}" for v in closing.verdicts for line in v.missing]
    lines = [*missing, *cures.remarks] or ["it is not known what is missing"]
    more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
    todo = f"{_call(closing, 'closer -s')} says more; {_call(closing, 'closer -f')} closes what is there"
    return InShort(lines[0] + more, todo)


def _runs(states: list[SequenceState]) -> str:
    tags = [run_tag(state.sequence.run) for state in states]
    more = f", and {len(tags) - _RUNS} more" if len(tags) > _RUNS else ""
    return f"run(s) {', '.join(tags[:_RUNS])}{more}"


def _call(closing: Closing, command: str, *, after: str = "") -> str:
    """Write a command line for this night and telescope."""
    telescope = closing.layout.settings.telescope_name
    words = [
        command,
        f"-d {closing.layout.night.underscored}",
        after,
        "" if telescope == "LST1" else telescope,
    ]
    return " ".join(filter(None, words))
