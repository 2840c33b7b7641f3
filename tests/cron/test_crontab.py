"""Our lines in a crontab: what the shell and cron make of them, and putting them in and taking them out.

The real crontab(1) is called in a mount namespace with a spool of its own; that of the machine is not seen.
"""

from __future__ import annotations

import os
import pty
import select
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cron_daemon import CronDaemon, fake_clock, needs_cron
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from osa.cli.osacron import _parser
from osa.config import load_settings
from osa.cron import crontab as module
from osa.cron.crontab import difference, fill_in, put_block, read_crontab, write_crontab
from osa.cron.jobs import last_night
from osa.errors import ExitCode, MissingServiceError, OsaError
from osa.layout import Layout
from osa.model.night import Night

SHIPPED = Path(__file__).parents[2] / "cron" / "crontab"
SPOOL = Path("/var/spool/cron/crontabs")
# Its arguments: pairs of what is mounted and where, --, and a command.
ENTER = """\
set -e
while [ "$1" != -- ]; do
  mount --no-mtab --bind "$1" "$2"
  shift 2
done
shift
exec "$@"
"""
LIMIT = 30.0
OSACRON = str(Path(sys.executable).parent / "osacron")


# ------------------------------------------------------------------------- filling them in

ODD = [
    "plain",
    "with blanks",
    "  two  blanks  ",
    "it's",
    'say "so"',
    "100%",
    "%d%%Y%",
    "$HOME",
    "`id`",
    "$(id)",
    "a;b&c|d>e<f",
    "#no comment",
    "*?[a-z]{b,c}",
    "~",
    "=x",
    "-y",
    "grüße µ",
    "tab\there",
    "!!",
]


def for_shell(command: str, special: str) -> str:
    """Do with a command what cron does before the shell sees it.

    A per cent sign ends it, unless a backslash is before it, which then goes. What else a backslash is
    taken away from depends on the cron: that of Debian does so before another one, others do not.
    """
    words, is_escaped = "", False
    for letter in command:
        if is_escaped and letter in special:
            words = words[:-1]
        elif not is_escaped and letter == "%":
            break
        words += letter
        is_escaped = letter == "\\" and not is_escaped
    return words


DEBIAN, OTHERS = "%\\", "%"


def words_of(command: str, special: str = DEBIAN) -> list[str]:
    """Have a shell take a command of the crontab apart."""
    script = f"printf '%s\\0' {for_shell(command, special)}"
    done = subprocess.run(["sh", "-c", script], capture_output=True, check=True, stdin=subprocess.DEVNULL)
    return [os.fsdecode(word) for word in done.stdout.split(b"\0")[:-1]]


@pytest.mark.parametrize("special", [DEBIAN, OTHERS], ids=["Debian", "others"])
@pytest.mark.parametrize("name", ODD)
def test_odd_paths_reach_the_command_as_they_are(name: str, special: str) -> None:
    program, config = Path("/opt") / name / "osacron", Path("/etc") / name / f"{name}.cfg"
    line = fill_in("@osacron@ --hours 7 closer", program, config, "LST1")
    expected = [str(program), "-c", str(config), "-t", "LST1", "--hours", "7", "closer"]
    assert words_of(line, special) == expected


@pytest.mark.parametrize("name", [r"a\b", r"a\%b", "tail\\", "a\nb"])
def test_path_that_cron_would_read_otherwise_is_refused(name: str) -> None:
    """What a backslash before a per cent sign means, each cron has its own mind of."""
    with pytest.raises(OsaError, match="cannot stand in a crontab"):
        fill_in("@osacron@ closer", Path("/bin/osacron"), Path("/etc") / name, "LST1")


