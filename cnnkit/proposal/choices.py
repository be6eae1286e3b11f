"""What fits the images that were looked at, by rules that a comment can tell."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from cnnkit.config.target import Labels, OneClass
from cnnkit.proposal.look import Seen
from cnnkit.proposal.meaning import Mirroring, mirroring

#: The largest side of images for a network that begins with nothing: more pixels take longer than they are worth.
LARGEST_SIDE = 96

#: From which ratio of the lengths of their sides on images are not stretched to the same shape.
_STRETCHED = 1.25

#: How much more images the largest class may have than the smallest before classes are weighted.
_IMBALANCE = 3

#: With fewer training images than this, they are also turned and zoomed a little, if this large at least.
_FEW_IMAGES = 5_000
_SMALLEST_TURNED = 16

#: An epoch is chosen on no fewer validation images.
ENOUGH_TO_CHOOSE = 1_000


@dataclass(frozen=True)
class Choices:
    """What a config says, with the reasons for comments.

    Attributes:
        size: (height, width) that images are resized to, and `resize`.
        channels: What `data.channels` is set to; None where the files say it.
    """

    size: tuple[int, int]
    size_reason: str
    resize: str
    resize_reason: str
    grey: bool
    channels: int | None
    validation: float
    batch_size: int
    batch_reason: str
    epochs: int
    epochs_reason: str
    learning_rate: float
    turn: bool
    shift: int
    mirroring: Mirroring
    class_weights: str | None
    weights_reason: str
    label_smoothing: float
    keeps_last: bool

    @property
    def seen_channels(self) -> int:
        """Of the images as the network gets them."""
        return 1 if self.grey else 3


def choose(seen: Seen) -> Choices:
    """What fits the images."""
    size, size_reason = _size(seen)
    resize, resize_reason = _resize(seen, size)
    batch, batch_reason = _batch(seen.train)
    epochs, epochs_reason = _epochs(seen.train)
    weights, weights_reason = _weights(seen)
    has_names = isinstance(seen.target, OneClass | Labels) or seen.target.per_pixel
    return Choices(
        size=size,
        size_reason=size_reason,
        resize=resize,
        resize_reason=resize_reason,
        grey=not seen.colour,
        channels=1 if seen.stored_in_colour and not seen.colour else None,
        validation=seen.validation,
        batch_size=batch,
        batch_reason=batch_reason,
        epochs=epochs,
        epochs_reason=epochs_reason,
        learning_rate=0.05 if batch < 128 else 0.1,
        turn=seen.train < _FEW_IMAGES and min(size) >= _SMALLEST_TURNED,
        shift=max(1, round(min(size) / 14)),
        mirroring=mirroring(seen.names if has_names else (), seen.source),
        class_weights=weights,
        weights_reason=weights_reason,
        label_smoothing=0.1 if isinstance(seen.target, OneClass) else 0.0,
        keeps_last=seen.held_out < ENOUGH_TO_CHOOSE,
    )


def _size(seen: Seen) -> tuple[tuple[int, int], str]:
    heights, widths = zip(*seen.sizes, strict=True)
    middle = (int(statistics.median(heights)), int(statistics.median(widths)))
    scale = min(1.0, LARGEST_SIDE / max(middle))
    size = (max(2, round(middle[0] * scale)), max(2, round(middle[1] * scale)))
    if len(set(seen.sizes)) == 1 and scale == 1:
        return size, "the size of all of them"
    if scale == 1:
        return size, "their median; none is enlarged much"
    return size, f"smaller than their median, {middle[0]}x{middle[1]}: more pixels take longer than they are worth here"


def _resize(seen: Seen, size: tuple[int, int]) -> tuple[str, str]:
    ratios = sorted(height / width for height, width in seen.sizes)
    low, high = ratios[len(ratios) // 20], ratios[-1 - len(ratios) // 20]
    if high / low < _STRETCHED:
        return "stretch", ""
    return "pad", f"their proportions differ, {low:.2f} to {high:.2f} (height by width): kept, between black borders"


def _batch(train: int) -> tuple[int, str]:
    size = next((size for limit, size in ((500, 32), (5_000, 64), (20_000, 128)) if train < limit), 256)
    steps = -(-train // size)
    return size, f"{steps:,} steps in an epoch"


def _epochs(train: int) -> tuple[int, str]:
    epochs = max(5, min(200, round(60 * (1_800 / train) ** 0.5)))
    return epochs, f"{epochs * train:,} images seen; the fewer there are, the more often"


def _weights(seen: Seen) -> tuple[str | None, str]:
    if not isinstance(seen.target, OneClass) or not seen.counts:
        return None, ""
    most, fewest = max(seen.counts), max(1, min(seen.counts))
    if most / fewest < _IMBALANCE:
        return None, ""
    names = dict(zip(seen.counts, seen.names, strict=True))
    return "balanced", (
        f"`{names[most]}` has {most / fewest:.1f} times the images of `{names[min(seen.counts)]}`; without this line, "
        "images rather than classes count alike"
    )


def range_text(sizes: Sequence[tuple[int, int]]) -> str:
    """The sizes of images as `8x8`, or `8x8 to 12x12`: the smallest and the largest height and width."""
    heights, widths = zip(*sizes, strict=True)
    smallest, largest = f"{min(heights)}x{min(widths)}", f"{max(heights)}x{max(widths)}"
    return smallest if smallest == largest else f"{smallest} to {largest}"
