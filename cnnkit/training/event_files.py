"""TensorBoard's event files, with the figures of metrics.csv, and no step that waits for TensorBoard.

This module imports Keras; only training imports it.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras


class _Writer(keras.callbacks.TensorBoard):
    """Keras' callback, which leaves the learning rate that an epoch recorded, and writes each epoch as it ends."""

    def _collect_learning_rate(self, logs: dict[str, Any]) -> dict[str, Any]:
        return logs if "learning_rate" in logs else super()._collect_learning_rate(logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        super().on_epoch_end(epoch, logs)
        # Left to itself, TensorFlow writes every two minutes; a process that is killed would take an epoch with it
        # that its checkpoint, which follows, holds.
        for writer in self._writers.values():
            writer.flush()


class EventFiles(keras.callbacks.Callback):
    """Writes what Keras' TensorBoard callback writes with `update_freq="epoch"`.

    That callback loads the package `tensorboard` before the first step, and is called at every batch without having
    anything to write. This one makes it when the first epoch has ended, and calls it only at the end of epochs. Keras
    writes the rate that the next epoch begins with; here it is the one in the logs, where there is one.

    Args:
        folder: Where the event files go.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self._writer: Any = None
        self._tested: dict[str, Any] | None = None

    def on_test_end(self, logs: Any = None) -> None:
        self._tested = dict(logs or {})

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        with _writing_to(self.folder):
            self._write(epoch, logs)

    def _write(self, epoch: int, logs: Any) -> None:
        if self._writer is None:
            self._writer = _Writer(log_dir=str(self.folder), write_graph=False, update_freq="epoch")
            self._writer.set_params(self.params)
            self._writer.set_model(self.model)
            self._writer.on_train_begin()
        if self._tested is not None:
            self._writer.on_test_begin()
            self._writer.on_test_end(self._tested)
            self._tested = None
        self._writer.on_epoch_end(epoch, logs)

    def on_train_end(self, logs: Any = None) -> None:
        if self._writer is not None:
            with _writing_to(self.folder):
                self._writer.on_train_end(logs)
            # That has closed its files; another stage may follow.
            self._writer = None


@contextlib.contextmanager
def _writing_to(folder: Path) -> Iterator[None]:
    """What TensorFlow says of a file that it cannot write becomes what Python says of one.

    A full disk is a ResourceExhaustedError to it, as is too little memory.
    """
    import tensorflow as tf

    try:
        yield
    except tf.errors.OpError as error:
        reason = error.message.strip().splitlines()[0]
        known = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS)
        number = next((one for one in known if os.strerror(one) in reason), errno.EIO)
        raise OSError(number, reason, str(folder)) from error
