"""The learning rate of each update against the formulas, warm-up and accumulation included."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cnnkit.config.training import TrainingConfig
from cnnkit.training.schedules import make_rate

STEPS = 10


def rates(count: int, **training: Any) -> list[float]:
    """The rate that Keras' optimizer uses at each batch of a run of 10 batches per epoch."""
    config = TrainingConfig.model_validate(training)
    rate, _ = make_rate(config, STEPS)
    optimizer = config.optimizer.build(rate)
    found = []
    for _ in range(count):
        found.append(float(optimizer.learning_rate.numpy()))
        update(optimizer, 1)
    return found


def update(optimizer: Any, batches: int) -> None:
    """Hands an optimizer the gradients of batches, for a variable that nobody looks at."""
    import keras

    if not optimizer.built:
        optimizer.build([keras.Variable([0.0])])
    for _ in range(batches):
        optimizer.apply([keras.ops.convert_to_tensor([0.0])])


def test_cosine_spans_the_run_by_default() -> None:
    found = rates(40, epochs=4, optimizer={"SGD": 0.2}, schedule="CosineDecay")
    expected = [0.2 * 0.5 * (1 + math.cos(math.pi * step / 40)) for step in range(40)]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-9)


def test_warm_up_is_linear_and_the_schedule_starts_after_it() -> None:
    found = rates(40, epochs=4, warmup_epochs=1, optimizer={"SGD": 0.2}, schedule="CosineDecay")
    expected = [0.2 * (step + 1) / 10 for step in range(10)]
    expected += [0.2 * 0.5 * (1 + math.cos(math.pi * step / 30)) for step in range(30)]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-9)


def test_warm_up_without_a_schedule_ends_at_the_base_rate() -> None:
    found = rates(20, epochs=4, warmup_epochs=0.5, optimizer={"Adam": 0.01})
    np.testing.assert_allclose(found, [0.002, 0.004, 0.006, 0.008] + [0.01] * 16, rtol=1e-6)


def test_steps_are_updates_when_gradients_are_accumulated() -> None:
    """Two batches per update: half the updates, so the decay takes twice the batches."""
    found = rates(
        40,
        epochs=4,
        optimizer={"SGD": {"learning_rate": 1.0, "gradient_accumulation_steps": 2}},
        schedule={"PiecewiseConstantDecay": {"boundaries": [5], "values": [1.0, 0.1]}},
    )
    # Keras' boundary is the last update that still has the first value, here the sixth.
    np.testing.assert_allclose(found, [1.0] * 12 + [0.1] * 28, rtol=1e-6)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ({"ExponentialDecay": {"decay_epochs": 2, "decay_rate": 0.5}}, lambda s: 0.5 ** (s / 20)),
        ({"ExponentialDecay": {"decay_steps": 5, "decay_rate": 0.5, "staircase": True}}, lambda s: 0.5 ** (s // 5)),
        ({"InverseTimeDecay": {"decay_steps": 10, "decay_rate": 2.0}}, lambda s: 1 / (1 + 2 * s / 10)),
        ({"PolynomialDecay": {"end_learning_rate": 0.0, "power": 2}}, lambda s: (1 - s / 40) ** 2),
        (
            {"CosineDecayRestarts": {"first_decay_epochs": 1, "t_mul": 1.0}},
            lambda s: 0.5 * (1 + math.cos(math.pi * (s % 10) / 10)),
        ),
    ],
)
def test_schedules_follow_their_formulas(schedule: Any, expected: Any) -> None:
    found = rates(40, epochs=4, optimizer={"SGD": 1.0}, schedule=schedule)
    np.testing.assert_allclose(found, [expected(step) for step in range(40)], rtol=1e-5, atol=1e-6)


def test_plateau_changes_the_rate_behind_a_warm_up(capsys: pytest.CaptureFixture[str]) -> None:
    import keras

    config = TrainingConfig.model_validate(
        {
            "epochs": 4,
            "warmup_epochs": 1,
            "optimizer": {"SGD": 0.2},
            "schedule": {
                "ReduceLROnPlateau": {"monitor": "loss", "patience": 1, "factor": 0.5, "min_lr": 0.06, "verbose": 1}
            },
        }
    )
    rate, plateau = make_rate(config, STEPS)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(optimizer=config.optimizer.build(rate), loss="mse")
    plateau.set_model(model)
    plateau.on_train_begin()
    seen = []
    for epoch in range(4):
        update(model.optimizer, STEPS)
        plateau.on_epoch_end(epoch, {"loss": 1.0})
        seen.append(round(float(model.optimizer.learning_rate.numpy()), 6))
    assert seen == [0.2, 0.1, 0.06, 0.06]
    assert capsys.readouterr().out.count("ReduceLROnPlateau reducing learning rate to") == 2


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("batches", [1, 2, 3, 7])
def test_an_epochs_rate_is_that_of_its_first_update(batches: int, scaled: bool) -> None:
    """Against the weights: under SGD with a gradient of -1, an update adds the rate."""
    import keras

    from cnnkit.training.schedules import EpochRate

    steps = 5
    config = TrainingConfig.model_validate(
        {
            "epochs": 6,
            "warmup_epochs": 2,
            "optimizer": {
                "SGD": {"learning_rate": 1.0, "gradient_accumulation_steps": None if batches == 1 else batches}
            },
            "schedule": "CosineDecay",
        }
    )
    optimizer = config.optimizer.build(make_rate(config, steps)[0])
    if scaled:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=1.0)
    weight = keras.Variable([0.0])
    optimizer.build([weight])
    callback = EpochRate()
    callback.set_model(SimpleNamespace(optimizer=optimizer))  # type: ignore[arg-type]
    for epoch in range(6):
        callback.on_epoch_begin(epoch)
        moves = []
        for _ in range(steps):
            before = float(weight.numpy()[0])
            optimizer.apply([keras.ops.convert_to_tensor([-1.0])], [weight])
            moves.append(float(weight.numpy()[0]) - before)
        logs = {"learning_rate": 99.0}
        callback.on_epoch_end(epoch, logs)
        first = next((move for move in moves if move), None)
        assert first is None or logs["learning_rate"] == pytest.approx(first, rel=1e-4)
    assert first is not None


def test_the_average_of_the_weights_moves_at_each_batch() -> None:
    """As the reference says of `ema_momentum`: also between updates, when gradients are accumulated."""
    import keras

    options = {"learning_rate": 1.0, "use_ema": True, "ema_momentum": 0.5, "gradient_accumulation_steps": 3}
    optimizer = TrainingConfig.model_validate({"optimizer": {"SGD": options}}).optimizer.build(1.0)
    weight = keras.Variable([1.0])
    optimizer.build([weight])
    averages = []
    for _ in range(8):
        optimizer.apply([keras.ops.convert_to_tensor([1.0])], [weight])
        trained = weight.numpy()
        optimizer.finalize_variable_values([weight])
        averages.append(float(weight.numpy()[0]))
        weight.assign(trained)
    # The weight is 1, then 0 from the third batch on, -1 from the sixth; the average starts at the first update.
    assert averages == [1, 1, 0, 0, 0, -0.5, -0.75, -0.875]
