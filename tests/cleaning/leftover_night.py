"""A closed night with everything that it consists of, and with what it leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from osa.layout import DATACHECK, DL1, DL2, MUONS, Layout

CLOCK = datetime(2020, 6, 1, 8, tzinfo=UTC)
LONG_AGO = 100
SETTINGS: dict[tuple[str, str], str | None] = {
    ("CLEANING", "scratch_days"): "3",
    ("CLEANING", "compress_logs_days"): "30",
    ("CLEANING", "set_aside_days"): "60",
}
SAID = {
    "LST1_01873_1.log": b"the task begins\ncalibrated\n" * 50,
    "LST1_01874_2_0.log": b"the task begins\nMemoryError\n" * 5000,
    "LST1_01874_2_1.log": bytes(range(256)) * 100,
    "dl2_merge_01874.log": b"merged\n",
}

Snapshot = dict[str, tuple[object, ...]]


def write(path: Path, content: bytes = b"x" * 10) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def close(layout: Layout, days: float = LONG_AGO, clock: datetime = CLOCK) -> None:
    """Flag a night as closed so many days ago."""
    write(layout.night_finished, b"analysis.finished.night=20200127\n")
    when = (clock - timedelta(days=days)).timestamp()
    os.utime(layout.night_finished, (when, when))


def write_what_stays(layout: Layout) -> None:
    """Write one of each kind of file that is never to be touched."""
    work = layout.analysis_dir
    write(layout.raw_file(1874, 0), b"raw")
    write(layout.night_summary)
    write(layout.override)
    for kind in (DL1, MUONS, DATACHECK, DL2):
        write(layout.final(kind, 1874, 0))
    final = layout.final(DL1, 1874, 1)
    write(final)
    write(final.with_name(f"{final.name}.damaged.20200128T120000"))
    write(final.with_name(f"{final.name}.replaced.20200128T120000"))
    write(final.parent / ".unfinished" / "01874.dl1_merge" / "half")
    write(final.parent / "log" / "something.log")
    write(layout.working(DL1, 1875, 0))
    write(layout.history(1874, 0))
    write(layout.records(1874, 0))
    write(layout.records_dir / ".LST1_01874.0000.jsonl.abcdefgh")
    write(layout.archive_dir / "0123456789")
    for ending in ("py", "txt", "veto", "fresh", "closed"):
        write(work / f"sequence_LST1_01874.{ending}")
    for path in (layout.kept_choice, layout.left_out, layout.borrowed_calibration, layout.own_calibration):
        write(path)
    write(layout.incidences)
    write(layout.moves_journal)
    write(layout.group.submissions / "LST1_01874.0001.txt")
    write(layout.task_lock, b"")
    write(layout.night_lock, b"")
    write(layout.night_lock.with_name(".night.lock.holder"), b"process 1 on nowhere\n")
    write(layout.log_dir / "calibration.Run01873.0000.pdf")
    write(layout.log_dir / "empty.log", b"")
    # Names that are like those of leftovers, and are none.
    for name in (".notes.20200127", "x.damaged.once", ".sequence_x", "notes.log", ".bashrc.abcdefgh"):
        write(work / name)
    write(work.with_name("v0.0.9") / ".unfinished" / "01874.0000.r0_to_dl1" / "dl1.h5")


def write_unfinished(layout: Layout) -> None:
    write(layout.scratch_dir / "01874.0000.r0_to_dl1" / "dl1.h5", b"x" * 5000)
    write(layout.scratch_dir / "01874.0000.r0_to_dl1" / "deep" / "er" / "muons.fits", b"x" * 700)
    (layout.scratch_dir / "01875.0000.datacheck").mkdir(parents=True)
    write(layout.environment_dir / "astropy" / "astropy.cfg", b"x" * 300)
    write(layout.analysis_dir / ".sequence_LST1_01874.py.ab12_x9z")
    write(layout.analysis_dir / ".Incidences.txt.abcdefgh")
    write(layout.analysis_dir / ".left_out.override.abcdefgh")
    link = layout.analysis_dir / ".calibration.Run01873.0000.h5.link"
    link.symlink_to(layout.final_calibration_dir / "calibration.Run01873.0000.h5")
    write(layout.log_dir / ".gone.log.gz.partial")


def write_set_aside(layout: Layout) -> None:
    write(layout.set_aside_dir / "20200128T120000" / "dl1.h5", b"x" * 2000)
    write(layout.set_aside_dir / "20200128T120000" / "final" / "dl2.h5", b"x" * 3000)
    write(layout.analysis_dir / "dl1_LST-1.Run01874.0001.h5.damaged.20200128T120000", b"x" * 400)
    write(layout.analysis_dir / "dl1_LST-1.Run01874.0001.h5.damaged.20200128T120000.2", b"x" * 50)


def write_logs(layout: Layout) -> None:
    for count, (name, said) in enumerate(SAID.items()):
        path = write(layout.log_dir / name, said)
        path.chmod(0o640)
        os.utime(path, ns=(1, 1580000000_123456789 + count))


def write_night(layout: Layout, days: float = LONG_AGO, clock: datetime = CLOCK) -> Layout:
    """Write a whole night that was closed so many days ago."""
    write_what_stays(layout)
    write_unfinished(layout)
    write_set_aside(layout)
    write_logs(layout)
    close(layout, days, clock)
    return layout


def snapshot(*roots: Path) -> Snapshot:
    """Tell what there is: type, content, time of everything below some folders; links are not followed."""
    found: Snapshot = {}
    for root in roots:
        for path in [root, *root.rglob("*")]:
            if path.is_symlink():
                found[str(path)] = ("link", path.readlink())
            elif path.is_dir():
                found[str(path)] = ("folder",)
            elif path.is_file():
                found[str(path)] = ("file", path.read_bytes(), path.stat().st_mtime_ns)
    return found


def base_of(layout: Layout) -> Path:
    return layout.settings.telescope.raw_dir.parent


def without_locks(found: Snapshot) -> Snapshot:
    """Leave out what tells who held the lock last."""
    return {path: what for path, what in found.items() if not path.endswith(".night.lock.holder")}


@contextmanager
def held_elsewhere(code: str) -> Iterator[None]:
    """Have another process hold something while the block runs: code that ends with ``wait()``."""
    start = (
        "import sys\nfrom pathlib import Path\ndef wait():\n print('held', flush=True)\n sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", start + code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield
        finally:
            process.stdin.close()


# Whatever changes the disk, or makes durable what is changed.
STEPS = ("open", "unlink", "rmdir", "replace", "utime", "fchmod", "fsync")


def is_killed(action: Callable[[], object], at: int) -> bool:
    """Do something in a process of its own that is killed before its step number ``at``, counted from 1.

    Returns
    -------
    bool
        Whether it came so far.
    """
    child = os.fork()
    if child == 0:
        count = 0

        def killing(real: Callable[..., object]) -> Callable[..., object]:
            def step(*arguments: object, **options: object) -> object:
                nonlocal count
                count += 1
                if count == at:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*arguments, **options)

            return step

        try:
            for name in STEPS:
                setattr(os, name, killing(getattr(os, name)))
            action()
            os._exit(0)
        except BaseException:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    assert os.waitstatus_to_exitcode(status) == 0
    return False
