"""What comes with images, as arrays: the targets of a source, and what of them a batch has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, Self

import numpy as np

from cnnkit.config.target import Labels, Numbers, OneClass, Target
from cnnkit.data.division import at_random, by_labels, stratified
from cnnkit.errors import CnnkitError

Array = np.ndarray[Any, Any]


class Targets(Protocol):
    """The targets of some images, in their order."""

    @property
    def size(self) -> int:
        """Of how many images."""

    @property
    def values(self) -> Array:
        """One row per image."""

    def take(self, positions: Array) -> Targets:
        """Those of the images at some positions."""

    def divide(self, share: float, seed: int, purpose: str) -> tuple[Array, Array]:
        """The positions of the rest, and of a part with a share of the images, at random; both sorted.

        Args:
            share: Of all and, where images have classes or labels, of each of these.
            purpose: The split that the part is for.

        Raises:
            CnnkitError: if there are too few images.
        """

    def count_in(self, groups: Array) -> Array:
        """How many images of each group have what a division keeps the share of: int64 [g, k].

        Args:
            groups: The group of each image, 0..g-1, int64 [n].
        """

    def text(self, position: int) -> str:
        """What messages about an image say of its target, such as `class `cat``; empty where they say nothing."""

    def caption(self, position: int) -> str:
        """What stands under a picture of an image, such as `is cat`; empty where the target is no text."""

    def summary(self, names: Sequence[str]) -> dict[str, Any]:
        """What `data info` says of them, as plain values: how many images have each class or label, or the like.

        Args:
            names: Of the classes, labels or numbers.
        """

    def check_learnable(self) -> None:
        """Whether there is something to learn of these images.

        Raises:
            CnnkitError: if not.
        """

    def check_measurable(self, split: str) -> None:
        """Whether a network can be measured on these images.

        Args:
            split: What messages call their split.

        Raises:
            CnnkitError: if not.
        """

    def in_graph(self) -> Callable[[Any, Any], dict[str, Any]]:
        """A function of TensorFlow operations, from (what is stored of images, their positions [batch]) to a batch.

        A batch is a dict in the words of Keras' image layers: `images`, uint8 [batch, height, width, channels], with
        `labels`, float32 [batch, size of the target], or `segmentation_masks`, uint8 [batch, height, width, 1].
        """


class ClassNumbers:
    """One class per image.

    Args:
        values: Whole numbers [n], 0..names-1.
        names: Of the classes, in order.
    """

    def __init__(self, values: Array, names: Sequence[str]) -> None:
        self.values = np.asarray(values, np.int64)
        self.names = tuple(names)

    @property
    def size(self) -> int:
        return len(self.values)

    def take(self, positions: Array) -> ClassNumbers:
        return ClassNumbers(self.values[positions], self.names)

    def divide(self, share: float, seed: int, purpose: str) -> tuple[Array, Array]:
        return stratified(self.values, share, seed, class_names=self.names, purpose=purpose)

    def count_in(self, groups: Array) -> Array:
        counts = np.zeros((int(groups.max(initial=-1)) + 1, len(self.names)), np.int64)
        np.add.at(counts, (groups, self.values), 1)
        return counts

    def text(self, position: int) -> str:
        return f"class `{self.names[self.values[position]]}`"

    def caption(self, position: int) -> str:
        return f"is {self.names[self.values[position]]}"

    def summary(self, names: Sequence[str]) -> dict[str, Any]:
        counts = np.bincount(self.values, minlength=len(names)).tolist()
        return {"per_class": dict(zip(names, counts, strict=True))}

    def check_learnable(self) -> None:
        # A data set may leave labels unused (EMNIST's letters do); a class folder without images cannot be.
        if len(np.unique(self.values)) == 1:
            raise CnnkitError("the training split is all of one class; at least two are needed")

    def check_measurable(self, split: str) -> None:
        """Each image says how right an answer is."""

    def in_graph(self) -> Callable[[Any, Any], dict[str, Any]]:
        import tensorflow as tf

        # In host memory, and out of the graph, whose size is limited to 2 GB.
        with tf.device("CPU:0"):
            numbers = tf.constant(self.values, tf.int64)

        def batch(stored: Any, positions: Any) -> dict[str, Any]:
            return {"images": stored, "labels": tf.one_hot(tf.gather(numbers, positions), len(self.names))}

        return batch


def none_in(groups: Array) -> Array:
    """`Targets.count_in` where no shares are kept."""
    return np.zeros((int(groups.max(initial=-1)) + 1, 0), np.int64)


def numbered(files: Sequence[Sequence[str]]) -> Array:
    """The class number of each file of several classes, int64 [n].

    Args:
        files: One list for each class.
    """
    return np.repeat(np.arange(len(files), dtype=np.int64), [len(names) for names in files])


def group_numbers(groups: Sequence[str | None]) -> Array | None:
    """The number of each sample's group, int64 [n]; None where there are no groups.

    Args:
        groups: What a column says of each sample; None of all where there is no such column.
    """
    if groups and groups[0] is None:
        return None
    return np.unique([str(group) for group in groups], return_inverse=True)[1]


class Vectors:
    """Several numbers per image; a division is drawn whatever they are.

    Args:
        values: float32 [n, k].
    """

    def __init__(self, values: Array) -> None:
        self.values = np.asarray(values, np.float32)

    @property
    def size(self) -> int:
        return len(self.values)

    def take(self, positions: Array) -> Vectors:
        return Vectors(self.values[positions])

    def divide(self, share: float, seed: int, purpose: str) -> tuple[Array, Array]:
        return at_random(self.size, share, seed, purpose=purpose)

    def count_in(self, groups: Array) -> Array:
        return none_in(groups)

    def text(self, position: int) -> str:
        return ""

    def caption(self, position: int) -> str:
        return "is " + ", ".join(f"{value:g}" for value in self.values[position].tolist())

    def summary(self, names: Sequence[str]) -> dict[str, Any]:
        columns = self.values.astype(np.float64).T
        measures: dict[str, Callable[[Array], float]]
        measures = {"mean": np.mean, "std": np.std, "min": np.min, "max": np.max}
        # Six digits, as many as float32 holds.
        return {
            "per_target": {
                name: {measure: float(f"{of(column):.6g}") for measure, of in measures.items()}
                for name, column in zip(names, columns, strict=True)
            }
        }

    def check_learnable(self) -> None:
        if len(self.values) and (self.values == self.values[0]).all():
            raise CnnkitError("the whole training split has the same target; there is nothing to learn of it")

    def check_measurable(self, split: str) -> None:
        """Each image says how right an answer is."""

    def in_graph(self) -> Callable[[Any, Any], dict[str, Any]]:
        import tensorflow as tf

        with tf.device("CPU:0"):
            rows = tf.constant(self.values)

        def batch(stored: Any, positions: Any) -> dict[str, Any]:
            return {"images": stored, "labels": tf.gather(rows, positions)}

        return batch


class LabelVectors(Vectors):
    """Any number of labels per image; a division keeps the share of each.

    Args:
        values: Zeros and ones, float32 [n, k].
        names: Of the labels, in order.
    """

    def __init__(self, values: Array, names: Sequence[str]) -> None:
        super().__init__(values)
        self.names = tuple(names)

    def take(self, positions: Array) -> LabelVectors:
        return LabelVectors(self.values[positions], self.names)

    def divide(self, share: float, seed: int, purpose: str) -> tuple[Array, Array]:
        return by_labels(self.values, share, seed, purpose=purpose)

    def count_in(self, groups: Array) -> Array:
        counts = np.zeros((int(groups.max(initial=-1)) + 1, len(self.names)), np.int64)
        np.add.at(counts, groups, self.values.astype(np.int64))
        return counts

    def text(self, position: int) -> str:
        marked = [f"`{name}`" for name, mark in zip(self.names, self.values[position], strict=True) if mark]
        return f"labels {', '.join(marked)}" if marked else "no label"

    def summary(self, names: Sequence[str]) -> dict[str, Any]:
        counts = self.values.sum(axis=0, dtype=np.int64).tolist()
        without = int(np.count_nonzero(~self.values.any(axis=1)))
        return {"per_label": dict(zip(names, counts, strict=True)), "without_label": without}


#: For each kind of target that images come with one by one: makes the targets of values and of the target's names.
_MAKERS: Mapping[type[Target], Callable[[Array, Sequence[str]], Targets]] = {
    OneClass: ClassNumbers,
    Labels: LabelVectors,
    Numbers: lambda values, names: Vectors(values),
}


def make_targets(target: Target, values: Sequence[Any]) -> Targets:
    """The targets of images from what a table says of each: a class's number, or one number for each name."""
    make = next(_MAKERS[kind] for kind in type(target).__mro__ if kind in _MAKERS)
    return make(np.array(values), target.all_names)


