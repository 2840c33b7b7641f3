"""Looks into the raw files of one run; runs in a process of its own (:mod:`osa.survey.look`).

No more events are read than it takes to be sure of the type.
"""

from __future__ import annotations

import json
import signal
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from astropy.time import Time

from osa.survey.rawevents import RawSubrun
from osa.survey.run import ClockReference, RunSurvey, to_json
from osa.survey.tagging import ENOUGH, EventKind, Tag, TriggerCounts, tag_run

__all__ = ["main", "survey_run"]

_AT_ONCE = 500  # as many as lstchain looks at
_MOST = 3000
_BLOCK = 20  # events that are compressed together
_MOST_FAULTS = 5
_LONGEST = 200
_SECONDS = 120
_NS = 1_000_000_000


def survey_run(
    run: int, subruns: Mapping[int, list[Path]], on_subrun: Callable[[int], None] = lambda _: None
) -> RunSurvey:
    """Look into the raw files of a run.

    Parameters
    ----------
    run : int
        The run.
    subruns : mapping of int to list of pathlib.Path
        Its raw files by sub-run, one a stream, stream 1 first.
    on_subrun : callable
        Told of each sub-run before it is opened.
    """
    look = _Look(dict(sorted(subruns.items())), on_subrun)
    look.sample_first_events()
    if look.is_all_physics:
        look.sample_all_over()
    head = look.head
    return RunSurvey(
        run=run,
        subruns=tuple(look.subruns),
        tag=look.tag,
        start=head.start,
        counts=look.counts,
        sampled=tuple(look.sampled.items()),
        data_format=head.data_format,
        evb_preprocessing=head.evb_preprocessing,
        reference=head.reference,
        faults=(*look.described_faults(), *head.remarks()),
    )


@dataclass(frozen=True)
class _Head:
    """What the first sub-run with an event says of its run."""

    start: datetime | None = None
    data_format: str = "-"
    evb_preprocessing: int = 0
    reference: ClockReference | None = None
    lacks_modules: bool = False

    @classmethod
    def of(cls, subrun: int, raw: RawSubrun) -> _Head:
        reference = None
        try:
            first = None if raw.is_r1 else raw.first_event()
            lacks_modules = False
        except IndexError:  # no module was read out
            first, lacks_modules = None, True
        if first is not None:
            reference = ClockReference(
                subrun=subrun,
                event_id=first.event_id,
                ucts_ns=first.ucts_ns,
                run_start_ns=round(Time(raw.start, format="unix").unix_tai) * _NS,
                module_id=first.module_id,
                module_index=first.module_index,
                dragon_ns=first.dragon_ns,
                tib_ns=first.tib_ns,
            )
        start = datetime.fromtimestamp(raw.start, UTC)
        return cls(start, raw.data_format, raw.evb_preprocessing, reference, lacks_modules)

    def remarks(self) -> list[str]:
        """Tell what is unusual about the reference of the clocks."""
        if self.lacks_modules:
            return ["the clocks have no reference: no module was read out at the first event that is there"]
        if self.reference is None or self.reference.is_first:
            return []
        which = f"event {self.reference.event_id} (sub-run {self.reference.subrun})"
        if self.reference.is_usable:
            return [f"the clocks are referred to {which}, as the first event is not there"]
        return [f"the clocks have no reference: {which} has no UCTS time, and the first event is not there"]


class _Look:
    """What was seen of a run so far."""

    def __init__(self, subruns: Mapping[int, list[Path]], on_subrun: Callable[[int], None]) -> None:
        self.subruns = subruns
        self.counts = TriggerCounts()
        self.sampled: dict[int, int] = defaultdict(int)
        self.head = _Head()
        self._faults: dict[int, str] = {}
        self._on_subrun = on_subrun

    @property
    def tag(self) -> Tag:
        """The type as far as it is known."""
        return tag_run(self.counts, len(self.subruns))

    @property
    def is_all_physics(self) -> bool:
        """Whether no calibration event was seen, and another sample may have some."""
        return self.counts.physics > 0 and not (self.counts.pedestal or self.counts.flatfield)

    def sample_first_events(self) -> None:
        """Read from the first sub-run on, until the type is sure or enough was read."""
        for subrun in self.subruns:
            start, wanted, got = 0, 0, 0
            while got == wanted:
                wanted = _AT_ONCE - self.counts.total % _AT_ONCE
                got = self._sample(subrun, _range(start, start + wanted))
                start += wanted
                is_sure = self.counts.total >= _AT_ONCE and tag_run(self.counts).confidence >= ENOUGH
                if is_sure or self.counts.total >= _MOST:
                    return

    def sample_all_over(self) -> None:
        """Read blocks from all over the run.

        Where no calibration events are interleaved at first, a DATA run begins like a DRS4 run.
        """
        there = [subrun for subrun in self.subruns if subrun not in self._faults]
        if not there:
            return
        chosen = sorted({there[place] for place in (0, len(there) // 2, -1)})
        blocks = _AT_ONCE // _BLOCK // len(chosen)

        def spread(n_events: int) -> list[tuple[int, int]]:
            starts = sorted({n_events * k // blocks // _BLOCK * _BLOCK for k in range(blocks)})
            return [(start, start + _BLOCK) for start in starts if start >= known]

        for subrun in chosen:
            known = self.sampled[subrun]
            self._sample(subrun, spread)

    def described_faults(self) -> list[str]:
        """Tell which files cannot be read, the first few of many."""
        lines = [f"sub-run {subrun}: {fault}" for subrun, fault in self._faults.items()]
        more = len(lines) - _MOST_FAULTS
        return lines if more <= 0 else [*lines[:_MOST_FAULTS], f"… and {more} more"]

    def _sample(self, subrun: int, choose: Callable[[int], list[tuple[int, int]]]) -> int:
        """Count some events of a sub-run; what is wrong with it is noted, and what was read counts.

        Parameters
        ----------
        subrun : int
            The sub-run.
        choose : callable
            Given the number of its events, tells which ranges to read.

        Returns
        -------
        int
            How many events were read.
        """
        self._on_subrun(subrun)
        kinds: list[EventKind] = []
        try:
            with RawSubrun(self.subruns[subrun]) as raw:
                if not raw.n_events:
                    self._faults[subrun] = "there is no event in it"
                    return 0
                if self.head.start is None:
                    self.head = _Head.of(subrun, raw)
                for start, stop in choose(raw.n_events):
                    kinds.extend(raw.kinds(start, stop))
        except Exception as error:  # whatever a broken file makes of the libraries that read it
            said = " ".join(str(error).split())[:_LONGEST] or type(error).__name__
            self._faults[subrun] = f"it cannot be read: {said}"
        if kinds:
            self.sampled[subrun] += len(kinds)
        self.counts += TriggerCounts.of(kinds)
        return len(kinds)


def _range(start: int, stop: int) -> Callable[[int], list[tuple[int, int]]]:
    return lambda _: [(start, stop)]


def main() -> int:
    """Look into a run as the command line says: a file that tells what to look into, and where to write."""
    signal.alarm(_SECONDS)  # a reader that hangs in a broken file is ended
    asked, answer, mark = map(Path, sys.argv[1:4])
    request = json.loads(asked.read_text("utf-8"))
    subruns = {int(subrun): [Path(path) for path in paths] for subrun, paths in request["subruns"].items()}
    survey = survey_run(request["run"], subruns, lambda subrun: _mark(mark, subrun))
    answer.write_text(json.dumps(to_json(survey)), "utf-8")
    return 0


def _mark(path: Path, subrun: int) -> None:
    path.write_text(str(subrun), "ascii")
