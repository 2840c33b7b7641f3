"""How fast commands answer that plan and do not analyse.

python -m benchmarks.startup [--repeat N]
"""

from __future__ import annotations

import argparse
import sys

from benchmarks.common import NIGHT, command, make_night, print_table, spread, timed


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--repeat", type=int, default=10)
    repeat = parser.parse_args().repeat
    layout = make_night("makespan-tiny", "--size", "tiny")
    night = ("-c", layout.settings.path, "-d", NIGHT.underscored)
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "sequencer --help": command("sequencer", "--help"),
        "sequencer -s": command("sequencer", "-s", *night),
        "closer --help": command("closer", "--help"),
        "provquery --help": command("provquery", "--help"),
    }
    rows = []
    for name, words in commands.items():
        usages = [timed(words) for _ in range(repeat)]
        rows.append((name, spread([u.wall for u in usages]), max(u.memory for u in usages)))
    print_table(("command", "wall s: median (range)", "memory MB"), rows)


if __name__ == "__main__":
    main()
