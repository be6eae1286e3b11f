"""Runs the augmentations of a config on training batches, as pure functions of (seed, epoch, step)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cnnkit.augmentation.base import Augmentation
from cnnkit.format.seeds import derive_seed

if TYPE_CHECKING:
    import numpy as np


class Pipeline:
    """The augmentations of a config, in their order, for `tf.data.Dataset.map`.

    What an augmentation draws depends on the seed, its type and how many of the same type come before it,
    the epoch and the step, and on nothing else: another augmentation, a restart or the number of threads
    leaves it alone. Each image of a batch is changed in its own way.

    Args:
        augmentations: What to apply, in this order.
        seed: The run's seed.
    """

    def __init__(self, augmentations: Sequence[Augmentation], seed: int) -> None:
        from cnnkit.augmentation import keras_layers

        counts: Counter[str] = Counter()
        self._parts: list[tuple[Augmentation, Any, keras_layers.SeedStream]] = []
        for augmentation in augmentations:
            kind = type(augmentation).__name__
            path = ("augmentation", kind, counts[kind])
            counts[kind] += 1
            stream = keras_layers.SeedStream((derive_seed(seed, *path, 0), derive_seed(seed, *path, 1)))
            layer = augmentation.build()
            keras_layers.drive(layer, stream)
            self._parts.append((augmentation, layer, stream))

    def __call__(self, batch: Mapping[str, Any], epoch: Any, step: Any, places: Any) -> dict[str, Any]:
        """Changes one batch; works eagerly and in a graph, with a batch size that need not be known.

        Args:
            batch: `images`, (batch, height, width, channels), 0 to 255, any numeric type; and, where the target is
                one vector per image, `labels`, (batch, outputs), one-hot or already mixed.
            epoch: The epoch's number, a scalar tensor or a whole number.
            step: The batch's position in the epoch, likewise.
            places: The images' places in the training split, int64 (batch,).

        Returns:
            The same entries. Images of the same shape, 0 to 255: as float32, not rounded, or as uint8 where nothing
            computes with the pixels; and labels as float32.
        """
        import tensorflow as tf

        # Keras' layers are graph code already; AutoGraph would only rewrite, slowly, what it need not.
        apply: Callable[..., dict[str, Any]] = tf.autograph.experimental.do_not_convert(self._apply)
        return apply(batch, epoch, step, places)

    def _apply(self, batch: Mapping[str, Any], epoch: Any, step: Any, places: Any) -> dict[str, Any]:
        import tensorflow as tf

        images = tf.convert_to_tensor(batch["images"])
        others = {name: tf.cast(value, tf.float32) for name, value in batch.items() if name != "images"}
        shape = images.shape
        for augmentation, layer, stream in self._parts:
            stream.start(epoch, step, places)
            if augmentation.mixes_labels:
                others = layer({"images": tf.cast(images, tf.float32), **others}, training=True)
                images = others.pop("images")
            elif augmentation.leaves_bytes():
                # Not `layer(...)`, which makes numbers of bytes.
                images = layer.call(images, training=True)
            else:
                images = layer(tf.cast(images, tf.float32), training=True)
            images = tf.ensure_shape(images, shape)
        return {"images": images, **others}

    def apply_numpy(
        self,
        batch: Mapping[str, np.ndarray],
        epoch: int = 0,
        step: int = 0,
        places: np.ndarray | None = None,
    ) -> dict[str, np.ndarray]:
        """The same on arrays, for pictures and tests; `places` are by default the first ones."""
        import numpy as np

        changed = self(batch, epoch, step, np.arange(len(batch["images"])) if places is None else places)
        return {name: value.numpy() for name, value in changed.items()}
