"""Closing a night, or one sequence of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

from osa.closing.actions import (
    Merge,
    PutFlag,
    calibration_links,
    closing_moves,
    merges,
    put_closed_flag,
)
from osa.closing.cure import Cures, find_cures
from osa.closing.examine import Examiner
from osa.closing.finish import finish_night
from osa.closing.journal import perform_moves
from osa.closing.judge import Verdict, judge
from osa.closing.merge import perform_merges
from osa.closing.provenance import MoveRecord, index_provenance, record_provenance
from osa.closing.remedies import what_of
from osa.cures.diagnosis import failures
from osa.errors import InputError, NightNotCompleteError, OsaError
from osa.incidences import note_incidence
from osa.layout import Layout
from osa.model.job import JobState
from osa.model.rule import Cure
from osa.model.run import RunType, list_subruns, run_tag
from osa.model.sequence import NightPlan, SequenceKind, SkippedRun
from osa.nightstate import SequenceState, read_night_state, strangers
from osa.nightsummary.plan import plan_night
from osa.provenance.publish import document_paths
from osa.scheduler.base import Scheduler
from osa.scheduler.select import local_capacity
from osa.system.locks import only_instance

__all__ = ["Closing"]

Progress = Callable[[str, int, int], None]

_LISTED = 20
_THROWN_AWAY = 5
"""Sub-runs up to which a run of unknown type is one of those that are begun and given up."""


@dataclass(frozen=True)
class Closing:
    """What closing means for a night as it is now.

    Parameters
    ----------
    layout : Layout
        Of the night.
    plan : NightPlan
        Its sequences.
    verdicts : tuple of Verdict
        On the sequences that are to be closed: the DATA runs, then the calibration, which they
        need until they are done.
    whole_night : bool
        Whether the night is closed with them.
    without_data : str or None
        Why the night has no data, where the operator says so.
    strangers : tuple of str
        Jobs that may be alive although the night has no such sequence any more.
    states : tuple of SequenceState
        What has become of all sequences of the night.
    """

    layout: Layout
    plan: NightPlan
    verdicts: tuple[Verdict, ...]
    whole_night: bool
    without_data: str | None = None
    strangers: tuple[str, ...] = ()
    states: tuple[SequenceState, ...] = ()

    @classmethod
    def prepare(
        cls,
        layout: Layout,
        scheduler: Scheduler,
        *,
        examiner: Examiner | None = None,
        tidy: bool = False,
        run: int | None = None,
        without_data: str | None = None,
        on_judged: Progress = lambda *_: None,
    ) -> Closing:
        """Judge a night.

        Parameters
        ----------
        layout : Layout
            Of the night.
        scheduler : Scheduler
            Knows what is still at work.
        examiner : Examiner, optional
            Opens the products, and remembers those that it has seen.
        tidy : bool
            Whether to have it put in order what it knows, for who is alone with the night.
        run : int, optional
            Only the sequence of this run.
        without_data : str, optional
            The reason why there is none.
        on_judged : callable
            Told how many of the sequences have been judged.

        Raises
        ------
        InputError
            If the night summary cannot be used, or has no such run, or has data although the
            night is said to have none.
        """
        if without_data is not None and not layout.night_summary.exists():
            return cls(layout, NightPlan(()), (), True, without_data)
        plan = plan_night(layout)
        if without_data is not None and plan.data:
            runs = ", ".join(str(sequence.run) for sequence in plan.data)
            raise InputError(
                f"-r {without_data}: the night has DATA runs ({runs}); without -r they are closed, "
                "and -f closes the night although something is missing"
            )
        ask = scheduler.tidy if tidy else scheduler.records
        records = ask(layout.group, plan.names)
        states = read_night_state(layout, plan, records)
        chosen = [state for state in states if run is None or state.sequence.run == run]
        if run is not None and not chosen:
            raise InputError(f"--seq {run}: the night has no sequence of this run")
        verdicts = []
        examiner = examiner or Examiner()
        ordered = sorted(chosen, key=lambda s: s.sequence.kind is SequenceKind.CALIBRATION)
        for count, state in enumerate(ordered, start=1):
            verdicts.append(judge(layout, state, examiner))
            on_judged("judging", count, len(ordered))
        if run is not None:
            verdicts = [_with_dependants(verdict, states) for verdict in verdicts]
        others = strangers(plan, records)
        return cls(layout, plan, tuple(verdicts), run is None, without_data, others, states)

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing: an empty night is complete only if somebody says so."""
        if not self.plan.data:
            return self.without_data is not None
        if self.whole_night and (self.plan.arriving or self.open_questions):
            return False
        return all(verdict.is_complete for verdict in self.verdicts)

    @property
    def untold(self) -> tuple[SkippedRun, ...]:
        """Runs whose type could not be told, and that are too long to be thrown away unasked."""
        return tuple(r for r in self.plan.skipped if r.label == "ERROR" and r.n_subruns > _THROWN_AWAY)

    @property
    def open_questions(self) -> tuple[str, ...]:
        """What a person has to say of runs before the night can be closed."""
        return (
            *(f"run {run_tag(run.run)} ({run.label}): {run.reason}" for run in self.untold),
            *(f"run {run_tag(run)}: the night summary does not have it" for run in self.plan.unlisted),
        )

    @property
    def is_under_way(self) -> bool:
        """Whether tasks may still write."""
        return bool(self.strangers) or any(verdict.state.live for verdict in self.verdicts)

    @property
    def what_is_under_way(self) -> str:
        """What keeps the night from being closed, and what to do."""
        if self.strangers:
            return (
                f"{', '.join(self.strangers)} may be at work, of which the night summary says nothing any "
                "more; sequencer --cancel ends that"
            )
        live = [verdict.state for verdict in self.verdicts if verdict.state.live]
        if all(state.state is JobState.UNKNOWN for state in live):
            names = ", ".join(state.sequence.name for state in live)
            return (
                f"nobody knows whether tasks of {names} are alive (sequencer -s says more); where that "
                "stays so, sequencer --cancel gives them up"
            )
        return "tasks are still at work; try again when they have ended"

    def cures(self, scheduler: Scheduler) -> Cures:
        """Find what can be done about what is missing."""
        run = None if self.whole_night else self.verdicts[0].state.sequence.run
        return find_cures(self.layout, self.plan, self.states, self.verdicts, scheduler, run=run)

    def alone(self) -> AbstractContextManager[None]:
        """Keep sequencers and other closers of the night away."""
        return only_instance(self.layout.night_lock, self.layout.title)

    def actions(self) -> Iterator[object]:
        """List everything that closing would do, in order."""
        for verdict in self.verdicts:
            yield from closing_moves(self.layout, verdict.state)
        yield from self._merges()
        for verdict in self.verdicts:
            if not verdict.state.closed:
                yield from (f"write {path}" for path in document_paths(self.layout, verdict.state.sequence))
        yield from self._flags()
        if self.whole_night:
            yield from calibration_links(self.layout, self.plan)
            yield f"write {self.layout.night_finished}"

    def perform(self, progress: Progress, *, force: bool = False) -> None:
        """Close: move, merge, write provenance, flag; the night last. Can be killed anywhere and done again.

        Parameters
        ----------
        progress : callable
            Told of what is done, how much of it, and of how much.
        force : bool
            Whether to close although the provenance is not complete.

        Raises
        ------
        NightNotCompleteError
            If a merge fails, or provenance is missing; what was done stays done.
        """
        self._note_what_was_cured()
        self._note_what_is_missing()
        self._perform_moves(progress)
        self._perform_merges(progress)
        self._record_provenance(progress, force=force)
        for flag in self._flags():
            flag.perform()
        if self.whole_night:
            for link in calibration_links(self.layout, self.plan):
                link.perform()
            now = datetime.now(UTC)
            finish_night(self.layout, self.plan, clock=now, reason=self.without_data)

    def _perform_moves(self, progress: Progress) -> None:
        """Move the products, and record that."""
        moves = {v.state.sequence: closing_moves(self.layout, v.state) for v in self.verdicts}
        records = [
            record
            for sequence, mine in moves.items()
            if (record := MoveRecord.begin(self.layout, self.plan, sequence, mine)) is not None
        ]
        try:
            everything = [move for mine in moves.values() for move in mine]
            perform_moves(self.layout.moves_journal, everything, partial(progress, "moving products"))
        except OsaError as error:
            for record in records:
                record.failed(str(error))
            raise
        for record in records:
            record.done()

    def _record_provenance(self, progress: Progress, *, force: bool) -> None:
        """Write documents and check them; what is wrong keeps the night open, unless it is forced."""
        # With the night those of runs that were closed before it: their calibration has been moved since.
        still_open = {v.state.sequence for v in self.verdicts if not v.state.closed}
        states = [v.state for v in self.verdicts if self.whole_night or not v.state.closed]
        on_done = partial(progress, "writing provenance")
        found = list(record_provenance(self.layout, self.plan, states, on_done))
        faults = [fault for sequence, fault in found if sequence in still_open]
        faults += index_provenance(self.layout, self.plan, self.states, closing=still_open)
        if faults and self.is_complete and not force:
            hint = "closer tries again, -f closes all the same"
            lines = [f"the provenance is not complete ({hint}):", *faults[:_LISTED]]
            lines += [f"… and {len(faults) - _LISTED} more"] * (len(faults) > _LISTED)
            raise NightNotCompleteError("\n  ".join(lines))
        faults += [fault for sequence, fault in found if sequence not in still_open]
        for fault in faults[:_LISTED]:
            note_incidence(self.layout, f"Closed although the provenance is not complete: {fault}.")

    def _perform_merges(self, progress: Progress) -> None:
        todo = self._merges()
        if not todo:
            return
        done = 0

        def on_done() -> None:
            nonlocal done
            done += 1
            progress("merging runs", done, len(todo))

        progress("merging runs", 0, len(todo))
        cores = local_capacity(self.layout.settings).cores
        failures = perform_merges(self.layout, todo, at_once=cores, on_done=on_done)
        if failures:
            raise NightNotCompleteError("\n  ".join(["some runs could not be merged:", *failures]))

    def _merges(self) -> list[Merge]:
        open_data = (
            verdict.state.sequence
            for verdict in self.verdicts
            if verdict.state.sequence.kind is SequenceKind.DATA and not verdict.state.closed
        )
        return [merge for sequence in open_data for merge in merges(self.layout, sequence)]

    def _flags(self) -> list[PutFlag]:
        sequences = [v.state.sequence for v in self.verdicts if not v.state.closed]
        return [put_closed_flag(self.layout, sequence) for sequence in sequences]

    def _note_what_was_cured(self) -> None:
        """Say in the incidences which tries failed, and were cured by others."""
        for verdict in self.verdicts:
            sequence = verdict.state.sequence
            if verdict.state.closed:
                continue
            for rule, tasks in failures(self.layout, verdict.state):
                cured = [task for task in tasks if task not in verdict.state.todo]
                if cured and rule.words and rule.cure is Cure.RESUBMIT:
                    what = what_of(sequence, cured)
                    note_incidence(self.layout, f"{what[0].upper()}{what[1:]}: {rule.name}; {rule.words}.")

    def _note_what_is_missing(self) -> None:
        """Say in the incidences what a forced closing leaves out, and which raw files never came."""
        if self.whole_night and self.plan.arriving:
            note_incidence(self.layout, "Closed although raw files were still arriving.")
        for run in self.plan.unlisted if self.whole_night else ():
            note_incidence(self.layout, f"Closed without run {run_tag(run)}, which the night summary lacks.")
        for sequence in self.plan.data:
            if sequence.gaps:
                which = list_subruns(sequence.gaps)
                text = f"Run {run_tag(sequence.run)}, sub-run(s) {which}: there was no raw file."
                note_incidence(self.layout, text)
            if sequence.lacking:
                which = list_subruns(sequence.lacking)
                text = (
                    f"Run {run_tag(sequence.run)}, sub-run(s) {which}: files of some streams were not there."
                )
                note_incidence(self.layout, text)
        for skipped in self.plan.skipped:
            if self.whole_night and RunType.from_label(skipped.label) is RunType.UNPROCESSED:
                why = skipped.reason.partition(": ")[2]
                text = f"Run {run_tag(skipped.run)} is of type {skipped.label} and was not processed"
                note_incidence(self.layout, f"{text}: {why}." if why else f"{text}.")
        for verdict in self.verdicts:
            for missing in verdict.missing:
                note_incidence(self.layout, f"{verdict.state.sequence.name} closed although {missing}.")


def _with_dependants(verdict: Verdict, states: Iterable[SequenceState]) -> Verdict:
    """Say of a calibration that is to be closed alone which runs still need it where it is."""
    needing = [
        str(state.sequence.run)
        for state in states
        if state.sequence.kind is SequenceKind.DATA and not state.is_done
    ]
    is_calibration = verdict.state.sequence.kind is SequenceKind.CALIBRATION
    if not is_calibration or verdict.state.closed or not needing:
        return verdict
    return replace(
        verdict, missing=(*verdict.missing, f"run(s) {', '.join(needing)} are not done and need it")
    )
