"""Prepared TensorFlow Datasets: their records and labels, and their images in file order or by place."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnkit.config.prepared import read_prepared
from cnnkit.config.sample import IMAGES, Sample
from cnnkit.data.cache import entry_key, read_arrays, write_arrays
from cnnkit.data.memory import parallel_calls
from cnnkit.data.records import find_records, read_record_files
from cnnkit.data.splits import Array
from cnnkit.data.targets import ClassNumbers, Targets
from cnnkit.errors import CnnkitError
from cnnkit.machine.tensorflow import load_tensorflow

if TYPE_CHECKING:
    import tensorflow as tf

#: Records decoded by one call: enough that the call costs little, few enough that all cores get some.
RECORDS = 128


class PreparedRecords:
    """A prepared TFDS data set of samples with a class each.

    Args:
        folder: The folder of its version, which holds `dataset_info.json`.
        facts: What `prepared.read_prepared`, or its like for other samples, says of it.
        class_names: Of the labels, in their order.

    Raises:
        CnnkitError: if its files are no TFRecords, or its classes are not as many.
    """

    #: What its records hold.
    samples = "images"

    def __init__(self, folder: Path, facts: Mapping[str, Any], class_names: Sequence[str]) -> None:
        self.folder = folder
        self.record_files = read_record_files(folder)
        self.name = self.record_files.name
        self.label_key: str = facts["label"]
        self.splits: dict[str, int] = facts["splits"]
        self.class_names = tuple(class_names)
        self.classes = len(self.class_names)
        if facts["classes"] not in (None, self.classes):
            raise CnnkitError(
                f"`{self.name}` has {facts['classes']} classes, but the config says {self.classes}",
                "Remove `data.classes`.",
            )
        if self.record_files.file_format != "tfrecord":
            raise CnnkitError(
                f"`{self.name}` is stored as {self.record_files.file_format}; cnnkit reads TFRecord files",
                "Prepare it again with `tfds build --file_format=tfrecord`.",
            )

    @property
    def fingerprint(self) -> str:
        """Name, version, and samples and bytes of each split."""
        return self.record_files.fingerprint_of(self.samples)

    def open(self, spec: str) -> LabelledRecords:
        """The samples of a slice such as `train` or `train[:90%]`.

        Raises:
            CnnkitError: if there is no such split, the slice cannot be read, or is empty.
        """
        raise NotImplementedError


class PreparedSet(PreparedRecords):
    """A prepared TFDS data set of labelled images.

    Args:
        folder: As for `PreparedRecords`.
        shape: (height, width, channels) of the images that leave here; others are resized, bilinear with
            antialiasing, as `tf.image.resize` does, and rounded.
        class_names: Of the labels, in their order.
        resize: `stretch`, `pad` or `crop`, see `images.read_image`.
        facts: What `read_prepared` says of it, or what says the same of its other features.

    Raises:
        CnnkitError: if its images are not uint8, its files no TFRecords, or its facts are not those given.
    """

    def __init__(
        self,
        folder: Path,
        shape: tuple[int, ...],
        class_names: Sequence[str],
        resize: str = "stretch",
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        facts = facts or read_prepared(folder)
        super().__init__(folder, facts, class_names)
        self.shape = shape
        self.image_key: str = facts["image"]
        self.stored_shape: tuple[int | None, int | None, int] = facts["shape"]
        self.resize = resize
        if facts["dtype"] != "uint8":
            raise CnnkitError(f"the images of `{self.name}` are {facts['dtype']}; cnnkit reads uint8 images (0..255)")
        if facts["shape"][2] != shape[2]:
            raise CnnkitError(
                f"the images of `{self.name}` have {facts['shape'][2]} channels, but the config says {shape[2]}",
                "Remove `data.shape`.",
            )

    def open(self, spec: str) -> RecordSource:
        return RecordSource(self, spec)


class LabelledRecords:
    """The records of one TFDS slice with a class each.

    TensorFlow is loaded only where something is not in the cache.
    """

    groups = None

    def __init__(self, prepared: PreparedRecords, spec: str) -> None:
        self.prepared = prepared
        self.spec = spec
        self.parts = prepared.record_files.parts(spec)
        if not self.parts:
            raise CnnkitError(f"the slice `{spec}` of `{prepared.name}` is empty")

    @cached_property
    def _files_facts(self) -> list[Any]:
        """What decides the records: the set, and size, time and part of every file."""
        found: list[Any] = [self.prepared.name, str(self.prepared.folder.resolve())]
        for name, skip, take in self.parts:
            try:
                facts = os.stat(name)
            except OSError as error:
                raise damaged(f"cannot read the record file `{name}`: {error.strerror}") from None
            found.append([os.path.basename(name), facts.st_size, facts.st_mtime_ns, skip, take])
        return found

    @cached_property
    def labels(self) -> Array:
        """int64 [n], 0..classes-1; -1 for a record without a label."""
        key = entry_key(kind="labels", files=self._files_facts, feature=self.prepared.label_key)
        cached = read_arrays(key, "labels")
        labels = self._read_labels() if cached is None else cached[0]
        if labels.max() >= self.prepared.classes:
            raise CnnkitError(
                f"`{self.prepared.name}` has the label {labels.max()}, but the config says "
                f"{self.prepared.classes} classes (labels 0 to {self.prepared.classes - 1})",
                "Correct `data.classes`.",
            )
        if cached is None:
            write_arrays(key, {"labels": labels})
        return labels

    @cached_property
    def targets(self) -> Targets:
        return ClassNumbers(self.labels, self.prepared.class_names)

    @cached_property
    def _places(self) -> list[Array]:
        """What `find_records` finds; cached, because looking at every record touches all of a large set."""
        key = entry_key(kind="places", files=self._files_facts)
        names = ("parts", "starts", "lengths")
        cached = read_arrays(key, *names)
        if cached is not None:
            return cached
        found = find_records(self.parts)
        write_arrays(key, dict(zip(names, found, strict=True)))
        return list(found)

    @property
    def is_labelled(self) -> bool:
        """Whether every record has a label (TFDS writes -1 for a missing one)."""
        return bool((self.labels >= 0).all())

    @property
    def notes(self) -> Sequence[str]:
        """What the user should know of them, a line each."""
        return ()

    def identity(self, position: int) -> str:
        return f"{self.spec}/{position}"

    def path(self, position: int) -> str | None:
        return None

    def _read_records(self, positions: Array) -> Array:
        """The serialised records at `positions`, an array of bytes objects."""
        parts, starts, lengths = (column[positions] for column in self._places)
        records = np.empty(len(positions), object)
        # File by file, and each opened for this call only: a large set has more than a process may hold open.
        for part in np.unique(parts).tolist():
            with open(self.parts[part][0], "rb", buffering=0) as file:
                for index in np.flatnonzero(parts == part).tolist():
                    file.seek(int(starts[index]))
                    records[index] = file.read(int(lengths[index]))
        return records

    def _records(self) -> tf.data.Dataset:
        """The serialised records in file order."""
        import tensorflow as tf

        files, skips, takes = (list(column) for column in zip(*self.parts, strict=True))
        parts = tf.data.Dataset.from_tensor_slices((files, np.array(skips), np.array(takes)))
        return parts.flat_map(lambda file, skip, take: tf.data.TFRecordDataset(file).skip(skip).take(take))

    def _read_labels(self) -> Array:
        tf = load_tensorflow()
        key = self.prepared.label_key
        feature = {key: tf.io.FixedLenFeature([], tf.int64)}
        # One at a time: records of large images take much memory, and a second thread gains nothing here.
        parsed = self._records().batch(RECORDS).map(lambda records: tf.io.parse_example(records, feature)[key])
        return np.concatenate(list(checked(parsed)))


class RecordSource(LabelledRecords):
    """The images of one TFDS slice, decoded when they are read."""

    sample: Sample = IMAGES
    prepared: PreparedSet

    def __init__(self, prepared: PreparedSet, spec: str) -> None:
        super().__init__(prepared, spec)
        self.shape = self.stored_shape = prepared.shape
        self._decode_function: Any = None

    @cached_property
    def key(self) -> str:
        """A hash over the record files and how their images are decoded."""
        how = [self.prepared.resize, "bilinear", _tensorflow_version()]
        decoding = [self.prepared.image_key, self.prepared.stored_shape, self.shape, *how]
        return entry_key(kind="records", files=self._files_facts, decoding=decoding)

    def read(self, positions: Array) -> Array:
        tensorflow = load_tensorflow()
        if self._decode_function is None:
            signature = [tensorflow.TensorSpec([None], tensorflow.string)]
            self._decode_function = tensorflow.function(self._decode, input_signature=signature)
        return self._decode_function(tensorflow.constant(self._read_records(positions))).numpy()

    def read_in_graph(self, positions: Any) -> Any:
        import tensorflow as tf

        # Only the bytes come from Python: a TensorFlow function called there could wait for the very
        # threads that wait for it.
        records = tf.ensure_shape(tf.numpy_function(self._read_records, [positions], tf.string), positions.shape)
        return self._decode(records)

    def decode(self, positions: Array) -> Iterator[tuple[Array, Array]]:
        tf = load_tensorflow()
        if len(positions) == self.targets.size:
            # TensorFlow's reader compares every record with its checksum.
            batches = self._records().batch(RECORDS)
        else:
            batches = tf.data.Dataset.from_tensor_slices(positions).batch(RECORDS)
            batches = batches.map(
                lambda part: tf.ensure_shape(tf.numpy_function(self._read_records, [part], tf.string), [None])
            )
        image_bytes = int(np.prod(self.shape))
        decoded = batches.map(self._decode, num_parallel_calls=parallel_calls(RECORDS * image_bytes))
        first = 0
        for images in checked(decoded):
            yield positions[first : first + len(images)], images
            first += len(images)

    @property
    def _encoded_keys(self) -> tuple[str, ...]:
        """The features of encoded images that `_decode_one` takes."""
        return (self.prepared.image_key,)

    def _decode(self, records: Any) -> Any:
        """Serialised records [n] to what is stored of them, uint8 [n, *stored_shape]."""
        import tensorflow as tf

        # On the CPU: GPUs have no kernels for this, and their memory is for the network.
        with tf.device("CPU:0"):
            features = {key: tf.io.FixedLenFeature([], tf.string) for key in self._encoded_keys}
            parsed = tf.io.parse_example(records, features)
            encoded = [parsed[key] for key in self._encoded_keys]
            stored = tf.TensorSpec(self.stored_shape, tf.uint8)
            return tf.map_fn(lambda parts: self._decode_one(*parts), encoded, fn_output_signature=stored)

    def _decode_one(self, encoded: Any) -> Any:
        """The image of an encoded one, as TFDS decodes it."""
        return resized(self._decode_image(encoded), self.shape[0], self.shape[1], self.prepared.resize)

    def _decode_image(self, encoded: Any) -> Any:
        import tensorflow as tf

        image = tf.io.decode_image(encoded, channels=self.shape[2], expand_animations=False)
        return tf.ensure_shape(image, self.prepared.stored_shape)


def resized(image: Any, height: int, width: int, resize: str) -> Any:
    """A decoded image in another size, uint8 [height, width, channels]."""
    import tensorflow as tf

    if tuple(image.shape[:2]) == (height, width):
        return image
    image = _with_proportions(image, height, width, resize)
    image = tf.image.resize(image, (height, width), method="bilinear", antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(image), 0, 255), tf.uint8)


def resized_mask(mask: Any, height: int, width: int, resize: str, fill: int) -> Any:
    """A mask, uint8 [rows, columns, 1], in another size: the nearest pixel.

    Args:
        fill: The number of a border's pixels.
    """
    import tensorflow as tf

    mask = _with_proportions(mask, height, width, resize, fill)
    return tf.ensure_shape(tf.image.resize(mask, (height, width), method="nearest"), (height, width, 1))


def _with_proportions(image: Any, height: int, width: int, resize: str, fill: int = 0) -> Any:
    """An image that may be stretched to a size: with a border, or its middle; for `stretch`, the image itself.

    Args:
        image: uint8 [rows, columns, channels].
        fill: What the border has; 0 is black.
    """
    import tensorflow as tf

    rows, columns = tf.unstack(tf.shape(image)[:2])
    needed_rows, needed_columns = columns * height // width, rows * width // height
    if resize == "pad":
        down = (tf.maximum(rows, needed_rows) - rows) // 2
        across = (tf.maximum(columns, needed_columns) - columns) // 2
        return tf.pad(image, [[down, down], [across, across], [0, 0]], constant_values=fill)
    if resize == "crop":
        left_rows = tf.clip_by_value(needed_rows, 1, rows)
        left_columns = tf.clip_by_value(needed_columns, 1, columns)
        top, left = (rows - left_rows) // 2, (columns - left_columns) // 2
        return image[top : top + left_rows, left : left + left_columns]
    return image


def checked(batches: tf.data.Dataset) -> Iterator[Array]:
    """The batches as arrays.

    Raises:
        CnnkitError: if a record file is damaged.
    """
    import tensorflow as tf

    try:
        yield from batches.as_numpy_iterator()
    except (tf.errors.DataLossError, tf.errors.NotFoundError, tf.errors.InvalidArgumentError) as error:
        raise damaged(f"cannot read a record file: {error.message.splitlines()[0]}") from None


def damaged(message: str) -> CnnkitError:
    return CnnkitError(message, "The data set is damaged; remove its folder and prepare it again.")


def _tensorflow_version() -> str:
    """The version of TensorFlow, which decodes the images, without loading it."""
    for package in ("tensorflow", "tensorflow-cpu", "tf-nightly"):
        with contextlib.suppress(PackageNotFoundError):
            return version(package)
    return "unknown"
