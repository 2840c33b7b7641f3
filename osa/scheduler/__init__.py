"""Who runs the jobs: one small protocol, and a module for each that fulfils it."""
