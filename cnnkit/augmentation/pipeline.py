"""Runs the augmentations of a config on training batches, as pure functions of (seed, epoch, step)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnnkit.augmentation.base import Augmentation
from cnnkit.format.seeds import derive_seed

if TYPE_CHECKING:
    import numpy as np

    from cnnkit.augmentation.keras_layers import SeedStream


class Pipeline:
    """The augmentations of a config, in their order, for `tf.data.Dataset.map`.

    What an augmentation draws depends on the seed, its type and how many of the same type come before it,
    the epoch and the step, and on nothing else: another augmentation, a restart or the number of threads
    leaves it alone. Each image of a batch is changed in its own way.

    Args:
        augmentations: What to apply, in this order.
        seed: The run's seed.
        masks: Whether the batches have masks, which are to move with their images.
        ignore: The class id of mask pixels that do not count; it fills what comes from outside an image.

    Raises:
        MaskError: if an augmentation cannot do to masks what it does to images.
    """

    def __init__(
        self, augmentations: Sequence[Augmentation], seed: int, *, masks: bool = False, ignore: int | None = None
    ) -> None:
        from cnnkit.augmentation import keras_layers

        counts: Counter[str] = Counter()
        self._masks = masks
        self._parts: list[_Part] = []
        for augmentation in augmentations:
            kind = type(augmentation).__name__
            path = ("augmentation", kind, counts[kind])
            counts[kind] += 1
            stream = keras_layers.SeedStream((derive_seed(seed, *path, 0), derive_seed(seed, *path, 1)))
            of_masks = augmentation.for_masks(ignore) if masks else None
            change_masks = None if of_masks is None else _Change.made(of_masks, stream)
            self._parts.append(_Part(_Change.made(augmentation, stream), change_masks, stream))

    def __call__(self, batch: Mapping[str, Any], epoch: Any, step: Any, places: Any) -> dict[str, Any]:
        """Changes one batch; works eagerly and in a graph, with a batch size that need not be known.

        Args:
            batch: In Keras' words: `images`, (batch, height, width, channels), 0 to 255, any numeric type; where there
                is one vector to be learned for each image, `labels`, (batch, outputs), one-hot or already mixed; and
                where there is a class for each pixel, `segmentation_masks`, (batch, height, width, 1), uint8 class ids.
            epoch: The epoch's number, a scalar tensor or a whole number.
            step: The batch's position in the epoch, likewise.
            places: The images' places in the training split, int64 (batch,).

        Returns:
            The same entries. Images, 0 to 255, of the same shape or of a crop's: as float32, not rounded, or as uint8
            where nothing computes with the pixels; labels as float32; and masks of the images' height and width as
            uint8.
        """
        import tensorflow as tf

        if ("segmentation_masks" in batch) != self._masks:
            raise ValueError("a pipeline for masks takes batches with `segmentation_masks`, and another one none")
        # Keras' layers are graph code already; AutoGraph would only rewrite, slowly, what it need not.
        apply: Callable[..., dict[str, Any]] = tf.autograph.experimental.do_not_convert(self._apply)
        return apply(batch, epoch, step, places)

    def _apply(self, batch: Mapping[str, Any], epoch: Any, step: Any, places: Any) -> dict[str, Any]:
        import tensorflow as tf

        changed = {"images": tf.convert_to_tensor(batch["images"])}
        if "labels" in batch:
            changed["labels"] = tf.cast(batch["labels"], tf.float32)
        if self._masks:
            changed["segmentation_masks"] = tf.convert_to_tensor(batch["segmentation_masks"])
        for part in self._parts:
            part.stream.start(epoch, step, places)
            if part.images.augmentation.mixes_labels and "labels" in changed:
                shape = changed["images"].shape
                mixed = part.images.layer({**changed, "images": tf.cast(changed["images"], tf.float32)}, training=True)
                changed = {**mixed, "images": tf.ensure_shape(mixed["images"], shape)}
            else:
                changed["images"] = part.images.apply(changed["images"])
            if part.masks is not None:
                # The same draws over again.
                part.stream.start(epoch, step, places)
                masks = part.masks.apply(changed["segmentation_masks"])
                changed["segmentation_masks"] = tf.cast(masks, tf.uint8)
        return changed

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


@dataclass(frozen=True)
class _Change:
    """An augmentation and its Keras layer."""

    augmentation: Augmentation
    layer: Any

    @classmethod
    def made(cls, augmentation: Augmentation, stream: SeedStream) -> _Change:
        from cnnkit.augmentation.keras_layers import drive

        layer = augmentation.build()
        drive(layer, stream)
        return cls(augmentation, layer)

    def apply(self, images: Any) -> Any:
        """Images, or masks, [batch, height, width, channels]; as float32, or as bytes where they may stay such."""
        import tensorflow as tf

        shape = self.augmentation.resized(tuple(images.shape[1:]))
        if self.augmentation.leaves_bytes():
            # Not `layer(...)`, which makes numbers of bytes.
            changed = self.layer.call(images, training=True)
        else:
            changed = self.layer(tf.cast(images, tf.float32), training=True)
        return tf.ensure_shape(changed, (images.shape[0], *shape))


@dataclass(frozen=True)
class _Part:
    """What one augmentation does to images, and to masks if it moves them; both draw from one stream."""

    images: _Change
    masks: _Change | None
    stream: SeedStream
