"""Grad-CAM: which parts of an image speak for a class.

Of a class for each image: Selvaraju et al. 2016, arXiv:1610.02391. Of a class for each pixel: Vinogradova, Dibrov and
Myers 2020, arXiv:2002.11434. Of a text, with a gradient of its own for each word: Draelos and Carin 2020,
arXiv:2011.08891.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cnnkit.config.class_names import place_of
from cnnkit.errors import CnnkitError, UsageError
from cnnkit.images.padding import NO_PADDING, Padding, cropped
from cnnkit.inside.outputs import SEPARATOR, LayerOutput, gradcam_layer, seen_by_rows, way_to
from cnnkit.inside.taps import taps
from cnnkit.runs.heads import before_activation, pixel_probabilities, probabilities_from_outputs
from cnnkit.runs.trained import TrainedRun
from cnnkit.texts.words import PADDING


class GradCam(Protocol):
    """Grad-CAM of a network."""

    def __call__(self, images: Any, classes: Any, pixels: Any = None) -> tuple[Any, Any]:
        """What the network says, and where it sees each class.

        Args:
            images: [batch, height, width, channels], 0..255.
            classes: One for each image, [batch].
            pixels: Of a network that answers for each pixel, those whose answers are explained, bool [batch, height,
                width]. Without it, or where an image has none: those that are taken for the class; where none is, all.

        Returns:
            The class probabilities, float64 [batch, classes] or [batch, height, width, classes], and the maps, float32
            [batch, rows, columns] of the layer's size, or [batch, length, 1] of a text's words, each divided by its
            largest value: 0..1, all 0 where nothing speaks for the class.
        """


def gradcam_of(trained: TrainedRun, layer: str | None = None) -> tuple[GradCam, LayerOutput]:
    """Grad-CAM for a run's network, and the layer that it looks at.

    Args:
        layer: Its name, see `outputs.way_to`; by default as `outputs.gradcam_layer` chooses.

    Raises:
        UsageError: if no layer that outputs an image has that name, or the class does not depend on what it outputs.
        CnnkitError: if the run has no model, or no layer that outputs an image.
    """
    place = gradcam_layer(trained.loaded) if layer is None else way_to(trained.loaded, layer)[-1]
    if place is None:
        raise CnnkitError(f"no layer of `{trained.run.path}` outputs an image; Grad-CAM has nowhere to look")
    return compiled_for(trained, place), place


def compiled_for(trained: TrainedRun, place: LayerOutput) -> GradCam:
    """Grad-CAM for a run's network at one of its layers."""
    interface = trained.interface
    gradcam = compile_gradcam(
        trained.model, place, interface.head, jit_compile=trained.uses_xla, padding=interface.padding
    )
    if place.axes == 3:
        return gradcam
    way = way_to(trained.loaded, place.name)
    return _at_words(gradcam, seen_by_rows(way, way[-1]), interface.image_shape[0])


def _at_words(gradcam: GradCam, seen: Sequence[tuple[int, int]], length: int) -> GradCam:
    """Grad-CAM whose maps have a row for each word of a text, in place of one for each position of a layer.

    A word has what is at the position whose window has the word nearest to its middle. Padding has nothing, and what
    speaks most among the words is 1 again.

    Args:
        seen: The first and the last word that each position sees.
        length: How many words there are.
    """
    middles = np.asarray(seen).mean(axis=1)
    rows = np.abs(middles[None] - np.arange(length)[:, None]).argmin(axis=1)

    def run(images: Any, classes: Any, pixels: Any = None) -> tuple[Any, Any]:
        probabilities, maps = gradcam(images, classes, pixels)
        found = np.where(np.asarray(images)[..., None] == PADDING, 0, maps[:, rows])
        largest = found.max(axis=1, keepdims=True)
        return probabilities, np.divide(found, largest, out=np.zeros_like(found), where=largest > 0)

    return run


def class_numbers(wanted: Sequence[str], names: Sequence[str]) -> list[int]:
    """The numbers of classes that a user names.

    Args:
        names: All classes, in the order of the network's outputs.

    Raises:
        UsageError: if there is no such class.
    """
    numbers = []
    for name in wanted:
        number = place_of(name, names)
        if number is None:
            raise UsageError(f"the run has no class `{name}`", f"Its classes are {', '.join(names)}.")
        numbers.append(number)
    return numbers


