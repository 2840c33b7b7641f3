from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from osa.errors import ProductError, StepFailedError
from osa.incidences import read_incidences
from osa.model.dataset import DatasetKind
from osa.records import lines as lines_module
from osa.records.lines import read_records
from osa.records.model import Status
from osa.records.recorder import Recorder
from osa.steps import runner as runner_module
from osa.steps.history import read_history
from osa.steps.runner import BAD_PRODUCT, StepRunner, products_are_whole
from osa.steps.step import Input, Product, Step
from osa.system.workers import EntryPoint, Outcome

ROOT = Path(__file__).parents[2]
MODULE = "osa_entry_points"


class InProcess:
    """Stands for a workshop: writes ``name=content`` arguments to files and ends as it is told."""

    def __init__(self, code: int = 0) -> None:
        self.code = code
        self.calls = []

    def call(self, entry, argv, *, folder, log=None):
        self.calls.append((entry, tuple(argv), folder, log))
        for argument in argv[1:]:
            name, _, content = argument.partition("=")
            (folder / name).write_text(content)
        if isinstance(self.code, BaseException):
            raise self.code
        return Outcome(self.code, 1.0, 0.5, 100.0)


def check(path):
    if not path.exists():
        raise ProductError(f"{path} is not there")
    if path.read_text() != "good":
        raise ProductError(f"{path} is bad")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "night"


@pytest.fixture
def step(folder):
    def make(*arguments, optional=False, entry="copy_arguments"):
        products = [Product(Path("first.h5"), folder / "first.h5", check)]
        products.append(Product(Path("second.h5"), folder / "second.h5", check, optional=optional))
        return Step(
            "r0_to_dl1",
            "the_program",
            EntryPoint(MODULE, entry),
            arguments,
            tuple(products),
            "v1",
            "raw file.fits.fz",
        )

    return make


GOOD = ("first.h5=good", "second.h5=good")


@pytest.fixture
def make_runner(folder):
    def make(workshop, **kwargs):
        said = []
        runner = StepRunner(
            run=1874,
            subrun=3,
            history=folder / "history",
            scratch_dir=folder / ".unfinished",
            workshop=workshop,
            separate_programs=frozenset(),
            say=said.append,
            clock=lambda: datetime(2020, 1, 27, 21, tzinfo=UTC),
            **kwargs,
        )
        runner.said = said
        return runner

    return make


def content(folder):
    return {path.name: path.read_text() for path in folder.glob("*.h5")}


def codes(folder):
    return [record.return_code for record in read_history(folder / "history")]


def scratches(folder):
    return list((folder / ".unfinished").iterdir())


def test_success_publishes_and_is_recorded(make_runner, step, folder):
    runner = make_runner(InProcess())
    runner.execute(step(*GOOD))
    assert content(folder) == {"first.h5": "good", "second.h5": "good"}
    assert scratches(folder) == []
    line = (folder / "history").read_text()
    assert line == (
        "01874.0003 the_program v1 Mon Jan 27 21:00:00 UTC 2020 raw_file.fits.fz lstchain_standard_config 0\n"
    )
    assert [name for name, _ in runner.outcomes] == ["r0_to_dl1"]
    assert runner.said == [
        "r0_to_dl1: the_program first.h5=good second.h5=good",
        "r0_to_dl1: done in 1.0 s, 0.5 s of CPU, at most 100 MB",
    ]


def test_the_call_has_scratch_folder_and_log(make_runner, step, folder, tmp_path):
    workshop = InProcess()
    make_runner(workshop, log=tmp_path / "log").execute(step(*GOOD))
    ((entry, argv, where, log),) = workshop.calls
    assert entry == EntryPoint(MODULE, "copy_arguments")
    assert argv == ("the_program", *GOOD)
    assert where == folder / ".unfinished" / "01874.0003.r0_to_dl1"
    assert log == tmp_path / "log"


@pytest.mark.parametrize(("code", "words"), [(4, "exit code 4"), (-9, "signal 9")])
def test_a_failure_is_recorded_and_leaves_nothing(make_runner, step, folder, code, words):
    runner = make_runner(InProcess(code))
    message = f"run 1874 sub-run 3: the_program ended with {words}"
    with pytest.raises(StepFailedError, match=message) as caught:
        runner.execute(step(*GOOD))
    assert caught.value.return_code == code
    assert codes(folder) == [code]
    assert content(folder) == {}
    assert scratches(folder) == []


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("first.h5=good",), "is not there"),
        (("first.h5=good", "second.h5=bad"), "is bad"),
        (("first.h5=", "second.h5=good"), "is bad"),
        ((), "is not there"),
    ],
)
def test_a_bad_product_is_a_failure_and_nothing_of_the_try_is_published(
    make_runner, step, folder, arguments, why
):
    with pytest.raises(StepFailedError, match=f"ended well, but .*{why}") as caught:
        make_runner(InProcess()).execute(step(*arguments))
    assert caught.value.return_code == BAD_PRODUCT == 65
    assert codes(folder) == [65]
    assert content(folder) == {}
    assert scratches(folder) == []


