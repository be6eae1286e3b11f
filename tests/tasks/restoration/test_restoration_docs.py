"""docs/restoration.md: its commands are carried out, on small pictures and for a few steps."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from commands import run as cnnkit
from PIL import Image
from small_pictures import save, smooth_picture

PAGE = (Path(__file__).parents[3] / "docs" / "restoration.md").read_text(encoding="utf-8")

#: What makes a training short.
SHORT = ("--set", "training.epochs=1", "--set", "task.restoration.iterations=2")
SMALL = ("--set", "data.image_size=[64,64]")

#: In the place of a network of hundreds of layers, which the page's first command trains.
FEW_LAYERS = ("--set", "model.layers=[{Conv2D: {filters: 3, kernel_size: 3, padding: same, activation: sigmoid}}]")


def shortened(arguments: list[str]) -> list[str]:
    """The command as the test runs it."""
    if arguments[0] == "restore":
        return [*arguments, *SHORT]
    if arguments[:2] == ["train", "denoise.yaml"]:
        return [*arguments, *SHORT, *SMALL, *FEW_LAYERS]
    return [*arguments, *SHORT, *SMALL] if arguments[0] == "train" else arguments


@pytest.mark.long
def test_the_commands_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    save(smooth_picture(40, 64), tmp_path / "photo.png")
    save(smooth_picture(16, 12), tmp_path / "small.png")
    mask = np.full((40, 64), 255, np.uint8)
    mask[10:20] = 0
    save(mask, tmp_path / "mask.png")
    commands = [
        shlex.split(line)[1:]
        for block in re.findall(r"^```bash\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
        for line in block.splitlines()
    ]
    assert len(commands) >= 10
    for arguments in commands:
        assert cnnkit(shortened(arguments), monkeypatch) == 0, (arguments, capsys.readouterr())
    for name, size in {"clean": (64, 40), "whole": (64, 40), "large": (48, 64)}.items():
        with Image.open(f"{name}.png") as picture:
            assert picture.size == size
