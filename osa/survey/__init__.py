"""What the raw files of a night say: type of each run, its start, references of the clocks."""
