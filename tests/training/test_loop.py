"""The loop trains as Keras' `fit` does, to the last bit, and from any step on."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from cnnkit.training.loop import Ended, Loop, Position

EPOCHS, STEPS, BATCH = 3, 5, 8


def images_and_targets(epoch: int) -> tuple[Any, Any, Any]:
    """Other images in each epoch, with weights; the last batch of an epoch is smaller."""
    random = np.random.default_rng(epoch)
    count = STEPS * BATCH - 3
    images = random.normal(size=(count, 6, 6, 1)).astype(np.float32)
    labels = keras.utils.to_categorical(random.integers(0, 3, count), 3).astype(np.float32)
    return images, labels, random.uniform(0.5, 1.5, count).astype(np.float32)


def batches_of_epoch(epoch: int) -> Any:
    return tf.data.Dataset.from_tensor_slices(images_and_targets(epoch)).batch(BATCH)


def batches(position: Position) -> Any:
    found = batches_of_epoch(position.epoch).skip(position.step)
    for epoch in range(position.epoch + 1, EPOCHS):
        found = found.concatenate(batches_of_epoch(epoch))
    return found


def compiled(optimizer: Callable[[], Any]) -> Any:
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            keras.layers.Conv2D(4, 3, use_bias=False, kernel_regularizer=keras.regularizers.L2(0.01)),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.3, seed=2),
            keras.layers.Dense(3),
        ]
    )
    model.compile(
        optimizer(),
        keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=["accuracy", keras.metrics.AUC(from_logits=True, name="auc")],
    )
    model.optimizer.build(model.trainable_variables)
    return model


OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "SGD": lambda: keras.optimizers.SGD(0.1, momentum=0.9, global_clipnorm=1.0),
    "Adam with an average": lambda: keras.optimizers.Adam(0.01, use_ema=True, ema_momentum=0.9),
    "accumulation": lambda: keras.optimizers.AdamW(0.01, gradient_accumulation_steps=2),
    "loss scaling": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1)),
}


class Recorder(keras.callbacks.Callback):
    """What a training calls, and the figures of its epochs."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Any] = []
        self.figures: list[dict[str, float]] = []

    def on_train_begin(self, logs: Any = None) -> None:
        self.calls.append("train begin")

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.calls.append(("epoch begin", epoch))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.calls.append(("batch end", batch))

    def on_test_begin(self, logs: Any = None) -> None:
        self.calls.append("test begin")

    def on_test_end(self, logs: Any = None) -> None:
        self.calls.append("test end")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.calls.append(("epoch end", epoch))
        self.figures.append({name: float(value) for name, value in logs.items()})

    def on_train_end(self, logs: Any = None) -> None:
        self.calls.append("train end")


def loop_of(model: Any, *callbacks: Any, ending: Callable[[], bool] = lambda: False, several: int = 1) -> Loop:
    return Loop(
        model,
        batches,
        batches_of_epoch(99),
        steps=STEPS,
        steps_per_execution=several,
        jit_compile=False,
        callbacks=callbacks,
        ending=ending,
    )


def values(variables: Any) -> list[np.ndarray]:
    return [np.asarray(variable.numpy()) for variable in variables]


def assert_equal(one: Any, other: Any) -> None:
    for a, b in zip(
        values(one.variables) + values(one.optimizer.variables),
        values(other.variables) + values(other.optimizer.variables),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


@functools.cache
def whole(name: str) -> tuple[Any, Recorder]:
    """What the loop trains from the beginning to the end, with one of `OPTIMIZERS`; tests only read it."""
    model, recorded = compiled(OPTIMIZERS[name]), Recorder()
    loop_of(model, recorded).run(EPOCHS)
    return model, recorded


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name == "Adam with an average" else pytest.mark.long) for name in OPTIMIZERS],
)
def test_it_trains_as_keras_fit_to_the_last_bit(name: str) -> None:
    plain, recorded = compiled(OPTIMIZERS[name]), Recorder()
    ours, of_loop = whole(name)
    plain.fit(
        batches(Position()),
        validation_data=batches_of_epoch(99),
        epochs=EPOCHS,
        steps_per_epoch=STEPS,
        callbacks=[recorded],
        shuffle=False,
        verbose=0,
    )
    assert of_loop.figures == recorded.figures
    assert of_loop.calls == recorded.calls
    if not getattr(plain.optimizer, "use_ema", False):
        # `fit` leaves the average in the model.
        assert_equal(ours, plain)


