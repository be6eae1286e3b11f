"""Prepared TensorFlow Datasets of images with a mask each: the mask stored behind the channels of its image."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from cnnkit.config.dataset import DataSetInfo
from cnnkit.config.known_data_sets import KnownMasks
from cnnkit.config.prepared import read_prepared_masks
from cnnkit.data.cache import entry_key
from cnnkit.data.images import CorruptFiles
from cnnkit.data.splits import Array
from cnnkit.data.targets import StoredMasks, Targets
from cnnkit.data.tfds import PreparedSet, RecordSource, resized, resized_mask
from cnnkit.images.formats import CorruptImage
from cnnkit.images.masks import BadMask

_UNEVEN = "an image and its mask differ in size"


class PreparedMasks(PreparedSet):
    """A prepared TFDS data set of images with a mask each.

    Args:
        folder: The folder of its version.
        info: Shape with the border, classes, and the number that a border's pixels get.
        resize: As for `PreparedSet`.
        known: Which feature has the masks, and how they count.
        ignore: The number of pixels that do not count; as a config counts, the first class is 0.

    Raises:
        DataProblem: if it has no masks.
        CnnkitError: as `PreparedSet`.
    """

    def __init__(
        self, folder: Path, info: DataSetInfo, resize: str, known: KnownMasks | None, ignore: int | None
    ) -> None:
        facts = read_prepared_masks(folder, known)
        super().__init__(folder, info.shape, info.target.all_names, resize, facts)
        self.padding = info.padding
        self.first: int = facts["first"]
        # Where none is ignored, there is no border: `describe_data_set` sees to it.
        self.border = info.target.ignore or 0
        learned = {*range(info.target.size), *(() if ignore is None else (ignore,))}
        # What is neither a class nor ignored becomes a number that is neither; where all are, nothing is.
        self.unknown = next((number for number in range(256) if number not in learned | {self.border}), 0)
        numbers = [number - self.first for number in range(256)]
        self.numbers = np.array([number if number in learned else self.unknown for number in numbers], np.uint8)

    def open(self, spec: str) -> MaskRecordSource:
        return MaskRecordSource(self, spec)


class MaskRecordSource(RecordSource):
    """Images and masks of one TFDS slice, decoded when they are read."""

    prepared: PreparedMasks

    def __init__(self, prepared: PreparedMasks, spec: str) -> None:
        super().__init__(prepared, spec)
        height, width, channels = prepared.shape
        self.stored_shape = (height, width, channels + 1)

    @cached_property
    def key(self) -> str:
        masks = [self.prepared.label_key, self.prepared.padding, self.prepared.border, self.prepared.numbers.tolist()]
        return entry_key(kind="masks", images=super().key, masks=masks)

    @cached_property
    def targets(self) -> Targets:
        return StoredMasks(sum(take for _, _, take in self.parts))

    @property
    def is_labelled(self) -> bool:
        return True

    def decode(self, positions: Array) -> Iterator[tuple[Array, Array]]:
        failed: list[CorruptImage] = []
        for part, stored in super().decode(positions):
            if self.prepared.unknown:
                strange = (stored[..., -1] == self.prepared.unknown).any(axis=(1, 2))
                failed += [self._strange(int(position)) for position in part[strange]]
            yield part, stored
        if failed:
            raise CorruptFiles(failed)

    def _strange(self, position: int) -> BadMask:
        last = self.prepared.first + len(self.prepared.class_names) - 1
        return BadMask(
            self.identity(position),
            f"has other numbers than those of the classes, {self.prepared.first} to {last}; name all classes with "
            "`data.class_names`, or set `data.ignore` (there, the first class is number 0)",
            is_file=False,
        )

    @property
    def _encoded_keys(self) -> tuple[str, ...]:
        return self.prepared.image_key, self.prepared.label_key

    def _decode_one(self, encoded: Any, encoded_mask: Any = None) -> Any:
        import tensorflow as tf

        top, bottom, left, right = self.prepared.padding
        height, width = self.shape[0] - top - bottom, self.shape[1] - left - right
        image = self._decode_image(encoded)
        mask = tf.io.decode_image(encoded_mask, channels=1, expand_animations=False)
        same = tf.debugging.assert_equal(tf.shape(image)[:2], tf.shape(mask)[:2], _UNEVEN)
        with tf.control_dependencies([same] if same is not None else []):
            mask = tf.gather(tf.constant(self.prepared.numbers), tf.cast(mask, tf.int32))
        image = resized(image, height, width, self.prepared.resize)
        mask = resized_mask(mask, height, width, self.prepared.resize, self.prepared.border)
        # A border of the outermost pixels: places beyond them are theirs.
        rows = tf.clip_by_value(tf.range(-top, height + bottom), 0, height - 1)
        columns = tf.clip_by_value(tf.range(-left, width + right), 0, width - 1)
        image = tf.gather(tf.gather(image, rows), columns, axis=1)
        mask = tf.pad(mask, [[top, bottom], [left, right], [0, 0]], constant_values=self.prepared.border)
        return tf.concat([image, mask], axis=2)
