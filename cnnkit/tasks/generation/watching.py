"""What is kept of a training's samples: a sheet after each epoch. This module imports Keras; only training does."""

# Keras ships no types: its classes are Any to mypy.
# mypy: disallow-subclassing-any=False

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras

from cnnkit.config.sample import LatentSample
from cnnkit.files import replacing
from cnnkit.images.pictures import picture_of
from cnnkit.images.tiles import tiled
from cnnkit.tasks.generation.sampling import made_by
from cnnkit.tasks.generation.training import watched_latents

if TYPE_CHECKING:
    from cnnkit.runs.directory import Run
    from cnnkit.training.preparation import Preparation


class SampleSheets(keras.callbacks.Callback):
    """Writes the images that the averaged generator makes of the same latent vectors after each epoch.

    Args:
        prepared: The training.
        run: Gets a sheet for each epoch.
    """

    def __init__(self, prepared: Preparation, run: Run) -> None:
        super().__init__()
        sample = prepared.data.info.sample
        assert isinstance(sample, LatentSample)
        self.run = run
        self.vectors = watched_latents(prepared.config, sample)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        path = self.run.sheet(epoch + 1)
        path.parent.mkdir(exist_ok=True)
        with replacing(path) as temporary:
            picture_of(tiled(made_by(self.model.average, self.vectors))).save(temporary, "PNG")