def compile_gradcam(
    model: Any, place: LayerOutput, head: str, *, jit_compile: bool, padding: Padding = NO_PADDING
) -> GradCam:
    """Grad-CAM as one compiled function.

    The weight of a channel is the mean, over its positions, of the gradient of the class's score; the map is the
    weighted sum of the channels where that is positive. Of a text, each position keeps gradients of its own, as in
    HiResCAM: at the vectors of words, that is what each word adds to the score.

    The score is what enters the last activation, as in the papers:
    for a class of each pixel, the sum over the pixels that are explained.

    Args:
        model: A trained network that takes images [batch, height, width, channels], 0..255, and outputs
            [batch, classes] or [batch, height, width, classes].
        place: The layer whose output is weighted.
        head: `softmax`, `logits` or `sigmoid`.
        jit_compile: Whether XLA compiles it; some networks can be computed in no other way, see `TrainedRun.uses_xla`.
        padding: The border of the images, whose pixels are not explained.
    """
    import tensorflow as tf

    scored = _scored(model, place.name, head)
    *spatial, channels = (1 + place.order.index(axis) for axis in range(place.axes))
    taken = model.inputs[0].dtype
    per_pixel = len(model.output_shape) == 4
    inner = _inner(model.output_shape[1:3], padding) if per_pixel else None

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, *model.input_shape[1:]], taken),
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([None, *(model.output_shape[1:3] if per_pixel else ())], tf.bool),
        ],
        autograph=False,
        jit_compile=jit_compile,
    )
    def compute(images: Any, classes: Any, pixels: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            if taken.startswith("float"):
                # Whatever layers are trained; before others, an embedding has weights that are watched anyway.
                tape.watch(images)
            outputs, scores, features = scored(images)
            score = tf.gather(scores, classes, axis=-1, batch_dims=1)
            if inner is not None:
                explained = _explained(scores, classes, pixels, inner)
                score = tf.reduce_sum(tf.where(explained, score, 0), axis=[1, 2])
        gradients = tape.gradient(score, features)
        if gradients is None:
            raise UsageError(
                f"the classes' scores do not depend on what the layer `{place.name}` outputs", "Name one before it."
            )
        weights = gradients if place.axes == 2 else tf.reduce_mean(gradients, axis=spatial, keepdims=True)
        maps = tf.nn.relu(tf.reduce_sum(weights * features, axis=channels))
        if spatial != sorted(spatial):
            maps = tf.transpose(maps, [0, 2, 1])
        maps = tf.reshape(maps, [-1, *place.size])
        largest = tf.reduce_max(maps, axis=[1, 2], keepdims=True)
        return outputs, tf.cast(tf.math.divide_no_nan(maps, largest), tf.float32)

    def run(images: Any, classes: Any, pixels: Any = None) -> tuple[Any, Any]:
        if pixels is None:
            pixels = np.zeros((len(images), *(model.output_shape[1:3] if per_pixel else ())), bool)
        outputs, maps = compute(
            tf.convert_to_tensor(np.asarray(images), taken),
            tf.convert_to_tensor(np.asarray(classes), tf.int32),
            tf.convert_to_tensor(np.asarray(pixels), tf.bool),
        )
        probabilities = pixel_probabilities if per_pixel else probabilities_from_outputs
        return probabilities(outputs.numpy(), head), maps.numpy()

    return run


def without_border(heat: NDArray[np.float32], size: tuple[int, int], padding: Padding) -> NDArray[np.float32]:
    """A map of an image without the image's border, 0..1.

    Args:
        heat: [rows, columns], 0..1, stretched over the whole image.
        size: The image's height and width with the border.

    Returns:
        The same map where there is no border, else one with a value for each pixel.
    """
    from PIL import Image

    if padding == NO_PADDING:
        return heat
    spread = Image.fromarray(heat).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return cropped(np.asarray(spread), padding)


def _inner(size: tuple[int, int], padding: Padding) -> NDArray[np.bool_]:
    """Which pixels lie inside the border, bool [height, width]."""
    inside = np.zeros(size, bool)
    cropped(inside, padding)[...] = True
    return inside


def _explained(scores: Any, classes: Any, pixels: Any, inner: Any) -> Any:
    """The pixels that are explained, bool [batch, height, width]: see `GradCam`."""
    import tensorflow as tf

    taken = (tf.argmax(scores, axis=-1, output_type=tf.int32) == classes[:, None, None]) & inner
    chosen = pixels
    for fallback in (taken, tf.broadcast_to(inner, tf.shape(taken))):
        chosen = tf.where(tf.reduce_any(chosen, axis=[1, 2], keepdims=True), chosen, fallback)
    return chosen


def _scored(model: Any, layer: str, head: str) -> Callable[[Any], tuple[Any, Any, Any]]:
    """From a tensor of images to a network's outputs, the scores that enter its last activation, and a layer's outputs.

    Args:
        layer: The layer's name, see `taps`.
    """
    import tensorflow as tf

    before = _before_softmax(model)
    tapped = taps(model, [layer] if before is None else [layer, before])

    def compute(images: Any) -> tuple[Any, Any, Any]:
        if before is not None:
            outputs, features, *scores = tapped(images, training=False)
            return tf.cast(outputs, tf.float32), tf.cast([features, *scores][-1], tf.float32), features
        with _without_last_activation(model) as left_out:
            outputs, features = tapped(images, training=False)
        outputs = tf.cast(outputs, tf.float32)
        if not left_out:
            return outputs, _scores(outputs, head), features
        activated = {"softmax": tf.nn.softmax, "sigmoid": tf.nn.sigmoid}.get(head, tf.identity)
        return activated(outputs), outputs, features

    return compute


def _before_softmax(model: Any) -> str | None:
    """The layer whose outputs enter a `Softmax` at the network's end; None where it ends otherwise."""
    import keras

    outer = ""
    while isinstance(model, keras.Model):
        operations = model.layers if isinstance(model, keras.Sequential) else model.operations
        *_, before, last = [None, None, *(one for one in operations if not isinstance(one, keras.layers.InputLayer))]
        if isinstance(last, keras.layers.Softmax):
            return outer + before.name if isinstance(before, keras.layers.Layer) else None
        if last is None:
            return None
        outer += last.name + SEPARATOR
        model = last
    return None


def _scores(outputs: Any, head: str) -> Any:
    """The scores that an activation has hidden; a softmax leaves them up to what all classes share."""
    import tensorflow as tf

    scores = before_activation(outputs, head)
    return scores - tf.reduce_mean(scores, axis=-1, keepdims=True) if head == "softmax" else scores


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
