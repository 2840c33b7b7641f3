"""What the project talks about: nights, runs, sequences and job states. No I/O here."""
