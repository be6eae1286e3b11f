"""The Keras layers for the augmentations whose own Keras layer draws once per batch, and their seeds.

This module imports TensorFlow; it is imported where a pipeline is built, never by the config.
Images are float32 of shape (batch, height, width, channels) throughout.
"""

# Keras ships no types: its classes are Any to mypy.
# mypy: disallow-subclassing-any=False

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf


class SeedStream(keras.random.SeedGenerator):
    """A seed generator without state: its n-th seed is a pure function of (seeds, epoch, step, n).

    Keras' random functions take any `SeedGenerator` and call `next()`. The count n restarts with every batch
    that is traced or run, so that a compiled pipeline holds one constant n per draw.

    Args:
        seeds: Two whole numbers in 0..2^31-1.
    """

    def __init__(self, seeds: tuple[int, int]) -> None:
        # Not Keras' __init__: it would make a variable, whose updates depend on the order of execution.
        self._seeds = seeds
        self._key: Any = None
        self._draws = 0

    def start(self, epoch: Any, step: Any, images: Any) -> None:
        """Begins the draws of one batch; `epoch` and `step` are whole numbers or scalar tensors.

        Args:
            images: The images' places in the training split, int64 [batch].
        """
        self.epoch = epoch
        self._images = images
        key = tf.constant(self._seeds, tf.int32)
        for number in (epoch, step):
            key = tf.random.experimental.stateless_fold_in(key, tf.cast(number, tf.int32))
        self._key, self._draws = key, 0

    def bits_of_images(self) -> Any:
        """32 random bits for each image, uint32 [batch]: the same in every epoch, whatever batch it is in."""
        bits = tf.cast(self._images, tf.uint32) * tf.constant(0x9E3779B1, tf.uint32)
        bits = tf.bitwise.bitwise_xor(bits, tf.constant(self._seeds[0], tf.uint32))
        # The finalizer of MurmurHash3 (Appleby): every bit of the place moves every bit of the result.
        for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
            bits = tf.bitwise.bitwise_xor(bits, tf.bitwise.right_shift(bits, tf.constant(shift, tf.uint32)))
            bits *= tf.constant(factor, tf.uint32)
        return bits

    @contextmanager
    def branch(self, index: Any) -> Iterator[None]:
        """Draws of their own for branch `index` (an image, an operation), whatever other branches draw."""
        outer = self._key, self._draws
        self._key, self._draws = tf.random.experimental.stateless_fold_in(self.next(), index), 0
        yield
        self._key, self._draws = outer

    def numbers(self, images: Any) -> Any:
        """Which image of its batch each one is, int32 [batch]."""
        return tf.range(tf.shape(images)[0])

    def choose(self, count: int, images: Any) -> Any:
        """A whole number below `count` for each image, int32 [batch]."""
        return keras.random.randint((tf.shape(images)[0],), 0, count, seed=self)

    def chosen(self, index: int) -> AbstractContextManager[None]:
        """Draws of their own for the images whose number was `index` when last chosen."""
        return self.branch(index)

    def beta(self, shape: Sequence[Any], alpha: Any) -> Any:
        """Draws from Beta(alpha, alpha), float32 of a shape whose first axis is the batch.

        Keras' own are 0.5 where both of the gammas that it divides come to 0, as with a small `alpha` most do.
        """
        one, other = self._logarithms_of_gammas(shape, alpha), self._logarithms_of_gammas(shape, alpha)
        return tf.sigmoid(one - other)

    def dirichlet(self, shape: Sequence[Any], alpha: Any) -> Any:
        """Draws from Dirichlet(alpha, ..., alpha) along the last axis, float32; the first axis is the batch."""
        # Gammas over their sum.
        return tf.nn.softmax(self._logarithms_of_gammas(shape, alpha))

    def _logarithms_of_gammas(self, shape: Sequence[Any], alpha: Any) -> Any:
        """A draw for alpha is one for alpha + 1 times U^(1/alpha), U uniform in 0..1 (Marsaglia & Tsang 2000)."""
        larger, uniform = keras.random.gamma(shape, alpha + 1.0, seed=self), keras.random.uniform(shape, seed=self)
        # From 0, which has no logarithm, to 1, which is not drawn.
        return tf.math.log(larger) + tf.math.log1p(-uniform) / alpha

    def next(self, ordered: bool = True) -> Any:
        seed = tf.random.experimental.stateless_fold_in(self._key, self._draws)
        self._draws += 1
        return seed


