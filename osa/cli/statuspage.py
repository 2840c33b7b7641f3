"""The command ``statuspage``: one HTML page that tells how the last nights stand."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from osa.cli.common import (
    Parser,
    add_config_option,
    add_telescope_option,
    note,
    read_settings,
    run_command,
)
from osa.errors import ExitCode

__all__ = ["main"]

EXAMPLES = """\
  statuspage                             write the page that the configuration names ([CRON] status_dir)
  statuspage --output /tmp/status.html   write it somewhere else
  statuspage -t LST2 --output lst2.html  of another telescope
  statuspage --nights 30                 with the last 30 nights
"""
_MOST_NIGHTS = 366


def _parser() -> Parser:
    parser = Parser(
        "statuspage",
        "Write one HTML page, complete in itself, with the last nights of a telescope: how each stands,\n"
        "its table, incidences and alarm, and the ends of cron's logs. It only looks, and can be run at\n"
        "any time. What cannot be read is said on the page, and with exit code 1.",
        EXAMPLES,
    )
    add_config_option(parser)
    add_telescope_option(parser)
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="the page (default: LST1.html in [CRON] status_dir)"
    )
    parser.add_argument(
        "--nights",
        type=_as_number_of_nights,
        metavar="N",
        help="how many nights, the current one included (default: as configured, [CRON] status_nights)",
    )
    return parser


def _as_number_of_nights(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= _MOST_NIGHTS):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to {_MOST_NIGHTS}")
    return int(text)


def _command(arguments: argparse.Namespace) -> ExitCode:
    from osa.scheduler.select import select_scheduler
    from osa.statuspage.collect import collect_status
    from osa.statuspage.page import render
    from osa.system.files import write_text

    settings = read_settings(arguments)
    status = collect_status(
        settings,
        nights=arguments.nights or settings.cron.status_nights,
        clock=datetime.now(UTC),
        open_scheduler=lambda say: select_scheduler(settings, None, warn=say),
    )
    path = arguments.output or settings.cron.status_dir / f"{settings.telescope_name}.html"
    write_text(path, render(status))
    for trouble in status.all_troubles:
        note(trouble)
    note(f"wrote {path}")
    return ExitCode.NOT_COMPLETE if status.all_troubles else ExitCode.DONE


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    return run_command(_parser(), _command, argv)


if __name__ == "__main__":
    sys.exit(main())
