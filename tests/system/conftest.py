"""What the tests of files and of moves share."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest


@pytest.fixture
def break_os(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make a function of ``os`` fail from its n-th call on."""

    def make(name: str, code: int, *, after: int = 0) -> None:
        real, calls = getattr(os, name), []

        def broken(*args: object, **kwargs: object) -> object:
            calls.append(args)
            if len(calls) > after:
                raise OSError(code, os.strerror(code))
            return real(*args, **kwargs)

        monkeypatch.setattr(os, name, broken)

    return make
