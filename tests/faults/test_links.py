"""Symbolic links where files and folders are expected."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from osa.layout import DL2, MUONS
from osa.steps.history import read_history
from tests.faults.fault_night import SUMMARY, FaultNight, listing


@pytest.mark.fault(
    27,
    injected="raw files that are a dangling link, a loop, a link to a folder",
    holds="G6: no raw files, and named as missing; the others are done, the closer refuses",
)
def test_raw_files_that_are_bad_links(fault_night: FaultNight, tmp_path: Path) -> None:
    """Seen to fail: with a link that leads nowhere taken for a file in nightsummary/raw.py (it was
    submitted).
    """
    layout = fault_night.layout
    layout.night_summary.write_text(SUMMARY.replace("1 DATA", "2 DATA"))
    for which, target in (((1874, 1), "nowhere"), ((1875, 0), None), ((1875, 1), tmp_path)):
        raw = layout.raw_file(*which)
        raw.unlink(missing_ok=True)
        raw.symlink_to(target or raw.name)
    done = fault_night.run("sequencer")
    assert "LST1_01874: no raw files of sub-runs 1" in done.stderr
    assert "LST1_01875: no raw files" in done.stderr
    assert fault_night.attempts == Counter(fault_night.steps((1874, 0)))
    assert fault_night.run("closer", "-y").returncode == 1
    assert not layout.night_finished.exists()


@pytest.mark.fault(
    27,
    injected="raw files that are links, pointed elsewhere between two sequencers; a night that is a link",
    holds="G4 G5: read through the link, what is done is not done again, raw data is not touched",
)
def test_retargeted_raw_files(fault_night: FaultNight, tmp_path: Path) -> None:
    """Seen to fail: without following links in nightsummary/raw.py (no raw files, code 1)."""
    layout = fault_night.layout
    archive = tmp_path / "archive"
    layout.raw_dir.rename(archive)
    layout.raw_dir.symlink_to(archive)
    raw = layout.raw_file(1874, 0)
    raw.rename(archive / "first")
    raw.symlink_to("first")
    before = listing(archive)
    assert fault_night.run("sequencer").returncode == 0
    (archive / "second").write_bytes((archive / "first").read_bytes())
    raw.unlink()
    raw.symlink_to("second")
    assert fault_night.run("sequencer").returncode == 0
    assert fault_night.run("closer", "-y").returncode == 0
    merged = {name: count for name, count in fault_night.attempts.items() if "merge" in name}
    assert fault_night.attempts - Counter(merged) == Counter(fault_night.steps())
    after = listing(archive)
    of_link = str(archive / raw.name)
    assert before.pop(of_link) != after.pop(of_link)
    assert {name: after[name] for name in before} == before


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Something beside the night that is dear to somebody."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "precious").write_text("kept")
    return folder


def assert_untouched(outside: Path) -> None:
    assert [path.name for path in outside.iterdir()] == ["precious"]
    assert (outside / "precious").read_text() == "kept"


TASK = ("--drs4-run=1872", "--calibration-run=1873", "01874.0000")


@pytest.mark.fault(
    27,
    injected="the names of product, script and description are links out of the tree",
    holds="the link is replaced, what it led to is not written",
)
def test_names_that_lead_out(fault_night: FaultNight, outside: Path) -> None:
    """Seen to fail: with write_text of system/files.py writing to the name itself (the links stayed and
    were written through).
    """
    layout = fault_night.layout
    names = [layout.working(MUONS, 1874, 0)]
    names += [layout.analysis_dir / f"sequence_LST1_01874.{suffix}" for suffix in ("py", "txt")]
    for path in names:
        path.symlink_to(outside / "precious")
    done = fault_night.run("sequencer")
    assert done.returncode == 0, done.stderr
    assert not any(path.is_symlink() for path in names)
    assert_untouched(outside)
    fault_night.assert_done_once()


@pytest.mark.fault(
    27,
    injected="the scratch folder of a step is a link out of the tree",
    holds="nothing is deleted or written there, the step is not done",
)
def test_scratch_that_leads_out(fault_night: FaultNight, outside: Path) -> None:
    """Seen to fail: with rmtree of scratch.resolve() in steps/runner.py (the folder outside was deleted)."""
    scratch = fault_night.layout.scratch_dir
    scratch.mkdir()
    (scratch / "01874.0000.r0_to_dl1").symlink_to(outside)
    done = fault_night.run("datasequence", *TASK)
    assert_untouched(outside)
    assert done.returncode == 1
    assert read_history(fault_night.layout.history(1874, 0)) == ()


@pytest.mark.fault(
    27,
    injected="the scratch folder of a step is a link out of the tree",
    holds="the path is named, for who has to take it away",
)
def test_scratch_that_leads_out_is_named(fault_night: FaultNight, outside: Path) -> None:
    scratch = fault_night.layout.scratch_dir
    scratch.mkdir()
    (scratch / "01874.0000.r0_to_dl1").symlink_to(outside)
    done = fault_night.run("datasequence", *TASK)
    assert done.returncode == 0 or "01874.0000.r0_to_dl1" in done.stderr


@pytest.mark.fault(
    27,
    injected="the final name of a product is a link: to another file, dangling, a loop",
    holds="G5: the source is kept, nothing written through the link, code 1; then the closer goes on",
)
@pytest.mark.parametrize("hang", ["precious", "absent", "loop"])
def test_final_name_that_leads_out(fault_night: FaultNight, outside: Path, hang: str) -> None:
    """Seen to fail: with stat for lstat in system/moves.py (over the dangling link the closer did not end
    with code 1).
    """
    fault_night.finish()
    layout = fault_night.layout
    final = layout.final(DL2, 1874, 1)
    final.parent.mkdir(parents=True)
    final.symlink_to(final.name if hang == "loop" else outside / hang)
    done = fault_night.run("closer", "-y")
    assert done.returncode == 1, done.stdout
    assert layout.working(DL2, 1874, 1).exists()
    assert final.is_symlink()
    assert_untouched(outside)
    assert not layout.night_finished.exists()
    final.unlink()
    assert fault_night.run("closer", "-y").returncode == 0
    assert final.exists()


@pytest.mark.fault(
    27,
    injected="a product that is a link to a file elsewhere when its night is closed",
    holds="G5 G8: what is elsewhere stays as it is, a closed night has the product",
)
@pytest.mark.parametrize("is_relative", [False, True])
def test_product_that_is_a_link(fault_night: FaultNight, outside: Path, is_relative: bool) -> None:
    kept, folder = outside / "precious", fault_night.layout.analysis_dir
    close_with_link(fault_night, kept, Path(os.path.relpath(kept, folder)) if is_relative else kept)


def close_with_link(night: FaultNight, kept: Path, target: Path) -> None:
    """Close a night one product of which is a link."""
    night.finish()
    working, final = night.layout.working(MUONS, 1874, 0), night.layout.final(MUONS, 1874, 0)
    working.rename(kept)
    working.symlink_to(target)
    before = kept.read_bytes()
    done = night.run("closer", "-y")
    assert kept.read_bytes() == before
    assert (done.returncode == 0) == night.layout.night_finished.exists()
    if done.returncode == 0:
        assert final.read_bytes() == before
