"""What a restoration is trained with: noise, what is known of the picture, and the numbers of the steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cnnkit.format.seeds import derive_seed
from cnnkit.images.padding import padded_image
from cnnkit.task import Watched
from cnnkit.tasks.restoration.copies import lessons_of_copies
from cnnkit.tasks.restoration.hiding import lessons_of_hidden
from cnnkit.tasks.restoration.observation import Observation, larger, observe

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cnnkit.config.run import RunConfig
    from cnnkit.data.splits import DataSets
    from cnnkit.tasks.restoration.settings import Settings
    from cnnkit.training.loop import Position
    from cnnkit.training.preparation import Preparation

#: The largest value of the noise that a network makes its picture of; the smallest is 0.
LARGEST_NOISE = 0.1


def make_noise(seed: int, shape: tuple[int, ...]) -> Any:
    """What a network makes its picture of, float32 [1, height, width, channels]: even between 0 and 0.1.

    It follows from the run's seed by NumPy alone, so that model.keras can be given it without cnnkit.

    Args:
        seed: The run's.
        shape: Without the batch.
    """
    return np.random.default_rng(seed).uniform(0, LARGEST_NOISE, (1, *shape)).astype(np.float32)


def hold_out(known: NDArray[np.bool_], share: float, seed: int) -> NDArray[np.bool_]:
    """Which pixels judge what is learned of the others: a share of the known ones, drawn, at least one.

    Args:
        known: [height, width].
        share: Between 0 and 1.
        seed: Draws them.
    """
    places = np.flatnonzero(known)
    drawn = np.random.default_rng(seed).choice(places, max(1, round(share * len(places))), replace=False)
    held_out = np.zeros(known.shape, bool)
    held_out.flat[drawn] = True
    return held_out


def observation_of(config: RunConfig, data: DataSets) -> Observation:
    """What is known of the picture of a data set."""
    assert data.train is not None
    return observe(config.data, data.train.read([0])[0])


def make_trainer(task: Settings, network: Any, config: RunConfig, data: DataSets) -> Any:
    """See `Task.make_trainer`."""
    from cnnkit.tasks.restoration.keras_objects import Corrector, Restorer

    observation = observation_of(config, data)
    if task.corrects:
        if task.hidden is not None:
            of_choices, of_steps = derive_seed(config.seed, "hidden"), derive_seed(config.seed, "hidden", "step")
            lessons = lessons_of_hidden(observation.pixels, observation.known, task.hidden, of_choices)
        else:
            of_steps = derive_seed(config.seed, "copies", "step")
            lessons = lessons_of_copies(observation.pixels, task.network_times(observation.times))
        return Corrector(task, network, lessons, observation, data.info.padding, of_steps)
    noise = make_noise(config.seed, data.info.shape)
    seed = derive_seed(config.seed, "noise", "step")
    held_out = None
    if task.held_out is not None:
        held_out = hold_out(observation.known, task.held_out, derive_seed(config.seed, "held out"))
    return Restorer(task, network, noise, observation, data.info.padding, seed, held_out)


def step_numbers(task: Settings, position: Position, epochs: int | None) -> Any:
    """The number of each step: all that it depends on but the weights."""
    import tensorflow as tf

    first = position.epoch * task.iterations
    last = np.iinfo(np.int64).max if epochs is None else first + epochs * task.iterations
    return tf.data.Dataset.range(first + position.step, last)


def watched(task: Settings, prepared: Preparation) -> Watched:
    """See `Task.watched`: the damaged picture, and what it is restored to."""
    from cnnkit.tasks.restoration.keras_objects import as_bytes

    observation, model = observation_of(prepared.config, prepared.data), prepared.model
    shown = larger(observation.pixels, task.network_times(observation.times))
    images = padded_image(shown, prepared.data.info.padding)[None]

    def outputs() -> Any:
        return as_bytes(model.finished(model.averaged))[None]

    return Watched(images, np.zeros((1, 0), np.float32), outputs)
