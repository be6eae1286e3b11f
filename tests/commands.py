"""The command as a terminal runs it, in this process."""

from __future__ import annotations

import sys

import pytest

from cnnkit import cli


def run(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """Runs `cnnkit` with arguments; its exit code."""
    monkeypatch.setattr(sys, "argv", ["cnnkit", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code
