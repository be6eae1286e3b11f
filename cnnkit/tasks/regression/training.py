"""How a network learns numbers: its layers learn standardised ones, and its last layer gives them back in their units.

So that what is saved outputs real units by itself, the trained model is the layers of the config and one more, Keras'
`Rescaling`, which holds the training images' means and standard deviations. The loss divides by these, so that columns
of different units count alike and learning rates mean what they usually do; metrics are in the columns' own units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.config.target import Numbers, Target
from cnnkit.tasks.regression.check import UNITS

if TYPE_CHECKING:
    from cnnkit.config.objectives.losses import Loss
    from cnnkit.config.training import TrainingConfig


def configured_loss(training: TrainingConfig) -> Loss:
    """The loss that the config names, else the mean squared error."""
    from cnnkit.config.objectives.distance_losses import MeanSquaredError

    return training.loss or MeanSquaredError()


def measured(target: Target, values: NDArray[Any]) -> Numbers:
    """The target with means and standard deviations of training images.

    Args:
        values: [images, numbers].
    """
    assert isinstance(target, Numbers)
    numbers = np.asarray(values, np.float64)
    deviations = numbers.std(axis=0)
    # A number that is always the same has nothing to be divided by.
    deviations = np.where(deviations > 0, deviations, 1.0)
    return replace(target, means=tuple(numbers.mean(axis=0).tolist()), deviations=tuple(deviations.tolist()))


def of_model(target: Target, model: Any) -> Numbers:
    """The target as it was measured when a model of `make_model` was trained."""
    assert isinstance(target, Numbers)
    layer = model.get_layer(UNITS)
    return replace(target, means=tuple(layer.offset), deviations=tuple(layer.scale))


def make_model(layers: Sequence[Any], target: Target) -> Any:
    """The Keras model to train, which outputs the columns' own units."""
    import keras

    means, deviations = _constants(target)
    units = keras.layers.Rescaling(scale=deviations, offset=means, name=UNITS, dtype="float32")
    return keras.Sequential([*layers, units], name="model")


def make_loss(training: TrainingConfig, target: Target) -> Any:
    """The Keras loss of numbers in their own units: the config's, of the standardised ones."""
    from cnnkit.tasks.regression.keras_objects import StandardizedLoss

    return StandardizedLoss(configured_loss(training).build(from_logits=False), *_constants(target))


def _constants(target: Target) -> tuple[list[float], list[float]]:
    assert isinstance(target, Numbers)
    return list(target.means or [0.0] * target.size), list(target.deviations or [1.0] * target.size)


def make_metrics(training: TrainingConfig) -> list[Any]:
    """The mean absolute error, the root of the mean squared one, and the metrics that the config names."""
    import keras

    errors = [keras.metrics.MeanAbsoluteError(name="mae"), keras.metrics.RootMeanSquaredError(name="rmse")]
    return [*errors, *(metric.build(from_logits=False) for metric in training.metrics)]
