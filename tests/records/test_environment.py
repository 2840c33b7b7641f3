"""What a try ran with."""

from __future__ import annotations

import getpass
import os
import platform
import subprocess
import sys
from importlib import metadata

import pytest

from osa import __version__
from osa.records import environment
from osa.records.environment import account, installed_software, job_ids, main_versions
from osa.records.model import JobIds


def test_versions_are_those_that_are_installed():
    versions = main_versions()
    assert versions["python"] == platform.python_version()
    assert versions["lstchain"] == metadata.version("lstchain")
    assert versions["lst-osa"] == __version__
    assert {"ctapipe", "ctapipe_io_lst", "protozfits", "numpy"} <= set(versions)
    assert all(isinstance(version, str) and version for version in versions.values())


def test_what_is_not_installed_has_no_version(monkeypatch):
    monkeypatch.setattr(environment, "_MAIN", ("numpy", "no-such-package"))
    main_versions.cache_clear()
    try:
        assert set(main_versions()) == {"python", "numpy"}
    finally:
        main_versions.cache_clear()


def test_the_list_of_software_is_sorted_and_in_one_spelling():
    head, system, *packages, last = installed_software().split("\n")
    assert head == f"python=={platform.python_version()}"
    assert system == f"# {platform.platform()}"
    assert last == ""
    assert packages == sorted(set(packages))
    names = [package.partition("==")[0] for package in packages]
    assert all(name == name.lower() and "_" not in name and "." not in name for name in names)
    assert len(names) == len(set(names))
    assert f"lstchain=={metadata.version('lstchain')}" in packages
    assert any(name == "ctapipe-io-lst" for name in names)


def test_the_list_is_the_same_in_every_process():
    code = "import sys; from osa.records.environment import installed_software as f; sys.stdout.write(f())"
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed}
        said = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
        ).stdout
        assert said == installed_software()


def test_the_account(monkeypatch):
    assert account() == getpass.getuser()

    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert account() == str(os.getuid())


JOB = {"SLURM_JOB_ID": "18"}
ARRAY = {"SLURM_JOB_ID": "20", "SLURM_ARRAY_JOB_ID": "17", "SLURM_ARRAY_TASK_ID": "3"}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, JobIds()),
        ({"SLURM_JOB_ID": ""}, JobIds()),
        ({"SLURM_ARRAY_TASK_ID": "3", "SLURM_RESTART_COUNT": "1"}, JobIds()),
        (JOB, JobIds("18", None, 0)),
        (ARRAY, JobIds("17", 3, 0)),
        (ARRAY | {"SLURM_ARRAY_TASK_ID": "0"}, JobIds("17", 0, 0)),
        (ARRAY | {"SLURM_RESTART_COUNT": "2"}, JobIds("17", 3, 2)),
        (ARRAY | {"SLURM_RESTART_COUNT": ""}, JobIds("17", 3, 0)),
        (JOB | {"SLURM_RESTART_COUNT": "-1"}, JobIds("18", None, 0)),
        (JOB | {"SLURM_ARRAY_TASK_ID": "x; touch y"}, JobIds("18", None, 0)),
        (JOB | {"SLURM_ARRAY_TASK_ID": "3.5", "SLURM_RESTART_COUNT": "²"}, JobIds("18", None, 0)),
        ({"SLURM_JOB_ID": "$(touch x)\n"}, JobIds("$(touch x)\n", None, 0)),
    ],
)
def test_the_job_is_read_from_the_environment(variables, expected):
    assert job_ids(variables) == expected


def test_a_package_that_cannot_be_read_is_left_out(monkeypatch):
    class Odd:
        version = "1"

        @property
        def metadata(self):
            raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "odd")

    monkeypatch.setattr(environment.metadata, "distributions", lambda: [Odd()])
    environment.installed_software.cache_clear()
    try:
        assert len(environment.installed_software().splitlines()) == 2
    finally:
        environment.installed_software.cache_clear()


def test_numbers_that_are_too_long_are_none():
    assert job_ids(JOB | {"SLURM_ARRAY_TASK_ID": "9" * 5000}) == JobIds("18", None, 0)
