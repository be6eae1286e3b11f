"""A network that is served: what is known of it, and what it says of images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cnnkit.errors import UsageError
from cnnkit.runs.finding import distinct_names
from cnnkit.runs.predictor import Predictor
from cnnkit.serve.examples import read_examples
from cnnkit.serve.inside import inside_of


class Served:
    """A network, ready to compute.

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


def serve_networks(predictors: Sequence[Predictor], threshold: float | None = None) -> list[Served]:
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
    return [Served(predictor, name, threshold) for name, predictor in zip(names, predictors, strict=True)]
