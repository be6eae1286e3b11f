"""Grad-CAM: which parts of an image speak for a class (Selvaraju et al. 2016, arXiv:1610.02391)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from cnnkit.errors import CnnkitError
from cnnkit.inside.outputs import LayerOutput, gradcam_layer, layer_outputs
from cnnkit.inside.taps import taps
from cnnkit.runs.heads import before_activation, probabilities_from_outputs
from cnnkit.runs.trained import TrainedRun

#: From images and a class for each to probabilities and maps.
GradCam = Callable[[Any, Any], tuple[Any, Any]]


def gradcam_of(trained: TrainedRun) -> tuple[GradCam, LayerOutput]:
    """Grad-CAM for a run's network, and the layer that it looks at.

    Raises:
        CnnkitError: if the run has no model, or no layer that outputs an image.
    """
    place = gradcam_layer(layer_outputs(trained.loaded))
    if place is None:
        raise CnnkitError(f"no layer of `{trained.run.path}` outputs an image; Grad-CAM has nowhere to look")
    model = trained.model
    return compile_gradcam(model, place, trained.interface.head, jit_compile=trained.uses_xla), place


def compile_gradcam(model: Any, place: LayerOutput, head: str, *, jit_compile: bool) -> GradCam:
    """Grad-CAM as one compiled function.

    The weight of a channel is the mean, over its positions, of the gradient of the class's score; the map is the
    weighted sum of the channels where that is positive. The score is what enters the last activation, as in the paper.

    Args:
        model: A trained network that takes images [batch, height, width, channels], 0..255, and outputs
            [batch, classes].
        place: The layer whose output is weighted, see `outputs.gradcam_layer`.
        head: `softmax`, `logits` or `sigmoid`.
        jit_compile: Whether XLA compiles it; some networks can be computed in no other way, see `TrainedRun.uses_xla`.

    Returns:
        A function from images [batch, height, width, channels] and one class per image [batch] to the class
        probabilities, float64 [batch, classes], and the maps, float32 [batch, rows, columns] of the layer's size, each
        divided by its largest value: 0..1, all 0 where nothing speaks for the class.
    """
    import tensorflow as tf

    tapped = taps(model, [place.name])
    rows, columns, channels = (1 + place.order.index(axis) for axis in range(3))

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, *model.input_shape[1:]], tf.float32),
            tf.TensorSpec([None], tf.int32),
        ],
        autograph=False,
        jit_compile=jit_compile,
    )
    def compute(images: Any, classes: Any) -> tuple[Any, Any]:
        with _without_last_activation(model) as left_out, tf.GradientTape() as tape:
            tape.watch(images)
            outputs, features = tapped(images, training=False)
            outputs = tf.cast(outputs, tf.float32)
            scores = outputs if left_out else _scores(outputs, head)
            score = tf.gather(scores, classes, axis=1, batch_dims=1)
        gradients = tape.gradient(score, features)
        weights = tf.reduce_mean(gradients, axis=[rows, columns], keepdims=True)
        maps = tf.nn.relu(tf.reduce_sum(weights * features, axis=channels))
        if rows > columns:
            maps = tf.transpose(maps, [0, 2, 1])
        largest = tf.reduce_max(maps, axis=[1, 2], keepdims=True)
        activated = {"softmax": tf.nn.softmax, "sigmoid": tf.nn.sigmoid}.get(head, tf.identity)
        return activated(outputs) if left_out else outputs, tf.cast(tf.math.divide_no_nan(maps, largest), tf.float32)

    def run(images: Any, classes: Any) -> tuple[Any, Any]:
        outputs, maps = compute(
            tf.convert_to_tensor(np.asarray(images), tf.float32), tf.convert_to_tensor(np.asarray(classes), tf.int32)
        )
        return probabilities_from_outputs(outputs.numpy(), head), maps.numpy()

    return run


def _scores(outputs: Any, head: str) -> Any:
    """The scores that an activation has hidden; a softmax leaves them up to what all classes share."""
    import tensorflow as tf

    scores = before_activation(outputs, head)
    return scores - tf.reduce_mean(scores, axis=1, keepdims=True) if head == "softmax" else scores


@contextlib.contextmanager
def _without_last_activation(model: Any) -> Iterator[bool]:
    """The network's last layer has no activation inside the block, where it has one as an argument.

    The block is told whether that is so.
    """
    import keras

    layer = model
    while isinstance(layer, keras.Model):
        layer = (
            layer.outputs[0]._keras_history.operation if not isinstance(layer, keras.Sequential) else layer.layers[-1]
        )
    activation = getattr(layer, "activation", None)
    if activation not in (keras.activations.softmax, keras.activations.sigmoid):
        yield activation is keras.activations.linear
        return
    layer.activation = keras.activations.linear
    try:
        yield True
    finally:
        layer.activation = activation
