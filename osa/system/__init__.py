"""The only place that runs processes, takes locks, writes atomically and hashes."""