@given(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0\n/\\"), min_size=1))
@hypothesis_settings(max_examples=60, deadline=None)
def test_all_paths_reach_the_command_as_they_are(name: str) -> None:
    config = Path("/etc") / name
    words = words_of(fill_in("@osacron@ closer", Path("/bin/osacron"), config, "LST1"))
    assert words == ["/bin/osacron", "-c", str(config), "-t", "LST1", "closer"]


def test_each_place_is_filled_in_and_the_rest_stays() -> None:
    text = fill_in(
        "# m h\n0 * * * *  @osacron@ a\n\n*/15 * * * * @osacron@ b\n", Path("/o"), Path("/c"), "LST2"
    )
    assert text == "# m h\n0 * * * *  /o -c /c -t LST2 a\n\n*/15 * * * * /o -c /c -t LST2 b\n"


def test_path_with_a_line_break_is_refused() -> None:
    for program, config in (("/o\n* * * * * id", "/c"), ("/o", "/c\n* * * * * id")):
        with pytest.raises(OsaError, match="line break"):
            fill_in("0 * * * * @osacron@ closer", Path(program), Path(config), "LST1")


RECORD = """\
#!/bin/sh
printf '%s\\0' "$@" > "$(dirname "$0")/said"
"""


@needs_cron
@pytest.mark.slow
def test_real_cron_calls_the_program_with_odd_paths(tmp_path: Path) -> None:
    lines, wanted = [], {}
    for number, name in enumerate(ODD):
        program = tmp_path / str(number) / name / "osacron"
        program.parent.mkdir(parents=True)
        program.write_text(RECORD)
        program.chmod(0o755)
        config = program.with_name(f"{name}.cfg")
        lines.append(fill_in("* * * * * @osacron@ --hours 7 closer", program, config, "LST1"))
        wanted[name] = ["-c", str(config), "-t", "LST1", "--hours", "7", "closer"]
    records = {name: tmp_path / str(number) / name / "said" for number, name in enumerate(ODD)}
    clock = fake_clock(datetime(2020, 1, 28, 6, 59, 58, tzinfo=UTC))
    crontab = put_block("", "LST1", "\n".join(lines))
    with CronDaemon(tmp_path / "cron", crontab, environment=clock) as daemon:

        def ended() -> bool:
            done = sum(path.exists() and path.read_bytes().endswith(b"closer\0") for path in records.values())
            return done + len(daemon.mails()) >= len(ODD)

        daemon.wait_for(ended, 30, "all commands")
        mails = [mail.get_content() for mail in daemon.mails()]
    found = {
        name: [os.fsdecode(word) for word in path.read_bytes().split(b"\0")[:-1]]
        for name, path in records.items()
        if path.exists()
    }
    assert found == wanted, mails


# ---------------------------------------------------------------------------- the blocks

OURS = "0 * * * * osacron closer\n5 * * * * osacron nightclean\n"
BLOCK = f"# BEGIN lst-osa LST1\n{OURS}# END lst-osa LST1\n"
THEIRS = "# mine\nMAILTO=me\n\n  30 2 * * *\tbackup  \n@reboot date +\\%Y % input\n"


def test_first_lines_of_an_empty_crontab() -> None:
    assert put_block("", "LST1", OURS) == BLOCK
    assert put_block("", "LST1", OURS.rstrip("\n")) == BLOCK


def test_other_lines_stay_before_ours() -> None:
    assert put_block(THEIRS, "LST1", OURS) == THEIRS + BLOCK
    assert put_block(THEIRS.rstrip("\n"), "LST1", OURS) == THEIRS + BLOCK


def test_ours_are_replaced_by_new_ones_whatever_was_done_to_them() -> None:
    before = THEIRS + BLOCK.replace("5 * * * *", "#5 * * * *\n7 * * * *") + "6 6 * * * last\n"
    new = "1 * * * * osacron statuspage\n"
    after = put_block(before, "LST1", new)
    assert after == THEIRS + "6 6 * * * last\n" + put_block("", "LST1", new)


def test_ours_go_and_others_stay() -> None:
    assert put_block(THEIRS + BLOCK, "LST1", None) == THEIRS
    assert put_block(BLOCK + THEIRS, "LST1", None) == THEIRS
    assert put_block(BLOCK, "LST1", None) == ""
    assert put_block(THEIRS, "LST1", None) == THEIRS


def test_block_that_stands_there_twice_goes_twice() -> None:
    assert put_block(BLOCK + THEIRS + BLOCK, "LST1", None) == THEIRS


def test_telescopes_have_blocks_of_their_own() -> None:
    both = put_block(put_block(THEIRS, "LST1", OURS), "LST10", OURS)
    second = BLOCK.replace("LST1", "LST10")
    assert both == THEIRS + BLOCK + second
    assert put_block(both, "LST1", OURS) == THEIRS + second + BLOCK
    assert put_block(both, "LST1", None) == THEIRS + second
    assert put_block(both, "LST10", None) == THEIRS + BLOCK


@pytest.mark.parametrize(
    "half",
    [
        "# BEGIN lst-osa LST1\n",
        BLOCK.replace("# END lst-osa LST1\n", "") + THEIRS,
        THEIRS + BLOCK.replace("END lst-osa LST1", "END lst-osa LST2"),
        BLOCK + BLOCK.replace("# END lst-osa LST1\n", ""),
        # What stands between would go with our lines.
        BLOCK.replace("# END lst-osa LST1\n", "") + THEIRS + BLOCK,
    ],
)
@pytest.mark.parametrize("lines", [OURS, None])
def test_half_a_block_is_refused(half: str, lines: str | None) -> None:
    with pytest.raises(OsaError, match="by hand"):
        put_block(half, "LST1", lines)


def test_half_a_block_of_another_telescope_is_no_matter() -> None:
    half = "# BEGIN lst-osa LST2\n0 * * * * osacron\n"
    assert put_block(half, "LST1", OURS) == half + BLOCK


@pytest.mark.parametrize(
    "line",
    [
        "# carriage return\r",
        "30 2 * * * printf 'a\\tb'\t\v\f x",
        "# form\ffeed",
        "# next line \x85 of",
        "# line separator \u2028 of a comment",
        "# file separator \x1c",
        "   ",
        "",
        "# grüße",
    ],
)
def test_line_of_others_stays_to_the_byte(line: str) -> None:
    text = f"{line}\n0 0 * * * last\n"
    installed = put_block(text, "LST1", OURS)
    assert installed == text + BLOCK
    assert put_block(installed, "LST1", None) == text


CRONTABS = st.lists(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\n"))).map(
    lambda lines: "".join(f"{line}\n" for line in lines)
)


@given(CRONTABS, st.sampled_from(["LST1", "LST2"]))
def test_what_is_put_in_can_be_taken_out(text: str, name: str) -> None:
    installed = put_block(text, name, OURS)
    assert put_block(installed, name, OURS) == installed
    assert put_block(installed, name, None) == text


@pytest.mark.parametrize("name", [*ODD, "with a blank at the end "])
def test_block_is_found_whatever_the_path_in_its_name(name: str) -> None:
    whole = f"LST1 /etc/{name}"
    installed = put_block(THEIRS, whole, OURS)
    assert put_block(installed, whole, OURS) == installed
    assert put_block(installed, whole, None) == THEIRS


def test_difference_shows_what_would_change() -> None:
    assert difference(THEIRS, THEIRS) == []
    changes = difference(THEIRS, THEIRS + BLOCK)
    added = [line[1:] for line in changes if line.startswith("+") and not line.startswith("+++")]
    assert added == BLOCK.splitlines()
    assert not [line for line in changes if line.startswith("-") and not line.startswith("---")]


# ------------------------------------------------------------------- programs that are no good


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Have another program called crontab."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def make(script: str) -> None:
        (folder / "crontab").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "crontab").chmod(0o755)

    return make


