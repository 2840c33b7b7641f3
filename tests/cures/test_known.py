"""The table of known failures, against what libraries, the kernel and Slurm really say."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from failed_tries import (
    NO_ARRAY,
    NO_MEMORY,
    NO_PEDESTALS,
    NO_POINTING,
    NO_POINTING_OF_OLD,
    NO_PROCESS,
    Failures,
)
from night_states import calibration_sequence

from osa.cures.evidence import Evidence, first_match
from osa.cures.known import KNOWN, UNKNOWN_FAILURE, rules_in_order
from osa.layout import Layout
from osa.model.job import JobState
from osa.model.rule import Cure, Rule
from osa.model.sequence import SequenceKind

FAILED, TIMEOUT = JobState.FAILED, JobState.TIMEOUT
MEMORY, TIME, POINTING, LAST = "out of memory", "time limit", "no pointing", "last sub-run cut short"


def cause(failures: Failures) -> str | None:
    record = failures.records[-1]
    log = failures.layout.job_log(record.name, record.job_id, record.task)
    rules = [rule for rule in rules_in_order(()) if rule.cure is not Cure.CANCEL]
    found = first_match(rules, Evidence(failures.sequence, record, log))
    return None if found is None else found.name


@pytest.mark.parametrize(
    ("state", "exit_code", "name"),
    [
        (JobState.OUT_OF_MEMORY, 0, MEMORY),
        (JobState.OUT_OF_MEMORY, None, MEMORY),
        (FAILED, 137, MEMORY),
        (FAILED, -9, MEMORY),
        (FAILED, 9, None),
        (FAILED, -11, None),
        (FAILED, 1, None),
        (FAILED, None, None),
        (TIMEOUT, 0, TIME),
        (TIMEOUT, -15, TIME),
        (JobState.NODE_FAIL, None, "lost node"),
        (JobState.NODE_FAIL, -9, "lost node"),
        (JobState.CANCELLED, None, "cancelled"),
        (JobState.CANCELLED, -9, "cancelled"),
        (TIMEOUT, -9, TIME),  # a task that does not heed SIGTERM at its time limit
    ],
)
@pytest.mark.parametrize("kind", list(SequenceKind))
def test_ends_of_a_task(
    layout: Layout, kind: SequenceKind, state: JobState, exit_code: int | None, name: str | None
) -> None:
    failures = Failures(layout)
    if kind is SequenceKind.CALIBRATION:
        failures.sequence = calibration_sequence()
    failures.add(state, exit_code=exit_code)
    assert cause(failures) == name


@pytest.mark.parametrize(
    ("log", "task", "name"),
    [
        (NO_POINTING, 0, POINTING),
        (NO_POINTING.replace("above", "below").replace("maximum", "minimum"), 0, POINTING),
        (NO_POINTING_OF_OLD, 0, POINTING),
        (NO_ARRAY, 0, MEMORY),
        (NO_MEMORY, 0, MEMORY),
        (NO_PROCESS, 0, MEMORY),
        ("MemoryError", 0, MEMORY),
        ("terminate called after throwing an instance of 'std::bad_alloc'", 0, MEMORY),
        ("ImportError: libLLVM.so: failed to map segment from shared object", 0, MEMORY),
        ("slurmstepd: error: Exceeded memory limit at some point.", 0, MEMORY),
        ("slurmstepd: error: Detected 1 oom_kill event in StepId=8.batch.", 0, MEMORY),
        ("slurmstepd: error: Detected 1 oom-kill event(s) in step 8.batch cgroup.", 0, MEMORY),
        ("r0_to_dl1 of run 1874, sub-run 0: lstchain_data_r0_to_dl1 ended with signal 9", 0, MEMORY),
        ("r0_to_dl1 of run 1874, sub-run 0: lstchain_data_r0_to_dl1 ended with signal 11", 0, None),
        (NO_PEDESTALS, 2, LAST),
        (NO_PEDESTALS, 1, None),
        (NO_PEDESTALS.replace("pedestals", "flatfield"), 2, None),
        (f"{NO_PEDESTALS}\n{NO_POINTING}", 2, POINTING),
        ("KeyError: 'x_new'", 0, None),
        ("", 0, None),
        (
            "BlockingIOError: [Errno 11] Unable to synchronously open file (unable to lock file, "
            "errno = 11, error message = 'Resource temporarily unavailable')",
            0,
            None,
        ),
    ],
)
def test_words_of_a_log(layout: Layout, log: str, task: int, name: str | None) -> None:
    failures = Failures(layout)
    failures.add(task=task, log=log)
    assert cause(failures) == name


def test_words_that_the_installed_libraries_use(layout: Layout, tmp_path: Path) -> None:
    import numpy as np
    import tables
    from scipy.interpolate import interp1d

    failures = Failures(layout)
    for value in (3.0, -3.0):
        with pytest.raises(ValueError) as pointing:
            interp1d([0.0, 1.0], [0.0, 1.0])(value)
        failures.add(log=f"ValueError: {pointing.value}")
        assert cause(failures) == POINTING
    with pytest.raises(MemoryError) as memory:
        np.empty(1 << 50)
    failures.add(log=f"{type(memory.value).__module__}.{type(memory.value).__name__}: {memory.value}")
    assert cause(failures) == MEMORY
    for number in (errno.ENOMEM, errno.EAGAIN):
        failures.add(log=str(OSError(number, os.strerror(number))))
        assert cause(failures) == MEMORY
    with tables.open_file(tmp_path / "a.h5", "w") as file, pytest.raises(tables.NoSuchNodeError) as node:
        _ = file.create_group("/", "dl1datacheck").pedestals
    failures.add(task=2, log=f"tables.exceptions.NoSuchNodeError: {node.value}")
    assert cause(failures) == LAST


@pytest.mark.parametrize("state", [TIMEOUT, JobState.NODE_FAIL, JobState.CANCELLED, JobState.OUT_OF_MEMORY])
def test_log_does_not_tell_where_the_state_does(layout: Layout, state: JobState) -> None:
    """What a task said before it was ended is not why it was ended."""
    failures = Failures(layout)
    failures.add(state, exit_code=None)
    by_state = cause(failures)
    failures.add(state, exit_code=None, log=f"{NO_POINTING}\n{NO_PEDESTALS}\n{NO_MEMORY}", task=2)
    assert cause(failures) == by_state is not None


def test_pedestals_of_a_calibration_are_no_last_subrun(layout: Layout) -> None:
    failures = Failures(layout, calibration_sequence())
    for log in (NO_PEDESTALS, NO_POINTING):
        failures.add(log=log)
        assert cause(failures) is None


def test_what_waits_in_vain_is_recognised(layout: Layout) -> None:
    failures = Failures(layout)
    record = failures.add(JobState.PENDING, exit_code=None, reason="DependencyNeverSatisfied")
    found = first_match(KNOWN, Evidence(failures.sequence, record, Path("none")))
    assert found is not None and (found.cure, found.name) == (Cure.CANCEL, "calibration failed")


# ------------------------------------------------------------------------------- the table


def test_names_are_told_apart() -> None:
    names = [rule.name for rule in (*KNOWN, UNKNOWN_FAILURE)]
    assert len(names) == len(set(names))


def test_what_changes_the_data_is_told() -> None:
    silent = {rule.name for rule in KNOWN if not rule.words}
    assert silent == {"calibration failed", "cancelled"}


def test_only_an_operators_doing_may_be_repeated_for_ever() -> None:
    endless = {rule.name for rule in KNOWN if rule.limit is None and rule.cure is Cure.RESUBMIT}
    assert endless == {"cancelled"}


def rule(name: str) -> Rule:
    return Rule(name, Cure.RESUBMIT, exit_codes=frozenset({77}))


def test_configured_rules_come_first_and_replace_those_of_their_name() -> None:
    mine = (rule("mine"), rule("time limit"))
    ordered = rules_in_order(iter(mine))
    assert ordered[:2] == mine
    assert [r.name for r in ordered[2:]] == [r.name for r in KNOWN if r.name != "time limit"]
    assert rules_in_order(()) == KNOWN
