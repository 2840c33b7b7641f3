from __future__ import annotations

import os
import subprocess
import sys

import pytest

from osa.steps.environment import prepare_environment


@pytest.fixture
def variables(tmp_path):
    return prepare_environment(tmp_path / "night" / ".environment", cpus=2)


@pytest.mark.parametrize(
    "name",
    ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "LOKY_MAX_CPU_COUNT"],
)
def test_libraries_keep_to_the_cores_of_the_task(variables, name):
    assert variables[name] == "2"


def test_plots_need_no_screen(variables):
    assert variables["MPLBACKEND"] == "Agg"


def test_all_variables_are_text(variables):
    assert all(isinstance(value, str) for value in variables.values())


def test_our_own_environment_stays(tmp_path):
    before = dict(os.environ)
    prepare_environment(tmp_path, cpus=1)
    assert dict(os.environ) == before


def test_astropy_asks_no_network(variables):
    code = "from astropy.utils.iers import conf; print(conf.auto_download)"
    told = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == "False"


def test_it_is_prepared_once(tmp_path):
    prepare_environment(tmp_path, cpus=1)
    configuration = tmp_path / "astropy" / "astropy.cfg"
    first = configuration.stat().st_ino
    prepare_environment(tmp_path, cpus=4)
    assert configuration.stat().st_ino == first
    assert [path.name for path in configuration.parent.iterdir()] == ["astropy.cfg"]
