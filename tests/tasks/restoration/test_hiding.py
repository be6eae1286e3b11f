"""Hidden pixels, from which a network learns to fill in a picture: against scikit-image, NumPy, and in a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import run as cnnkit
from PIL import Image
from small_pictures import config, save, smooth_picture
from trainings import assert_same, continued, killed_in_epoch, run_training

from cnnkit.config import shipped
from cnnkit.config.data import DataConfig
from cnnkit.config.load import load_config
from cnnkit.errors import CnnkitError, ConfigError
from cnnkit.runs.directory import Run
from cnnkit.runs.evaluation import evaluate_run
from cnnkit.runs.trained import open_run
from cnnkit.tasks import task_named
from cnnkit.tasks.restoration.evaluation import read_evaluation, read_iterations
from cnnkit.tasks.restoration.hiding import CHOICES, filled_in, lessons_of_hidden
from cnnkit.tasks.restoration.observation import Observation, observe

#: Half the pixels are known, or all but two spots.
HALF = np.random.default_rng(0).random((32, 32)) < 0.5
SPOTTED = np.ones((32, 32), bool)
SPOTTED[4:9, 20:26] = SPOTTED[20:23, 3:12] = False


@pytest.mark.parametrize("known", [HALF, SPOTTED], ids=["half", "spots"])
def test_a_filling_is_biharmonic(known: np.ndarray) -> None:
    """As scikit-image solves the equation, whose boundary is another."""
    inpaint = pytest.importorskip("skimage.restoration").inpaint_biharmonic
    picture = smooth_picture(32, 32) / 255
    filled = filled_in(np.where(known[..., None], picture, 0), known)
    np.testing.assert_array_equal(filled[known], picture[known])
    inner = (slice(3, -3), slice(3, -3))
    expected = inpaint(picture * known[..., None], ~known, channel_axis=-1).clip(0, 1)
    assert np.abs(filled - expected)[inner].mean() < 2e-3


def test_a_plane_is_filled_exactly() -> None:
    rows, columns = np.mgrid[0:20, 0:24]
    plane = np.stack([0.2 + 0.01 * rows + 0.02 * columns], axis=-1)
    known = np.ones((20, 24), bool)
    known[5:12, 8:20] = False
    np.testing.assert_allclose(filled_in(np.where(known[..., None], plane, 0), known), plane, atol=1e-9)


def test_hidden_pixels_are_a_share_of_the_known_ones() -> None:
    picture = np.where(HALF[..., None], smooth_picture(32, 32), 0).astype(np.uint8)
    lessons = lessons_of_hidden(picture, HALF, 0.2, seed=3)
    assert not lessons.counts[0].any()
    assert not (lessons.counts & ~HALF).any()
    shares = lessons.counts[1:].sum(axis=(1, 2)) / HALF.sum()
    # 512 draws of 0.2: within 4.5 standard deviations.
    assert len(shares) == CHOICES
    assert np.abs(shares - 0.2).max() < 4.5 * np.sqrt(0.2 * 0.8 / HALF.sum())
    assert len({hidden.tobytes() for hidden in lessons.counts}) == CHOICES + 1


def test_of_spots_others_like_them_are_hidden() -> None:
    picture = np.where(SPOTTED[..., None], smooth_picture(32, 32), 0).astype(np.uint8)
    lessons = lessons_of_hidden(picture, SPOTTED, 0.01, seed=3)
    for hidden in lessons.counts[1:]:
        # One of the two, moved to any place around the edges; a part of it may be missing there already.
        assert hidden.any()
        moved = [np.roll(hidden, (down, right), (0, 1)) for down in range(32) for right in range(32)]
        assert any(not (one & SPOTTED).any() for one in moved)
        assert hidden.sum() <= 30


def test_what_the_network_is_given_is_none_of_what_is_hidden() -> None:
    truth = smooth_picture(32, 32)
    picture = np.where(HALF[..., None], truth, 0).astype(np.uint8)
    lessons = lessons_of_hidden(picture, HALF, 0.2, seed=3)
    hidden = lessons.counts[5]
    other = picture.copy()
    other[hidden] = 255 - other[hidden]
    again = lessons_of_hidden(other, HALF, 0.2, seed=3)
    np.testing.assert_array_equal(again.smooth[5], lessons.smooth[5])
    np.testing.assert_allclose(again.given[5] * again.spread, lessons.given[5] * lessons.spread, atol=0.5)
    np.testing.assert_array_equal(lessons.given[5][..., 3], (HALF & ~hidden).astype(np.float32))


@pytest.mark.parametrize("known", [np.ones((8, 8), bool), np.zeros((8, 8), bool)])
def test_there_must_be_something_to_learn(known: np.ndarray) -> None:
    with pytest.raises(CnnkitError, match=r"nothing is missing|of 64 pixels 0 are known"):
        lessons_of_hidden(smooth_picture(8, 8), known, 0.2, seed=0)


def corrector(height: int, width: int, network: Any = None) -> tuple[Any, Observation, Any]:
    """A trainer whose network is one convolution of 1x1, which any turning leaves as it is."""
    import keras

    from cnnkit.tasks.restoration.keras_objects import Corrector

    named = task_named("restoration")
    assert named is not None
    task = type(named).model_validate({"hidden": 0.2, "average": 0.5})
    section = DataConfig.model_validate({"image": "any.png", "damage": {"missing": 0.4}})
    observation = observe(section, smooth_picture(height, width))
    network = network or keras.Sequential([keras.Input((None, None, 7)), keras.layers.Conv2D(3, 1)])
    lessons = lessons_of_hidden(observation.pixels, observation.known, 0.2, seed=3)
    made = Corrector(task, network, lessons, observation, (1, 2, 1, 2), 7)
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(network.trainable_variables)
    made.compile(optimizer=optimizer)
    return made, observation, lessons


@pytest.mark.parametrize(("height", "width"), [(16, 16), (16, 24)])
def test_a_step_learns_the_hidden_pixels_alone(height: int, width: int) -> None:
    import tensorflow as tf

    model, observation, lessons = corrector(height, width)
    kernel, bias = (weight.numpy() for weight in model.network.weights)
    corrected = lessons.smooth + lessons.spread * (lessons.given @ kernel[0, 0] + bias)
    errors = []
    for one, hidden in zip(corrected[1:], lessons.counts[1:], strict=True):
        errors.append(np.square(one - observation.pixels / 255)[hidden].mean())
    drawn = set()
    for number in range(20):
        picture, error = model.judged(tf.constant(number, tf.int64))
        np.testing.assert_allclose(picture, corrected[0], atol=1e-5)
        drawn.add(int(np.argmin(np.abs(np.array(errors) - float(error)))))
        assert np.abs(np.array(errors) - float(error)).min() < 1e-6
    assert len(drawn) > 8


def test_a_network_that_is_not_the_same_both_ways_is_turned() -> None:
    import keras
    import tensorflow as tf

    network = keras.Sequential([keras.Input((None, None, 7)), keras.layers.Conv2D(3, 3, padding="same")])
    model, _, _ = corrector(16, 16, network)
    pictures = {model.judged(tf.constant(number, tf.int64))[0].numpy().tobytes() for number in range(80)}
    assert len(pictures) == 8


def hiding(image: str) -> dict[str, Any]:
    """A small network that learns of hidden pixels, for 24 steps."""
    content = config(image, data={"image": image, "damage": {"missing": 0.5}})
    content["task"] = {"restoration": {"iterations": 8, "hidden": 0.2, "average": 0.8}}
    content["model"]["layers"][-1] = {"Conv2D": {"filters": "image_channels", "kernel_size": 1}}
    return content


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("hiding")
    trained = run_training(folder, hiding(save(smooth_picture(), folder / "photo.png")), "run")
    evaluate_run(open_run(trained))
    return trained


@pytest.mark.long
def test_the_last_average_is_the_picture(run: Run) -> None:
    columns = read_iterations(run)
    assert columns["iteration"] == list(range(1, 25))
    evaluation = read_evaluation(run)
    assert evaluation["iteration"] == 24
    assert evaluation["psnr"] == pytest.approx(columns["psnr"][-1], abs=0.05)
    truth, restored, damaged = (
        smooth_picture(),
        np.asarray(Image.open(run.restored)),
        np.asarray(Image.open(run.damaged)),
    )
    known = damaged.any(axis=-1)
    np.testing.assert_array_equal(restored[known], truth[known])


@pytest.mark.long
def test_killed_and_resumed_it_is_the_same(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed = killed_in_epoch(1, monkeypatch, tmp_path, hiding(str(run.path.parent / "photo.png")))
    continued(killed)
    assert_same(killed, run)
    assert killed.restored.read_bytes() == run.restored.read_bytes()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["task.restoration.patience=10"], "`patience` is of a picture that is made of noise"),
        (["task.restoration.input_noise=0.1"], "leave it out beside `hidden`"),
        (["data.damage=null"], "none are missing"),
        (["data.damage.noise=10"], "neither noise nor another size"),
        (["task.restoration.hidden=1"], "hidden"),
        (["model.layers.1.Conv2D.activation=sigmoid"], "of either sign"),
    ],
)
def test_what_does_not_go_with_hidden_pixels(changes: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_config(str(shipped.find("fill_in")), changes)


@pytest.mark.long
def test_restore_fills_in_what_a_mask_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    save(smooth_picture(), tmp_path / "photo.png")
    mask = np.full((32, 40), 255, np.uint8)
    mask[10:14, 5:25] = 0
    save(mask, tmp_path / "mask.png")
    save(np.full((32, 40), 255, np.uint8), tmp_path / "white.png")
    short = ["--set", "training.epochs=1", "--set", "task.restoration.iterations=4"]
    command = ["restore", "fill_in", "photo.png", "-o", "out.png", *short]
    assert cnnkit([*command, "--mask", "mask.png"], monkeypatch) == 0, capsys.readouterr()
    filled = np.asarray(Image.open("out.png"))
    np.testing.assert_array_equal(filled[mask > 0], smooth_picture()[mask > 0])
    capsys.readouterr()
    # Without a mask, or one that is all white, there is nothing to fill in.
    assert cnnkit(["restore", "fill_in", "photo.png", "-o", "other.png", *short], monkeypatch) == 2
    assert "none are missing" in capsys.readouterr().err
    assert cnnkit(["restore", "fill_in", "photo.png", "-o", "o.png", "--mask", "white.png", *short], monkeypatch) == 1
    assert "nothing is missing" in capsys.readouterr().err
