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

    from cnnkit.augmentation.rows import Rows
    from cnnkit.augmentation.shares import ShareStream


class Pipeline:
    """The augmentations of a config, in their order, for `tf.data.Dataset.map`.

    What an augmentation draws depends on the seed, its type and how many of the same type come before it,
    the epoch and the step, and on nothing else: another augmentation, a restart or the number of threads
    leaves it alone. Each image of a batch is changed in its own way.

    Where several processes have a share of each batch, an image becomes in its share what it becomes in the whole
    batch, to the last bit; the other images need not be there, unless they are mixed with it.

    Args:
        augmentations: What to apply, in this order.
        seed: The run's seed.
        masks: Whether the batches have masks, which are to move with their images.
        boxes: Whether they have boxes, likewise.
        ignore: The class id of mask pixels that do not count; it fills what comes from outside an image.

    Raises:
        TargetError: if an augmentation cannot do to masks or boxes what it does to images.
    """

    def __init__(
        self,
        augmentations: Sequence[Augmentation],
        seed: int,
        *,
        masks: bool = False,
        ignore: int | None = None,
        boxes: bool = False,
    ) -> None:
        from cnnkit.augmentation.shares import ShareStream

        counts: Counter[str] = Counter()
        self._masks = masks
        self._boxes = boxes
        self._parts: list[_Part] = []
        for augmentation in augmentations:
            kind = type(augmentation).__name__
            path = ("augmentation", kind, counts[kind])
            counts[kind] += 1
            stream = ShareStream((derive_seed(seed, *path, 0), derive_seed(seed, *path, 1)))
            of_masks = augmentation.for_masks(ignore) if masks else None
            change_masks = None if of_masks is None else _Change.made(of_masks, stream)
            if boxes:
                augmentation.check_boxes()
            mover = augmentation.box_mover if boxes else None
            self._parts.append(_Part(_Change.made(augmentation, stream), change_masks, mover, stream))

    def __call__(
        self, batch: Mapping[str, Any], epoch: Any, step: Any, places: Any, rows: Rows | None = None
    ) -> dict[str, Any]:
        """Changes one batch, or a share of it; works eagerly and in a graph, with a batch size that need not be known.

        Args:
            batch: In Keras' words: `images`, (batch, height, width, channels), 0 to 255, any numeric type; where there
                is one vector to be learned for each image, `labels`, (batch, outputs), one-hot or already mixed; and
                where there is a class for each pixel, `segmentation_masks`, (batch, height, width, 1), uint8 class ids;
                and where there are boxes, `bounding_boxes`, float32 (batch, most, 6), see `data.boxes.BoxTargets`.
            epoch: The epoch's number, a scalar tensor or a whole number.
            step: The batch's position in the epoch, likewise.
            places: The images' places in the training split, int64 (batch,).
            rows: The images that are wanted, where these are not the whole batch. `batch` and `places` are then of the
                images of `needed(epoch, step, rows)`.

        Returns:
            The same entries, of the images that are wanted. Images, 0 to 255, of the same shape or of a crop's: as
            float32, not rounded, or as uint8 where nothing computes with the pixels; labels as float32; and masks of
            the images' height and width as uint8.
        """
        import tensorflow as tf

        if ("segmentation_masks" in batch) != self._masks:
            raise ValueError("a pipeline for masks takes batches with `segmentation_masks`, and another one none")
        if ("bounding_boxes" in batch) != self._boxes:
            raise ValueError("a pipeline for boxes takes batches with `bounding_boxes`, and another one none")
        # Keras' layers are graph code already; AutoGraph would only rewrite, slowly, what it need not.
        apply: Callable[..., dict[str, Any]] = tf.autograph.experimental.do_not_convert(self._apply)
        return apply(batch, epoch, step, places, rows)

    def needed(self, epoch: Any, step: Any, rows: Rows) -> Rows:
        """The images of a batch that a share of it is made of: its own, then those that are mixed into them.

        Args:
            epoch: The epoch's number, a scalar tensor or a whole number.
            step: The batch's position in the epoch, likewise.
            rows: The images that are wanted.
        """
        import tensorflow as tf

        stages: Callable[..., list[Rows]] = tf.autograph.experimental.do_not_convert(self._stages)
        return stages(epoch, step, rows)[0]

    def _stages(self, epoch: Any, step: Any, rows: Rows) -> list[Rows]:
        """The rows that each part is given, and those that are wanted of the last one."""
        import tensorflow as tf

        from cnnkit.augmentation.rows import Rows

        # Where a slice has left the length open, TensorFlow's optimizer would not join draws with the arithmetic after
        # them, as it does in a whole batch.
        places = tf.reshape(tf.cast(rows.places, tf.int32), (-1,))
        rows = Rows(places, tf.cast(rows.whole, tf.int32))
        stages = [rows]
        for part in reversed(self._parts):
            if part.images.augmentation.mixes_labels:
                part.stream.start(epoch, step, None)
                rows = rows.with_partners(part.permutation(rows.whole))
            stages.insert(0, rows)
        return stages

    def _apply(self, batch: Mapping[str, Any], epoch: Any, step: Any, places: Any, rows: Rows | None) -> dict[str, Any]:
        import tensorflow as tf

        changed = {"images": tf.convert_to_tensor(batch["images"])}
        if "labels" in batch:
            changed["labels"] = tf.cast(batch["labels"], tf.float32)
        if self._masks:
            changed["segmentation_masks"] = tf.convert_to_tensor(batch["segmentation_masks"])
        if self._boxes:
            changed["bounding_boxes"] = tf.convert_to_tensor(batch["bounding_boxes"])
        stages = [None] * (len(self._parts) + 1) if rows is None else self._stages(epoch, step, rows)
        for part, given, wanted in zip(self._parts, stages, stages[1:], strict=False):
            before = changed["images"]
            part.stream.start(epoch, step, places, given)
            if part.images.augmentation.mixes_labels and "labels" in changed:
                shape = changed["images"].shape
                mixed = part.images.layer({**changed, "images": tf.cast(changed["images"], tf.float32)}, training=True)
                changed = {**mixed, "images": tf.ensure_shape(mixed["images"], shape)}
            else:
                changed["images"] = part.images.apply(changed["images"])
            if part.masks is not None:
                # The same draws over again.
                part.stream.start(epoch, step, places, given)
                masks = part.masks.apply(changed["segmentation_masks"])
                changed["segmentation_masks"] = tf.cast(masks, tf.uint8)
            if part.box_mover is not None:
                from cnnkit.augmentation import box_layers

                part.stream.start(epoch, step, places, given)
                mover, boxes = getattr(box_layers, part.box_mover), changed["bounding_boxes"]
                changed["bounding_boxes"] = box_layers.moved_boxes(mover, part.images.layer, before, boxes)
            if wanted is not None and wanted is not given:
                # Partners come last, and have been mixed into the others.
                changed = {name: _first(values, wanted) for name, values in changed.items()}
                places = _first(places, wanted)
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
    def made(cls, augmentation: Augmentation, stream: ShareStream) -> _Change:
        layer = augmentation.build()
        stream.drive(layer)
        return cls(augmentation, layer)

    def apply(self, images: Any) -> Any:
        """Images, or masks, [batch, height, width, channels]; as float32, or as bytes where they may stay such."""
        import tensorflow as tf

        shapes = self.augmentation.shapes(tuple(images.shape[1:]))
        # One size is known when the graph is made; of several, the epoch decides.
        shape = [sizes[0] if len(set(sizes)) == 1 else None for sizes in zip(*shapes, strict=True)]
        if self.augmentation.leaves_bytes():
            # Not `layer(...)`, which makes numbers of bytes.
            changed = self.layer.call(images, training=True)
        else:
            changed = self.layer(tf.cast(images, tf.float32), training=True)
        return tf.ensure_shape(changed, [images.shape[0], *shape])


@dataclass(frozen=True)
class _Part:
    """What one augmentation does to images, and to masks and boxes if it moves them; all draw from one stream."""

    images: _Change
    masks: _Change | None
    box_mover: str | None
    stream: ShareStream

    def permutation(self, count: Any) -> Any:
        """The partner of each image in a batch of `count`, whole numbers [count], of a layer that mixes; draws it."""
        import tensorflow as tf

        # Of images, only their number counts.
        drawn = self.images.layer.get_random_transformation(tf.zeros((count, 1, 1, 1)))
        return drawn["permutation_order"]


def _first(values: Any, rows: Rows) -> Any:
    """Of the values of a batch, those of its first images."""
    import tensorflow as tf

    count = rows.places.shape[0]
    return tf.ensure_shape(values[: tf.shape(rows.places)[0]], (count, *values.shape[1:]))
