"""`predict` for a task whose answers are neither classes nor masks: the frame of table, CSV, JSON and pictures."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from brightness import BrightnessAnswers
from PIL import Image

from cnnkit.errors import UsageError
from cnnkit.runs.interface import Interface
from cnnkit.runs.predicting import Prediction, as_csv, as_json, as_table, picture_files, predict_images

INTERFACE = Interface((4, 4, 1), ("a", "b"), "softmax")
ANSWERS = BrightnessAnswers()


def network(images: Any) -> Any:
    return np.asarray(images, float).mean(axis=(1, 2, 3))


def grey(path: Path, value: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4), value).save(path)
    return path


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two images, and a file between them that is none."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "b.png").write_text("no image")
    return [
        grey(tmp_path / "in" / "a.png", 40),
        tmp_path / "in" / "b.png",
        grey(tmp_path / "in" / "deep" / "a.png", 80),
    ]


def predict(files: list[Path], **changes: Any) -> list[Prediction]:
    return predict_images(network, files, interface=INTERFACE, answers=ANSWERS, batch_size=2, **changes)


def test_each_form_holds_what_the_task_says_of_each_file(files: list[Path]) -> None:
    predictions = predict(files)
    table = as_table(predictions, ANSWERS).splitlines()
    assert table[0].split() == ["file", "brightness"]
    assert [line.split() for line in table[1:3]] == [[str(files[0]), "40.0"], [str(files[2]), "80.0"]]
    assert "1 of 3 files could not be read" in table[4]
    first, failed, last = csv.DictReader(io.StringIO(as_csv(predictions, ANSWERS)))
    assert (first["brightness"], first["error"], last["brightness"]) == ("40.0", "", "80.0")
    assert (failed["brightness"], "b.png" in failed["error"]) == ("", True)
    first, failed, last = json.loads(as_json(predictions))
    assert (first, last) == (
        {"file": str(files[0]), "brightness": 40.0},
        {"file": str(files[2]), "brightness": 80.0},
    )
    assert set(failed) == {"file", "error"}


def test_pictures_lie_as_the_images_do_and_are_told_in_json(files: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    predictions = predict(files, pictures=picture_files(files, out, ANSWERS.pictures))
    written = [path for path in out.rglob("*") if path.is_file()]
    assert sorted(written) == [out / "a.plain.png", out / "deep" / "a.plain.png"]
    assert np.asarray(Image.open(out / "deep" / "a.plain.png")).tolist() == [[80] * 4] * 4
    first, failed, last = json.loads(as_json(predictions))
    assert (first["pictures"], last["pictures"]) == ([str(out / "a.plain.png")], [str(out / "deep" / "a.plain.png")])
    assert "pictures" not in failed


def test_no_picture_is_written_over_another_file(tmp_path: Path) -> None:
    twins = [tmp_path / "cat.png", tmp_path / "cat.jpg", tmp_path / "dog.png"]
    out = tmp_path / "out"
    names = [path.name for paths in picture_files(twins, out, ["x"]) for path in paths]
    assert names == ["cat.png.x.png", "cat.jpg.x.png", "dog.x.png"]
    third = [*twins[:2], tmp_path / "cat.jpg.png"]
    assert len({path for paths in picture_files(third, out, ["x"]) for path in paths}) == 3
    out.mkdir()
    (out / "dog.x.png").touch()
    with pytest.raises(UsageError, match=r"dog\.x\.png` is there already"):
        picture_files(twins, out, ["x"])
    with pytest.raises(UsageError, match="is a file; expected a folder"):
        picture_files(twins, out / "dog.x.png", ["x"])
