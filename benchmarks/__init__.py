"""Benchmarks: ratios within one run, and growth with size; see README.md."""
