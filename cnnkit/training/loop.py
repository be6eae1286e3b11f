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
import numpy as np
import tensorflow as tf

from cnnkit.errors import CnnkitError
from cnnkit.machine.devices import ONE_DEVICE, Devices
from cnnkit.runs.progress import StopRequested


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
    """The loop was asked to end; `Loop.position` says where it did.

    Args:
        signal: The number of the signal that asked, in whichever process it came.
    """

    def __init__(self, signal: int) -> None:
        super().__init__(signal)
        self.signal = signal


class Loop:
    """Trains a compiled Keras model from any position.

    Callbacks are called as by `fit`, with one difference: the logs of a batch are the tensors that they are, so that
    nobody waits for the device but those that read them. `position` says where the training is whenever one is called.

    Where several processes train together, each runs such a loop with its shares of the batches. After every execution
    they agree on what to do next; the figures of an epoch are those of all, the logs of a batch those of the process.

    Args:
        model: Compiled, its optimizer built.
        batches: The training batches from a position on, to the end of the last epoch.
        validation: The validation batches that this process measures, or None.
        steps: Of an epoch.
        steps_per_execution: Steps between two returns to Python.
        jit_compile: Whether XLA compiles the steps.
        train_step: Learns from an element of the batches; by default the model's own.
        callbacks: Keras callbacks, called in this order. One with a method `on_keep` is asked whether it `is_due` after
            every execution within an epoch; where the chief's is, that of every process is called with the position
            and the metrics' variables of all of them.
        ending: The number of the signal that asks the loop to end where it is, or 0; asked after every execution.
        devices: What trains.
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
        train_step: Callable[[Any], Any] | None = None,
        callbacks: Sequence[keras.callbacks.Callback],
        ending: Callable[[], int] = lambda: 0,
        devices: Devices = ONE_DEVICE,
    ) -> None:
        self.model = model
        self.batches = batches
        self.validation = validation
        self.steps = steps
        self.steps_per_execution = steps_per_execution
        self.callbacks = callbacks
        self.ending = ending
        self.devices = devices
        self.position = Position()
        self._iterator: Any = None
        #: The steps of the next execution; the first one is slow, whatever it holds.
        self._several = 1
        self._stop_requested = False
        self._train = _compiled(train_step or model.train_step, model, jit_compile)
        self._test = self._test_one = _compiled(model.test_step, model, jit_compile)
        if devices.local > 1:
            from cnnkit.training.replicas import test_on_replicas

            self._test = _compiled(
                test_on_replicas(model.test_step, devices), model, jit_compile, at_once=devices.local
            )

    def run(self, epochs: int, start: Position | None = None) -> None:
        """Trains until so many epochs have ended, or a callback sets the model's `stop_training`.

        Args:
            epochs: Those of the whole run.
            start: The position to go on from. Within an epoch, a callback's `on_train_begin` has to restore the
                metrics' variables too: those of a new epoch are reset.

        Raises:
            Ended: if `ending` says so. Model and metrics are then those of `position`, and `on_keep` has been called.
            StopRequested: if a callback of some process has raised it; the other callbacks were called, too.
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
            if self._tell(self._stop_requested).any():
                raise StopRequested
        self._call("on_train_end", logs)

    def begin(self, position: Position) -> None:
        """Gets ready to `take` the steps that follow a position."""
        self.position = position
        begun = self._tell(position.epoch, position.step)
        if (begun != begun[0]).any():
            raise CnnkitError(
                f"the workers do not go on from the same place: {begun.tolist()} (epochs and steps)",
                "All of them have to read the same run: put its folder where every host sees it.",
            )
        batches = self.batches(position)
        build_metrics(self.model, batches.element_spec if self.devices.replicas == 1 else batches.element_spec[0][0])
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
            self._agree()

    def _adapt(self, count: int, seconds: float) -> None:
        """Doubles the steps of an execution up to `steps_per_execution`, unless they take too long."""
        if count == self._several and 2 * seconds <= SECONDS_PER_EXECUTION:
            self._several = min(2 * count, self.steps_per_execution)

    def _agree(self) -> None:
        """Does what somebody has asked for, in all processes at the same step."""
        is_due = any(keeper.is_due() for keeper in self._keepers())
        told = self._tell(self.ending(), self._stop_requested, is_due, self._several)
        asked, stopped, is_due, self._several = told[:, 0].max(), told[:, 1].any(), bool(told[0, 2]), int(told[0, 3])
        if asked or is_due:
            self._keep()
        if asked:
            raise Ended(int(asked))
        if stopped:
            raise StopRequested

    def _tell(self, *values: int) -> Any:
        """What this process tells the others, and what they tell: [workers, values]."""
        return self.devices.gather([np.asarray(values)])[0]

    def _keepers(self) -> list[Any]:
        return [callback for callback in self.callbacks if hasattr(callback, "on_keep")]

    def _keep(self) -> None:
        accumulated = self.devices.gather([variable.numpy() for variable in self.model.metrics_variables])
        for keeper in self._keepers():
            keeper.on_keep(self.position, accumulated)

    def _figures(self) -> dict[str, float]:
        """What the metrics have come to, of all processes."""
        variables = self.model.metrics_variables
        for variable, total in zip(variables, self.devices.sum([one.numpy() for one in variables]), strict=True):
            variable.assign(total)
        return {name: float(value) for name, value in self.model.get_metrics_result().items()}

    def _validate(self) -> dict[str, float]:
        """The figures of the validation batches, with the weights that a callback's `on_test_begin` leaves."""
        trained = [variable.numpy() for variable in self.model.metrics_variables]
        self.model.reset_metrics()
        self._call("on_test_begin")
        own = int(self.validation.cardinality())
        # All processes take part in the same agreements, whether they have as many batches or one less.
        most = self._tell(own).max()
        iterator, done, asked = iter(self.validation), 0, 0
        while done < most and not asked:
            count = max(0, min(self._several * self.devices.local, own - done))
            together = count // self.devices.local
            if together:
                self._test(iterator, tf.constant(together))
            for _ in range(count % self.devices.local):
                self._test_one(iterator, tf.constant(1))
            done += self._several * self.devices.local
            asked = int(self._tell(self.ending()).max())
        logs = self._figures()
        self._call("on_test_end", logs)
        if asked:
            for variable, value in zip(self.model.metrics_variables, trained, strict=True):
                variable.assign(value)
            self._keep()
            raise Ended(asked)
        return logs

    def _call(self, event: str, *arguments: Any) -> None:
        for callback in self.callbacks:
            try:
                getattr(callback, event)(*arguments)
            except StopRequested:
                # All processes stop together.
                self._stop_requested = True


