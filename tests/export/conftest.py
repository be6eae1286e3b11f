"""Exports that take less time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cnnkit.export import speed


@pytest.fixture(scope="session", autouse=True)
def _hasty_measurements() -> Iterator[None]:
    """What is measured is not looked at."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speed, "SECONDS", 0.05)
        yield
