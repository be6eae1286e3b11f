"""Segmentation from a folder of pairs to an evaluated run, through the real commands."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from exported_answers import check_same_answers, check_same_feature_maps
from PIL import Image
from scenes import CONFIG, IGNORE, NAMES, scene, write_scenes
from sklearn.metrics import jaccard_score

from cnnkit.cli import cli
from cnnkit.config.load import load_config
from cnnkit.errors import CnnkitError
from cnnkit.images.colours import rgb
from cnnkit.plots.sheets import Row
from cnnkit.report.single import write_report
from cnnkit.runs.directory import Run
from cnnkit.runs.evaluation import evaluate_run
from cnnkit.runs.trained import TrainedRun, open_run
from cnnkit.tasks.segmentation.colours import WRONG
from cnnkit.terminal.console import Console
from cnnkit.training.train import train


def run_command(*arguments: str) -> tuple[int, str]:
    """The command in this process: its exit code, and what it says."""
    result = CliRunner().invoke(cli, arguments)
    if isinstance(result.exception, CnnkitError):
        return result.exception.exit_code, str(result.exception)
    return result.exit_code, result.output


#: The layer of CONFIG at the smallest size.
BOTTOM = "1.Branches/paths.1.1.Conv2D"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run on 60 made scenes, evaluated by `train` itself; tests may add files to it, and nothing else."""
    folder = tmp_path_factory.mktemp("scenes")
    for split, first, count in (("train", 0, 40), ("val", 40, 8), ("test", 48, 12)):
        write_scenes(folder / "scenes" / split, count, first)
    shutil.copy(folder / "scenes" / "train" / "classes.txt", folder / "scenes")
    (folder / "net.yaml").write_text(CONFIG)
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
    with testclient.TestClient(create_app([open_run(trained)]), base_url="http://127.0.0.1") as client:
        (run,) = client.get("/runs").json()["runs"]
        assert (run["task"], run["kind"], run["headline"]["name"]) == ("segmentation", "mask", "mean_iou")
        assert (run["accuracy"], run["subjects"], list(run["facts"]["colours"])) == (None, list(NAMES), list(NAMES))
        assert run["gradcam_layer"] == BOTTOM
        assert len(client.get("/examples").json()["examples"]) == 12
        (answer,) = client.post("/predict", content=file.getvalue()).json()["predictions"]
        shares = np.bincount(guess.ravel(), minlength=3) / guess.size
        assert answer["shares"] == pytest.approx(dict(zip(NAMES, shares, strict=True)), rel=1e-5)
        explained = client.post("/explain", content=file.getvalue()).json()
        of_disc = client.post("/explain?class=disc", content=file.getvalue()).json()["gradcam"]
        refused = client.post("/explain?class=cat", content=file.getvalue())
    assert (explained["shares"], explained["gradcam"]["class"]) == (answer["shares"], NAMES[int(shares.argmax())])
    assert (of_disc["class"], of_disc["layer"]) == ("disc", BOTTOM)
    assert of_disc["overlay"] != explained["gradcam"]["overlay"]
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


def heat_by_hand(opened: TrainedRun, image: np.ndarray, number: int, pixels: Any) -> np.ndarray:
    """Grad-CAM at BOTTOM as Vinogradova et al. define it, layer by layer: the sum of logits over some pixels."""
    import tensorflow as tf

    model = opened.model
    fork = model.get_layer("1.Branches")
    before: Any = image[None].astype(np.float32)
    for layer in model.layers[: model.layers.index(fork)]:
        before = layer(before, training=False)
    features = fork.get_layer("paths.1.1.Conv2D")(fork.get_layer("paths.1.0.MaxPooling2D")(before))
    scoring = model.get_layer("2.Conv2D")
    with tf.GradientTape() as tape:
        tape.watch(features)
        merged = tf.concat([before, fork.get_layer("paths.1.2.Conv2DTranspose")(features)], axis=-1)
        logits = merged @ scoring.kernel[0, 0] + scoring.bias
        score = tf.reduce_sum(logits[0, ..., number][pixels])
    alphas = tape.gradient(score, features).numpy().mean(axis=(1, 2))
    heat = np.maximum((alphas * features.numpy()[0]).sum(axis=-1), 0)
    return heat / heat.max()


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Row]:
    """The rows of the sheets that are drawn."""
    rows: list[Row] = []
    monkeypatch.setattr("cnnkit.inside.show.sheet", lambda title, found, path, **_: rows.extend(found))
    return rows


def test_gradcam_is_that_of_the_pixels_that_are_taken_for_a_class(trained: Run, drawn: list[Row]) -> None:
    opened = open_run(trained)
    image, _ = scene(50)
    guess = np.asarray(opened.network()[0](image[None]))[0].argmax(axis=-1)
    code, output = run_command("show", "gradcam", str(trained.path), "2", "--class", "disc")
    assert code == 0, output
    _, mask, *maps = drawn[0].pictures
    shares = np.bincount(guess.ravel(), minlength=3) / guess.size
    order = np.argsort(-shares)
    assert [one.caption for one in maps] == [f"for {NAMES[n]}:\n{shares[n]:.1%} of the pixels" for n in order]
    for number, one in zip(order, maps, strict=True):
        expected = heat_by_hand(opened, image, number, guess == number)
        np.testing.assert_allclose(one.overlay, expected, rtol=1e-3, atol=1e-4)
    assert [picture.caption for picture in drawn[1].pictures] == list(NAMES)
    # Each pixel of the mask has the colour of its class over the image.
    colours = np.array([picture.image[0, 0] for picture in drawn[1].pictures], float)
    np.testing.assert_allclose(mask.image, (image + colours[guess]) / 2, atol=0.51)


