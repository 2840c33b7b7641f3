"""Tables of the index, the same for SQLite and for MariaDB."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeDecorator

__all__ = [
    "BEING_MADE",
    "VERSION",
    "UtcTime",
    "entities",
    "in_milliseconds",
    "jobs",
    "metadata",
    "nights",
    "parameter_sets",
    "roles",
    "runs",
    "schema_version",
    "sequences",
    "software",
    "software_versions",
    "tries",
    "uses",
]

VERSION = 1
"""Version of these tables: to be raised with every change of them."""

BEING_MADE = 0
"""Stands for the version until all tables are there."""

_NAME = 255  # bytes that the name of a file has at most
_PATH = 4096
_INDEXED_PATH = 700  # characters of four bytes of which MariaDB makes an index
_HASH = 64
_WORD = 100


def in_milliseconds(when: datetime) -> datetime:
    """Leave away what is less than a millisecond, as records do, and take UTC."""
    when = when.astimezone(UTC)
    return when - timedelta(microseconds=when.microsecond % 1000)


class UtcTime(TypeDecorator[datetime]):
    """A time in UTC with milliseconds, with its time zone in Python and without in the database."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """Take a type with milliseconds."""
        if dialect.name in {"mysql", "mariadb"}:
            return dialect.type_descriptor(mysql.DATETIME(fsp=3))
        return dialect.type_descriptor(DateTime())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Write a time; one without a time zone is an error of the program."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone")
        return in_milliseconds(value).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Read a time."""
        return None if value is None else value.replace(tzinfo=UTC)


metadata = MetaData()

# Names of files differ by case, and Unicode is no matter of taste; foreign keys need InnoDB.
_OPTIONS: dict[str, Any] = {
    f"{dialect}_{key}": value
    for dialect in ("mysql", "mariadb")
    for key, value in {"engine": "InnoDB", "charset": "utf8mb4", "collate": "utf8mb4_bin"}.items()
}


def _id() -> Column[int]:
    return Column("id", Integer, primary_key=True)


def _to(target: str, *, cascade: bool = False) -> ForeignKey:
    return ForeignKey(f"{target}.id", ondelete="CASCADE" if cascade else None)


schema_version = Table(
    "osa_schema", metadata, Column("version", Integer, primary_key=True, autoincrement=False), **_OPTIONS
)

nights = Table(
    "nights",
    metadata,
    _id(),
    Column("telescope", String(_WORD), nullable=False),
    Column("night", String(10), nullable=False),
    Column("prod_id", String(_WORD), nullable=False),
    UniqueConstraint("telescope", "night", "prod_id"),
    Index("nights_by_night", "night"),
    **_OPTIONS,
)

runs = Table(
    "runs",
    metadata,
    _id(),
    Column("night_id", _to("nights", cascade=True), nullable=False),
    Column("number", Integer, nullable=False),
    Column("kind", String(_WORD), nullable=False),
    Column("n_subruns", Integer),
    Column("source", String(_NAME)),
    Column("wobble", String(_WORD)),
    UniqueConstraint("night_id", "number"),
    Index("runs_by_number", "number"),
    **_OPTIONS,
)

sequences = Table(
    "sequences",
    metadata,
    _id(),
    Column("run_id", _to("runs", cascade=True), nullable=False, unique=True),
    Column("name", String(_WORD), nullable=False),
    Column("number", Integer, nullable=False),
    Column("parent", Integer),
    Column("drs4_run", Integer),
    Column("calibration_run", Integer),
    Column("state", String(_WORD)),
    Column("is_closed", Boolean, nullable=False),
    Column("is_vetoed", Boolean, nullable=False),
    **_OPTIONS,
)

jobs = Table(
    "jobs",
    metadata,
    _id(),
    Column("sequence_id", _to("sequences", cascade=True), nullable=False),
    Column("job_id", String(_HASH), nullable=False),
    Column("task", Integer),
    Column("ordinal", Integer, nullable=False),
    Column("state", String(_WORD), nullable=False),
    Column("submitted", UtcTime, nullable=False),
    Column("started", UtcTime),
    Column("ended", UtcTime),
    Column("exit_code", Integer),
    Column("host", String(_NAME)),
    Column("cpu_seconds", Double, nullable=False),
    # A job that is no array has no task: that no row is there twice is seen to by who writes.
    Index("jobs_by_sequence", "sequence_id", "job_id", "task", "ordinal"),
    **_OPTIONS,
)

