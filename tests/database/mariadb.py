"""A private MariaDB server in a folder, reached over 127.0.0.1 by an account with a password."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pymysql
import pytest

PASSWORD = "Geheim%40'\"$§ no-one's"
LIMIT = 30.0
PROGRAMS = ("mariadbd", "mariadb-install-db")
WHERE = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
INIT = """\
CREATE DATABASE osa;
CREATE USER 'osa'@'127.0.0.1' IDENTIFIED BY PASSWORD '{scrambled}';
GRANT ALL ON osa.* TO 'osa'@'127.0.0.1';
CREATE USER 'reader'@'127.0.0.1' IDENTIFIED BY PASSWORD '{scrambled}';
GRANT SELECT ON osa.* TO 'reader'@'127.0.0.1';
"""


@dataclass(frozen=True)
class Server:
    port: int
    password_file: Path

    def url(self, account: str = "osa", database: str = "osa", driver: str = "mysql+pymysql") -> str:
        return f"{driver}://{account}@127.0.0.1:{self.port}/{database}"

    def connect(self) -> pymysql.Connection:
        return pymysql.connect(
            host="127.0.0.1",
            port=self.port,
            user="osa",
            password=PASSWORD.encode(),
            database="osa",
            charset="utf8mb4",
        )


def scrambled(password: str) -> str:
    """The password as the server keeps it."""
    return "*" + hashlib.sha1(hashlib.sha1(password.encode()).digest()).hexdigest().upper()


def free_port() -> int:
    with socket.socket() as candidate:
        candidate.bind(("127.0.0.1", 0))
        return int(candidate.getsockname()[1])


@contextmanager
def run_server(folder: Path) -> Iterator[Server]:
    """Start a server, and stop it whatever happens."""
    missing = [name for name in PROGRAMS if not shutil.which(name, path=WHERE)]
    if missing:
        pytest.skip(f"{missing[0]} is not installed (Debian package mariadb-server)")
    if os.geteuid() != 0:
        pytest.skip("a MariaDB server of its own is started as root")
    password_file = folder / "password"
    password_file.touch(mode=0o600)
    password_file.write_text(f"{PASSWORD}\n", encoding="utf-8")
    (folder / "init.sql").write_text(INIT.format(scrambled=scrambled(PASSWORD)), encoding="utf-8")
    install = [
        "mariadb-install-db",
        "--no-defaults",
        "--user=root",
        f"--datadir={folder}/data",
        "--auth-root-authentication-method=socket",
        "--skip-test-db",
    ]
    environment = {**os.environ, "PATH": WHERE}
    subprocess.run(install, check=True, capture_output=True, timeout=LIMIT * 2, env=environment)
    server = Server(free_port(), password_file)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(_command(folder, server.port), stdout=log, stderr=log, env=environment)
    try:
        _await(server, process, folder / "log")
        yield server
    finally:
        process.terminate()
        try:
            process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _command(folder: Path, port: int) -> list[str]:
    # Where the tests are killed the server goes too.
    end_with_us = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
    return [
        *end_with_us,
        "mariadbd",
        "--no-defaults",
        "--user=root",
        f"--datadir={folder}/data",
        f"--socket={folder}/socket",
        f"--pid-file={folder}/pid",
        f"--init-file={folder}/init.sql",
        "--bind-address=127.0.0.1",
        f"--port={port}",
        "--skip-name-resolve",
        "--character-set-server=latin1",  # ours must not matter
        "--innodb-buffer-pool-size=32M",
        "--innodb-log-file-size=16M",
        "--innodb-flush-log-at-trx-commit=0",
        "--innodb-flush-method=nosync",
        "--performance-schema=OFF",
        "--key-buffer-size=1M",
    ]


def _await(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + LIMIT
    while True:
        try:
            server.connect().close()
            return
        except pymysql.Error as error:
            if process.poll() is not None or time.monotonic() > end:
                text = log.read_text(encoding="utf-8", errors="replace")[-2000:]
                pytest.fail(f"mariadbd does not answer ({error}):\n{text}")
        time.sleep(0.05)
