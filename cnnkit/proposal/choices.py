"""What fits the images that were looked at, by rules that a comment can tell."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from cnnkit.config.target import Labels, OneClass, Target
from cnnkit.images.padding import padding_to
from cnnkit.proposal.boxes import batch_with_boxes, size_for_boxes
from cnnkit.proposal.look import Seen
from cnnkit.proposal.meaning import Mirroring, mirroring
from cnnkit.proposal.networks import levels

#: The largest side of images for a network that is trained from scratch: more pixels take longer than they are worth.
LARGEST_SIDE = 96

#: The same where each pixel has a class; and up to which side such images are kept as they are, if all have one size.
LARGEST_SIDE_OF_MASKS = 192
KEPT_SIDE_OF_MASKS = 256

#: Sides of images for a network that has learned ImageNet, which saw them at 224: larger ones take longer.
SIDES = (96, 128, 160)
_MOST_EPOCHS_OF_BACKBONE = 20

#: From which ratio of the lengths of their sides on images are not stretched to the same shape.
_STRETCHED = 1.25

#: How often the largest class may have the images of the smallest before classes are weighted.
_IMBALANCE = 3

#: An epoch is chosen on no fewer validation images: two of them tell 1 % apart.
ENOUGH_TO_CHOOSE = 1_000

#: With fewer training images than this, those that are not mirrored are turned and zoomed a little, if this large at
#: least; those that are mirrored are shifted further.
_FEW_IMAGES = 5_000
_SMALLEST_TURNED = 16

#: Epochs for this many training images; for others, they go with the root of how many fewer or more there are.
_EPOCHS, _EPOCHS_AT, _FEWEST_EPOCHS, _MOST_EPOCHS = 60, 1_800, 5, 200
_EPOCHS_OF_MASKS, _EPOCHS_OF_MASKS_AT = 50, 367

#: The largest number of training images, and the images of a batch up to there.
_BATCHES_OF_GREY = ((500, 32), (5_000, 64), (20_000, 128))
_BATCHES_OF_COLOUR = ((500, 64), (20_000, 128))

#: Pixels of a batch of images with masks.
_PIXELS_OF_MASKS = 4 * 192 * 256


@dataclass(frozen=True)
class Choices:
    """What a config says, with the reasons for comments.

    Attributes:
        size: (height, width) that images are resized to.
        resize: How, see `data.resize`.
        pad_to: As `data.pad_to`; None for none.
        padded: (height, width) of images as the network gets them.
        grey: Whether the network gets grey images.
        channels: What `data.channels` is set to; None where the files say it.
        shift: By how many pixels training images are shifted at most.
        turn: Whether they are turned and zoomed, too.
        backbone: The network of keras.applications that the network begins with; None for one from scratch.
        class_weights: As `training.class_weights`.
        keeps_last: Whether the last epoch is kept instead of the best.
    """

    size: tuple[int, int]
    size_reason: str
    resize: str
    resize_reason: str
    pad_to: int | None
    padded: tuple[int, int]
    grey: bool
    channels: int | None
    batch_size: int
    epochs: int
    epochs_reason: str
    learning_rate: float
    turn: bool
    shift: int
    backbone: str | None
    mirroring: Mirroring
    class_weights: str | None
    weights_reason: str
    label_smoothing: float
    keeps_last: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of images as the network gets them."""
        return (*self.padded, 1 if self.grey else 3)


def are_photographs(seen: Seen) -> bool:
    """Whether images are like those of ImageNet, as far as one can see: of things, in colour, and not small."""
    return seen.colour and min(_median(seen)) >= SIDES[0] and mirroring(_names(seen), seen.source).allowed


