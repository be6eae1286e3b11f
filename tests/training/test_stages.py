"""Stages of a training: each is what Keras does when layers are frozen by hand, and none ends exact resuming."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from sharing import shared_run
from trainings import (
    Killed,
    assert_same,
    config,
    continued,
    killed_in,
    rows,
    run_training,
    state,
    write,
)

from cnnkit.config.load import load_config
from cnnkit.runs.directory import Run
from cnnkit.training.loop import Position
from cnnkit.training.preparation import prepare, training_batches

#: A head first, then a convolution with it; batch normalization stays frozen.
STAGES = [
    {"epochs": 2, "freeze": "all", "unfreeze": "head"},
    {"epochs": 2, "unfreeze": "stem", "optimizer": {"SGD": {"learning_rate": 0.01, "momentum": 0.9}}},
]


def staged(**training: Any) -> dict[str, Any]:
    """Dropout, augmentation and batch normalization are on, as are regularizers and a moving average."""
    regularized = {"filters": 8, "kernel_size": 3, "kernel_regularizer": {"L2": 0.01}}
    layers = [
        {"Conv2D": {**regularized, "name": "stem"}},
        "BatchNormalization",
        "ReLU",
        {"Residual": [{"Conv2D": {**regularized, "padding": "same"}}, "BatchNormalization"]},
        "Flatten",
        {"Dropout": 0.3},
        {"Dense": {"units": "classes", "activation": "softmax", "name": "head"}},
    ]
    section = {"epochs": 4, "optimizer": {"Adam": {"learning_rate": 0.01, "use_ema": True, "ema_momentum": 0.9}}}
    content = config(model={"layers": layers})
    return {**content, "training": {**section, "stages": STAGES, "tensorboard": False, **training}}


@pytest.fixture(scope="module")
def staged_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    yield from shared_run(tmp_path_factory, "staged", lambda folder: run_training(folder, staged(), "run"))


def test_a_stage_is_what_freezing_and_compiling_by_hand_is_in_keras(staged_run: Run, tmp_path: Path) -> None:
    """To the last bit, with `fit`; at a border, Keras leaves the averaged weights in the model."""
    content = staged()
    del content["training"]["stages"]
    prepared = prepare(load_config(write(tmp_path, content)))
    model = prepared.model
    losses = []

    def fit(optimizer: Any, epoch: int) -> None:
        model.compile(optimizer, keras.losses.CategoricalCrossentropy())
        batches = training_batches(prepared, Position(epoch), 2)
        steps = prepared.steps_per_epoch
        losses.extend(model.fit(batches, epochs=2, steps_per_epoch=steps, verbose=0, shuffle=False).history["loss"])

    head = model.get_layer("head")
    model.trainable = False
    model.trainable = head.trainable = True
    for layer in model.layers:
        layer.trainable = layer is head
    fit(keras.optimizers.Adam(0.01, use_ema=True, ema_momentum=0.9), 0)
    model.get_layer("stem").trainable = True
    fit(keras.optimizers.SGD(0.01, momentum=0.9), 2)

    assert [float(row["loss"]) for row in rows(staged_run)] == [float(f"{loss:.9g}") for loss in losses]
    with np.load(staged_run.checkpoint) as arrays:
        kept = [arrays[name] for name in arrays.files if name.startswith("model/")]
    for ours, theirs in zip(kept, model.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs.numpy())


def test_the_first_stage_leaves_what_is_frozen_as_it_was(staged_run: Run, tmp_path: Path) -> None:
    """Statistics of batch normalization too, in the second stage as well."""
    fresh = prepare(load_config(write(tmp_path, staged()))).model
    trained = keras.models.load_model(staged_run.model, compile=False)
    for name, frozen in (("1.BatchNormalization", True), ("3.Residual", True), ("stem", False), ("head", False)):
        pairs = zip(fresh.get_layer(name).get_weights(), trained.get_layer(name).get_weights(), strict=True)
        assert all(np.array_equal(before, after) for before, after in pairs) == frozen, name


@pytest.mark.long
def test_a_run_that_is_killed_between_two_stages_goes_on_as_if_nothing_had_happened(
    staged_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cnnkit.training.preparation import Preparation

    def end(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Preparation, "begin_next_stage", end)
        with pytest.raises(Killed):
            run_training(tmp_path, staged(), "run")
    stopped = Run(tmp_path / "run")
    assert (len(rows(stopped)), state(stopped)["stages"]) == (2, [0])
    said = continued(stopped)
    assert "stage     2 of 2, epochs 3-4: trains" in said
    assert "stage     1" not in said
    assert_same(stopped, staged_run)


@pytest.mark.long
@pytest.mark.parametrize("epoch", [0, 1, 2, 3])
def test_a_run_that_is_killed_within_a_stage_goes_on_as_if_nothing_had_happened(
    staged_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epoch: int
) -> None:
    with killed_in(epoch, monkeypatch):
        run_training(tmp_path, staged(checkpoint_minutes=1e-9), "run")
    stopped = Run(tmp_path / "run")
    assert state(stopped)["step"] > 0
    continued(stopped)
    assert_same(stopped, staged_run)
