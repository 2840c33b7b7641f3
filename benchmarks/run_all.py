"""Run all benchmarks: ``python -m benchmarks.run_all``."""

from benchmarks import makespan, startup, task

if __name__ == "__main__":
    for module in (task, makespan, startup):
        print(f"\n== {module.__name__}")
        module.main()