def choose(seen: Seen, backbone: str | None = None) -> Choices:
    """What fits the images.

    Args:
        backbone: The network of keras.applications to begin with; None for one from scratch.
    """
    per_pixel = seen.target.per_pixel
    boxed = seen.target.boxed
    if backbone is not None:
        size, size_reason = _size_for_backbone(seen)
    elif boxed:
        size, size_reason = size_for_boxes(_median(seen), len(set(seen.sizes)) == 1, seen.objects)
    else:
        size, size_reason = _size_with_masks(seen) if per_pixel else _size(seen)
    resize, resize_reason = _resize(seen, size)
    pad_to = _pad_to(size) if per_pixel else None
    top, bottom, left, right = padding_to(*size, pad_to or 1)
    batch = _batch_with_masks(size) if per_pixel else _batch(seen)
    batch = batch_with_boxes(size, seen.train) if boxed else batch
    epochs = _epochs(seen.train, seen.target)
    if backbone is not None:
        batch, epochs = min(batch, 64), max(_FEWEST_EPOCHS, min(_MOST_EPOCHS_OF_BACKBONE, epochs // 3))
    mirrored = mirroring(_names(seen), seen.source)
    few = seen.train < _FEW_IMAGES
    weights, weights_reason = _weights(seen)
    return Choices(
        size=size,
        size_reason=size_reason,
        resize=resize,
        resize_reason=resize_reason,
        pad_to=pad_to,
        padded=(size[0] + top + bottom, size[1] + left + right),
        grey=not seen.colour and backbone is None,
        channels=_channels(seen, backbone),
        batch_size=batch,
        epochs=epochs,
        epochs_reason=f"{epochs * seen.train:,} images are seen; the fewer there are, the more often each",
        learning_rate=0.05 if batch < 128 else 0.1,
        turn=few and not mirrored.allowed and min(size) >= _SMALLEST_TURNED,
        shift=max(1, round(min(size) / (8 if few and mirrored.allowed else 14))),
        backbone=backbone,
        mirroring=mirrored,
        class_weights=weights,
        weights_reason=weights_reason,
        label_smoothing=_smoothing(seen),
        keeps_last=0 < seen.held_out < ENOUGH_TO_CHOOSE,
    )


def _names(seen: Seen) -> Sequence[str]:
    """The names that say what images show; none where numbers are learned."""
    shown = isinstance(seen.target, OneClass | Labels) or seen.target.per_pixel or seen.target.boxed
    return seen.names if shown else ()


def _channels(seen: Seen, backbone: str | None) -> int | None:
    if backbone is not None:
        return None if seen.stored_in_colour else 3
    return 1 if seen.stored_in_colour and not seen.colour else None


def _size_for_backbone(seen: Seen) -> tuple[tuple[int, int], str]:
    middle = _median(seen)
    side = next((side for side in reversed(SIDES) if side <= min(middle)), SIDES[0])
    return (side, side), f"of {middle[0]}x{middle[1]} in the middle: a size that the network can make something of"


def _median(seen: Seen) -> tuple[int, int]:
    heights, widths = zip(*seen.sizes, strict=True)
    return int(statistics.median(heights)), int(statistics.median(widths))


def _scaled(size: tuple[int, int], largest: int) -> tuple[int, int]:
    """A size in its proportions, with no side longer than `largest`."""
    scale = min(1.0, largest / max(size))
    return max(2, round(size[0] * scale)), max(2, round(size[1] * scale))


def _size(seen: Seen) -> tuple[tuple[int, int], str]:
    middle = _median(seen)
    size = _scaled(middle, LARGEST_SIDE)
    if size != middle:
        reason = f"of {middle[0]}x{middle[1]} in the middle: more pixels would take longer than they are worth"
        return size, reason + " to a network from scratch"
    return size, "as all of them are" if len(set(seen.sizes)) == 1 else "their median height and width"


def _size_with_masks(seen: Seen) -> tuple[tuple[int, int], str]:
    middle = _median(seen)
    if len(set(seen.sizes)) == 1 and max(middle) <= KEPT_SIDE_OF_MASKS:
        return middle, "as all of them are"
    scaled = _scaled(middle, LARGEST_SIDE_OF_MASKS)
    step = 1 << levels(scaled)
    size = (max(step, scaled[0] // step * step), max(step, scaled[1] // step * step))
    return size, f"of {middle[0]}x{middle[1]} in the middle; sides that can be halved {levels(size)} times"


def _pad_to(size: tuple[int, int]) -> int | None:
    step = 1 << levels(size)
    return None if size[0] % step == size[1] % step == 0 else step


def _resize(seen: Seen, size: tuple[int, int]) -> tuple[str, str]:
    ratios = sorted(height / width for height, width in seen.sizes)
    # One in twenty on either side may be an oddity.
    low, high = ratios[len(ratios) // 20], ratios[-1 - len(ratios) // 20]
    own = size[0] / size[1]
    if max(high, own) / min(low, own) < _STRETCHED:
        return "stretch", ""
    differ = f"their proportions are others, {low:.2f} to {high:.2f} (height by width)"
    if seen.target.per_pixel and seen.target.ignore is None:
        return "crop", f"{differ}: the middle is cut out; with an `ignore` number, `pad` would keep all"
    return "pad", f"{differ}: kept, between black borders"


def _batch(seen: Seen) -> int:
    sizes = _BATCHES_OF_COLOUR if seen.colour else _BATCHES_OF_GREY
    return next((size for limit, size in sizes if seen.train < limit), 256)


def _smoothing(seen: Seen) -> float:
    if not isinstance(seen.target, OneClass):
        return 0.0
    return 0.2 if seen.colour else 0.1


def _batch_with_masks(size: tuple[int, int]) -> int:
    fitting = max(2, _PIXELS_OF_MASKS // (size[0] * size[1]))
    return int(min(16, 1 << (fitting.bit_length() - 1)))


def _epochs(train: int, target: Target) -> int:
    epochs, count = (_EPOCHS_OF_MASKS, _EPOCHS_OF_MASKS_AT) if target.per_pixel else (_EPOCHS, _EPOCHS_AT)
    return max(_FEWEST_EPOCHS, min(_MOST_EPOCHS, round(epochs * (count / train) ** 0.5)))


def _weights(seen: Seen) -> tuple[str | None, str]:
    if not isinstance(seen.target, OneClass) or not seen.counts:
        return None, ""
    most, fewest = max(seen.counts), max(1, min(seen.counts))
    if most / fewest < _IMBALANCE:
        return None, ""
    names = dict(zip(seen.counts, seen.names, strict=True))
    return "balanced", (
        f"`{names[most]}` has {most / fewest:.3g} times the images of `{names[min(seen.counts)]}`; without this line, "
        "images rather than classes count alike"
    )


def range_text(sizes: Sequence[tuple[int, int]]) -> str:
    """The sizes of images as `8x8`, or `8x8 to 12x12`: the smallest and the largest height and width."""
    heights, widths = zip(*sizes, strict=True)
    smallest, largest = f"{min(heights)}x{min(widths)}", f"{max(heights)}x{max(widths)}"
    return smallest if smallest == largest else f"{smallest} to {largest}"
