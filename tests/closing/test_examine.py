"""Opening products: by several processes, and each only once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from osa.closing import examine
from osa.closing.examine import Examiner
from osa.layout import DL1, DL2, MUONS, Layout
from osa.steps import checks

RUN, SUBRUNS = 1874, (0, 1)


def damaged(examiner: Examiner, layout: Layout, subruns: tuple[int, ...] = SUBRUNS) -> list[Path]:
    return [damage.path for damage in examiner.examine(layout, RUN, subruns)]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Files that were opened in this process."""
    seen: list[Path] = []
    real = checks.opened

    def look(path: Path, **how: bool) -> object:
        seen.append(path)
        return real(path, **how)

    monkeypatch.setattr(checks, "opened", look)
    return seen


@pytest.fixture(params=["one process", "two processes"])
def make(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Examiner]]:
    is_many = request.param == "two processes"
    monkeypatch.setattr(examine, "_WORTH_IT", 2 if is_many else 100)
    made: list[Examiner] = []

    def build() -> Examiner:
        made.append(Examiner(2))
        return made[-1]

    yield build
    assert all((examiner._pool is not None) is is_many for examiner in made)
    for examiner in made:
        examiner.__exit__()
        assert examiner._pool is None


def test_whole_products_are_not_damaged(complete: Layout, make: Callable[[], Examiner]) -> None:
    assert damaged(make(), complete) == []


def test_first_damage_of_each_subrun_is_found(complete: Layout, make: Callable[[], Examiner]) -> None:
    paths = [complete.working(MUONS, RUN, 0), complete.working(DL1, RUN, 1)]
    for path in (*paths, complete.working(DL2, RUN, 0)):
        path.write_bytes(b"torn")
    examiner = make()
    found = list(examiner.examine(complete, RUN, SUBRUNS))
    assert [(damage.path, damage.subrun) for damage in found] == [(paths[0], 0), (paths[1], 1)]
    assert all(str(path) in damage.reason for path, damage in zip(paths, found, strict=True))
    assert list(examiner.examine(complete, RUN, SUBRUNS)) == found  # remembered
    assert damaged(examiner, complete, (1,)) == paths[1:]


def test_nothing_is_opened_twice(complete: Layout, opened: list[Path]) -> None:
    complete.working(DL2, RUN, 1).write_bytes(b"torn")
    examiner = Examiner()
    first = damaged(examiner, complete)
    assert opened and first == [complete.working(DL2, RUN, 1)]
    opened.clear()
    assert damaged(examiner, complete) == first
    assert opened == []
    assert damaged(Examiner(), complete) == first  # another one knows nothing of it
    assert opened


def test_second_examination_asks_no_process(
    complete: Layout, monkeypatch: pytest.MonkeyPatch, make: Callable[[], Examiner]
) -> None:
    complete.working(DL2, RUN, 1).write_bytes(b"torn")
    examiner = make()
    first = damaged(examiner, complete)

    def nobody(_layout: Layout, _run: int, subruns: list[int]) -> list[None]:
        assert subruns == []
        return []

    monkeypatch.setattr(examiner, "_examine_all", nobody)
    assert damaged(examiner, complete) == first


@pytest.mark.parametrize("how", ["other content", "other time", "gone", "moved to its final place"])
def test_what_changed_is_opened_again(complete: Layout, opened: list[Path], how: str) -> None:
    examiner = Examiner()
    assert damaged(examiner, complete) == []
    opened.clear()
    path = complete.working(DL2, RUN, 1)
    expected = [path]
    if how == "other content":
        path.write_bytes(b"torn")
    elif how == "other time":
        os.utime(path, (1, 1))
        expected = []
    elif how == "gone":
        path.unlink()
    else:
        final = complete.final(DL2, RUN, 1)
        final.parent.mkdir(parents=True)
        final.write_bytes(b"torn")
        expected = [final]
    assert damaged(examiner, complete) == expected
    assert opened and not any(".0000." in path.name for path in opened)


def test_raw_file_that_changed_has_its_products_opened_again(complete: Layout, opened: list[Path]) -> None:
    examiner = Examiner()
    damaged(examiner, complete)
    opened.clear()
    complete.raw_file(RUN, 0).write_bytes(b"another")
    damaged(examiner, complete)
    assert {path.name.split(".")[2] for path in opened} == {"0000"}


def test_processes_are_not_begun_for_a_few(complete: Layout) -> None:
    with Examiner(2) as examiner:
        assert damaged(examiner, complete) == []
        assert examiner._pool is None


def test_one_core_examines_by_itself(complete: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examine, "_WORTH_IT", 1)
    with Examiner(1) as examiner:
        assert damaged(examiner, complete) == []
        assert examiner._pool is None


def test_processes_leave_interrupts_to_who_called_them(
    complete: Layout, make: Callable[[], Examiner]
) -> None:
    """Ctrl-C reaches all of a terminal; the processes then end with the one that began them."""
    examiner = make()
    damaged(examiner, complete)
    if examiner._pool is not None:
        ignored = examiner._pool.submit(_handler).result()
        assert ignored == "SIG_IGN"


def _handler() -> str:
    import signal

    return signal.Handlers(signal.getsignal(signal.SIGINT)).name  # type: ignore[arg-type]
