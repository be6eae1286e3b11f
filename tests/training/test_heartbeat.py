"""The signs of life of a training."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from cnnkit.runs.directory import Run
from cnnkit.training import heartbeat
from cnnkit.training.ending import resume_hint


@pytest.fixture
def beating(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "beat.json"
    monkeypatch.setenv(heartbeat.VARIABLE, str(path))
    return path


def test_without_its_variable_there_is_no_thread_and_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(heartbeat.VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    heartbeat.beat()
    heartbeat.announce(tmp_path / "run")
    assert resume_hint(Run(Path("a b"))) == "Continue with: cnnkit train --resume 'a b'"
    assert [thread for thread in threading.enumerate() if thread.name == "heartbeat"] == []
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_announced_by_its_absolute_path_and_nothing_else_is_lost(
    beating: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(beating.parent)
    heartbeat.prepare(beating, 12, "cnnkit launch --workers 2")
    assert heartbeat.announced_run(beating) is None
    heartbeat.announce(Path("runs/a"))
    assert heartbeat.announced_run(beating) == str(beating.parent / "runs" / "a")
    assert json.loads(beating.read_text())["launcher"] == 12
    assert resume_hint(Run(Path("a b"))) == "Continue with: cnnkit launch --workers 2 train --resume 'a b'"


@pytest.mark.parametrize("content", ["", "[1]", "{", '{"run": 1}', '"run"'])
def test_a_damaged_file_announces_nothing(content: str, beating: Path) -> None:
    beating.write_text(content)
    assert heartbeat.announced_run(beating) is None


def test_a_folder_that_is_gone_ends_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(heartbeat.VARIABLE, str(tmp_path / "no folder" / "beat.json"))
    heartbeat.announce(tmp_path)
    assert heartbeat.last_beat(tmp_path / "no folder" / "beat.json") == 0
