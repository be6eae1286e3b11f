"""What is said before a picture is restored that takes hours, or more memory than there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from cnnkit.config import shipped
from cnnkit.config.load import LoadedConfig, load_config
from cnnkit.tasks.restoration import expectation

MANY = 1 << 50


def photograph(folder: Path, height: int, width: int, *overrides: str) -> LoadedConfig:
    Image.new("L", (width, height)).save(folder / "photo.png", compress_level=1)
    own = (f"data.image={folder / 'photo.png'}", "data.damage=null", "data.image_size=null", "data.resize=stretch")
    return load_config(str(shipped.find("dip_denoise")), (*own, *overrides))


@pytest.fixture(autouse=True)
def memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expectation, "reachable_memory", lambda: MANY)


def said(loaded: LoadedConfig) -> str:
    return " ".join(loaded.config.task.warnings(loaded))


def test_nothing_is_said_of_what_takes_minutes(tmp_path: Path) -> None:
    assert said(photograph(tmp_path, 256, 256)) == ""
    assert said(photograph(tmp_path, 3000, 4000, "data.image_size=[384,512]")) == ""


def test_hours_are_told_and_the_size_that_is_advised_takes_less(tmp_path: Path) -> None:
    text = said(photograph(tmp_path, 3000, 4000))
    assert text.startswith("2,500 iterations at 3000x4000 take about 12 hours on two cores. A smaller picture")
    assert "memory" not in text
    (advice,) = re.findall(r"--set (data\.image_size=\[\d+,\d+\])", text)
    smaller = photograph(tmp_path, 3000, 4000, advice)
    assert said(smaller) == ""
    height, width = smaller.info.shape[:2]
    assert height / width == pytest.approx(0.75, rel=0.02)
    assert "days" in said(photograph(tmp_path, 3000, 4000, "task.restoration.iterations=1000"))


@pytest.mark.parametrize("more", [("data.enlarge=4",), ("data.damage={scale: 3}",)])
def test_the_advised_size_is_that_of_the_file(more: tuple[str, ...], tmp_path: Path) -> None:
    (advice,) = re.findall(r"--set (data\.image_size=\S+\])", said(photograph(tmp_path, 1500, 2100, *more)))
    assert said(photograph(tmp_path, 1500, 2100, *more, advice)) == ""


def test_memory_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a picture of 1200x1600, the process had 5.5 GiB."""
    loaded = photograph(tmp_path, 1200, 1600, "training.epochs=1")
    assert said(loaded) == ""
    monkeypatch.setattr(expectation, "reachable_memory", lambda: 4 << 30)
    text = said(loaded)
    assert re.search(r"and about 5\.[3-7] GiB of memory, of which 4\.0 GiB are free", text)
    (advice,) = re.findall(r"--set (data\.image_size=\S+\])", text)
    assert said(photograph(tmp_path, 1200, 1600, "training.epochs=1", advice)) == ""
