"""Writes, flushes, closes and renames that fail: success is never reported."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from moving import verified_move

from osa.errors import ProductError, StepFailedError
from osa.steps.history import read_history
from osa.steps.runner import StepRunner
from osa.steps.step import Product, Step
from osa.system.files import write_text
from osa.system.workers import EntryPoint, Outcome
from tests.faults.fault_night import FaultNight

CODES = [errno.EIO, errno.ENOSPC]
FUNCTIONS = ["fsync", "close", "replace", "write"]
CONTENT = "whole"


class Failing:
    """Makes the n-th call of a function of ``os`` fail, once it is armed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str, code: int) -> None:
        self.left = -1
        real = getattr(os, name)

        def call(*arguments: object, **options: object) -> object:
            self.left -= self.left >= 0
            if self.left != 0:
                return real(*arguments, **options)
            self.left = -1
            if name == "close":
                real(*arguments)
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(os, name, call)

    def arm(self, nth: int) -> None:
        self.left = nth

    @property
    def went_off(self) -> bool:
        return self.left < 0


class Writer:
    """Stands for a workshop whose steps do write their products."""

    calls = 0

    def call(self, _entry: EntryPoint, argv: Sequence[str], *, folder: Path, log: Path | None) -> Outcome:
        self.calls += 1
        for name in argv[1:]:
            (folder / name).write_text(CONTENT)
        return Outcome(0, 1.0)


def check(path: Path) -> None:
    if path.read_text() != CONTENT:
        raise ProductError(f"{path} is not whole")


@pytest.mark.fault(
    21,
    injected="EIO and ENOSPC from each fsync, close, rename and write of a step, one at a time",
    holds="G1: no success is reported, what has a final name is whole, the next try gets through",
)
@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_step_on_a_failing_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, code: int
) -> None:
    """Seen to fail: with append_line of system/files.py passing over an error of fsync (success was
    reported).
    """
    failing, nth, failed = Failing(monkeypatch, function, code), 0, 0
    while nth < 50:
        nth += 1
        folder = tmp_path / str(nth)
        products = tuple(Product(Path(name), folder / name, check) for name in ("one", "two"))
        step = Step("r0_to_dl1", "program", EntryPoint("x", "y"), ("one", "two"), products, "v1", "raw")
        runner = StepRunner(1874, 0, folder / "history", folder / "scratch", Writer(), frozenset(), print)  # type: ignore[arg-type]
        failing.arm(nth)
        try:
            runner.execute(step)
        except (OSError, StepFailedError):
            failed += 1
        else:
            if not failing.went_off:
                break
            pytest.fail(f"{function} number {nth} failed, and success was reported")
        finals = [product.final for product in products]
        assert all(final.read_text() == CONTENT for final in finals if final.exists())
        done = [r for r in read_history(folder / "history") if r.return_code == 0]
        assert not done or all(final.exists() for final in finals)
        assert function == "close" or len(done) == 0 or nth > 4
        runner.execute(step)
        assert [final.read_text() for final in finals] == [CONTENT] * 2
        assert read_history(folder / "history")[-1].return_code == 0
    assert failed >= {"replace": 2, "write": 1}.get(function, 5)
    assert failed == nth - 1


@pytest.mark.fault(
    21,
    injected="EIO and ENOSPC from each fsync, close and rename of a move across file systems",
    holds="G5: the source stays until its copy is safe, no partial file stays",
)
@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("function", ["fsync", "close", "replace", "unlink"])
def test_move_on_a_failing_disk(
    tmp_path: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, function: str, code: int
) -> None:
    """Seen to fail: with _copy of system/moves.py passing over an error of fsync (success was reported)."""
    failing, nth = Failing(monkeypatch, function, code), 0
    while nth < 50:
        nth += 1
        source, target = tmp_path / "source", elsewhere / str(nth) / "target"
        source.write_text(CONTENT)
        failing.arm(nth)
        try:
            verified_move(source, target)
        except OSError:
            failing.arm(-1)
        else:
            if not failing.went_off:
                break
            pytest.fail(f"{function} number {nth} failed, and success was reported")
        assert source.exists() or target.exists()
        assert not target.exists() or target.read_text() == CONTENT
        verified_move(source, target)
        assert not source.exists()
        assert [path.name for path in target.parent.iterdir()] == ["target"]
        assert target.read_text() == CONTENT
    assert nth > 1


@pytest.mark.fault(
    21,
    injected="EIO from each flush of the closer",
    holds="G8: code 1 and no NightFinished.txt, the next closer completes it",
)
@pytest.mark.parametrize("nth", [4, 8, 40])  # before are those of the records of the moves
def test_closer_on_a_failing_disk(fault_night: FaultNight, nth: int) -> None:
    """Seen to fail: with sync_directory of system/files.py passing over an error (the night was closed,
    code 0).
    """
    fault_night.finish()
    order = {"target": "os:fsync", "action": "fail", "error": "EIO", "nth": nth}
    code, said = fault_night.run_tampered("closer", "-y", orders=[order])
    assert code == 1, said
    assert "Input/output error" in said
    assert not fault_night.layout.night_finished.exists()
    done = fault_night.run("closer", "-y")
    assert done.returncode == 0, done.stderr
    assert fault_night.layout.night_finished.exists()


@pytest.mark.fault(
    21,
    injected="ENOSPC while a task publishes its product and writes its history",
    holds="G1: the task fails, its product has no final name or is whole, the next sequencer completes it",
)
@pytest.mark.parametrize("target", ["osa.steps.runner:publish", "osa.steps.history:append_line"])
def test_task_on_a_full_disk(fault_night: FaultNight, target: str) -> None:
    """Seen to fail: with the success recorded before _publish in steps/runner.py (the history said done
    without a product).
    """
    order = {"target": target, "action": "fail", "error": "ENOSPC"}
    task = ("--drs4-run=1872", "--calibration-run=1873", "01874.0000")
    code, said = fault_night.run_tampered("datasequence", *task, orders=[order])
    assert code == 1
    assert "No space left on device" in said
    assert read_history(fault_night.layout.history(1874, 0)) == ()
    done = fault_night.run("sequencer")
    assert done.returncode == 0, done.stderr
    fault_night.assert_done_once(twice=["r0_to_dl1 01874.0000"])


Failure = Callable[[Path], None]


@pytest.mark.fault(
    21,
    injected="EIO from each flush of a flag or note",
    holds="G1: the old content or the new one, and an error",
)
def test_flag_on_a_failing_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen to fail: without the unlink where _written_beside of system/files.py fails (the temporary file
    stayed).
    """
    path = tmp_path / "flag"
    write_text(path, "old")
    failing = Failing(monkeypatch, "fsync", errno.EIO)
    for nth, content in ((1, "old"), (2, "new")):
        failing.arm(nth)
        with pytest.raises(OSError, match="Input/output error"):
            write_text(path, "new")
        assert path.read_text() == content
        assert [each.name for each in tmp_path.iterdir()] == ["flag"]
