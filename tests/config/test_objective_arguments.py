"""Arguments of losses and metrics: what is accepted works in Keras on [batch, classes], and what does not is refused.

Whether it works is asked of Keras itself, inside a compiled function as in training: it gives a finite number, which
depends on the labels, and a metric's (and, where an axis is given, a loss') is the same whatever the batches are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from pydantic_core import PydanticCustomError

from cnnkit.config.objectives.losses import LOSSES
from cnnkit.config.objectives.metrics import METRICS
from cnnkit.format.base import Choice

CLASSES = 4
IMAGES = 24

_AXES: list[Any] = [-2, -1, 0, 1, 7]
_LISTS_OF_AXES: list[Any] = [None, [0], [1], [-1], [-2], [0, 1], [1, -1], [-2, 0], [], [2], [5]]

#: What somebody may write for an argument of a metric, by its name.
METRIC_VALUES: dict[str, list[Any]] = {
    "axis": _AXES,
    "k": [1, 2, 3, 4, 5, 50],
    "top_k": [1, 2, 3, 4, 5, 50],
    "class_id": [0, 3, 4, 9],
    "threshold": [0, 0.3, 0.5, 1],
    "thresholds": [0, 0.3, 0.5, 1],
    "num_thresholds": [0, 2, 3, 200],
    "curve": ["ROC", "PR", "PRGAIN"],
    "summation_method": ["interpolation", "minoring", "majoring"],
    "label_smoothing": [0, 0.1, 1],
    "average": ["micro", "macro", "weighted"],
    "beta": [0, 0.5, 2.0],
    "recall": [0, 0.5, 1],
    "precision": [0.5, 1],
    "specificity": [0, 0.5, 1],
    "sensitivity": [0, 0.5, 1],
    "class_aggregation": ["uniform_average", "variance_weighted_average"],
    "num_regressors": [0, 1, 3, 100],
    "multi_label": [False, True],
}

#: Further arguments of AUC, which go together or do not.
OF_AUC: list[dict[str, Any]] = [
    {"num_labels": 4},
    {"label_weights": [1, 2, 3, 4]},
    *({"multi_label": True, "num_labels": number} for number in (1, 3, 4, 5)),
    *(
        {"multi_label": True, "label_weights": weights}
        for weights in ([1, 2], [1, 2, 3, 4], [0, 0, 0, 0], [1, 0, 0, 0])
    ),
    {"multi_label": True, "curve": "PR"},
    {"multi_label": True, "curve": "PRGAIN"},
    *({"thresholds": thresholds} for thresholds in ([], [0.5], [0.2, 0.7], [-0.5], [1.5])),
]

#: The same for losses.
LOSS_VALUES: dict[str, list[Any]] = {
    "label_smoothing": [0, 0.1, 1],
    "alpha": [0, 0.25, 1],
    "gamma": [0, 2.0],
    "apply_class_balancing": [False, True],
    "q": [0, 0.5, 1],
    "delta": [0, 0.1, 1.0],
    "margin": [0, 0.4],
    "remove_diagonal": [False, True],
    "reduction": ["sum_over_batch_size", "sum", "mean", "mean_with_sample_weight"],
}


def of_metrics() -> Iterator[tuple[str, dict[str, Any]]]:
    required = {"recall": 0.5, "precision": 0.5, "specificity": 0.5, "sensitivity": 0.5}
    for name in METRICS.names():
        cls = METRICS.get(name)
        assert cls is not None
        needed = {key: value for key, value in required.items() if key in cls.model_fields}
        yield name, needed
        for argument in cls.model_fields:
            for value in METRIC_VALUES.get(argument, []):
                if (name, argument) != ("AUC", "thresholds"):
                    yield name, needed | {argument: value}
    for arguments in OF_AUC:
        yield "AUC", arguments


def of_losses() -> Iterator[tuple[str, dict[str, Any]]]:
    # A sum is measured part by part, on masks alone.
    for name in (name for name in LOSSES.names() if name != "Sum"):
        cls = LOSSES.get(name)
        assert cls is not None
        yield name, {}
        values = LOSS_VALUES | {"axis": _LISTS_OF_AXES if name in ("Dice", "Tversky") else _AXES}
        for argument in cls.model_fields:
            for value in values.get(argument, []):
                yield name, {argument: value}
    yield "Tversky", {"alpha": 0, "beta": 0}
    yield "BinaryFocalCrossentropy", {"apply_class_balancing": True, "alpha": 0.5}


def accepted(table: Any, name: str, arguments: dict[str, Any]) -> bool:
    try:
        found: Any = Choice(table).validate({name: arguments})
    except PydanticCustomError:
        return False
    return table is LOSSES or found.misfit(CLASSES) is None


def images() -> tuple[np.ndarray, np.ndarray]:
    """One-hot labels and probabilities, [24, 4], which are right more often than not, never surely."""
    random = np.random.default_rng(3)
    labels = np.eye(CLASSES, dtype=np.float32)[np.arange(IMAGES) % CLASSES]
    powers = np.exp(random.normal(0, 1, (IMAGES, CLASSES)) + 2 * labels)
    return labels, (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def shuffled(labels: np.ndarray) -> np.ndarray:
    """The labels in another order; one class for another would be the same to a loss of pairs."""
    return np.random.default_rng(4).permutation(labels)


def metric_works(name: str, arguments: dict[str, Any]) -> bool:
    labels, probabilities = images()
    cls = METRICS.get(name)
    assert cls is not None
    if "average" in cls.model_fields:
        arguments = {"average": "macro"} | arguments

    def value(truth: np.ndarray, batches: int) -> Any:
        metric = getattr(keras.metrics, name)(**arguments)
        size = IMAGES // batches

        def measured() -> Any:
            for start in range(0, IMAGES, size):
                metric.update_state(truth[start : start + size], probabilities[start : start + size])
            return metric.result()

        return (tf.function(measured) if batches == 1 and truth is labels else measured)().numpy()

    try:
        whole, parts, other = value(labels, 1), value(labels, 3), value(shuffled(labels), 1)
    except (ValueError, TypeError, IndexError, NotImplementedError, AssertionError, tf.errors.OpError):
        return False
    return bool(
        np.ndim(whole) == 0
        and np.isfinite(whole)
        and np.isclose(whole, parts, rtol=1e-4)
        and not np.isclose(whole, other)
    )


def loss_works(name: str, arguments: dict[str, Any]) -> bool:
    labels, probabilities = images()
    numbers = name in ("CategoricalGeneralizedCrossEntropy", "Circle")
    over_batch = name in ("Dice", "Tversky")

    def value(truth: np.ndarray, rows: slice) -> tuple[float, float]:
        def measured() -> Any:
            outputs = tf.constant(probabilities[rows])
            loss = getattr(keras.losses, name)(**arguments)
            # Class weights weigh images.
            weights = None if over_batch else tf.ones(outputs.shape[0])
            with tf.GradientTape() as tape:
                tape.watch(outputs)
                result = loss(truth[rows].argmax(axis=1) if numbers else truth[rows], outputs, weights)
            return result, tf.reduce_max(tf.abs(tape.gradient(result, outputs)))

        result, gradient = (tf.function(measured) if truth is labels and rows == slice(None) else measured)()
        assert np.ndim(result) == 0
        return float(result), float(gradient)

    try:
        whole, gradient = value(labels, slice(None))
        other, _ = value(shuffled(labels), slice(None))
        parts = [value(labels, slice(start, start + 8))[0] for start in (0, 8, 16)] if "axis" in arguments else [whole]
    except (ValueError, TypeError, IndexError, NotImplementedError, AssertionError, tf.errors.OpError):
        return False
    of_batch = over_batch or np.isclose(np.mean(parts), whole, rtol=1e-4)
    return bool(np.isfinite([whole, gradient]).all() and gradient > 0 and of_batch and not np.isclose(whole, other))


@pytest.mark.long
@pytest.mark.parametrize(("name", "arguments"), list(of_metrics()), ids=str)
def test_a_metric_is_accepted_where_it_works(name: str, arguments: dict[str, Any]) -> None:
    assert accepted(METRICS, name, arguments) == metric_works(name, arguments)


@pytest.mark.long
@pytest.mark.parametrize(("name", "arguments"), list(of_losses()), ids=str)
def test_a_loss_is_accepted_where_it_works(name: str, arguments: dict[str, Any]) -> None:
    assert accepted(LOSSES, name, arguments) == loss_works(name, arguments)
