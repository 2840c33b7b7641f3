"""The alarm: what keeps a night from being closed, where that takes too long."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from osa.closing.cure import Cures
from osa.closing.due import is_late
from osa.closing.judge import Verdict
from osa.closing.remedies import what_of
from osa.cures.diagnosis import failures
from osa.cures.evidence import read_tail
from osa.errors import MissingServiceError
from osa.incidences import read_incidences
from osa.model.job import JobState, TaskRecord
from osa.system.files import write_text
from osa.system.mail import send_mail

if TYPE_CHECKING:
    from osa.closing.night import Closing

__all__ = ["alarm_text", "raise_alarm"]

_TAILS = 5
_TAIL_LINES = 15
_TAIL_BYTES = 8192


def raise_alarm(
    closing: Closing,
    cures: Cures,
    *,
    attended: bool,
    say: Callable[[str], None],
    clock: datetime | None = None,
) -> bool:
    """Write the report on a night that should have been closed, and mail it where that is wanted.

    It is mailed once, and again where what is missing has changed.

    Parameters
    ----------
    closing : Closing
        The night as it is.
    cures : Cures
        What can be done about it.
    attended : bool
        Whether somebody is looking: then nobody is mailed.
    say : callable
        Told what was done.
    clock : datetime.datetime, optional
        The time; now by default.

    Returns
    -------
    bool
        Whether there was an alarm.
    """
    layout, clock = closing.layout, clock or datetime.now(UTC)
    if layout.settings.alarm.hour is None or not is_late(layout, clock):
        return False
    text = alarm_text(closing, cures, clock=clock)
    write_text(layout.alarm, text)
    say(f"the night should have been closed by now: see {layout.alarm}")
    alarm = layout.settings.alarm
    if alarm.recipient is None or attended:
        return True
    mailed = layout.alarm_mailed
    mark = _mark(closing, cures)
    before = mailed.read_text(encoding="utf-8", errors="replace").strip() if mailed.exists() else None
    # While tasks end one after the other it is always something else that is missing.
    if before is not None and (before == mark or closing.is_under_way):
        return True
    subject = f"{layout.settings.telescope_name}: night {layout.night} is not closed"
    try:
        send_mail(alarm.mailer, alarm.recipient, subject, text)
        write_text(mailed, f"{mark}\n")
        say(f"mailed to {alarm.recipient}")
    except MissingServiceError as error:
        say(str(error))
    return True


def _mark(closing: Closing, cures: Cures) -> str:
    """Tell what is wrong from what else may be wrong: which runs, which vetoes, which remarks."""
    open_ones = [v.state for v in closing.verdicts if not v.is_complete]
    words = [f"{state.sequence.name} {state.vetoed}" for state in open_ones]
    return hashlib.sha256("\n".join([*words, *cures.remarks]).encode()).hexdigest()


def alarm_text(closing: Closing, cures: Cures, *, clock: datetime) -> str:
    """Write the report: what is missing, what was tried, what can be done, the ends of logs."""
    layout = closing.layout
    parts = {
        "Missing": _missing(closing, cures),
        "Tried": [*_tried(closing), *read_incidences(layout.incidences)],
        "To do": _to_do(closing),
    }
    lines = [f"{layout.title[0].upper()}{layout.title[1:]} is not closed ({clock:%Y-%m-%d %H:%M} UTC)"]
    for title, said in parts.items():
        lines += ["", title, *(f"  {line}" for line in said or ["nothing"])]
    for name, tail in _log_tails(closing):
        lines += ["", f"The end of {name}", *(f"  | {line}" for line in tail)]
    return "\n".join(lines) + "\n"


def _missing(closing: Closing, cures: Cures) -> list[str]:
    lines = [
        f"{verdict.state.sequence.name}: {missing}"
        for verdict in closing.verdicts
        for missing in verdict.missing
    ]
    if not closing.verdicts:
        lines.append("the night summary has no run that is processed")
    return [*lines, *cures.remarks]


def _tried(closing: Closing) -> Iterator[str]:
    for verdict in closing.verdicts:
        for rule, tasks in failures(closing.layout, verdict.state):
            yield f"{what_of(verdict.state.sequence, tasks)}: {rule.name}"


def _to_do(closing: Closing) -> list[str]:
    """Name the commands that help; everything is in the paths and numbers that they need."""
    layout = closing.layout
    night = f"-d {layout.night.underscored}"
    lines = [f"sequencer -s {night}    shows the table"]
    for verdict in closing.verdicts:
        run = verdict.state.sequence.run
        if verdict.state.vetoed:
            lines.append(f"sequencer {night} --unveto {run}    has run {run} tried again, when it is cured")
    if closing.is_under_way:
        lines.append(closing.what_is_under_way)
    lines.append(f"{layout.override.name} in {layout.override.parent} can leave runs and sub-runs out")
    lines.append(f"closer -f {night}    closes what is there; Incidences.txt says what is missing")
    return lines


def _log_tails(closing: Closing) -> Iterator[tuple[str, list[str]]]:
    """Give the ends of the logs of some tasks whose latest try failed."""
    failed = [record for verdict in closing.verdicts for record in _latest_failures(verdict)]
    for record in failed[:_TAILS]:
        log = closing.layout.job_log(record.name, record.job_id, record.task)
        tail = read_tail(log, _TAIL_BYTES).splitlines()[-_TAIL_LINES:]
        yield str(log), ["".join(c if c.isprintable() else " " for c in line) for line in tail]


def _latest_failures(verdict: Verdict) -> list[TaskRecord]:
    fine = {JobState.COMPLETED, JobState.CANCELLED}
    latest = verdict.state.latest
    return [
        latest[task]
        for task in verdict.state.todo
        if task in latest and not latest[task].state.is_live and latest[task].state not in fine
    ]
