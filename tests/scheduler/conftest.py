from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_slurm import FakeSlurm
from job_bench import JobBench
from slurm_site import Site

from osa.scheduler import local


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[JobBench]:
    """The local backend with four cores, looking often."""
    monkeypatch.setattr(local, "_POLL_SECONDS", 0.01)
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "77")  # of the job in which the tests may run
    made = JobBench(tmp_path)
    yield made
    made.clean()


@pytest.fixture
def fake(tmp_path: Path) -> FakeSlurm:
    """A Slurm that does as it is told."""
    return FakeSlurm.install(tmp_path / "slurm")


@pytest.fixture
def site(fake: FakeSlurm, bench: JobBench) -> Site:
    """A night on that Slurm."""
    return Site(fake, bench)
