"""Segmentation from a folder of pairs to an evaluated run, through the real commands."""

from __future__ import annotations

import base64
import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from scenes import CONFIG, IGNORE, NAMES, scene, write_scenes
from sklearn.metrics import jaccard_score

from cnnkit.cli import cli
from cnnkit.config.load import load_config
from cnnkit.errors import CnnkitError
from cnnkit.runs.directory import Run
from cnnkit.runs.evaluation import evaluate_run
from cnnkit.runs.trained import open_run
from cnnkit.terminal.console import Console
from cnnkit.training.train import train


def run_command(*arguments: str) -> tuple[int, str]:
    """The command in this process: its exit code, and what it says."""
    result = CliRunner().invoke(cli, arguments)
    if isinstance(result.exception, CnnkitError):
        return result.exception.exit_code, str(result.exception)
    return result.exit_code, result.output


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run on 60 made scenes, evaluated by `train` itself; tests may add files to it, and nothing else."""
    folder = tmp_path_factory.mktemp("scenes")
    for split, first, count in (("train", 0, 40), ("val", 40, 8), ("test", 48, 12)):
        write_scenes(folder / "scenes" / split, count, first)
    shutil.copy(folder / "scenes" / "train" / "classes.txt", folder / "scenes")
    (folder / "net.yaml").write_text(CONFIG.replace("FOLDER", "scenes"))
    opened = train(load_config(str(folder / "net.yaml")), Console(), str(folder / "run"))
    evaluate_run(opened)
    return opened.run


def test_serve_answers_with_masks_over_the_image(trained: Run) -> None:
    pytest.importorskip("fastapi", reason="needs the extra `serve`: pip install cnnkit[serve]")
    testclient = pytest.importorskip("fastapi.testclient", reason="needs httpx")
    from cnnkit.serve import create_app

    network, _ = open_run(trained).network()
    image, _ = scene(50)
    guess = np.asarray(network(image[None]))[0].argmax(axis=-1)
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    with testclient.TestClient(create_app([trained]), base_url="http://127.0.0.1") as client:
        (run,) = client.get("/runs").json()["runs"]
        assert (run["task"], run["kind"], run["headline"]["name"]) == ("segmentation", "mask", "mean_iou")
        assert (run["accuracy"], run["gradcam_layer"], list(run["facts"]["colours"])) == (None, None, list(NAMES))
        assert len(client.get("/examples").json()["examples"]) == 12
        (answer,) = client.post("/predict", content=file.getvalue()).json()["predictions"]
        shares = np.bincount(guess.ravel(), minlength=3) / guess.size
        assert answer["shares"] == pytest.approx(dict(zip(NAMES, shares, strict=True)), rel=1e-5)
        explained = client.post("/explain", content=file.getvalue()).json()
        refused = client.post("/explain?class=disc", content=file.getvalue())
    assert (explained["shares"], explained["gradcam"]) == (answer["shares"], None)
    with Image.open(io.BytesIO(base64.b64decode(explained["pictures"]["mask"].partition(",")[2]))) as mask:
        np.testing.assert_array_equal(np.asarray(mask), guess)
    assert refused.status_code == 404


def test_a_network_learns_scenes_and_its_figures_are_those_of_scikit_learn(trained: Run) -> None:
    opened = open_run(trained)
    network, _ = opened.network()
    images, masks = zip(*(scene(number) for number in range(48, 60)), strict=True)
    guesses = np.asarray(network(np.stack(images))).argmax(axis=-1)
    truth = np.stack(masks)
    counts = truth != IGNORE
    evaluation = json.loads(trained.evaluation.read_text())
    expected = jaccard_score(truth[counts], guesses[counts], average=None)
    assert evaluation["mean_iou"] == pytest.approx(expected.mean(), abs=1e-12)
    assert [row["iou"] for row in evaluation["per_class"]] == pytest.approx(list(expected), abs=1e-12)
    assert [row["class"] for row in evaluation["per_class"]] == list(NAMES)
    assert evaluation["pixel_accuracy"] == pytest.approx((truth == guesses)[counts].mean(), abs=1e-12)
    # The scenes are easy.
    assert evaluation["mean_iou"] > 0.8


def test_the_best_epoch_has_the_largest_mean_iou_of_the_validation_images(trained: Run) -> None:
    with trained.metrics.open() as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0])[1:7] == [
        "loss",
        "mean_iou",
        "pixel_accuracy",
        "val_loss",
        "val_mean_iou",
        "val_pixel_accuracy",
    ]
    best = max(rows, key=lambda row: (float(row["val_mean_iou"]), -float(row["val_loss"])))
    assert f"best epoch {best['epoch']}" in trained.log.read_text()


def test_predictions_name_each_image_with_its_own_figures(trained: Run) -> None:
    with trained.predictions.open() as stream:
        rows = list(csv.DictReader(stream))
    assert [Path(row["file"]).stem for row in rows] == [f"{number:03}" for number in range(48, 60)]
    evaluation = json.loads(trained.evaluation.read_text())
    pixels = np.array([int(row["pixels"]) for row in rows])
    right = np.array([float(row["pixel_accuracy"]) for row in rows]) * pixels
    assert right.sum() / pixels.sum() == pytest.approx(evaluation["pixel_accuracy"], abs=1e-5)


def test_eval_prints_each_class(trained: Run) -> None:
    code, output = run_command("eval", str(trained.path), "--split", "validation")
    assert code == 0, output
    for words in ("mean IoU", "pixel accuracy", *NAMES):
        assert words in output


def test_the_worst_masks_are_drawn_with_a_legend(trained: Run, tmp_path: Path) -> None:
    code, output = run_command("show", "mistakes", str(trained.path), "--count", "2", "-o", str(tmp_path / "m.png"))
    assert code == 0, output
    with Image.open(tmp_path / "m.png") as picture:
        assert picture.width > 600


def broken(folder: Path) -> None:
    """50 pairs, of which one mask has another name, one another size, one an unknown number, and one colours."""
    write_scenes(folder, 50)
    masks = folder / "masks"
    (masks / "003.png").rename(masks / "00B.png")
    Image.open(masks / "007.png").resize((16, 32)).save(masks / "007.png")
    strange = np.asarray(Image.open(masks / "011.png")).copy()
    strange[5, 5:8] = 77
    Image.fromarray(strange).save(masks / "011.png")
    Image.open(masks / "013.png").convert("RGB").save(masks / "013.png")


@pytest.mark.parametrize("memory", ["cache", "stream"])
def test_all_that_is_wrong_with_pairs_is_told_at_once_before_training(tmp_path: Path, memory: str) -> None:
    broken(tmp_path / "scenes")
    (tmp_path / "net.yaml").write_text(CONFIG.replace("FOLDER", "scenes"))
    arguments = ("--run-dir", str(tmp_path / "run"), "--set", f"data.memory={memory}")
    code, output = run_command("train", str(tmp_path / "net.yaml"), *arguments)
    assert code == 1
    assert "4 images or masks cannot be used" in output
    for words in (
        "images/003.png` has no mask, and the mask",
        "masks/007.png` is 32x16, but its image",
        "masks/011.png` holds 77 (3 pixels)",
        "masks/013.png` is a colour image (RGB)",
    ):
        assert words in output, output
    assert not (tmp_path / "run" / "metrics.csv").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("training.loss=Huber", "`Huber` has no meaning for masks"),
        (
            "training.loss={Dice: {reduction: sum}}",
            "`Dice` is a mean over the pixels that count; leave out `reduction`",
        ),
        ("training.loss={Sum: {losses: [Dice], reduction: sum}}", "`Sum` is a mean"),
        ("training.metrics=[AUC]", "`AUC` is for one label per image"),
        ("training.label_smoothing=0.1", "masks are not smoothed"),
        ("augmentation=[MixUp]", "MixUp"),
        ("model.layers[2].Conv2D.activation=sigmoid", "a pixel has one class"),
        ("model.layers[2].Conv2D.filters=5", "the network outputs 32x32x5, but the masks need 32x32x3"),
        ("task=segmentaton", "segmentaton"),
    ],
)
def test_what_has_no_meaning_for_masks_is_refused_in_its_place(tmp_path: Path, change: str, message: Any) -> None:
    write_scenes(tmp_path / "scenes", 6)
    (tmp_path / "net.yaml").write_text(CONFIG.replace("FOLDER", "scenes"))
    code, output = run_command("train", str(tmp_path / "net.yaml"), "--set", change)
    assert code == 2
    assert message in output


def test_sizes_that_a_network_cannot_halve_are_told_with_sizes_that_do(tmp_path: Path) -> None:
    write_scenes(tmp_path / "scenes", 6, size=30)
    text = CONFIG.replace("FOLDER", "scenes").replace("MaxPooling2D: 2", "MaxPooling2D: 4")
    (tmp_path / "net.yaml").write_text(text.replace("kernel_size: 2, strides: 2}", "kernel_size: 4, strides: 4}"))
    code, output = run_command("train", str(tmp_path / "net.yaml"))
    assert code == 2
    assert "images of 32x32 would do: `data.pad_to: 4`" in output
    code, output = run_command("inspect", str(tmp_path / "net.yaml"), "--set", "data.pad_to=4")
    assert code == 0, output
