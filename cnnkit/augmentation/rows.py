"""A share of a batch: which of its images are here, where several processes have a share each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Rows:
    """Which images of a whole batch are here, and in which order.

    Args:
        places: Their numbers in the whole batch, each at most once, from 0 to `whole` - 1: whole numbers [n].
        whole: How many images the whole batch has, a scalar.
    """

    places: Any
    whole: Any

    def here(self, values: Any) -> Any:
        """Of values for the images of the whole batch, [whole, ...], those of the images here, [n, ...]."""
        import tensorflow as tf

        return tf.gather(values, self.places)

    def spread(self, values: Any) -> Any:
        """Values for the images here, [n, ...], at their places in the whole batch, [whole, ...], between zeros."""
        import tensorflow as tf

        shape = tf.concat([[self.whole], tf.shape(values)[1:]], axis=0)
        return tf.scatter_nd(self.places[:, tf.newaxis], values, shape)

    def copied(self, times: Any) -> Rows:
        """The rows where all images of the batch follow one another several times, here and in the whole batch."""
        import tensorflow as tf

        places = tf.range(times)[:, tf.newaxis] * self.whole + self.places
        return Rows(tf.reshape(places, (-1,)), times * self.whole)

    def among(self, chosen: Any) -> Rows:
        """The rows of a part of the batch.

        Args:
            chosen: Which images of the whole batch are in the part, bool [whole].
        """
        import tensorflow as tf

        counted = tf.cast(chosen, tf.int32)
        numbers = tf.cumsum(counted, exclusive=True)
        return Rows(tf.boolean_mask(self.here(numbers), self.here(chosen)), tf.reduce_sum(counted))

    def with_partners(self, permutation: Any) -> Rows:
        """These rows and, after them, those of their partners that are not among them.

        Args:
            permutation: The partner of each image of the whole batch, whole numbers [whole].
        """
        import tensorflow as tf

        partners = tf.cast(self.here(permutation), self.places.dtype)
        return Rows(tf.unique(tf.concat([self.places, partners], axis=0))[0], self.whole)

    def found(self, places: Any) -> Any:
        """Where images of the whole batch are here: for their numbers [m], positions from 0 to n - 1, int32 [m].

        It is 0 for images that are not here.
        """
        import tensorflow as tf

        count = tf.shape(self.places)[0]
        return tf.gather(self.spread(tf.range(count)), places)
