"""A network that is served: what is known of it, and what it says of images, or makes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cnnkit.errors import UsageError
from cnnkit.runs.finding import distinct_names
from cnnkit.runs.predictor import Predictor
from cnnkit.runs.trained import TrainedRun
from cnnkit.serve.examples import read_examples
from cnnkit.serve.inside import inside_of

#: Directions of the latent space that images are moved along, at most.
MOST_DIRECTIONS = 8


class Served:
    """A network that answers for images or texts, ready to compute.

    Args:
        predictor: A run with a model, or an exported file.
        name: What tells it from the others that are served.
        threshold: What is said has at least this score, 0..1; None for what the network's own answers say.

    Raises:
        CnnkitError: if it cannot be used.
        UsageError: if there is a threshold, and what it says has no scores.
    """

    def __init__(self, predictor: Predictor, name: str, threshold: float | None = None) -> None:
        self.predictor = predictor
        self.name = name
        self.interface = predictor.interface
        answers = predictor.task.answers(predictor.interface)
        self.answers = answers if threshold is None else answers.above(threshold)
        self.inside = inside_of(predictor, self.answers)
        self.network, self.batch_size = predictor.network()
        self.examples = read_examples(predictor, self.answers)
        self.parameters = predictor.parameters()

    def warm_up(self) -> None:
        """Computes once, so that the first request does not wait for preparations."""
        image = np.zeros((1, *self.interface.image_shape), self.interface.sample.dtype)
        self.network(image)
        self.inside.look(image, None)


class ServedMaker:
    """A network that makes images, ready to compute.

    Args:
        trained: A run with a model.
        name: What tells it from the others that are served.

    Raises:
        CnnkitError: if it cannot be used.
    """

    def __init__(self, trained: TrainedRun, name: str) -> None:
        self.predictor = trained
        self.name = name
        self.interface = trained.interface
        self.maker = trained.task.maker(trained)
        self.network, self.batch_size = trained.network()
        #: float32 [directions, latent].
        self.directions: NDArray[np.float32] = self.maker.directions(MOST_DIRECTIONS)
        self.parameters = trained.parameters()

    def vector(self, seed: int, of_class: str | None, amounts: Sequence[float]) -> NDArray[np.float32]:
        """What the network takes for an image.

        Args:
            seed, of_class: As for `Maker.vector`.
            amounts: How far it is moved along the directions, in their order; not at all along those that are left out.
        """
        return self.maker.vector(seed, of_class, np.asarray(amounts) @ self.directions[: len(amounts)])

    def warm_up(self) -> None:
        """Computes once, so that the first request does not wait for preparations."""
        self.network(self.vector(0, None, ())[None])


def serve_networks(predictors: Sequence[Predictor], threshold: float | None = None) -> list[Served | ServedMaker]:
    """The networks, loaded.

    Args:
        threshold: As for `Served`.

    Raises:
        UsageError: if there is none, or one is named twice; or as `Served`.
        CnnkitError: if one cannot be used.
    """
    if not predictors:
        raise UsageError("which run? expected at least one to serve")
    names = distinct_names([predictor.path for predictor in predictors])
    for predictor in predictors:
        predictor.check_model()
    return [_served(predictor, name, threshold) for name, predictor in zip(names, predictors, strict=True)]


def _served(predictor: Predictor, name: str, threshold: float | None) -> Served | ServedMaker:
    if not predictor.task.makes_images:
        return Served(predictor, name, threshold)
    if threshold is not None:
        raise UsageError(f"a threshold is for objects, each of which is said with a score; `{name}` makes images")
    assert isinstance(predictor, TrainedRun)
    return ServedMaker(predictor, name)