def test_gradcam_of_mistakes_is_that_of_the_pixels_that_are_confused_most(trained: Run, drawn: list[Row]) -> None:
    opened = open_run(trained)
    code, output = run_command("show", "gradcam", str(trained.path), "--mistakes", "--count", "2")
    assert code == 0, output
    pictures = drawn[0].pictures
    assert len(pictures) == 8
    for picture, marked, for_taken, for_true in zip(*(pictures[start::4] for start in range(4)), strict=True):
        image, truth = scene(int(Path(picture.caption.splitlines()[0]).stem))
        guess = np.asarray(opened.network()[0](image[None]))[0].argmax(axis=-1)
        pairs = Counter(
            (NAMES[true], NAMES[said])
            for true, said in zip(truth.ravel(), guess.ravel(), strict=True)
            if true not in (said, IGNORE)
        )
        ((true, taken), number) = pairs.most_common(1)[0]
        assert marked.caption == f"{true} as {taken}:\n{number / (truth != IGNORE).sum():.1%} of the pixels"
        pixels = (truth == NAMES.index(true)) & (guess == NAMES.index(taken))
        assert ((marked.image == rgb(WRONG)).all(axis=-1) == pixels).all()
        for one, name in ((for_taken, taken), (for_true, true)):
            assert one.caption == f"for {name}\nin these pixels"
            expected = heat_by_hand(opened, image, NAMES.index(name), pixels)
            np.testing.assert_allclose(one.overlay, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.long
def test_gradcam_looks_at_any_layer(trained: Run, tmp_path: Path) -> None:
    name = "1.Branches/paths.1.2.Conv2DTranspose"
    pictures = []
    for options in ([], ["--layer", BOTTOM], ["--layer", name], ["--mistakes", "--layer", name]):
        image = [] if "--mistakes" in options else ["2"]
        path = tmp_path / f"{len(pictures)}.png"
        code, output = run_command("show", "gradcam", str(trained.path), *image, *options, "-o", str(path))
        assert code == 0, output
        pictures.append(path.read_bytes())
    assert pictures[0] == pictures[1]
    assert len(set(pictures)) == 3
    for layer, message in (("3.Conv2D", "has no layer `3.Conv2D`"), ("2.Conv", "has no layer `2.Conv`")):
        code, output = run_command("show", "gradcam", str(trained.path), "2", "--layer", layer)
        assert (code, message in output) == (2, True), output


@pytest.mark.long
def test_the_report_shows_grad_cam_beside_the_worst_masks(trained: Run, tmp_path: Path) -> None:
    text = write_report(open_run(trained), path=tmp_path / "report.html").read_text()
    assert f"<code>{BOTTOM}</code>" in text
    cards = text.split('<ul class="masks">')[1].split("</ul>")[0].split("<li")[1:]
    assert cards
    for card in cards:
        (taken,) = re.findall(r'taken for</span> <strong class="bad">(\w+)</strong>', card)
        assert f"<figcaption>for {taken}</figcaption>" in card
        assert card.count("<img") == 5


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
    (tmp_path / "net.yaml").write_text(CONFIG)
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
    (tmp_path / "net.yaml").write_text(CONFIG)
    code, output = run_command("train", str(tmp_path / "net.yaml"), "--set", change)
    assert code == 2
    assert message in output


def test_sizes_that_a_network_cannot_halve_are_told_with_sizes_that_do(tmp_path: Path) -> None:
    write_scenes(tmp_path / "scenes", 6, size=30)
    (tmp_path / "net.yaml").write_text(CONFIG)
    path = "model.layers[1].Branches.paths[1]"
    larger = ["--set", f"{path}[0]={{MaxPooling2D: 4}}"]
    larger += ["--set", f"{path}[2]={{Conv2DTranspose: {{filters: 8, kernel_size: 4, strides: 4}}}}"]
    code, output = run_command("train", str(tmp_path / "net.yaml"), *larger)
    assert code == 2
    assert "images of 32x32 would do: `data.pad_to: 4`" in output
    code, output = run_command("inspect", str(tmp_path / "net.yaml"), *larger, "--set", "data.pad_to=4")
    assert code == 0, output


@pytest.mark.long
def test_an_exported_network_gives_the_masks_of_the_run(trained: Run, tmp_path: Path) -> None:
    exported = check_same_answers(trained, tmp_path, views=("flip",))
    images = str(tmp_path / "odd")
    masks = []
    for name, folder in ((exported, "ours"), (trained.path, "expected")):
        run_command("predict", str(name), images, "--output", str(tmp_path / folder), "--tta", "flip")
        files = sorted((tmp_path / folder).rglob("*.mask.png"))
        assert len(files) == 12
        masks.append(np.concatenate([np.asarray(Image.open(file)).ravel() for file in files]))
    assert np.ptp(masks[1]) == 2
    # Where two classes are as likely, rounding decides.
    assert (masks[0] == masks[1]).mean() > 0.999
    check_same_feature_maps(trained, exported, scene(50)[0][None])
