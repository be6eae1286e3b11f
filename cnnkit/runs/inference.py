"""A trained network as one compiled function of raw images, with or without test-time augmentation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cnnkit.errors import CnnkitError, UsageError
from cnnkit.runs.heads import activate, before_activation
from cnnkit.runs.interface import Interface

#: What `--tta` may name: the mirror image; one pixel up-left and one down-right.
TEST_TIME_AUGMENTATIONS = ("flip", "shift")

#: Weights of more bytes than this stay variables: TensorFlow's graphs cannot exceed 2 GB.
MOST_CONSTANT_BYTES = 1 << 30


def parse_tta(text: str | None) -> tuple[str, ...]:
    """The augmentations that a `--tta` text names, such as `flip,shift`; none for None.

    Raises:
        UsageError: if it names none, or one that does not exist.
    """
    if text is None:
        return ()
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in TEST_TIME_AUGMENTATIONS:
            raise UsageError(
                f"--tta: there is no test-time augmentation `{name}`",
                f"Expected {' or '.join(TEST_TIME_AUGMENTATIONS)}, or both: --tta {','.join(TEST_TIME_AUGMENTATIONS)}",
            )
    return tuple(name for name in TEST_TIME_AUGMENTATIONS if name in names)


def view_weights(tta: Sequence[str]) -> list[float]:
    """The weight of each view in the average, in the order of `_views`; one view without augmentation."""
    weights = [0.5, 0.25, 0.25] if "shift" in tta else [1.0]
    return [weight / 2 for weight in weights for _ in range(2)] if "flip" in tta else weights


def check_views(tta: Sequence[str], interface: Interface, *, per_pixel: bool = False, boxed: bool = False) -> None:
    """Whether samples, and what is said of them, can be looked at in these ways.

    Args:
        per_pixel: Whether the network says something of each pixel.
        boxed: Whether it says boxes.

    Raises:
        UsageError: if they cannot be shifted: reflection needs a second row and column, and pixels would change places;
            or if boxes would have to be averaged.
    """
    image_shape, reason = interface.image_shape, interface.sample.unchangeable
    if tta and reason is not None:
        raise UsageError(f"--tta is for images: {reason}", "Leave it out.")
    if tta and boxed:
        raise UsageError(
            "--tta averages the outputs for views of an image, and boxes of different views are not averaged",
            "Leave it out.",
        )
    if "shift" in tta and per_pixel:
        raise UsageError("--tta shift moves the pixels, and the network says something of each", "Use `--tta flip`.")
    if "shift" in tta and min(image_shape[:2]) < 2:
        size = "x".join(str(length) for length in image_shape[:2])
        raise UsageError(f"--tta shift needs images of at least 2x2 pixels, but the network takes {size}")


def compile_network(
    model: Any, *, head: str, jit_compile: bool = False, tta: Sequence[str] = (), dtype: str = "uint8"
) -> Callable[[Any], Any]:
    """The network as a function from images to outputs, traced once for batches of any size.

    With XLA off, the weights are constants of the graph. TensorFlow then folds a batch normalization into the
    convolution before it, fuses the two with the activation, and lets oneDNN lay out each kernel once; outputs stay
    within float32's rounding. Later changes of the model's weights do not reach the function.

    With test-time augmentation, the outputs are averaged over views of each image: `flip` adds its mirror image (as in
    the ten crops of Krizhevsky et al., "ImageNet Classification with Deep Convolutional Neural Networks", 2012);
    `shift` adds it moved by one pixel up-left and down-right with reflected borders, each of the two at half the weight
    of the unmoved one. Both together are level 2 of Keller Jordan's airbench (`infer` in
    https://github.com/KellerJordan/cifar10-airbench; Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", 2024).
    What is averaged is what enters the last activation, whatever the head: the logits, a softmax's logarithm (the same
    up to a constant that cancels), or a sigmoid's log-odds. The activation is then applied to the average.

    Args:
        model: A built Keras model that takes [batch, height, width, channels] and outputs [batch, classes].
        head: `softmax`, `logits` or `sigmoid`.
        jit_compile: Whether XLA compiles it.
        tta: Names from TEST_TIME_AUGMENTATIONS.
        dtype: The images' type; their values are 0..255.

    Returns:
        A function from images [batch, height, width, channels], batch at least 1, to a tensor [batch, classes].
    """
    import tensorflow as tf

    weights = view_weights(tta)
    call = model if jit_compile or _weight_bytes(model) > MOST_CONSTANT_BYTES else _with_constant_weights(model)

    def scoped(images: Any) -> Any:
        # A layer may have a name that TensorFlow only allows inside a scope.
        with tf.name_scope("network"):
            return call(images, training=False)

    def network(images: Any) -> Any:
        if not tta:
            return scoped(images)
        views = _views(images, tta)
        scores = before_activation(tf.cast(scoped(tf.concat(views, axis=0)), tf.float32), head)
        scores = tf.reshape(scores, [len(views), tf.shape(images)[0], *scores.shape[1:]])
        if len(model.output_shape) == 4:
            # What the mirror image shows on the left lies on the right.
            straight, *mirrored = tf.unstack(scores, len(views))
            scores = tf.stack([straight, *(tf.reverse(view, axis=[2]) for view in mirrored)])
        return activate(tf.tensordot(tf.constant(weights), scores, axes=1), head)

    spec = tf.TensorSpec([None, *model.inputs[0].shape[1:]], dtype)
    compiled = tf.function(network, input_signature=[spec], jit_compile=jit_compile, autograph=False)
    traced = compiled.get_concrete_function()
    return _in_few_sizes(traced) if jit_compile else lambda images: traced(tf.convert_to_tensor(images, dtype))


def _weight_bytes(model: Any) -> int:
    return sum(int(np.prod(variable.shape)) * 4 for variable in model.variables)


def _with_constant_weights(model: Any) -> Callable[..., Any]:
    """The model's call, in which the weights' present values are constants of the graph that is being traced."""
    import keras
    import tensorflow as tf

    trainable = [keras.ops.convert_to_numpy(variable) for variable in model.trainable_variables]
    others = [keras.ops.convert_to_numpy(variable) for variable in model.non_trainable_variables]

    def call(images: Any, training: bool) -> Any:
        constants = [tf.constant(value) for value in trainable]
        other_constants = [tf.constant(value) for value in others]
        return model.stateless_call(constants, other_constants, images, training=training)[0]

    return call


def _in_few_sizes(traced: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Fills batches up to the next power of two, because XLA compiles again for every size that it meets."""
    import tensorflow as tf

    def call(images: Any) -> Any:
        count = len(images)
        missing = (1 << (count - 1).bit_length()) - count
        padded = tf.pad(images, [[0, missing], *[[0, 0]] * (len(images.shape) - 1)])
        return traced(padded)[:count]

    return call


