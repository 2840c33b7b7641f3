"""What a failed try left behind, and whether it is what a rule is about."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from osa.errors import ProductError
from osa.model.job import JobState, TaskRecord
from osa.model.rule import Rule, Scope
from osa.model.sequence import Sequence, SequenceKind
from osa.steps.environment import TASK_BEGINS

__all__ = ["Evidence", "first_match", "is_in", "read_tail"]

_TAIL = 1 << 16  # bytes; a traceback of lstchain has some thousands
_BLOCK = 1 << 20


def read_tail(path: Path, size: int = _TAIL) -> str:
    """Read the last part of a log, also where nightclean has compressed it; empty if it cannot be read.

    Of a night that was opened again there may be both: the compressed file tells what came first.
    """
    said = _end_of(path, size)
    if len(said) < size:
        said = _end_of_compressed(path.with_name(f"{path.name}.gz"), size - len(said)) + said
    return said.decode("utf-8", errors="replace")


def _end_of(path: Path, size: int) -> bytes:
    with suppress(OSError), path.open("rb") as stream:
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - size))
        return stream.read(size)
    return b""


def _end_of_compressed(path: Path, size: int) -> bytes:
    end = b""
    with suppress(OSError, EOFError, zlib.error), gzip.open(path) as stream:
        while block := stream.read(_BLOCK):
            end = (end + block)[-size:]
        return end
    return b""


@dataclass(frozen=True)
class Evidence:
    """One try that did not give what it should.

    Parameters
    ----------
    sequence : Sequence
        What it was a try of.
    record : TaskRecord
        What the scheduler says of it.
    log : pathlib.Path
        What it said itself.
    raw_file : pathlib.Path or None
        What it worked on, for a sub-run of DATA.
    """

    sequence: Sequence
    record: TaskRecord
    log: Path
    raw_file: Path | None = None

    @cached_property
    def text(self) -> str:
        """The last part of what the latest try said: one log has all that Slurm begins again."""
        return read_tail(self.log).rpartition(TASK_BEGINS)[2]

    @cached_property
    def raw_events(self) -> int | None:
        """Events of the raw file; None where that cannot be read."""
        from osa.steps.checks import raw_event_count

        if self.raw_file is not None:
            with suppress(ProductError):
                return raw_event_count(self.raw_file)
        return None

    @cached_property
    def is_cut_short(self) -> bool:
        """Whether the raw file is smaller than its own header says."""
        from osa.steps.checks import raw_is_cut_short

        return self.raw_file is not None and raw_is_cut_short(self.raw_file)

    def shows(self, rule: Rule) -> bool:
        """Whether it shows a sign of the failure that a rule is about; what costs least comes first."""
        record = self.record
        if not is_in(rule.scope, self.sequence, record.task):
            return False
        if record.state in rule.states:
            return True
        if rule.text is not None and rule.text.search(record.reason):
            return True
        if record.state is not JobState.FAILED:
            return False  # the rest looks for what made an analysis fail
        if record.exit_code in rule.exit_codes:
            return True
        if rule.text is not None and rule.text.search(self.text):
            return True
        if rule.fewer_events and self.raw_events is not None and self.raw_events < rule.fewer_events:
            return True
        return rule.cut_short and self.is_cut_short


def is_in(scope: Scope, sequence: Sequence, task: int | None) -> bool:
    """Tell whether a task is one of those that a rule is about."""
    is_data = sequence.kind is SequenceKind.DATA
    if scope is Scope.LAST_SUBRUN:
        # Of the run as it was taken, not of what happens to be there.
        return is_data and task == max((sequence.n_subruns - 1, *sequence.subruns, *sequence.left_out))
    return scope is Scope.ANY or (scope is Scope.DATA) == is_data


def first_match(rules: Iterable[Rule], evidence: Evidence) -> Rule | None:
    """Find the first rule that a try failed by."""
    return next((rule for rule in rules if evidence.shows(rule)), None)
