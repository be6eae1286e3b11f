"""Trainings of two small networks on the bundled digits."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from small_adversaries import config
from trainings import assert_same, continued, killed_in, killed_in_epoch, run_training, state, write

from cnnkit.config.load import load_config
from cnnkit.runs.finding import find_run
from cnnkit.runs.trained import open_run
from cnnkit.tasks.generation.keras_objects import Adversaries
from cnnkit.tasks.generation.sampling import as_bytes, latents, samples
from cnnkit.terminal.console import Console
from cnnkit.training.train import resume, train


def test_a_latent_vector_follows_from_its_number_alone() -> None:
    many = latents(3, 2000, 16)
    np.testing.assert_array_equal(latents(3, 5, 16), many[:5])
    assert (latents(4, 5, 16) != many[:5]).all()
    assert abs(many.mean()) < 0.02
    assert abs(many.std() - 1) < 0.02


@pytest.mark.parametrize(
    "task", [{}, pytest.param({"loss": "hinge", "conditional": True, "r1_every": 1}, marks=pytest.mark.long)]
)
def test_a_run_keeps_the_averaged_generator_and_its_samples(task: dict[str, object], tmp_path: Path) -> None:
    trained = train(load_config(write(tmp_path, config(**task))), Console(), str(tmp_path / "run"))
    run = find_run(str(tmp_path / "run"))
    assert run.sheet(1).exists()
    (row,) = run.read_metrics()
    assert {"loss", "generator_loss", "real_right", "generated_right", "r1", "spread"} <= set(row)
    opened = open_run(run)
    vectors = latents(1, 6, 8)
    made = samples(opened, vectors)
    assert (made.shape, made.dtype) == ((6, 8, 8, 1), np.uint8)
    # Without cnnkit: of the vectors, and the classes in turn.
    taken = np.concatenate([vectors, np.eye(10, dtype=np.float32)[:6]], axis=1) if task else vectors
    outputs = keras.saving.load_model(run.model).predict(taken, verbose=0)
    np.testing.assert_allclose(made, as_bytes(outputs), atol=1)
    assert trained.interface.data_shape == (8, 8, 1)


def test_r1_is_the_squared_slope_at_real_images(tmp_path: Path) -> None:
    """For a discriminator w x + b, the slope is w everywhere."""
    from cnnkit.training.preparation import prepare

    content = config(r1=4.0, r1_every=1)
    content["model"]["discriminator"]["layers"] = ["Flatten", {"Dense": 1}]
    model = prepare(load_config(write(tmp_path, content))).model
    assert isinstance(model, Adversaries)
    (kernel, _) = model.discriminator.trainable_variables
    before = np.array(kernel)
    model.train_step((np.zeros((4, 8, 8, 1), np.uint8), np.eye(10, dtype=np.float32)[:4]))
    assert float(model.means["r1"].result()) == pytest.approx(4.0 / 2 * np.square(before).sum(), rel=1e-5)


@pytest.mark.long
def test_a_resumed_training_makes_the_same_samples(tmp_path: Path) -> None:
    content = config()
    content["training"]["epochs"] = 3
    train(load_config(write(tmp_path, content)), Console(), str(tmp_path / "whole"))
    content["training"]["epochs"] = 2
    train(load_config(write(tmp_path, content)), Console(), str(tmp_path / "parts"))
    resume(str(tmp_path / "parts"), None, ["training.epochs=3"], Console())
    whole, parts = find_run(str(tmp_path / "whole")), find_run(str(tmp_path / "parts"))
    assert whole.sheet(3).read_bytes() == parts.sheet(3).read_bytes()
    vectors = latents(1, 20, 8)
    np.testing.assert_array_equal(samples(open_run(whole), vectors), samples(open_run(parts), vectors))


@pytest.mark.long
def test_a_training_killed_within_an_epoch_makes_the_same_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in its first and again in its second epoch; the classes, dropout and the batch's deviation are on."""
    content = config(conditional=True, r1_every=4)
    content["model"]["discriminator"]["layers"].insert(2, "MinibatchStandardDeviation")
    content["augmentation"] = [{"RandomTranslation": {"height_factor": 0.1, "width_factor": 0.1}}]
    content["training"] |= {"epochs": 2, "checkpoint_minutes": 1e-9}
    whole = run_training(tmp_path, content, "whole")
    run = killed_in_epoch(0, monkeypatch, tmp_path, content)
    positions = [state(run)]
    with killed_in(1, monkeypatch):
        continued(run)
    positions.append(state(run))
    assert [position["epochs_done"] for position in positions] == [0, 1]
    # Of 1,437 images, 44 batches of 32.
    assert all(0 < position["step"] < 44 for position in positions)
    continued(run)
    assert_same(run, whole)
    for epoch in (1, 2):
        assert run.sheet(epoch).read_bytes() == whole.sheet(epoch).read_bytes()
    vectors = latents(1, 20, 8)
    np.testing.assert_array_equal(samples(open_run(run), vectors), samples(open_run(whole), vectors))


@pytest.mark.long
def test_a_discriminator_that_wins_and_samples_that_are_alike_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A generator that cannot learn makes the same black image of all noise, which is easily told."""
    content = config(r1=0.0)
    content["model"]["generator"]["layers"] = [
        {"Dense": {"units": 64, "activation": "tanh", "kernel_initializer": "zeros", "trainable": False}},
        {"Reshape": [8, 8, 1]},
        {"Conv2D": {"filters": 1, "kernel_size": 1, "bias_initializer": {"Constant": -3}, "activation": "tanh"}},
    ]
    content["training"] |= {"epochs": 14, "optimizer": {"Adam": {"learning_rate": 0.003}}}
    content["task"]["generation"]["average"] = 0.9
    train(load_config(write(tmp_path, content)), Console(), str(tmp_path / "run"))
    assert "the discriminator has won" in caplog.text
    assert caplog.text.count("the samples have collapsed") == 1
