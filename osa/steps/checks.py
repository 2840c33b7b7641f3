"""Is a product what its name says: it opens, holds the tables and rows, and is of this run.

The names of tables are those of lstchain 0.12. Each check raises :class:`ProductError`.

Every check of an HDF5 file that was just made reads all of it once, so that lstchain's checksums are
compared: a file can have its full size and be torn inside.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osa.errors import ProductError
from osa.layout import N_STREAMS
from osa.steps.hdf5 import leaf, opened, reason

if TYPE_CHECKING:
    import numpy
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
    "raw_is_cut_short",
]

LIBRARIES = ("numpy", "tables", "h5py", "astropy.io.fits")
"""What the checks import, where they need it; whoever will check anyway may do so before."""

DL1_PARAMETERS = "dl1/event/telescope/parameters/LST_LSTCam"
DL1_IMAGES = "dl1/event/telescope/image/LST_LSTCam"
DL2_PARAMETERS = "dl2/event/telescope/parameters/LST_LSTCam"
DATACHECK_COSMICS = "dl1datacheck/cosmics"

_N_GAINS, _N_PIXELS, _N_CAPACITORS = 2, 1855, 4096
_FITS_BLOCK = 2880
_ROWS = 4096

# Events of a raw file that ctapipe_io_lst passes over (those with event id 0) are a handful.
_MOST_EVENTS_LOST = 0.01
_HANDFUL = 5


@dataclass(frozen=True)
class _Events:
    """Which events a table has.

    Parameters
    ----------
    runs : tuple of int
        The runs that they are of.
    ids : numpy.ndarray
        Their numbers.
    """

    runs: tuple[int, ...]
    ids: numpy.ndarray[Any, Any]

    @classmethod
    def of(cls, table: tables.Table) -> _Events:
        """Read both columns in one pass: each costs as much as the whole rows, which are compressed."""
        import numpy as np

        runs: set[int] = set()
        ids = []
        for start in range(0, table.nrows, _ROWS):
            rows = table.read(start, min(start + _ROWS, table.nrows))
            runs.update(np.unique(rows["obs_id"]).tolist())
            ids.append(rows["event_id"].copy())
        return cls(tuple(sorted(runs)), np.concatenate(ids))

    def check_run(self, path: Path, run: int) -> None:
        """Expect events of this run only."""
        if self.runs != (run,):
            raise ProductError(f"{path} holds events of run(s) {list(self.runs)}, not of {run}")


@dataclass(frozen=True)
class _Dl1:
    """What the checks ask of a DL1 file.

    Parameters
    ----------
    events : _Events
        Of its parameters.
    n_images : int or None
        Rows of images, where it has that table.
    """

    events: _Events
    n_images: int | None


def _read_dl1(path: Path, *, whole: bool) -> _Dl1:
    with opened(path, whole=whole) as file:
        events = _Events.of(leaf(file, path, DL1_PARAMETERS))
        has_images = f"/{DL1_IMAGES}" in file
        return _Dl1(events, int(file.get_node(f"/{DL1_IMAGES}").nrows) if has_images else None)


def _glance_at_dl1(path: Path) -> _Dl1:
    """Read it, or remember it: a sub-run's DL1 is asked for its own check and then for that of DL2."""
    try:
        found = path.stat()
    except OSError:
        return _read_dl1(path, whole=False)  # which says what is wrong
    stamp = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    return _remembered_dl1(path, stamp)


@lru_cache(maxsize=1)
def _remembered_dl1(path: Path, _stamp: tuple[int, ...]) -> _Dl1:
    return _read_dl1(path, whole=False)


def _check_name(path: Path, run: int) -> None:
    """Expect the run in the name, for products that do not tell it inside."""
    if f"Run{run:05d}." not in path.name:
        raise ProductError(f"{path} is not of run {run}")


@contextmanager
def _raw_hdus(path: Path) -> Iterator[Any]:
    """Open a raw file, for its headers; of one that is cut short astropy would warn the user."""
    from astropy.io import fits

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with fits.open(path, disable_image_compression=True) as hdus:
            yield hdus


def raw_event_count(raw_file: Path) -> int:
    """Count the events of a sub-run in its raw files, all streams together.

    Parameters
    ----------
    raw_file : pathlib.Path
        The file of stream 1; the other streams lie beside it.
    """
    telescope, _, rest = raw_file.name.split(".", 2)
    # Asked for by name: the folder may have tens of thousands of others.
    streams = (raw_file.with_name(f"{telescope}.{stream}.{rest}") for stream in range(1, N_STREAMS + 1))
    paths = [path for path in streams if path.exists()]
    if not paths:
        raise ProductError(f"raw file {raw_file} is not there")
    total = 0
    for path in paths:
        try:
            with _raw_hdus(path) as hdus:
                header = hdus["Events"].header
                total += int(header.get("ZNAXIS2", header["NAXIS2"]))
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise ProductError(f"raw file {path} cannot be read: {error}") from None
    return total


