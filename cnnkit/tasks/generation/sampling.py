"""Images that a trained generator makes of latent vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from cnnkit.runs.trained import TrainedRun

#: Images that are made at a time.
BATCH = 100


def latents(seed: int, count: int, latent: int) -> NDArray[np.float32]:
    """Standard normal latent vectors, float32 [count, latent].

    Each follows from the seed and its own number, however many are drawn (NumPy's Philox, a counter for each).

    Args:
        seed: From 0.
        count: How many.
        latent: Numbers of each.
    """
    rows = [np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, 0, number])) for number in range(count)]
    drawn = [row.standard_normal(latent, dtype=np.float32) for row in rows]
    return np.stack(drawn) if drawn else np.zeros((0, latent), np.float32)


def with_classes(vectors: NDArray[np.float32], classes: Sequence[int], conditions: int) -> NDArray[np.float32]:
    """Latent vectors with the class of each as one-hot after them.

    Args:
        vectors: [count, latent].
        classes: The number of the class of each.
        conditions: How many classes there are.
    """
    return np.concatenate([vectors, np.eye(conditions, dtype=np.float32)[np.asarray(classes, int)]], axis=1)


def as_bytes(images: Any) -> NDArray[np.uint8]:
    """A generator's outputs, 0..255, as uint8 of the same shape."""
    return np.rint(np.clip(np.asarray(images, np.float32), 0, 255)).astype(np.uint8)


def made_by(network: Callable[[Any], Any], vectors: NDArray[np.float32], batch_size: int = BATCH) -> NDArray[np.uint8]:
    """The images that a generator makes, uint8 [count, height, width, channels].

    Args:
        network: From latent vectors to images, 0..255.
        vectors: What it takes, [count, numbers], at least one.
        batch_size: How many are made at a time.
    """
    return np.concatenate(
        [as_bytes(network(vectors[start : start + batch_size])) for start in range(0, len(vectors), batch_size)]
    )


def samples(
    trained: TrainedRun,
    vectors: NDArray[np.float32],
    classes: Sequence[int] | None = None,
    batch_size: int = BATCH,
) -> NDArray[np.uint8]:
    """The images that a run's generator makes, uint8 [count, height, width, channels].

    Args:
        trained: The run.
        vectors: Latent vectors, see `latents`.
        classes: Of a conditional generator the class of each image, by its number; by default all in turn.
        batch_size: How many are made at a time.

    Raises:
        CnnkitError: if the run has no model.
        UsageError: if classes are asked for of a generator that knows none.
    """
    from cnnkit.config.sample import LatentSample
    from cnnkit.errors import UsageError

    sample = trained.interface.sample
    assert isinstance(sample, LatentSample)
    if sample.conditions:
        classes = [number % sample.conditions for number in range(len(vectors))] if classes is None else classes
        vectors = with_classes(vectors, classes, sample.conditions)
    elif classes is not None:
        raise UsageError(
            f"the run `{trained.run.path}` cannot be asked for a class: it was trained without",
            "Train one with `task: {generation: {conditional: true}}`.",
        )
    network, _ = trained.network()
    return made_by(network, vectors, batch_size)
