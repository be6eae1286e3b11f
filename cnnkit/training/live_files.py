"""The Keras callback that keeps the live page's files up to date between epochs.

This module imports Keras; only training imports it.
"""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from cnnkit.runs.directory import Run
from cnnkit.runs.interface import Interface
from cnnkit.runs.progress import Reporter
from cnnkit.training.callbacks import Keeper
from cnnkit.training.model import first_kernel
from cnnkit.training.snapshots import Snapshots

if TYPE_CHECKING:
    from cnnkit.training.preparation import Preparation


class LiveFiles(keras.callbacks.Callback):
    """Tells the reporter of epochs, and takes snapshots. Follows the Keeper, whose rows it reports."""

    def __init__(self, reporter: Reporter, keeper: Keeper, snapshots: Snapshots) -> None:
        super().__init__()
        self.reporter = reporter
        self.keeper = keeper
        self.snapshots = snapshots
        self._ended = 0

    def on_train_begin(self, logs: Any = None) -> None:
        # The epochs of earlier processes.
        if self.keeper.rows:
            self._tell()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.reporter.begin_epoch(epoch + 1)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        is_last = epoch + 1 == self.reporter.epochs or self.model.stop_training
        self._ended += 1
        self._tell()
        self.snapshots.take(epoch + 1, is_last)
        if not is_last:
            self.reporter.check_stop()

    def on_train_end(self, logs: Any = None) -> None:
        # The process that trained the last epoch may have been killed after its checkpoint, before its snapshot.
        if self.keeper.rows and not self._ended:
            self.snapshots.take(len(self.keeper.rows), is_last=True)

    def _tell(self) -> None:
        keeper = self.keeper
        names = [figure.name for figure in keeper.columns if figure.name in keeper.rows[-1]]
        self.reporter.end_epoch(keeper.rows, keeper.best_epoch, keeper.monitor.metric, names)


def snapshots_of(prepared: Preparation, run: Run, reporter: Reporter, keeper: Keeper, *, is_resumed: bool) -> Snapshots:
    """The snapshots of a training's model, with the averaged weights where the keeper has any."""
    model, watched = prepared.network, prepared.config.task.watched(prepared)

    @tf.function(jit_compile=prepared.runtime.jit_compile, autograph=False)
    def network(images: Any) -> Any:
        return model(images, training=False)

    def in_model() -> AbstractContextManager[None]:
        return keeper.averaged.in_model() if keeper.averaged is not None else contextlib.nullcontext()

    def outputs(images: Any) -> Any:
        if watched is not None:
            return watched.outputs()
        with in_model():
            return network(tf.constant(images))

    def kernel() -> Any:
        with in_model():
            return first_kernel(model)

    config, info = prepared.config, prepared.data.info
    interface = Interface(info.shape, prepared.class_names, prepared.head, padding=info.padding, sample=info.sample)
    answers = config.task.answers(interface)
    return Snapshots(run, reporter, config, info, answers, outputs, kernel, watched, is_resumed=is_resumed)
