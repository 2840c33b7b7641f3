"""The records of one task, and that the data is never worse off for them."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from osa.config import load_settings
from osa.incidences import read_incidences
from osa.layout import Layout
from osa.model.dataset import DatasetKind
from osa.records import recorder as recorder_module
from osa.records.environment import account, installed_software, main_versions
from osa.records.lines import read_records
from osa.records.model import ConfigFile, FileRecord, JobIds, Status
from osa.records.recorder import Attempt, Recorder
from osa.system.workers import Outcome

ROOT = Path(__file__).parents[2]
START = datetime(2020, 1, 27, 20, tzinfo=UTC)


@pytest.fixture
def said():
    return []


@pytest.fixture
def recorder(layout, said):
    times = (START + timedelta(seconds=10 * number) for number in range(1000))
    return Recorder(layout, 1874, 3, say=said.append, clock=lambda: next(times))


@pytest.fixture
def raw(layout):
    path = layout.raw_file(1874, 3)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"raw" * 100)
    return path


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "my config.json"
    path.write_bytes(b'{"a": "caf\xe9"}\r\n')
    return path


def begin(recorder, step="r0_to_dl1", **more):
    return recorder.begin(step, "program", package="lstchain", prod_id="v1", **more)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def archived(layout: Layout) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in layout.archive_dir.iterdir()}


# --------------------------------------------------------------------------- what is written


def test_a_try_that_succeeds(recorder, layout, raw, config, monkeypatch, said):
    monkeypatch.setenv("SLURM_JOB_ID", "20")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "17")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    attempt = begin(
        recorder,
        inputs=[("raw data", DatasetKind.R0, raw), ("gone", DatasetKind.DRIVE_LOG, raw.with_name("gone"))],
        configuration=[("R0 to DL1", config)],
        parameters={"max-events": "100", "tag": "„x“"},
        known=[FileRecord("known", DatasetKind.DL1, "/elsewhere", 1, 2, "f" * 64)],
    )
    (begun,) = read_records(layout.records(1874, 3))
    assert (begun.status, begun.ended, begun.started) == (Status.UNFINISHED, None, START)
    assert [(item.role, item.size is not None) for item in begun.inputs] == [
        ("known", True),
        ("raw data", True),
        ("gone", False),
    ]
    assert begun.inputs[1].sample is not None
    assert (begun.telescope, begun.night, begun.run, begun.subrun) == ("LST1", str(layout.night), 1874, 3)
    assert (begun.step, begun.program, begun.package, begun.prod_id) == (
        "r0_to_dl1",
        "program",
        "lstchain",
        "v1",
    )
    assert begun.parameters == {"max-events": "100", "tag": "„x“"}
    assert (begun.host, begun.user) == (socket.gethostname(), account())
    assert begun.job == JobIds("17", 3, 1)
    assert begun.software.versions == main_versions()
    assert begun.version == main_versions()["lstchain"]

    made = layout.analysis_dir / ".unfinished" / "dl1.h5"
    made.parent.mkdir(parents=True)
    made.write_bytes(b"dl1")
    outputs = attempt.identify([("DL1", DatasetKind.DL1, made, layout.analysis_dir / "dl1.h5")])
    attempt.done(outputs, Outcome(0, 12.5, 11.25, 800.0))
    (ended,) = read_records(layout.records(1874, 3))
    assert (ended.status, ended.exit_code, ended.ended) == (Status.DONE, 0, START + timedelta(seconds=10))
    assert [(item.path, item.sha256) for item in ended.outputs] == [
        (str(layout.analysis_dir / "dl1.h5"), digest(b"dl1"))
    ]
    assert (ended.wall_time, ended.cpu_time, ended.peak_memory) == (12.5, 11.25, 800.0)
    assert (ended.id, ended.inputs) == (begun.id, begun.inputs)
    assert said == []


def test_a_try_that_fails_has_made_nothing(recorder, layout):
    begin(recorder).failed(-9, "killed by\nsignal 9", Outcome(-9, 1.0, 0.5, 10.0))
    (record,) = read_records(layout.records(1874, 3))
    assert (record.status, record.exit_code, record.reason) == (Status.FAILED, -9, "killed by\nsignal 9")
    assert (record.outputs, record.wall_time) == ((), 1.0)


def test_tries_of_one_task_have_identifiers_of_their_own(recorder, layout):
    for _ in range(3):
        begin(recorder).failed(1, "no")
    begin(recorder)
    records = read_records(layout.records(1874, 3))
    assert len({record.id for record in records}) == 4
    assert [record.status for record in records] == [Status.FAILED] * 3 + [Status.UNFINISHED]


def test_each_task_has_a_file_of_its_own(layout):
    for run, subrun in ((1873, None), (1874, 0), (1874, 1)):
        begin(Recorder(layout, run, subrun)).failed(1, "no")
    assert sorted(path.name for path in layout.records_dir.glob("*.jsonl")) == [
        "LST1_01873.jsonl",
        "LST1_01874.0000.jsonl",
        "LST1_01874.0001.jsonl",
    ]


def test_a_clock_that_is_set_back_does_not_end_a_try_before_it_began(layout):
    times = iter([START, START - timedelta(hours=1)])
    attempt = begin(Recorder(layout, 1874, 3, clock=lambda: next(times)))
    attempt.done(())
    (record,) = read_records(layout.records(1874, 3))
    assert record.ended == record.started == attempt.record.ended == START


@pytest.mark.parametrize(("raw_hash", "is_hashed"), [("sampled", False), ("full", True)])
def test_raw_files_are_hashed_as_the_configuration_says(make_settings, night, raw_hash, is_hashed, tmp_path):
    layout = Layout(make_settings({("PROVENANCE", "raw_hash"): raw_hash}), night)
    path = tmp_path / "raw"
    path.write_bytes(b"raw")
    begin(Recorder(layout, 1874, 3), inputs=[("raw data", DatasetKind.R0, path)])
    (record,) = read_records(layout.records(1874, 3))
    assert record.inputs[0].sha256 == (digest(b"raw") if is_hashed else None)
    assert record.inputs[0].sample is not None


def test_an_attempt_without_a_recorder_does_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    attempt = Attempt()
    assert attempt.identify([("DL1", DatasetKind.DL1, tmp_path / "missing", tmp_path / "final")]) == ()
    attempt.done((), Outcome(0, 1.0, 1.0, 1.0))
    attempt.failed(1, "no")
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------- the archive


def test_copies_are_named_by_their_content_and_equal(recorder, layout, config):
    content = config.read_bytes()
    begin(recorder, configuration=[("R0 to DL1", config)])
    (record,) = read_records(layout.records(1874, 3))
    name = f"{digest(content)}.my config.json"
    assert record.configuration == (ConfigFile("R0 to DL1", str(config), digest(content), name),)
    software = installed_software().encode()
    assert archived(layout) == {name: content, f"{digest(software)}.software.txt": software}
    assert record.software.environment == digest(software)


def test_copies_are_made_once_for_each_content(recorder, layout, config, monkeypatch):
    made = []

    def counted(path, data, *, create=recorder_module.create_bytes):
        made.append(path.name)
        create(path, data)

    monkeypatch.setattr(recorder_module, "create_bytes", counted)
    for _ in range(3):
        begin(recorder, configuration=[("one", config), ("two", config)])
    assert len(made) == 2
    config.write_bytes(b"{}")
    begin(recorder, configuration=[("one", config)])
    assert len(made) == len(archived(layout)) == 3
    assert {record.configuration[0].sha256 for record in read_records(layout.records(1874, 3))} == {
        digest(b"{}"),
        digest(b'{"a": "caf\xe9"}\r\n'),
    }


def test_a_copy_that_another_task_made_just_then_serves(recorder, layout, config, monkeypatch, said):
    def quicker(path, data, *, create=recorder_module.create_bytes):
        create(path, data)
        raise FileExistsError(errno.EEXIST, "File exists", str(path))

    monkeypatch.setattr(recorder_module, "create_bytes", quicker)
    begin(recorder, configuration=[("one", config)])
    (record,) = read_records(layout.records(1874, 3))
    assert archived(layout)[record.configuration[0].archived] == config.read_bytes()
    assert said == []


def test_a_configuration_that_is_not_there(recorder, layout, tmp_path):
    begin(recorder, configuration=[("one", tmp_path / "gone.json")])
    (record,) = read_records(layout.records(1874, 3))
    assert record.configuration == (ConfigFile("one", str(tmp_path / "gone.json")),)


# --------------------------------------------------------------------- what cannot be written


def assert_told(layout, said, count, *words):
    assert len(said) == count
    for line in said:
        assert line.startswith(("no provenance of r0_to_dl1 of LST1_01874.0003: ", "no copy of "))
        assert all(word in line for word in words)
    noted = read_incidences(layout.incidences)
    assert list(noted) == list(dict.fromkeys(f"{line[0].upper()}{line[1:]}." for line in said))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT, errno.ESTALE])
def test_a_line_that_cannot_be_written_is_told(recorder, layout, raw, said, monkeypatch, code):
    def broken(_path, _record):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(recorder_module, "append_begin", broken)
    monkeypatch.setattr(recorder_module, "append_end", broken)
    attempt = begin(recorder, inputs=[("raw data", DatasetKind.R0, raw)])
    attempt.done(attempt.identify([("R0", DatasetKind.R0, raw, raw)]))
    assert_told(layout, said, 2, os.strerror(code))


def test_a_begin_that_could_not_be_written_is_made_up_for(recorder, layout, raw, monkeypatch, said):
    with monkeypatch.context() as patch:
        patch.setattr(recorder_module, "append_begin", lambda *_: (_ for _ in ()).throw(OSError("full")))
        attempt = begin(recorder, inputs=[("raw data", DatasetKind.R0, raw)])
    attempt.done(())
    (record,) = read_records(layout.records(1874, 3))
    assert (record.status, record.started) == (Status.DONE, START)
    assert record.inputs[0].path == str(raw)
    assert len(said) == 1


def test_an_input_that_cannot_be_read_is_told_and_the_try_is_recorded(recorder, layout, said, tmp_path):
    attempt = begin(recorder, inputs=[("raw data", DatasetKind.R0, tmp_path)])  # a folder
    attempt.done(())
    (record,) = read_records(layout.records(1874, 3))
    assert (record.status, record.inputs) == (Status.DONE, ())
    assert_told(layout, said, 1, "Is a directory")


def test_what_was_made_and_cannot_be_read_does_not_hide_the_rest(recorder, layout, raw, said, tmp_path):
    attempt = begin(recorder)
    files = [("bad", DatasetKind.DL1, tmp_path, tmp_path), ("good", DatasetKind.DL2, raw, raw)]
    attempt.done(attempt.identify(files))
    (record,) = read_records(layout.records(1874, 3))
    assert [item.role for item in record.outputs] == ["good"]
    assert_told(layout, said, 1, "Is a directory")


def test_a_folder_that_may_not_be_written_is_told(open_folder, somebody, make_settings, night, said):
    layout = Layout(make_settings({("LST1", "analysis_dir"): str(open_folder)}), night)
    with somebody():
        layout.analysis_dir.mkdir(parents=True)
        layout.records_dir.mkdir(mode=0o555)
        begin(Recorder(layout, 1874, 3, say=said.append)).done(())
    assert_told(layout, said, 3, "Permission denied")
    assert list(layout.records_dir.iterdir()) == []


def test_a_night_that_may_not_be_written_at_all_is_told(open_folder, somebody, make_settings, night, said):
    layout = Layout(make_settings({("LST1", "analysis_dir"): str(open_folder)}), night)
    with somebody():
        layout.analysis_dir.mkdir(parents=True)
        layout.analysis_dir.chmod(0o555)
        begin(Recorder(layout, 1874, 3, say=said.append)).done(())
    assert len(said) == 3
    assert list(layout.analysis_dir.iterdir()) == []


def test_a_file_in_place_of_the_archive_is_told(recorder, layout, said, config, raw):
    layout.archive_dir.parent.mkdir(parents=True)
    layout.archive_dir.touch()
    attempt = begin(recorder, configuration=[("one", config)], inputs=[("raw data", DatasetKind.R0, raw)])
    attempt.done(())
    (record,) = read_records(layout.records(1874, 3))
    assert record.status is Status.DONE
    assert record.configuration == (ConfigFile("one", str(config), digest(config.read_bytes()), None),)
    assert [item.path for item in record.inputs] == [str(raw)]
    assert_told(layout, said, 2, "no copy of ")


def test_a_copy_whose_name_would_be_too_long_is_told(recorder, layout, said, tmp_path, raw):
    config = tmp_path / ("x" * 220 + ".json")
    config.write_bytes(b"{}")
    attempt = begin(recorder, configuration=[("one", config)], inputs=[("raw data", DatasetKind.R0, raw)])
    attempt.done(())
    (record,) = read_records(layout.records(1874, 3))
    assert [(each.name, each.sha256) for each in record.configuration] == [("one", digest(b"{}"))]
    assert [item.path for item in record.inputs] == [str(raw)]
    (copy,) = [each.archived for each in record.configuration]
    assert said if copy is None else archived(layout)[copy] == b"{}"


def test_a_configuration_that_cannot_be_read_is_told(recorder, layout, said, tmp_path):
    begin(recorder, configuration=[("one", tmp_path)]).done(())
    assert [record.status for record in read_records(layout.records(1874, 3))] == [Status.DONE]
    assert_told(layout, said, 1, "Is a directory")


def test_a_number_of_the_environment_that_is_too_long_stops_no_step(recorder, layout, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "9" * 5000)
    begin(recorder).done(())
    assert [record.status for record in read_records(layout.records(1874, 3))] == [Status.DONE]


def test_what_is_no_fault_of_the_disk_is_not_hidden(recorder, monkeypatch):
    monkeypatch.setattr(recorder_module, "append_begin", lambda *_: (_ for _ in ()).throw(MemoryError))
    with pytest.raises(MemoryError):
        begin(recorder)


# -------------------------------------------------------------------------------- killed tasks

TASK = """
import sys, time
from datetime import date
from pathlib import Path
from osa.config import load_settings
from osa.layout import Layout
from osa.model.night import Night
from osa.records.recorder import Recorder

layout = Layout(load_settings(Path(sys.argv[1]), "LST1"), Night(date(2020, 1, 27)))
attempt = Recorder(layout, 1874, 3).begin("r0_to_dl1", "program", package="lstchain", prod_id="v1")
print("begun", flush=True)
time.sleep(60 if sys.argv[2] == "wait" else 0)
attempt.done(())
"""


def test_a_killed_task_leaves_a_try_that_did_not_finish(make_config, night):
    path = make_config()
    layout = Layout(load_settings(path, "LST1"), night)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", TASK, str(path)]
    task = subprocess.Popen([*command, "wait"], env=environment, stdout=subprocess.PIPE, text=True)
    assert task.stdout.readline() == "begun\n"
    task.send_signal(signal.SIGKILL)
    assert task.wait() == -signal.SIGKILL
    task.stdout.close()
    time.sleep(0.01)
    assert [record.status for record in read_records(layout.records(1874, 3))] == [Status.UNFINISHED]
    subprocess.run([*command, "go on"], env=environment, stdout=subprocess.DEVNULL, check=True)
    records = read_records(layout.records(1874, 3))
    assert [record.status for record in records] == [Status.UNFINISHED, Status.DONE]
    assert records[0].started < records[1].started
