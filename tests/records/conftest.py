"""What the tests of records share."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from osa.records import identity
from osa.records.environment import account, installed_software, main_versions


@contextmanager
def _somebody() -> Iterator[None]:
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


@pytest.fixture
def somebody() -> Callable[[], AbstractContextManager[None]]:
    """Within this, be somebody who may not do everything; who may not read our packages, for one."""
    installed_software()
    main_versions()
    account()
    return _somebody


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter and write to."""
    folder = Path(tempfile.mkdtemp(dir="/dev/shm", prefix="osa-test-"))
    folder.chmod(0o777)
    yield folder
    for path in folder.rglob("*"):
        if path.is_dir():
            path.chmod(0o755)
    shutil.rmtree(folder)


@pytest.fixture
def as_user(open_folder: Path) -> Iterator[Path]:
    """Be somebody who may not do everything, in such a folder."""
    with _somebody():
        yield open_folder


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Tell the names of files that are read through for their hash, each time."""
    names: list[str] = []

    def counted(path: Path, *, sha256: Callable[[Path], str] = identity.sha256) -> str:
        names.append(path.name)
        return sha256(path)

    monkeypatch.setattr(identity, "sha256", counted)
    return names
