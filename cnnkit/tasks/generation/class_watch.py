"""What a classifier says of a training's samples after each epoch. This module imports Keras; only training does."""

# Keras ships no types: its classes are Any to mypy.
# mypy: disallow-subclassing-any=False

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from cnnkit.config.sample import LatentSample
from cnnkit.tasks.generation.classifier import ACCEPTED, open_classifier
from cnnkit.tasks.generation.evaluation import DEAD
from cnnkit.tasks.generation.sampling import made_by
from cnnkit.tasks.generation.training import watched_latents

if TYPE_CHECKING:
    from cnnkit.training.preparation import Preparation

#: Images that are made for it: enough to see that a class is gone, and a second's work.
ESTIMATED = 1000

log = logging.getLogger("cnnkit")


class ClassWatch(keras.callbacks.Callback):
    """How many images of the averaged generator the classifier accepts, as `accepted` for the callbacks after this one.

    It says which classes are hardly made.

    Args:
        prepared: The training.
        path: The classifier's run.
    """

    def __init__(self, prepared: Preparation, path: str) -> None:
        super().__init__()
        sample, train = prepared.data.info.sample, prepared.data.train
        assert isinstance(sample, LatentSample)
        assert train is not None
        self.classifier = open_classifier(path)
        self.vectors = watched_latents(prepared.config, sample, ESTIMATED)
        classes = len(self.classifier.names)
        self.real_shares = np.bincount(np.asarray(train.labels), minlength=classes) / train.size

    def on_epoch_end(self, epoch: int, logs: Any) -> None:
        seen = self.classifier.see(made_by(self.model.average, self.vectors))
        accepted = float((seen.largest >= ACCEPTED).mean())
        logs["accepted"] = accepted
        shares = np.bincount(seen.classes, minlength=len(self.classifier.names)) / len(self.vectors)
        dead = [
            name
            for name, share, real in zip(self.classifier.names, shares, self.real_shares, strict=True)
            if share < DEAD * real
        ]
        if dead:
            log.warning(
                "epoch %d: of %s made images hardly any is %s; the classifier accepts %.0f %% of all at %.0f %%",
                epoch + 1,
                f"{len(self.vectors):,}",
                ", ".join(dead),
                100 * accepted,
                100 * ACCEPTED,
            )
