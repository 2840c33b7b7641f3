from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from osa import config
from osa.config import find_configuration, load_settings
from osa.cures.known import rules_in_order
from osa.errors import ConfigurationError
from osa.model.job import JobState
from osa.model.rule import Cure, Scope

SHIPPED = Path(__file__).parents[2] / "cfg" / "sequencer.cfg"


def line_of(path: Path, start: str, section: str | None = None) -> int:
    """Number of the first line that begins so, after the header of a section."""
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    first = lines.index(f"[{section}]") if section else 0
    return next(number for number, line in enumerate(lines, 1) if number > first and line.startswith(start))


def faults(path: Path, telescope: str = "LST1") -> list[str]:
    """The faults of a file, one a line, without the heading."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings(path, telescope)
    heading, *found = str(caught.value).split("\n  ")
    assert str(path) in heading
    assert found, f"no list of faults in: {heading}"
    return found


def only_fault(path: Path, telescope: str = "LST1") -> str:
    found = faults(path, telescope)
    assert len(found) == 1, found
    return found[0]


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


# ------------------------------------------------------------------------ what is read


def test_the_shipped_configuration_is_whole(settings, tmp_path):
    assert settings.telescope_name == "LST1"
    assert settings.telescope.tel_id == 1
    assert settings.telescope.nightoffset == timedelta(hours=16)
    assert settings.telescope.raw_dir == tmp_path / "lst" / "R0"
    assert settings.telescope.closer_dir == tmp_path / "lst" / "OSA" / "Closer"
    assert settings.production.dl2_prod_id == settings.production.prod_id == "v0.1.0"
    assert settings.lstchain.dl1_config is None
    assert settings.lstchain.time_calibration is True
    assert settings.lstchain.separate_programs == frozenset()
    assert settings.calibration.drs4_run is None
    assert settings.analysis.maxtryfailed == 2
    assert settings.data_job.memory == 8192
    assert settings.data_job.walltime == timedelta(hours=6)
    assert "\nbackend = auto\n" in SHIPPED.read_text("utf-8")  # the tests run theirs locally
    assert settings.local.max_cores is None
    assert (settings.data_job.account, settings.data_job.partition) == ("dpps", "short")
    assert settings.slurm.max_at_once is None


def test_the_packaged_configuration_is_the_shipped_one():
    packaged = Path(config.__file__).parents[1] / "data" / "sequencer.cfg"
    assert packaged.read_bytes() == SHIPPED.read_bytes()


def test_outputs_need_not_exist_and_are_not_made(settings):
    assert not settings.telescope.dl1_dir.exists()


@pytest.mark.parametrize(
    "encode",
    [
        pytest.param(lambda text: b"\xef\xbb\xbf" + text.encode(), id="byte order mark"),
        pytest.param(lambda text: text.replace("\n", "\r\n").encode(), id="CRLF"),
        pytest.param(lambda text: text.replace("maxtryfailed", "MAXTRYFAILED").encode(), id="capitals"),
        pytest.param(lambda text: text.replace(" = ", ": ").encode(), id="colons"),
        pytest.param(lambda text: text.replace("drs4_events = ", "drs4_events=").encode(), id="no blanks"),
    ],
)
def test_forms_of_the_file_make_no_difference(make_config, encode):
    path = make_config()
    plain = load_settings(path, "LST1")
    path.write_bytes(encode(path.read_text(encoding="utf-8")))
    assert load_settings(path, "LST1") == plain


def test_indented_keys_are_keys(make_config):
    path = make_config()
    plain = load_settings(path, "LST1")
    edit(path, "drs4_run =\ncalibration_run =\n", "  drs4_run =\n  calibration_run =\n")
    assert load_settings(path, "LST1") == plain


def test_unknown_keys_are_found_where_keys_are_indented(make_config):
    path = make_config()
    edit(path, "drs4_run =\ncalibration_run =\n", "  drs4_run =\n  calibration_run =\n  drs4run = 5\n")
    fault = only_fault(path)
    assert f"{path}:{line_of(path, '  drs4run')}: [CALIBRATION] drs4run: unknown key" in fault


def test_steps_may_go_on_in_the_next_line(make_settings):
    settings = make_settings({("LSTCHAIN", "separate_programs"): "datacheck,\n    r0_to_dl1"})
    assert settings.lstchain.separate_programs == {"datacheck", "r0_to_dl1"}


def test_a_line_that_goes_on_is_not_taken_for_a_key(make_config):
    path = make_config({("LSTCHAIN", "separate_programs"): "datacheck,\n    bogus = 1"})
    fault = only_fault(path)
    assert "[LSTCHAIN] separate_programs" in fault
    assert "does not know bogus = 1" in fault


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        (("DATA JOB", "memory"), "500 MB", 500),
        (("DATA JOB", "memory"), "1.5gb", 1536),
        (("DATA JOB", "memory"), "0.2 MB", 1),
        (("DATA JOB", "walltime"), "1-12:00:01", timedelta(days=1, hours=12, seconds=1)),
        (("DATA JOB", "walltime"), "100:00:00", timedelta(hours=100)),
        (("DATA JOB", "cpus"), "16", 16),
    ],
)
def test_resources_of_a_job(make_settings, key, text, value):
    assert getattr(make_settings({key: text}).data_job, key[1]) == value


@pytest.mark.parametrize("text", ["no", "No", "NO"])
def test_yes_and_no(make_settings, text):
    assert make_settings({("LSTCHAIN", "flatfield_heuristic"): text}).lstchain.flatfield_heuristic is False


# ---------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("section", "key", "text", "message"),
    [
        ("LST1", "tel_id", "one", "whole number above 0"),
        ("LST1", "tel_id", "0", "whole number above 0"),
        ("LST1", "tel_id", "-1", "whole number above 0"),
        ("LST1", "tel_id", "1.0", "whole number above 0"),
        ("LST1", "nightoffset", "24", "hours from 0 to 24"),
        ("LST1", "nightoffset", "-1", "hours from 0 to 24"),
        ("LST1", "nightoffset", "nan", "hours from 0 to 24"),
        ("LST1", "raw_dir", "/nowhere/at/all", "directory does not exist"),
        ("LST1", "raw_dir", "~nobody-of-that-name/R0", "directory does not exist"),
        ("LST1", "raw_dir", "", "must not be empty"),
        ("LST1", "raw_dir", "%(bais)s/R0", "bais"),
        ("LST1", "raw_dir", "%j/R0", "cannot be filled in"),
        ("LST1", "raw_dir", "%(raw_dir)s", "cannot be filled in"),
        ("LST1", "raw_dir", "$NOT_SET_ANYWHERE/R0", "$NOT_SET_ANYWHERE is not set"),
        ("LST1", "raw_dir", "${NOT_SET_ANYWHERE}/R0", "${NOT_SET_ANYWHERE} is not set"),
        ("LST1", "raw_dir", "$(touch hacked)", "directory does not exist"),
        ("LST1", "dl1_dir", "/data\n  /DL1", "on one line"),
        ("LST1", "dl1_dir", "/data/\x07DL1", "cannot be printed"),
        ("LST1", "dl1_dir", "/data/\0DL1", "cannot be printed"),
        ("LST1", "dl1_dir", "/data/DL1  # final", "line of its own"),
        ("PRODUCTION", "dl1_prod_id", "../v0.1", "letters, digits"),
        ("PRODUCTION", "dl1_prod_id", "..", "letters, digits"),
        ("PRODUCTION", "dl1_prod_id", "-o", "letters, digits"),
        ("PRODUCTION", "dl1_prod_id", "v0;x", "letters, digits"),
        ("PRODUCTION", "dl1_prod_id", "v0 x", "letters, digits"),
        ("PRODUCTION", "dl1_prod_id", "$(touch x)", "letters, digits"),
        ("PRODUCTION", "dl1_prod_id", "v0\n  x", "on one line"),
        ("LSTCHAIN", "dl1_config", "nowhere.json", "file does not exist"),
        ("LSTCHAIN", "time_calibration", "maybe", "wants yes or no"),
        ("LSTCHAIN", "separate_programs", "dl1_to_dl2, dl3", "does not know dl3"),
        ("CALIBRATION", "drs4_run", "x", "whole number above 0"),
        ("DATA JOB", "memory", "8", "an amount such as"),
        ("DATA JOB", "memory", "8 TB", "an amount such as"),
        ("DATA JOB", "memory", "0 GB", "an amount such as"),
        ("DATA JOB", "memory", "9" * 400 + " GB", "an amount such as"),
        ("DATA JOB", "walltime", "6h", "a time such as"),
        ("DATA JOB", "walltime", "00:00:00", "above zero"),
        ("DATA JOB", "walltime", "00:99:00", "a time such as"),
        ("DATA JOB", "walltime", "99999999999-00:00:00", "a time such as"),
        ("SCHEDULER", "backend", "pbs", "auto, local or slurm"),
        ("DATA JOB", "account", "--uid=0", "letters, digits"),
    ],
)
def test_a_bad_value_is_told_with_its_place(make_config, section, key, text, message):
    path = make_config({(section, key): text})
    fault = only_fault(path)
    assert f"{path}:{line_of(path, f'{key} =', section)}: [{section}] {key}: " in fault
    assert message in fault


def test_no_value_runs_anything(make_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    faults(make_config({("PRODUCTION", "prod_id"): "$(touch hacked)"}))
    assert not (tmp_path / "hacked").exists()


@given(st.text(min_size=1, max_size=20))
@hypothesis_settings(max_examples=60, suppress_health_check=list(HealthCheck), deadline=None)
def test_a_production_never_leads_out_of_its_folder(make_config, text):
    path = make_config()
    edit(path, "dl1_prod_id = %(prod_id)s", f"dl1_prod_id = {text}")
    try:
        prod_id = load_settings(path, "LST1").production.dl1_prod_id
    except (ConfigurationError, UnicodeError):
        return
    finally:
        path.unlink(missing_ok=True)
    assert (Path("/final") / prod_id).resolve().parent == Path("/final")
    assert not prod_id.startswith(("-", "."))


def test_unknown_key(make_config):
    path = make_config()
    edit(path, "maxtryfailed = 2\n", "maxtryfailed = 2\nmaxtryfaild = 3\n")
    fault = only_fault(path)
    assert fault.startswith(f"{path}:{line_of(path, 'maxtryfaild')}: [ANALYSIS] maxtryfaild: unknown key")
    assert "maxtryfailed" in fault


def test_missing_key_is_told_with_the_line_of_its_section(make_config):
    path = make_config({("ANALYSIS", "maxtryfailed"): None})
    where = f"{path}:{line_of(path, '[ANALYSIS]')}"
    assert only_fault(path) == f"{where}: [ANALYSIS] maxtryfailed: this key is missing"


def test_missing_section(make_config):
    path = make_config()
    edit(path, "[SCHEDULER]\n", "")
    assert any("section [SCHEDULER] is missing" in fault for fault in faults(path))


def test_misspelt_section_is_both_missing_and_unknown(make_config):
    path = make_config()
    edit(path, "[ANALYSIS]", "[ANALISIS]")
    unknown, missing = sorted(faults(path), key=lambda fault: "is missing" in fault)
    assert unknown == f"{path}:{line_of(path, '[ANALISIS]')}: [ANALISIS] unknown section"
    assert "section [ANALYSIS] is missing" in missing


def test_telescope_that_is_not_there(make_config):
    assert "no section [LST2]; telescopes there: LST1" in only_fault(make_config(), "LST2")


def test_a_second_telescope_may_lack_its_folders_but_not_its_spelling(make_config):
    path = make_config()
    path.write_text(path.read_text(encoding="utf-8") + "\n[LST2]\ntel_id = 2\nraw_dir = /nowhere\n")
    assert load_settings(path, "LST1").telescope.tel_id == 1
    path.write_text(path.read_text(encoding="utf-8") + "rawdir = /nowhere\n")
    assert f"{path}:{line_of(path, 'rawdir')}: [LST2] rawdir: unknown key" in only_fault(path)


def test_all_faults_are_told_at_once(make_config):
    path = make_config(
        {
            ("LST1", "tel_id"): "x",
            ("PRODUCTION", "prod_id"): "../x",
            ("ANALYSIS", "maxtryfailed"): None,
            ("DATA JOB", "partition"): "a;b",
        }
    )
    edit(path, "[LOCAL]\n", "[LOCAL]\nmax_cores =\ncores = 3\n")
    found = faults(path)
    expected = {
        "[LST1] tel_id:",
        "[PRODUCTION] prod_id:",
        "[ANALYSIS] maxtryfailed:",
        "[DATA JOB] partition:",
        "[LOCAL] max_cores: stands there twice",
        "[LOCAL] cores: unknown",
    }
    for fault in expected:
        assert any(fault in line for line in found), fault
    with pytest.raises(ConfigurationError, match=rf"has {len(found)} fault"):
        load_settings(path, "LST1")


def test_a_key_that_stands_twice(make_config):
    path = make_config()
    edit(path, "maxtryfailed = 2\n", "maxtryfailed = 2\nMaxTryFailed = 3\n")
    first = line_of(path, "maxtryfailed")
    assert only_fault(path) == (
        f"{path}:{first + 1}: [ANALYSIS] maxtryfailed: stands there twice (first in line {first})"
    )


def test_a_section_that_stands_twice(make_config):
    path = make_config()
    path.write_text(path.read_text(encoding="utf-8") + "\n[ANALYSIS]\n")
    assert "[ANALYSIS] stands there twice" in only_fault(path)


def test_names_of_the_default_section_are_free(make_settings, tmp_path):
    settings = make_settings({("LST1", "dl1_dir"): "%(base)s/elsewhere"})
    assert settings.telescope.dl1_dir == tmp_path / "lst" / "elsewhere"


def test_the_default_section_is_never_read_for_itself(make_config):
    path = make_config({("DATA JOB", "account"): None})
    edit(path, "[DEFAULT]\n", "[DEFAULT]\naccount = somebody\n")
    assert "[DATA JOB] account: this key is missing" in only_fault(path)


def test_reference_is_needed_without_time_calibration(make_config, tmp_path):
    changes = {("LSTCHAIN", "time_calibration"): "no"}
    assert "[LSTCHAIN] time_calibration_reference: has to name" in only_fault(make_config(changes))
    (tmp_path / "reference.h5").touch()
    changes["LSTCHAIN", "time_calibration_reference"] = "reference.h5"
    settings = load_settings(make_config(changes), "LST1")
    assert settings.lstchain.time_calibration_reference == tmp_path / "reference.h5"


def test_line_above_the_first_section(make_config):
    path = make_config()
    path.write_text("tel_id = 1\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(ConfigurationError, match=rf"{path}:1: 'tel_id = 1' stands above"):
        load_settings(path, "LST1")


def test_lines_that_are_nothing(make_config):
    path = make_config()
    edit(path, "[SLURM]\n", "[SLURM]\njust words\n")
    assert only_fault(path).startswith(f"{path}:{line_of(path, 'just words')}: 'just words")


@pytest.mark.parametrize("content", [b"\xff\xfe[LST1]", b"[LST1]\ntel_id = \xe9\n"])
def test_a_file_that_is_no_text(tmp_path, content):
    path = tmp_path / "a.cfg"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=f"{path} cannot be read"):
        load_settings(path, "LST1")


def test_a_file_that_is_a_folder(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_settings(tmp_path, "LST1")


def test_an_empty_file_lacks_everything(tmp_path):
    path = tmp_path / "empty.cfg"
    path.touch()
    assert any("no section [LST1]; telescopes there: none" in fault for fault in faults(path))


# ------------------------------------------------------------------------------- paths


def test_environment_variables_are_filled_in(make_settings, tmp_path, monkeypatch):
    monkeypatch.setenv("OSA_TEST_DATA", str(tmp_path / "data"))
    settings = make_settings(
        {("LST1", "dl1_dir"): "$OSA_TEST_DATA/DL1", ("LST1", "dl2_dir"): "${OSA_TEST_DATA}/DL2"}
    )
    assert settings.telescope.dl1_dir == tmp_path / "data" / "DL1"
    assert settings.telescope.dl2_dir == tmp_path / "data" / "DL2"


def test_home_is_filled_in(make_settings, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert make_settings({("LST1", "dl1_dir"): "~/DL1"}).telescope.dl1_dir == tmp_path / "DL1"


def test_relative_paths_count_from_the_file_and_are_absolute(make_config, tmp_path, monkeypatch):
    path = make_config({("LST1", "dl1_dir"): "final/DL1"})
    monkeypatch.chdir(path.parent)
    settings = load_settings(Path(path.name), "LST1")
    assert settings.telescope.dl1_dir == tmp_path / "final" / "DL1"
    assert settings.path == path


# ---------------------------------------------------------------------- which file is it


@pytest.fixture
def candidates(tmp_path):
    """A file for every place where a configuration is looked for, and the environment for it."""
    home = tmp_path / "home"
    personal = home / ".config/osa/sequencer.cfg"
    personal.parent.mkdir(parents=True)
    files = {"given": tmp_path / "given.cfg", "variable": tmp_path / "variable.cfg", "personal": personal}
    for file in files.values():
        file.touch()
    return files, {"HOME": str(home), "OSA_CONFIG": str(files["variable"])}


def test_the_given_file_is_first(candidates):
    files, environment = candidates
    assert find_configuration(files["given"], environment) == files["given"]


def test_then_that_of_the_environment(candidates):
    files, environment = candidates
    assert find_configuration(None, environment) == files["variable"]


@pytest.mark.parametrize("value", [None, ""])
def test_then_the_personal_one(candidates, value):
    files, environment = candidates
    environment = {"HOME": environment["HOME"]} | ({} if value is None else {"OSA_CONFIG": value})
    assert find_configuration(None, environment) == files["personal"]


def test_then_the_packaged_one(tmp_path):
    found = find_configuration(None, {"HOME": str(tmp_path)})
    assert found == Path(config.__file__).parents[1] / "data" / "sequencer.cfg"


@pytest.mark.parametrize("name", ["missing.cfg", "~nobody-of-that-name/a.cfg"])
def test_a_named_file_has_to_be_there(candidates, name):
    _, environment = candidates
    with pytest.raises(ConfigurationError, match=r"from -c\) does not exist"):
        find_configuration(Path(name), environment)
    with pytest.raises(ConfigurationError, match=r"from \$OSA_CONFIG\) does not exist"):
        find_configuration(None, environment | {"OSA_CONFIG": name})


def test_the_found_file_is_absolute(candidates, monkeypatch):
    files, environment = candidates
    monkeypatch.chdir(files["given"].parent)
    assert find_configuration(Path("given.cfg"), environment) == files["given"]
    assert os.path.isabs(find_configuration(None, environment | {"OSA_CONFIG": "given.cfg"}))


# ------------------------------------------------------------------- failures that are known


def with_rules(make_config, *sections: str) -> Path:
    path = make_config()
    path.write_text(path.read_text(encoding="utf-8") + "\n" + "\n".join(sections), encoding="utf-8")
    return path


WHOLE = """\
[RULE file system was away]
text = Stale file handle|Errno (5|116)
applies_to = calibration
cure = resubmit
states = FAILED, TIMEOUT
exit_codes = 74,-7
fewer_events = 5
cut_short = yes
memory = 1.5
walltime = 3
limit = 3
incidence = lost the file system: tried again
"""


def test_shipped_configuration_has_no_rules_and_an_alarm(make_config):
    path = make_config({("ALARM", "hour"): "18"})
    settings = load_settings(path, "LST1")
    assert settings.rules == ()
    assert (settings.alarm.hour, settings.alarm.recipient) == (timedelta(hours=18), None)
    assert settings.alarm.mailer == Path("/usr/sbin/sendmail")
    assert settings.calibration.other_night_days == 7


def test_rule_with_all_keys(make_config):
    (rule,) = load_settings(with_rules(make_config, WHOLE), "LST1").rules
    assert (rule.name, rule.cure, rule.scope) == ("file system was away", Cure.RESUBMIT, Scope.CALIBRATION)
    assert rule.words == "lost the file system: tried again"
    assert rule.states == {JobState.FAILED, JobState.TIMEOUT}
    assert rule.exit_codes == {74, -7}
    assert rule.text.search("OSError: [Errno 116] Stale") and rule.text.search("x Stale file handle")
    assert not rule.text.search("Errno 4")
    assert (rule.fewer_events, rule.cut_short, rule.used_up) == (5, True, False)
    assert (rule.memory, rule.walltime, rule.limit) == (1.5, 3.0, 3)


@pytest.mark.parametrize(
    ("lines", "values"),
    [
        ("cure = resubmit\ntext = a", {"scope": Scope.ANY, "limit": 1, "memory": 1.0, "walltime": 1.0}),
        ("cure = leave out\ntext = a", {"scope": Scope.DATA, "cure": Cure.LEAVE_OUT}),
        ("cure = leave out\napplies_to = last sub-run\ncut_short = yes", {"scope": Scope.LAST_SUBRUN}),
        ("cure = cancel\ntext = PartitionDown", {"cure": Cure.CANCEL, "words": ""}),
        ("cure = resubmit\nexit_codes = 3\nincidence =", {"exit_codes": frozenset({3}), "words": ""}),
        ("CURE = resubmit\nText: 100%% full", {"cure": Cure.RESUBMIT}),
        ("cure = resubmit\ntext = a$", {"cut_short": False, "fewer_events": 0}),
        ("cure = resubmit\ntext = a\ncut_short = no", {"cut_short": False}),
    ],
)
def test_rule_needs_few_keys(make_config, lines, values):
    (rule,) = load_settings(with_rules(make_config, f"[RULE mine]\n{lines}"), "LST1").rules
    assert {name: getattr(rule, name) for name in values} == values


def test_rules_keep_their_order_and_may_replace_known_ones(make_config):
    names = ["z", "time limit", "a b-c_d.e"]
    path = with_rules(make_config, *(f"[RULE {name}]\ncure = resubmit\ntext = x\n" for name in names))
    rules = load_settings(path, "LST1").rules
    assert [rule.name for rule in rules] == names
    ordered = rules_in_order(rules)
    assert ordered[:3] == rules
    assert [rule.name for rule in ordered].count("time limit") == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("cure = pray", "pray: wants one of: resubmit, leave out, cancel"),
        ("cure = other calibration", "other calibration: wants one of: resubmit, leave out, cancel"),
        ("cure = Resubmit", "Resubmit: wants one of"),
        ("cure =", "must not be empty"),
        ("applies_to = everything", "everything: wants one of: any, calibration, data, last sub-run"),
        ("states = FAILED, LATE", "wants one of: PENDING, RUNNING, FAILED"),
        ("states = COMPLETED", "wants one of: PENDING"),
        ("states = FAILED,", "wants one of: PENDING"),
        ("states =", "must not be empty"),
        ("exit_codes = 0", "wants exit codes other than 0"),
        ("exit_codes = 1, 0", "wants exit codes other than 0"),
        ("exit_codes = 1;2", "wants exit codes other than 0"),
        ("exit_codes = SIGKILL", "wants exit codes other than 0"),
        ("exit_codes = 1,,2", "wants exit codes other than 0"),
        ("text = (unclosed", "is no regular expression: missing )"),
        ("text = *", "is no regular expression: nothing to repeat"),
        ("text =", "must not be empty"),
        ("text = a # b", "a comment needs a line of its own"),
        ("text = a\n  b", "has to stand on one line"),
        ("text = 100% full", "cannot be filled in"),
        ("text = $NOT_SET_ANYWHERE", "$NOT_SET_ANYWHERE is not set"),
        ("fewer_events = 0", "wants a whole number above 0"),
        ("fewer_events = few", "wants a whole number above 0"),
        ("cut_short = maybe", "wants yes or no"),
        ("memory = 0.5", "wants a number from 1 to 100"),
        ("memory = 16 GB", "wants a number from 1 to 100"),
        ("memory = nan", "wants a number from 1 to 100"),
        ("memory = inf", "wants a number from 1 to 100"),
        ("walltime = 101", "wants a number from 1 to 100"),
        ("walltime = 06:00:00", "wants a number from 1 to 100"),
        ("limit = 0", "wants a whole number above 0"),
        ("limit = ever", "wants a whole number above 0"),
        ("limits = 3", "unknown key; this section has cure, incidence, applies_to"),
    ],
)
def test_fault_of_a_rule_is_told_with_its_place(make_config, line, message):
    key = line.partition("=")[0].strip()
    others = {"cure": "cure = resubmit", "text": "text = x"}
    others.pop(key, None)
    path = with_rules(make_config, "[RULE mine]\n" + "\n".join([*others.values(), line]) + "\n")
    fault = only_fault(path)
    assert fault.startswith(f"{path}:{line_of(path, f'{key} =', 'RULE mine')}: [RULE mine] {key}: ")
    assert message in fault


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("cure = resubmit", "rule 'mine' has no sign"),
        ("cure = resubmit\ncut_short = no", "rule 'mine' has no sign"),
        ("cure = resubmit\nmemory = 2\nlimit = 3", "rule 'mine' has no sign"),
        ("cure = leave out\ntext = x\napplies_to = any", "only DATA can be left out"),
        ("cure = leave out\ntext = x\napplies_to = calibration", "only DATA can be left out"),
    ],
)
def test_keys_of_a_rule_that_do_not_fit_together(make_config, lines, message):
    path = with_rules(make_config, f"[RULE mine]\n{lines}\n")
    fault = only_fault(path)
    assert fault.startswith(f"{path}:{line_of(path, '[RULE mine]')}: [RULE mine] ")
    assert message in fault


def test_rule_without_a_cure(make_config):
    path = with_rules(make_config, "[RULE mine]\ntext = x\n")
    assert only_fault(path) == (
        f"{path}:{line_of(path, '[RULE mine]')}: [RULE mine] cure: this key is missing"
    )


@pytest.mark.parametrize("name", ["RULE", "RULE ", "RULE  two blanks", "rule mine", "RULE ../x", "RULES x"])
def test_section_that_is_nearly_a_rule(make_config, name):
    path = with_rules(make_config, f"[{name}]\ncure = resubmit\ntext = x\n")
    assert only_fault(path) == f"{path}:{line_of(path, f'[{name}]')}: [{name}] unknown section"


def test_rule_that_stands_twice(make_config):
    path = with_rules(make_config, WHOLE, WHOLE)
    assert any("[RULE file system was away] stands there twice" in fault for fault in faults(path))


def test_keys_of_the_default_section_are_not_those_of_a_rule(make_config):
    path = with_rules(make_config, "[RULE mine]\ncure = resubmit\ntext = %(base)s is away\n")
    edit(path, "[DEFAULT]\n", "[DEFAULT]\nlimit = 7\nmemory = 9\n")
    (rule,) = load_settings(path, "LST1").rules
    assert (rule.limit, rule.memory) == (1, 1.0)
    assert rule.text.pattern.endswith("/lst is away")


def test_faults_of_all_rules_are_told_at_once(make_config):
    path = with_rules(
        make_config,
        "[RULE a]\ncure = pray\ntext = (\nlimit = 0\n",
        "[RULE b]\ntext = x\n",
        "[RULE c]\ncure = resubmit\n",
    )
    found = faults(path)
    for place in ("[RULE a] cure", "[RULE a] text", "[RULE a] limit", "[RULE b] cure", "[RULE c] rule 'c'"):
        assert any(place in fault for fault in found), place
    assert len(found) == 5


# ------------------------------------------------------------------------- alarm, other nights


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        (("ALARM", "hour"), "", None),
        (("ALARM", "hour"), "0", timedelta(0)),
        (("ALARM", "hour"), "23.5", timedelta(hours=23.5)),
        (("ALARM", "recipient"), "", None),
        (("ALARM", "recipient"), "root", "root"),
        (("ALARM", "recipient"), "lst-1.shift+osa@lists.example.org", "lst-1.shift+osa@lists.example.org"),
        (("ALARM", "mailer"), "/opt/bin/mail it", Path("/opt/bin/mail it")),
        (("CALIBRATION", "other_night_days"), "", None),
        (("CALIBRATION", "other_night_days"), "30", 30),
    ],
)
def test_alarm_and_other_nights(make_settings, key, text, value):
    settings = make_settings({key: text})
    section = settings.alarm if key[0] == "ALARM" else settings.calibration
    assert getattr(section, key[1]) == value


@pytest.mark.parametrize(
    ("section", "key", "text", "message"),
    [
        ("ALARM", "hour", "24", "hours from 0 to 24"),
        ("ALARM", "hour", "18:00", "hours from 0 to 24"),
        ("ALARM", "hour", "-1", "hours from 0 to 24"),
        ("ALARM", "recipient", "a@b, c@d", "wants one mail address"),
        ("ALARM", "recipient", "a@b c@d", "wants one mail address"),
        ("ALARM", "recipient", "-froot", "wants one mail address"),
        ("ALARM", "recipient", "a@", "wants one mail address"),
        ("ALARM", "recipient", "@b", "wants one mail address"),
        ("ALARM", "recipient", "Shift <a@b>", "wants one mail address"),
        ("ALARM", "recipient", "a\n  Bcc: b", "on one line"),
        ("ALARM", "mailer", "", "must not be empty"),
        ("ALARM", "hour", None, "this key is missing"),
        ("ALARM", "recipient", None, "this key is missing"),
        ("ALARM", "mailer", None, "this key is missing"),
        ("CALIBRATION", "other_night_days", "0", "whole number above 0"),
        ("CALIBRATION", "other_night_days", "-7", "whole number above 0"),
        ("CALIBRATION", "other_night_days", "a week", "whole number above 0"),
        ("CALIBRATION", "other_night_days", None, "this key is missing"),
    ],
)
def test_fault_of_alarm_and_other_nights_is_told_with_its_place(make_config, section, key, text, message):
    path = make_config({(section, key): text})
    fault = only_fault(path)
    where = line_of(path, f"[{section}]") if text is None else line_of(path, f"{key} =", section)
    assert fault.startswith(f"{path}:{where}: [{section}] {key}: ")
    assert message in fault


# ---------------------------------------------------------------------------- provenance


def test_shipped_provenance_needs_nothing(settings, tmp_path):
    how = settings.provenance
    assert (how.raw_hash, how.graphs) == ("sampled", "no")  # no pictures in tests; else:
    assert "\ngraphs = auto\n" in SHIPPED.read_text("utf-8")
    assert how.database == tmp_path / "lst/OSA/provenance.sqlite"
    assert not how.database.parent.exists()
    assert (how.database_url, how.database_password_file) == (None, None)


URLS = [
    "mysql+pymysql://osa@localhost/osa",
    "mysql://localhost/osa",
    "mariadb+pymysql://osa@db.example.org:3306/osa_night",
    "mysql+pymysql://osa@[::1]:3306/osa",
    "mysql+pymysql://osa@localhost/osa?charset=utf8mb4&unix_socket=/run/mysqld.sock",
]


@pytest.mark.parametrize(
    ("key", "text"),
    [("raw_hash", "full"), ("graphs", "yes"), ("graphs", "no"), *(("database_url", url) for url in URLS)],
)
def test_provenance(make_settings, key, text):
    assert getattr(make_settings({("PROVENANCE", key): text}).provenance, key) == text


def test_files_of_the_index_count_from_the_configuration(make_settings, tmp_path):
    (tmp_path / "password").touch()
    changes = {"database": "some where/index.sqlite", "database_password_file": "password"}
    how = make_settings({("PROVENANCE", key): text for key, text in changes.items()}).provenance
    assert how.database == tmp_path / "some where/index.sqlite"
    assert how.database_password_file == tmp_path / "password"


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("raw_hash", "Full", "wants sampled or full"),
        ("raw_hash", "", "must not be empty"),
        ("raw_hash", None, "this key is missing"),
        ("graphs", "maybe", "wants yes, no or auto"),
        ("graphs", "", "must not be empty"),
        ("graphs", None, "this key is missing"),
        ("database", "", "must not be empty"),
        ("database", None, "this key is missing"),
        ("database_url", None, "this key is missing"),
        ("database_password_file", None, "this key is missing"),
        ("database_password_file", "missing", "this file does not exist"),
        ("database_password_file", ".", "this file does not exist"),
    ],
)
def test_fault_of_provenance_is_told_with_its_place(make_config, key, text, message):
    path = make_config({("PROVENANCE", key): text})
    fault = only_fault(path)
    where = line_of(path, "[PROVENANCE]") if text is None else line_of(path, f"{key} =", "PROVENANCE")
    assert fault.startswith(f"{path}:{where}: [PROVENANCE] {key}: ")
    assert message in fault


BAD_URLS = [
    "osa",
    "sqlite:////tmp/osa.sqlite",
    "postgresql://osa@localhost/osa",
    "mysql+pymysql://osa@localhost",
    "mysql+pymysql://osa@localhost/",
    "mysql+pymysql:///osa",
    "mysql+pymysql://osa@localhost/osa; drop",
    "mysql+pymysql://osa@localhost/../osa",
]


@pytest.mark.parametrize("url", BAD_URLS)
def test_a_bad_url_is_told_without_what_stands_there(make_config, url):
    fault = only_fault(make_config({("PROVENANCE", "database_url"): url}))
    assert "wants a URL such as mysql+pymysql://osa@localhost/osa" in fault
    assert url not in fault.replace("mysql+pymysql://osa@localhost/osa", "")


SECRET = "Geheim"
WITH_PASSWORD = [
    f"mysql+pymysql://osa:{SECRET}@localhost/osa",
    f"mysql://:{SECRET}@localhost/osa",
    f"mysql+pymysql://osa:{SECRET}@local/osa?charset=utf8",
    f"mysql+pymysql://osa:{SECRET}/1@localhost/osa",
    f"mysql+pymysql://osa:@{SECRET}@localhost/osa",
    f"mysql+pymysql://osa:'{SECRET}\"@localhost/osa",
    f"mysql+pymysql://osa:{SECRET} #1@localhost/osa",
    f"mysql+pymysql://osa:{SECRET}\x01@localhost/osa",
    f"mysql+pymysql://osa:{SECRET}ß@localhost/osa",
    f"mysql+pymysql://osa:{SECRET}%%40@localhost/osa",
    f"mysql+pymysql://osa:{SECRET}%40@localhost/osa",
    f"mysql+pymysql://osa:%{SECRET}@localhost/osa",
    f"mysql+pymysql://osa:%({SECRET})s@localhost/osa",
    f"mysql+pymysql://osa:%({SECRET}@localhost/osa",
    f"mysql+pymysql://osa:${SECRET}@localhost/osa",
    f"mysql+pymysql://osa:x${{{SECRET}}}@localhost/osa",
    f"mysql+pymysql://osa:{SECRET}@localhost",
    f"mysql+pymysql:/osa:{SECRET}@localhost/osa",
    f"postgresql://osa:{SECRET}@localhost/osa",
    f"osa:{SECRET}@localhost",
    f"mysql+pymysql://osa:{SECRET}@localhost/osa\n  and more",
    f"mysql+pymysql://osa@localhost/osa?password={SECRET}",
    f"mysql+pymysql://osa@localhost/osa?charset=utf8&passwd={SECRET}",
    f"mysql+pymysql://osa@localhost/osa?PASSWORD={SECRET}",
    f"mysql+pymysql://osa@localhost/osa?pass%%77ord={SECRET}",
]


@pytest.mark.parametrize("url", WITH_PASSWORD)
def test_a_password_is_refused_and_shown_nowhere(make_config, url):
    path = make_config({("PROVENANCE", "database_url"): url})
    with pytest.raises(ConfigurationError) as caught:
        load_settings(path, "LST1")
    error: BaseException | None = caught.value
    assert "[PROVENANCE] database_url: " in str(error)
    while error is not None:
        assert SECRET.lower() not in str(error).lower()
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


@pytest.mark.parametrize("url", [url for url in WITH_PASSWORD if "%" not in url and "$" not in url])
def test_nor_where_it_comes_from_the_environment(make_config, monkeypatch, url):
    monkeypatch.setenv("OSA_DB", url)
    fault = only_fault(make_config({("PROVENANCE", "database_url"): "$OSA_DB"}))
    assert SECRET not in fault
    assert "localhost/osa" not in fault.replace("mysql+pymysql://osa@localhost/osa", "")


@pytest.mark.parametrize("text", [f"x:{SECRET}%40@h/osa", f"x:%({SECRET})s@h/osa", f"x:{SECRET}@h/osa"])
def test_nor_where_it_stands_in_the_default_section(make_config, text):
    path = make_config({("PROVENANCE", "database_url"): "mysql://%(account)s"})
    edit(path, "[DEFAULT]\n", f"[DEFAULT]\naccount = {text}\n")
    found = [fault for fault in faults(path) if "database_url" in fault]
    assert found
    assert all(SECRET not in fault for fault in found)


def test_nor_where_the_line_stands_above_all_sections(make_config):
    path = make_config()
    path.write_text(f"database_url = mysql://osa:{SECRET}@h/osa\n{path.read_text('utf-8')}", "utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load_settings(path, "LST1")
    assert SECRET not in str(caught.value)


def test_a_password_that_comes_from_the_environment_is_refused(make_config, monkeypatch):
    monkeypatch.setenv("OSA_PW", SECRET)
    url = "mysql+pymysql://osa:$OSA_PW@localhost/osa"
    fault = only_fault(make_config({("PROVENANCE", "database_url"): url}))
    assert "must hold no password" in fault
    assert SECRET not in fault
