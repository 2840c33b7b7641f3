"""The command ``nightclean``: puts away what closed nights leave behind."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from osa.cli.common import (
    Parser,
    add_config_option,
    add_date_option,
    add_telescope_option,
    may,
    note,
    read_night,
    read_settings,
    run_command,
)
from osa.errors import ExitCode, NightNotCompleteError

if TYPE_CHECKING:
    from osa.cleaning.clean import Look
    from osa.cleaning.due import Kind
    from osa.cleaning.trees import Tally
    from osa.scheduler.base import Scheduler

__all__ = ["human_size", "main"]

EXAMPLES = """\
  nightclean -s                 say what would be done with all closed nights, and what room it frees
  nightclean                    do it; asks on a terminal
  nightclean -y                 without asking
  nightclean -d 2020_01_27 -s -v    one night, with each thing that would go
"""
_LISTED = 20
_STEP = 1000
_UNITS = ("kB", "MB", "GB", "TB", "PB")


def _parser() -> Parser:
    parser = Parser(
        "nightclean",
        "Put away what closed nights leave behind in their working folders, so many days after the\n"
        "closing as [CLEANING] of the configuration says: remove unfinished files and products that\n"
        "were replaced by others, compress the logs of jobs. Raw files, products, histories and\n"
        "records are never touched, nor is a night that is not closed or of which a task is alive.",
        EXAMPLES,
    )
    add_config_option(parser)
    add_date_option(parser, default="all that are closed")
    add_telescope_option(parser)
    parser.add_argument("-s", "--simulate", action="store_true", help="only tell; touch nothing")
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
    return parser


def _command(arguments: argparse.Namespace) -> ExitCode:
    from osa.cleaning.clean import look_at
    from osa.cleaning.due import nights_below
    from osa.layout import Layout

    night = read_night(arguments)
    settings = read_settings(arguments)
    nights = nights_below(settings) if night is None else (night,)
    looks = [look_at(Layout(settings, each), datetime.now(UTC)) for each in nights]
    todo = [look for look in looks if look.leftovers]
    for look in looks:
        if not look.is_closed and not look.faults and (arguments.verbose or night is not None):
            note(f"{look.layout.title} is not closed: nothing of it is touched")
    told = _tell_faults((look.faults for look in looks if look not in todo), arguments)
    if not todo:
        print("nothing to put away", flush=True)
        return _end(told)
    from osa.scheduler.select import select_scheduler

    scheduler = select_scheduler(settings, None, warn=note)
    if arguments.simulate:
        return _simulate(todo, scheduler, arguments, told)
    if sys.stdin.isatty() and not arguments.yes:
        for look in todo:
            _tell(look, arguments)
    if not may(arguments, f"Clean {_count(len(todo), 'night')}?"):
        return ExitCode.NOT_COMPLETE
    return _clean(todo, scheduler, arguments, told)


def _end(told: Sequence[str], code: ExitCode = ExitCode.DONE) -> ExitCode:
    """End with a code; where something could not be done, with the first of that: last lines are mailed."""
    if told:
        raise NightNotCompleteError(f"not all could be put away: {told[0]}")
    return code


def _simulate(
    todo: Iterable[Look], scheduler: Scheduler, arguments: argparse.Namespace, told: list[str]
) -> ExitCode:
    from osa.cleaning.clean import add_tallies
    from osa.cleaning.idle import what_is_alive

    idle = []
    for look in todo:
        alive = what_is_alive(look.layout, scheduler)
        if alive is not None:
            print(f"{look.layout.night}: would be left alone: {alive}")
            continue
        idle.append(look)
        _tell(look, arguments)
        told += _tell_faults([look.faults], arguments)
    if len(idle) > 1:
        print(f"in all: {_would(add_tallies(item for look in idle for item in look.tallies.items()))}")
    return _end(told)


def _clean(
    todo: Iterable[Look], scheduler: Scheduler, arguments: argparse.Namespace, told: list[str]
) -> ExitCode:
    from osa.cleaning.clean import clean_night
    from osa.cli.progress import StageBar

    was_left = False
    for look in todo:
        with StageBar() as bar:
            progress = partial(bar.update, f"compressing logs of {look.layout.night}")
            cleaned = clean_night(look.layout, scheduler, clock=datetime.now(UTC), progress=progress)
        if cleaned.left_alone is not None:
            was_left = True
            note(f"{look.layout.night}: left alone: {cleaned.left_alone}")
        else:
            print(f"{look.layout.night}: {_was(cleaned.tallies)}", flush=True)
        told += _tell_faults([cleaned.faults], arguments)
    return _end(told, ExitCode.NOT_YET if was_left else ExitCode.DONE)


def _tell(look: Look, arguments: argparse.Namespace) -> None:
    print(f"{look.layout.night}: {_would(look.tallies)}")
    if arguments.verbose:
        for leftover in look.leftovers:
            files = _count(leftover.tally.files, "file")
            path = look.layout.analysis_dir / leftover.path
            print(f"  {path}: {files}, {human_size(leftover.tally.size)}")


def _tell_faults(nights: Iterable[Sequence[str]], arguments: argparse.Namespace) -> list[str]:
    """Name what could not be done, and give it back."""
    told: list[str] = []
    for faults in nights:
        listed = faults if arguments.verbose else faults[:_LISTED]
        for fault in listed:
            note(fault)
        if len(faults) > len(listed):
            note(f"… and {len(faults) - len(listed)} more (-v names all)")
        told += faults
    return told


def _would(tallies: Mapping[Kind, Tally]) -> str:
    """Write what would be done; how much room compressed logs will take, nobody knows before."""
    removed, logs = _removed_and_logs(tallies)
    size = sum(tally.size for tally in tallies.values()) - logs.size
    parts = [f"free {human_size(size)} ({', '.join(removed)})"] if removed else []
    if logs.files:
        parts.append(f"compress {_count(logs.files, 'log')} of {human_size(logs.size)}")
    return "would " + (" and ".join(parts) or "remove empty folders")


def _was(tallies: Mapping[Kind, Tally]) -> str:
    """Write what was done."""
    parts, logs = _removed_and_logs(tallies)
    if logs.files:
        parts.append(f"{_count(logs.files, 'log')} compressed")
    size = sum(tally.size for tally in tallies.values())
    return f"{human_size(size)} freed" + (f" ({', '.join(parts)})" if parts else "")


def _removed_and_logs(tallies: Mapping[Kind, Tally]) -> tuple[list[str], Tally]:
    """Write how many files of each kind are removed; logs are another matter."""
    from osa.cleaning.due import Kind
    from osa.cleaning.trees import Tally

    words = {Kind.UNFINISHED: "unfinished file", Kind.SET_ASIDE: "replaced product"}
    removed = [_count(tallies[kind].files, word) for kind, word in words.items() if kind in tallies]
    return removed, tallies.get(Kind.LOG, Tally())


def _count(number: int, word: str) -> str:
    return f"{number} {word}" + "s" * (number != 1)


def human_size(size: int) -> str:
    """Write a number of bytes for people, ``1.2 GB`` of 1e9 bytes; what is less than nothing is 0."""
    if size < _STEP:
        return f"{max(size, 0)} B"
    value, units = size / _STEP, list(_UNITS)
    while round(value, 1) >= _STEP and len(units) > 1:
        value /= _STEP
        del units[0]
    return f"{value:.1f} {units[0]}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    return run_command(_parser(), _command, argv)


if __name__ == "__main__":
    sys.exit(main())
