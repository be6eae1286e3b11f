"""The Keras callback that keeps the live page's files up to date between epochs.

This module imports Keras; only training imports it.
"""

from __future__ import annotations

from typing import Any

import keras

from cnnkit.callbacks import Keeper
from cnnkit.live.snapshots import Snapshots
from cnnkit.live.state import Reporter


class LiveFiles(keras.callbacks.Callback):
    """Tells the reporter of epochs, and takes snapshots. Stands behind the Keeper, of whose rows it tells."""

    def __init__(self, reporter: Reporter, keeper: Keeper, snapshots: Snapshots) -> None:
        super().__init__()
        self.reporter = reporter
        self.keeper = keeper
        self.snapshots = snapshots

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.reporter.begin_epoch(epoch + 1)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        is_last = epoch + 1 == self.reporter.epochs or self.model.stop_training
        self.reporter.end_epoch(self.keeper.rows, self.keeper.best_epoch if self.keeper.best else None)
        self.snapshots.take(epoch + 1, is_last)
        if not is_last:
            self.reporter.check_stop()
