"""Is a product what its name says: it opens, holds the tables and rows, and is of this run.

The names of tables are those of lstchain 0.12. Each check raises :class:`ProductError`.

Files are read with PyTables, as lstchain writes them: h5py alone lacks the blosc filter with which
lstchain compresses its tables. PyTables in turn crashes, and takes the interpreter with it, where
the structure of a file is torn, so h5py walks through that first. Every check of an HDF5 file
reads all of it once, so that lstchain's checksums are compared: a file can have its full size and
be torn inside.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osa.errors import ProductError

if TYPE_CHECKING:
    import h5py
    import tables

__all__ = [
    "LIBRARIES",
    "check_charge_calibration",
    "check_datacheck",
    "check_dl1",
    "check_dl2",
    "check_drs4_pedestal",
    "check_interleaved",
    "check_muons",
    "check_pdf",
    "check_time_calibration",
    "event_count",
    "raw_event_count",
]

LIBRARIES = ("numpy", "tables", "h5py", "astropy.io.fits")
"""What the checks import, where they need it; whoever will check anyway may do so before."""

DL1_PARAMETERS = "dl1/event/telescope/parameters/LST_LSTCam"
DL1_IMAGES = "dl1/event/telescope/image/LST_LSTCam"
DL2_PARAMETERS = "dl2/event/telescope/parameters/LST_LSTCam"
DATACHECK_COSMICS = "dl1datacheck/cosmics"

_N_GAINS, _N_PIXELS, _N_CAPACITORS = 2, 1855, 4096
_FITS_BLOCK = 2880

# Events of a raw file that ctapipe_io_lst passes over (those with event id 0) are a handful.
_MOST_EVENTS_LOST = 0.01
_HANDFUL = 5


@contextmanager
def _opened(path: Path, *, whole: bool = True) -> Iterator[tables.File]:
    """Open an HDF5 file; whatever goes wrong while it is read makes it a bad product."""
    import tables

    try:
        with warnings.catch_warnings():
            # Nodes of kinds that PyTables does not know (in DL2) and names that are no Python names.
            warnings.simplefilter("ignore")
            _walk(path)
            with tables.open_file(path, "r") as file:
                if whole:
                    _read_through(file)
                yield file
    except (ProductError, MemoryError):
        raise
    except FileNotFoundError:
        raise ProductError(f"{path} is not there") from None
    except Exception as error:  # torn files make HDF5, NumPy and PyTables fail in many ways
        raise ProductError(f"{path} cannot be read: {_reason(error)}") from None


def _walk(path: Path) -> None:
    """Open everything in a file, without reading the data."""
    import h5py

    def visit(_name: str, node: h5py.Group | h5py.Dataset) -> None:
        for attribute in node.attrs:
            node.attrs.get_id(attribute)

    with h5py.File(path, "r") as file:
        visit("/", file)
        file.visititems(visit)


def _reason(error: Exception) -> str:
    """Say in one line what went wrong: PyTables puts HDF5's whole trace into its errors."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _read_through(file: tables.File) -> None:
    """Read everything once, in pieces of about a megabyte."""
    import tables

    for leaf in file.walk_nodes("/", "Leaf"):
        if not isinstance(leaf, tables.UnImplemented):
            for start in range(0, leaf.nrows, max(1, leaf.nrowsinbuf)):
                leaf.read(start, min(start + max(1, leaf.nrowsinbuf), leaf.nrows))


def _leaf(file: tables.File, path: Path, name: str) -> Any:
    """Find a table or array that has rows."""
    if f"/{name}" not in file:
        raise ProductError(f"{path} has no table {name}")
    leaf = file.get_node(f"/{name}")
    if not leaf.nrows:
        raise ProductError(f"{path}: table {name} is empty")
    return leaf


def _check_run(table: tables.Table, path: Path, run: int) -> None:
    found = {int(value) for value in set(table.col("obs_id"))}
    if found != {run}:
        raise ProductError(f"{path} holds events of run(s) {sorted(found)}, not of {run}")


def _check_name(path: Path, run: int) -> None:
    """Expect the run in the name, for products that do not tell it inside."""
    if f"Run{run:05d}." not in path.name:
        raise ProductError(f"{path} is not of run {run}")


def raw_event_count(raw_file: Path) -> int:
    """Count the events of a sub-run in its raw files, all streams together.

    Parameters
    ----------
    raw_file : pathlib.Path
        The file of stream 1; the other streams lie beside it.
    """
    from astropy.io import fits

    stream = raw_file.name.split(".")
    paths = sorted(raw_file.parent.glob(".".join([stream[0], "?", *stream[2:]])))
    if not paths:
        raise ProductError(f"raw file {raw_file} is not there")
    total = 0
    for path in paths:
        try:
            with fits.open(path, disable_image_compression=True) as hdus:
                header = hdus["Events"].header
                total += int(header.get("ZNAXIS2", header["NAXIS2"]))
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise ProductError(f"raw file {path} cannot be read: {error}") from None
    return total


def event_count(path: Path, table: str) -> int:
    """Count the rows of a table."""
    with _opened(path, whole=False) as file:
        return int(_leaf(file, path, table).nrows)


def check_drs4_pedestal(path: Path) -> None:
    """Expect the baseline of every capacitor, shape (1, gains, pixels, capacitors)."""
    with _opened(path) as file:
        group = "r1/monitoring/drs4_baseline"
        names = file.get_node(f"/{group}")._v_children if f"/{group}" in file else ()
        name = next((name for name in names if name.startswith("tel_") and "meta" not in name), None)
        if name is None:
            raise ProductError(f"{path} has no table {group}/tel_*")
        table = _leaf(file, path, f"{group}/{name}")
        shape = table.coldtypes["baseline_mean"].shape
        if shape != (_N_GAINS, _N_PIXELS, _N_CAPACITORS):
            raise ProductError(f"{path}: baseline has shape {shape}")


