"""What a step is: a program of lstchain, its command line and the products that it promises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from osa.model.dataset import DatasetKind
from osa.system.workers import EntryPoint

__all__ = ["LSTCHAIN", "OSA", "Input", "Product", "Step"]

LSTCHAIN = "lstchain"
OSA = "lst-osa"
"""Packages whose version counts for a program."""


@dataclass(frozen=True)
class Input:
    """A file that a step reads.

    Parameters
    ----------
    role : str
        What it is for.
    kind : DatasetKind
        What it holds.
    path : pathlib.Path
        The file.
    """

    role: str
    kind: DatasetKind
    path: Path


@dataclass(frozen=True)
class Product:
    """A file that a step makes.

    Parameters
    ----------
    made : pathlib.Path
        Where lstchain writes it, relative to the step's own scratch folder.
    final : pathlib.Path
        Its name once it is complete.
    check : callable
        Raises :class:`osa.errors.ProductError` where the file is not what was promised.
    optional : bool
        Whether the step may succeed without it.
    kind : DatasetKind
        What it holds.
    """

    made: Path
    final: Path
    check: Callable[[Path], None]
    optional: bool = False
    kind: DatasetKind = DatasetKind.OTHER


@dataclass(frozen=True)
class Step:
    """One step on one sub-run, or of the calibration sequence.

    Parameters
    ----------
    name : str
        Name in the configuration, such as ``r0_to_dl1``.
    program : str
        Name in the history; for lstchain's own steps also that of the console script.
    entry : EntryPoint
        The function behind the program.
    arguments : tuple of str
        Command line after the program's name. The step runs in its scratch folder, so outputs
        are named relative to that.
    products : tuple of Product
        What it has to give.
    prod_id : str
        Production that it works for.
    input, card : str
        Names of the input and of the configuration file, for the history.
    inputs : tuple of Input
        All that it reads.
    configuration : tuple of (str, pathlib.Path)
        Configuration files that it is given, each with what it configures.
    package : str
        The package whose version counts for the program.
    """

    name: str
    program: str
    entry: EntryPoint
    arguments: tuple[str, ...]
    products: tuple[Product, ...]
    prod_id: str
    input: str
    card: str = "lstchain_standard_config"
    inputs: tuple[Input, ...] = ()
    configuration: tuple[tuple[str, Path], ...] = ()
    package: str = LSTCHAIN

    @property
    def command(self) -> tuple[str, ...]:
        """The whole command line."""
        return (self.program, *self.arguments)

    @property
    def parameters(self) -> dict[str, str]:
        """The options of the command line that name none of the files, or folders of them."""
        paths = [item.path for item in self.inputs] + [path for _, path in self.configuration]
        files = {"."} | {str(path) for path in paths} | {str(path.parent) for path in paths}
        files |= {str(product.made) for product in self.products}
        options = (argument[2:].partition("=") for argument in self.arguments if argument.startswith("--"))
        return {name: value if sign else "yes" for name, sign, value in options if value not in files}