def _views(images: Any, tta: Sequence[str]) -> list[Any]:
    """The views of a batch of images, each [batch, height, width, channels], the unchanged one first."""
    import tensorflow as tf

    views = [images]
    if "shift" in tta:
        height, width = images.shape[1:3]
        padded = tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]], "REFLECT")
        views += [padded[:, :height, :width], padded[:, 2:, 2:]]
    if "flip" in tta:
        views = [side for view in views for side in (view, tf.reverse(view, axis=[2]))]
    return views


#: Bounds of a batch in validation, evaluation and prediction: images, and bytes of all their activations.
LARGEST_INFERENCE_BATCH = 500


INFERENCE_BYTES = 768 * 1024**2


def inference_batch_size(model: Any, image_shape: tuple[int, ...] | None = None) -> int:
    """Images per batch where nothing is learned: many, to save overhead, but with bounded memory.

    Args:
        model: A built Keras model.
        image_shape: (height, width, channels) of the images, where the model takes them of several sizes.
    """
    image_shape = model.input_shape[1:] if image_shape is None else image_shape
    shapes = [layer.output.shape for layer in model.layers]
    # Layers made of others may take several sizes where the model takes one.
    if model.input_shape[1:] != image_shape or any(None in shape[1:] for shape in shapes):
        shapes = []
        for layer in model.layers:
            shapes.append(layer.compute_output_shape(shapes[-1] if shapes else (None, *image_shape)))
    values = sum(math.prod(shape[1:]) for shape in shapes)
    return int(max(1, min(LARGEST_INFERENCE_BATCH, INFERENCE_BYTES // (4 * max(values, 1)))))


def predict_batches(network: Callable[[Any], Any], dataset: Any) -> tuple[Any, Any]:
    """A network's outputs for a whole data set, with the targets.

    One pass, in which every image is decoded once and the pairs hold even where the data set shuffles.

    Args:
        network: From a batch of images to a tensor of outputs: `compile_network`, or a Keras model.
        dataset: A finite tf.data set of batches (images, targets); further elements, such as sample weights, are
            ignored.

    Returns:
        The outputs [images, ...] and the targets [images, ...], as arrays.

    Raises:
        CnnkitError: if the data set is empty.
    """
    import tensorflow as tf

    # Tensors until the end: on a GPU, looking at one would wait for it.
    outputs, all_targets = [], []
    for images, targets, *_ in dataset:
        outputs.append(network(images))
        all_targets.append(targets)
    if not outputs:
        raise CnnkitError("there are no images to evaluate", "Check the split or the folder.")
    return tf.concat(outputs, axis=0).numpy(), tf.concat(all_targets, axis=0).numpy()
