"""Test-time augmentation for networks that compute with arrays, as `inference.compile_network` has it in TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.runs.heads import LARGEST_PROBABILITY, SMALLEST_PROBABILITY
from cnnkit.runs.inference import view_weights

Array = NDArray[np.float32]


def averaged(network: Callable[[Any], Any], tta: Sequence[str], head: str) -> Callable[[Any], Any]:
    """A network whose outputs are averaged over views of each image, before the last activation.

    Args:
        network: From images [batch, height, width, channels] to outputs [batch, ...], both arrays.
        tta: At least one of `inference.TEST_TIME_AUGMENTATIONS`; what they mean stands there.
        head: `softmax`, `logits` or `sigmoid`.
    """
    weights = np.asarray(view_weights(tta), np.float32)

    def call(images: Any) -> Any:
        views = _views(np.asarray(images), tta)
        scores = _before_activation(network(np.concatenate(views)), head)
        scores = scores.reshape(len(views), len(images), *scores.shape[1:])
        if scores.ndim == 5:
            # What the mirror image shows on the left lies on the right.
            scores[1:] = scores[1:, :, :, ::-1]
        return _activate(np.tensordot(weights, scores, axes=1), head)

    return call


def _views(images: NDArray[Any], tta: Sequence[str]) -> list[NDArray[Any]]:
    """The views of a batch, the unchanged one first, in the order of `inference.view_weights`."""
    views = [images]
    if "shift" in tta:
        height, width = images.shape[1:3]
        padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), "reflect")
        views += [padded[:, :height, :width], padded[:, 2:, 2:]]
    if "flip" in tta:
        views = [side for view in views for side in (view, view[:, :, ::-1])]
    return views


def _before_activation(outputs: Array, head: str) -> Array:
    """As `heads.before_activation`."""
    if head == "softmax":
        return np.log(np.maximum(outputs, SMALLEST_PROBABILITY, dtype=np.float32))
    if head == "sigmoid":
        held = np.clip(outputs, np.float32(SMALLEST_PROBABILITY), np.float32(LARGEST_PROBABILITY))
        return np.log(held) - np.log1p(-held)
    return outputs.copy()


def _activate(scores: Array, head: str) -> Array:
    """As `heads.activate`."""
    if head == "softmax":
        exponentials: Array = np.exp(scores - scores.max(axis=-1, keepdims=True))
        return exponentials / exponentials.sum(axis=-1, keepdims=True)
    if head == "sigmoid":
        # Without an overflow on either side.
        return np.exp(-np.logaddexp(np.float32(0), -scores))
    return scores