software = Table(
    "software",
    metadata,
    _id(),
    Column("digest", String(_HASH), nullable=False, unique=True),
    Column("environment", String(_HASH), nullable=False),
    Column("versions", JSON, nullable=False),
    **_OPTIONS,
)

software_versions = Table(
    "software_versions",
    metadata,
    Column("software_id", _to("software"), primary_key=True, autoincrement=False),
    Column("name", String(_WORD), primary_key=True),
    Column("version", String(_WORD), nullable=False),
    Index("software_by_version", "name", "version"),
    **_OPTIONS,
)

parameter_sets = Table(
    "parameter_sets",
    metadata,
    _id(),
    Column("digest", String(_HASH), nullable=False, unique=True),
    Column("parameters", JSON, nullable=False),
    **_OPTIONS,
)

tries = Table(
    "tries",
    metadata,
    _id(),
    Column("uid", String(_WORD), nullable=False),
    Column("night_id", _to("nights"), nullable=False),
    Column("run", Integer, nullable=False),
    Column("subrun", Integer),
    Column("step", String(_WORD), nullable=False),
    Column("program", String(_WORD), nullable=False),
    Column("package", String(_WORD), nullable=False),
    Column("version", String(_WORD), nullable=False),
    Column("prod_id", String(_WORD), nullable=False),
    Column("started", UtcTime, nullable=False),
    Column("ended", UtcTime),
    Column("status", String(16), nullable=False),
    Column("exit_code", Integer),
    Column("reason", Text, nullable=False),
    Column("host", String(_NAME), nullable=False),
    Column("user", String(_WORD), nullable=False),
    Column("job", String(_HASH)),
    Column("task", Integer),
    Column("restart", Integer),
    Column("wall_time", Double, nullable=False),
    Column("cpu_time", Double, nullable=False),
    Column("peak_memory", Double, nullable=False),
    Column("software_id", _to("software"), nullable=False),
    Column("parameter_set_id", _to("parameter_sets"), nullable=False),
    Index("tries_by_uid", "uid", unique=True),
    Index("tries_by_run", "run", "subrun"),
    Index("tries_by_night", "night_id", "run", "subrun"),
    Index("tries_by_software", "software_id"),
    Index("tries_by_version", "package", "version"),
    **_OPTIONS,
)

entities = Table(
    "entities",
    metadata,
    _id(),
    Column("uid", String(_WORD), nullable=False),
    Column("kind", String(_WORD), nullable=False),
    Column("name", String(_NAME), nullable=False),
    Column("location", String(_PATH), nullable=False),
    Column("size", BigInteger),
    Column("modified", BigInteger),
    Column("sha256", String(_HASH)),
    Column("sample", String(_HASH)),
    Column("night", String(10)),
    Column("run", Integer),
    Column("subrun", Integer),
    Column("try_id", _to("tries")),
    Column("made_at", UtcTime),
    Column("replaced_at", UtcTime),
    Column("archived", String(_NAME)),
    Index("entities_by_uid", "uid", unique=True),
    Index("entities_by_name", "name"),
    Index("entities_by_sha256", "sha256"),
    Index(
        "entities_by_location",
        "location",
        mysql_length={"location": _INDEXED_PATH},
        mariadb_length={"location": _INDEXED_PATH},
    ),
    Index("entities_by_try", "try_id"),
    **_OPTIONS,
)

roles = Table(
    "roles", metadata, _id(), Column("name", String(_NAME), nullable=False, unique=True), **_OPTIONS
)

uses = Table(
    "uses",
    metadata,
    Column("try_id", _to("tries"), primary_key=True, autoincrement=False),
    Column("entity_id", _to("entities"), primary_key=True, autoincrement=False),
    Column("role_id", _to("roles"), primary_key=True, autoincrement=False),
    Column("is_configuration", Boolean, nullable=False),
    Index("uses_by_entity", "entity_id"),
    sqlite_with_rowid=False,
    **_OPTIONS,
)