def test_an_optional_product_may_be_missing(make_runner, step, folder):
    make_runner(InProcess()).execute(step("first.h5=good", optional=True))
    assert codes(folder) == [0]
    assert content(folder) == {"first.h5": "good"}


def test_an_optional_product_is_published_where_it_is_there(make_runner, step, folder):
    make_runner(InProcess()).execute(step(*GOOD, optional=True))
    assert content(folder) == {"first.h5": "good", "second.h5": "good"}


def test_an_optional_product_must_not_be_bad(make_runner, step, folder):
    with pytest.raises(StepFailedError):
        make_runner(InProcess()).execute(step("first.h5=good", "second.h5=bad", optional=True))
    assert codes(folder) == [65]


def test_what_a_killed_try_left_is_swept_first(make_runner, step, folder):
    stale = folder / ".unfinished" / "01874.0003.r0_to_dl1"
    (stale / "below").mkdir(parents=True)
    (stale / "second.h5").write_text("good")
    other = folder / ".unfinished" / "01874.0004.r0_to_dl1"
    other.mkdir()
    with pytest.raises(StepFailedError, match="is not there"):
        make_runner(InProcess()).execute(step("first.h5=good"))
    assert scratches(folder) == [other]


def test_an_older_product_is_replaced_and_stays_until_then(make_runner, step, folder):
    folder.mkdir()
    for name in ("first.h5", "second.h5"):
        (folder / name).write_text("old")
    with pytest.raises(StepFailedError):
        make_runner(InProcess(1)).execute(step(*GOOD))
    assert content(folder) == {"first.h5": "old", "second.h5": "old"}
    make_runner(InProcess()).execute(step(*GOOD))
    assert content(folder) == {"first.h5": "good", "second.h5": "good"}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("odd"), MemoryError()])
def test_an_exception_in_the_middle_leaves_no_trace(make_runner, step, folder, error):
    with pytest.raises(type(error)):
        make_runner(InProcess(error)).execute(step(*GOOD))
    assert codes(folder) == []
    assert content(folder) == {}
    assert scratches(folder) == []


def test_scratch_is_gone_before_success_is_recorded(make_runner, step, folder, monkeypatch):
    """Killed just after that, nothing would sweep it: the step is not done again."""
    left = []
    monkeypatch.setattr(runner_module, "append_record", lambda *_: left.append(scratches(folder)))
    make_runner(InProcess()).execute(step(*GOOD))
    assert left == [[]]


def test_products_are_there_before_success_is_recorded(make_runner, step, folder, monkeypatch):
    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(runner_module, "append_record", full)
    with pytest.raises(OSError, match="No space"):
        make_runner(InProcess()).execute(step(*GOOD))
    assert content(folder) == {"first.h5": "good", "second.h5": "good"}
    assert codes(folder) == []
    monkeypatch.undo()
    make_runner(InProcess()).execute(step(*GOOD))
    assert codes(folder) == [0]


def test_no_success_where_a_product_cannot_be_published(make_runner, step, folder, monkeypatch):
    def fail_second(made, final, *, publish=runner_module.publish):
        if final.name == "second.h5":
            raise OSError("Input/output error")
        publish(made, final)

    monkeypatch.setattr(runner_module, "publish", fail_second)
    with pytest.raises(OSError, match="Input/output"):
        make_runner(InProcess()).execute(step(*GOOD))
    assert codes(folder) == []
    assert "second.h5" not in content(folder)
    assert scratches(folder) == []


def test_all_products_are_checked_before_any_is_published(make_runner, step, folder, monkeypatch):
    published = []
    monkeypatch.setattr(runner_module, "publish", lambda made, final: published.append(final.name))
    with pytest.raises(StepFailedError):
        make_runner(InProcess()).execute(step("first.h5=good", "second.h5=bad"))
    assert published == []
    make_runner(InProcess()).execute(step(*GOOD))
    assert published == ["first.h5", "second.h5"]


