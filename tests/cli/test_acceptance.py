"""The shipped configs reach the accuracy that they are shipped for, on real data, by the real command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

CONFIGS = Path(__file__).parents[2] / "configs"


def accuracy_of(folder: Path, name: str, *arguments: str) -> float:
    """Trains a shipped config in a folder of its own and returns its test accuracy."""
    command = [sys.executable, "-m", "cnnkit", "train", str(CONFIGS / f"{name}.yaml"), "--run-dir", "run"]
    folder.mkdir(exist_ok=True)
    subprocess.run([*command, *arguments], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return float(json.loads((folder / "run" / "evaluation.json").read_text())["accuracy"])


def test_digits_reach_98_percent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    assert accuracy_of(tmp_path, "digits") >= 0.98


@pytest.mark.usefixtures("tfds_data")
def test_mnist_reaches_98_9_percent(tmp_path: Path) -> None:
    assert accuracy_of(tmp_path, "mnist") >= 0.989


@pytest.mark.usefixtures("tfds_data")
def test_mnist_lecture_reaches_98_percent_on_average(tmp_path: Path) -> None:
    reached = [accuracy_of(tmp_path / str(seed), "mnist_lecture", "--set", f"seed={seed}") for seed in range(3)]
    assert sum(reached) / 3 >= 0.98


@pytest.mark.usefixtures("tfds_data")
def test_mnist_fast_reaches_99_5_percent(tmp_path: Path) -> None:
    assert accuracy_of(tmp_path, "mnist_fast") >= 0.995


@pytest.mark.usefixtures("tfds_data")
def test_cifar10_reaches_85_percent(tmp_path: Path) -> None:
    # 86.5 % on three seeds; another processor's rounding is another draw.
    assert accuracy_of(tmp_path, "cifar10") >= 0.85