def check_time_calibration(path: Path) -> None:
    """Expect finite Fourier coefficients, shape (gains, pixels, harmonics).

    lstchain stores them without a checksum; no pixel has all of them zero, unless the file is torn.
    """
    import numpy as np

    with _opened(path) as file:
        for name in ("fan", "fbn"):
            values = _leaf(file, path, name).read()
            if values.shape[:2] != (_N_GAINS, _N_PIXELS) or not np.isfinite(values).all():
                raise ProductError(f"{path}: {name} is not finite for every pixel")
            if not values.any(axis=2).all():
                raise ProductError(f"{path}: {name} is zero for some pixels")


def check_charge_calibration(path: Path) -> None:
    """Expect the four tables of a camera calibration."""
    with _opened(path) as file:
        group = next((name for name in file.root._v_children if name.startswith("tel_")), None)
        if group is None:
            raise ProductError(f"{path} has no group tel_*")
        for name in ("calibration", "flatfield", "pedestal", "pixel_status"):
            _leaf(file, path, f"{group}/{name}")


def check_dl1(path: Path, *, run: int, raw_file: Path | None = None, whole: bool = True) -> None:
    """Expect parameters and images of the same events of this run.

    Parameters
    ----------
    path : pathlib.Path
        The DL1 file.
    run : int
        Run that it should be of.
    raw_file : pathlib.Path, optional
        Raw file that it was made from; where given, (nearly) all its events are expected.
    whole : bool
        Whether to read all of it, so that its checksums are compared, or only its structure and
        the columns that are needed.
    """
    with _opened(path, whole=whole) as file:
        parameters = _leaf(file, path, DL1_PARAMETERS)
        _check_run(parameters, path, run)
        n_events = int(parameters.nrows)
        if f"/{DL1_IMAGES}" in file:
            n_images = int(file.get_node(f"/{DL1_IMAGES}").nrows)
            if n_images != n_events:
                raise ProductError(f"{path}: {n_events} rows of parameters, {n_images} images")
    if raw_file is not None:
        expected = raw_event_count(raw_file)
        lost = max(_HANDFUL, _MOST_EVENTS_LOST * expected)
        if not expected - lost <= n_events <= expected:
            raise ProductError(f"{path} has {n_events} events, its raw files {expected}")


def check_interleaved(path: Path) -> None:
    """Expect a readable file; it may hold no event."""
    with _opened(path):
        pass


def check_muons(path: Path, *, run: int) -> None:
    """Expect a table in FITS; a sub-run without a muon has an empty one.

    The table does not tell its run; the name has to.
    """
    from astropy.io import fits

    _check_name(path, run)
    try:
        size = path.stat().st_size
        if size % _FITS_BLOCK:
            raise ProductError(f"{path} is cut short: {size} bytes are no whole FITS blocks")
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # astropy only warns of a file that is too short
            with fits.open(path, memmap=False) as hdus:
                if len(hdus) < 2:
                    raise ProductError(f"{path} has no table")
                rows = hdus[1].data
                # ctapipe_io_lst gives no event with id 0: such rows were never written.
                if rows is not None and len(rows) and not rows["event_id"].all():
                    raise ProductError(f"{path} has rows without an event")
    except (ProductError, MemoryError):
        raise
    except FileNotFoundError:
        raise ProductError(f"{path} is not there") from None
    except Exception as error:  # torn files make astropy fail in many ways
        raise ProductError(f"{path} cannot be read: {_reason(error)}") from None


def check_datacheck(path: Path, *, run: int, subruns: tuple[int, ...], whole: bool = True) -> None:
    """Expect one row of cosmics a sub-run, of just these sub-runs.

    The tables tell the sub-runs and not the run; the name has to. The parameter whole is that of
    :func:`check_dl1`.
    """
    _check_name(path, run)
    with _opened(path, whole=whole) as file:
        found = sorted(int(value) for value in _leaf(file, path, DATACHECK_COSMICS).col("subrun_index"))
    if found != sorted(subruns):
        raise ProductError(f"{path} holds sub-runs {found}; expected {sorted(subruns)}")


def check_dl2(path: Path, *, run: int, dl1: Path, whole: bool = True) -> None:
    """Expect reconstructed events of this run, all of them events of its DL1 file.

    lstchain leaves a file without this table, and ends with success, where no event passes its
    filters. The parameter whole is that of :func:`check_dl1`.
    """
    import numpy as np

    with _opened(path, whole=whole) as file:
        parameters = _leaf(file, path, DL2_PARAMETERS)
        _check_run(parameters, path, run)
        missing = {"reco_energy", "gammaness", "reco_alt"} - set(parameters.colnames)
        if missing:
            raise ProductError(f"{path} lacks the columns {', '.join(sorted(missing))}")
        events = parameters.col("event_id")
    with _opened(dl1, whole=False) as file:
        known = _leaf(file, dl1, DL1_PARAMETERS).col("event_id")
    if not np.isin(events, known).all():
        raise ProductError(f"{path} has events that are not in {dl1.name}")


def check_pdf(path: Path) -> None:
    """Expect a PDF that was written to its end."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ProductError(f"{path} cannot be read: {error}") from None
    if not data.startswith(b"%PDF") or b"%%EOF" not in data[-1024:]:
        raise ProductError(f"{path} is no complete PDF")