def test_several_steps_between_two_returns_to_python_are_the_same_steps() -> None:
    several, recorded = compiled(OPTIMIZERS["Adam with an average"]), Recorder()
    loop_of(several, recorded, several=4).run(EPOCHS)
    assert_equal(several, whole("Adam with an average")[0])
    ends = [call[1] for call in recorded.calls if call[0] == "batch end"]
    # They become several as they turn out to be short, and never reach beyond an epoch.
    assert ends[-2:] == [3, 4]
    assert len(ends) < EPOCHS * STEPS


#: It is asked after each step, and before each batch of the validation.
@pytest.mark.parametrize(
    ("name", "after"),
    [
        pytest.param("SGD", 1, marks=pytest.mark.long),
        pytest.param("Adam with an average", STEPS - 1, marks=pytest.mark.long),
        pytest.param("loss scaling", STEPS, marks=pytest.mark.long),
        pytest.param("accumulation", STEPS + 1, marks=pytest.mark.long),
        ("Adam with an average", STEPS + 3),
        pytest.param("accumulation", 2 * STEPS + 2, marks=pytest.mark.long),
    ],
)
def test_it_ends_after_any_step_and_goes_on_to_the_same_end(name: str, after: int) -> None:
    uninterrupted, recorded = whole(name)
    first, taken = compiled(OPTIMIZERS[name]), 0

    def ending() -> bool:
        nonlocal taken
        taken += 1
        return taken >= after

    loop = loop_of(first, ending=ending)
    with pytest.raises(Ended):
        loop.run(EPOCHS)
    position = loop.position
    assert Position(0, 1) <= position < Position(2)
    state = [values(part) for part in (first.variables, first.metrics_variables, first.optimizer.variables)]
    second, of_second = compiled(OPTIMIZERS[name]), Recorder()

    def restore(logs: Any = None) -> None:
        parts = (second.variables, second.metrics_variables, second.optimizer.variables)
        for variables, kept in zip(parts, state, strict=True):
            for variable, value in zip(variables, kept, strict=True):
                variable.assign(value)

    restoring = keras.callbacks.LambdaCallback(on_train_begin=restore)
    loop_of(second, restoring, of_second).run(EPOCHS, position)
    assert of_second.figures == recorded.figures[position.epoch :]
    assert_equal(second, uninterrupted)


@pytest.mark.long
def test_a_callback_ends_it_as_it_ends_fit() -> None:
    def trained(run: Callable[[Any, Any], None]) -> tuple[Any, Recorder]:
        model, recorded = compiled(OPTIMIZERS["SGD"]), Recorder()
        # No epoch improves so much.
        stop = keras.callbacks.EarlyStopping(monitor="loss", min_delta=100.0, patience=1)
        run(model, [recorded, stop])
        return model, recorded

    def fit(model: Any, callbacks: Any) -> None:
        model.fit(
            batches(Position()), epochs=EPOCHS, steps_per_epoch=STEPS, callbacks=callbacks, shuffle=False, verbose=0
        )

    def loop(model: Any, callbacks: Any) -> None:
        own = loop_of(model, *callbacks)
        own.validation = None
        own.run(EPOCHS)

    plain, ours = trained(fit), trained(loop)
    assert ours[1].calls == plain[1].calls
    assert len(ours[1].figures) == 2
    assert_equal(ours[0], plain[0])
