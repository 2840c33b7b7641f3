"""Run all benchmarks: ``python -m benchmarks.run_all``."""

from benchmarks import (
    closing,
    large_night,
    makespan,
    nightsummary,
    provenance,
    provenance_index,
    startup,
    task,
)

if __name__ == "__main__":
    for module in (task, makespan, startup, large_night, nightsummary, closing, provenance, provenance_index):
        print(f"\n== {module.__name__}")
        module.main()
