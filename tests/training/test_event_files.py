"""The event files hold what Keras' own TensorBoard callback writes."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkit.machine import tensorflow as runtime

Figures = dict[tuple[str, str, int], float]


def train(*callbacks: Any, validate: bool) -> None:
    """Two epochs of a small network, the same at each call."""
    import keras

    keras.utils.set_random_seed(0)
    generator = np.random.default_rng(0)
    images = generator.random((24, 4), np.float32)
    labels = np.eye(3, dtype=np.float32)[generator.integers(0, 3, 24)]
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="softmax")])
    rate = keras.optimizers.schedules.ExponentialDecay(0.1, 3, 0.5)
    model.compile(keras.optimizers.SGD(rate), "categorical_crossentropy", metrics=["accuracy"])
    data = (images[:8], labels[:8]) if validate else None
    model.fit(images, labels, batch_size=8, epochs=2, validation_data=data, callbacks=list(callbacks), verbose=0)


def figures(folder: Path) -> Figures:
    """All scalars of the event files, by folder, tag and step."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util import tensor_util

    return {
        (file.parent.name, value.tag, event.step): float(tensor_util.make_ndarray(value.tensor))
        for file in folder.rglob("events.out.tfevents.*")
        for event in EventFileLoader(str(file)).Load()
        for value in event.summary.value
    }


def compare(tmp_path: Path, *, validate: bool) -> Figures:
    runtime.load_tensorflow()
    import keras

    from cnnkit.training.event_files import EventFiles

    train(keras.callbacks.TensorBoard(str(tmp_path / "keras"), write_graph=False), validate=validate)
    train(EventFiles(tmp_path / "cnnkit"), validate=validate)
    expected = figures(tmp_path / "keras")
    assert figures(tmp_path / "cnnkit") == expected
    return expected


def test_event_files_are_those_of_keras(tmp_path: Path) -> None:
    expected = compare(tmp_path, validate=True)
    # Loss, accuracy and rate per epoch; for validation loss and accuracy, per epoch and per update.
    assert len(expected) == 2 * (3 + 2 + 2)


@pytest.mark.long
def test_the_rate_is_that_of_the_epochs_first_update(tmp_path: Path) -> None:
    """As in metrics.csv; Keras' own callback writes the one behind the epoch's three updates."""
    runtime.load_tensorflow()
    from cnnkit.training.event_files import EventFiles
    from cnnkit.training.schedules import EpochRate

    train(EpochRate(), EventFiles(tmp_path), validate=False)
    rates = {step: rate for (_, tag, step), rate in figures(tmp_path).items() if tag == "epoch_learning_rate"}
    assert rates == pytest.approx({0: 0.1, 1: 0.05})


@pytest.mark.long
def test_event_files_without_validation(tmp_path: Path) -> None:
    assert {name for name, _, _ in compare(tmp_path, validate=False)} == {"train"}


def test_an_epoch_is_on_the_disk_when_it_has_ended(tmp_path: Path) -> None:
    """A process that is killed later does not take it along."""
    runtime.load_tensorflow()
    import keras

    from cnnkit.training.event_files import EventFiles

    epochs = []
    look = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda *_: epochs.append({step for _, tag, step in figures(tmp_path) if tag == "epoch_loss"})
    )
    train(EventFiles(tmp_path), look, validate=True)
    assert epochs == [{0}, {0, 1}]


def test_a_run_without_an_epoch_leaves_no_event_files(tmp_path: Path) -> None:
    runtime.load_tensorflow()
    from cnnkit.training.event_files import EventFiles

    files = EventFiles(tmp_path / "events")
    files.on_train_begin()
    files.on_train_end()
    assert not (tmp_path / "events").exists()


def test_a_full_disk_is_no_lack_of_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorFlow has one error for both."""
    tf = runtime.load_tensorflow()
    from cnnkit.training.event_files import EventFiles

    callback = EventFiles(tmp_path / "tensorboard")

    def fail(*_: Any) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, "/x/events.out.tfevents.1; No space left on device\nstack")

    monkeypatch.setattr(callback, "_write", fail)
    with pytest.raises(OSError, match="No space left on device") as caught:
        callback.on_epoch_end(0)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(tmp_path / "tensorboard"))
