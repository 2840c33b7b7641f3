"""The alarm: what keeps a night from being closed, where that takes too long."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from osa.closing.cure import ARRIVING, Cures
from osa.closing.due import is_late
from osa.closing.in_short import in_short, latest_failures
from osa.closing.remedies import what_of
from osa.cures.diagnosis import failures
from osa.cures.evidence import read_tail
from osa.errors import MissingServiceError
from osa.incidences import read_incidences
from osa.layout import Layout
from osa.model.run import list_subruns, run_tag
from osa.model.text import printable
from osa.system.files import write_text
from osa.system.mail import send_mail

if TYPE_CHECKING:
    from osa.closing.night import Closing

__all__ = ["alarm_text", "raise_alarm", "tell_of_late_files"]

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

    That is so from the hour of the alarm on, and before it where only a person can help. It is mailed
    once, and again where what is missing has changed.

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
    if layout.settings.alarm.hour is None or not (is_late(layout, clock) or _needs_a_person(closing, cures)):
        return False
    text = alarm_text(closing, cures, clock=clock)
    write_text(layout.alarm, text)
    say(f"a person has to see to the night: {layout.alarm} says why")
    # While tasks end one after the other it is always something else that is missing.
    if not attended and not (closing.is_under_way and layout.alarm_mailed.exists()):
        _mail_once(layout, _mark(closing, cures), "is not closed", text, say)
    return True


def tell_of_late_files(
    layout: Layout, late: Mapping[int, Iterable[int]], *, attended: bool, say: Callable[[str], None]
) -> None:
    """Write, and mail once, that a closed night lacks raw files that came since.

    Parameters
    ----------
    layout : Layout
        Of the night.
    late : mapping of int to iterable of int
        Sub-runs by run.
    attended : bool
        Whether somebody is looking: then nobody is mailed.
    say : callable
        Told what was done.
    """
    if layout.settings.alarm.hour is None or not late:
        return
    which = ", ".join(f"sub-runs {list_subruns(found)} of run {run_tag(run)}" for run, found in late.items())
    night = f"-d {layout.night.underscored}"
    text = (
        f"{_heading(layout)} was closed before raw files came: {which}.\n"
        f"To do: closer --reopen {night}, then sequencer {night} (first with --take-in RUN.SUBRUN, for what "
        "was left out); the next closer closes it again.\n"
    )
    write_text(layout.alarm, text)
    if not attended:
        _mail_once(layout, hashlib.sha256(text.encode()).hexdigest(), "lacks raw files", text, say)


def _mail_once(layout: Layout, mark: str, what: str, text: str, say: Callable[[str], None]) -> None:
    """Mail something of a night to who is configured, unless it was mailed last."""
    alarm, mailed = layout.settings.alarm, layout.alarm_mailed
    before = mailed.read_text(encoding="utf-8", errors="replace").strip() if mailed.exists() else None
    if alarm.recipient is None or before == mark:
        return
    subject = f"{layout.settings.telescope_name}: night {layout.night} {what}"
    try:
        send_mail(alarm.mailer, alarm.recipient, subject, text)
        write_text(mailed, f"{mark}\n")
        say(f"mailed to {alarm.recipient}")
    except MissingServiceError as error:
        say(str(error))


def _needs_a_person(closing: Closing, cures: Cures) -> bool:
    """Tell whether nothing will happen any more by itself: all has come, nothing is at work or curable."""
    plan, layout = closing.plan, closing.layout
    may_come = plan.arriving or any(run.waits_for_raw_files for run in plan.skipped)
    may_come = may_come or any(sequence.absent_subruns for sequence in plan.sequences)
    was_begun = layout.night_lock.exists()
    return was_begun and not (cures or may_come or closing.is_under_way or closing.is_complete)


def _mark(closing: Closing, cures: Cures) -> str:
    """Tell what is wrong from what else may be wrong: which runs, which vetoes, which remarks."""
    open_ones = [v.state for v in closing.verdicts if not v.is_complete]
    words = [f"{state.sequence.name} {state.vetoed}" for state in open_ones]
    words += [str(run) for run in (*closing.plan.unlisted, *(run.run for run in closing.untold))]
    # Of what arrives it is told how much, and when: that is always something else.
    remarks = [remark for remark in cures.remarks if not remark.startswith(ARRIVING)]
    return hashlib.sha256(
        "\n".join([*words, *remarks, str(bool(closing.plan.arriving))]).encode()
    ).hexdigest()


def alarm_text(closing: Closing, cures: Cures, *, clock: datetime) -> str:
    """Write the report: two lines, then what is missing, was tried, can be done, and the ends of logs."""
    layout, short = closing.layout, in_short(closing, cures)
    parts = {
        "Missing": _missing(closing, cures),
        "Tried": [*_tried(closing), *read_incidences(layout.incidences)],
        "Commands that help": _to_do(closing),
    }
    lines = [
        f"{_heading(layout)} is not closed: {short.what}.",
        f"To do: {short.todo}.",
        "",
        f"As of {clock:%Y-%m-%d %H:%M} UTC.",
    ]
    for title, said in parts.items():
        lines += ["", title, *(f"  {line}" for line in said or ["nothing"])]
    for name, tail in _log_tails(closing):
        lines += ["", f"The end of {name}", *(f"  | {line}" for line in tail)]
    return "\n".join(lines) + "\n"


def _heading(layout: Layout) -> str:
    return layout.title[0].upper() + layout.title[1:]


def _missing(closing: Closing, cures: Cures) -> list[str]:
    lines = [
        f"{verdict.state.sequence.name}: {missing}"
        for verdict in closing.verdicts
        for missing in verdict.missing
    ]
    lines += closing.open_questions
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
    failed = [record for verdict in closing.verdicts for record in latest_failures(verdict.state)]
    for record in failed[:_TAILS]:
        log = closing.layout.job_log(record.name, record.job_id, record.task)
        tail = read_tail(log, _TAIL_BYTES).splitlines()[-_TAIL_LINES:]
        yield str(log), [printable(line) for line in tail]
