"""Commands that plan answer at once: what is heavy is imported where it is needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from osa.layout import Layout

COMMANDS = (
    "sequencer",
    "closer",
    "calibrationsequence",
    "datasequence",
    "provprocess",
    "provquery",
    "simulatenight",
    "nightsummary",
    "osacron",
    "statuspage",
    "nightclean",
)
HEAVY = (
    "lstchain",
    "ctapipe",
    "astropy",
    "numpy",
    "pandas",
    "tables",
    "h5py",
    "matplotlib",
    "rich",
    "prov",
    "pydot",
    "sqlalchemy",
    "protozfits",
    "scipy",
    "jinja2",
)
LIST_MODULES = """
import sys
from osa.cli.{command} import main
try:
    main({arguments!r})
except SystemExit:
    pass
print("loaded:", *sorted(name for name in sys.modules if "." not in name))
"""


def loaded(command: str, *arguments: str) -> set[str]:
    """Tell which modules a command imports."""
    code = LIST_MODULES.format(command=command, arguments=list(arguments))
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    line = result.stdout.splitlines()[-1]
    assert line.startswith("loaded:")
    return set(line.split()[1:])


@pytest.mark.parametrize("command", COMMANDS)
def test_help_imports_nothing_heavy(command: str) -> None:
    assert not loaded(command, "--help") & set(HEAVY)


def test_planning_imports_nothing_heavy(planned: Layout) -> None:
    night = ("-c", str(planned.settings.path), "-d", planned.night.underscored)
    assert not loaded("sequencer", "-s", *night) & set(HEAVY)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples_and_exit_codes(command: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", f"osa.cli.{command}", "--help"], capture_output=True, text=True, check=True
    )
    text = result.stdout
    assert f"\n  {command} " in text.split("examples:")[1]
    assert "130 interrupted" in text
