"""Text from outside that would like to be a command, an option, a path or a field."""

from __future__ import annotations

import shlex
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.fault_night import CHANGES, ROOT, SUMMARY, FaultNight, listing, make_night

HOSTILE = [
    "$(touch hacked)",
    "`touch hacked`",
    ";touch hacked",
    "../../hacked",
    "-o",
    "%j",
    "a\nb",
    "'\"\\",
    "|x",
]
WORDS = [text.replace(" ", "${IFS}") for text in HOSTILE if "\n" not in text]


@pytest.fixture
def untouched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[FaultNight], None]:
    """Work in a folder that has to stay empty; gives a check that nothing was made out of place."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    above = (tmp_path.parent, ROOT)
    before = [{path.name for path in each.iterdir()} for each in above]

    def check(night: FaultNight) -> None:
        assert list(folder.iterdir()) == []
        assert {path.name for path in tmp_path.iterdir()} == {"here", "lst", "sequencer.cfg", "stand-in"}
        assert [path for path in night.base.rglob("*") if path.name == "hacked"] == []
        for each, names in zip(above, before, strict=True):
            assert "hacked" not in {path.name for path in each.iterdir()} - names

    return check


@pytest.mark.fault(
    23,
    injected="$(…), ;, ../, -o, %j and quotes as run, type and number in the night summary",
    holds="G6: code 2, nothing run, no path made",
)
@pytest.mark.parametrize("old", ["01874", "DATA "])
def test_hostile_night_summary(fault_night: FaultNight, untouched: Callable[..., None], old: str) -> None:
    """Seen to fail: with the faults not raised in nightsummary/nightsummary.py (the other runs were
    submitted).
    """
    for word in WORDS[:: 1 if old == "01874" else 3]:
        fault_night.layout.night_summary.write_text(SUMMARY.replace(old, f"{word} ", 1))
        before = listing(fault_night.base)
        done = fault_night.run("sequencer")
        assert done.returncode == 2, (word, done.stderr)
        assert "column" in done.stderr
        assert listing(fault_night.base) == before
    untouched(fault_night)


@pytest.mark.fault(
    23,
    injected="the same as names of targets",
    holds="G6: nothing run; in table and files only letters, digits and ._+:-",
)
def test_hostile_target_log(fault_night: FaultNight, untouched: Callable[..., None]) -> None:
    """Seen to fail: with clean_name of nightsummary/sources.py only cutting the text (it stood in the
    table as it was).
    """
    log = fault_night.layout.target_log
    start = 1580157800  # before the first DATA run
    for count, text in enumerate(HOSTILE):
        log.write_text(f"{start} TrackStart 83.6 22.0 {text}\n{start + 9000} TrackEnd\n")
        if count == 0:
            done = fault_night.run("sequencer")
            assert done.returncode == 0, done.stderr
            fault_night.assert_done_once()
        else:
            done = fault_night.run("sequencer", "-s")
            assert done.returncode == 0, done.stderr
        assert not set("$();`|'\"\\") & set(done.stdout), text
        assert " -o" not in done.stdout
        assert "../" not in done.stdout
    described = fault_night.layout.analysis_dir / "sequence_LST1_01874.txt"
    assert "source:              _touch_hacked_\n" in described.read_text()
    untouched(fault_night)


@pytest.mark.fault(
    23,
    injected="the same in an override, as runs and as reasons",
    holds="G6: code 2, or only shown; nothing run",
)
def test_hostile_override(fault_night: FaultNight, untouched: Callable[..., None]) -> None:
    """Seen to fail: with the faults not raised in nightsummary/override.py (code 0)."""
    override = fault_night.layout.override
    for text in ("drs4_run = $(touch hacked)", "calibration_run = ../1", "[leave out]\n$(touch hacked) = x"):
        override.write_text(f"{text}\n")
        assert fault_night.run("sequencer").returncode == 2
    override.write_text("[leave out]\n01875 = $(touch hacked); touch hacked `touch hacked`\n")
    done = fault_night.run("sequencer")
    assert done.returncode == 0, done.stderr
    assert fault_night.attempts == Counter(fault_night.steps((1874, 0), (1874, 1)))
    untouched(fault_night)


@pytest.mark.fault(
    23,
    injected="the same as production, account, partition and numbers of the configuration",
    holds="G6: code 2 and the key is named, or one quoted word of a directive; nothing run, no path escapes",
)
@pytest.mark.parametrize(
    ("section", "key"),
    [
        ("PRODUCTION", "prod_id"),
        ("PRODUCTION", "dl1_prod_id"),
        ("DATA JOB", "account"),
        ("DATA JOB", "partition"),
        ("DATA JOB", "memory"),
        ("LST1", "tel_id"),
    ],
)
def test_hostile_configuration(
    night_with: Callable[..., FaultNight],
    make_config: Callable[..., Path],
    untouched: Callable[..., None],
    section: str,
    key: str,
) -> None:
    """Seen to fail: with as_name of config/values.py taking any text (code 0 and the table)."""
    night = night_with()
    for word in ("$(touch hacked)", "../../hacked", ";touch hacked", "-o", "a%%j"):
        make_config({("SCHEDULER", "backend"): "local", (section, key): word})
        before = listing(night.base)
        done = night.run("sequencer", "-s")
        assert done.returncode == 2, (word, done.stdout)
        assert key in done.stderr
        assert listing(night.base) == before
    untouched(night)


@pytest.mark.fault(
    23,
    injected="the same as arguments of the commands",
    holds="G6: code 2 and usage, nothing run, no path made",
)
@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("sequencer", ["-d", "$(touch hacked)"]),
        ("sequencer", ["-d", "../../hacked"]),
        ("sequencer", ["../../LST1"]),
        ("sequencer", ["LST1;touch hacked"]),
        ("sequencer", ["--drs4-run", "1872;touch hacked"]),
        ("sequencer", ["-c", "$(touch hacked)"]),
        ("closer", ["--seq", "$(touch hacked)"]),
        ("closer", ["-r", ";touch hacked"]),
        ("datasequence", ["--drs4-run=1872", "--calibration-run=1873", "01874.0000;touch hacked"]),
        ("datasequence", ["--drs4-run=1872", "--calibration-run=1873", "../1874.0000"]),
        ("calibrationsequence", ["--drs4-run=-o", "--calibration-run=1873"]),
    ],
)
def test_hostile_arguments(
    fault_night: FaultNight, untouched: Callable[..., None], command: str, arguments: list[str]
) -> None:
    """Seen to fail: with search for fullmatch of a sub-run in cli/datasequence.py (what followed it was
    passed over).
    """
    before = listing(fault_night.base)
    done = fault_night.run(command, *arguments)
    assert done.returncode == 2, done.stderr
    assert listing(fault_night.base) == before
    untouched(fault_night)


@pytest.mark.fault(
    23,
    injected="folders whose names hold $(…), ;, quotes, blanks and %j",
    holds="G6: scripts and tasks take them as names; all is done in them",
)
def test_hostile_folders(
    make_config: Callable[..., Path],
    tmp_path: Path,
    untouched: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Seen to fail: with arguments between quotes instead of their repr in job_script of job.py (no script
    could be read); with the per cent sign not doubled there (it would be a field of Slurm's).
    """
    monkeypatch.setenv("DOLLAR", "$")
    name = "a $(touch hacked);touch hacked '\" %j `touch hacked`"
    # In the configuration a dollar begins a variable, and a per cent sign is written twice.
    written = name.replace("%", "%%").replace("$", "${DOLLAR}")
    plain = make_config({**CHANGES, ("LST1", "analysis_dir"): f"{tmp_path}/lst/{written}"})
    config = tmp_path / "lst" / name / "sequencer.cfg"
    config.parent.mkdir()
    shutil.copy(plain, config)
    night = make_night(config, tmp_path / "stand-in")
    assert night.layout.analysis_dir.parts[-3] == name
    done = night.run("sequencer")
    assert done.returncode == 0, done.stderr
    night.assert_done_once()
    untouched(night)
    script = (night.layout.analysis_dir / "sequence_LST1_01874.py").read_text()
    words = [shlex.split(line)[1:] for line in script.splitlines() if line.startswith("#SBATCH")]
    assert [f"--chdir={night.layout.analysis_dir}"] in words
    log_dir = str(night.layout.log_dir).replace("%", "%%")
    assert [f"--output={log_dir}/LST1_01874_%A_%a.log"] in words
