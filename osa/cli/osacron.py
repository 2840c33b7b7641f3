"""The command ``osacron``: what the lines of the crontab call."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from osa.cli.common import (
    Parser,
    add_config_option,
    add_date_option,
    add_telescope_option,
    confirm,
    note,
    run_command,
)
from osa.errors import ExitCode, InputError, InterruptedNightError, OsaError

if TYPE_CHECKING:
    from osa.config import Settings
    from osa.cron.jobs import Job, JobName
    from osa.cron.telling import Trouble
    from osa.layout import Layout

__all__ = ["main"]

JOBS = ("nightsummary", "sequencer", "closer", "statuspage", "nightclean")

EXAMPLES = """\
  osacron --install                           show what the crontab would get, and ask
  osacron nightsummary sequencer closer       what cron does, now, for all nights that are open
  osacron -d 2020_01_27 closer                the same for one night
  osacron --hours 8-18/2 nightsummary closer  do nothing but at these hours (UTC)
  osacron --uninstall                         take our lines out of the crontab
"""


def _parser() -> Parser:
    parser = Parser(
        "osacron",
        "Run commands as cron does: in their environment, one instance of each, for the last night and all\n"
        "others that are not closed, with what they say in a log with dates that rotates ([CRON] log_dir).\n"
        "What a person must act on is mailed, once; nothing else is printed.",
        EXAMPLES,
    )
    add_config_option(parser)
    add_date_option(parser, default="all that are open")
    add_telescope_option(parser)
    parser.add_argument(
        "--hours", metavar="LIST", help="do nothing but at these hours of the day, UTC: 7, or 8-18/2"
    )
    parser.add_argument("job", nargs="*", metavar="JOB", help=f"one after the other: {', '.join(JOBS)}")
    verbs = parser.add_mutually_exclusive_group()
    verbs.add_argument("--install", action="store_true", help="put our lines into the crontab; asks first")
    verbs.add_argument("--uninstall", action="store_true", help="take them out; asks first")
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
    return parser


def _command(arguments: argparse.Namespace) -> ExitCode:
    changes_crontab = arguments.install or arguments.uninstall
    if bool(arguments.job) == changes_crontab:
        raise InputError(f"wants one or more of {', '.join(JOBS)}, or --install or --uninstall")
    for job in arguments.job:
        if job not in JOBS:
            raise InputError(f"{job!r} is no job; there are {', '.join(JOBS)}")
    clock = datetime.now(UTC)
    try:
        return _do(arguments, clock)
    except (OsaError, OSError) as error:
        if changes_crontab:  # somebody called that
            raise
        return _say_once(error, clock)


def _do(arguments: argparse.Namespace, clock: datetime) -> ExitCode:
    from osa.cli.common import read_settings
    from osa.cron.schedule import parse_hours

    try:
        hours = None if arguments.hours is None else parse_hours(arguments.hours)
    except ValueError as error:
        raise InputError(f"--hours: {error}") from None
    if hours is not None and clock.hour not in hours:
        return ExitCode.DONE
    settings = read_settings(arguments)
    if arguments.install or arguments.uninstall:
        return _change_crontab(settings, arguments)
    return _run(settings, arguments, clock)


def _say_once(error: OsaError | OSError, clock: datetime) -> ExitCode:
    """Say what keeps us from doing anything, to cron once a day: it is called many times."""
    from osa.cron.telling import is_news

    if sys.stderr.isatty() or is_news(str(error), Path.home() / ".cache" / "osa", clock):
        raise error
    return error.exit_code if isinstance(error, OsaError) else ExitCode.NOT_COMPLETE


# ------------------------------------------------------------------------------- the jobs


def _run(settings: Settings, arguments: argparse.Namespace, clock: datetime) -> ExitCode:
    """Run the jobs for each night, night by night; those that are for none once."""
    from osa.cron.jobs import Job, JobName

    names = [JobName(job) for job in arguments.job]
    jobs = [Job(name, layout) for layout in _nights(settings, arguments, clock) for name in names]
    jobs = [job for job in jobs if job.night is not None]
    jobs += [job for name in names if (job := Job(name, _any_night(settings, clock))).night is None]
    codes: list[ExitCode] = []
    fault: OsaError | OSError | None = None
    for job in jobs:
        try:
            codes.append(_run_alone(job))
        except InterruptedNightError:
            raise
        except (OsaError, OSError) as error:  # the others may go
            fault = fault or error
    if fault is not None:
        raise fault
    return next((code for code in codes if code != ExitCode.DONE), ExitCode.DONE)


def _nights(settings: Settings, arguments: argparse.Namespace, clock: datetime) -> Iterable[Layout]:
    from osa.cli.common import read_night
    from osa.cron.jobs import nights_in_work
    from osa.layout import Layout

    given = read_night(arguments)
    return list(nights_in_work(settings, clock)) if given is None else [Layout(settings, given)]


def _any_night(settings: Settings, clock: datetime) -> Layout:
    from osa.cron.jobs import last_night
    from osa.layout import Layout

    return Layout(settings, last_night(settings, clock))


def _run_alone(job: Job) -> ExitCode:
    """Run a job, log what it says, and tell a person where that is needed."""
    from osa.cron.log import open_log
    from osa.cron.run import lock_of, log_of, run_job
    from osa.cron.telling import Notebook, trouble_of
    from osa.errors import AnotherInstanceError
    from osa.system.locks import only_instance

    settings = job.layout.settings
    if job.obstacle:
        if sys.stderr.isatty():
            note(f"{job.night}: no {job.name}: {job.obstacle}")
        return ExitCode.NOT_YET
    try:
        with (
            only_instance(lock_of(settings, job.name), job.name),
            open_log(log_of(settings, job.name), echo=sys.stderr.isatty()) as logger,
        ):
            trouble = trouble_of(run_job(job, logger), datetime.now(UTC))
            if trouble is None:
                Notebook(settings, job.title).forget()
                return ExitCode.DONE
            _tell(settings, job.title, trouble, logger.warning)
            return ExitCode.NOT_COMPLETE
    except AnotherInstanceError:
        _look_whether_it_hangs(settings, job.name)
        return ExitCode.ANOTHER_INSTANCE


def _tell(settings: Settings, name: str, trouble: Trouble, say: Callable[[str], None]) -> None:
    """Mail a trouble; where that cannot be, print it, as cron mails what is printed."""
    from osa.cron.telling import Notebook

    notebook = Notebook(settings, name)
    if notebook.tell(trouble, say):
        return
    note(trouble.text.rstrip())
    if settings.alarm.recipient is None:  # else it is mailed when the mailer is back
        notebook.note(trouble)


def _look_whether_it_hangs(settings: Settings, job: JobName) -> None:
    """Tell a person where the other instance of a job has been at work for too long."""
    from osa.cron.run import lock_of, stuck_since
    from osa.cron.telling import stuck
    from osa.system.locks import holder

    since = stuck_since(settings, job, datetime.now(UTC))
    if since is not None:
        trouble = stuck(settings, job, since, holder(lock_of(settings, job)))
        _tell(settings, f"{job}_stuck", trouble, note)


# ---------------------------------------------------------------------------- the crontab


def _change_crontab(settings: Settings, arguments: argparse.Namespace) -> ExitCode:
    """Show what the crontab would get or lose, ask, and do it."""
    import os
    import pwd
    from importlib.resources import files

    from osa.cron.crontab import difference, fill_in, put_block, read_crontab, write_crontab

    user = pwd.getpwuid(os.getuid()).pw_name
    if user != settings.cron.user:
        note(f"this is the crontab of {user}; it is meant for {settings.cron.user} ([CRON] user)")
    if settings.alarm.recipient is None and arguments.install:
        note("nobody will be mailed: [ALARM] recipient is empty")
    before = read_crontab()
    lines = None
    if arguments.install:
        _check_before_install(settings)
        template = (files("osa") / "data" / "crontab").read_text("utf-8")
        lines = fill_in(template, _own_program(), settings.path, settings.telescope_name)
    after = put_block(before, f"{settings.telescope_name} {settings.path}", lines)
    changes = difference(before, after)
    if not changes:
        note("the crontab is as it should be")
        return ExitCode.DONE
    print("\n".join(changes))
    if not arguments.yes and not (sys.stdin.isatty() and confirm("Change the crontab so?")):
        note("the crontab was not changed" + ("" if sys.stdin.isatty() else " (-y does so without asking)"))
        return ExitCode.NOT_COMPLETE
    write_crontab(after)
    note(f"the crontab of {user} is changed; crontab -l shows it")
    return ExitCode.DONE


def _check_before_install(settings: Settings) -> None:
    """Refuse what would go wrong at once, and say which nights would be worked on."""
    import shutil

    from osa.cron.jobs import nights_in_work
    from osa.cron.run import environment

    path = environment(settings, {"PATH": "/usr/bin:/bin"})["PATH"]
    here = shutil.which("sbatch")
    if settings.scheduler.backend != "local" and here and not shutil.which("sbatch", path=path):
        where = Path(here).parent
        raise InputError(f"cron would not find {here}: name {where} in [CRON] path of {settings.path}")
    begun = nights_in_work(settings, datetime.now(UTC))
    nights = [str(layout.night) for layout in begun if not layout.night_finished.exists()]
    note(f"nights that would be worked on now: {', '.join(nights) or 'none'} ([CRON] nights)")


def _own_program() -> Path:
    """Find the command that cron is to call: that of the environment that we run in."""
    # Not resolved: in a virtual environment the interpreter is a link to that of the system.
    program = Path(sys.executable).parent / "osacron"
    if not program.exists():
        raise InputError(f"there is no {program}: install the package in the environment that cron is to use")
    return program


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    return run_command(_parser(), _command, argv)


if __name__ == "__main__":
    sys.exit(main())
