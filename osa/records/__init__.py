"""What a task writes down of each try of a step: the source of all provenance."""
