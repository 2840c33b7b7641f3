"""The command statuspage: writes one page, says so, and tells by its exit code what it could not read."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fake_slurm import FakeSlurm, Mishap

from osa.cli import sequencer
from osa.cli.statuspage import main
from osa.config import Settings, load_settings
from osa.incidences import add_incidence
from osa.layout import Layout
from osa.model.night import Night

Capture = pytest.CaptureFixture[str]
AWAY = Mishap(error="squeue: error: slurm_load_jobs error: Unable to contact slurm controller\n", code=1)
EVIL = '<script>alert("1")</script>'


def current(settings: Settings) -> Night:
    return Night.current(datetime.now(UTC), settings.telescope.nightoffset)


def listing(settings: Settings) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in settings.path.parent.rglob("*")}


def statuspage(settings: Settings, *more: str) -> int:
    return main(["-c", str(settings.path), *more])


def page_of(settings: Settings) -> Path:
    return settings.cron.status_dir / "LST1.html"


@pytest.fixture
def last_night(planned: Layout) -> Layout:
    """The night of the examples, as if it were the last one, and all of it had come."""
    config = planned.settings.path
    config.write_text(re.sub(r"(?m)^end_flag =.*$", "end_flag = all", config.read_text("utf-8")), "utf-8")
    settings = load_settings(config, "LST1")
    layout = Layout(settings, current(settings))
    planned.night_summary.rename(layout.night_summary)
    planned.raw_dir.rename(layout.raw_dir)
    assert layout.end_flag is not None
    layout.end_flag.touch()
    return layout


def test_page_is_written_where_the_configuration_says(last_night: Layout, capsys: Capture) -> None:
    settings = last_night.settings
    before = listing(settings)
    assert statuspage(settings) == 0
    out, err = capsys.readouterr()
    page = page_of(settings)
    assert (out, err) == ("", f"wrote {page}\n")
    text = page.read_text("utf-8")
    assert text.count("<section") == settings.cron.status_nights + 1  # and cron
    assert f'id="night-{last_night.night}"' in text and ">01874<" in text
    assert page.stat().st_mode & 0o777 == 0o644
    after = listing(settings)
    assert after.keys() - before.keys() == {page, page.parent, page.parent.parent}
    assert {path for path in before if path.is_file() and before[path] != after[path]} == set()


@pytest.mark.parametrize("nights", [1, 3, 30])
def test_page_and_nights_of_the_command_line(settings: Settings, tmp_path: Path, nights: int) -> None:
    page = tmp_path / "new" / "folder" / "page.html"
    assert statuspage(settings, "--output", str(page), "--nights", str(nights)) == 0
    first, last = current(settings), Night(current(settings).date - timedelta(days=nights - 1))
    text = page.read_text("utf-8")
    assert text.count('id="night-') == nights
    assert f'id="night-{first}"' in text and f'id="night-{last}"' in text
    assert not page_of(settings).exists()


def test_page_is_replaced_whole(settings: Settings) -> None:
    page = page_of(settings)
    page.parent.mkdir(parents=True)
    page.write_text("before", "utf-8")
    with page.open(encoding="utf-8") as reader:  # somebody's browser
        assert statuspage(settings) == 0
        assert reader.read() == "before"
    assert page.read_text("utf-8").startswith("<!DOCTYPE html>")
    assert [path.name for path in page.parent.iterdir() if path.name.startswith(".")] == []


def test_night_that_cannot_be_read_is_told_and_the_others_too(last_night: Layout, capsys: Capture) -> None:
    settings = last_night.settings
    before = Layout(settings, Night(last_night.night.date - timedelta(days=1)))
    before.night_summary.write_text(f"01872 {EVIL}\n", "utf-8")
    assert statuspage(settings, "-v") == 1
    err = capsys.readouterr().err
    assert f"night {before.night}: night summary {before.night_summary} has 1 fault(s)" in err
    assert err.endswith(f"wrote {page_of(settings)}\n") and "Traceback" not in err
    text = page_of(settings).read_text("utf-8")
    assert ">needs a person<" in text and ">01874<" in text


def test_what_others_wrote_is_no_part_of_the_page(last_night: Layout) -> None:
    settings = last_night.settings
    add_incidence(last_night.incidences, last_night.night, "LST1", f"incidence {EVIL}")
    last_night.alarm.parent.mkdir(parents=True)
    last_night.alarm.write_text(f"alarm {EVIL}", "utf-8")
    settings.cron.log_dir.mkdir(parents=True)
    (settings.cron.log_dir / "closer.log").write_text(f"log {EVIL}\n", "utf-8")
    (settings.cron.log_dir / "\udcff<b>.log").write_text("name\n", "utf-8")
    assert statuspage(settings) == 0
    text = page_of(settings).read_text("utf-8")
    assert "<script" not in text and "<b>.log" not in text
    for what in ("incidence", "alarm", "log"):
        assert f"{what} &lt;script&gt;alert(&#34;1&#34;)&lt;/script&gt;" in text


def test_silent_slurm_is_told(
    last_night: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    path = last_night.settings.path
    path.write_text(path.read_text("utf-8").replace("backend = local", "backend = slurm"), "utf-8")
    settings = load_settings(path, "LST1")
    fake = FakeSlurm.install(tmp_path / "slurm")
    monkeypatch.setenv("PATH", fake.environment["PATH"])
    assert sequencer.main(["-c", str(path), "-d", last_night.night.underscored]) == 0
    assert statuspage(settings) == 0
    assert ">at work<" in page_of(settings).read_text("utf-8")
    fake.plan("squeue", AWAY)
    fake.plan("sacct", AWAY)
    capsys.readouterr()
    assert statuspage(settings) == 1
    assert "queue gave no answer" in capsys.readouterr().err
    text = page_of(settings).read_text("utf-8")
    assert ">needs a person<" in text and "queue gave no answer" in text and ">at work<" not in text


def test_missing_slurm_is_told_on_the_page(last_night: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    path = last_night.settings.path
    path.write_text(path.read_text("utf-8").replace("backend = local", "backend = slurm"), "utf-8")
    monkeypatch.setenv("PATH", "/nowhere")
    assert statuspage(load_settings(path, "LST1")) == 1
    assert "not on this machine" in page_of(last_night.settings).read_text("utf-8")


def test_second_telescope(settings: Settings, tmp_path: Path) -> None:
    text = settings.path.read_text("utf-8")
    begin, end = text.index("[LST1]"), text.index("[PRODUCTION]")
    second = text[begin:end].replace("[LST1]", "[LST2]").replace("tel_id = 1", "tel_id = 2")
    settings.path.write_text(text + "\n" + second, "utf-8")
    page = tmp_path / "lst2.html"
    assert statuspage(settings, "-t", "LST2", "--output", str(page)) == 0
    assert "<h1>LST2: last nights</h1>" in page.read_text("utf-8")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["-c", "/nowhere.cfg"], "/nowhere.cfg"),
        (["-t", "LST9"], "no section [LST9]"),
    ],
)
def test_bad_configuration_is_explained_and_nothing_written(
    settings: Settings, capsys: Capture, more: list[str], words: str
) -> None:
    assert statuspage(settings, *more) == 2
    assert words in capsys.readouterr().err
    assert not page_of(settings).exists()


@pytest.mark.parametrize("nights", ["0", "-1", "367", "x", "1.5", ""])
def test_wrong_number_of_nights(settings: Settings, capsys: Capture, nights: str) -> None:
    with pytest.raises(SystemExit) as raised:
        statuspage(settings, f"--nights={nights}")
    assert raised.value.code == 2
    assert "no number from 1 to 366" in capsys.readouterr().err


def test_page_that_cannot_be_written(settings: Settings, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "folder").mkdir()
    assert statuspage(settings, "--output", str(tmp_path / "folder")) == 1
    assert "Is a directory" in capsys.readouterr().err
    assert list((tmp_path / "folder").iterdir()) == []
