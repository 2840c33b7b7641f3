"""The page with the last nights, for whoever has no terminal at hand."""
