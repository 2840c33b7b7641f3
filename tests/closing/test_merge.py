"""Bookkeeping of the merges, with programs of our own in the place of lstchain's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from osa.closing import merge as merge_module
from osa.closing.actions import Merge
from osa.closing.merge import perform_merges
from osa.errors import ProductError
from osa.layout import Layout
from osa.model.dataset import DatasetKind
from osa.records.lines import read_records
from osa.steps.history import read_history
from osa.steps.step import Input, Product, Step
from osa.system.workers import EntryPoint


@pytest.fixture(autouse=True)
def path_of_the_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1] / "helpers"))


@pytest.fixture(autouse=True)
def no_lstchain(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(merge_module, "MERGE_MODULES", ("osa_entry_points",))
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def check(path: Path, content: str) -> None:
    if not path.exists() or path.read_text() != content:
        raise ProductError(f"{path} is not what was wanted")


def merge(layout: Layout, run: int, *, makes: str = "good", entry: str = "copy_arguments") -> Merge:
    folder = layout.final_dl2_dir
    final = folder / f"merged{run}.h5"
    step = Step(
        "merge_dl2",
        "the_program",
        EntryPoint("osa_entry_points", entry),
        (f"{final.name}={makes}",),
        (Product(Path(final.name), final, partial(check, content="good")),),
        "v1",
        "inputs",
    )
    return Merge(run, step, folder)


def perform(layout: Layout, *merges: Merge) -> tuple[list[str], int]:
    """Tell the failures, and how often progress was told."""
    told: list[None] = []
    failures = perform_merges(layout, merges, at_once=2, on_done=lambda: told.append(None))
    return failures, len(told)


def codes(layout: Layout, run: int) -> list[int]:
    return [record.return_code for record in read_history(layout.history(run))]


def test_merges_are_made_and_recorded(layout: Layout) -> None:
    assert perform(layout, merge(layout, 1874), merge(layout, 1875)) == ([], 2)
    assert sorted(path.name for path in layout.final_dl2_dir.iterdir()) == ["merged1874.h5", "merged1875.h5"]
    (record,) = read_history(layout.history(1874))
    assert (record.run, record.subrun, record.program, record.return_code) == (1874, None, "the_program", 0)


def test_nothing_is_merged_twice(layout: Layout) -> None:
    perform(layout, merge(layout, 1874))
    made = (layout.final_dl2_dir / "merged1874.h5").stat()
    assert perform(layout, merge(layout, 1874), merge(layout, 1875)) == ([], 2)
    assert (layout.final_dl2_dir / "merged1874.h5").stat() == made
    assert (codes(layout, 1874), codes(layout, 1875)) == ([0], [0])


@pytest.mark.parametrize("how", ["no record", "record of another"])
def test_merged_file_that_is_not_as_recorded_is_made_anew_once(layout: Layout, how: str) -> None:
    """A closer that was killed between the file and its record leaves such a one."""
    perform(layout, merge(layout, 1874))
    path = layout.final_dl2_dir / "merged1874.h5"
    if how == "no record":
        layout.records(1874).unlink()
    else:
        os.utime(path, ns=(1, 1))
    for _ in range(2):
        assert perform(layout, merge(layout, 1874)) == ([], 1)
    assert codes(layout, 1874) == [0, 0]
    (made,) = read_records(layout.records(1874))[-1].outputs
    assert (made.path, made.modified) == (str(path), path.stat().st_mtime_ns)


def test_merged_file_is_made_anew_where_a_subrun_was(layout: Layout, tmp_path: Path) -> None:
    """With as many events as before, say: the file itself does not tell."""
    part = tmp_path / "part.h5"
    part.write_text("first")
    one = merge(layout, 1874)
    one = replace(one, step=replace(one.step, inputs=(Input("DL2", DatasetKind.DL2, part),)))
    assert perform(layout, one) == perform(layout, one) == ([], 1)
    part.write_text("other")
    assert perform(layout, one) == perform(layout, one) == ([], 1)
    assert codes(layout, 1874) == [0, 0]


def test_merged_file_that_is_not_whole_is_made_anew(layout: Layout) -> None:
    layout.final_dl2_dir.mkdir(parents=True)
    (layout.final_dl2_dir / "merged1874.h5").write_text("of fewer sub-runs")
    assert perform(layout, merge(layout, 1874)) == ([], 1)
    assert (layout.final_dl2_dir / "merged1874.h5").read_text() == "good"


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"entry": "copy_arguments_and_fail"}, "exit code 4"),
        ({"entry": "kill_itself"}, "signal 9"),
        ({"makes": "rubbish"}, "is not what was wanted"),
    ],
)
def test_merge_that_fails_is_named_and_the_others_go_on(
    layout: Layout, how: dict[str, str], said: str
) -> None:
    bad = merge(layout, 1874, **how)
    failures, told = perform(layout, bad, merge(layout, 1875), merge(layout, 1876))
    (failure,) = failures
    assert "run 1874" in failure and said in failure
    assert str(layout.log_dir / "merge_dl2_01874.log") in failure
    assert told == 3
    assert sorted(path.name for path in layout.final_dl2_dir.iterdir()) == ["merged1875.h5", "merged1876.h5"]
    assert codes(layout, 1874)[-1] != 0


def test_what_a_merge_says_is_in_its_log(layout: Layout) -> None:
    perform(layout, merge(layout, 1874, entry="fail"))
    log = layout.log_dir / "merge_dl2_01874.log"
    assert "a reason in a traceback" in log.read_text(encoding="utf-8")


def test_merge_that_failed_can_be_done_again(layout: Layout) -> None:
    perform(layout, merge(layout, 1874, entry="exit_seven"))
    assert perform(layout, merge(layout, 1874)) == ([], 1)
    assert codes(layout, 1874) == [7, 0]


def test_unexpected_error_is_not_swallowed(layout: Layout) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        perform_merges(layout, [merge(layout, 1874), merge(layout, 1875)], at_once=1, on_done=fail)


def test_interrupt_ends_the_merges_under_way(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    def wait_then_interrupt(futures: object, return_when: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(merge_module, "wait", wait_then_interrupt)
    with pytest.raises(KeyboardInterrupt):
        # each would take a minute, and the last is not begun
        perform(layout, *(merge(layout, run, entry="sleep") for run in (1874, 1875, 1876)))
    assert not (layout.final_dl2_dir / "merged1876.h5").exists()