def test_the_calibration_has_no_subrun(make_runner, step, folder):
    runner = make_runner(InProcess(1))
    runner.subrun = None
    with pytest.raises(StepFailedError, match="r0_to_dl1 of run 1874: "):
        runner.execute(step(*GOOD))
    assert (folder / "history").read_text().startswith("01874 the_program")


def test_a_step_can_run_as_a_program_of_its_own(make_runner, step, folder, monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'tests/helpers'}")
    workshop = InProcess()
    runner = make_runner(workshop, log=tmp_path / "log")
    runner.separate_programs = frozenset({"r0_to_dl1"})
    runner.execute(step(*GOOD))
    assert workshop.calls == []
    assert content(folder) == {"first.h5": "good", "second.h5": "good"}
    with pytest.raises(StepFailedError):
        runner.execute(step(*GOOD, entry="copy_arguments_and_fail"))
    assert codes(folder) == [0, 4]


def test_whole_products(step, folder):
    one = step(*GOOD)
    folder.mkdir()
    assert not products_are_whole(one)
    (folder / "first.h5").write_text("good")
    (folder / "second.h5").write_text("torn")
    assert not products_are_whole(one)
    assert products_are_whole(step(*GOOD, optional=True))
    (folder / "second.h5").write_text("good")
    assert products_are_whole(one)


