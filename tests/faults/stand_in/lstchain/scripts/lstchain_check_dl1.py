from __future__ import annotations

import sys
from pathlib import Path

from product_builders import write_datacheck

from lstchain.stand_in import deliver, note, tag, value


def main() -> None:
    name = tag(value(sys.argv, "input-file"))
    note("datacheck", name)
    made = Path(f"datacheck_dl1_LST-1.Run{name}.h5")
    write_datacheck(made, int(name[-4:]))
    deliver(made, f"datacheck {name}")