class NoTargets:
    """Images that come with nothing to be learned.

    Args:
        size: How many.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.values: Array = np.empty((size, 0), np.float32)

    def take(self, positions: Array) -> Self:
        return type(self)(len(positions))

    def divide(self, share: float, seed: int, purpose: str) -> tuple[Array, Array]:
        return at_random(self.size, share, seed, purpose=purpose)

    def count_in(self, groups: Array) -> Array:
        return none_in(groups)

    def text(self, position: int) -> str:
        return ""

    def caption(self, position: int) -> str:
        return ""

    def summary(self, names: Sequence[str]) -> dict[str, Any]:
        return {}

    def check_learnable(self) -> None:
        """There is nothing that could be missing."""

    def check_measurable(self, split: str) -> None:
        """There is nothing that could be missing."""

    def in_graph(self) -> Callable[[Any, Any], dict[str, Any]]:
        return lambda stored, positions: {"images": stored}


class StoredMasks(NoTargets):
    """A mask per image, which its source stores as one more channel after those of the image."""

    def in_graph(self) -> Callable[[Any, Any], dict[str, Any]]:
        def batch(stored: Any, positions: Any) -> dict[str, Any]:
            return {"images": stored[..., :-1], "segmentation_masks": stored[..., -1:]}

        return batch
