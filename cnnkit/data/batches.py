"""Splits to tf.data batches: the order of every epoch is a pure function of (seed, epoch)."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnkit.augmentation.rows import Rows
from cnnkit.data.decoded import check_readable, image_moments, moments_of
from cnnkit.data.memory import batches_ahead, parallel_calls
from cnnkit.data.splits import ALIGNMENT, CHUNK, Array, Split
from cnnkit.errors import CnnkitError
from cnnkit.format.seeds import derive_seed
from cnnkit.images.formats import CorruptImage
from cnnkit.machine.devices import ONE_DEVICE, Devices
from cnnkit.machine.shares import bounds

if TYPE_CHECKING:
    import tensorflow as tf

    from cnnkit.augmentation.pipeline import Pipeline

#: Images that the mean and the variance are measured on at most.
STATISTICS_IMAGES = 1 << 16


def steps_per_epoch(size: int, batch_size: int, drop_remainder: bool = False) -> int:
    """Batches in one epoch.

    Raises:
        CnnkitError: if there are none.
    """
    steps = size // batch_size if drop_remainder else -(-size // batch_size)
    if steps == 0:
        raise CnnkitError(
            f"a training split of {size} does not fill one batch of {batch_size}, and `data.drop_remainder` leaves "
            "out smaller ones",
            "Lower `data.batch_size`, or set `data.drop_remainder: false`.",
        )
    return steps


def order(seed: int, epoch: int | tf.Tensor, size: int) -> tf.Tensor:
    """The order in which an epoch visits the training images: a permutation, int64 [size].

    A pure function of its arguments, and built of stock TensorFlow, so that it runs inside tf.data.

    Args:
        seed: The run's seed; the order draws from a stream of its own.
        epoch: 0 for the first.
        size: Number of images.
    """
    import tensorflow as tf

    key = tf.stack([tf.constant(derive_seed(seed, "order"), tf.int64), tf.cast(epoch, tf.int64)])
    # Sorting random numbers shuffles; Philox gives the same ones on every machine.
    draws = tf.random.stateless_uniform([size], key, minval=None, maxval=None, dtype=tf.int32, alg="philox")
    return tf.cast(tf.argsort(draws, stable=True), tf.int64)


def training_batches(
    split: Split,
    *,
    batch_size: int,
    seed: int,
    epoch: int = 0,
    step: int = 0,
    epochs: int | None = 1,
    drop_remainder: bool = False,
    transform: Pipeline | None = None,
    finish: Callable[[dict[str, Any]], tuple[Any, ...]] | None = None,
    devices: Devices = ONE_DEVICE,
) -> tf.data.Dataset:
    """The batches of one epoch or of several: in each, every image once, in `steps_per_epoch` batches.

    A batch depends only on its epoch's number and its place there, not on what ran before: iteration may begin at any
    step of any epoch. The next epoch's first batches are made while the end of one is validated.

    Args:
        split: The training images.
        batch_size: Images per batch; the last one of an epoch may be smaller.
        seed: The run's seed.
        epoch: The number of the epoch to begin with, 0 for the first.
        step: The step in it to begin with, from 0 to `steps_per_epoch`, where the next epoch follows at once.
        epochs: How many epochs, the one begun included; None for no end.
        drop_remainder: Whether to leave out an epoch's smaller last batch.
        transform: Augments a batch, which is a dict in the words of Keras' image layers, see `Targets.in_graph`.
        finish: Turns such a dict into the element, for label smoothing or sample weights.
        devices: What each batch is divided among; only the shares of this process' replicas are read.

    Returns:
        A data set of (images, targets), or of what `finish` returns. With several replicas, of tuples of one such
        element for each in this process, with the place of the share's first image in the batch and the batch's size,
        int64 [2].
    """
    import tensorflow as tf

    steps = steps_per_epoch(split.size, batch_size, drop_remainder)
    gather = _reader(split)
    # Where all batches have one size, say so: static shapes make faster kernels.
    static = batch_size if split.size % batch_size == 0 or drop_remainder else None

    def epoch_indices(number: Any) -> tf.data.Dataset:
        visits = order(seed, number, split.size)

        def batch(place: Any) -> tuple[Any, Any, Any]:
            return number, place, visits[place * batch_size : (place + 1) * batch_size]

        begin = tf.where(tf.equal(number, epoch), tf.constant(step, tf.int64), tf.constant(0, tf.int64))
        return tf.data.Dataset.range(begin, steps).map(_as_written(batch))

    def make(epoch: Any, step: Any, indices: Any) -> tuple[Any, ...]:
        batch = gather(tf.ensure_shape(indices, [static]))
        if transform is not None:
            batch = transform(batch, epoch, step, indices)
        return _element(batch) if finish is None else finish(batch)

    def make_shares(epoch: Any, step: Any, indices: Any) -> tuple[Any, ...]:
        whole = tf.size(indices, tf.int64)
        return tuple(make_share(replica, whole, epoch, step, indices) for replica in devices.own)

    def make_share(replica: int, whole: Any, epoch: Any, step: Any, indices: Any) -> tuple[Any, Any]:
        first, end = bounds(replica, devices.replicas, whole)
        rows = Rows(tf.range(first, end), whole)
        if transform is None:
            batch = gather(tf.gather(indices, rows.places))
        else:
            needed = transform.needed(epoch, step, rows)
            places = tf.gather(indices, needed.places)
            batch = transform(gather(places), epoch, step, places, rows)
        if static is not None:
            first_known, end_known = bounds(replica, devices.replicas, static)
            batch = {
                name: tf.ensure_shape(value, [end_known - first_known, *value.shape[1:]])
                for name, value in batch.items()
            }
        return (_element(batch) if finish is None else finish(batch)), tf.stack([first, whole])

    calls = parallel_calls(_batch_bytes(split, batch_size))
    last = tf.int64.max if epochs is None else epoch + epochs
    batches = tf.data.Dataset.range(epoch, last).flat_map(_as_written(epoch_indices))
    made = make if devices.replicas == 1 else make_shares
    batches = batches.map(_as_written(made), num_parallel_calls=calls, deterministic=True)
    cardinality = tf.data.INFINITE_CARDINALITY if epochs is None else epochs * steps - step
    batches = batches.apply(tf.data.experimental.assert_cardinality(cardinality))
    return _finished(batches, split, batch_size)


def evaluation_batches(split: Split, *, batch_size: int, first: int = 0, every: int = 1) -> tf.data.Dataset:
    """All images once, in order: (uint8 images, targets); the last batch may be smaller.

    Args:
        first, every: To have some of the batches only: the first of them, and the distance to the next.
    """
    import tensorflow as tf

    gather = _reader(split)
    static = batch_size if split.size % batch_size == 0 else None

    def make(step: Any) -> tuple[Any, Any]:
        first = step * batch_size
        indices = tf.range(first, tf.minimum(first + batch_size, split.size))
        return _element(gather(tf.ensure_shape(indices, [static])))

    batches = tf.data.Dataset.range(first, steps_per_epoch(split.size, batch_size), every)
    calls = parallel_calls(_batch_bytes(split, batch_size))
    batches = batches.map(_as_written(make), num_parallel_calls=calls, deterministic=True)
    return _finished(batches, split, batch_size)


@contextlib.contextmanager
def naming_corrupt_files(*splits: Split | None) -> Iterator[None]:
    """Where an image of some splits turns out to be corrupt, names all corrupt ones of the data set.

    Raises:
        CorruptImage: if there are some.
    """
    import tensorflow as tf

    try:
        yield
    except (CorruptImage, tf.errors.OpError) as error:
        # tf.data makes an error of its own of ours.
        found = re.search(r"(?:CorruptImage|CorruptFiles|BadMask): (.+)", error.message)
        if isinstance(error, CorruptImage) or found is not None:
            check_readable([split.source for split in splits if split is not None])
        if found is not None:
            raise CorruptImage(found[1]) from None
        raise


def _element(batch: dict[str, Any]) -> tuple[Any, Any]:
    """A batch as `fit` takes it: the images, and whatever comes with them."""
    images, targets = batch.values()
    return images, targets


def _reader(split: Split) -> Callable[[Any], dict[str, Any]]:
    """Indices [batch] to a batch, see `Targets.in_graph`; to be run inside tf.data."""
    import tensorflow as tf

    with_targets = split.targets.in_graph()
    # The map function captures these tensors; they stay in host memory and out of the graph, whose size
    # is limited to 2 GB.
    with tf.device("CPU:0"):
        all_stored = None if split.stored is None else _as_tensor(split.stored)
        positions = tf.constant(split.positions, tf.int64)

    def gather(indices: Any) -> dict[str, Any]:
        if all_stored is not None:
            stored = tf.gather(all_stored, indices)
        else:
            stored = split.source.read_in_graph(tf.gather(positions, indices))
            stored = tf.ensure_shape(stored, [indices.shape[0], *split.source.stored_shape])
        return with_targets(stored, indices)

    return gather


def _as_written(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function for `map` that AutoGraph leaves alone.

    It would read and rewrite the sources, for half a second at each start, and find no branch that depends on a tensor.
    """
    import tensorflow as tf

    unchanged: Callable[..., Any] = tf.autograph.experimental.do_not_convert(function)
    return unchanged


