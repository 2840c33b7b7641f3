"""Job scripts that stand in where lstchain would run: they bring products, or fail as they are told."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from product_builders import write_night

from osa import job
from osa.config import JobSettings
from osa.job import sbatch_directives
from osa.layout import Layout
from osa.model.job import format_duration
from osa.model.run import list_subruns
from osa.model.sequence import Sequence, SequenceKind
from osa.nightsummary.plan import plan_night

_SCRIPT = """\
import json, os, shutil, sys, uuid
from datetime import datetime, timezone
from pathlib import Path
folder, analysis, name = Path({folder!r}), Path({analysis!r}), {name!r}
task = os.environ.get("SLURM_ARRAY_TASK_ID")
key = name if task is None else f"{{name}}.{{task}}"
with open(folder / "attempts", "a") as stream:
    stream.write(f"{{key}} {{os.environ.get('SLURM_MEM_PER_NODE', '-')}}\\n")
ways = folder / f"{{key}}.ways"
left = json.loads(ways.read_text()) if ways.exists() else []
if left:
    code, said = left.pop(0)
    ways.write_text(json.dumps(left))
    print(said, flush=True)
    if code < 0:
        os.kill(os.getpid(), -code)
    sys.exit(code)
run = name[-5:]
if task is None:
    patterns = ["drs4_pedestal.*", "time_calibration.*", "calibration.*"]
    tag = run
else:
    tag = f"{{run}}.{{int(task):04d}}"
    patterns = [f"*Run{{tag}}.*"]
(analysis / "provenance").mkdir(exist_ok=True)
for record in (folder / "products" / "provenance").glob(f"*_{{tag}}.jsonl"):
    ids = {{}}
    with open(analysis / "provenance" / record.name, "a") as stream:
        for values in map(json.loads, record.read_text().splitlines()):
            kind = "begin" if "begin" in values else "end"
            values[kind] = ids.setdefault(values[kind], str(uuid.uuid4()))
            now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
            values["started" if kind == "begin" else "ended"] = now
            stream.write(json.dumps(values) + "\\n")
for pattern in [*patterns, f"*_{{tag}}.history"]:
    for made in (folder / "products").glob(pattern):
        shutil.copy2(made, analysis / f".{{made.name}}")
        os.replace(analysis / f".{{made.name}}", analysis / made.name)
"""


@dataclass
class StandIns:
    """What lstchain would make of a night, and how its tasks fail before they do so."""

    layout: Layout
    folder: Path

    @classmethod
    def install(cls, layout: Layout, folder: Path, monkeypatch: pytest.MonkeyPatch) -> StandIns:
        """Have all of a night done, and jobs that would do it again."""
        made = cls(layout, folder)
        write_night(layout, plan_night(layout))
        folder.mkdir()
        shutil.copytree(layout.analysis_dir, folder / "products", ignore=shutil.ignore_patterns("log"))
        layout.night_lock.touch()
        monkeypatch.setattr(job, "job_script", made.script)
        return made

    def script(
        self,
        layout: Layout,
        sequence: Sequence,
        tasks: tuple[int, ...],
        resources: JobSettings | None = None,
    ) -> str:
        """Write what :func:`osa.job.job_script` would, with other work in it."""
        assert resources is not None
        is_array = sequence.kind is SequenceKind.DATA
        log = f"{layout.log_dir}/{sequence.name}_{'%A_%a' if is_array else '%j'}.log"
        head = sbatch_directives(
            {
                "job-name": sequence.name,
                "array": list_subruns(tasks, ",") if is_array else None,
                "cpus-per-task": resources.cpus,
                "mem": f"{resources.memory}M",
                "time": format_duration(resources.walltime),
                "chdir": layout.analysis_dir,
                "output": log,
                "error": log,
            }
        )
        body = _SCRIPT.format(folder=str(self.folder), analysis=str(layout.analysis_dir), name=sequence.name)
        return "\n".join([f"#!{sys.executable}", *head, body])

    def unmake(self, run: int, *subruns: int) -> None:
        """Take away what a sub-run has, or the calibration where none is named."""
        tags = [f"{run:05d}.{subrun:04d}" for subrun in subruns]
        patterns = [f"*Run{tag}.*" for tag in tags]
        if not subruns:
            tags = [f"{run:05d}"]
            patterns = ["drs4_pedestal.*", "time_calibration.*", "calibration.*"]
        for tag in tags:
            patterns += [f"*_{tag}.history", f"provenance/*_{tag}.jsonl"]
        for pattern in patterns:
            for path in self.layout.analysis_dir.glob(pattern):
                path.unlink()

    def fail(self, key: str, *ways: tuple[int, str]) -> None:
        """Have a task, ``LST1_01874.1``, end with these codes and words before it succeeds."""
        (self.folder / f"{key}.ways").write_text(json.dumps(ways), "utf-8")

    @property
    def attempts(self) -> list[str]:
        """Tasks that were run, with the memory of each, in their order."""
        try:
            return (self.folder / "attempts").read_text("utf-8").splitlines()
        except FileNotFoundError:
            return []
