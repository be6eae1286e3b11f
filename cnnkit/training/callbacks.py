"""Keras callbacks of a run: the epoch's number, the averaged weights, what is recorded, shown and kept.

This module imports Keras; only training imports it.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from cnnkit.errors import NonFiniteLoss
from cnnkit.files import replacing
from cnnkit.machine.devices import Devices
from cnnkit.runs.best import Monitor
from cnnkit.runs.directory import Run
from cnnkit.runs.progress import Reporter
from cnnkit.task import Figure
from cnnkit.terminal.console import Console, format_duration
from cnnkit.training.checkpoint import CALLBACK_STATE, Checkpoint, save_checkpoint
from cnnkit.training.course import Course
from cnnkit.training.loop import Position
from cnnkit.training.model import without_training_state

#: How often the running epoch's figures are read and shown.
SECONDS_BETWEEN_LOOKS = 0.2


class EpochClock(keras.callbacks.Callback):
    """Measures the epoch. Stands first in the list.

    Attributes:
        epoch_seconds: What an epoch took, when it has ended.
        training_seconds: The same without its validation.
        before: What an earlier process took for the steps of the epoch that is gone on with.
    """

    def __init__(self) -> None:
        super().__init__()
        self.epoch_seconds = 0.0
        self.training_seconds = 0.0
        self.before = 0.0
        self._begin = 0.0
        self._tested = False

    @property
    def seconds(self) -> float:
        """Since the epoch began."""
        return time.perf_counter() - self._begin

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._begin = time.perf_counter() - self.before
        self.before = 0.0
        self._tested = False

    def on_test_begin(self, logs: Any = None) -> None:
        self.training_seconds = self.seconds
        self._tested = True

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.epoch_seconds = self.seconds
        if not self._tested:
            self.training_seconds = self.epoch_seconds


class AveragedWeights(keras.callbacks.SwapEMAWeights):
    """Keras' SwapEMAWeights with an exact swap.

    With TensorFlow, Keras swaps by adding and subtracting, which rounds both the weights and their average.
    """

    def _tf_swap_variables(self, optimizer: Any) -> None:
        self._backend_swap_variables(optimizer)

    @contextlib.contextmanager
    def in_model(self) -> Iterator[None]:
        """The model holds the averaged weights inside the block."""
        self.on_test_begin()
        try:
            yield
        finally:
            self.on_test_end()


class Progress(keras.callbacks.Callback):
    """Shows the running epoch, and stops the run at the first non-finite loss that it sees, or when asked to.

    It looks at the figures a few times in a second: to read them is to wait for the device. The loss is the epoch's
    mean so far, which stays non-finite once it is.

    Args:
        columns: The figures to show, the loss among them.
        course: Knows how many epochs there are.
        samples: What the network learns from, as messages call it.
    """

    def __init__(
        self,
        console: Console,
        reporter: Reporter,
        columns: Sequence[Figure],
        *,
        course: Course,
        steps: int,
        batch_size: int,
        samples: str = "images",
    ) -> None:
        super().__init__()
        self.console = console
        self.reporter = reporter
        self.columns = columns
        self.course = course
        self.steps = steps
        self.batch_size = batch_size
        self.samples = samples
        self._begin = 0.0
        self._shown = 0.0
        self._steps_before: int | None = None

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._begin = self._shown = time.perf_counter()
        self._steps_before = None
        self.console.begin_epoch(f"epoch {epoch + 1}/{self.course.total}", self.steps)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if self._steps_before is None:
            # An earlier process may have begun the epoch.
            self._steps_before = batch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        now = time.perf_counter()
        if now - self._shown < SECONDS_BETWEEN_LOOKS:
            return
        self._shown = now
        logs = logs or {}
        figures = {one.name: float(logs[one.name]) for one in self.columns if one.name in logs}
        check_finite(figures["loss"])
        done = batch + 1
        images, seconds = (done - (self._steps_before or 0)) * self.batch_size, now - self._begin
        shown = "  ".join(f"{name} {value:.4f}" for name, value in figures.items())
        self.console.update(done, f"{shown}  {images / seconds:,.0f} {self.samples}/s")
        self.reporter.look(done, seconds, images, figures)

    def on_test_begin(self, logs: Any = None) -> None:
        self.console.end_epoch()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.console.end_epoch()


def check_finite(loss: float, name: str = "training loss") -> None:
    """Raises NonFiniteLoss if a loss is not a finite number."""
    if not math.isfinite(loss):
        raise NonFiniteLoss(
            f"the {name} became {loss}",
            "Lower the learning rate, add `warmup_epochs`, or clip the gradients with the optimizer's "
            "`global_clipnorm`.",
        )


class Restoring(keras.callbacks.Callback):
    """Begins with what a checkpoint holds. Follows the callbacks whose attributes it sets.

    Args:
        checkpoint: What to go on from.
        clock: Gets the seconds of the epoch that was begun.
        stateful: Callbacks whose attributes belong to the checkpoint, by name.
        devices: What trains.
    """

    def __init__(self, checkpoint: Checkpoint, clock: EpochClock, stateful: dict[str, Any], devices: Devices) -> None:
        super().__init__()
        self.clock = clock
        self.stateful = stateful
        self.devices = devices
        self._checkpoint: Checkpoint | None = checkpoint

    def on_train_begin(self, logs: Any = None) -> None:
        # Only now: Keras' callbacks clear their state in their own on_train_begin.
        assert self._checkpoint is not None
        self._checkpoint.restore(self.model, self.devices.rank, self.devices.workers)
        self.clock.before = self._checkpoint.state.get("seconds", 0.0)
        for name, attributes in self._checkpoint.state["callbacks"].items():
            callback = self.stateful[name]
            for attribute, value in attributes.items():
                if attribute == "rate":
                    callback.rate.assign(value)
                else:
                    setattr(callback, attribute, value)
        # The memory of its arrays is free again.
        self._checkpoint = None


class FiniteLoss(keras.callbacks.Callback):
    """Stops at the first non-finite loss that it sees, as `Progress` does, where nothing is shown."""

    def __init__(self) -> None:
        super().__init__()
        self._looked = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if time.perf_counter() - self._looked >= SECONDS_BETWEEN_LOOKS:
            self._looked = time.perf_counter()
            check_finite(float((logs or {}).get("loss", 0.0)))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        check_finite(float((logs or {}).get("loss", 0.0)))


class Keeper(keras.callbacks.Callback):
    """Keeps what an epoch brought: its row, the best model, the checkpoint. Follows all that change the model.

    Within an epoch, it keeps a checkpoint now and then.

    Args:
        checkpoint_seconds: Between two checkpoints within an epoch; None for none.
        checkpoint: What is gone on from, when a run is resumed; `Restoring` does so.
        columns: The task's figures, the loss first; they precede all other columns of metrics.csv.
        course: Where the training is among its stages.
        image_shape: (height, width, channels) of the images that model.keras is for, where it learns of crops.
        network: What is kept in model.keras of the model that is trained; by default that itself.
    """

    def __init__(
        self,
        run: Run,
        console: Console,
        clock: EpochClock,
        *,
        columns: Sequence[Figure],
        course: Course,
        images: int,
        samples: str = "images",
        monitor: Monitor,
        checkpoint: Checkpoint | None,
        checkpoint_seconds: float | None = None,
        image_shape: tuple[int, ...] | None = None,
        network: Callable[[Any], Any] = lambda model: model,
    ) -> None:
        super().__init__()
        self.run = run
        self.console = console
        self.clock = clock
        self.averaged: AveragedWeights | None = None
        self.stateful: dict[str, Any] = {}
        self.columns = columns
        self.course = course
        self.images = images
        self.samples = samples
        self.monitor = monitor
        self.image_shape = image_shape
        self.network = network
        self.checkpoint_seconds = math.inf if checkpoint_seconds is None else checkpoint_seconds
        self._kept_at = time.perf_counter()
        state = checkpoint.state if checkpoint else None
        self.rows: list[dict[str, Any]] = state["rows"] if state else []
        #: None where nothing chooses one, as without validation.
        self.best_epoch = monitor.best_epoch(self.rows)
        #: Epochs that the checkpoint holds, and steps of the one that follows.
        self.kept: int = state["epochs_done"] if state else 0
        self.kept_steps = checkpoint.step if checkpoint else 0
        #: What model.keras holds, where it was written in this process.
        self.saved_model: Any = None

    def begin_stage(self, averaged: AveragedWeights | None, stateful: dict[str, Any]) -> None:
        """Another stage of the training begins.

        Args:
            averaged: What swaps averaged weights, where there are any.
            stateful: Callbacks whose attributes belong to the checkpoint, by name.
        """
        self.averaged = averaged
        self.stateful = stateful
        # Other layers are frozen in it.
        self.saved_model = None

    def is_due(self) -> bool:
        """Whether it is time for a checkpoint within an epoch."""
        return time.perf_counter() - self._kept_at >= self.checkpoint_seconds

    def on_keep(self, position: Position, metrics: Sequence[np.ndarray]) -> None:
        """Writes a checkpoint within an epoch.

        Args:
            position: Where the training is.
            metrics: See `save_checkpoint`.
        """
        check_finite(float(sum(np.sum(counted, dtype=np.float64) for counted in metrics)))
        self.check_variables()
        self.keep(position.epoch, position.step, metrics)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs = {name: float(value) for name, value in (logs or {}).items()}
        rate = logs.pop("learning_rate")
        check_finite(logs["loss"])
        self.check_variables()
        check_finite(logs.get("val_loss", 0.0), "validation loss")
        row: dict[str, Any] = {"epoch": epoch + 1, **self._ordered(logs)}
        row["learning_rate"] = rate
        row["seconds"] = round(self.clock.epoch_seconds, 3)
        row["images_per_second"] = round(self.images / self.clock.training_seconds, 1)
        self.rows.append(row)
        self.best_epoch = self.monitor.best_epoch(self.rows)
        # Where nothing chooses an epoch, the last one is kept.
        if self.best_epoch in (None, epoch + 1):
            self.save_model()
        self.run.write_metrics(self.rows)
        self.keep(epoch + 1, 0)
        self._show(row)

    def keep(self, epochs: int, step: int, metrics: Sequence[np.ndarray] | None = None) -> None:
        """Writes a checkpoint of so many epochs, and of so many steps of the next one."""
        save_checkpoint(self.run, self.model, self._state(epochs, step), metrics)
        self._kept_at = time.perf_counter()
        self.kept, self.kept_steps = epochs, step

    def save_model(self) -> None:
        """Writes model.keras, with the averaged weights where there are any."""
        with self.averaged.in_model() if self.averaged is not None else contextlib.nullcontext():
            network = self.network(self.model)
            if self.saved_model is None:
                self.saved_model = without_training_state(network, self.image_shape)
            else:
                self.saved_model.set_weights(network.get_weights())
            with replacing(self.run.model) as temporary:
                self.saved_model.save(temporary)

    def check_variables(self) -> None:
        """Raises NonFiniteLoss if a weight or a moving statistic is not finite."""
        for variable in self.model.variables:
            value = np.asarray(variable.numpy())
            if value.dtype.kind not in "iu" and not np.isfinite(value.astype(np.float32)).all():
                raise NonFiniteLoss(
                    f"the weight {variable.path} became non-finite",
                    "Lower the learning rate, or clip the gradients with the optimizer's `global_clipnorm`.",
                )

    def _state(self, epochs_done: int, step: int) -> dict[str, Any]:
        callbacks: dict[str, Any] = {}
        for name, callback in self.stateful.items():
            attributes = {key: _plain(getattr(callback, key)) for key in CALLBACK_STATE if hasattr(callback, key)}
            if hasattr(callback, "rate"):
                attributes["rate"] = float(callback.rate.numpy())
            callbacks[name] = attributes
        return {
            "epochs_done": epochs_done,
            "step": step,
            "seconds": round(self.clock.seconds, 3) if step else 0.0,
            "stopped": bool(self.model.stop_training),
            "rows": self.rows,
            "best_epoch": self.best_epoch,
            "callbacks": callbacks,
            **(self.course.as_json(epochs_done, self.model.stop_training) if len(self.course.lengths) > 1 else {}),
        }

    @property
    def _names(self) -> list[str]:
        """The columns of the task's figures: those of training, then those of validation."""
        return [f"{prefix}{figure.name}" for prefix in ("", "val_") for figure in self.columns]

    def _ordered(self, logs: dict[str, float]) -> dict[str, float]:
        """The task's figures first, then the others by name."""
        first = self._names
        names = [name for name in first if name in logs] + sorted(name for name in logs if name not in first)
        return {name: logs[name] for name in names}

    def _show(self, row: dict[str, Any]) -> None:
        shown = dict.fromkeys(self._names if self.monitor.keeps_last else (*self._names, self.monitor.metric))
        measured = [f"{name} {row[name]:.4f}" for name in shown if name in row]
        recent = [past["seconds"] for past in self.rows[-5:]]
        epochs = self.course.total
        left = (epochs - row["epoch"]) * sum(recent) / len(recent)
        parts = [
            f"epoch {row['epoch']:>{len(str(epochs))}}/{epochs}",
            *measured,
            f"rate {row['learning_rate']:.3g}",
            f"{row['seconds']:.1f} s",
            f"{row['images_per_second']:,.0f} {self.samples}/s",
        ]
        if row["epoch"] < epochs:
            parts.append(f"ETA {format_duration(left)}")
        self.console.line("  ".join(parts) + ("  best" if self.best_epoch == row["epoch"] else ""))


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, np.floating) else int(value) if isinstance(value, np.integer) else value