def _as_tensor(images: Array) -> Any:
    """The images as a tensor in host memory; aligned ones are shared, for a copy would double a large set."""
    import tensorflow as tf

    if images.size and images.flags.c_contiguous and images.flags.writeable and images.ctypes.data % ALIGNMENT == 0:
        return tf.experimental.dlpack.from_dlpack(images.__dlpack__())
    return tf.constant(images)


def _finished(batches: tf.data.Dataset, split: Split, batch_size: int) -> tf.data.Dataset:
    """The batches with some made ahead of time."""
    import tensorflow as tf

    options = tf.data.Options()
    options.deterministic = True
    # The rewriting of the graph would copy the images each time iteration starts, and has nothing to gain:
    # what it would make parallel is so already.
    options.experimental_optimization.apply_default_optimizations = False
    # Nothing is left to tune, and TensorFlow 2.21 sometimes waits for its tuner for up to many seconds, all threads
    # asleep, when an epoch's iteration ends.
    options.autotune.enabled = False
    return batches.prefetch(batches_ahead(_batch_bytes(split, batch_size))).with_options(options)


def _batch_bytes(split: Split, batch_size: int) -> int:
    """Bytes of a batch as float32, which augmentation makes of it."""
    return batch_size * math.prod(split.source.stored_shape) * 4


def channel_statistics(split: Split) -> tuple[list[float], list[float]]:
    """Mean and (population) variance of each channel, on the scale 0..255.

    Exact: the values are added up as whole numbers. Above 65,536 images, that many are looked at, spread evenly over
    the split. They are the same whether the images are in memory or not.
    """
    count = min(split.size, STATISTICS_IMAGES)
    places = np.arange(count) * split.size // count
    if split.moments is not None:
        moments = split.moments[places]
    elif split.stored is not None:
        parts = (split.stored[places[start : start + CHUNK]] for start in range(0, count, CHUNK))
        moments = np.concatenate([image_moments(images) for images in parts])
    else:
        moments = moments_of(split.source, split.positions[places])
    number = count * split.shape[0] * split.shape[1]
    means, variances = [], []
    # A mask is stored after the channels of the image.
    for total, squares in moments.sum(axis=0)[: split.shape[2]].tolist():
        means.append(total / number)
        # Whole numbers until the last division: nothing cancels.
        variances.append((number * squares - total * total) / (number * number))
    return means, variances
