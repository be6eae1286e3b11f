"""The learning rate of a run, from the optimizer's base rate, the schedule and the warm-up.

This module imports Keras; only training imports it.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import keras

from cnnkit.config.training import TrainingConfig


class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """Grows the rate linearly from 0 over `warmup_steps`, then follows `after` from its own beginning.

    Args:
        after: A number, a Keras variable or a Keras schedule.
        warmup_steps: Steps as Keras counts them.
    """

    def __init__(self, after: Any, warmup_steps: int) -> None:
        super().__init__()
        self.after = after
        self.warmup_steps = warmup_steps

    def __call__(self, step: Any) -> Any:
        step = keras.ops.cast(step, "float32")
        later = keras.ops.maximum(step - self.warmup_steps, 0.0)
        rate = self.after(later) if callable(self.after) else self.after
        share = keras.ops.minimum((step + 1.0) / float(self.warmup_steps), 1.0)
        return keras.ops.cast(rate, "float32") * share

    def get_config(self) -> dict[str, Any]:
        return {"after": self.after, "warmup_steps": self.warmup_steps}


class ReduceWarmedUpRate(keras.callbacks.ReduceLROnPlateau):
    """Keras' ReduceLROnPlateau for a rate that follows a warm-up.

    Keras' own can only change an optimizer whose rate is a plain number.

    Args:
        rate: The Keras variable that holds the rate after the warm-up.
    """

    def __init__(self, rate: Any, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.rate = rate

    def _reduce_optimizer_lr(self, optimizer: Any, epoch: int, name: str = "") -> bool:
        plain = SimpleNamespace(learning_rate=self.rate.numpy())
        changed = super()._reduce_optimizer_lr(plain, epoch, name)
        self.rate.assign(plain.learning_rate)
        return bool(changed)


class EpochRate(keras.callbacks.Callback):
    """Records the rate of each epoch's first update; Keras' callbacks record the rate that the next epoch begins with.

    Follows a plateau callback, which lowers the rate when an epoch has ended, and writes a figure of its own.
    """

    def __init__(self) -> None:
        super().__init__()
        #: What a checkpoint within an epoch has to hold: that epoch, and its rate.
        self.measured_epoch = -1
        self.epoch_rate = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if self.measured_epoch != epoch:
            self.measured_epoch, self.epoch_rate = epoch, rate_of_next_update(self.model.optimizer)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs["learning_rate"] = self.epoch_rate


def rate_of_next_update(optimizer: Any) -> float:
    """The learning rate that an optimizer's next update has.

    With gradient accumulation, only the last batch of each update uses the rate that Keras has for the batch.
    """
    # What loss scaling is wrapped around.
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    batches = optimizer.gradient_accumulation_steps or 1
    schedule = optimizer._learning_rate
    if batches == 1 or not callable(schedule):
        return float(optimizer.learning_rate.numpy())
    # Keras' `iterations` are updates, and its schedules count batches.
    return float(schedule(int(optimizer.iterations) * batches + batches - 1))


def scale_rates(optimizer: Any, factors: Sequence[float]) -> None:
    """Has an optimizer train each of its variables at a share of its learning rate, weight decay included.

    Inside the update: Adam and its kin take steps that do not depend on the scale of a gradient.

    Args:
        optimizer: A built one.
        factors: One for each variable that it was built with.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    update_step, apply_weight_decay = optimizer.update_step, optimizer._apply_weight_decay
    current_rate = optimizer._get_current_learning_rate
    # Of the variable whose decay is being traced: Keras reads the optimizer's own rate there.
    decayed: list[float] = []

    def scaled_update_step(gradient: Any, variable: Any, learning_rate: Any) -> Any:
        return update_step(gradient, variable, learning_rate * factors[optimizer._get_variable_index(variable)])

    def scaled_weight_decay(variables: Any) -> None:
        for variable in variables:
            decayed.append(factors[optimizer._get_variable_index(variable)])
            apply_weight_decay([variable])
            decayed.pop()

    def scaled_rate() -> Any:
        return current_rate() * decayed[-1] if decayed else current_rate()

    optimizer.update_step, optimizer._apply_weight_decay = scaled_update_step, scaled_weight_decay
    optimizer._get_current_learning_rate = scaled_rate


def make_rate(training: TrainingConfig, steps_per_epoch: int) -> tuple[Any, Any]:
    """The optimizer's rate (a number or a Keras schedule) and the plateau callback (None without one).

    Keras 3.15 hands a schedule the number of batches, not of updates, when gradients are accumulated; the schedules
    are stretched accordingly, so that the config's steps are updates.
    """
    optimizer, schedule = training.optimizer, training.schedule
    base = optimizer.learning_rate
    per_update = optimizer.gradient_accumulation_steps or 1
    updates_per_epoch = steps_per_epoch / per_update
    total_updates = max(1, round(training.epochs * updates_per_epoch))
    warmup_updates = round(training.warmup_epochs * updates_per_epoch)
    plateau = training.plateau
    if plateau is not None:
        arguments = {name: getattr(plateau, name) for name in type(plateau).model_fields}
        if not warmup_updates:
            return base, keras.callbacks.ReduceLROnPlateau(**arguments)
        variable = keras.Variable(base, trainable=False, dtype="float32", name="rate")
        return WarmUp(variable, warmup_updates * per_update), ReduceWarmedUpRate(variable, **arguments)
    rate: Any = base
    if schedule is not None:
        rate = schedule.build(base, updates_per_epoch, max(1, total_updates - warmup_updates), per_update)
    if warmup_updates:
        rate = WarmUp(rate, warmup_updates * per_update)
    return rate, None
