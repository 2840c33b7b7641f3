"""Runs the steps of one task: nothing twice, products whole or not at all, every try recorded."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from osa.errors import OsaError, ProductError, StepFailedError
from osa.records.recorder import Attempt, Recorder
from osa.steps.history import HistoryRecord, append_record
from osa.steps.step import Product, Step
from osa.system.files import publish
from osa.system.workers import Outcome, Workshop, run_program

__all__ = ["BAD_PRODUCT", "StepRunner", "begin_try", "products_are_whole"]

BAD_PRODUCT = 65
"""Return code in the history of a step that said success but did not give its products."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


def products_are_whole(step: Step) -> bool:
    """Open and check the published products of a step."""
    try:
        for product in step.products:
            if not product.optional:
                product.check(product.final)
    except ProductError:
        return False
    return True


def begin_try(recorder: Recorder, step: Step) -> Attempt:
    """Write down that a step is about to run."""
    return recorder.begin(
        step.name,
        step.program,
        package=step.package,
        prod_id=step.prod_id,
        inputs=((item.role, item.kind, item.path) for item in step.inputs),
        configuration=step.configuration,
        parameters=step.parameters,
    )


@dataclass
class StepRunner:
    """Runs steps of one sub-run, or of the calibration sequence.

    Parameters
    ----------
    run, subrun : int, int or None
        What is worked on, for the history.
    history : pathlib.Path
        The history file.
    scratch_dir : pathlib.Path
        Folder for unfinished files, on the file system of the products.
    workshop : Workshop
        Makes the calls to lstchain.
    separate_programs : frozenset of str
        Steps that run as a program of their own.
    say : callable
        Told of every step as it begins and ends.
    log : pathlib.Path, optional
        Where the output of the steps goes; without it to our own output.
    clock : callable
        Tells the time.
    recorder : Recorder, optional
        Writes down what each step reads and makes.
    """

    run: int
    subrun: int | None
    history: Path
    scratch_dir: Path
    workshop: Workshop
    separate_programs: frozenset[str]
    say: Callable[[str], None] = print
    log: Path | None = None
    clock: Callable[[], datetime] = _utc_now
    outcomes: list[tuple[str, Outcome]] = field(default_factory=list)
    recorder: Recorder | None = None

    def execute(self, step: Step) -> None:
        """Run a step, check its products, publish them, and only then record success.

        Raises
        ------
        StepFailedError
            If it ended with an error or without a product. The try is in the history and
            nothing partial is left.
        """
        scratch = self._empty_scratch(step)
        attempt = Attempt() if self.recorder is None else begin_try(self.recorder, step)
        try:
            self.say(f"{step.name}: {' '.join(step.command)}")
            outcome = self._call(step, scratch)
            self.outcomes.append((step.name, outcome))
            if outcome.return_code != 0:
                how = f"{step.program} ended with {_describe(outcome.return_code)}"
                raise self._failure(step, attempt, outcome, outcome.return_code, how)
            try:
                made = self._check(step, scratch)
            except ProductError as error:
                how = f"{step.program} ended well, but {error}"
                raise self._failure(step, attempt, outcome, BAD_PRODUCT, how) from None
            outputs = attempt.identify((str(p.kind), p.kind, path, p.final) for path, p in made)
            for path, product in made:
                publish(path, product.final)
            # Before it is said to be done: nobody sweeps after a step that need not be done again.
            shutil.rmtree(scratch, ignore_errors=True)
            attempt.done(outputs, outcome)
            self._record(step, 0)
            self.say(
                f"{step.name}: done in {outcome.wall_time:.1f} s, {outcome.cpu_time:.1f} s of CPU, "
                f"at most {outcome.peak_memory:.0f} MB"
            )
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _failure(
        self, step: Step, attempt: Attempt, outcome: Outcome, return_code: int, how: str
    ) -> StepFailedError:
        """Record that a try failed; gives the error to raise."""
        attempt.failed(return_code, how, outcome)
        self._record(step, return_code)
        return StepFailedError(f"{step.name} of {self._what}: {how}", return_code=return_code)

    @property
    def _what(self) -> str:
        return f"run {self.run}" + ("" if self.subrun is None else f" sub-run {self.subrun}")

    def _empty_scratch(self, step: Step) -> Path:
        # The name is the same for every try, so that what a killed one left is swept by the next.
        tag = f"{self.run:05d}" + ("" if self.subrun is None else f".{self.subrun:04d}")
        scratch = self.scratch_dir / f"{tag}.{step.name}"
        if scratch.is_symlink():
            raise OsaError(
                f"{scratch} is a symbolic link, which no step makes: look where it leads, remove it"
            )
        if scratch.exists():
            shutil.rmtree(scratch)
        scratch.mkdir(parents=True)
        return scratch

    def _call(self, step: Step, scratch: Path) -> Outcome:
        call = run_program if step.name in self.separate_programs else self.workshop.call
        return call(step.entry, step.command, folder=scratch, log=self.log)

    def _check(self, step: Step, scratch: Path) -> list[tuple[Path, Product]]:
        """Check what was made; gives it in the order in which it is to get its names."""
        made = [
            (scratch / product.made, product)
            for product in step.products
            if not product.optional or (scratch / product.made).exists()
        ]
        for path, product in made:
            product.check(path)
        return made

    def _record(self, step: Step, return_code: int) -> None:
        append_record(
            self.history,
            HistoryRecord.now(
                self.run,
                self.subrun,
                program=step.program,
                prod_id=step.prod_id,
                input=step.input,
                card=step.card,
                return_code=return_code,
                clock=self.clock(),
            ),
        )


def _describe(return_code: int) -> str:
    return f"signal {-return_code}" if return_code < 0 else f"exit code {return_code}"
