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
from cnnkit.config.training import TrainingConfig
from cnnkit.errors import CnnkitError, UsageError
from cnnkit.network.summary import summarize
from cnnkit.runs.directory import Run
from cnnkit.training.checkpoint import Checkpoint
from cnnkit.training.course import Course
from cnnkit.training.loop import Position
from cnnkit.training.preparation import prepare, training_batches
from cnnkit.training.resuming import check_same_config

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
    section = {"optimizer": {"Adam": {"learning_rate": 0.01, "use_ema": True, "ema_momentum": 0.9}}}
    content = config(model={"layers": layers})
    return {**content, "training": {**section, "stages": STAGES, "tensorboard": False, **training}}


@pytest.fixture(scope="module")
def staged_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    yield from shared_run(tmp_path_factory, "staged", lambda folder: run_training(folder, staged(), "run"))


@pytest.mark.long
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


def test_keras_trains_as_many_numbers_as_inspect_says(tmp_path: Path) -> None:
    """Names inside a Residual count too, and the optimizer has variables for these alone."""
    stages = [
        {"epochs": 1, "freeze": ["stem", "layers.0.Conv2D"]},
        {"epochs": 1, "freeze": "head", "unfreeze": "layers.0.Conv2D"},
        {"epochs": 1, "freeze": "3.Residual", "unfreeze": "all", "unfreeze_batch_norm": True},
    ]
    loaded = load_config(write(tmp_path, staged(stages=stages, optimizer="Adam")))
    prepared = prepare(loaded)
    said = [stage["trainable_parameters"] for stage in summarize(loaded).as_json()["stages"]]
    convolutions, head, normalizations = (80, 584), 288 * 10 + 10, 16
    assert said == [head + 2 * normalizations, sum(convolutions[1:]) + 2 * normalizations, 3618 - 32]
    for index, count in enumerate(said):
        if index:
            prepared.begin_next_stage(index)
        assert sum(weight.value.shape.num_elements() for weight in prepared.model.trainable_variables) == count
        # Two moments of each number, the count of steps, and the rate.
        variables = prepared.model.optimizer.variables
        assert sum(variable.value.shape.num_elements() for variable in variables) == 2 * count + 2


@pytest.mark.long
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
def test_a_run_that_is_killed_within_its_stages_goes_on_as_if_nothing_had_happened(
    staged_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In each of its epochs once, the first and the last one of both stages."""
    stopped = Run(tmp_path / "run")
    for epoch in range(4):
        with killed_in(epoch, monkeypatch):
            if epoch == 0:
                run_training(tmp_path, staged(checkpoint_minutes=1e-9), "run")
            else:
                continued(stopped)
        assert state(stopped)["epochs_done"] == epoch
        assert state(stopped)["step"] > 0
    continued(stopped)
    assert_same(stopped, staged_run)


EARLY = {"early_stopping": {"monitor": "val_loss", "min_delta": 10, "patience": 0}, "optimizer": "Adam"}


@pytest.mark.long
def test_early_stopping_ends_a_stage_and_the_next_one_begins_earlier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each waits for itself; a run that is killed where the first was stopped, or later, comes to the same."""
    from cnnkit.training.checkpoint import ended_early
    from cnnkit.training.preparation import Preparation

    stages = [{**STAGES[0], "epochs": 6}, {**STAGES[1], "epochs": 5}]
    content = staged(stages=stages, **EARLY)
    whole = run_training(tmp_path, content, "whole")
    # The first epoch is the best so far, and the second is not better by 10.
    assert (len(rows(whole)), state(whole)["stages"], ended_early(whole)) == (4, [0, 2], True)
    assert "early stopping ended stage 1 after 2 of 6 epochs" in whole.log.read_text()
    assert whole.read_json(whole.live_state)["epochs"] == 7

    def end(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Preparation, "begin_next_stage", end)
        with pytest.raises(Killed):
            run_training(tmp_path, content, "run")
    stopped = Run(tmp_path / "run")
    assert (state(stopped)["stopped"], ended_early(stopped)) == (True, False)
    continued(stopped)
    assert_same(stopped, whole)


@pytest.mark.long
def test_early_stopping_begins_to_watch_so_many_epochs_into_each_stage(tmp_path: Path) -> None:
    stages = [{**STAGES[0], "epochs": 3}, {**STAGES[1], "epochs": 8}]
    early = {"early_stopping": {**EARLY["early_stopping"], "start_from_epoch": 3}, "optimizer": "Adam"}
    run = run_training(tmp_path, staged(stages=stages, **early), "run")
    # The fourth epoch of the second stage is the best so far, and the fifth is not better by 10.
    assert (state(run)["stages"], len(rows(run))) == ([0, 3], 8)


def test_where_each_stage_ends_and_how_many_epochs_there_are() -> None:
    course = Course([5, 3, 4])
    assert (course.stage, course.end, course.total, course.is_last) == (0, 5, 12, False)
    course.advance(2)
    assert (course.stage, course.end, course.total, course.ended_early) == (1, 5, 9, "2 of 5 epochs")
    course.advance(5)
    assert (course.end, course.total, course.ended_early, course.is_last) == (9, 9, "", True)
    assert [course.as_json(*end)["ended"] for end in ((7, False), (7, True), (9, False))] == [False, True, True]


@pytest.mark.parametrize(
    ("begins", "done"), [([], 3), ([1], 3), ([0, 3, 4], 5), ([0, 7], 8), ([0, 2, 2], 3), ([0, 2], 1), ([0, 0], 1)]
)
def test_a_checkpoint_of_other_stages_is_refused(begins: list[int], done: int) -> None:
    training = TrainingConfig.model_validate({"stages": [{"epochs": 5, "freeze": "a"}, {"epochs": 3, "freeze": "b"}]})
    checkpoint = Checkpoint(Path("last.npz"), {"epochs_done": done, "stages": begins}, {})
    with pytest.raises(CnnkitError, match=r"is damaged: its stages begin after"):
        Course.of(training, checkpoint)


def test_only_the_epochs_of_the_last_stage_may_change_when_a_run_is_resumed(tmp_path: Path) -> None:
    file, run = write(tmp_path, staged()), Run(tmp_path / "run")
    before = load_config(file).config
    longer = load_config(file, ["training.stages[1].epochs=9"]).config
    check_same_config(before, longer, run)
    assert longer.training.epochs == 11
    for change in ("stages[0].epochs=9", "stages[1].learning_rate=1.0", "stages[1].freeze=head", "layer_decay=0.5"):
        with pytest.raises(
            UsageError, match=r"and the epochs of the last stage|was made with another config"
        ) as caught:
            check_same_config(before, load_config(file, [f"training.{change}"]).config, run)
        assert f"training.{change.partition('=')[0]}" in caught.value.message
        assert "and the epochs of the last stage" in str(caught.value.hint)
