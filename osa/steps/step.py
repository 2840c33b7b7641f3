"""What a step is: a program of lstchain, its command line and the products that it promises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from osa.system.workers import EntryPoint

__all__ = ["Product", "Step"]


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
    """

    made: Path
    final: Path
    check: Callable[[Path], None]
    optional: bool = False


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
    """

    name: str
    program: str
    entry: EntryPoint
    arguments: tuple[str, ...]
    products: tuple[Product, ...]
    prod_id: str
    input: str
    card: str = "lstchain_standard_config"

    @property
    def command(self) -> tuple[str, ...]:
        """The whole command line."""
        return (self.program, *self.arguments)
