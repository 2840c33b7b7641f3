from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from job_bench import JobBench

from osa.scheduler import local


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[JobBench]:
    """The local backend with four cores, looking often."""
    monkeypatch.setattr(local, "_POLL_SECONDS", 0.01)
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "77")  # of the job in which the tests may run
    made = JobBench(tmp_path)
    yield made
    made.clean()
