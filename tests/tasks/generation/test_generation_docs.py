"""docs/generation.md: its commands are carried out, on few images and for an epoch."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from commands import run as cnnkit
from PIL import Image

PAGE = (Path(__file__).parents[3] / "docs" / "generation.md").read_text(encoding="utf-8")

#: What makes a training short.
SHORT = ("training.epochs=1", "data.splits.train=train[:1%]", "data.splits.test=test[:2%]")


@pytest.mark.long
def test_the_commands_of_the_page(
    tfds_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    commands = [
        shlex.split(line)[1:]
        for block in re.findall(r"^```bash\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
        for line in block.splitlines()
    ]
    assert len(commands) >= 10
    for arguments in commands:
        shortened = [part for value in SHORT for part in ("--set", value)] if arguments[0] == "train" else []
        assert cnnkit([*arguments, *shortened], monkeypatch) == 0, (arguments, capsys.readouterr())
    with Image.open("sheet.png") as sheet:
        # Eight rows and columns of 28 pixels, one pixel apart.
        assert sheet.size == (231, 231)
    assert len(list(Path("images").iterdir())) == 16
    assert "Nearest training images" in Path("runs/measured/report.html").read_text(encoding="utf-8")
