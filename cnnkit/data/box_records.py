"""Prepared TensorFlow Datasets of images with a box around each object."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from cnnkit.config.dataset import DataSetInfo
from cnnkit.config.prepared import read_prepared_boxes
from cnnkit.data.boxes import BOX_NUMBERS, BoxTargets, placed
from cnnkit.data.cache import entry_key, read_arrays, write_arrays
from cnnkit.data.splits import Array
from cnnkit.data.targets import Targets
from cnnkit.data.tfds import RECORDS, PreparedSet, RecordSource, damaged
from cnnkit.images.formats import open_image
from cnnkit.machine.tensorflow import load_tensorflow

#: What is kept of the objects of a slice: see `BoxRecordSource.objects`.
_KEPT = ("boxes", "starts", "sizes")


class PreparedBoxes(PreparedSet):
    """A prepared TFDS data set of images with a box around each object.

    Args:
        folder: The folder of its version.
        info: Shape and classes.
        resize: As for `PreparedSet`.
        first: The number of an image's first pixel in its boxes, 0 or 1.

    Raises:
        DataProblem: if it has no boxes.
        CnnkitError: as `PreparedSet`.
    """

    def __init__(self, folder: Path, info: DataSetInfo, resize: str, first: int) -> None:
        facts = read_prepared_boxes(folder)
        super().__init__(folder, info.shape, info.target.all_names, resize, facts)
        self.box_key: str = facts["box"]
        self.crowd_key: str | None = facts["crowd"]
        self.first = first

    def open(self, spec: str) -> BoxRecordSource:
        return BoxRecordSource(self, spec)


class BoxRecordSource(RecordSource):
    """Images and boxes of one TFDS slice; images are decoded when they are read.

    Boxes of no area, which some sets have and nobody can correct in a record, are left out.
    """

    prepared: PreparedBoxes

    @cached_property
    def objects(self) -> list[Array]:
        """The boxes of all images as they are stored, see `_KEPT`.

        float32 [boxes, 6] (left, top, right and bottom as shares of the image, class, 1 for a crowd); where those of
        each image begin, and the end of the last, int64 [images + 1]; and the images' sizes, int64 [images, 2].
        """
        features = [self.prepared.image_key, self.prepared.box_key, self.prepared.label_key, self.prepared.crowd_key]
        key = entry_key(kind="objects", files=self._files_facts, features=features)
        found = read_arrays(key, *_KEPT)
        if found is None:
            found = self._read_objects()
            write_arrays(key, dict(zip(_KEPT, found, strict=True)))
        return found

    @cached_property
    def _placed(self) -> tuple[list[Array], int]:
        """The boxes of each image in pixels of the network's images, float32 [boxes, 6]; and how many have no area."""
        boxes, starts, sizes = self.objects
        kept, empty = [], 0
        for position, (height, width) in enumerate(sizes.tolist()):
            of_image = boxes[starts[position] : starts[position + 1]].astype(np.float64)
            # TFDS refuses shares beyond 0 to 1, so that only the first pixel may lie outside.
            edges = of_image[:, :4] * [width, height, width, height]
            edges[:, :2] = np.maximum(edges[:, :2] - self.prepared.first, 0)
            full = (edges[:, 2] > edges[:, 0]) & (edges[:, 3] > edges[:, 1])
            empty += int((~full).sum())
            moved = placed(edges[full], (height, width), self.shape, self.prepared.resize)
            numbers = np.concatenate([moved, of_image[full, 4:]], axis=1)
            kept.append(numbers[(moved[:, 2] > moved[:, 0]) & (moved[:, 3] > moved[:, 1])].astype(np.float32))
        return kept, empty

    @cached_property
    def targets(self) -> Targets:
        each = self._placed[0]
        return BoxTargets.of(each, max([1, *map(len, each)]), self.prepared.class_names)

    @property
    def notes(self) -> Sequence[str]:
        empty = self._placed[1]
        verb = "box has" if empty == 1 else "boxes have"
        return (f"{empty:,} {verb} no area in `{self.spec}`, and are left out",) if empty else ()

    @property
    def is_labelled(self) -> bool:
        """Whether any image has an object: TFDS stores none of images whose objects are kept secret."""
        return len(self.objects[0]) > 0

    def _read_objects(self) -> list[Array]:
        import tensorflow as tf

        load_tensorflow()
        keys = {"box": self.prepared.box_key, "label": self.prepared.label_key, "crowd": self.prepared.crowd_key}
        features: dict[str, Any] = {self.prepared.image_key: tf.io.FixedLenFeature([], tf.string)}
        for name, key in keys.items():
            if key is not None:
                features[key] = tf.io.RaggedFeature(tf.float32 if name == "box" else tf.int64)
        boxes: list[Array] = []
        counts: list[Array] = []
        sizes: list[tuple[int, int]] = []
        batches = self._records().batch(RECORDS).map(lambda records: tf.io.parse_example(records, features))
        try:
            for batch in batches:
                labels = batch[keys["label"]]
                numbers = np.zeros((int(labels.flat_values.shape[0]), BOX_NUMBERS), np.float32)
                # TFDS has the upper edge first.
                numbers[:, :4] = batch[keys["box"]].flat_values.numpy().reshape(-1, 4)[:, [1, 0, 3, 2]]
                numbers[:, 4] = labels.flat_values.numpy()
                if keys["crowd"] is not None:
                    numbers[:, 5] = batch[keys["crowd"]].flat_values.numpy()
                boxes.append(numbers)
                counts.append(labels.row_lengths().numpy())
                sizes += [_size(encoded) for encoded in batch[self.prepared.image_key].numpy()]
        except (tf.errors.DataLossError, tf.errors.NotFoundError, tf.errors.InvalidArgumentError, OSError) as error:
            raise damaged(f"cannot read a record file: {str(error).splitlines()[0]}") from None
        starts = np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int64)
        return [np.concatenate(boxes), starts, np.array(sizes, np.int64).reshape(-1, 2)]


def _size(encoded: bytes) -> tuple[int, int]:
    """(height, width) of an encoded image, as TensorFlow decodes it: not turned, whatever its EXIF data say."""
    with open_image(io.BytesIO(encoded)) as image:
        return image.height, image.width