def test_no_crontab_yet_is_an_empty_one(stand_in: Callable[[str], None]) -> None:
    stand_in("echo 'no crontab for me' >&2; exit 1")
    assert read_crontab() == ""


def test_crontab_that_cannot_be_read_is_not_an_empty_one(stand_in: Callable[[str], None]) -> None:
    stand_in("echo 'You (me) are not allowed to use this program (crontab)' >&2; exit 1")
    with pytest.raises(OsaError, match=r"cannot be read: You .* not allowed"):
        read_crontab()


def test_crontab_that_is_not_taken(stand_in: Callable[[str], None]) -> None:
    stand_in("cat >/dev/null; echo 'errors in crontab file,' >&2; echo \"can't install.\" >&2; exit 1")
    with pytest.raises(OsaError, match=r"does not take the crontab: errors in crontab file, can't install\."):
        write_crontab(BLOCK)


def test_no_cron(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for call in (read_crontab, lambda: write_crontab("")):
        with pytest.raises(MissingServiceError, match="is cron installed"):
            call()


def test_crontab_that_hangs_is_not_waited_for(
    stand_in: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in("exec sleep 60")
    monkeypatch.setattr(module, "_SECONDS", 0.2)
    with pytest.raises(MissingServiceError, match="no answer"):
        read_crontab()


# -------------------------------------------------------------------- with the real crontab


@dataclass
class Machine:
    """A spool of crontabs that only the commands called here see."""

    spool: Path
    config: Path
    hidden: list[str] = field(default_factory=list)

    def enter(self, *command: str) -> list[str]:
        private = ("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private")
        mounts = [str(self.spool), str(SPOOL)]
        for path in self.hidden:
            mounts += ["/dev/null", path]
        return [*private, "sh", "-c", ENTER, "enter", *mounts, "--", *command]

    def run(self, *command: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(self.enter(*command), input=given, capture_output=True, timeout=LIMIT)

    def has(self, text: bytes) -> None:
        """Give the user a crontab."""
        assert self.run("crontab", "-", given=text).returncode == 0
        assert self.crontab == text

    @property
    def crontab(self) -> bytes | None:
        """What the user has."""
        done = self.run("crontab", "-l")
        return done.stdout if done.returncode == 0 else None

    def call(self, *options: str) -> list[str]:
        return [sys.executable, "-m", "osa.cli.osacron", "-c", str(self.config), *options]

    def osacron(self, *options: str) -> tuple[int, str, str]:
        """Call the command without a terminal."""
        done = self.run(*self.call(*options))
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def answer(self, answer: bytes, *options: str) -> tuple[int, str]:
        """Call it on a terminal; somebody answers its question."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            self.enter(*self.call(*options)),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        said, limit = b"", time.monotonic() + LIMIT
        try:
            while not said.endswith(b"[y/N] "):
                assert time.monotonic() < limit, said
                assert select.select([ours], [], [], LIMIT)[0], said
                said += os.read(ours, 4096)
            os.write(ours, answer)
            code = process.wait(LIMIT)
            while select.select([ours], [], [], 0.2)[0]:
                try:
                    said += os.read(ours, 4096)
                except OSError:  # all has been read
                    break
        finally:
            process.kill()
            os.close(ours)
        return code, said.decode().replace("\r\n", "\n")


def spool_of_the_machine() -> list[tuple[str, int]]:
    return [(path.name, path.stat().st_mtime_ns) for path in sorted(SPOOL.iterdir())]


@pytest.fixture
def machine(
    tmp_path: Path, make_config: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Machine]:
    monkeypatch.setenv("HOME", str(tmp_path))
    keys = {("CRON", "user"): "root", ("ALARM", "recipient"): "shift@example.org"}
    spool = tmp_path / "spool"
    spool.mkdir()
    shutil.chown(spool, "root", "crontab")
    spool.chmod(0o1730)
    before = spool_of_the_machine()
    yield Machine(spool, make_config(keys))
    assert spool_of_the_machine() == before


def expected(config: Path, telescope: str = "LST1") -> bytes:
    lines = fill_in(SHIPPED.read_text("utf-8"), Path(OSACRON), config, telescope)
    return put_block("", f"{telescope} {config}", lines).encode()


@needs_cron
def test_install_and_uninstall(machine: Machine) -> None:
    assert machine.crontab is None
    code, out, err = machine.osacron("--install", "-y")
    assert code == ExitCode.DONE
    assert err.splitlines()[-1] == "the crontab of root is changed; crontab -l shows it"
    installed = expected(machine.config)
    assert machine.crontab == installed
    shown = [line[1:] for line in out.splitlines() if line.startswith("+") and not line.startswith("+++")]
    assert shown == installed.decode().splitlines()
    code, out, err = machine.osacron("--uninstall", "-y")
    assert (code, err) == (ExitCode.DONE, "the crontab of root is changed; crontab -l shows it\n")
    assert not machine.crontab
    assert [line[1:] for line in out.splitlines() if line.startswith("-# BEGIN")] == [
        f"# BEGIN lst-osa LST1 {machine.config}"
    ]


@needs_cron
def test_each_installed_line_calls_the_command_of_this_environment(machine: Machine) -> None:
    machine.osacron("--install", "-y")
    assert machine.crontab is not None
    lines = [line for line in machine.crontab.decode().splitlines() if not line.startswith("#")]
    assert len(lines) == 4
    for line in lines:
        program, *arguments = words_of(line.split(maxsplit=5)[5])
        assert program == OSACRON
        assert os.access(program, os.X_OK)
        given = _parser().parse_args(arguments)
        assert (given.config, given.telescope) == (machine.config, "LST1")
        assert given.job


@needs_cron
@pytest.mark.parametrize("verb", ["--install", "--uninstall"])
def test_again_changes_nothing(machine: Machine, verb: str) -> None:
    machine.has(b"0 0 * * * theirs\n")
    machine.osacron(verb, "-y")
    before, when = machine.crontab, (machine.spool / "root").stat().st_mtime_ns
    for more in (["-y"], []):
        code, out, err = machine.osacron(verb, *more)
        assert (code, out) == (ExitCode.DONE, "")
        assert err.endswith("the crontab is as it should be\n")
    assert machine.crontab == before
    assert (machine.spool / "root").stat().st_mtime_ns == when


@needs_cron
def test_without_a_terminal_only_yes_changes_anything(machine: Machine) -> None:
    code, out, err = machine.osacron("--install")
    assert (code, machine.crontab) == (ExitCode.NOT_COMPLETE, None)
    assert "+# BEGIN lst-osa LST1 " in out
    assert err.splitlines()[-1] == "the crontab was not changed (-y does so without asking)"
    # Nor what somebody feeds it.
    assert machine.run(*machine.call("--install"), given=b"y\n").returncode == ExitCode.NOT_COMPLETE
    assert machine.crontab is None
    machine.osacron("--install", "-y")
    before = machine.crontab
    code, out, err = machine.osacron("--uninstall")
    assert (code, machine.crontab) == (ExitCode.NOT_COMPLETE, before)
    assert "-# BEGIN lst-osa LST1 " in out


@needs_cron
def test_terminal_is_asked(machine: Machine) -> None:
    machine.has(b"0 0 * * * theirs\n")
    for answer in (b"n\n", b"\n", b"\x04"):
        code, said = machine.answer(answer, "--install")
        assert (code, machine.crontab) == (ExitCode.NOT_COMPLETE, b"0 0 * * * theirs\n")
        assert "+# BEGIN lst-osa LST1 " in said
        assert "Change the crontab so? [y/N] " in said
        assert said.endswith("the crontab was not changed\n")
    code, said = machine.answer(b"y\n", "--install")
    assert code == ExitCode.DONE
    assert machine.crontab == b"0 0 * * * theirs\n" + expected(machine.config)
    code, said = machine.answer(b"n\n", "--uninstall")
    assert machine.crontab == b"0 0 * * * theirs\n" + expected(machine.config)
    code, said = machine.answer(b"y\n", "--uninstall")
    assert (code, machine.crontab) == (ExitCode.DONE, b"0 0 * * * theirs\n")


@needs_cron
@pytest.mark.parametrize(
    "theirs",
    [
        THEIRS.encode(),
        b"# grusse in Latin-1: gr\xfc\xdfe\n0 0 * * * theirs\n",
        "# a page\f\x85\u2028further\n0 0 * * * theirs\n".encode(),
    ],
    ids=["usual", "Latin-1", "other separators"],
)
def test_lines_of_the_user_stay_to_the_byte(machine: Machine, theirs: bytes) -> None:
    machine.has(theirs)
    code, _, err = machine.osacron("--install", "-y")
    assert code == ExitCode.DONE, err
    assert machine.crontab == theirs + expected(machine.config)
    assert machine.osacron("--uninstall", "-y")[0] == ExitCode.DONE
    assert machine.crontab == theirs


@needs_cron
def test_several_telescopes(machine: Machine) -> None:
    text = machine.config.read_text("utf-8")
    begin, end = text.index("[LST1]"), text.index("[PRODUCTION]")
    second = text[begin:end].replace("[LST1]", "[LST2]").replace("tel_id = 1", "tel_id = 2")
    machine.config.write_text(f"{text}\n{second}", "utf-8")
    for telescope in ("LST1", "LST2", "LST2"):
        assert machine.osacron("--install", "-y", "-t", telescope)[0] == 0
    first, second_block = expected(machine.config), expected(machine.config, "LST2")
    assert machine.crontab == first + second_block
    assert machine.osacron("--uninstall", "-y", "-t", "LST1")[0] == 0
    assert machine.crontab == second_block


@needs_cron
def test_half_a_block_is_left_to_a_person(machine: Machine) -> None:
    half = f"# BEGIN lst-osa LST1 {machine.config}\n0 0 * * * whose\n".encode()
    machine.has(half)
    for verb in ("--install", "--uninstall"):
        code, out, err = machine.osacron(verb, "-y")
        assert (code, out) == (ExitCode.NOT_COMPLETE, "")
        assert "put that right by hand" in err
        assert machine.crontab == half


@needs_cron
def test_lines_that_cron_does_not_take_change_nothing(machine: Machine) -> None:
    """A line of a crontab may not have more than some thousand bytes."""
    machine.has(b"0 0 * * * theirs\n")
    folder = machine.config.parent.joinpath(*["x" * 200] * 6)
    folder.mkdir(parents=True)
    machine.config = Path(shutil.copy(machine.config, folder))
    code, _, err = machine.osacron("--install", "-y")
    assert code == ExitCode.NOT_COMPLETE
    assert "osacron: cron does not take the crontab: " in err
    assert machine.crontab == b"0 0 * * * theirs\n"


@needs_cron
def test_what_a_person_should_know_is_said(machine: Machine, make_config: Callable[..., Path]) -> None:
    make_config()
    _, _, err = machine.osacron("--install")
    assert "this is the crontab of root; it is meant for lstanalyzer ([CRON] user)\n" in err
    assert "nobody will be mailed: [ALARM] recipient is empty\n" in err
    _, _, err = machine.osacron("--uninstall")
    assert "nobody will be mailed" not in err


@needs_cron
def test_open_nights_are_named_before_they_are_worked_on(machine: Machine) -> None:
    settings = load_settings(machine.config, "LST1")
    last = last_night(settings, datetime.now(UTC))
    assert f"nights that would be worked on now: {last} ([CRON] nights)\n" in machine.osacron("--install")[2]
    for back, is_closed in ((0, True), (1, False), (2, False)):
        layout = Layout(settings, Night(last.date - timedelta(days=back)))
        layout.raw_dir.mkdir()
        if is_closed:
            layout.night_finished.parent.mkdir(parents=True)
            layout.night_finished.touch()
    _, _, err = machine.osacron("--install")
    nights = ", ".join(f"{last.date - timedelta(days=back)}" for back in (1, 2))
    assert f"nights that would be worked on now: {nights} ([CRON] nights)\n" in err


@needs_cron
def test_two_configurations_have_lines_of_their_own(machine: Machine) -> None:
    """As one for tests beside that of the operators."""
    first = machine.config
    assert machine.osacron("--install", "-y")[0] == 0
    machine.config = Path(shutil.copy(first, first.with_name("other one.cfg")))
    assert machine.osacron("--install", "-y")[0] == 0
    assert machine.crontab == expected(first) + expected(machine.config)
    assert machine.osacron("--uninstall", "-y")[0] == 0
    assert machine.crontab == expected(first)


@needs_cron
def test_slurm_that_cron_would_not_find_is_refused(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "slurm"
    folder.mkdir()
    (folder / "sbatch").write_text("#!/bin/sh\n")
    (folder / "sbatch").chmod(0o755)
    text = machine.config.read_text("utf-8").replace("backend = local", "backend = auto")
    machine.config.write_text(text, "utf-8")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    usual = [f"{place}/sbatch" for place in ("/usr/local/bin", "/usr/bin", "/usr/local/sbin", "/usr/sbin")]
    machine.hidden += [path for path in usual if Path(path).exists()]
    code, _, err = machine.osacron("--install", "-y")
    assert (code, machine.crontab) == (ExitCode.WRONG_CALL, None)
    assert f"cron would not find {folder}/sbatch: name {folder} in [CRON] path of {machine.config}" in err
    machine.config.write_text(text.replace("\npath =\n", f"\npath = {folder}\n"), "utf-8")
    assert machine.osacron("--install", "-y")[0] == ExitCode.DONE


@needs_cron
def test_environment_without_the_command_is_refused(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    monkeypatch.setenv("PYTHONPATH", ":".join([str(SHIPPED.parents[1]), *filter(None, sys.path)]))
    done = machine.run(str(python), *machine.call("--install", "-y")[1:])
    assert done.returncode == ExitCode.WRONG_CALL
    assert f"there is no {tmp_path}/bin/osacron: install the package" in done.stderr.decode()
    assert machine.crontab is None


@needs_cron
def test_make_installs_it(machine: Machine) -> None:
    """As far as that is said: make would install the package first."""
    makefile = SHIPPED.parents[1]
    say = ["make", "-n", "-C", str(makefile), "-o", "install", "install-cron", f"CONFIG={machine.config}"]
    said = subprocess.run(say, capture_output=True, text=True, check=True).stdout
    (line,) = [line for line in said.splitlines() if "osacron" in line]
    program, *arguments = shlex.split(line)
    assert Path(program).name == "osacron"
    given = _parser().parse_args(arguments)
    assert (given.install, given.config) == (True, machine.config)
