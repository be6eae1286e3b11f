"""Draws for a share of a batch: each image gets what it would get where the whole batch is in one place.

This module imports Keras; it is imported where a pipeline is built, never by the config.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from cnnkit.augmentation.keras_layers import SeedStream, drive
from cnnkit.augmentation.rows import Rows
from cnnkit.machine.shares import PHILOX, VALUES_PER_BLOCK, philox_from

#: Numbers that a processor computes at a time at most, or a multiple of them.
_VECTOR = 16


class ShareStream(SeedStream):
    """Draws numbers for a whole batch, and gives those of the images that are here.

    Where these are all, it is a `SeedStream`, whose draws are the standard that a share is held to.
    """

    #: The images that are here; None where these are all, or where draws are not one for each image.
    rows: Rows | None = None
    #: What each image of the whole batch chose last, and which of these are here.
    _choice: Any
    _choosing: Rows

    def start(self, epoch: Any, step: Any, images: Any, rows: Rows | None = None) -> None:
        super().start(epoch, step, images)
        self.rows = rows

    def drive(self, layer: Any) -> None:
        """Makes a layer and the layers inside it draw from this stream."""
        drive(layer, self)
        for part in layer._flatten_layers():
            if hasattr(part, "backend"):
                # What Keras' image layers draw and compute with.
                part.backend.random = _Draws(self)
                part.backend.numpy = _Functions(self, part.backend.numpy)

    @contextmanager
    def branch(self, index: Any) -> Iterator[None]:
        with self._among(None), super().branch(index):
            yield

    def numbers(self, images: Any) -> Any:
        return super().numbers(images) if self.rows is None else self.rows.places

    def choose(self, count: int, images: Any) -> Any:
        if self.rows is None:
            return super().choose(count, images)
        # AugMix has several copies of each image.
        copies = tf.shape(images)[0] // tf.maximum(tf.shape(self.rows.places)[0], 1)
        rows = self.rows.copied(copies)
        choice = keras.random.randint((rows.whole,), 0, count, seed=self)
        self._choice, self._choosing = choice, rows
        return rows.here(choice)

    @contextmanager
    def chosen(self, index: int) -> Iterator[None]:
        if self.rows is None:
            with super().chosen(index):
                yield
            return
        part = self._choosing.among(tf.equal(self._choice, index))
        with super().branch(index), self._among(part):
            yield

    def beta(self, shape: Sequence[Any], alpha: Any) -> Any:
        return self.of_images(super().beta, shape, alpha)

    def dirichlet(self, shape: Sequence[Any], alpha: Any) -> Any:
        return self.of_images(super().dirichlet, shape, alpha)

    def of_images(self, draw: Callable[..., Any], shape: Sequence[Any], *arguments: Any, **named: Any) -> Any:
        """What the images here get of the whole batch's draws.

        Args:
            draw: Draws numbers of a shape, with these arguments.
            shape: Its first axis is the batch; an empty one is a draw for all.
        """
        if self.rows is None or len(shape) == 0:
            return draw(shape, *arguments, **named)
        return self.rows.here(draw((self.rows.whole, *shape[1:]), *arguments, **named))

    @contextmanager
    def _among(self, rows: Rows | None) -> Iterator[None]:
        outer = self.rows
        self.rows = rows
        yield
        self.rows = outer


class _Draws:
    """In the place of `keras.random`, for draws of one or more numbers for each image: the first axis is the batch."""

    def __init__(self, stream: ShareStream) -> None:
        self._stream = stream

    def uniform(
        self, shape: Any, minval: Any = 0.0, maxval: Any = 1.0, dtype: str | None = None, seed: Any = None
    ) -> Any:
        if self._stream.rows is None:
            return keras.random.uniform(shape, minval, maxval, dtype, seed)
        numbers = self._stream.of_images(keras.random.uniform, shape, dtype=dtype, seed=seed)
        # As TensorFlow does, but for the images here: its optimizer joins this with the arithmetic that follows.
        low, high = tf.cast(minval, numbers.dtype), tf.cast(maxval, numbers.dtype)
        return numbers * (high - low) + low

    def randint(self, shape: Any, *arguments: Any, **named: Any) -> Any:
        return self._stream.of_images(keras.random.randint, shape, *arguments, **named)

    def normal(self, shape: Any, dtype: str, seed: SeedStream) -> Any:
        """A number for each pixel of each image: too many to draw for the whole batch."""
        rows = self._stream.rows
        if rows is None:
            return keras.random.normal(shape, dtype=dtype, seed=seed)
        count = math.prod(shape[1:])
        image_seed = seed.next()

        def noise(place: Any) -> Any:
            """What fills the image's place in the noise of the whole batch."""
            key, counter, rest = philox_from(image_seed, place * count)
            numbers = tf.raw_ops.StatelessRandomNormalV2(
                shape=(count + VALUES_PER_BLOCK - 1,),
                key=key,
                counter=counter,
                alg=PHILOX,
                dtype=dtype,
            )
            return tf.reshape(numbers[rest : rest + count], shape[1:])

        signature = tf.TensorSpec(shape[1:], dtype)
        return tf.map_fn(noise, tf.cast(rows.places, tf.int64), fn_output_signature=signature)

    def shuffle(self, numbers: Any, seed: SeedStream) -> Any:
        """A permutation of 0 to batch - 1: which other image each is mixed with.

        Returns:
            The position here of each one's partner; 0 where it is not here.
        """
        rows = self._stream.rows
        if rows is None:
            return keras.random.shuffle(numbers, seed=seed)
        permutation = keras.random.shuffle(tf.range(rows.whole), seed=seed)
        return rows.found(rows.here(permutation))


class _Functions:
    """In the place of Keras' `backend.numpy`, with sines and the like of an image as in the whole batch.

    TensorFlow computes most of an array several numbers at a time, and the last few one by one with other formulas,
    whose results may differ in the last bit. So each number is put where it would be in the array of the whole batch.
    """

    def __init__(self, stream: ShareStream, functions: Any) -> None:
        self._stream = stream
        self._functions = functions

    def __getattr__(self, name: str) -> Any:
        return getattr(self._functions, name)

    def sin(self, values: Any) -> Any:
        return self._of_images(self._functions.sin, values)

    def cos(self, values: Any) -> Any:
        return self._of_images(self._functions.cos, values)

    def exp(self, values: Any) -> Any:
        return self._of_images(self._functions.exp, values)

    def sqrt(self, values: Any) -> Any:
        return self._of_images(self._functions.sqrt, values)

    def mean(self, values: Any, axis: int, keepdims: bool = False) -> Any:
        """The mean along one axis, [n, ...], of values for the images here."""
        rows = self._stream.rows
        # Vectors of numbers that reach from one image into the next are added up in another order.
        period = _VECTOR // math.gcd(math.prod(values.shape[axis:][1:]), _VECTOR)
        if rows is None or period == 1:
            return self._functions.mean(values, axis=axis, keepdims=keepdims)
        count = tf.shape(rows.places)[0]
        aligned = Rows(tf.range(count) * period + rows.places % period, count * period)
        return aligned.here(self._functions.mean(aligned.spread(values), axis=axis, keepdims=keepdims))

    def _of_images(self, function: Callable[[Any], Any], values: Any) -> Any:
        rows = self._stream.rows
        return function(values) if rows is None else rows.here(function(rows.spread(values)))
