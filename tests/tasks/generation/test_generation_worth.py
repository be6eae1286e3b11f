"""What a classifier measures of made images, how classes die, and what one asks a trained generator for."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from commands import run as cnnkit
from PIL import Image

from cnnkit.config.load import load_config
from cnnkit.errors import ConfigError
from cnnkit.runs.directory import Run
from cnnkit.tasks.generation.classifier import Classifier, Seen, check_classifier, open_classifier
from cnnkit.tasks.generation.evaluation import by_classifier, class_rows, dead_classes, tell_of_another
from cnnkit.tasks.generation.making import between

NAMES = ("cat", "dog", "owl")


class StubClassifier(Classifier):
    """One whose answers the tests make."""

    names = NAMES

    def __init__(self) -> None:
        pass

    def as_json(self) -> dict[str, Any]:
        return {"run": "runs/stub"}


def seen(classes: list[int], certainty: float, features: np.ndarray) -> Seen:
    rest = (1 - certainty) / 2
    probabilities = np.full((len(classes), 3), rest, np.float32)
    probabilities[np.arange(len(classes)), classes] = certainty
    return Seen(probabilities, features.astype(np.float32))


def test_equal_images_are_as_far_as_their_floor_and_others_farther() -> None:
    drawn = np.random.default_rng(1)
    real = seen([0, 1, 2] * 200, 0.95, drawn.standard_normal((600, 4)))
    equal = seen([0, 1, 2] * 200, 0.95, drawn.standard_normal((600, 4)))
    other = seen([0] * 600, 0.5, drawn.standard_normal((600, 4)) * 0.2 + 2)
    labels = np.array([0, 1, 2] * 200)
    good, poor = (by_classifier(StubClassifier(), real, made, labels, seed=0) for made in (equal, other))
    assert good["compared"] == poor["compared"] == 300
    assert good["floor"] == poor["floor"]
    assert good["frechet"] < 3 * good["floor"]["frechet"] < poor["frechet"] / 10
    assert abs(good["kernel"]) < poor["kernel"] / 10
    assert good["coverage"] > 0.9 > 0.2 > poor["coverage"]
    assert (good["accepted"], good["real_accepted"], poor["accepted"]) == (1, 1, 0)
    assert good["classifier"] == {"run": "runs/stub", "accuracy": 1}


def test_a_class_is_dead_that_is_hardly_made_beside_its_share_of_the_real_images() -> None:
    made = seen([0] * 97 + [1] * 3, 0.9, np.zeros((100, 1)))
    rows = class_rows(NAMES, np.array([0] * 60 + [1] * 20 + [2] * 20), made)
    assert [row["share"] for row in rows] == pytest.approx([0.97, 0.03, 0])
    assert [row["real_share"] for row in rows] == pytest.approx([0.6, 0.2, 0.2])
    assert rows[2]["accepted"] is None
    assert dead_classes(rows) == ["owl"]


def test_obedience_counts_the_classes_that_were_asked_for() -> None:
    features = np.random.default_rng(2).standard_normal((40, 2))
    real, made = (seen([0, 1] * 20, 0.9, features) for _ in range(2))
    asked = [0, 1] * 10 + [1, 1] * 10
    metrics = by_classifier(StubClassifier(), real, made, np.array([0, 1] * 20), seed=0, asked=asked)
    assert metrics["obeyed"] == pytest.approx(0.75)


def test_the_way_between_vectors_is_an_arc_in_even_steps() -> None:
    first, second = np.array([3, 0], np.float32), np.array([0, 3], np.float32)
    way = between(first, second, 3)
    angles = np.degrees(np.arctan2(way[:, 1], way[:, 0]))
    assert np.linalg.norm(way, axis=1) == pytest.approx([3, 3, 3])
    assert angles == pytest.approx([0, 30, 60], abs=1e-4)
    assert between(first, first, 2) == pytest.approx(np.stack([first, first]))


def test_a_classifier_that_was_trained_again_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = Run(tmp_path)
    before = {"run": "runs/one", "sha256": "a" * 64, "layer": "3.Dense", "features": 9, "accuracy": 0.9}
    # There is nothing to compare with yet.
    tell_of_another(run, before)
    run.write_json(run.evaluation, {"images": 9, "samples": 9, "seed": 1, "spread": 1.0, "classifier": before})
    tell_of_another(run, before)
    assert caplog.text == ""
    tell_of_another(run, {**before, "sha256": "b" * 64})
    assert "the classifier `runs/one` was trained again since (model.keras aaaaaaaa then, bbbbbbbb now)" in caplog.text
    tell_of_another(run, {**before, "run": "runs/two", "sha256": "b" * 64})
    assert "the classifier `runs/two` is another one than `runs/one`, which measured it" in caplog.text


def test_features_are_what_the_last_layer_takes(digits_run: Run) -> None:
    """Against the network's own last layer: of the features it makes what the network says."""
    classifier = open_classifier(str(digits_run.path))
    images = np.random.default_rng(3).integers(0, 256, (5, 8, 8, 1), np.uint8)
    looked = classifier.see(images)
    assert looked.features.shape == (5, classifier.features)
    model = classifier.trained.model
    last = [layer for layer in model.layers if layer.weights][-1]
    after = model.layers[model.layers.index(last) :]
    outputs = looked.features
    for layer in after:
        outputs = layer(outputs)
    np.testing.assert_allclose(looked.probabilities, np.asarray(outputs), atol=1e-5)
    np.testing.assert_allclose(looked.probabilities, np.asarray(model(images)), atol=1e-5)


