"""A batch divided among replicas: which part is whose, and, inside a training step, which one is at work.

A replica is a device that computes a part of each batch. Its part is a function of the batch's size and of its number
alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any


def bounds(replica: int, replicas: int, whole: Any) -> tuple[Any, Any]:
    """The first image of a replica's part of a batch, and the first one after it.

    Args:
        replica: From 0.
        replicas: How many there are.
        whole: Images of the batch, a number or a scalar tensor.
    """
    return replica * whole // replicas, (replica + 1) * whole // replicas


@dataclass(frozen=True)
class Share:
    """A replica's part of the batch that a step trains on.

    Attributes:
        first: Its first image's place in the batch, a scalar tensor.
        size: Its images.
        whole: Those of the batch.
        replicas: How many replicas share the batch.
        most: Images of the largest batch, a number.
    """

    first: Any
    size: Any
    whole: Any
    replicas: int
    most: int


_current: ContextVar[Share | None] = ContextVar("share", default=None)


@contextlib.contextmanager
def working_on(share: Share) -> Iterator[None]:
    """Inside the block, `current` is a replica's share; in the thread that traces its step."""
    token = _current.set(share)
    try:
        yield
    finally:
        _current.reset(token)


def current() -> Share | None:
    """The share of the replica whose training step is being traced; None where one device has the whole batch."""
    return _current.get()


def sum_of_replicas(values: Any) -> Any:
    """The sum over all replicas of what each has for its share; what is given, where one device has the whole batch."""
    if current() is None:
        return values
    import tensorflow as tf

    return tf.distribute.get_replica_context().all_reduce("SUM", values)


def whole_batch(values: Any) -> Any:
    """What all replicas have for their shares, [share, ...], as that of the batch, [batch, ...]."""
    share = current()
    if share is None:
        return values
    import tensorflow as tf

    # TensorFlow's own gathering takes the sizes of all steps between two returns to Python for those of the first one.
    after = share.most - share.first - share.size
    padding = [[share.first, after], *([[0, 0]] * (len(values.shape) - 1))]
    placed = tf.ensure_shape(tf.pad(values, padding), [share.most, *values.shape[1:]])
    return sum_of_replicas(placed)[: share.whole]


def as_mean(part: Any) -> Any:
    """A replica's part of the loss of the batch, of which the loss is the sum, as the mean loss of its share.

    Keras gives that for losses of single images, divided by the number of replicas, and training weights it with the
    share's size.
    """
    share = current()
    if share is None:
        return part
    import tensorflow as tf

    return part * tf.cast(share.whole, part.dtype) / tf.cast(share.replicas * share.size, part.dtype)


#: Philox, with which TensorFlow draws on processors and GPUs, makes four values of 32 bits or less at a time (Salmon et
#: al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
PHILOX = 1
VALUES_PER_BLOCK = 4


def philox_from(seed: Any, before: Any) -> tuple[Any, Any, Any]:
    """Where TensorFlow's stateless draws of a seed go on after so many values, so that those are not drawn.

    Args:
        seed: int32 [2].
        before: The values that are left out, an int64 scalar.

    Returns:
        Key and counter for `tf.raw_ops.StatelessRandomUniformV2` and its like, and how many values of the first block
        are still to be left out.
    """
    import tensorflow as tf

    key, counter = tf.raw_ops.StatelessRandomGetKeyCounter(seed=seed)
    low = counter[0] + tf.cast(before // VALUES_PER_BLOCK, tf.uint64)
    high = counter[1] + tf.cast(low < counter[0], tf.uint64)
    return key, tf.stack([low, high]), before % VALUES_PER_BLOCK
