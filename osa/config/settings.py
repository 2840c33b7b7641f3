"""The settings, one dataclass a section."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from osa.config.values import (
    as_address,
    as_backend,
    as_codes,
    as_cure,
    as_database_url,
    as_directory,
    as_factor,
    as_file,
    as_folders,
    as_graphs,
    as_hour,
    as_memory,
    as_minutes,
    as_name,
    as_path,
    as_pattern,
    as_positive,
    as_raw_hash,
    as_scope,
    as_states,
    as_steps,
    as_streams,
    as_walltime,
    as_yes_no,
    key,
)
from osa.model.job import JobState, Resources
from osa.model.rule import Cure, Rule, Scope

__all__ = [
    "SECTIONS",
    "AlarmSettings",
    "AnalysisSettings",
    "ArrivalSettings",
    "CalibrationSettings",
    "CleaningSettings",
    "CronSettings",
    "JobSettings",
    "LocalSettings",
    "LstchainSettings",
    "ProductionSettings",
    "ProvenanceSettings",
    "RuleSettings",
    "SchedulerSettings",
    "Settings",
    "SlurmSettings",
    "TelescopeSettings",
]


@dataclass(frozen=True)
class TelescopeSettings:
    """Section of a telescope: its number, where its inputs are and its outputs go."""

    tel_id: int = key(as_positive)
    nightoffset: timedelta = key(as_hour)
    raw_dir: Path = key(as_directory)
    night_summary_dir: Path = key(as_directory)
    run_summary_dir: Path = key(as_directory)
    drive_dir: Path = key(as_directory)
    models_dir: Path = key(as_directory)
    analysis_dir: Path = key(as_path)
    calibration_dir: Path = key(as_path)
    dl1_dir: Path = key(as_path)
    dl2_dir: Path = key(as_path)
    closer_dir: Path = key(as_path)


@dataclass(frozen=True)
class ProductionSettings:
    """Names of the productions."""

    prod_id: str = key(as_name)
    dl1_prod_id: str = key(as_name)
    dl2_prod_id: str = key(as_name)
    calibration_prod_id: str = key(as_name)


@dataclass(frozen=True)
class LstchainSettings:
    """What is asked of lstchain."""

    dl1_config: Path | None = key(as_file, may_be_empty=True)
    dl2_config: Path | None = key(as_file, may_be_empty=True)
    charge_calibration_config: Path | None = key(as_file, may_be_empty=True)
    charge_calibration_systematics: Path | None = key(as_file, may_be_empty=True)
    drs4_events: int = key(as_positive)
    time_calibration: bool = key(as_yes_no)
    time_calibration_reference: Path | None = key(as_file, may_be_empty=True)
    time_calibration_events: int = key(as_positive)
    time_calibration_n_combine: int = key(as_positive)
    time_calibration_n_harmonics: int = key(as_positive)
    flatfield_heuristic: bool = key(as_yes_no)
    separate_programs: frozenset[str] = key(as_steps)


@dataclass(frozen=True)
class CalibrationSettings:
    """Runs that the operators fixed for every night, and where else a calibration may come from."""

    drs4_run: int | None = key(as_positive, may_be_empty=True)
    calibration_run: int | None = key(as_positive, may_be_empty=True)
    other_night_days: int | None = key(as_positive, may_be_empty=True)


@dataclass(frozen=True)
class AnalysisSettings:
    """How the analysis behaves."""

    maxtryfailed: int = key(as_positive)


@dataclass(frozen=True)
class JobSettings(Resources):
    """What one task of a kind of job may use, and what Slurm charges for it.

    Account and partition are None where they are left to the user's default; the most that a
    further try may get, in MB and as a time, where there is no such bound.
    """

    cpus: int = key(as_positive)
    memory: int = key(as_memory)
    walltime: timedelta = key(as_walltime)
    account: str | None = key(as_name, may_be_empty=True)
    partition: str | None = key(as_name, may_be_empty=True)
    max_memory: int | None = key(as_memory, may_be_empty=True)
    max_walltime: timedelta | None = key(as_walltime, may_be_empty=True)


@dataclass(frozen=True)
class SchedulerSettings:
    """Who runs the jobs."""

    backend: str = key(as_backend)


@dataclass(frozen=True)
class LocalSettings:
    """The local backend; None stands for what the machine has."""

    max_cores: int | None = key(as_positive, may_be_empty=True)
    max_memory: int | None = key(as_memory, may_be_empty=True)
    state_dir: Path = key(as_path)


@dataclass(frozen=True)
class SlurmSettings:
    """How Slurm is used; None stands for no limit."""

    max_at_once: int | None = key(as_positive, may_be_empty=True)


@dataclass(frozen=True)
class ArrivalSettings:
    """From when on all raw files of a night have come.

    ``end_flag`` is the name of a file in the night's raw folder that says so; None where nobody writes
    one. Without it each sub-run must have a file of each of ``streams``, nothing may have changed for
    ``quiet_minutes``, and the day after the night must have reached ``end_hour``.
    """

    end_flag: str | None = key(as_name, may_be_empty=True)
    streams: int = key(as_streams)
    quiet_minutes: timedelta = key(as_minutes)
    end_hour: timedelta = key(as_hour)


@dataclass(frozen=True)
class CronSettings:
    """What the jobs of cron work on, and what they leave behind: logs, and a page with the last nights."""

    user: str = key(as_name)
    nights: int = key(as_positive)
    path: tuple[Path, ...] | None = key(as_folders, may_be_empty=True)
    log_dir: Path = key(as_path)
    status_dir: Path = key(as_path)
    status_nights: int = key(as_positive)


@dataclass(frozen=True)
class CleaningSettings:
    """Days after the closing of a night from which on what it leaves behind goes; None stands for never."""

    scratch_days: int | None = key(as_positive, may_be_empty=True)
    compress_logs_days: int | None = key(as_positive, may_be_empty=True)
    set_aside_days: int | None = key(as_positive, may_be_empty=True)


@dataclass(frozen=True)
class AlarmSettings:
    """When somebody is told that a night is not closed, and who; None stands for never and nobody."""

    hour: timedelta | None = key(as_hour, may_be_empty=True)
    recipient: str | None = key(as_address, may_be_empty=True)
    mailer: Path = key(as_path)


@dataclass(frozen=True)
class ProvenanceSettings:
    """What is written down of where products come from.

    ``database`` is the SQLite file that serves where no URL of another database is given; None stands
    for no URL, and for a database that wants no password.
    """

    raw_hash: str = key(as_raw_hash)
    graphs: str = key(as_graphs)
    database: Path = key(as_path)
    database_url: str | None = key(as_database_url, may_be_empty=True, is_secret=True)
    database_password_file: Path | None = key(as_file, may_be_empty=True)


@dataclass(frozen=True)
class RuleSettings:
    """A known failure that the configuration adds; a key that is not there says nothing."""

    cure: Cure = key(as_cure)
    incidence: str = key(str, may_be_empty=True, may_be_absent=True)
    applies_to: Scope | None = key(as_scope, may_be_absent=True)
    states: frozenset[JobState] | None = key(as_states, may_be_absent=True)
    exit_codes: frozenset[int] | None = key(as_codes, may_be_absent=True)
    text: re.Pattern[str] | None = key(as_pattern, may_be_absent=True)
    fewer_events: int | None = key(as_positive, may_be_absent=True)
    cut_short: bool | None = key(as_yes_no, may_be_absent=True)
    memory: float | None = key(as_factor, may_be_absent=True)
    walltime: float | None = key(as_factor, may_be_absent=True)
    limit: int | None = key(as_positive, may_be_absent=True)

    def as_rule(self, name: str) -> Rule:
        """Make the rule.

        Raises
        ------
        ValueError
            If the keys do not fit together.
        """
        return Rule(
            name=name,
            cure=self.cure,
            words=self.incidence or "",
            scope=self.applies_to or (Scope.DATA if self.cure is Cure.LEAVE_OUT else Scope.ANY),
            states=self.states or frozenset(),
            exit_codes=self.exit_codes or frozenset(),
            text=self.text,
            fewer_events=self.fewer_events or 0,
            cut_short=self.cut_short or False,
            memory=self.memory or 1.0,
            walltime=self.walltime or 1.0,
            limit=self.limit or 1,
        )


@dataclass(frozen=True)
class Settings:
    """The whole configuration for one telescope.

    Parameters
    ----------
    path : pathlib.Path
        The file that it was read from.
    telescope_name : str
        Section of the telescope, ``LST1``.
    rules : tuple of Rule
        Known failures that the file adds, in its order.
    """

    path: Path
    telescope_name: str
    telescope: TelescopeSettings
    production: ProductionSettings
    lstchain: LstchainSettings
    calibration: CalibrationSettings
    analysis: AnalysisSettings
    calibration_job: JobSettings
    data_job: JobSettings
    scheduler: SchedulerSettings
    local: LocalSettings
    slurm: SlurmSettings
    arrival: ArrivalSettings
    cron: CronSettings
    cleaning: CleaningSettings
    alarm: AlarmSettings
    provenance: ProvenanceSettings
    rules: tuple[Rule, ...] = ()


SECTIONS: dict[str, type[Any]] = {
    "PRODUCTION": ProductionSettings,
    "LSTCHAIN": LstchainSettings,
    "CALIBRATION": CalibrationSettings,
    "ANALYSIS": AnalysisSettings,
    "CALIBRATION JOB": JobSettings,
    "DATA JOB": JobSettings,
    "SCHEDULER": SchedulerSettings,
    "LOCAL": LocalSettings,
    "SLURM": SlurmSettings,
    "ARRIVAL": ArrivalSettings,
    "CRON": CronSettings,
    "CLEANING": CleaningSettings,
    "ALARM": AlarmSettings,
    "PROVENANCE": ProvenanceSettings,
}
"""All sections but those of telescopes and of rules."""