TASK = """
import signal, sys
from pathlib import Path
from osa.cli.common import _interrupt
from osa.steps.runner import StepRunner
from osa.steps.step import Product, Step
from osa.system.workers import EntryPoint, Workshop

folder = Path(sys.argv[1])
if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _interrupt)
    product = Product(Path("started.txt"), folder / "product", lambda path: None)
    step = Step("r0_to_dl1", "p", EntryPoint("osa_entry_points", "sleep"), (), (product,), "v1", "raw")
    with Workshop([]) as workshop:
        StepRunner(1874, 3, folder / "history", folder / "scratch", workshop, frozenset()).execute(step)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_task_can_be_killed_in_the_middle(tmp_path, number):
    script, scratch = tmp_path / "task.py", tmp_path / "scratch" / "01874.0003.r0_to_dl1"
    script.write_text(TASK)
    task = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)],
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests/helpers'}"},
        stderr=subprocess.DEVNULL,
    )
    while not (scratch / "started.txt").exists():
        assert task.poll() is None
        time.sleep(0.02)
    task.send_signal(number)
    assert task.wait() != 0
    assert not (tmp_path / "history").exists()
    assert not (tmp_path / "product").exists()
    assert scratch.exists() == (number == signal.SIGKILL)  # the next try sweeps it


# ------------------------------------------------------------------------------ provenance


@pytest.fixture
def recorder(layout):
    said = []
    made = Recorder(layout, 1874, 3, say=said.append)
    made.said = said
    return made


@pytest.fixture
def recorded_step(step, folder, tmp_path):
    """A step with inputs and a configuration."""

    def make(*arguments, **kwargs):
        for name in ("raw", "config.json"):
            (tmp_path / name).write_text(name)
        plain = step(*arguments, **kwargs)
        return replace(
            plain,
            inputs=(Input("raw data", DatasetKind.R0, tmp_path / "raw"),),
            configuration=(("R0 to DL1", tmp_path / "config.json"),),
            products=tuple(replace(product, kind=DatasetKind.DL1) for product in plain.products),
        )

    return make


def tries(recorder):
    return read_records(recorder.path)


def test_success_is_recorded_with_what_was_read_and_made(make_runner, recorded_step, folder, recorder):
    make_runner(InProcess(), recorder=recorder).execute(recorded_step(*GOOD))
    (record,) = tries(recorder)
    assert (record.status, record.exit_code, record.step) == (Status.DONE, 0, "r0_to_dl1")
    assert (record.program, record.prod_id, record.package) == ("the_program", "v1", "lstchain")
    assert [(item.role, item.name) for item in record.inputs] == [("raw data", "raw")]
    assert [config.name for config in record.configuration] == ["R0 to DL1"]
    assert [(item.kind, item.path) for item in record.outputs] == [
        (DatasetKind.DL1, str(folder / name)) for name in ("first.h5", "second.h5")
    ]
    for item in record.outputs:
        assert item.sha256 == hashlib.sha256(b"good").hexdigest()
        assert item.modified == Path(item.path).stat().st_mtime_ns
    assert (record.wall_time, record.cpu_time, record.peak_memory) == (1.0, 0.5, 100.0)


def test_an_optional_product_that_is_not_there_is_not_recorded(make_runner, recorded_step, recorder):
    make_runner(InProcess(), recorder=recorder).execute(recorded_step("first.h5=good", optional=True))
    assert [item.name for item in tries(recorder)[0].outputs] == ["first.h5"]


@pytest.mark.parametrize(
    ("code", "arguments", "exit_code", "reason"),
    [
        (4, GOOD, 4, "the_program ended with exit code 4"),
        (-9, GOOD, -9, "the_program ended with signal 9"),
        (0, ("first.h5=good", "second.h5=bad"), BAD_PRODUCT, "ended well, but"),
        (0, (), BAD_PRODUCT, "is not there"),
    ],
)
def test_a_failure_is_recorded_with_its_reason(
    make_runner, recorded_step, recorder, code, arguments, exit_code, reason
):
    with pytest.raises(StepFailedError):
        make_runner(InProcess(code), recorder=recorder).execute(recorded_step(*arguments))
    (record,) = tries(recorder)
    assert (record.status, record.exit_code, record.outputs) == (Status.FAILED, exit_code, ())
    assert reason in record.reason
    assert record.wall_time == 1.0


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("odd"), MemoryError()])
def test_a_try_that_is_broken_off_has_no_end(make_runner, recorded_step, recorder, error):
    runner = make_runner(InProcess(error), recorder=recorder)
    with pytest.raises(type(error)):
        runner.execute(recorded_step(*GOOD))
    runner.workshop = InProcess()
    runner.execute(recorded_step(*GOOD))
    assert [record.status for record in tries(recorder)] == [Status.UNFINISHED, Status.DONE]


def test_a_begin_is_written_before_the_step_and_its_end_before_the_history(
    make_runner, recorded_step, recorder, folder, monkeypatch
):
    seen = []

    class Watching(InProcess):
        def call(self, *args, **kwargs):
            seen.append(("call", [record.status for record in tries(recorder)]))
            return super().call(*args, **kwargs)

    def record(*args, append_record=runner_module.append_record):
        seen.append(("history", [record.status for record in tries(recorder)], set(content(folder))))
        append_record(*args)

    monkeypatch.setattr(runner_module, "append_record", record)
    make_runner(Watching(), recorder=recorder).execute(recorded_step(*GOOD))
    assert seen == [
        ("call", [Status.UNFINISHED]),
        ("history", [Status.DONE], {"first.h5", "second.h5"}),
    ]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EACCES])
def test_a_record_that_cannot_be_written_does_not_stop_a_step(
    make_runner, recorded_step, recorder, folder, monkeypatch, code
):
    def broken(path, line):
        raise OSError(code, os.strerror(code), str(path))

    monkeypatch.setattr(lines_module, "append_line", broken)
    make_runner(InProcess(), recorder=recorder).execute(recorded_step(*GOOD))
    assert content(folder) == {"first.h5": "good", "second.h5": "good"}
    assert codes(folder) == [0]
    assert len(recorder.said) == 2
    assert all(os.strerror(code) in line and "no provenance of r0_to_dl1" in line for line in recorder.said)
    (noted,) = read_incidences(recorder.layout.incidences)
    assert noted.startswith("No provenance of r0_to_dl1 of LST1_01874.0003: ")
    with pytest.raises(StepFailedError):
        make_runner(InProcess(3), recorder=recorder).execute(recorded_step(*GOOD))
    assert codes(folder) == [0, 3]


@pytest.mark.parametrize("what", ["records_dir", "archive_dir"])
def test_a_file_in_place_of_a_folder_of_records_does_not_stop_a_step(
    make_runner, recorded_step, recorder, folder, what
):
    path = getattr(recorder.layout, what)
    path.parent.mkdir(parents=True)
    path.touch()
    make_runner(InProcess(), recorder=recorder).execute(recorded_step(*GOOD))
    assert content(folder) == {"first.h5": "good", "second.h5": "good"}
    assert codes(folder) == [0]
    assert recorder.said
    assert read_incidences(recorder.layout.incidences)


def test_an_input_that_cannot_be_read_does_not_stop_a_step(
    make_runner, recorded_step, recorder, tmp_path, folder
):
    step = recorded_step(*GOOD)
    (tmp_path / "raw").unlink()
    (tmp_path / "raw").mkdir()
    make_runner(InProcess(), recorder=recorder).execute(step)
    assert codes(folder) == [0]
    assert [record.status for record in tries(recorder)] == [Status.DONE]
    assert len(recorder.said) == 1
