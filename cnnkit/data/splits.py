"""What loading yields: `Split` and `DataSets`, and the sources that they read from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from cnnkit.config.sample import IMAGES, Sample
from cnnkit.data.targets import ClassNumbers, Targets

if TYPE_CHECKING:
    from cnnkit.config.dataset import DataSetInfo
    from cnnkit.images.formats import CorruptImage

Array = np.ndarray[Any, Any]

#: Images decoded at a time where something runs over a whole split, and the bytes that they may take.
CHUNK = 1000
CHUNK_BYTES = 32 << 20


#: TensorFlow's alignment of a tensor's bytes.
ALIGNMENT = 64


def empty_samples(count: int, shape: tuple[int, ...], dtype: str) -> Array:
    """An uninitialised array [count, *shape], aligned such that TensorFlow can use it without a copy."""
    size = count * math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size].view(dtype).reshape(count, *shape)


def chunk_size(shape: tuple[int, ...]) -> int:
    """How many images to decode at a time."""
    return min(CHUNK, max(1, CHUNK_BYTES // math.prod(shape)))


class Source(Protocol):
    """The samples of one slice or folder with their targets, before they are divided into splits."""

    #: Of every sample: (height, width, channels) of an image, (length,) of a text.
    shape: tuple[int, ...]

    #: The same of what is stored of each: a mask is one more channel after those of the image.
    stored_shape: tuple[int, ...]

    #: What kind of samples they are.
    sample: Sample

    @property
    def targets(self) -> Targets:
        """Those of all its images."""

    @property
    def groups(self) -> Array | None:
        """A whole number for each image, int64 [n]: those with the same one stay together. None where all may part."""

    @property
    def key(self) -> str | None:
        """Changes with whatever decides the images; None where they are in memory anyway and need no cache."""

    def identity(self, position: int) -> str:
        """A name of the image that does not depend on the run's seed."""

    def path(self, position: int) -> str | None:
        """The image's file, for a folder."""

    def read(self, positions: Array) -> Array:
        """What is stored of the images at `positions`, [len(positions), *stored_shape]."""

    def read_in_graph(self, positions: Any) -> Any:
        """`read` as TensorFlow operations, for use inside tf.data."""

    def decode(self, positions: Array) -> Iterator[tuple[Array, Array]]:
        """Like `read` for very many sorted positions, in parallel and some at a time.

        Corrupt images are left out; where that is not asked for, an error names all of them at the end.

        Yields:
            Positions [n] and what is stored of their images [n, *stored_shape], which the next ones may overwrite.

        Raises:
            CorruptFiles: if there are corrupt images that are not to be left out.
        """


