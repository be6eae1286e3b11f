"""Names that are not UTF-8, or control how others are shown, in all that cnnkit writes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from cnnkit.config.data import DataConfig
from cnnkit.plots.several_runs import curves_of_runs_figure
from cnnkit.plots.sheets import Picture, Row, sheet
from cnnkit.runs.directory import Run
from cnnkit.runs.interface import Interface
from cnnkit.runs.predicting import Prediction, as_table
from cnnkit.runs.trained import open_run
from cnnkit.task import LOSS
from cnnkit.tasks.classification.answers import ClassAnswer, ClassAnswers
from cnnkit.tasks.classification.predictions import Predictions, read_predictions
from cnnkit.terminal.printable import printable, printable_json


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("café", "café"),
        ("犬と猫 سلام", "犬と猫 سلام"),
        # A family of three is held together by joiners, and a Japanese space is a space.
        ("👨‍👩‍👧\u3000a b", "👨‍👩‍👧\u3000a b"),
        (os.fsdecode(b"caf\xe9"), r"caf\udce9"),
        ("a\nb\tc", r"a\nb\tc"),
        ("\x1b[2Jred\x9b", r"\x1b[2Jred\x9b"),
        ("exe.\u202egnp", r"exe.\u202egnp"),
        ("a\u2028b", r"a\u2028b"),
    ],
)
def test_what_is_no_text_is_escaped_and_all_else_stays(name: str, shown: str) -> None:
    assert printable(name) == shown
    assert len(shown.encode("utf-8").decode().splitlines()) == 1


def test_a_class_folder_that_is_not_utf8_has_a_name_that_all_can_hold(tmp_path: Path) -> None:
    from PIL import Image

    from cnnkit.data import labelled_folder, load

    folder = os.path.join(os.fsencode(tmp_path), b"d")
    for name in (b"caf\xe9", b"down"):
        os.makedirs(os.path.join(folder, name))
        for number in range(5):
            path = os.fsdecode(os.path.join(folder, name, b"%d\xff.png" % number))
            Image.new("RGB", (4, 4), (number, 0, 0)).save(path)
    data = load(DataConfig(folder=str(tmp_path / "d")), 0)
    assert data.info.class_names == (r"caf\udce9", "down")
    assert data.test is not None
    assert sorted(data.test.ids)[0].startswith(r"caf\udce9/")
    split = labelled_folder(tmp_path / "d", class_names=data.info.class_names, shape=(4, 4, 3))
    assert split.size == 10
    assert split.read([3])[0, 0, 0].tolist() == [3, 0, 0]


def test_predictions_of_such_classes_are_read_as_they_were_written(tmp_path: Path) -> None:
    """Runs of earlier versions have the name as it is on the disk in environment.json."""
    run = Run(tmp_path)
    data = {"class_names": ["caf\udce9", "a"], "image_shape": [4, 4, 1]}
    run.write_json(run.environment, {"model": {"head": "softmax"}, "data": data})
    names = open_run(run).interface.class_names
    labels, guesses, chances = np.array([0, 1]), np.array([0, 0]), np.array([[0.75, 0.25], [0.5, 0.5]])
    written = Predictions(names, ("x", "y"), labels, guesses, chances, lambda: None)  # type: ignore[arg-type,return-value]
    run.predictions.write_text(written.as_csv(), encoding="utf-8")
    found = read_predictions(open_run(run))
    assert found.class_names == (r"caf\udce9", "a")
    assert (found.labels.tolist(), found.predicted.tolist(), found.probabilities.tolist()) == (
        labels.tolist(),
        guesses.tolist(),
        chances.tolist(),
    )


def test_pictures_show_names_of_runs_escaped(tmp_path: Path) -> None:
    picture = Picture(np.zeros((4, 4, 3), np.uint8))
    sheet("Mistakes of \udce9-1", [Row("of a\x1b", [picture])], tmp_path / "a.png")
    sheet("Mistakes of \\udce9-1", [Row("of a\\x1b", [picture])], tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    rows = [{"epoch": 1.0, "loss": 1.0, "accuracy": 0.5}]
    (legend,) = curves_of_runs_figure({"caf\udce9\n$x$": rows}, [LOSS], [1]).legends
    assert legend.get_texts()[0].get_text() == r"caf\udce9\n\$x\$"


def test_the_table_of_predictions_has_one_line_for_each_file() -> None:
    name = "a\nb\x1b[31m\udce9.jpg"
    answers = ClassAnswers(Interface((8, 8, 1), ("cat", "dog"), "softmax"))
    read = Prediction(Path(name), ClassAnswer(answers.class_names, np.array([0.75, 0.25])))
    failed = Prediction(Path(name), error=f"cannot read `{name}`")
    lines = as_table([read, failed], answers).encode("utf-8").decode().splitlines()
    assert lines[1].split()[:2] == [r"a\nb\x1b[31m\udce9.jpg", "cat"]
    assert len(lines) == 5


def test_json_stays_json_with_its_own_escapes() -> None:
    value = {"name\u202e": ["\x1b[2J", "\x9b", "\u2028", "caf\udce9", "caf\u00e9 \u732b \U0001f600", 'a"b\\'], "n": 1.5}
    text = printable_json(value)
    assert json.loads(text) == value
    assert all(line.isprintable() for line in text.split("\n"))
    assert "caf\u00e9 \u732b \U0001f600" in text
