from __future__ import annotations

import sys
from pathlib import Path

from product_builders import write_dl2

from lstchain.stand_in import deliver, note, tag, value


def main() -> None:
    name = tag(value(sys.argv, "input-files"))
    note("dl1_to_dl2", name)
    made = Path(f"dl2_LST-1.Run{name}.h5")
    write_dl2(made, int(name[:-5]))
    deliver(made, f"dl1_to_dl2 {name}")
