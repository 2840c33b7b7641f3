"""An environment that has the IVOA's own package, which does not go with the version of prov that we use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "to_voprov.py"
PACKAGES = ("voprov==0.0.4", "prov[xml]>=2,<3", "requests")


@pytest.fixture(scope="session")
def voprov_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with voprov."""
    folder = tmp_path_factory.mktemp("voprov")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    return python


def convert(python: Path | str, *arguments: Path | str) -> subprocess.CompletedProcess[str]:
    """Run the tool that converts documents."""
    return subprocess.run(
        [python, "-I", TOOL, *arguments], capture_output=True, text=True, check=False, timeout=60
    )