def config(folder: Path, classifier: str) -> Path:
    """A small generator of the bundled digits."""
    last = {"filters": 1, "kernel_size": 4, "strides": 2, "padding": "same", "activation": "tanh"}
    layers = {
        "generator": [{"Dense": 128}, {"Reshape": [4, 4, 8]}, "ReLU", {"Conv2DTranspose": last}],
        "discriminator": [{"Conv2D": {"filters": 8, "kernel_size": 3, "strides": 2}}, "ReLU", "Flatten", {"Dense": 1}],
    }
    tree = {
        "seed": 3,
        "task": {"generation": {"latent": 8, "classifier": classifier}},
        "data": {"name": "digits", "batch_size": 64},
        "model": {name: {"layers": stack} for name, stack in layers.items()},
        "training": {"epochs": 1, "optimizer": {"Adam": {"learning_rate": 0.002, "beta_1": 0.5}}},
    }
    path = folder / "gan.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


def test_a_classifier_belongs_to_the_config_file_and_has_to_fit(digits_run: Run, tmp_path: Path) -> None:
    (tmp_path / "own").symlink_to(digits_run.path)
    loaded = load_config(str(config(tmp_path, "own")))
    assert loaded.config.task.arguments()["classifier"] == str(tmp_path / "own")
    info = loaded.info
    assert check_classifier(str(digits_run.path), info) is None
    larger = replace(info, sample=replace(info.sample, made_shape=(16, 16, 1)))
    assert "takes images 8x8x1, but those of the data set are 16x16x1" in str(
        check_classifier(str(digits_run.path), larger)
    )
    others = replace(info, target=replace(info.target, names=tuple("abcdefghij")))
    assert "both need the same, in the same order" in str(check_classifier(str(digits_run.path), others))
    with pytest.raises(ConfigError, match=r"there is no run `.*none`, which should measure made images; bring it back"):
        load_config(str(config(tmp_path, "none")))


@pytest.mark.long
def test_a_generator_is_measured_asked_and_reported_on(
    digits_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    config(tmp_path, str(digits_run.path))
    assert cnnkit(["train", "gan.yaml", "--run-dir", "run"], monkeypatch) == 0
    evaluation = json.loads(Path("run/evaluation.json").read_text())
    assert evaluation["samples"] == evaluation["images"] == 2 * evaluation["compared"]
    assert sum(row["share"] for row in evaluation["per_class"]) == pytest.approx(1)
    # After its only epoch, as many are accepted of other latent vectors.
    with Path("run/metrics.csv").open() as rows:
        (row,) = csv.DictReader(rows)
    assert float(row["accepted"]) == pytest.approx(evaluation["accepted"], abs=0.1)
    # The floor says of real images what is to be expected of equal distributions.
    assert evaluation["floor"]["coverage"] == pytest.approx(1 - 2**-5, abs=0.06)
    assert evaluation["classifier"]["run"] == str(digits_run.path)
    # After one epoch, classes are missing, which is said.
    assert "of 1,000 made images hardly any is" in capsys.readouterr().err
    assert cnnkit(["eval", "run", "--json"], monkeypatch) == 0
    assert json.loads(Path("run/evaluation.json").read_text()) == evaluation
    for arguments in (
        ["generate", "run", "-n", "6", "--seed", "1", "-o", "six.png"],
        ["generate", "run", "-n", "3", "--seed", "1", "-o", "three"],
        ["generate", "run", "-n", "2", "--interpolate", "-o", "walk.gif"],
        ["generate", "run", "-n", "2", "--interpolate", "-o", "rows.png"],
        ["show", "mistakes", "run"],
        ["report", "run"],
    ):
        assert cnnkit(arguments, monkeypatch) == 0, (arguments, capsys.readouterr().err)
    with Image.open("six.png") as sheet:
        # Three columns of 8 pixels, one pixel apart.
        assert sheet.size == (26, 17)
        cells = [np.asarray(sheet)[:8, left : left + 8] for left in (0, 9, 18)]
    for number, cell in enumerate(cells):
        with Image.open(f"three/{number:04}.png") as single:
            np.testing.assert_array_equal(np.asarray(single), cell)
    with Image.open("walk.gif") as walk:
        assert walk.n_frames > 2
    page = Path("run/report.html").read_text()
    assert "Nearest training images" in page
    assert "could not be made" not in page
    for arguments, message in {
        ("run", "-o", "six.png"): "is there already",
        ("run", "--class", "ten", "-o", "new.png"): "there is no class `ten`",
        (str(digits_run.path), "-o", "new.png"): "makes no images: its task is classification",
        ("run", "-o", "new.jpg"): "expected a name that ends in .png",
    }.items():
        assert cnnkit(["generate", *arguments], monkeypatch) == 2
        assert message in capsys.readouterr().err
