from __future__ import annotations

import sys
from pathlib import Path

from product_builders import event_rows, write_muons, write_tables

from lstchain.stand_in import deliver, note, tag, value
from osa.steps.checks import DL1_PARAMETERS, raw_event_count


def main() -> None:
    name = tag(value(sys.argv, "input-file"))
    note("r0_to_dl1", name)
    write_muons(Path(f"muons_LST-1.Run{name}.fits"))
    dl1 = Path(f"dl1_LST-1.Run{name}.h5")
    n_events = raw_event_count(Path(value(sys.argv, "input-file")))
    write_tables(dl1, {DL1_PARAMETERS: event_rows(int(name[:-5]), "intensity", n_events=n_events)})
    deliver(dl1, f"r0_to_dl1 {name}")
