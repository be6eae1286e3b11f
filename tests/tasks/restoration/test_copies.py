"""Smaller copies, from which a network learns to enlarge a picture: against Pillow, SciPy, and in a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import run as cnnkit
from PIL import Image
from scipy.linalg import null_space
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
from cnnkit.tasks.restoration.copies import lessons_of_copies
from cnnkit.tasks.restoration.evaluation import read_evaluation, read_iterations
from cnnkit.tasks.restoration.observation import observe, shrinking_matrix, shrunk
from cnnkit.tasks.restoration.smooth import enlarged, enlarging_matrix


@pytest.mark.parametrize(("size", "times"), [(12, 2), (40, 4), (21, 3), (16, 16)])
def test_an_enlargement_is_the_smoothest_of_all_that_agree(size: int, times: int) -> None:
    """Among all that differ by what the filter ignores, as least squares find it."""
    shrinking = shrinking_matrix(size, times).astype(np.float64)
    values = np.random.default_rng(1).random(size // times)
    ignored = null_space(shrinking)
    any_one = np.linalg.pinv(shrinking) @ values
    # The border's values are repeated.
    differences = np.diff(np.pad(np.eye(size), ((1, 1), (0, 0)), mode="edge"), n=2, axis=0)
    change = np.linalg.lstsq(differences @ ignored, -differences @ any_one, rcond=None)[0]
    expected = any_one + ignored @ change
    np.testing.assert_allclose(enlarging_matrix(size, times) @ values, expected, atol=1e-8)


def test_pillow_makes_the_given_picture_of_an_enlarged_one() -> None:
    picture = smooth_picture(12, 15) / 255
    larger = enlarged(picture, 3)
    assert larger.shape == (36, 45, 3)
    for channel in range(3):
        image = Image.fromarray(larger[..., channel].astype(np.float32))
        smaller = np.asarray(image.resize((15, 12), Image.Resampling.BICUBIC))
        np.testing.assert_allclose(smaller, picture[..., channel], atol=1e-5)


@pytest.mark.parametrize("times", [2, 3])
def test_the_picture_is_the_truth_of_its_copies(times: int) -> None:
    pixels = smooth_picture(29, 34)
    lessons = lessons_of_copies(pixels, times)
    assert lessons.smooth.shape == lessons.given.shape == (2, 29 * times, 34 * times, 3)
    np.testing.assert_allclose(lessons.smooth[0], enlarged(pixels / 255, times).clip(0, 1), atol=1e-6)
    assert not lessons.counts[0].any()
    rows, columns = ((side - times + 1) // times * times for side in (29, 34))
    for down in range(times):
        for right in range(times):
            tile = np.s_[down * 29 : down * 29 + rows, right * 34 : right * 34 + columns]
            copied = pixels[down : down + rows, right : right + columns]
            np.testing.assert_allclose(lessons.truth[tile], copied / 255, atol=1e-6)
            again = enlarged(shrunk(copied, times) / 255, times).clip(0, 1)
            np.testing.assert_allclose(lessons.smooth[1][tile], again, atol=1e-6)
    # In each tile all but a border of four pixels.
    assert lessons.counts[1].sum() == times**2 * (rows - 8) * (columns - 8)
    assert np.std(lessons.given[0]) == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize(("times", "least"), [(2, 11), (3, 11), (5, 14)])
def test_a_picture_may_be_too_small_for_copies(times: int, least: int) -> None:
    assert lessons_of_copies(smooth_picture(least, 40), times).counts.any()
    for shape in ((least - 1, 40), (40, least - 1), (1, 1)):
        with pytest.raises(CnnkitError, match=f"{shape[0]}x{shape[1]}, and nothing could be learned") as raised:
            lessons_of_copies(smooth_picture(*shape), times)
        assert f"{least}x{least} pixels at least" in str(raised.value.hint)


@pytest.mark.parametrize(("scale", "factor"), [(2, 2), (4, 2), (3, 3)])
def test_a_step_learns_from_the_copies_alone(scale: int, factor: int) -> None:
    """Of ×4, a half is learned and the rest is smooth; a network of one convolution of 1x1 is the same both ways."""
    import keras
    import tensorflow as tf

    from cnnkit.tasks.restoration.keras_objects import Corrector

    named = task_named("restoration")
    assert named is not None
    task = type(named).model_validate({"from_copies": 0.25, "average": 0.5})
    assert task.network_times(scale) == factor
    section = DataConfig.model_validate({"image": "any.png", "damage": {"scale": scale}})
    observation = observe(section, smooth_picture(48, 60))
    network = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(3, 1)])
    lessons = lessons_of_copies(observation.pixels, factor)
    model = Corrector(task, network, lessons, observation, (0, 0, 0, 0), 7)
    kernel, bias = (weight.numpy() for weight in network.weights)
    corrections = lessons.spread * (lessons.given @ kernel[0, 0] + bias)
    picture, error = model.judged(tf.constant(3, tf.int64))
    expected = lessons.smooth[0] + 0.25 * corrections[0]
    if scale > factor:
        expected = enlarged(expected, scale // factor)
    np.testing.assert_allclose(picture, expected, atol=1e-4)
    squares = np.square(lessons.smooth[1] + corrections[1] - lessons.truth)
    assert float(error) == pytest.approx(squares[lessons.counts[1]].mean(), rel=1e-4)


def copying(image: str, **data: Any) -> dict[str, Any]:
    """A small network that learns from copies, for 24 steps."""
    content = config(image, data={"image": image, **(data or {"damage": {"scale": 2}})})
    content["task"] = {"restoration": {"iterations": 8, "from_copies": 0.5, "average": 0.8}}
    content["model"]["layers"][-1] = {"Conv2D": {"filters": "image_channels", "kernel_size": 1}}
    content["training"]["optimizer"]["Adam"]["learning_rate"] = 1e-3
    return content


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("copies")
    trained = run_training(folder, copying(save(smooth_picture(48, 40), folder / "photo.png")), "run")
    evaluate_run(open_run(trained))
    return trained


@pytest.mark.long
def test_the_restored_picture_is_the_given_one_made_smaller(run: Run) -> None:
    restored = np.asarray(Image.open(run.restored))
    assert restored.shape == (48, 40, 3)
    # Both are rounded, and cut off at black and white.
    assert np.abs(shrunk(restored, 2).astype(int) - shrunk(smooth_picture(48, 40), 2)).mean() < 1
    columns, evaluation = read_iterations(run), read_evaluation(run)
    assert evaluation["iteration"] == 24
    assert evaluation["psnr"] == pytest.approx(columns["psnr"][-1], abs=0.05)


@pytest.mark.long
def test_killed_and_resumed_it_is_the_same(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed = killed_in_epoch(1, monkeypatch, tmp_path, copying(str(run.path.parent / "photo.png")))
    continued(killed)
    assert_same(killed, run)
    assert killed.restored.read_bytes() == run.restored.read_bytes()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["task.restoration.held_out=0.1"], "`held_out` is of a picture that is made of noise.*`from_copies`"),
        (["task.restoration.hidden=0.1", "data.damage.missing=0.5"], "leave out `from_copies` or `hidden`"),
        (["data.damage=null"], "the picture keeps its size.*enlarge: 4"),
        (["data.damage.noise=10"], "neither noise nor missing pixels"),
        (["data.pad_to=32"], "leave out `pad_to`"),
        (["task.restoration.from_copies=1.5"], "from_copies"),
        (["model.layers.1.Conv2D.activation=sigmoid"], "of either sign"),
        (["model.layers.1.Conv2D.strides=2"], "outputs 64x64x3, but the picture is 128x128x3"),
    ],
)
def test_what_does_not_go_with_copies(changes: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_config(str(shipped.find("enlarge")), changes)


@pytest.mark.long
def test_restore_enlarges_a_small_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    small = smooth_picture(21, 14)
    save(small, tmp_path / "small.png")
    short = ["--set", "training.epochs=1", "--set", "task.restoration.iterations=4"]
    command = ["restore", "enlarge", "small.png", *short]
    assert cnnkit([*command, "--scale", "6", "-o", "large.png"], monkeypatch) == 0, capsys.readouterr()
    large = np.asarray(Image.open("large.png"))
    assert large.shape == (126, 84, 3)
    assert np.abs(shrunk(large, 6).astype(int) - small).mean() < 1
    capsys.readouterr()
    assert cnnkit([*command, "-o", "same.png"], monkeypatch) == 2
    assert "the picture keeps its size" in capsys.readouterr().err
