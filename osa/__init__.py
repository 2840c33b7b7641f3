"""LST On-Site Analysis: each night of the LST-1 telescope, from raw files to results."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
