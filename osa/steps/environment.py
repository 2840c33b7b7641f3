"""The environment in which lstchain runs: without network or screen, with the task's cores only."""

from __future__ import annotations

from pathlib import Path

from osa.system.files import write_text

__all__ = ["TASK_BEGINS", "prepare_environment"]

TASK_BEGINS = "the task begins"
"""What a task says first: a log may have several, one after the other."""

# Everything below lstchain that starts threads by itself.
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMEXPR_MAX_THREADS",
    "NUMBA_NUM_THREADS",
    "BLOSC_NTHREADS",
    "LOKY_MAX_CPU_COUNT",
)

# Without this astropy looks for earth rotation tables on the network and, on a node that has
# none, waits for its time-outs: 50 s in one step. Tables come with the package astropy-iers-data.
_ASTROPY_CONFIGURATION = "[utils.iers.iers]\nauto_download = False\n"


def prepare_environment(folder: Path, cpus: int) -> dict[str, str]:
    """Make the variables for a task.

    Parameters
    ----------
    folder : pathlib.Path
        Where astropy's configuration is put.
    cpus : int
        Cores of the task.

    Returns
    -------
    dict of str to str
        To be added to the environment before lstchain is imported.
    """
    configuration = folder / "astropy" / "astropy.cfg"
    if not configuration.is_file():
        write_text(configuration, _ASTROPY_CONFIGURATION)
    threads = dict.fromkeys(_THREAD_VARIABLES, str(cpus))
    return {**threads, "MPLBACKEND": "Agg", "XDG_CONFIG_HOME": str(folder)}
