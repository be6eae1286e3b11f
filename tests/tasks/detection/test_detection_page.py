"""docs/detection.md, carried out on few images."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from commands import run as cnnkit
from PIL import Image

ROOT = Path(__file__).parents[3]

_ONE_EPOCH = ["--set", "training.epochs=1", "--set", "training.warmup_epochs=0"]

#: What makes commands of the page short.
SHORTER = {
    "python scripts/make_detection_data.py digits_boxes": ["--train", "24", "--val", "8", "--test", "6"],
    "cnnkit train detect_digits.yaml --run-dir runs/digits": _ONE_EPOCH,
    "cnnkit eject detect_digits.yaml": _ONE_EPOCH,
}


def commands() -> list[str]:
    text = (ROOT / "docs" / "detection.md").read_text("utf-8")
    return [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]


def test_the_page_has_the_commands_that_are_made_shorter() -> None:
    assert set(SHORTER) <= set(commands())


@pytest.mark.long
@pytest.mark.usefixtures("tfds_data")
def test_the_commands_of_the_page_do_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in commands():
        line, _, output = command.partition(" > ")
        program, *arguments = [*shlex.split(line), *SHORTER.get(command, [])]
        if program == "cnnkit":
            assert cnnkit(arguments, monkeypatch) == 0, f"{command}\n{capsys.readouterr()}"
            written = capsys.readouterr().out
        else:
            script = str(ROOT / arguments[0]) if arguments[0].startswith("scripts/") else arguments[0]
            done = subprocess.run([sys.executable, script, *arguments[1:]], capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
            written = done.stdout
        if output:
            Path(output).write_text(written, "utf-8")
    for picture in ("boxes.png", "mistakes.png", "drawn/00000.boxes.png"):
        with Image.open(tmp_path / picture) as image:
            assert min(image.size) >= 128
    assert len(json.loads((tmp_path / "found.json").read_text("utf-8"))["images"]) == 6
    assert (tmp_path / "found.csv").read_text("utf-8").startswith("file,class,score,left,top,right,bottom,error\n")
    assert len(list((tmp_path / "digits_yolo" / "train" / "labels").glob("*.txt"))) == 24
    assert len((tmp_path / "digits_table" / "boxes.csv").read_text("utf-8").splitlines()) > 36
