"""A few images of the test split, for pages to show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.data.loading import load
from cnnkit.data.splits import Split
from cnnkit.data.targets import ClassNumbers, StoredMasks
from cnnkit.errors import CnnkitError
from cnnkit.images.formats import CorruptImage
from cnnkit.task import Task

if TYPE_CHECKING:
    from cnnkit.config.data import DataConfig
    from cnnkit.config.dataset import DataSetInfo


@dataclass(frozen=True, eq=False)
class Samples:
    """Some test images, in the order of their classes where they have classes.

    Attributes:
        images: uint8 [n, height, width, channels].
        targets: What is to be learned of each: class numbers, int64 [n]; vectors, float32 [n, size]; or masks, uint8
            [n, height, width].
        fingerprint: The data set's, see `DataSets`.
    """

    images: NDArray[np.uint8]
    targets: NDArray[Any]
    fingerprint: str


def sample_test_images(
    section: DataConfig, seed: int, count: int, task: Task | None = None, info: DataSetInfo | None = None
) -> Samples:
    """A few images of the test split, the same ones every time, with as many classes among them as possible.

    Nothing comes from the network, and no more images than these are decoded if they can be.

    Args:
        section: A run's `data`.
        seed: The run's seed, which may decide which images are tested.
        count: How many, at most.
        task: What the run learns of them.
        info: As for `load`.

    Raises:
        CnnkitError: if there is no test split, or its images cannot be read.
    """
    few = section.model_copy(update={"memory": "stream", "skip_corrupt": False, "download": False})
    try:
        return _read(few, seed, count, task, info)
    except CorruptImage:
        if not section.skip_corrupt:
            raise
        # To know which images can be read takes reading them all.
        return _read(few.model_copy(update={"skip_corrupt": True}), seed, count, task, info)


def _read(section: DataConfig, seed: int, count: int, task: Task | None, info: DataSetInfo | None) -> Samples:
    sets = load(section, seed, task, splits=("test",), info=info)
    if sets.test is None:
        raise CnnkitError("the data set has no test split")
    return Samples(*sample(sets.test, count), sets.fingerprint)


def sample(split: Split, count: int) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """Some images of a split, at most `count`, and their targets, see `Samples`.

    Where there are classes, of every one about equally many.
    """
    targets = split.targets
    classes = targets.values if isinstance(targets, ClassNumbers) else np.zeros(split.size, np.int64)
    chosen = spread_over_classes(classes, count)
    if not isinstance(targets, StoredMasks):
        return split.read(chosen), split.labels[chosen]
    # A mask is stored behind the channels of its image.
    stored = split.read_stored(chosen)
    return stored[..., :-1], stored[..., -1]


def spread_over_classes(labels: NDArray[Any], count: int) -> NDArray[np.int64]:
    """Positions of images in the order of their labels: of every class about equally many, drawn at random.

    Args:
        labels: Whole numbers [n].
        count: How many to draw, at most.
    """
    drawn = np.random.RandomState(0).permutation(len(labels))
    by_class = drawn[np.argsort(labels[drawn], kind="stable")]
    _, first = np.unique(labels[by_class], return_index=True)
    starts = np.zeros(len(labels), np.int64)
    starts[first] = first
    turn = np.arange(len(labels)) - np.maximum.accumulate(starts)
    # The first of each class, the second of each, and so on; which classes come first is drawn too.
    place = np.empty(len(labels), np.int64)
    place[drawn] = np.arange(len(labels))
    chosen = by_class[np.lexsort((place[by_class], turn))[:count]]
    return np.sort(chosen)[np.argsort(labels[np.sort(chosen)], kind="stable")]