def drive(layer: Any, stream: SeedStream) -> None:
    """Makes a layer and the layers inside it draw from `stream` and compute in float32, channels last."""
    for part in layer._flatten_layers():
        part.dtype_policy = "float32"
        if hasattr(part, "data_format"):
            part.data_format = "channels_last"
        if hasattr(part, "generator"):
            part.generator = stream


def _sizes(images: Any) -> tuple[Any, int, int, int]:
    """The batch size, which a graph may know only when it runs, and height, width and channels."""
    height, width, channels = images.shape[1:]
    return tf.shape(images)[0], height, width, channels


def _each_image(call: Callable[[Any], Any], images: Any, stream: SeedStream) -> Any:
    """`call` on every image by itself, as a batch of one, with its own draws."""

    def one(item: tuple[Any, Any]) -> Any:
        image, index = item
        with stream.branch(index):
            return call(image[tf.newaxis])[0]

    changed = tf.TensorSpec(images.shape[1:], tf.float32)
    return tf.map_fn(one, (images, stream.numbers(images)), fn_output_signature=changed)


class RandomFlip(keras.layers.RandomFlip):
    """Keras' own, which leaves bytes bytes: a quarter of the memory to move.

    Args:
        alternate: Whether an image's side is drawn once for the run, and the other side shown in every other epoch.
    """

    def __init__(self, *, alternate: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.alternate = alternate

    def get_random_transformation(self, data: Any, training: bool = True, seed: Any = None) -> Any:
        if not self.alternate:
            return super().get_random_transformation(data, training, seed)
        sides = self.generator.bits_of_images() + tf.cast(self.generator.epoch, tf.uint32)
        return {"flips": tf.reshape(sides % 2 == 1, (-1, 1, 1, 1))}

    def transform_images(self, images: Any, transformation: Any, training: bool = True) -> Any:
        axes = {"horizontal": [2], "vertical": [1], "horizontal_and_vertical": [1, 2]}[self.mode]
        # Turning over only those that are to be costs a fifth of `tf.where`, which looks at every byte.
        turned = tf.cast(tf.reshape(transformation["flips"], (-1,)), tf.int32)
        places = tf.dynamic_partition(tf.range(tf.shape(images)[0]), turned, 2)
        kept, flipped = tf.gather(images, places[0]), tf.reverse(tf.gather(images, places[1]), axes)
        return tf.dynamic_stitch(places, [kept, flipped])


def _between(start: Any, end: Any, size: Any) -> Any:
    """Which of an axis' pixels have their centre between two places, bool [batch, size].

    Keras looks at their upper or left edges, by which none of the first pixels is ever between.

    Args:
        start, end: float32 [batch], 0..size.
        size: Pixels along the axis.
    """
    centres = tf.range(size, dtype=tf.float32) + 0.5
    start, end = (tf.cast(place, tf.float32)[:, tf.newaxis] for place in (start, end))
    return (centres >= start) & (centres < end)


class RandomErasing(keras.layers.RandomErasing):
    """Keras' own, with masks of 0 and 255, [batch, height, width * channels], and bytes left bytes."""

    def _generate_batch_mask(self, images_shape: Any, box_corners: Any) -> Any:
        left, right, top, bottom = box_corners
        inside = tf.cast(_between(left, right, images_shape[self.width_axis]), tf.uint8) * 255
        inside = tf.repeat(inside, images_shape[self.channel_axis], axis=1)
        # Each row is one of two; picking rows costs a third of combining rows and columns byte by byte.
        two = tf.stack([tf.zeros_like(inside), inside], axis=1)
        rows = _between(top, bottom, images_shape[self.height_axis])
        return tf.gather(two, tf.cast(rows, tf.int32), axis=1, batch_dims=1)

    def _get_fill_value(self, images: Any, images_shape: Any, seed: Any) -> Any:
        if self.fill_value is None:
            return super()._get_fill_value(images, images_shape, seed)
        return tf.constant(np.clip(np.atleast_1d(self.fill_value), *self.value_range), images.dtype)

    def transform_images(self, images: Any, transformation: Any = None, training: bool = True) -> Any:
        chosen = tf.cast(transformation["apply_erasing"], tf.uint8)[:, tf.newaxis, tf.newaxis]
        masks = tf.reshape(transformation["batch_masks"] * chosen, tf.shape(images))
        fill_value = transformation["fill_value"]
        if images.dtype == tf.uint8:
            # `tf.where` takes four times as long.
            filled = tf.bitwise.bitwise_and(masks, tf.broadcast_to(fill_value, tf.shape(images)))
            return tf.bitwise.bitwise_or(tf.bitwise.bitwise_and(images, tf.bitwise.invert(masks)), filled)
        return tf.where(masks > 0, fill_value, images)


class MixUp(keras.layers.MixUp):
    """Keras' own, whose weights follow the distribution for small values of `alpha`, too."""

    def get_random_transformation(self, data: Any, training: bool = True, seed: Any = None) -> Any:
        batch = tf.shape(data["images"] if isinstance(data, dict) else data)[0]
        order = self.backend.random.shuffle(tf.range(batch), seed=self.generator)
        return {"mix_weight": self.generator.beta((batch,), self.alpha), "permutation_order": order}


class CutMix(keras.layers.CutMix):
    """Keras' own, whose rectangles reach every pixel, and whose labels are mixed by the pixels that are pasted."""

    def _generate_mix_weight(self, batch_size: Any, seed: Any) -> Any:
        low, high = self.factor
        alpha = self.backend.random.uniform((), low, high, seed=seed) + 1e-6
        return self.generator.beta((batch_size,), alpha)

    def _generate_batch_mask(self, images_shape: Any, box_corners: Any) -> Any:
        left, right, top, bottom = box_corners
        columns = _between(left, right, images_shape[self.width_axis])
        rows = _between(top, bottom, images_shape[self.height_axis])
        pasted = rows[:, :, tf.newaxis, tf.newaxis] & columns[:, tf.newaxis, :, tf.newaxis]
        height, width = (tf.reduce_mean(tf.cast(pixels, tf.float32), axis=1) for pixels in (rows, columns))
        return tf.repeat(pasted, images_shape[self.channel_axis], axis=3), 1.0 - height * width


class RandomCrop(keras.layers.Layer):
    """Pads all sides, then cuts a window (by default of the images' own size) at a random position for each image."""

    def __init__(
        self,
        height: int | None,
        width: int | None,
        padding: tuple[int, int],
        fill_mode: str,
        fill_value: float,
        data_format: str,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.height = height
        self.width = width
        self.padding = padding
        self.fill_mode = fill_mode
        self.fill_value = fill_value
        self.data_format = data_format
        self.generator: Any = None

    def call(self, images: Any, training: bool = True) -> Any:
        batch, height, width, channels = _sizes(images)
        tops, lefts = self.corners(images)
        rows = self._positions(tops, height, self.height or height)
        columns = self._positions(lefts, width, self.width or width)
        # One look-up per pixel, in the pixels of all images and, after them, that which fills.
        pixels = tf.reshape(images, (-1, channels))
        fill = tf.cast(tf.fill((1, channels), self.fill_value), images.dtype)
        outside = batch * height * width
        firsts = tf.range(0, outside, height * width)[:, tf.newaxis]
        rows = tf.where(rows < 0, outside, firsts + rows * width)
        columns = tf.where(columns < 0, outside, columns)
        places = tf.minimum(rows[:, :, tf.newaxis] + columns[:, tf.newaxis, :], outside)
        return tf.gather(tf.concat([pixels, fill], axis=0), places)

    def corners(self, images: Any) -> tuple[Any, Any]:
        """The row and the column of each image that its window begins with, int32 [batch], drawn."""
        _, height, width, _ = _sizes(images)
        sides = ((height, self.height or height, self.padding[0]), (width, self.width or width, self.padding[1]))
        top, left = (
            self.generator.choose(size + 2 * padding - window + 1, images) - padding for size, window, padding in sides
        )
        return top, left

    def _positions(self, start: Any, size: int, window: int) -> Any:
        """Where each row (or column) of a window comes from, int32 [batch, window]; -1 for what is to be filled.

        Args:
            start: Where it begins, int32 [batch].
            size: Rows (or columns) of the images.
            window: Those of the window.
        """
        positions = start[:, tf.newaxis] + tf.range(window)
        if self.fill_mode == "constant":
            return tf.where(positions < size, tf.maximum(positions, -1), -1)
        edge = 0 if self.fill_mode == "mirror" else 1
        positions = tf.where(positions < 0, -positions - edge, positions)
        return tf.where(positions < size, positions, 2 * size - 2 + edge - positions)


class ProgressiveResizing(keras.layers.Layer):
    """Makes images smaller, to a size that depends on the epoch, by means over areas.

    Args:
        sizes: (height, width), the first epochs' first.
        epochs: How many epochs have each; the epochs after them have whole images.
    """

    def __init__(
        self, sizes: Sequence[tuple[int, int]], epochs: Sequence[int], data_format: str, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.sizes = sizes
        self.epochs = epochs
        self.data_format = data_format
        self.generator: Any = None

    def call(self, images: Any, training: bool = True) -> Any:
        _, height, width, _ = _sizes(images)
        ends = tf.constant(np.cumsum(self.epochs), tf.int64)
        part = tf.searchsorted(ends, tf.cast([self.generator.epoch], tf.int64), side="right")[0]
        size = tf.constant([*self.sizes, (height, width)])[part]

        def resized() -> Any:
            return tf.image.resize(images, size, method="area")

        return tf.cond(part < len(self.sizes), resized, lambda: images)


class RandomElasticTransform(keras.layers.RandomElasticTransform):
    """Applied image by image: Keras' own takes an unknown batch size for 1."""

    def get_elastic_transform_params(self, height: int, width: int, factor: Any) -> tuple[Any, Any]:
        alpha, sigma = super().get_elastic_transform_params(height, width, factor)
        # A strength of exactly 0 can be drawn, and a Gaussian of width 0 is 0/0.
        return alpha, tf.maximum(sigma, 1e-6)

    def call(self, images: Any, training: bool = True) -> Any:
        return _each_image(super().call, images, self.generator)


class ContrastLimitedAdaptiveHistogramEqualization(keras.layers.ContrastLimitedAdaptiveHistogramEqualization):
    """Applied image by image: Keras' own needs 256 floats per pixel and channel of its batch."""

    def call(self, images: Any, training: bool = True) -> Any:
        call = super().call
        return tf.map_fn(lambda image: call(image[tf.newaxis])[0], images)


class RandomSaturation(keras.layers.RandomSaturation):
    """Keras' own, with results clipped to the value range."""

    def transform_images(self, images: Any, transformation: Any = None, training: bool = True) -> Any:
        return tf.clip_by_value(super().transform_images(images, transformation, training), *self.value_range)


class RandomColorJitter(keras.layers.RandomColorJitter):
    """Keras' own, with the clipped `RandomSaturation`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if self.saturation_factor is not None:
            self.random_saturation = RandomSaturation(self.saturation_factor, value_range=self.value_range)


class RandomGaussianBlur(keras.layers.RandomGaussianBlur):
    """Keras' own with a kernel for each image."""

    def get_random_transformation(self, data: Any, training: bool = True, seed: Any = None) -> Any:
        transformation = super().get_random_transformation(data, training, seed)
        shape = (tf.shape(data)[0], 2)
        sigma = self.backend.random.uniform(shape, *self.sigma, dtype="float32", seed=seed or self.generator)
        # Keras adds the same, against a division by 0.
        return {**transformation, "blur_factor": sigma + 1e-6}

    def transform_images(self, images: Any, transformation: Any = None, training: bool = True) -> Any:
        size = self.kernel_size[0]
        offsets = tf.range(size, dtype=tf.float32) - (size - 1) / 2
        ops = self.backend.numpy
        lines = ops.exp(-0.5 * ops.square(offsets / transformation["blur_factor"][..., tf.newaxis]))
        lines /= tf.reduce_sum(lines, axis=-1, keepdims=True)
        kernels = tf.einsum("by,bx->yxb", lines[:, 1], lines[:, 0])
        # One depthwise convolution whose channels are all channels of all images.
        batch, height, width, channels = _sizes(images)
        stacked = tf.reshape(tf.transpose(images, (1, 2, 0, 3)), (1, height, width, batch * channels))
        kernels = tf.repeat(kernels, channels, axis=2)[..., tf.newaxis]

        def convolved() -> Any:
            return tf.nn.depthwise_conv2d(stacked, kernels, strides=(1, 1, 1, 1), padding="SAME")

        # No channels at all are refused.
        blurred = tf.cond(batch > 0, convolved, lambda: stacked)
        blurred = tf.transpose(tf.reshape(blurred, (height, width, batch, channels)), (2, 0, 1, 3))
        apply = transformation["should_apply_blur"][:, tf.newaxis, tf.newaxis, tf.newaxis]
        return tf.clip_by_value(tf.where(apply, blurred, images), *self.value_range)


class Equalization(keras.layers.Equalization):
    """Keras' own with a histogram for each image."""

    def transform_images(self, images: Any, transformation: Any = None, training: bool = True) -> Any:
        low, high = self.value_range
        batch, height, width, channels = _sizes(images)
        values = tf.transpose(tf.reshape(images, (batch, height * width, channels)), (0, 2, 1))
        values = tf.reshape(values, (batch * channels, height * width))
        scaled = (values - low) * 255 / (high - low)
        bins = tf.clip_by_value(tf.cast(scaled * (self.bins - 1) / 255, tf.int32), 0, self.bins - 1)
        histogram = tf.math.bincount(bins, minlength=self.bins, maxlength=self.bins, axis=-1)
        below = tf.cumsum(histogram, axis=-1)
        lowest = tf.gather(below, tf.reduce_min(bins, axis=-1)[:, tf.newaxis], axis=1, batch_dims=1)
        span = tf.maximum(height * width - lowest, 1)
        table = tf.cast(tf.round((below - lowest) * 255 / span), tf.float32)
        equalized = tf.gather(tf.clip_by_value(table, 0, 255), bins, axis=1, batch_dims=1)
        flat = tf.reduce_sum(tf.cast(histogram > 0, tf.int32), axis=-1, keepdims=True) <= 1
        result = tf.where(flat, scaled, equalized) * (high - low) / 255 + low
        result = tf.transpose(tf.reshape(result, (batch, channels, height * width)), (0, 2, 1))
        return tf.reshape(result, (batch, height, width, channels))


def _through_chosen(layers: Sequence[Any], images: Any, stream: SeedStream) -> Any:
    """Each image through one of `layers`, drawn for it; it stays as it is where that is None.

    Each layer works on the images that chose it only, which costs a tenth of computing all of them.
    """
    choice = stream.choose(len(layers), images)
    parts = tf.dynamic_partition(images, choice, len(layers))
    positions = tf.dynamic_partition(tf.range(tf.shape(images)[0]), choice, len(layers))
    for index, (layer, part) in enumerate(zip(layers, parts, strict=True)):
        if layer is None:
            continue

        def change(layer: Any = layer, part: Any = part) -> Any:
            return layer.transform_images(part, layer.get_random_transformation(part, seed=stream))

        def keep(part: Any = part) -> Any:
            return part

        # Some of Keras' layers refuse an empty batch. Skipping one must not move the draws of the others.
        with stream.chosen(index):
            parts[index] = tf.cond(tf.shape(part)[0] > 0, change, keep)
    return tf.dynamic_stitch(positions, parts)


class RandAugment(keras.layers.RandAugment):
    """Keras' operations and strengths, with operations drawn for each image."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.equalization = Equalization(value_range=self.value_range)

    def call(self, images: Any, training: bool = True) -> Any:
        for _ in range(self.num_ops):
            images = _through_chosen(self.operations(), images, self.generator)
        return images

    def operations(self) -> list[Any]:
        return [getattr(self, name) for name in self._AUGMENT_LAYERS]


class RandAugmentOfMasks(RandAugment):
    """What `RandAugment` does to masks, [batch, height, width, 1], given the same draws: it moves their pixels."""

    def operations(self) -> list[Any]:
        moving = (keras.layers.RandomShear, keras.layers.RandomTranslation, keras.layers.RandomRotation)
        return [layer if isinstance(layer, moving) else None for layer in super().operations()]


class AugMix(keras.layers.AugMix):
    """Keras' operations and strengths, with operations and weights drawn for each image."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.equalization = Equalization(value_range=self.value_range)

    def call(self, images: Any, training: bool = True) -> Any:
        layers = [*(getattr(self, name) for name in self._augment_layers), None]
        batch = tf.shape(images)[0]
        weights = self.generator.dirichlet((batch, self.num_chains), self.alpha)
        share = self.generator.beta((batch, 1, 1, 1), self.alpha)
        # All chains go through an operation together: a third of the graph to trace.
        changed = tf.tile(images, (self.num_chains, 1, 1, 1))
        for _ in range(self.chain_depth):
            changed = _through_chosen(layers, changed, self.generator)
        chains = tf.reshape(changed, (self.num_chains, batch, *images.shape[1:]))
        mixed = tf.einsum("bn,nbhwc->bhwc", weights, chains)
        return tf.clip_by_value(share * images + (1 - share) * mixed, *self.value_range)
