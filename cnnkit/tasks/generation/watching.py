"""What is kept of a training's samples: a sheet after each epoch. This module imports Keras; only training does."""

# Keras ships no types: its classes are Any to mypy.
# mypy: disallow-subclassing-any=False

from __future__ import annotations

import logging
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


log = logging.getLogger("cnnkit")

#: The discriminator has won where it gets more than this share right, and the samples are alike where their spread is
#: less than this share of that of the real images, on average over the last hundred steps.
_WON, _COLLAPSED = 0.99, 0.1


def troubles(right: Any, spread: Any) -> dict[str, str]:
    """What goes wrong in a training, by a name, in words.

    Args:
        right: The share of images, real and made, that the discriminator gets right.
        spread: That of the made images, as a share of that of the real ones.
    """
    found = {}
    if float(right) > _WON:
        found["won"] = (
            f"the discriminator has won: it is right about {float(right):.1%} of the images, and the generator learns "
            "little of it; raise `r1` of the task, or give the discriminator less to learn with"
        )
    if float(spread) < _COLLAPSED:
        found["collapsed"] = (
            f"the samples have collapsed: they differ {float(spread):.1%} as much as real images do; lower the "
            "learning rates, or raise `r1` of the task"
        )
    return found


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
        self._said: set[str] = set()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        for name, message in troubles(self.model.right_lately, self.model.spread_lately).items():
            if name not in self._said:
                self._said.add(name)
                log.warning("after epoch %s: %s", epoch + 1, message)
        path = self.run.sheet(epoch + 1)
        path.parent.mkdir(exist_ok=True)
        with replacing(path) as temporary:
            picture_of(tiled(made_by(self.model.average, self.vectors))).save(temporary, "PNG")
