"""What is known of the last nights of a telescope; it only looks, and passes over nothing in silence."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

from osa.closing.undo import late_subruns
from osa.config import Settings
from osa.decision import Action, Decision
from osa.errors import InputError, InterruptedNightError, OsaError
from osa.incidences import read_incidences
from osa.layout import DL2, Layout
from osa.model.job import NEVER, JobState, TaskRecord, live_tries
from osa.model.night import Night
from osa.model.run import list_subruns, run_tag
from osa.model.sequence import NightPlan, SequenceKind
from osa.nightstate import strangers
from osa.nightsummary.arrival import look_at_arrival
from osa.nightsummary.plan import plan_night
from osa.nightsummary.raw import find_raw_files
from osa.report import notes, table_rows
from osa.scheduler.base import Scheduler
from osa.scheduler.local import LocalScheduler
from osa.scheduler.select import refuse_other_backend
from osa.sequencing import decide_night
from osa.statuspage.page import LogTail, NightStatus, Status, Word

__all__ = ["OpenScheduler", "collect_night", "collect_status"]

_LOG_LINES = 3
_LOG_BYTES = 1 << 14
_LONGEST_LINE = 500
_PREFIX = "analysis.finished."
_RUNNING, _PENDING = "running", "pending"
_IDLE, _UNKNOWN = "pending that do not run by themselves", "of which nobody knows whether they are alive"

OpenScheduler = Callable[[Callable[[str], None]], Scheduler]
"""Makes a scheduler, given whom it tells what a person should know of its answers."""

T = TypeVar("T")


def collect_status(
    settings: Settings, *, nights: int, clock: datetime, open_scheduler: OpenScheduler
) -> Status:
    """Look at the current night, at those before it, and at the logs of cron.

    Parameters
    ----------
    settings : Settings
        The configuration.
    nights : int
        How many nights.
    clock : datetime.datetime
        The time.
    open_scheduler : callable
        Makes a scheduler; called for each night, as one says only once that it gets no answer.
    """
    reader, production, log_dir = _Reader(), settings.production, settings.cron.log_dir
    current = Night.current(clock, settings.telescope.nightoffset)
    layouts = [Layout(settings, Night(current.date - timedelta(days=back))) for back in range(nights)]
    parts = {
        "calibration": production.calibration_prod_id,
        "DL1": production.dl1_prod_id,
        "DL2": production.dl2_prod_id,
    }
    logs = reader.read(lambda: tuple(_log_tails(log_dir))) or ()
    return Status(
        telescope=settings.telescope_name,
        production=production.prod_id,
        other_productions={part: name for part, name in parts.items() if name != production.prod_id},
        clock=clock,
        nights=tuple(collect_night(layout, clock=clock, open_scheduler=open_scheduler) for layout in layouts),
        log_dir=str(log_dir),
        logs=logs,
        troubles=tuple(reader.troubles),
    )


def collect_night(layout: Layout, *, clock: datetime, open_scheduler: OpenScheduler) -> NightStatus:
    """Look at a night; what cannot be read is among its troubles, and the rest is told.

    Parameters
    ----------
    layout : Layout
        Of the night.
    clock : datetime.datetime
        The time.
    open_scheduler : callable
        Makes the scheduler.
    """
    reader, warnings = _Reader(), dict[str, None]()
    finished = reader.read(lambda: _finished(layout.night_finished))
    alarm = None if finished else reader.read(lambda: _text(layout.alarm))
    incidences = reader.read(lambda: _incidences(layout)) or ()
    look = partial(_look_at_work, layout, clock, open_scheduler, warnings.setdefault)
    has_summary = reader.read(layout.night_summary.exists)
    work = reader.read(lambda: look(is_closed=finished is not None)) if has_summary else None
    judged: tuple[Word, str] | None = None
    if finished:
        judged = _judge_closed(finished, work)
    elif work:
        judged = _judge_open(work)
    elif has_summary is False:
        judged = reader.read(lambda: _judge_without_summary(layout, clock))
    word, why = judged or (Word.NEEDS_A_PERSON, "")
    # That a night is closed is not the scheduler's word: its silence leaves that as it is.
    is_unread = bool(reader.troubles or (warnings and not finished))
    if is_unread or alarm is not None:
        said = ["not all of it could be read" if is_unread else ""]
        said += ["it should have been closed by now" if alarm is not None else "", why]
        word, why = Word.NEEDS_A_PERSON, "; ".join(filter(None, said))
    return NightStatus(
        night=layout.night,
        word=word,
        why=why,
        troubles=(*reader.troubles, *warnings),
        tasks=_count_in_words(work.tasks) if work else "",
        dl2=work.dl2 if work else (0, 0),
        finished=finished or {},
        rows=tuple(table_rows(work.decisions)) if work else (),
        notes=tuple(work.notes) if work else (),
        incidences=incidences,
        alarm=alarm,
    )


@dataclass
class _Reader:
    """Reads one thing after the other, and keeps what went wrong with each."""

    troubles: list[str] = field(default_factory=list)

    def read(self, look: Callable[[], T]) -> T | None:
        try:
            return look()
        except InterruptedNightError:
            raise
        except (OsaError, OSError) as error:
            self.troubles.append(str(error))
        except Exception as error:  # whatever is wrong with one night, the others are told of
            self.troubles.append(f"unexpected {type(error).__name__}: {error}")
        return None


@dataclass(frozen=True)
class _Work:
    """What is to be done in a night, and what is being done."""

    plan: NightPlan
    decisions: tuple[Decision, ...]
    tasks: Mapping[str, int]
    strangers: tuple[str, ...]
    late: Mapping[int, tuple[int, ...]]

    @property
    def dl2(self) -> tuple[int, int]:
        """How many sub-runs have a DL2, and how many the night summary promises."""
        data = [d.state for d in self.decisions if d.sequence.kind is SequenceKind.DATA]
        return sum(s.counts.get(DL2, 0) for s in data), sum(s.sequence.n_subruns for s in data)

    @property
    def notes(self) -> Iterator[str]:
        yield from notes(self.plan, self.decisions)
        for name in self.strangers:
            yield f"{name} may be at work, and the night has no such sequence; sequencer --cancel ends that"


def _look_at_work(
    layout: Layout,
    clock: datetime,
    open_scheduler: OpenScheduler,
    warn: Callable[[str], None],
    *,
    is_closed: bool,
) -> _Work:
    scheduler = open_scheduler(warn)
    refuse_other_backend(layout.settings, layout.group, scheduler)
    plan = plan_night(layout, clock=clock)
    records = scheduler.records(layout.group, plan.names)
    is_served = True
    if isinstance(scheduler, LocalScheduler):
        is_served = scheduler.store.executor(layout.group.name) is not None
    return _Work(
        plan,
        decide_night(layout, plan, records, simulate=True),
        Counter(_what_it_does(record, is_served) for record in live_tries(records)),
        strangers(plan, records),
        late_subruns(layout, plan) if is_closed else {},
    )


def _what_it_does(live: TaskRecord, is_served: bool) -> str:
    if live.state is JobState.PENDING:
        return _PENDING if is_served and live.reason != NEVER else _IDLE
    return _RUNNING if live.state is JobState.RUNNING else _UNKNOWN


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None


def _finished(path: Path) -> Mapping[str, str] | None:
    """Read what the flag of a closed night says, which is more than nothing; None without the flag."""
    text = _text(path)
    pairs = [line.partition("=") for line in (text or "").splitlines() if "=" in line]
    if text is not None and not pairs:
        raise InputError(f"{path} is there, as if the night were closed, and says nothing")
    return {key.removeprefix(_PREFIX).strip(): value.strip() for key, _, value in pairs} or None


def _incidences(layout: Layout) -> tuple[str, ...]:
    """Read the incidences, from their final place where the working folder is no more."""
    return read_incidences(layout.incidences) or read_incidences(layout.closer_dir / layout.incidences.name)


def _log_tails(folder: Path) -> Iterator[LogTail]:
    """Read the ends of all logs; a folder that nobody has made yet has none."""
    try:
        paths = sorted(folder.iterdir())
    except FileNotFoundError:
        return
    for path in paths:
        if path.suffix == ".log" and path.is_file():
            yield _log_tail(path)


def _log_tail(path: Path) -> LogTail:
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - _LOG_BYTES))
            text = stream.read(_LOG_BYTES).decode("utf-8", errors="replace")
            changed = datetime.fromtimestamp(os.fstat(stream.fileno()).st_mtime, UTC)
    except OSError as error:
        return LogTail(path.name, trouble=f"cannot be read: {error.strerror}")
    lines = [line[:_LONGEST_LINE].rstrip() for line in text.split("\n") if line.strip()]
    return LogTail(path.name, changed, tuple(lines[-_LOG_LINES:]))


def _count_in_words(tasks: Mapping[str, int]) -> str:
    order = (_RUNNING, _PENDING, _IDLE, _UNKNOWN)
    return ", ".join(f"{tasks[what]} {what}" for what in order if tasks.get(what))


def _judge_closed(finished: Mapping[str, str], work: _Work | None) -> tuple[Word, str]:
    if work and work.late:
        which = "; ".join(f"sub-runs {list_subruns(s)} of run {run_tag(run)}" for run, s in work.late.items())
        why = f"raw files came after it was closed: {which}; closer --reopen, then sequencer, take them in"
        return Word.NEEDS_A_PERSON, why
    when = finished.get("timestamp")
    return Word.CLOSED, f"since {when} UTC" if when else "NightFinished.txt does not say since when"


def _judge_open(work: _Work) -> tuple[Word, str]:
    vetoed = [run_tag(d.sequence.run) for d in work.decisions if d.action is Action.VETO]
    if vetoed:
        return Word.NEEDS_A_PERSON, f"vetoed: run(s) {', '.join(vetoed)}; the notes say what helps"
    if work.tasks.get(_RUNNING) or work.tasks.get(_PENDING):
        return Word.AT_WORK, "tasks are pending or running"
    if work.tasks.get(_UNKNOWN):
        return Word.UNKNOWN, "nobody knows whether tasks are alive; the notes say of which"
    return Word.WAITING, _what_it_waits_for(work)


def _what_it_waits_for(work: _Work) -> str:
    decisions = work.decisions
    if work.plan.arriving:
        return f"raw files may still arrive: {work.plan.arriving}"
    if not work.plan.data:
        return "the night summary has no DATA run; closer -r closes a night without data"
    if work.tasks.get(_IDLE):
        return f"{work.tasks[_IDLE]} task(s) do not run by themselves; the next sequencer sees to them"
    if missing := sum(len(decision.tasks) for decision in decisions):
        return f"{missing} task(s) are not submitted yet"
    if left := [d.sequence.name for d in decisions if not d.state.is_done]:
        return f"the next closer has to see to {', '.join(left)}; the notes say why"
    if any(decision.sequence.absent_subruns for decision in decisions):
        return "what is there is done, and raw files are missing; the notes say which"
    return "all is done, and the closer has not closed it yet"


def _judge_without_summary(layout: Layout, clock: datetime) -> tuple[Word, str]:
    arriving = look_at_arrival(layout, clock).why
    more = f": {arriving}" if arriving else ""
    if find_raw_files(layout):
        return Word.WAITING, f"raw files are there, and no night summary yet{more}"
    return Word.NO_DATA, f"no night summary and no raw files{' so far' * bool(more)}{more}"
