"""Failures that the closer knows: each is tried again as it has to be, and no more often."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable

import pytest
from product_builders import N_EVENTS

from osa.incidences import read_incidences
from osa.layout import DL1, DL2, PRODUCT_KINDS
from osa.steps.checks import DL1_PARAMETERS, DL2_PARAMETERS, event_count
from tests.faults.fault_night import STEPS, FaultNight, write_raw


def closed_by_itself(night: FaultNight) -> list[str]:
    """Run sequencer and closer as cron does; gives the incidences."""
    assert night.run("sequencer").returncode == 1  # a task failed
    done = night.run("closer")
    assert done.returncode == 0, done.stdout + done.stderr
    assert night.layout.night_finished.exists()
    return list(read_incidences(night.layout.incidences))


def vetoed_after(night: FaultNight, what: str, tries: int) -> None:
    """Expect a step that never succeeds to be tried so often, and never again."""
    assert night.run("sequencer").returncode == 1
    for _ in range(3):
        done = night.run("closer")
        assert done.returncode == 1, done.stdout + done.stderr
    assert night.run("sequencer").returncode == 1
    assert night.attempts[what] == tries
    assert night.rows()["01874"]["Action"] == "Veto"
    assert not night.layout.night_finished.exists()
    others = [step for step in night.steps((1874, 0), (1875, 0)) if night.attempts[step] != 1]
    assert others == []


OUT_OF_MEMORY = [
    pytest.param({"end": "kill"}, id="killed by the kernel"),
    pytest.param({"end": 1, "say": "OSError: [Errno 12] Cannot allocate memory"}, id="no memory"),
    pytest.param({"end": 1, "say": "[Errno 11] Resource temporarily unavailable"}, id="no process"),
]


@pytest.mark.fault(
    8,
    injected="a step that fails, or is killed, for want of memory until its job is granted twice as much",
    holds="G7: tried once more with twice the memory, alone; the incidences say so",
)
@pytest.mark.parametrize("how", OUT_OF_MEMORY)
def test_out_of_memory_gets_more(fault_night: FaultNight, how: dict[str, object]) -> None:
    """Seen to fail: with the factor of the rule "out of memory" at 1 the second try failed as well."""
    what = fault_night.suffer("r0_to_dl1", 1874, 1, times=99, until_memory=1000, **how)  # type: ignore[arg-type]
    said = closed_by_itself(fault_night)
    assert said == ["Sub-run 1 of run 01874: out of memory; tried again with more memory."]
    assert fault_night.attempts == Counter([*fault_night.steps(), what, *merged(1874), *merged(1875)])


def merged(run: int) -> list[str]:
    name = f"LST-1.Run{run:05d}.h5"
    return [f"merge_datacheck datacheck_dl1_{name}", f"merge_dl2 dl2_{name}"]


@pytest.mark.fault(
    8,
    injected="a step that is always killed for want of memory",
    holds="G7 G8: two tries, then the veto; the night is not closed",
)
def test_never_enough_memory(fault_night: FaultNight) -> None:
    """Seen to fail: without the limit of the rule it was tried four times, with ever more memory."""
    what = fault_night.suffer("r0_to_dl1", 1874, 1, "kill", times=99)
    vetoed_after(fault_night, what, 2)


SHORT = {("DATA JOB", "walltime"): "00:00:09"}


@pytest.mark.fault(
    9,
    injected="a step that takes longer than the walltime of its job, and less than twice that",
    holds="G1 G7: TIMEOUT; tried once more with twice the time, alone",
)
def test_time_limit_is_raised(night_with: Callable[..., FaultNight]) -> None:
    """Seen to fail: with the factor of the rule "time limit" at 1 the second try ended as the first."""
    night = night_with(SHORT)
    what = night.suffer("r0_to_dl1", 1874, 1, "sleep", seconds=11, times=2)
    assert night.run("sequencer").returncode == 1
    assert night.rows()["01874"]["State"] == "TIMEOUT"
    assert not night.layout.working(DL1, 1874, 1).exists()
    assert night.run("closer").returncode == 0
    assert read_incidences(night.layout.incidences) == (
        "Sub-run 1 of run 01874: time limit; tried again with more time.",
    )
    assert night.attempts[what] == 2
    assert all(night.attempts[step] == 1 for step in night.steps((1874, 0), (1875, 0)))


@pytest.mark.fault(
    9,
    injected="a step that hangs for ever",
    holds="G7: two tries, then the veto",
)
def test_step_that_hangs(night_with: Callable[..., FaultNight]) -> None:
    """Seen to fail: without the limit of the rule the closer went on trying."""
    night = night_with(SHORT)
    what = night.suffer("r0_to_dl1", 1874, 1, "sleep", seconds=60, times=99)
    vetoed_after(night, what, 2)


@pytest.mark.fault(
    7,
    injected="DL1 and DL2 torn on the disk after they were made, and before the night is closed",
    holds="G1 G8: set aside, made again with what needs them, and closed",
)
def test_closer_has_torn_products_made_again(fault_night: FaultNight) -> None:
    """Seen to fail: with ``_set_aside`` giving nothing the closer ended with 1 and nothing was closed."""
    layout = fault_night.layout
    assert fault_night.run("sequencer").returncode == 0
    torn = [layout.working(DL1, 1874, 0), layout.working(DL2, 1875, 0)]
    for path in torn:
        path.write_bytes(path.read_bytes()[:3000])
    done = fault_night.run("closer")
    assert done.returncode == 0, done.stdout + done.stderr
    again = [*fault_night.steps((1874, 0)), "dl1_to_dl2 01875.0000", *merged(1874), *merged(1875)]
    assert fault_night.attempts == Counter([*fault_night.steps(), *again])
    assert sorted(
        path.name.partition(".damaged.")[0] for path in layout.analysis_dir.glob("*.damaged.*")
    ) == [path.name for path in torn]


# --------------------------------------------------------------------------------- late data


def add_subrun(night: FaultNight, run: int, subrun: int) -> list[str]:
    shutil.copy(night.layout.raw_file(1872, 0), night.layout.raw_file(run, subrun))
    return night.steps((run, subrun))


@pytest.mark.fault(
    25,
    injected="a sub-run that arrives after sequencing",
    holds="only its task runs; the closer does not close without it",
)
def test_late_subrun_is_picked_up(fault_night: FaultNight) -> None:
    """Seen to fail: with sequences of no more sub-runs than the night summary promises it was left behind."""
    assert fault_night.run("sequencer").returncode == 0
    late = add_subrun(fault_night, 1875, 1)
    looked = fault_night.run("closer", "-s")
    assert looked.returncode == 1
    assert "no DL1 of sub-runs 1" in looked.stdout
    assert "would submit sub-run 1 of run 01875: it is missing" in looked.stdout
    assert fault_night.run("sequencer").returncode == 0
    assert fault_night.attempts == Counter([*fault_night.steps(), *late])
    assert fault_night.run("closer").returncode == 0
    assert fault_night.layout.final(DL2, 1875, 1).exists()


@pytest.mark.fault(
    25,
    injected="a sub-run that arrives after the night was closed",
    holds="reported by closer and sequencer, taken in by --reopen; only its tasks run",
)
def test_subrun_after_closing_is_reported_and_taken_in(fault_night: FaultNight) -> None:
    """Seen to fail: with empty ``.closed`` flags nothing was reported; with the merged DL2 believed for
    being there it had the events of one sub-run.
    """
    layout = fault_night.layout
    assert fault_night.run("sequencer").returncode == 0
    assert fault_night.run("closer").returncode == 0
    assert fault_night.run("closer").returncode == 0
    before = fault_night.attempts
    late = add_subrun(fault_night, 1875, 1)
    told = fault_night.run("closer")
    assert told.returncode == 1
    assert "raw files came after it was closed: sub-runs 1 of run 01875" in told.stderr
    assert fault_night.attempts == before
    finished = layout.night_finished.read_text("utf-8")
    assert fault_night.run("closer", "--reopen").returncode == 0
    (kept,) = layout.closer_dir.glob("NightFinished.*T*.txt")
    assert kept.read_text("utf-8") == finished
    assert fault_night.run("sequencer").returncode == 0
    assert fault_night.run("closer").returncode == 0
    assert fault_night.attempts == before + Counter([*late, *merged(1875)])
    for kind in PRODUCT_KINDS:
        assert layout.final(kind, 1875, 1).exists()
    parts = sum(event_count(layout.final(DL2, 1875, subrun), DL2_PARAMETERS) for subrun in (0, 1))
    assert event_count(layout.final(DL2, 1875), DL2_PARAMETERS) == parts


@pytest.mark.fault(
    25,
    injected="a raw file that grows after its DL1 was made",
    holds="the closer sees that DL1 lacks events, and has it made again",
)
def test_raw_file_that_grew(fault_night: FaultNight) -> None:
    """Seen to fail: without ``raw_file`` in the closer's check of DL1 the night was closed as it was."""
    assert fault_night.run("sequencer").returncode == 0
    write_raw(fault_night.layout.raw_file(1874, 1), 3 * N_EVENTS)
    done = fault_night.run("closer")
    assert done.returncode == 0, done.stdout + done.stderr
    again = Counter(f"{step} 01874.0001" for step in STEPS)
    assert fault_night.attempts == Counter([*fault_night.steps(), *merged(1874), *merged(1875)]) + again
    assert event_count(fault_night.layout.final(DL1, 1874, 1), DL1_PARAMETERS) == 3 * N_EVENTS
