"""The training loop: compiled steps, validation, callbacks. It owns the step, so a run's position is (epoch, step).

Model, optimizer, losses, metrics and callbacks are Keras'; the step is the model's own `train_step`, which a task may
define. What Keras' `fit` does not do, and why it is not used: it begins and ends with whole epochs, its callbacks wait
for the device after every execution, and it cannot train on several hosts.

This module imports Keras; only training imports it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf


@dataclass(frozen=True, order=True)
class Position:
    """Where a training is.

    Attributes:
        epoch: Epochs that have ended.
        step: Steps of the next one that have been taken; less than an epoch has.
    """

    epoch: int = 0
    step: int = 0


#: An execution of several steps is made no longer than about that: whoever wants the process to end waits for it.
SECONDS_PER_EXECUTION = 0.5


class Ended(Exception):
    """The loop was asked to end; `Loop.position` says where it did."""


class Loop:
    """Trains a compiled Keras model from any position.

    Callbacks are called as by `fit`, with one difference: the logs of a batch are the tensors that they are, so that
    nobody waits for the device but those that read them. `position` says where the training is whenever one is called.

    Args:
        model: Compiled, its optimizer built.
        batches: The training batches from a position on, to the end of the last epoch.
        validation: The validation batches, or None.
        steps: Of an epoch.
        steps_per_execution: Steps between two returns to Python.
        jit_compile: Whether XLA compiles the steps.
        callbacks: Keras callbacks, called in this order.
        ending: Whether the loop is to end where it is; asked after every execution.
    """

    def __init__(
        self,
        model: Any,
        batches: Callable[[Position], Any],
        validation: Any,
        *,
        steps: int,
        steps_per_execution: int,
        jit_compile: bool,
        callbacks: Sequence[keras.callbacks.Callback],
        ending: Callable[[], bool] = lambda: False,
    ) -> None:
        self.model = model
        self.batches = batches
        self.validation = validation
        self.steps = steps
        self.steps_per_execution = steps_per_execution
        self.callbacks = callbacks
        self.ending = ending
        self.position = Position()
        self._iterator: Any = None
        #: The steps of the next execution; the first one is slow, whatever it holds.
        self._several = 1
        self._train = _compiled(model.train_step, model, jit_compile)
        self._test = _compiled(model.test_step, model, jit_compile)

    def run(self, epochs: int, start: Position | None = None) -> None:
        """Trains until so many epochs have ended, or a callback sets the model's `stop_training`.

        Args:
            epochs: Those of the whole run.
            start: The position to go on from. Within an epoch, a callback's `on_train_begin` has to restore the
                metrics' variables too: those of a new epoch are reset.

        Raises:
            Ended: if `ending` says so. Model and metrics are then those of `position`.
        """
        model = self.model
        self.begin(start or Position())
        model.stop_training = False
        for callback in self.callbacks:
            callback.set_params({"verbose": 0, "epochs": epochs, "steps": self.steps})
            callback.set_model(model)
        self._call("on_train_begin")
        logs: dict[str, float] = {}
        while self.position.epoch < epochs and not model.stop_training:
            epoch = self.position.epoch
            if self.position.step == 0:
                model.reset_metrics()
            self._call("on_epoch_begin", epoch)
            self._train_epoch()
            logs = self._figures()
            if self.validation is not None:
                logs |= {f"val_{name}": value for name, value in self._validate().items()}
            self.position = Position(epoch + 1)
            self._call("on_epoch_end", epoch, logs)
        self._call("on_train_end", logs)

    def begin(self, position: Position) -> None:
        """Gets ready to `take` the steps that follow a position."""
        self.position = position
        batches = self.batches(position)
        build_metrics(self.model, batches)
        self.model.reset_metrics()
        self._iterator = iter(batches)

    def take(self, count: int) -> dict[str, Any]:
        """Takes so many steps without returning to Python; returns the figures so far, as tensors."""
        figures: dict[str, Any] = self._train(self._iterator, tf.constant(count))
        return figures

    def _train_epoch(self) -> None:
        epoch, step = self.position.epoch, self.position.step
        while step < self.steps and not self.model.stop_training:
            self._call("on_train_batch_begin", step)
            count = min(self._several, self.steps - step)
            begin = time.perf_counter()
            logs = self.take(count)
            self._adapt(count, time.perf_counter() - begin)
            step += count
            self.position = Position(epoch, step)
            self._call("on_train_batch_end", step - 1, logs)
            if self.ending():
                raise Ended

    def _adapt(self, count: int, seconds: float) -> None:
        """Doubles the steps of an execution up to `steps_per_execution`, unless they take too long."""
        if count == self._several and 2 * seconds <= SECONDS_PER_EXECUTION:
            self._several = min(2 * count, self.steps_per_execution)

    def _figures(self) -> dict[str, float]:
        """What the metrics have come to."""
        return {name: float(value) for name, value in self.model.get_metrics_result().items()}

    def _validate(self) -> dict[str, float]:
        """The figures of the validation batches, with the weights that a callback's `on_test_begin` leaves."""
        trained = [variable.numpy() for variable in self.model.metrics_variables]
        self.model.reset_metrics()
        self._call("on_test_begin")
        iterator, left = iter(self.validation), int(self.validation.cardinality())
        while left > 0 and not self.ending():
            count = min(self._several, left)
            self._test(iterator, tf.constant(count))
            left -= count
        logs = self._figures()
        self._call("on_test_end", logs)
        if left > 0:
            for variable, value in zip(self.model.metrics_variables, trained, strict=True):
                variable.assign(value)
            raise Ended
        return logs

    def _call(self, event: str, *arguments: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, event)(*arguments)


def _compiled(step: Callable[[Any], Any], model: Any, jit_compile: bool) -> Callable[[Any, Any], dict[str, Any]]:
    """A function that takes as many steps as it is told, without Python in between, and returns the figures so far."""

    @tf.function(jit_compile=jit_compile, reduce_retracing=True, autograph=False)
    def one_step(batch: Any) -> None:
        step(batch)

    @tf.function(reduce_retracing=True, autograph=False)
    def several_steps(iterator: Any, count: Any) -> dict[str, Any]:
        def body(done: Any) -> Any:
            one_step(iterator.get_next())
            return done + 1

        tf.while_loop(lambda done: done < count, body, [tf.constant(0)], parallel_iterations=1)
        figures: dict[str, Any] = model.get_metrics_result()
        return figures

    compiled: Callable[[Any, Any], dict[str, Any]] = several_steps
    return compiled


def build_metrics(model: Any, batches: Any) -> None:
    """Makes the variables of a compiled model's loss and metrics, which Keras makes at the first batch.

    A checkpoint can only restore what is there.

    Args:
        batches: A data set of what the model is trained on.
    """
    inputs, targets, weights = keras.utils.unpack_x_y_sample_weight(
        tf.nest.map_structure(
            lambda spec: tf.zeros([size or 1 for size in spec.shape.as_list()], spec.dtype), batches.element_spec
        )
    )
    outputs = tf.zeros([len(inputs), *model.compute_output_shape(inputs.shape)[1:]])
    model.compute_loss(inputs, targets, outputs, weights)
    model.compute_metrics(inputs, targets, outputs, weights)