def raw_is_cut_short(raw_file: Path) -> bool:
    """Tell whether a raw file ends before the end that its headers promise.

    Parameters
    ----------
    raw_file : pathlib.Path
        The file of one stream.

    Returns
    -------
    bool
        False where the headers cannot be read: then nobody knows.
    """
    try:
        with _raw_hdus(raw_file) as hdus:
            end = max(hdu.fileinfo()["datLoc"] + hdu.fileinfo()["datSpan"] for hdu in hdus)
        return raw_file.stat().st_size < int(end)
    except (OSError, KeyError, ValueError, TypeError):
        return False


def event_count(path: Path, table: str) -> int:
    """Count the rows of a table."""
    with opened(path, whole=False) as file:
        return int(leaf(file, path, table).nrows)


def check_drs4_pedestal(path: Path) -> None:
    """Expect the baseline of every capacitor, shape (1, gains, pixels, capacitors)."""
    with opened(path) as file:
        group = "r1/monitoring/drs4_baseline"
        names = file.get_node(f"/{group}")._v_children if f"/{group}" in file else ()
        name = next((name for name in names if name.startswith("tel_") and "meta" not in name), None)
        if name is None:
            raise ProductError(f"{path} has no table {group}/tel_*")
        table = leaf(file, path, f"{group}/{name}")
        shape = table.coldtypes["baseline_mean"].shape
        if shape != (_N_GAINS, _N_PIXELS, _N_CAPACITORS):
            raise ProductError(f"{path}: baseline has shape {shape}")


def check_time_calibration(path: Path) -> None:
    """Expect finite Fourier coefficients, shape (gains, pixels, harmonics).

    lstchain stores them without a checksum; no pixel has all of them zero, unless the file is torn.
    """
    import numpy as np

    with opened(path) as file:
        for name in ("fan", "fbn"):
            values = leaf(file, path, name).read()
            if values.shape[:2] != (_N_GAINS, _N_PIXELS) or not np.isfinite(values).all():
                raise ProductError(f"{path}: {name} is not finite for every pixel")
            if not values.any(axis=2).all():
                raise ProductError(f"{path}: {name} is zero for some pixels")


def check_charge_calibration(path: Path) -> None:
    """Expect the four tables of a camera calibration."""
    with opened(path) as file:
        group = next((name for name in file.root._v_children if name.startswith("tel_")), None)
        if group is None:
            raise ProductError(f"{path} has no group tel_*")
        for name in ("calibration", "flatfield", "pedestal", "pixel_status"):
            leaf(file, path, f"{group}/{name}")


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
    found = _read_dl1(path, whole=True) if whole else _glance_at_dl1(path)
    found.events.check_run(path, run)
    n_events = len(found.events.ids)
    if found.n_images not in (None, n_events):
        raise ProductError(f"{path}: {n_events} rows of parameters, {found.n_images} images")
    if raw_file is not None:
        expected = raw_event_count(raw_file)
        lost = max(_HANDFUL, _MOST_EVENTS_LOST * expected)
        if not expected - lost <= n_events <= expected:
            raise ProductError(f"{path} has {n_events} events, its raw files {expected}")


def check_interleaved(path: Path) -> None:
    """Expect a readable file; it may hold no event."""
    with opened(path):
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
        raise ProductError(f"{path} cannot be read: {reason(error)}") from None


def check_datacheck(path: Path, *, run: int, subruns: tuple[int, ...], whole: bool = True) -> None:
    """Expect one row of cosmics a sub-run, of just these sub-runs.

    The tables tell the sub-runs and not the run; the name has to. The parameter whole is that of
    :func:`check_dl1`.
    """
    _check_name(path, run)
    with opened(path, whole=whole) as file:
        found = sorted(int(value) for value in leaf(file, path, DATACHECK_COSMICS).col("subrun_index"))
    if found != sorted(subruns):
        raise ProductError(f"{path} holds sub-runs {found}; expected {sorted(subruns)}")


def check_dl2(path: Path, *, run: int, dl1: Path, whole: bool = True) -> None:
    """Expect reconstructed events of this run, all of them events of its DL1 file.

    lstchain leaves a file without this table, and ends with success, where no event passes its
    filters. The parameter whole is that of :func:`check_dl1`.
    """
    import numpy as np

    with opened(path, whole=whole) as file:
        parameters = leaf(file, path, DL2_PARAMETERS)
        events = _Events.of(parameters)
        events.check_run(path, run)
        missing = {"reco_energy", "gammaness", "reco_alt"} - set(parameters.colnames)
        if missing:
            raise ProductError(f"{path} lacks the columns {', '.join(sorted(missing))}")
    if not np.isin(events.ids, _glance_at_dl1(dl1).events.ids).all():
        raise ProductError(f"{path} has events that are not in {dl1.name}")


def check_pdf(path: Path) -> None:
    """Expect a PDF that was written to its end."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ProductError(f"{path} cannot be read: {error}") from None
    if not data.startswith(b"%PDF") or b"%%EOF" not in data[-1024:]:
        raise ProductError(f"{path} is no complete PDF")
