"""The learning rate of each update against the formulas, warm-up and accumulation included."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from cnnkit.config.training import TrainingConfig
from cnnkit.schedules import make_rate

STEPS = 10


def rates(count: int, **training: Any) -> list[float]:
    """The rate that Keras' optimizer uses at each batch of a run of 10 batches per epoch."""
    config = TrainingConfig.model_validate(training)
    rate, _ = make_rate(config, STEPS)
    optimizer = config.optimizer.build(rate)
    found = []
    for step in range(count):
        optimizer._iterations.assign(step)
        found.append(float(optimizer.learning_rate.numpy()))
    return found


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
    # Keras' boundary is the last step that still has the first value.
    np.testing.assert_allclose(found, [1.0] * 11 + [0.1] * 29, rtol=1e-6)


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


def test_plateau_changes_the_rate_behind_a_warm_up() -> None:
    import keras

    config = TrainingConfig.model_validate(
        {
            "epochs": 4,
            "warmup_epochs": 1,
            "optimizer": {"SGD": 0.2},
            "schedule": {"ReduceLROnPlateau": {"monitor": "loss", "patience": 1, "factor": 0.5, "min_lr": 0.06}},
        }
    )
    rate, plateau = make_rate(config, STEPS)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(optimizer=config.optimizer.build(rate), loss="mse")
    plateau.set_model(model)
    plateau.on_train_begin()
    seen = []
    for epoch in range(4):
        model.optimizer._iterations.assign(STEPS * (epoch + 1))
        plateau.on_epoch_end(epoch, {"loss": 1.0})
        seen.append(round(float(model.optimizer.learning_rate.numpy()), 6))
    assert seen == [0.2, 0.1, 0.06, 0.06]
