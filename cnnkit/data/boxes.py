"""Images with any number of objects in boxes: what comes with them as arrays, and the files of a folder of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.config.boxes.listing import BoxListing, listing_of
from cnnkit.config.data import DataConfig
from cnnkit.config.dataset import DataSetInfo
from cnnkit.config.image_folder import image_header
from cnnkit.data.division import at_random
from cnnkit.data.images import FolderSource, listing_digest
from cnnkit.data.splits import Array, ImageCollection
from cnnkit.data.targets import group_numbers, none_in
from cnnkit.errors import CnnkitError
from cnnkit.images.boxes import AnnotatedImage, BadBox, frame_of, other_size
from cnnkit.images.formats import CorruptImage

#: Numbers of a box: left, top, right, bottom in pixels, the class, and 1 for a crowd.
BOX_NUMBERS = 6

#: The class of what fills an image's boxes up to the number of all others.
NO_BOX = -1


class BoxTargets:
    """The boxes of images.

    Args:
        boxes: Of all images, one after another: float32 [boxes, 6], see `BOX_NUMBERS`, in pixels of the images that
            the network takes.
        starts: Where those of each image begin, and the end of the last: int64 [images + 1].
        most: Boxes that an image of the data set has at most, at least 1.
        names: Of the classes.
    """

    def __init__(self, boxes: Array, starts: Array, most: int, names: Sequence[str]) -> None:
        self.boxes = boxes
        self.starts = starts
        self.most = most
        self.names = tuple(names)

    @classmethod
    def of(cls, each: Sequence[Array], most: int, names: Sequence[str]) -> BoxTargets:
        """From the boxes of each image, float32 [boxes, 6]."""
        starts = np.zeros(len(each) + 1, np.int64)
        np.cumsum([len(boxes) for boxes in each], out=starts[1:])
        boxes = np.concatenate([np.zeros((0, BOX_NUMBERS), np.float32), *each])
        return cls(boxes.astype(np.float32), starts, most, names)

    @property
    def size(self) -> int:
        return len(self.starts) - 1

    @property
    def image_numbers(self) -> Array:
        """For each box the place of its image, int64 [boxes]."""
        return np.repeat(np.arange(self.size), np.diff(self.starts))

    @property
    def values(self) -> Array:
        """float32 [images, most, 6]; what has no box has the class `NO_BOX`."""
        values = np.zeros((self.size, self.most, BOX_NUMBERS), np.float32)
        values[..., 4] = NO_BOX
        counts = np.diff(self.starts)
        rows = np.repeat(np.arange(self.size), counts)
        places = np.arange(len(self.boxes)) - np.repeat(self.starts[:-1], counts)
        values[rows, places] = self.boxes
        return values

    def each(self) -> list[Array]:
        """The boxes of each image, float32 [boxes, 6]."""
        return np.split(self.boxes, self.starts[1:-1])

    def take(self, positions: Array) -> BoxTargets:
        each = self.each()
        return BoxTargets.of([each[int(position)] for position in positions], self.most, self.names)

    def divide(self, share: float, seed: int, purpose: str) -> tuple[Array, Array]:
        return at_random(self.size, share, seed, purpose=purpose)

    def count_in(self, groups: Array) -> Array:
        return none_in(groups)

    def text(self, position: int) -> str:
        return ""

    def caption(self, position: int) -> str:
        count = int(self.starts[position + 1] - self.starts[position])
        return f"{count} object{'' if count == 1 else 's'}"

    def summary(self, names: Sequence[str]) -> dict[str, Any]:
        ordinary = self.boxes[self.boxes[:, 5] == 0]
        counts = np.bincount(ordinary[:, 4].astype(np.int64), minlength=len(names)).tolist()
        per_image = np.diff(self.starts)
        of_class = np.unique(
            np.stack([self.image_numbers, self.boxes[:, 4].astype(np.int64)])[:, self.boxes[:, 5] == 0], axis=1
        )
        images_of = np.bincount(of_class[1], minlength=len(names)).tolist()
        facts: dict[str, Any] = {
            "objects": len(ordinary),
            "per_class": dict(zip(names, counts, strict=True)),
            "images_with_class": dict(zip(names, images_of, strict=True)),
            "without_objects": int((per_image == 0).sum()),
            "most_in_an_image": int(per_image.max(initial=0)),
        }
        if len(self.boxes) > len(ordinary):
            facts["crowds"] = int(len(self.boxes) - len(ordinary))
        return facts

    def check_learnable(self) -> None:
        if not self._any_counts():
            raise CnnkitError("no training image has an object that counts; there is nothing to learn of them")

    def check_measurable(self, split: str) -> None:
        if not self._any_counts():
            raise CnnkitError(
                f"none of the {self.size:,} {split} images has an object that counts, so that nothing can be measured "
                "on them",
                "Annotate what is in them, or take others; `data.validation` and `data.splits` say which are taken.",
            )

    def _any_counts(self) -> bool:
        return bool((self.boxes[:, 5] == 0).any())

    def in_graph(self) -> Callable[[Any, Any], dict[str, Any]]:
        import tensorflow as tf

        # In host memory, and out of the graph. One box more, which is none.
        nothing = np.zeros((1, BOX_NUMBERS), np.float32)
        nothing[:, 4] = NO_BOX
        with tf.device("CPU:0"):
            boxes = tf.constant(np.concatenate([self.boxes, nothing]))
            starts = tf.constant(self.starts)

        def batch(stored: Any, positions: Any) -> dict[str, Any]:
            first, end = tf.gather(starts, positions), tf.gather(starts, positions + 1)
            places = first[:, tf.newaxis] + tf.range(self.most, dtype=tf.int64)
            places = tf.where(places < end[:, tf.newaxis], places, len(self.boxes))
            return {"images": stored, "bounding_boxes": tf.gather(boxes, places)}

        return batch


def placed(edges: NDArray[Any], size: tuple[int, int], shape: Sequence[int], resize: str) -> NDArray[np.float64]:
    """Where boxes lie in an image that was brought to another size.

    Args:
        edges: Left, top, right, bottom in pixels of the image as it was, float64 [boxes, 4].
        size: (height, width) of that.
        shape: (height, width, ...) of the one that the network takes.
        resize: `stretch`, `pad` or `crop`.

    Returns:
        float64 [boxes, 4]; of a crop, what lies outside is cut off, and may leave nothing.
    """
    left, top, across, down = frame_of(size, shape, resize)
    new_height, new_width = shape[:2]
    scale = np.array([new_width / across, new_height / down] * 2)
    moved = (np.asarray(edges, np.float64) - [left, top, left, top]) * scale
    return np.clip(moved, 0, [new_width, new_height] * 2)


def placed_back(edges: Array, size: tuple[int, int], shape: Sequence[int], resize: str) -> Array:
    """Where boxes of an image that the network takes lie in the image as it was; the other way round than `placed`."""
    left, top, across, down = frame_of(size, shape, resize)
    height, width = size
    scale = np.array([across / shape[1], down / shape[0]] * 2)
    return np.clip(np.asarray(edges, np.float64) * scale + [left, top, left, top], 0, [width, height] * 2)


def network_boxes(image: AnnotatedImage, shape: Sequence[int], resize: str, names: Sequence[str]) -> Array:
    """The boxes of an image in pixels of what the network takes, float32 [boxes, 6]; those that a crop leaves out go.

    Args:
        shape: (height, width, ...) that the network takes.
        names: The classes.
    """
    numbers = {name: number for number, name in enumerate(names)}
    edges = placed(np.array([box.edges for box in image.boxes]).reshape(-1, 4), image.size, shape, resize)
    others = [(numbers[box.name], box.crowd) for box in image.boxes]
    boxes = np.concatenate([edges, np.array(others, np.float64).reshape(-1, 2)], axis=1)
    return boxes[(boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])].astype(np.float32)


class BoxSource(FolderSource):
    """Annotated images, decoded when they are read.

    Args:
        root: The folder that the images' files are relative to.
        images: The images.
        names: The classes, in the order of the network's outputs.
        shape: (height, width, channels) of the images that leave here.
        most: Boxes that an image of the data set has at most.
        options: As for `FolderSource`.
    """

    def __init__(
        self,
        root: Path,
        images: Sequence[AnnotatedImage],
        names: Sequence[str],
        shape: tuple[int, ...],
        most: int,
        **options: Any,
    ) -> None:
        resize = options["resize"] or "stretch"
        each = [network_boxes(image, shape, resize, names) for image in images]
        super().__init__(root, [image.file for image in images], BoxTargets.of(each, most, names), shape, **options)
        self.images = images

    @cached_property
    def key(self) -> str:
        digest = hashlib.blake2b(super().key.encode(), digest_size=16)
        digest.update(repr([image.size for image in self.images]).encode())
        return digest.hexdigest()

    def _read_one(self, position: int) -> Array:
        pixels = super()._read_one(position)
        path = str(self.root / self.files[position])
        try:
            size = image_header(Path(path), self.most_megapixels)[:2]
        except CorruptImage:  # what can be decoded has a header
            return pixels
        stated = self.images[position].size
        if size != stated:
            raise other_size(path, size, stated)
        return pixels


class AnnotatedImages(ImageCollection):
    """A folder or table of annotated images as a data set."""

    def __init__(self, listing: BoxListing, config: DataConfig, info: DataSetInfo) -> None:
        self.listing = listing
        self.config = config
        self.info = info
        self.splits = tuple(listing.splits)
        self.notes = listing.notes
        # What else is wrong than files that cannot be read is no damage.
        self.problems = tuple(one for one in listing.problems if isinstance(one, BadBox) or not config.skip_corrupt)
        self._opened: dict[str, BoxSource] = {}

    @classmethod
    def of(cls, config: DataConfig, info: DataSetInfo) -> AnnotatedImages:
        """The images of a config, which are listed where `info` has no list of them."""
        return cls(info.listing if isinstance(info.listing, BoxListing) else listing_of(config), config, info)

    @property
    def fingerprint(self) -> str:
        count, digest = listing_digest(self.listing.root, self.listing.files())
        boxes = hashlib.blake2b(repr(sorted(self.listing.splits.items())).encode(), digest_size=8).hexdigest()
        facts = f"{count} images with boxes, listing {digest}, boxes {boxes}"
        if self.listing.table is None:
            return f"folder {self.listing.root.name} ({facts})"
        groups = hashlib.blake2b(repr(sorted(self.listing.groups.items())).encode(), digest_size=8).hexdigest()
        return f"table {self.listing.table} ({facts}, groups {groups})"

    def open(self, spec: str) -> BoxSource:
        if spec not in self._opened:
            most = max((len(image.boxes) for images in self.listing.splits.values() for image in images), default=0)
            annotated, groups = self.listing.splits[spec], self.listing.groups
            self._opened[spec] = BoxSource(
                self.listing.root,
                annotated,
                self.info.target.all_names,
                self.info.shape,
                max(1, most),
                resize=None if self.config.image_size is None else self.config.resize,
                skip_corrupt=self.config.skip_corrupt,
                most_megapixels=self.config.max_megapixels,
                groups=group_numbers([groups.get(one.file) for one in annotated]),
            )
        return self._opened[spec]