def _compiled(
    step: Callable[[Any], Any], model: Any, jit_compile: bool, at_once: int | None = None
) -> Callable[[Any, Any], dict[str, Any]]:
    """A function that takes as many steps as it is told, without Python in between, and returns the figures so far.

    Args:
        at_once: Elements that a step takes, as a tuple; by default one, as it is.
    """

    @tf.function(jit_compile=jit_compile, reduce_retracing=True, autograph=False)
    def one_step(batch: Any) -> None:
        step(batch)

    @tf.function(reduce_retracing=True, autograph=False)
    def several_steps(iterator: Any, count: Any) -> dict[str, Any]:
        def body(done: Any) -> Any:
            one_step(iterator.get_next() if at_once is None else tuple(iterator.get_next() for _ in range(at_once)))
            return done + 1

        tf.while_loop(lambda done: done < count, body, [tf.constant(0)], parallel_iterations=1)
        figures: dict[str, Any] = model.get_metrics_result()
        return figures

    compiled: Callable[[Any, Any], dict[str, Any]] = several_steps
    return compiled


def build_metrics(model: Any, element_spec: Any) -> None:
    """Makes the variables of a compiled model's loss and metrics, which Keras makes at the first batch.

    A checkpoint can only restore what is there. A model with a `train_step` of its own has made its metrics.

    Args:
        element_spec: Of the data set that the model is trained on.
    """
    if type(model).train_step is not keras.Model.train_step:
        return
    inputs, targets, weights = keras.utils.unpack_x_y_sample_weight(
        tf.nest.map_structure(
            lambda spec: tf.zeros([size or 1 for size in spec.shape.as_list()], spec.dtype), element_spec
        )
    )
    taken = keras.utils.unpack_x_y_sample_weight(element_spec)[0].shape
    outputs = tf.zeros([len(inputs), *model.compute_output_shape((len(inputs), *taken[1:]))[1:]])
    model.compute_loss(inputs, targets, outputs, weights)
    model.compute_metrics(inputs, targets, outputs, weights)
