"""What a generation is trained with: the two networks, and the latent vectors whose images are watched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.config.sample import LatentSample
from cnnkit.errors import UsageError
from cnnkit.format.seeds import derive_seed
from cnnkit.task import Watched
from cnnkit.tasks.generation.sampling import latents, made_by, with_classes
from cnnkit.tasks.generation.settings import DISCRIMINATOR

if TYPE_CHECKING:
    from cnnkit.config.run import RunConfig
    from cnnkit.data.splits import DataSets
    from cnnkit.tasks.generation.settings import Settings
    from cnnkit.training.preparation import Preparation

#: Images of a sheet.
WATCHED = 64


def make_model(layers: Sequence[Any], head: str) -> Any:
    """See `Task.make_model`: the generator, whose last layer makes 0..255 of what the config's layers output."""
    import keras

    scale, offset = (255.0, 0.0) if head == "sigmoid" else (127.5, 127.5)
    ending = keras.layers.Rescaling(scale, offset, name="made", dtype="float32")
    return keras.Sequential([*layers, ending], name="model")


def make_trainer(task: Settings, network: Any, config: RunConfig, data: DataSets, others: Mapping[str, Any]) -> Any:
    """See `Task.make_trainer`."""
    import keras
    import tensorflow as tf

    if tf.distribute.get_strategy().num_replicas_in_sync > 1:
        raise UsageError(
            "two networks are trained against each other on one device, but several devices share each batch",
            "Write `training.strategy: one_device`.",
        )
    from cnnkit.tasks.generation.keras_objects import Adversaries
    from cnnkit.training.model import without_training_state

    discriminator = keras.Sequential(others[DISCRIMINATOR], name=DISCRIMINATOR)
    sample = data.info.sample
    assert isinstance(sample, LatentSample)
    seed = derive_seed(config.seed, "latents", "step")
    return Adversaries(task, network, discriminator, without_training_state(network), sample.conditions, seed)


def watched_latents(config: RunConfig, sample: LatentSample, count: int = WATCHED) -> NDArray[np.float32]:
    """The latent vectors whose images a run shows after each epoch: all classes in turn, where it knows classes."""
    vectors = latents(derive_seed(config.seed, "latents", "watched"), count, sample.size)
    if not sample.conditions:
        return vectors
    return with_classes(vectors, [number % sample.conditions for number in range(count)], sample.conditions)


def watched(prepared: Preparation) -> Watched:
    """See `Task.watched`: latent vectors, and the images that are made of them."""
    from cnnkit.runs.samples import SAMPLES

    sample, model = prepared.data.info.sample, prepared.model
    assert isinstance(sample, LatentSample)
    vectors = watched_latents(prepared.config, sample, SAMPLES)

    def outputs() -> Any:
        return made_by(model.average, vectors)

    return Watched(vectors, np.zeros((len(vectors), 0), np.float32), outputs)