@dataclass(frozen=True, eq=False)
class Split:
    """Samples with their targets, either decoded in memory or decoded when they are read.

    Args:
        name: `train`, `validation` or `test`.
        targets: In the order of the images.
        shape: Of every sample, see `Source.shape`.
        source: Where the images come from.
        positions: Place of each image in the source.
        stored: [size, *source.stored_shape], or None where they are decoded when they are read.
        moments: int64 [size, channels, 2], the sum and the sum of squares of each channel of what is stored of each
            image, where they are known.
    """

    name: str
    targets: Targets
    shape: tuple[int, ...]
    source: Source
    positions: Array
    stored: Array | None = None
    moments: Array | None = None

    @property
    def size(self) -> int:
        """Number of images."""
        return self.targets.size

    @property
    def labels(self) -> Array:
        """The targets as an array with one row per image: int64 [size] of class numbers, or float32 [size, k]."""
        return self.targets.values

    @property
    def images(self) -> Array | None:
        """[size, *shape], or None where they are decoded when they are read."""
        return None if self.stored is None else self.stored[..., : self.shape[-1]]

    @property
    def ids(self) -> list[str]:
        """A name for each image that does not depend on the run's seed: its file, or slice and place."""
        return [self.source.identity(int(position)) for position in self.positions]

    @property
    def paths(self) -> list[str] | None:
        """The image files of a folder; None for other data."""
        paths = [path for position in self.positions if (path := self.source.path(int(position)))]
        return paths or None

    def read(self, indices: Sequence[int] | Array) -> Array:
        """The samples at `indices` of this split, [len(indices), *shape]: images uint8, numbers of words int32."""
        # A mask is stored after the channels of its image.
        return self.read_stored(indices)[..., : self.shape[-1]]

    def pictures(self, indices: Sequence[int] | Array) -> Sequence[Any]:
        """The samples at `indices` for the eye, see `Sample.pictures`."""
        return self.source.sample.pictures(self.read(indices))

    def read_batch(self, indices: Sequence[int] | Array) -> dict[str, Array]:
        """The images at `indices` and what is to be learned of them, as arrays; see `Targets.in_graph`."""
        import tensorflow as tf

        places = np.asarray(indices, np.int64)
        batch = self.targets.in_graph()(tf.constant(self.read_stored(places)), tf.constant(places))
        return {name: value.numpy() for name, value in batch.items()}

    def read_masks(self, indices: Sequence[int] | Array) -> Array:
        """The masks of images that come with masks, uint8 [len(indices), height, width]."""
        return self.read_stored(indices)[..., -1]

    def read_stored(self, indices: Sequence[int] | Array) -> Array:
        """What is stored of the samples at `indices`, [len(indices), *source.stored_shape]."""
        places = np.asarray(indices, np.int64)
        if self.stored is not None:
            return self.stored[places]
        return self.source.read(self.positions[places])


class ImageCollection:
    """What all collections of images have in common, see `collections.Collection`."""

    problems: Sequence[CorruptImage] = ()
    notes: Sequence[str] = ()

    def begin(self, training: Callable[[], tuple[Source, Array]]) -> DataSetInfo | None:
        """An image is read without knowing others."""
        return None


@dataclass(frozen=True, eq=False)
class DataSets:
    """The splits that were asked for; the others, and a validation split of share 0, are None.

    Args:
        info: Shape and classes, as the config knows them too.
        fingerprint: Changes when the data set does: its name, version and sizes, or a hash of its listing.
        memory: `cache` where the images are in memory, `stream` where they are decoded when they are read.
        notes: What the user should know of how the images were found and divided, a line each.
    """

    train: Split | None
    validation: Split | None
    test: Split | None
    info: DataSetInfo
    fingerprint: str
    memory: str
    notes: tuple[str, ...] = ()


class ArraySource:
    """Images that are in memory already.

    Args:
        images: uint8 [n, height, width, channels].
        targets: Theirs.
        name: What `identity` puts before an image's place.
    """

    groups = None
    sample: Sample = IMAGES

    def __init__(self, images: Array, targets: Targets, name: str) -> None:
        self.images = np.ascontiguousarray(images, np.uint8)
        self.targets = targets
        self.name = name
        self.shape: tuple[int, ...] = tuple(map(int, self.images.shape[1:]))
        self.stored_shape = self.shape
        self.key = None

    def identity(self, position: int) -> str:
        return f"{self.name}/{position}"

    def path(self, position: int) -> str | None:
        return None

    def read(self, positions: Array) -> Array:
        return self.images[positions]

    def read_in_graph(self, positions: Any) -> Any:
        import tensorflow as tf

        return tf.numpy_function(self.read, [positions], tf.uint8)

    def decode(self, positions: Array) -> Iterator[tuple[Array, Array]]:
        step = chunk_size(self.stored_shape)
        for start in range(0, len(positions), step):
            part = positions[start : start + step]
            yield part, self.images[part]


def split_from_arrays(images: Array, labels: Array, name: str = "train", classes: int | None = None) -> Split:
    """A split from arrays of images of one class each.

    Args:
        images: uint8 [n, height, width, channels].
        labels: Whole numbers [n].
        classes: How many there are; by default one more than the largest label.
    """
    count = int(np.max(labels)) + 1 if classes is None else classes
    source = ArraySource(images, ClassNumbers(labels, [str(number) for number in range(count)]), name)
    return Split(name, source.targets, source.shape, source, np.arange(len(images)), source.images)
