"""Nights that nobody lays a hand on: raw files in, and cron does the rest.

Two nights under one real cron daemon. The first has two DRS4 and two calibration runs, a run that nobody
can read and one without its first sub-run; its files arrive while cron is at work, and it has to end
closed, without mail. The second lacks its calibration runs, and has to end with one mail.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from cron_daemon import CronDaemon, fake_clock, needs_cron
from real_night import run, set_key

from osa.config import load_settings
from osa.cron.jobs import last_night
from osa.incidences import read_incidences
from osa.layout import DL2, Layout
from osa.model.night import Night
from osa.nightsummary.nightsummary import read_night_summary
from osa.simulation.plan import END_FLAG, NightPlan, RunKind, RunPlan, make_plan
from osa.steps.history import read_history

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500), needs_cron]

DRS4, CALIBRATION = (1872, 1873), (1874, 1875)
WHOLE, BROKEN, HEADLESS = 1876, 1877, 1878
SUBRUNS = {WHOLE: (0, 1), HEADLESS: (1, 2)}
OPERATOR = "daemon"
DATED = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ (\d{4}-\d\d-\d\d:|-) .*\S.*")


def raw_name(run: int, subrun: int) -> str:
    return f"LST-1.1.Run{run:05d}.{subrun:04d}.fits.fz"


def awkward(plan: NightPlan) -> NightPlan:
    """A tiny night with two DRS4 and two calibration runs, and two DATA runs."""
    drs4, calibration = plan.of_kind(RunKind.DRS4)[0], plan.of_kind(RunKind.CALIBRATION)[0]
    first, second = plan.of_kind(RunKind.DATA)

    def taken(entry: RunPlan, run: int, minutes_before: int) -> RunPlan:
        return replace(entry, run=run, start=entry.start - timedelta(minutes=minutes_before))

    runs = (
        taken(drs4, DRS4[0], 9),
        taken(drs4, DRS4[1], 0),
        taken(calibration, CALIBRATION[0], 5),
        taken(calibration, CALIBRATION[1], 0),
        replace(first, run=WHOLE, subruns=2),
        replace(second, run=HEADLESS, subruns=3),
    )
    return replace(plan, runs=runs)


@dataclass(frozen=True)
class Arriving:
    """A night of which the raw files have not come yet."""

    layout: Layout
    raw_files: dict[str, Path]

    def names(self, *runs: int) -> list[str]:
        """Names of the raw files of some runs."""
        return [name for name in self.raw_files if any(f"Run{run:05d}" in name for run in runs)]

    def arrive(self, *names: str) -> None:
        """Let raw files come, each under its name when it is whole."""
        self.layout.raw_dir.mkdir(parents=True, exist_ok=True)
        for name in names:
            part = self.layout.raw_dir / f".{name}.part"
            shutil.copyfile(self.raw_files[name], part)
            part.rename(self.layout.raw_dir / name)

    def go_on_arriving(self, name: str) -> None:
        """Let some more of a raw file come under its final name, as some programs copy; never all of it."""
        with self.raw_files[name].open("rb") as source, (self.layout.raw_dir / name).open("ab") as copy:
            source.seek(copy.tell())
            copy.write(source.read(1000))

    def end(self) -> None:
        """Say that all raw files have come."""
        (self.layout.raw_dir / END_FLAG).touch()

    def log(self, job: str) -> str:
        """What a job has said so far."""
        path = self.layout.settings.cron.log_dir / f"LST1_{job}.log"
        return path.read_text("utf-8") if path.exists() else ""

    def says(self, job: str, text: str) -> bool:
        return text in self.log(job)


def make_arriving(root: Path) -> Arriving:
    """Simulate what there is of a night before the analysis; the alarm is not due for half an hour."""
    from osa.simulation.configuration import write_configuration
    from osa.simulation.night import make_night

    now = datetime.now(UTC)
    plan = awkward(make_plan((now + timedelta(minutes=30)).date() - timedelta(days=1), data_runs=2))
    make_night(plan, root, summaries=False)
    config = write_configuration(plan, root)
    for key, value in {"recipient": "root", "quiet_minutes": "1", "hour": "23.9"}.items():
        set_key(config, key, value)
    layout = Layout(load_settings(config, "LST1"), Night(plan.date))
    waiting = root / "waiting"
    shutil.move(layout.raw_dir, waiting)
    (waiting / END_FLAG).unlink()
    (waiting / raw_name(HEADLESS, 0)).unlink()
    (waiting / raw_name(BROKEN, 0)).write_bytes(b"SIMPLE  = but nothing else" * 1000)
    return Arriving(layout, {path.name: path for path in sorted(waiting.iterdir())})


def without_runs(night: Arriving, root: Path, *runs: int) -> Arriving:
    """Make the same night in another place, without some runs; its mails go to the operator."""
    before = night.layout.settings.path.parent
    for name in ("monitoring", "models", "lstchain"):
        shutil.copytree(before / name, root / name)
    for name in ("NightSummary", "R0"):
        (root / name).mkdir()
    config = root / "sequencer.cfg"
    config.write_text(night.layout.settings.path.read_text("utf-8").replace(str(before), str(root)), "utf-8")
    set_key(config, "recipient", OPERATOR)
    gone = set(night.names(*runs))
    left = {name: path for name, path in night.raw_files.items() if name not in gone}
    return Arriving(Layout(load_settings(config, "LST1"), night.layout.night), left)


def close_without_data(night: Arriving) -> None:
    """Close the night before, as operators do: in the small hours cron asks for its data as well."""
    before = last_night(night.layout.settings, datetime.now(UTC))
    if before != night.layout.night:
        done = run(
            "closer", "-c", night.layout.settings.path, "-d", before.underscored, "-r", "weather", "-y"
        )
        assert done.returncode == 0, done.stderr


@dataclass(frozen=True)
class Unattended:
    """What there is when cron has done its work."""

    night: Arriving
    poor_night: Arriving
    cron: CronDaemon
    log_while_arriving: str


@pytest.fixture(scope="module")
def unattended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Unattended]:
    """Both nights, after their files have come and cron has seen to them."""
    root = tmp_path_factory.mktemp("unattended")
    night = make_arriving(root / "night")
    poor = without_runs(night, root / "poor", *CALIBRATION)
    for each in (night, poor):
        close_without_data(each)
    osacron = Path(sys.executable).parent / "osacron"
    lines = [
        f"* * * * * {osacron} -c {each.layout.settings.path} {jobs}\n"
        for each in (night, poor)
        for jobs in ("nightsummary sequencer closer", "statuspage nightclean")
    ]
    # Only for the daemon: the first minute begins at once.
    clock = fake_clock(datetime.now(UTC).replace(second=57, microsecond=0))
    with CronDaemon(root / "cron", "MAILTO=root\n" + "".join(lines), environment=clock) as cron:
        poor.arrive(*poor.raw_files)
        poor.end()
        night.arrive(*night.names(*DRS4, *CALIBRATION))
        wait = partial(cron.wait_for, timeout=180)
        wait(
            lambda: night.says("sequencer", "may come"), what="the calibration to wait for the first DATA run"
        )
        assert not night.layout.calibration_products(DRS4[1], CALIBRATION[1])[0].exists()
        night.arrive(raw_name(WHOLE, 0))

        def is_submitted() -> bool:
            night.go_on_arriving(raw_name(WHOLE, 1))
            # And told: the table comes after that.
            return "ended with exit code" in night.log("sequencer").partition("submitted")[2]

        wait(is_submitted, what="what has come to be submitted")
        before_the_end = night.log("closer") + night.log("sequencer")
        night.arrive(*night.names(WHOLE, BROKEN, HEADLESS))
        night.end()
        cron.wait_for(night.layout.night_finished.exists, 1000, "the night to be closed")
        # One more round of all jobs.
        rounds = night.log("closer").count("begin:")
        wait(lambda: night.log("closer").count("ended with") > rounds, what="another closer")
        wait(lambda: cron.mails(OPERATOR), what="the mail to the operator")
        yield Unattended(night, poor, cron, before_the_end)


def test_night_is_closed_with_all_that_came(unattended: Unattended) -> None:
    layout = unattended.night.layout
    assert f"analysis.finished.night={layout.night.tag}" in layout.night_finished.read_text("utf-8")
    found = {run: [s for s in range(9) if layout.final(DL2, run, s).exists()] for run in SUBRUNS}
    assert found == {run: list(subruns) for run, subruns in SUBRUNS.items()}
    assert all(layout.final(DL2, run).exists() for run in SUBRUNS)


def test_runs_were_tagged_and_chosen_without_a_hand(unattended: Unattended) -> None:
    layout = unattended.night.layout
    labels = {entry.run: entry.label for entry in read_night_summary(layout.night_summary)}
    assert labels == {
        **dict.fromkeys(DRS4, "DRS4"),
        **dict.fromkeys(CALIBRATION, "CALI"),
        WHOLE: "DATA",
        BROKEN: "ERROR",
        HEADLESS: "DATA",
    }
    assert not layout.override.exists()
    made = sorted(path.name for path in layout.final_calibration_dir.glob("*.h5"))
    drs4, calibration = DRS4[-1], CALIBRATION[-1]  # the last before the first DATA run
    assert made == [
        f"calibration.Run{calibration:05d}.0000.h5",
        f"drs4_pedestal.Run{drs4:05d}.0000.h5",
        f"time_calibration.Run{calibration:05d}.0000.h5",
    ]


def test_what_was_odd_is_among_the_incidences(unattended: Unattended) -> None:
    said = "\n".join(read_incidences(unattended.night.layout.incidences))
    assert f"Run 0{BROKEN} is of type ERROR and was not processed: no event can be read" in said
    assert f"Run 0{HEADLESS}, sub-run(s) 0: there was no raw file." in said


def test_what_was_complete_was_processed_before_all_had_come(unattended: Unattended) -> None:
    said = unattended.log_while_arriving
    assert "not closed yet: raw files are still arriving" in said
    assert "raw files of sub-runs 1 are still arriving" in said
    assert "submitted 2 task(s)" in said  # the calibration, and the sub-run that was whole


def test_nothing_was_done_twice(unattended: Unattended) -> None:
    layout = unattended.night.layout
    for number, subruns in SUBRUNS.items():
        for subrun in subruns:
            codes = [record.return_code for record in read_history(layout.history(number, subrun))]
            assert codes == [0, 0, 0]


def test_nobody_was_mailed(unattended: Unattended) -> None:
    assert unattended.cron.mails("root") == []
    assert unattended.cron.queued_mails() == []


def test_logs_are_readable(unattended: Unattended) -> None:
    for night in (unattended.night, unattended.poor_night):
        for job in ("nightsummary", "sequencer", "closer", "statuspage", "nightclean"):
            lines = night.log(job).splitlines()
            assert lines, job
            assert [line for line in lines if not DATED.fullmatch(line)] == []
            assert not any("Traceback" in line or "unexpected" in line for line in lines)
            begun = sum(" begin: " in line for line in lines)
            ended = sum(" ended with exit code " in line for line in lines)
            assert 0 <= begun - ended <= 1  # the last may be at work


def test_page_shows_the_night(unattended: Unattended) -> None:
    page = (unattended.night.layout.settings.cron.status_dir / "LST1.html").read_text("utf-8")
    assert str(unattended.night.layout.night) in page and "closed" in page


def test_missing_calibration_is_mailed_once_in_two_lines(unattended: Unattended) -> None:
    layout = unattended.poor_night.layout
    closers = unattended.poor_night.log("closer").count("ended with exit code 1")
    assert closers > 1
    (mail,) = unattended.cron.mails(OPERATOR)
    assert mail["Subject"] == f"LST1: night {layout.night} is not closed"
    what, todo, *_ = mail.get_content().splitlines()
    assert "there is no usable calibration run, and run(s) 01876, 01878 wait(s) for it" in what
    assert todo.startswith(f"To do: put its raw files into {layout.raw_dir}, or choose a run in ")
    assert f"closer -f -d {layout.night.underscored}" in todo
    assert not layout.night_finished.exists()
