"""How large objects are in the images that a network takes."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cnnkit.config.boxes.listing import BoxListing
from cnnkit.format.shapes import format_shape
from cnnkit.images.boxes import frame_of


@dataclass(frozen=True)
class ObjectSizes:
    """The sizes of a data set's training objects, without crowds.

    Attributes:
        sides: (height, width) of each in pixels of the images that the network takes, at least one.
        field: (height, width) of what a place of the network's output sees.
    """

    sides: Sequence[tuple[float, float]]
    field: tuple[int, int]

    @property
    def median(self) -> tuple[int, int]:
        heights, widths = zip(*self.sides, strict=True)
        return round(statistics.median(heights)), round(statistics.median(widths))

    @property
    def largest(self) -> tuple[int, int]:
        """The largest height, and the largest width."""
        heights, widths = zip(*self.sides, strict=True)
        return round(max(heights)), round(max(widths))

    @property
    def beyond(self) -> int:
        """How many are higher or wider than what the network sees."""
        return sum(height > self.field[0] or width > self.field[1] for height, width in self.sides)

    def as_text(self) -> str:
        text = f"{format_shape(self.median)} (median) to {format_shape(self.largest)}"
        if not self.beyond:
            return f"{text}: the receptive field holds all of them"
        share = self.beyond / len(self.sides)
        return f"{text}: {self.beyond:,} of {len(self.sides):,} ({share:.1%}) are larger than the receptive field"

    def as_json(self) -> dict[str, Any]:
        return {
            "count": len(self.sides),
            "median": list(self.median),
            "largest": list(self.largest),
            "beyond_receptive_field": self.beyond,
        }


def sides_in(listing: BoxListing, shape: Sequence[int], resize: str) -> list[tuple[float, float]]:
    """Height and width of the training objects that count, in pixels of images of a shape (height, width, ...)."""
    sides = []
    for image in listing.splits.get("train", ()):
        _, _, across, down = frame_of(image.size, shape, resize)
        for box in image.boxes:
            if not box.crowd:
                height, width = (box.bottom - box.top) * shape[0] / down, (box.right - box.left) * shape[1] / across
                sides.append((min(height, shape[0]), min(width, shape[1])))
    return sides
