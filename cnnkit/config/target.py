"""What the images of a data set come with: what a network is to learn of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Target:
    """What is to be learned of each image.

    Attributes:
        size: How many there are to tell apart, or to tell: classes, labels, numbers.
        names: Their names in order; None where they are not known.
    """

    size: int
    names: tuple[str, ...] | None = None

    #: What a config calls their number in layers: `units: classes`.
    named: ClassVar[str] = "classes"
    #: What messages call one of them, and several.
    singular: ClassVar[str] = "class"
    plural: ClassVar[str] = "classes"
    #: Whether there is one for each pixel of an image, in a mask that moves with it.
    per_pixel: ClassVar[bool] = False
    #: Whether there are any number of objects in an image, each with a box that moves with it.
    boxed: ClassVar[bool] = False

    @property
    def ignore(self) -> int | None:
        """The number in a mask of pixels that do not count, 0..255; None where all count."""
        return None

    @property
    def values(self) -> Mapping[str, int]:
        """What names in layers stand for."""
        return {self.named: self.size}

    @property
    def all_names(self) -> tuple[str, ...]:
        """The names; their numbers where they have none."""
        return self.names if self.names is not None else tuple(str(number) for number in range(self.size))


class OneClass(Target):
    """One of several classes."""


class Labels(Target):
    """Any of several labels: none, one or more."""

    singular: ClassVar[str] = "label"
    plural: ClassVar[str] = "labels"


@dataclass(frozen=True)
class Numbers(Target):
    """One or several numbers.

    Attributes:
        means: Of the training images, one for each number; None until they are measured.
        deviations: Their standard deviations, likewise; 1 where all are alike.
    """

    means: tuple[float, ...] | None = None
    deviations: tuple[float, ...] | None = None

    named: ClassVar[str] = "targets"
    singular: ClassVar[str] = "target"
    plural: ClassVar[str] = "targets"


@dataclass(frozen=True)
class Mask(Target):
    """A class for each pixel.

    Attributes:
        ignore: The number in a mask of pixels that do not count, 0..255; None where all count.
    """

    per_pixel: ClassVar[bool] = True
    ignore: int | None = None


@dataclass(frozen=True)
class Picture(Target):
    """The one picture itself, of which a network learns what is known.

    Its `size` is the number of its channels: 1, or 3 for red, green and blue.
    """

    named: ClassVar[str] = "image_channels"
    singular: ClassVar[str] = "channel"
    plural: ClassVar[str] = "channels"


class Boxes(Target):
    """Any number of objects, each of a class and in a box."""

    boxed: ClassVar[bool] = True
