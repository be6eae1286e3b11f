"""Prepared TensorFlow Datasets: their labels, and their images in file order or by place."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnkit.config.base import suggestion
from cnnkit.config.dataset import read_prepared
from cnnkit.data.splits import Array, empty_images
from cnnkit.errors import CnnkitError

if TYPE_CHECKING:
    import tensorflow as tf

#: Records decoded by one call: enough that the call costs little, few enough that all cores get some.
RECORDS = 128


class PreparedSet:
    """A prepared TFDS data set of labelled images.

    Args:
        folder: The folder of its version, which holds `dataset_info.json`.
        shape: (height, width, channels) of the images that leave here; others are resized, bilinear with
            antialiasing, as `tf.image.resize` does, and rounded.
        classes: Number of classes.

    Raises:
        CnnkitError: if its images are not uint8, its files no TFRecords, or its facts are not those given.
    """

    def __init__(self, folder: Path, shape: tuple[int, int, int], classes: int) -> None:
        import tensorflow_datasets as tfds

        facts = read_prepared(folder)
        self.builder = tfds.builder_from_directory(str(folder))
        self.name = f"{self.builder.info.full_name.rpartition('/')[0]}:{self.builder.info.version}"
        self.shape = shape
        self.image_key: str = facts["image"]
        self.label_key: str = facts["label"]
        self.splits: dict[str, int] = facts["splits"]
        self.stored_shape: tuple[int | None, int | None, int] = facts["shape"]
        self.classes = classes
        if facts["dtype"] != "uint8":
            raise CnnkitError(f"the images of `{self.name}` are {facts['dtype']}; cnnkit reads uint8 images (0..255)")
        if facts["classes"] not in (None, classes) or facts["shape"][2] != shape[2]:
            raise CnnkitError(
                f"`{self.name}` has {facts['classes']} classes and {facts['shape'][2]} channels, but the config "
                f"says {classes} classes and {shape[2]} channels",
                "Remove `data.shape` and `data.classes`.",
            )
        file_format = self.builder.info.file_format
        if file_format is not None and file_format.value != "tfrecord":
            raise CnnkitError(
                f"`{self.name}` is stored as {file_format.value}; cnnkit reads TFRecord files",
                "Prepare it again with `tfds build --file_format=tfrecord`.",
            )

    @property
    def fingerprint(self) -> str:
        """Name, version, and images and bytes of each split."""
        infos = self.builder.info.splits
        sizes = ", ".join(
            f"{name} {infos[name].num_examples} images {int(infos[name].num_bytes)} bytes" for name in sorted(infos)
        )
        return f"{self.name} ({sizes})"

    def open(self, spec: str) -> RecordSource:
        """The images of a slice such as `train` or `train[:90%]`.

        Raises:
            CnnkitError: if there is no such split, the slice cannot be read, or is empty.
        """
        return RecordSource(self, spec)

    def instructions(self, spec: str) -> list[tuple[str, int, int]]:
        """(file, first record, number of records) of each part of a slice, in order."""
        base = spec.partition("[")[0]
        try:
            parts = self.builder.info.splits[spec].file_instructions
        except (KeyError, ValueError, AssertionError) as error:
            hint = suggestion(base, self.splits) if base not in self.splits else ""
            reason = f"`{self.name}` has no split `{base}`{hint}" if hint else str(error).split("\n")[0]
            raise CnnkitError(f"cannot read the slice `{spec}`: {reason}") from None
        return [(str(part.filename), part.skip, part.take) for part in parts if part.take > 0]

    def overlap(self, first: str, second: str) -> bool:
        """Whether two slices share records."""
        return any(
            file == other and max(skip, start) < min(skip + take, start + number)
            for file, skip, take in self.instructions(first)
            for other, start, number in self.instructions(second)
        )


class RecordSource:
    """The images of one TFDS slice, decoded when they are read."""

    def __init__(self, prepared: PreparedSet, spec: str) -> None:
        self.prepared = prepared
        self.spec = spec
        self.shape = prepared.shape
        self.parts = prepared.instructions(spec)
        if not self.parts:
            raise CnnkitError(f"the slice `{spec}` of `{prepared.name}` is empty")
        self.labels = self._read_labels()
        self._places: tuple[Array, Array, Array] | None = None
        self._decode_function: Any = None

    @property
    def is_labelled(self) -> bool:
        """Whether every record has a label (TFDS writes -1 for a missing one)."""
        return bool((self.labels >= 0).all())

    def identity(self, position: int) -> str:
        return f"{self.spec}/{position}"

    def path(self, position: int) -> str | None:
        return None

    def read(self, positions: Array) -> Array:
        import tensorflow as tf

        if self._decode_function is None:
            self._decode_function = tf.function(self._decode, input_signature=[tf.TensorSpec([None], tf.string)])
        return self._decode_function(tf.constant(self._read_records(positions))).numpy()

    def read_in_graph(self, positions: Any) -> Any:
        import tensorflow as tf

        # Only the bytes come from Python: a TensorFlow function called there could wait for the very
        # threads that wait for it.
        records = tf.ensure_shape(tf.numpy_function(self._read_records, [positions], tf.string), positions.shape)
        return self._decode(records)

    def _read_records(self, positions: Array) -> Array:
        """The serialised records at `positions`, an array of bytes objects."""
        files, starts, lengths = self._places = self._places or self._find_records()
        records = []
        for position in positions:
            # Opened each time: a large set has more shards than a process may hold open.
            with open(self.parts[files[position]][0], "rb", buffering=0) as file:
                file.seek(int(starts[position]))
                records.append(file.read(int(lengths[position])))
        return np.array(records, object)

    def read_all(self, positions: Array) -> tuple[Array, Array]:
        import tensorflow as tf

        wanted = np.zeros(len(self.labels), bool)
        wanted[positions] = True
        mask = tf.constant(wanted)
        records = self._records().enumerate().filter(lambda index, record: mask[index])
        batches = records.map(lambda index, record: record).batch(RECORDS)
        decoded = batches.map(self._decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        images = empty_images(len(positions), self.shape)
        start = 0
        for batch in decoded.prefetch(4).as_numpy_iterator():
            images[start : start + len(batch)] = batch
            start += len(batch)
        return images, positions

    def _records(self) -> tf.data.Dataset:
        """The serialised records in file order."""
        import tensorflow as tf

        files, skips, takes = (list(column) for column in zip(*self.parts, strict=True))
        parts = tf.data.Dataset.from_tensor_slices((files, np.array(skips), np.array(takes)))
        return parts.flat_map(lambda file, skip, take: tf.data.TFRecordDataset(file).skip(skip).take(take))

    def _read_labels(self) -> Array:
        import tensorflow as tf

        key = self.prepared.label_key
        feature = {key: tf.io.FixedLenFeature([], tf.int64)}
        batches = self._records().batch(1024)
        parsed = batches.map(
            lambda records: tf.io.parse_example(records, feature)[key],
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        labels = np.concatenate(list(parsed.as_numpy_iterator()))
        if labels.max() >= self.prepared.classes:
            raise CnnkitError(
                f"`{self.prepared.name}` has the label {labels.max()}, but the config says "
                f"{self.prepared.classes} classes (labels 0 to {self.prepared.classes - 1})",
                "Correct `data.classes`.",
            )
        return labels

    def _decode(self, records: Any) -> Any:
        """Serialised records [n] to uint8 images [n, height, width, channels], as TFDS decodes them."""
        import tensorflow as tf

        height, width, channels = self.shape
        stored = self.prepared.stored_shape
        key = self.prepared.image_key

        def decode(encoded: Any) -> Any:
            image = tf.io.decode_image(encoded, channels=channels, expand_animations=False)
            image = tf.ensure_shape(image, stored)
            if stored[:2] != (height, width):
                image = tf.image.resize(image, (height, width), method="bilinear", antialias=True)
                image = tf.cast(tf.clip_by_value(tf.round(image), 0, 255), tf.uint8)
            return image

        # On the CPU: GPUs have no kernels for this, and their memory is for the network.
        with tf.device("CPU:0"):
            feature = {key: tf.io.FixedLenFeature([], tf.string)}
            encoded = tf.io.parse_example(records, feature)[key]
            return tf.map_fn(decode, encoded, fn_output_signature=tf.TensorSpec((height, width, channels), tf.uint8))

    def _find_records(self) -> tuple[Array, Array, Array]:
        """For each record: the index of its file, where its bytes start, and how many they are.

        A TFRecord is its length (8 bytes), a checksum (4), the bytes, and a checksum (4).
        """
        files, starts, lengths = [], [], []
        for index, (name, skip, take) in enumerate(self.parts):
            with open(name, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
                place = 0
                for number in range(skip + take):
                    (length,) = struct.unpack_from("<Q", view, place)
                    if number >= skip:
                        files.append(index)
                        starts.append(place + 12)
                        lengths.append(length)
                    place += length + 16
        return np.array(files, np.int32), np.array(starts, np.int64), np.array(lengths, np.int64)
