"""A module that cannot be imported, and not for an ImportError."""

raise RuntimeError("broken module")
