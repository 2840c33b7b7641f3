"""HDF5 files that may be torn.

They are read with PyTables, as lstchain writes them: h5py alone lacks the blosc filter with which
lstchain compresses its tables. PyTables in turn crashes, and takes the interpreter with it, where
the structure of a file is torn, so h5py walks through that first.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osa.errors import ProductError

if TYPE_CHECKING:
    import tables

__all__ = ["leaf", "opened", "reason"]


@contextmanager
def opened(path: Path, *, whole: bool = True) -> Iterator[tables.File]:
    """Open an HDF5 file; whatever goes wrong while it is read makes it a bad product.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    whole : bool
        Whether to read all of it, so that its checksums are compared.
    """
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
        raise ProductError(f"{path} cannot be read: {reason(error)}") from None


def _walk(path: Path) -> None:
    """Open everything in a file and decode the head of every attribute, without reading the data.

    The library is called directly: its objects for each attribute would cost five times as much.
    """
    import h5py

    with h5py.File(path, "r") as file:
        names = [b"."]
        h5py.h5o.visit(file.id, names.append)
        for name in names:
            h5py.h5a.iterate(h5py.h5o.open(file.id, name), lambda _attribute: None)


def reason(error: Exception) -> str:
    """Say in one line what went wrong: PyTables puts HDF5's whole trace into its errors."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _read_through(file: tables.File) -> None:
    """Read everything once, in pieces of about a megabyte."""
    import tables

    for node in file.walk_nodes("/", "Leaf"):
        if not isinstance(node, tables.UnImplemented):
            for start in range(0, node.nrows, max(1, node.nrowsinbuf)):
                node.read(start, min(start + max(1, node.nrowsinbuf), node.nrows))


def leaf(file: tables.File, path: Path, name: str) -> Any:
    """Find a table or array that has rows."""
    if f"/{name}" not in file:
        raise ProductError(f"{path} has no table {name}")
    node = file.get_node(f"/{name}")
    if not node.nrows:
        raise ProductError(f"{path}: table {name} is empty")
    return node
